"""Peaks and matches compared with plain loops, simulated peaks, and white noise."""

from collections import deque
from itertools import permutations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from astro_massmap.analysis.peaks import find_peaks, local_maxima, match_clusters, peak_counts

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

SHAPE = 40, 50
GRID = tan_wcs(SHAPE)
OPEN = np.zeros(SHAPE, dtype=bool)
COLUMNS = ["center", "kappa", "probability", "lower", "upper", "n_samples", "measured"]
COLUMNS += ["correlation", "signal_to_noise", "std_east", "std_north"]


def bump(x, y, height, width=1.2, shape=SHAPE):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return height * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * width**2))


# ---- local maxima


def flooded(image):
    """Peaks by flood fill of every plateau: its first pixel, if no neighbour is higher."""
    peaks, seen = np.zeros(image.shape, dtype=bool), ~np.isfinite(image)
    for start in np.ndindex(image.shape):
        if seen[start]:
            continue
        seen[start], queue, highest = True, deque([start]), True
        while queue:
            y, x = queue.popleft()
            for j in range(max(y - 1, 0), min(y + 2, image.shape[0])):
                for i in range(max(x - 1, 0), min(x + 2, image.shape[1])):
                    if np.isfinite(image[j, i]) and image[j, i] > image[start]:
                        highest = False
                    elif image[j, i] == image[start] and not seen[j, i]:
                        seen[j, i] = True
                        queue.append((j, i))
        peaks[start] = highest
    return peaks


HEIGHTS = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, np.nan, np.inf, -np.inf])


@given(arrays(float, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=HEIGHTS))
def test_maxima_and_plateaus_are_those_of_a_loop(image):
    assert np.array_equal(local_maxima(image), flooded(image))


@given(arrays(np.float32, (3, 2, 6, 7), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0])))
def test_maps_of_a_stack_are_independent(stack):
    expected = [[flooded(image) for image in pair] for pair in stack]
    assert np.array_equal(local_maxima(stack), expected)


@given(arrays(np.float32, (12, 13), elements=st.floats(0, 1, width=32), unique=True))
def test_maxima_without_ties_are_strict(image):
    padded = np.pad(image, 1, constant_values=-np.inf)
    higher = [
        image > np.roll(padded, (dy, dx), axis=(0, 1))[1:-1, 1:-1]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dy, dx) != (0, 0)
    ]
    assert np.array_equal(local_maxima(image), np.all(higher, axis=0))


def test_a_map_has_two_axes():
    with pytest.raises(ValueError, match=r"^maps: "):
        local_maxima(np.zeros(5))


# ---- peaks


@pytest.mark.parametrize("kwargs", [{}, {"rotation": 40}, {"flipped": True}, {"frame": "GLON"}])
def test_simulated_peaks_are_found(kwargs):
    wcs = tan_wcs(SHAPE, **kwargs)
    positions, heights = [(10, 8), (30, 25), (44, 5), (0, 39), (20, 30)], [0.1, 0.3, 0.2, 0.15, 0.01]
    mean = sum(bump(x, y, h) for (x, y), h in zip(positions, heights, strict=True))
    mask = OPEN.copy()
    mask[:, 40:] = True
    table = find_peaks(mean, None, np.full(SHAPE, 0.05), wcs, mask, 0.05)
    expected = wcs.pixel_to_world([30, 44, 0, 10], [25, 5, 39, 8])
    assert table.colnames == COLUMNS
    assert table["center"].frame.name == expected.frame.name
    assert (table["center"].separation(expected) < 0.01 * u.arcsec).all()
    assert np.allclose(table["kappa"], [0.3, 0.2, 0.15, 0.1], rtol=1e-6)
    assert np.allclose(table["signal_to_noise"], table["kappa"] / 0.05)
    assert list(table["measured"]) == [True, False, True, True]
    assert np.isnan(table["probability"]).all()
    assert table.meta["threshold"] == 0.05 and table.meta["n_samples"] == 0


