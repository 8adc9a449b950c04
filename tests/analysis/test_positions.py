"""Credible regions of positions: coverage of draws from the same distribution, areas, and grids."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from matplotlib.figure import Figure
from regions import PixCoord, Regions
from scipy.stats import binom, chisquare

from astro_massmap import ConvergenceMap
from astro_massmap.analysis.detection import region_weights
from astro_massmap.analysis.position_regions import Kernels, left_out_squares, rank_of
from astro_massmap.analysis.positions import PeakOffset
from astro_massmap.analysis.quantiles import quantiles

from helpers.cases import each_case
from helpers.skies import tan_wcs

FALSE_ALARM = 1e-4  # of each statistical test
REFERENCE = SkyCoord(150.0, 40.0, unit="deg")


def positions(n, kind, rng):
    """Return offsets ``(2, n)`` in arcsec: normal, with heavy tails, or around two points."""
    found = rng.normal(size=(2, n)) * [[8], [3]]
    if kind == "tails":
        found /= np.sqrt(rng.chisquare(3, n) / 3)
    if kind == "two":
        found[0] += np.where(rng.random(n) < 0.4, -40, 40)
    return found


def offset(arcsec, reference=REFERENCE):
    return PeakOffset(reference, SkyCoord(*(arcsec * u.arcsec), frame=reference.skyoffset_frame()), arcsec.shape[1])


@pytest.mark.parametrize("kind", ["normal", "tails", "two"])
def test_the_p_value_of_one_more_draw_is_uniform(kind):
    rng, n, counts = np.random.default_rng(5), 16, np.zeros(17)
    for _ in range(800):
        draws = positions(n + 1, kind, rng)
        counts[rank_of(draws[:, :-1], draws[:, -1])] += 1
    assert chisquare(counts).pvalue > FALSE_ALARM


@pytest.mark.parametrize("kind", ["normal", "tails", "two"])
@pytest.mark.parametrize(("n", "level"), [(16, 0.68), (40, 0.95)])
def test_regions_contain_one_more_draw_with_their_level(kind, n, level):
    rng, trials, inside = np.random.default_rng(n), 600, 0
    for _ in range(trials):
        draws = positions(n + 1, kind, rng)
        kernels = Kernels(draws[:, :-1])
        inside += kernels.log_density(draws[:, -1:])[0] >= quantiles(kernels.log_left_out, 1 - level)
    # leaving out one of n samples, not of n + 1, changes the coverage by less than one rank
    least = binom.ppf(FALSE_ALARM / 2, trials, level - 1 / (n + 1))
    assert least <= inside <= binom.isf(FALSE_ALARM / 2, trials, level + 1 / (n + 1))


def test_the_size_of_the_ellipse_is_that_of_leaving_out_each_sample():
    draws = positions(9, "normal", np.random.default_rng(0))
    squares = []
    for i in range(9):
        others = np.delete(draws, i, axis=1)
        apart = draws[:, i] - others.mean(axis=1)
        squares.append(apart @ np.linalg.solve(np.cov(others), apart) / (1 + 1 / 8))
    ellipse = offset(draws).ellipse(0.6)
    area = np.pi * np.sqrt(np.linalg.det(np.cov(draws))) * np.sort(squares)[5] * (1 + 1 / 9)  # rank 6 of 9
    assert (np.pi / 4 * ellipse.width * ellipse.height).to_value(u.arcsec**2) == pytest.approx(area)


def test_a_sample_is_compared_with_three_others_that_are_not_on_a_line():
    # the covariance of two or of three on a line is singular: the distance from them is infinite, not of any sign
    for seed in range(8):
        found = offset(np.random.default_rng(seed).normal(size=(2, 3)))
        for measured in (found.ellipse, found.level_at):
            with pytest.raises(ValueError, match="positions: an ellipse needs at least four samples"):
                measured()
        line = np.random.default_rng(seed).normal(size=(2, 1)) * [-1, 0.3, 2]
        assert left_out_squares(np.concatenate([line, [[3.0], [-5.0]]], axis=1))[-1] > 1e9


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_region_of_many_normal_samples_is_an_ellipse(level):
    region = offset(positions(1000, "normal", np.random.default_rng(0))).credible_region(level)
    expected = np.pi * 8 * 3 * -2 * np.log(1 - level) / 3600  # arcmin2
    assert region.area.unit == u.arcmin**2 and region.area.value == pytest.approx(expected, rel=0.15)
    assert (region.density * (region.wcs.wcs.cdelt[1] * 60) ** 2).sum() == pytest.approx(1, abs=0.01)
    assert region.density.shape == region.wcs.array_shape


def test_two_groups_have_two_contours_and_a_smaller_area_than_the_ellipse():
    found = offset(positions(100, "two", np.random.default_rng(1)))
    region, ellipse = found.credible_region(0.9), found.ellipse(0.9)
    assert len(region.contours) >= 2
    assert region.area < 0.5 * np.pi / 4 * ellipse.width * ellipse.height
    assert not region.contains(REFERENCE) and found.p_value() < 0.1


def test_a_ring_has_a_hole_that_is_excluded():
    rng = np.random.default_rng(2)
    angles, radii = rng.uniform(0, 2 * np.pi, 400), rng.normal(20, 1, 400)
    region = offset(radii * np.stack([np.cos(angles), np.sin(angles)])).credible_region(0.95)
    holes = [contour for contour in region.contours if contour.meta.get("include") == 0]
    assert len(holes) == 1 and not region.contains(REFERENCE)
    wcs = tan_wcs((60, 60), scale=1 / 60, center=(150.0, 40.0))
    kappa = ConvergenceMap(np.ones((60, 60)), wcs=wcs, samples=np.ones((9, 60, 60)))
    weights = region_weights(region.contours, wcs, (60, 60))  # measurements exclude the hole
    assert len(weights) == len(kappa.region_statistics(region.contours)) == len(region.contours) - 1
    assert weights.area.sum() / 3600 == pytest.approx(region.area.value, rel=0.03)


@pytest.mark.parametrize(
    "reference",
    [
        REFERENCE,
        SkyCoord(0.001, -60.0, unit="deg"),  # across a right ascension of zero
        SkyCoord(150.0, 40.0, unit="deg", frame="galactic"),
        SkyCoord(150.0, 40.0, unit="deg", frame="barycentricmeanecliptic"),
    ],
    ids=["icrs", "zero", "galactic", "ecliptic"],
)
@pytest.mark.parametrize("rotation", [0, 35])
def test_contours_density_and_contains_agree_on_any_grid(reference, rotation, tmp_path):
    rng = np.random.default_rng(3)
    found = offset(positions(60, "normal", rng) * [[1], [2]], reference)
    region = found.credible_region(0.68)
    here = reference.icrs
    wcs = tan_wcs((200, 200), scale=0.5 / 60, center=(here.ra.deg, here.dec.deg), rotation=rotation)
    x, y = rng.uniform(50, 150, (2, 60))
    inside = np.zeros(60, dtype=bool)
    for contour in region.contours:
        inside ^= contour.to_pixel(wcs).contains(PixCoord(x, y))
    points = wcs.pixel_to_world(x, y)
    assert sum(region.contains(p) != k for p, k in zip(points, inside, strict=True)) <= 1  # close to the edge
    assert 5 < inside.sum() < 55
    column, row = (round(float(a)) for a in region.wcs.world_to_pixel(found.mean))
    assert region.density[row, column] > 0.5 * region.density.max()
    region.contours.write(tmp_path / "c.reg", format="ds9")
    assert len(Regions.read(tmp_path / "c.reg")) == len(region.contours)


def test_contours_are_drawn():
    region = offset(positions(60, "normal", np.random.default_rng(4))).credible_region(0.68)
    kappa = ConvergenceMap(np.ones((40, 40)), wcs=tan_wcs((40, 40), scale=0.05, center=(150.0, 40.0)))
    ax = kappa.plot(Figure().add_subplot(projection=kappa.wcs), regions=region.contours)
    assert len(ax.patches) == len(region.contours)


def test_offsets_are_significant_where_they_exceed_their_error():
    rng = np.random.default_rng(6)
    near, far = offset(positions(99, "normal", rng)), offset(positions(99, "normal", rng) + np.array([[60], [0]]))
    assert near.p_value() > 0.1 and far.p_value() == 0.01
    assert far.p_value(far.mean.icrs) > 0.5
    assert near.probability_farther(40 * u.arcsec) == 0 and near.probability_farther(0 * u.arcsec) == 1
    p = far.probability_farther(1 * u.arcmin)
    assert 0.3 < p.lower < p < p.upper < 0.7 and p.n_samples == 99
    row = far.summary(0.9)[0]
    assert row["p_value"] == 0.01 and row["area"] == far.credible_region(0.9).area and row["n_samples"] == 99
    assert row["center"].separation(far.mean.icrs) < 1e-3 * u.arcsec
    assert row["separation"].to_value(u.arcsec) == pytest.approx(60, abs=3)


@pytest.mark.slow
def test_errors_of_the_reference_are_added_to_those_of_the_peak():
    # the peak and the measured reference are draws around one position: their offset has both errors
    rng, counts = np.random.default_rng(8), np.zeros(10)
    frame, draws = REFERENCE.skyoffset_frame(), rng.normal(size=(150, 2, 10)) * 3
    measured = draws[:, :, -1] + rng.normal(size=(150, 2)) * 6
    for i in range(150):
        here = SkyCoord(*(measured[i] * u.arcsec), frame=frame)
        p = offset(draws[i, :, :-1]).p_value(here, error=6 * u.arcsec)
        counts[round(p * 10) - 1] += 1
    assert chisquare(counts).pvalue > FALSE_ALARM
    many = offset(rng.normal(size=(2, 4000)) * 3)
    for error, std in ((None, 3), (0 * u.arcsec, 3), (4 * u.arcsec, 5)):  # of a Rayleigh distribution; errors of 0.008
        found = many.probability_farther(6 * u.arcsec, error=error)
        assert found == pytest.approx(np.exp(-(6**2) / (2 * std**2)), abs=0.035)


@each_case(
    ("ask", "error", "message"),
    [
        (lambda o: o.credible_region(0.95), ValueError, "level: a region of 0.95 needs at least 19 samples, got 16"),
        (lambda o: o.credible_region(1.2), ValueError, "level: needs to be between 0 and 1"),
        (lambda o: o.p_value((150, 40)), TypeError, "position: needs a SkyCoord"),
        (lambda o: o.probability_farther(3), u.UnitsError, "angle: needs an angle"),
        (lambda o: o.p_value(error=3), u.UnitsError, "error: needs an angle"),
        (
            lambda o: offset(np.outer([1, 2], np.arange(5.0))).credible_region(),
            ValueError,
            "positions: a region needs at least three samples whose peaks are not on a line",
        ),
        (lambda o: offset(np.eye(2)).p_value(REFERENCE), ValueError, None),
    ],
)
def test_invalid_arguments(ask, error, message):
    found = offset(positions(16, "normal", np.random.default_rng(0)))
    if message is None:  # two samples and the position are three
        assert ask(found) >= 1 / 3
        return
    with pytest.raises(error, match=f"^{message}"):
        ask(found)