@pytest.mark.parametrize("kwargs", [{}, {"rotation": 40}, {"flipped": True}])
def test_errors_of_positions_are_those_of_placed_peaks(kwargs):
    wcs, rng = tan_wcs(SHAPE, **kwargs), np.random.default_rng(2)
    x, y = 20 + rng.normal(scale=0.8, size=40), 15 + rng.normal(scale=0.4, size=40)
    y += 0.3 * (x - 20)
    samples = np.array([bump(i, j, 0.3, width=2.0) for i, j in zip(x, y, strict=True)])
    samples[:5] = bump(40, 30, 0.3)  # no peak within the radius: not counted
    table = find_peaks(bump(20.3, 15.2, 0.3, width=2.0), samples, None, wcs, OPEN, 0.1)
    center = wcs.pixel_to_world(20.3, 15.2)
    assert table["center"][0].separation(center) < 0.02 * 0.4 * u.arcmin
    assert table["probability"][0] == 35 / 40
    east, north = (a.arcsec for a in center.spherical_offsets_to(wcs.pixel_to_world(x[5:], y[5:])))
    assert table["std_east"].unit == table["std_north"].unit == u.arcsec
    assert np.allclose(table["std_east"][0].value, east.std(ddof=1), rtol=0.03)
    assert np.allclose(table["std_north"][0].value, north.std(ddof=1), rtol=0.03)
    assert np.allclose(table["correlation"][0], np.corrcoef(east, north)[0, 1], atol=0.03)


def test_errors_of_positions_are_nan_for_fewer_than_two_samples():
    mean = bump(15, 10, 0.2)
    for samples in (None, mean[None], np.stack([mean, bump(40, 30, 0.2)])):
        table = find_peaks(mean, samples, np.full(SHAPE, 0.1), GRID, OPEN, 0.1)
        assert np.isnan([table["std_east"][0].value, table["std_north"][0].value, table["correlation"][0]]).all()


def test_probability_is_the_fraction_of_samples_with_a_peak_nearby():
    # 1.5 arcmin are 3.75 pixels; at (15, 10) 7 of 10 samples have a peak within this radius, at (35, 28) two
    offsets = [(0, 0), (3, 2), (-3, 2), (0, -3), (3, -2), (1, 1), (2, 3), (3, 3), (4, 0), (9, 9)]
    samples = np.array([bump(15 + dx, 10 + dy, 0.2) for dx, dy in offsets], dtype=np.float32)
    samples[3] += bump(35, 28, 0.11)
    samples[7] += bump(35, 28, 0.11)
    samples[8] += bump(35, 28, 0.09)  # below the threshold
    mean = bump(15, 10, 0.2) + bump(35, 28, 0.12)
    table = find_peaks(mean, samples, None, GRID, OPEN, 0.1)
    assert np.allclose(table["probability"], [0.7, 0.2])
    assert np.allclose(
        find_peaks(mean, samples, None, GRID, OPEN, 0.1, radius=0.1 * u.arcmin)["probability"], [0.1, 0.2]
    )
    assert np.allclose(find_peaks(mean, samples, None, GRID, OPEN, 0.1, radius=5.4 * u.arcmin)["probability"], [1, 0.2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_smoothing_is_a_gaussian_of_that_width(dtype):
    # smoothing by s multiplies the height of a Gaussian of width w by w^2 / (w^2 + s^2)
    mean = bump(25, 20, 0.4, width=3).astype(dtype)
    smoothing = 0.8 * u.arcmin  # two pixels
    table = find_peaks(mean, mean[None] * np.ones((3, 1, 1)), None, GRID, OPEN, 0.1, smoothing=smoothing)
    assert np.allclose(table["kappa"], 0.4 * 9 / 13, rtol=1e-3)
    assert table["probability"] == 1
    assert table.meta["smoothing"] == smoothing


def test_noise_is_that_of_the_smoothed_samples():
    # Smoothing by s pixels multiplies the standard deviation of white noise by 1 / (2 sqrt(pi) s).
    # 60 samples determine it to 9 % at each of 12 positions, to 3 % on average: the limit is five times that.
    rng = np.random.default_rng(3)
    positions = [(x, y) for x in (10, 20, 30, 40) for y in (10, 20, 30)]
    mean = sum(bump(x, y, 1.0) for x, y in positions)
    samples = mean + rng.normal(size=(60, *SHAPE))
    std = np.full(SHAPE, 0.5)
    table = find_peaks(mean, samples, std, GRID, OPEN, 0.2, smoothing=0.8 * u.arcmin)
    assert len(table) == 12
    noise = table["kappa"] / table["signal_to_noise"]
    assert abs(noise.mean() * 4 * np.sqrt(np.pi) - 1) < 0.15
    assert np.allclose(find_peaks(mean, samples, std, GRID, OPEN, 0.2)["signal_to_noise"], 2, rtol=1e-3)
    unknown = find_peaks(mean, samples, None, GRID, OPEN, 0.2)
    assert np.allclose(unknown["kappa"] / unknown["signal_to_noise"], 1, atol=0.5)
    for few in (None, samples[:1], samples[:0]):
        assert np.isnan(find_peaks(mean, few, std, GRID, OPEN, 0.2, smoothing=0.8 * u.arcmin)["signal_to_noise"]).all()


def test_smoothing_leaves_out_pixels_outside_of_the_field():
    # a constant remains constant up to the edge, and up to pixels where samples are NaN
    samples = np.full((6, *SHAPE), 0.2, dtype=np.float32)
    samples[:, :, :9] = np.nan
    samples[1, 20:23, 30] = np.nan
    mean = np.where(np.isfinite(samples).all(axis=0), 0.2, 0) + bump(5, 20, 3.0)
    smoothed = find_peaks(mean, samples, None, GRID, OPEN, 0.1, smoothing=1 * u.arcmin)
    assert (smoothed["center"].separation(GRID.pixel_to_world(5, 20)) > 4 * 0.39 * u.arcmin).all()
    counts = peak_counts(mean, samples, GRID, OPEN, [0.2 - 1e-6, 0.2 + 1e-6], smoothing=1 * u.arcmin)
    minima = peak_counts(mean, samples, GRID, OPEN, [-np.inf, 0.2 - 1e-6], smoothing=1 * u.arcmin, minima=True)
    assert counts["std"] == 0 and counts["count"] >= 1
    assert minima["count"] == 0


@pytest.mark.parametrize(("smoothing", "filled"), [(None, 1.0), (1 * u.arcmin, 1.0), (1 * u.arcmin, 0.3)])
def test_a_peak_on_an_empty_pixel_of_a_measured_area_is_measured(smoothing, filled):
    """On complete and on sparse data, but not in a gap, even on the edge of the map, or without any data."""
    mean = bump(12, 20, 0.3) + bump(38, 20, 0.2) + bump(38, 0, 0.1)
    mask = np.random.default_rng(2).random(SHAPE) >= filled
    mask[20, 12] = True
    mask[:, 25:] = True

    def found():
        return list(find_peaks(mean, None, None, GRID, mask, 0.02, smoothing=smoothing)["measured"])

    assert found() == [True, False, False]
    mask[20, 38] = False  # a single pixel in the gap
    assert found() == [True, True, False]
    mask[:] = True
    assert found() == [False, False, False]


def test_no_peaks():
    samples = np.random.default_rng(0).normal(size=(4, *SHAPE))
    for some in (None, samples, samples[:1]):
        table = find_peaks(samples[0], some, None, GRID, OPEN, 99.0, smoothing=1 * u.arcmin)
        assert len(table) == 0 and table.colnames == COLUMNS
        assert len(table["center"]) == 0
    nothing = match_clusters(table, SkyCoord([150], [2], unit="deg"))
    assert nothing.completeness == 0 and np.isnan(nothing.purity)


def test_tables_of_peaks_can_be_written_and_read():
    table = find_peaks(bump(15, 10, 0.2) + bump(35, 28, 0.12), None, None, GRID, OPEN, 0.01, smoothing=1 * u.arcmin)
    table.write("p.ecsv")
    back = QTable.read("p.ecsv")
    assert match_clusters(back, table).completeness == 1
    assert back.meta["smoothing"] == 1 * u.arcmin and back.meta["radius"] == 1.5 * u.arcmin


# ---- counts


@pytest.mark.parametrize("minima", [False, True])
def test_counts_are_those_of_a_loop(minima):
    samples = np.random.default_rng(1).normal(size=(7, *SHAPE)).astype(np.float32)
    mask = np.random.default_rng(2).random(SHAPE) < 0.3
    edges = np.array([-2, -1, 0, 0.5, 3])
    table = peak_counts(samples[0], samples, GRID, mask, edges, minima=minima)
    expected = np.zeros((7, 4))
    for n, sample in enumerate(samples):
        for y, x in np.argwhere(flooded(-sample if minima else sample) & ~mask):
            expected[n] += (edges[:-1] <= sample[y, x]) & (sample[y, x] < edges[1:])
    assert table.colnames == ["low", "high", "mean_map", "count", "std", "lower", "upper"]
    assert np.array_equal(table["low"], edges[:-1]) and np.array_equal(table["high"], edges[1:])
    assert np.array_equal(table["mean_map"], expected[0])
    assert np.allclose(table["count"], expected.mean(axis=0))
    assert np.allclose(table["std"], expected.std(axis=0, ddof=1))
    assert np.allclose([table["lower"], table["upper"]], np.quantile(expected, [0.16, 0.84], axis=0, method="weibull"))
    assert table.meta["minima"] is minima


def test_peaks_of_white_noise():
    # The probability of a peak is 1/9 for inner pixels, 1/6 on a side, 1/4 in a corner.
    # The mean over 200 maps is compared with five standard errors: one false alarm in 1e6 seeds.
    samples = np.random.default_rng(8).normal(size=(200, *SHAPE))
    expected = 38 * 48 / 9 + 2 * (38 + 48) / 6 + 1
    for minima in (False, True):
        table = peak_counts(samples[0], samples, GRID, None, [-9, 9], minima=minima)
        assert abs(table["count"][0] - expected) < 5 * table["std"][0] / np.sqrt(200)


def test_a_single_sample_has_no_standard_deviation():
    sample = np.random.default_rng(1).normal(size=(1, *SHAPE))
    with pytest.warns(AstropyUserWarning, match="level=0.68: needs at least 6 samples, got 1"):
        table = peak_counts(sample[0], sample, GRID, OPEN, [0, 1, np.inf])
    assert np.array_equal(table["mean_map"], table["count"]) and np.isnan(table["std"]).all()
    assert np.array_equal(table["lower"], table["upper"])


# ---- matches


def best(separation, limit):
    """Largest number of pairs within a limit, and their smallest total separation, by exhaustive search."""
    if separation.shape[0] > separation.shape[1]:
        separation = separation.T
    found = []
    for columns in permutations(range(separation.shape[1]), separation.shape[0]):
        kept = [s for s in separation[range(separation.shape[0]), columns] if s <= limit]
        found.append((-len(kept), sum(kept)))
    return min(found)


POSITIONS = st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=5)


def on_sky(offsets, frame="icrs"):
    x, y = np.array(offsets).T * u.arcmin
    return SkyCoord(x % (360 * u.deg), y, frame="icrs").transform_to(frame)  # around the origin of right ascension


@given(POSITIONS, POSITIONS, st.floats(0.1, 4))
def test_matches_are_the_best_of_all(peaks, clusters, radius):
    peaks, clusters = on_sky(peaks), on_sky(clusters, "galactic")
    separation = peaks[:, None].separation(clusters.icrs).arcmin
    if (np.abs(separation - radius) < 1e-6).any():
        return
    matches = match_clusters(peaks, clusters, radius * u.arcmin)
    table = matches.table
    count, total = best(separation, radius)
    assert len(table) == -count
    assert np.isclose(table["separation"].to_value(u.arcmin).sum(), total, atol=1e-6)
    assert np.allclose(separation[table["peak"], table["cluster"]], table["separation"].value, atol=1e-6)
    assert len(set(table["peak"])) == len(set(table["cluster"])) == len(table)
    assert sorted([*table["peak"], *matches.unmatched_peaks]) == list(range(len(peaks)))
    assert sorted([*table["cluster"], *matches.unmatched_clusters]) == list(range(len(clusters)))
    assert matches.completeness == len(table) / len(clusters) and matches.purity == len(table) / len(peaks)


def test_two_pairs_rather_than_the_closest_one():
    matches = match_clusters(on_sky([(0, 0), (1, 0)]), on_sky([(0.9, 0), (2, 0)]))
    assert list(matches.table["cluster"]) == [0, 1]
    assert str(matches) == "2 pairs of 2 peaks and 2 clusters: completeness 1.00, purity 1.00"


def test_clusters_in_tables():
    peaks = on_sky([(0, 0), (5, 5)])
    ra, dec = peaks.ra[::-1], peaks.dec[::-1]
    for table in (
        QTable({"RAJ2000": ra, "DEJ2000": dec}),
        Table({"Ra": ra.deg * u.deg, "Dec": dec.deg * u.deg}),
        QTable({"center": peaks[::-1]}),
    ):
        assert list(match_clusters(peaks, table).table["cluster"]) == [1, 0]
    with pytest.warns(AstropyUserWarning, match="degrees are assumed"):
        assert match_clusters(peaks, Table({"ra": ra.deg, "dec": dec.deg})).purity == 1
    assert match_clusters(peaks[0], QTable({"center": peaks})).completeness == 0.5


def test_pairs_have_the_names_and_positions_of_both():
    places = on_sky([(0, 0), (5, 5), (-4, 2)])
    peaks = QTable({"center": places, "signal_to_noise": [6.0, 5.0, 4.0]})
    clusters = QTable({"MCXC": ["J1", "J2", ""], "pos": on_sky([(-4, 2.5), (9, 9), (0, 0.5)], "galactic")})
    table = match_clusters(peaks, clusters).table
    assert list(table["cluster_name"]) == ["2", "J1"] and list(table["signal_to_noise"]) == [6, 4]
    assert (table["center"].separation(places[[0, 2]]) < 1e-6 * u.arcsec).all()
    assert np.allclose(table["cluster_center"].separation(table["center"]).arcmin, table["separation"].value, atol=1e-6)
    table.write("pairs.ecsv")
    assert list(QTable.read("pairs.ecsv")["cluster_name"]) == ["2", "J1"]
    plain = match_clusters(places, places[::2]).table
    assert "signal_to_noise" not in plain.colnames and list(plain["cluster_name"]) == ["0", "1"]


def test_positions_that_are_not_finite_match_nothing():
    peaks, clusters = SkyCoord([1, np.nan], [0, 0], unit="deg"), SkyCoord([np.nan, 1, 1], [0, np.nan, 0], unit="deg")
    matches = match_clusters(peaks, clusters, wcs=tan_wcs(SHAPE, center=(1, 0)))
    assert list(matches.table["peak"]) == [0] and list(matches.table["cluster"]) == [2]
    assert 0 < matches.by_chance < 0.1


@pytest.mark.parametrize(("n_peaks", "n_clusters"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_match(n_peaks, n_clusters):
    positions = on_sky([(0, 0), (5, 5), (9, 9)])
    matches = match_clusters(positions[:n_peaks], positions[:n_clusters])
    assert len(matches.table) == 0 and matches.table["separation"].unit == u.arcmin
    assert list(matches.unmatched_peaks) == list(range(n_peaks))
    assert list(matches.unmatched_clusters) == list(range(n_clusters))
    assert np.isnan(matches.completeness) == (n_clusters == 0)
    assert "0 pairs" in str(matches) and np.isnan(matches.by_chance)


@pytest.mark.slow
def test_matches_by_chance():
    # One cluster at a time is matched with the probability by_chance. The limit is five binomial errors of
    # 1000 clusters: one false alarm in 1e6 seeds. Matched together, clusters near one peak would not all be matched.
    wcs = tan_wcs(SHAPE, rotation=30)
    peaks = scatter(wcs, SHAPE, 12, seed=4)
    alone, together = [], []
    for clusters in scatter(wcs, SHAPE, 1000, seed=5).reshape(40, 25):
        together.append(match_clusters(peaks, clusters).completeness)
        alone += [match_clusters(peaks, cluster).completeness for cluster in clusters]
    chance = match_clusters(peaks, clusters, wcs=wcs).by_chance
    # 12 circles of 1.5 arcmin, which may overlap or cross the edge, in an area of 16 x 20 arcmin
    assert 0.1 < chance < 12 * np.pi * 1.5**2 / 320
    assert abs(np.mean(alone) - chance) < 5 * np.sqrt(chance * (1 - chance) / 1000)
    assert np.mean(together) < chance
    assert f"({chance:.2f} by chance)" in str(match_clusters(peaks, clusters, wcs=wcs))
    mask = OPEN.copy()
    mask[:, 25:] = True
    halves = [match_clusters(peaks, clusters, wcs=wcs, mask=m).by_chance for m in (mask, ~mask)]
    assert np.isclose(np.mean(halves), chance)
    assert match_clusters(peaks[:0], clusters, wcs=wcs).by_chance == 0
    assert np.isnan(match_clusters(peaks, clusters, wcs=wcs, mask=~OPEN).by_chance)


# ---- invalid arguments


@each_case(
    ("kwargs", "error", "message"),
    [
        ({"threshold": "high"}, TypeError, r"^threshold: "),
        ({"threshold": np.nan}, ValueError, r"^threshold: "),
        ({"threshold": [0.1, 0.2]}, ValueError, r"^threshold: "),
        ({"smoothing": 2}, u.UnitsError, r"^smoothing: "),
        ({"smoothing": -1 * u.arcmin}, ValueError, r"^smoothing: "),
        ({"radius": 1 * u.m}, u.UnitsError, r"^radius: "),
        ({"radius": 0 * u.arcmin}, ValueError, r"^radius: "),
        ({"mean": np.zeros(5)}, ValueError, r"^mean: "),
        ({"samples": np.zeros((2, 4, 4))}, ValueError, r"^samples: "),
        ({"std": np.zeros((4, 4))}, ValueError, r"^std: "),
        ({"mask": np.zeros((4, 4), dtype=bool)}, ValueError, r"^mask: "),
    ],
)
def test_bad_arguments_of_peaks(kwargs, error, message):
    arguments = {"mean": OPEN * 1.0, "samples": None, "std": None, "wcs": GRID, "mask": OPEN, "threshold": 0.1}
    with pytest.raises(error, match=message):
        find_peaks(**arguments | kwargs)


@each_case(
    ("kwargs", "error", "message"),
    [
        ({"edges": [1]}, ValueError, r"^edges: "),
        ({"edges": [1, 0]}, ValueError, r"^edges: "),
        ({"edges": [0, np.nan]}, ValueError, r"^edges: "),
        ({"edges": ["a", "b"]}, TypeError, r"^edges: "),
        ({"samples": None}, ValueError, r"^samples: .*n_samples > 0"),
        ({"smoothing": 1 * u.s}, u.UnitsError, r"^smoothing: "),
    ],
)
def test_bad_arguments_of_counts(kwargs, error, message):
    arguments = {"mean": OPEN * 1.0, "samples": OPEN[None] * 1.0, "wcs": GRID, "mask": OPEN, "edges": [0, 1]}
    with pytest.raises(error, match=message):
        peak_counts(**arguments | kwargs)


@each_case(
    ("kwargs", "error", "message"),
    [
        ({"peaks": [1, 2]}, TypeError, r"^peaks: "),
        ({"clusters": Table({"x": [1]})}, ValueError, r"^clusters: .*ra and dec"),
        ({"clusters": Table({"center": [1]})}, TypeError, r"^clusters: "),
        ({"radius": 0 * u.arcmin}, ValueError, r"^radius: "),
        ({"radius": 1.5}, u.UnitsError, r"^radius: "),
        ({"mask": OPEN}, ValueError, r"^wcs, mask: "),
    ],
)
def test_bad_arguments_of_matches(kwargs, error, message):
    arguments = {"peaks": on_sky([(0, 0)]), "clusters": on_sky([(0, 0)])}
    with pytest.raises(error, match=message):
        match_clusters(**arguments | kwargs)
