"""Means over regions compared with sums over subpixels, analytic integrals, and a known posterior."""

import operator

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from hypothesis import given, settings, strategies as st
from regions import (
    CircleAnnulusPixelRegion,
    CircleAnnulusSkyRegion,
    CirclePixelRegion,
    CircleSkyRegion,
    CompoundPixelRegion,
    EllipseAnnulusPixelRegion,
    EllipsePixelRegion,
    EllipseSkyRegion,
    LinePixelRegion,
    PixCoord,
    PointPixelRegion,
    PointSkyRegion,
    PolygonPixelRegion,
    PolygonSkyRegion,
    RectanglePixelRegion,
    Regions,
)
from scipy.special import ndtr

from astro_massmap.analysis import region_means as _places
from astro_massmap.analysis.detection import detection_probability, region_means, region_statistics, region_weights

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

SHAPE = 12, 17
GRID = tan_wcs(SHAPE)
OPEN = np.zeros(SHAPE, dtype=bool)
FAR = SkyCoord(330.0, -2.2, unit="deg")  # on the opposite side of the sky
PROBABILITIES = [
    "region", "center", "probability", "lower", "upper", "n_samples", "data_fraction", "measured",
    "kappa", "std", "signal_to_noise",
]  # fmt: skip
STATISTICS = ["region", "center", "kappa", "std", "lower", "upper", "signal_to_noise", "data_fraction"]


def circle(x, y, r):
    return CirclePixelRegion(PixCoord(x, y), r)


def maps(n, shape=SHAPE, seed=0, dtype=np.float32):
    samples = np.random.default_rng(seed).normal(size=(n, *shape)).astype(dtype)
    return samples.mean(axis=0), samples


# ---- weights


def in_ellipse(x, y, a, b, angle):
    c, s = np.cos(angle), np.sin(angle)
    return ((c * x + s * y) / a) ** 2 + ((c * y - s * x) / b) ** 2 < 1


def in_rectangle(x, y, a, b, angle):
    c, s = np.cos(angle), np.sin(angle)
    return (np.abs(c * x + s * y) < a) & (np.abs(c * y - s * x) < b)


def in_triangle(x, y, corners):
    sides = [
        (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0) > 0
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True)
    ]
    return np.all(sides, axis=0) | ~np.any(sides, axis=0)


def kinds(x0, y0, a, b, angle):
    """Regions, their indicator functions, and the accuracy of 10 x 10 points per pixel (circles are exact)."""
    center, turn = PixCoord(x0, y0), angle * u.rad
    corners = np.array([[x0, y0], [x0 + 2 * a, y0 + b * np.sin(angle)], [x0 - b, y0 + 1.5 * a]])
    one, two = circle(x0, y0, a), circle(x0 + b, y0 - b, b)

    def inside(px, py):
        return np.hypot(px - x0, py - y0) < a, np.hypot(px - x0 - b, py - y0 + b) < b

    yield one, lambda px, py: inside(px, py)[0], 0.03
    yield EllipsePixelRegion(center, 2 * a, 2 * b, turn), lambda px, py: in_ellipse(px - x0, py - y0, a, b, angle), 0.1
    yield (
        EllipseAnnulusPixelRegion(center, a, 2 * a, b, 2 * b, turn),
        lambda px, py: in_ellipse(px - x0, py - y0, a, b, angle) & ~in_ellipse(px - x0, py - y0, a / 2, b / 2, angle),
        0.04,
    )
    # old versions of regions compute these two from 10 x 10 points
    yield (
        RectanglePixelRegion(center, 2 * a, 2 * b, turn),
        lambda px, py: in_rectangle(px - x0, py - y0, a, b, angle),
        0.1,
    )
    yield PolygonPixelRegion(PixCoord(*corners.T)), lambda px, py: in_triangle(px, py, corners), 0.1
    yield CompoundPixelRegion(one, two, operator.or_), lambda px, py: np.any(inside(px, py), axis=0), 0.1
    yield CompoundPixelRegion(one, two, operator.xor), lambda px, py: np.logical_xor(*inside(px, py)), 0.15
    nested = CompoundPixelRegion(CompoundPixelRegion(one, two, operator.and_), circle(x0, y0, a / 2), operator.or_)
    yield (
        nested,
        lambda px, py: np.all(inside(px, py), axis=0) | (np.hypot(px - x0, py - y0) < a / 2),
        0.15,
    )


def dense(inside, x0, y0, fine=30, reach=11):
    """Covered fractions of the pixels around a position by sums over subpixels, and their indices."""
    x0, y0 = round(x0), round(y0)
    steps = (np.arange(-reach * fine, (reach + 1) * fine) + 0.5) / fine - 0.5
    n = 2 * reach + 1
    return inside(*np.meshgrid(x0 + steps, y0 + steps)).reshape(n, fine, n, fine).mean(axis=(1, 3)), (x0, y0, reach)


@settings(max_examples=25)
@given(st.floats(-4, 20), st.floats(-4, 15), st.floats(0.5, 5), st.floats(0.4, 4), st.floats(0, 3))
@pytest.mark.slow
def test_overlaps_are_those_of_fine_points(x0, y0, a, b, angle):
    for region, inside, error in kinds(x0, y0, a, b, angle):
        weights = region_weights(region, GRID, SHAPE)
        covered, (x, y, reach) = dense(inside, x0, y0)
        expected = np.zeros((SHAPE[0] + 60, SHAPE[1] + 60))
        expected[y - reach + 30 : y + reach + 31, x - reach + 30 : x + reach + 31] = covered
        expected = expected[30:-30, 30:-30].ravel()
        assert np.abs(weights.overlap.toarray()[0] - expected).max() < error
        assert weights.overlap.nnz == 0 or weights.overlap.data.min() > 0
        assert abs(weights.area[0] - covered.sum()) < 0.01 * covered.sum() + 0.06


@pytest.mark.parametrize(
    ("x", "y", "a", "b", "angle"),
    [
        (2, 1.5, 1, 1, 0.25),
        (1.5, 1.25, 4, 0.5, 0),
        (1.5, 1.25, 1.5, 0.5, 0),
        (1.75, 3.5, 0.5, 0.5, 0.5),
        (3, 3, 1, 1, 0.5),
    ],
)
def test_ellipses_through_the_corners_of_pixels(x, y, a, b, angle):
    # the exact masks of regions 0.12 miss 9 % to 100 % of these
    weights = region_weights(EllipsePixelRegion(PixCoord(x, y), a, b, angle * u.rad), GRID, SHAPE)
    assert np.isclose(weights.overlap.sum(), np.pi * a * b / 4, rtol=0.01)


@given(st.floats(0, 16), st.floats(0, 11), st.floats(0.01, 60))
def test_the_area_of_a_circle(x, y, r):
    weights = region_weights(circle(x, y, r), GRID, SHAPE)
    assert np.isclose(weights.area[0], np.pi * r**2, rtol=1e-9)
    assert weights.overlap.sum() <= min(np.pi * r**2, OPEN.size) * (1 + 1e-9)
    if r < min(x, 16 - x, y, 11 - y) + 0.5:
        assert np.isclose(weights.overlap.sum(), np.pi * r**2, rtol=1e-9)


def test_regions_across_the_edge_of_the_field():
    half, quarter, none = region_weights(
        [circle(-0.5, 5, 3), circle(16.5, 11.5, 3), circle(30, 5, 3)], GRID, SHAPE
    ).overlap
    assert np.isclose(half.sum(), np.pi * 9 / 2)
    assert np.isclose(quarter.sum(), np.pi * 9 / 4)
    assert none.nnz == 0


@given(st.floats(0, 16), st.floats(0, 11), st.floats(-18, -1))
def test_small_regions_cover_a_pixel(x, y, size):
    r = 10**size
    expected = np.round(y) * SHAPE[1] + np.round(x)
    corners = PixCoord(x + r * np.array([0, 1, 0]), y + r * np.array([0, 0, 1]))
    regions = [
        circle(x, y, r),
        EllipsePixelRegion(PixCoord(x, y), r, 2 * r),
        RectanglePixelRegion(PixCoord(x, y), r, 2 * r),
        PointPixelRegion(PixCoord(x, y)),
    ]
    if np.ptp(corners.x) > 0.9 * r and np.ptp(corners.y) > 0.9 * r:
        regions.append(PolygonPixelRegion(corners))
    weights = region_weights(regions, GRID, SHAPE)
    assert (weights.area > 0).all()
    for row in weights.overlap:
        assert row.nnz >= 1
        if max(abs(c - np.round(c)) for c in (x, y)) < 0.5 - 2 * r and r > 1e-6:
            assert set(row.indices) == {expected}


def test_small_regions_on_the_edge_of_a_pixel():
    for r in (1e-17, 1e-12, 0.1):
        weights = region_weights([circle(3.5, 4, r), circle(3.5, 4.5, r)], GRID, SHAPE)
        assert set(weights.overlap[[0]].indices) <= {4 * 17 + 3, 4 * 17 + 4}
        assert weights.overlap[[1]].nnz in (1, 4)


def test_small_compounds_cover_pixels_and_empty_ones_none():
    both = circle(3.2, 4.2, 0.03) | circle(9.3, 4.2, 0.03)
    weights = region_weights([both, circle(3, 3, 1) & circle(9, 3, 1)], GRID, SHAPE)
    assert list(weights.overlap[[0]].indices) == [4 * 17 + 3, 4 * 17 + 9]
    assert np.isclose(weights.area[0], 2 * np.pi * 0.03**2, rtol=0.2)
    assert weights.overlap[[1]].nnz == 0 and weights.area[1] == 0


def test_lines_have_no_area():
    weights = region_weights(LinePixelRegion(PixCoord(2, 2), PixCoord(8, 8)), GRID, SHAPE)
    assert weights.overlap.nnz == 0 and weights.area[0] == 0


def test_regions_larger_than_the_field():
    one, two, ring = circle(8, 5, 4000), circle(4000, 5, 4100), CircleAnnulusPixelRegion(PixCoord(8, 5), 3, 4000)
    weights = region_weights([one, ring, one | two, circle(1e300, 0, 1)], GRID, SHAPE)
    assert np.isclose(weights.area[0], np.pi * 4000**2)
    assert np.allclose(weights.overlap.sum(axis=1), [204, 204 - 9 * np.pi, 204, 0], atol=0.2)
    # two circles of radii r, R at the distance d share r^2 acos(...) + R^2 acos(...) - half a kite
    d, r, R = 3992, 4000, 4100
    lens = r**2 * np.arccos((d**2 + r**2 - R**2) / (2 * d * r)) + R**2 * np.arccos((d**2 + R**2 - r**2) / (2 * d * R))
    lens -= 0.5 * np.sqrt((-d + r + R) * (d + r - R) * (d - r + R) * (d + r + R))
    assert np.isclose(weights.area[2], np.pi * (r**2 + R**2) - lens, rtol=2e-3)


@pytest.mark.slow
@given(st.floats(-5, 21), st.floats(-5, 16), st.floats(-9, -1))
def test_a_field_in_the_hole_of_a_ring_is_outside(x, y, margin):
    reach = max(np.hypot(a - x, b - y) for a in (-0.5, 16.5) for b in (-0.5, 11.5))
    r = reach * (1 + 10**margin)
    rings = [
        CircleAnnulusPixelRegion(PixCoord(x, y), r, 1.5 * r),
        EllipseAnnulusPixelRegion(PixCoord(x, y), 2 * r, 3 * r, 2.4 * r, 3.6 * r, 0.3 * u.rad),
    ]
    assert region_weights(rings, GRID, SHAPE).overlap.nnz == 0  # not even by rounding errors
    radii = np.array([r * (1 + 1e-6), 1.5 * r]) * 0.4 * u.arcmin
    table = region_statistics(*maps(8), GRID, OPEN, circle(x, y, 3 * r), background=radii)
    assert np.isnan(table["kappa"]).all() and table["data_fraction"] > 0


# ---- the sky

WCSS = [
    {},
    {"rotation": 33},
    {"flipped": True},
    {"rotation": 200, "flipped": True},
    {"center": (10.0, 75.0)},
    {"frame": "GLON"},
]


@pytest.mark.parametrize("kwargs", WCSS)
def test_integrals_over_ellipses_on_the_sky(kwargs):
    # over an ellipse with the half axes a, b the mean of the square of the coordinate along a is a^2 / 4
    shape, (a, b), tilt = (60, 70), (7.0, 4.0), 25 * u.deg
    wcs = tan_wcs(shape, **kwargs)
    center = wcs.pixel_to_world(33, 28)
    sky = wcs.pixel_to_world(*np.meshgrid(np.arange(70), np.arange(60)))
    separation, angle = center.separation(sky).arcmin, center.position_angle(sky)
    long = separation * np.cos(angle - (tilt - 90 * u.deg)).value  # regions count from West through North
    short = separation * np.sin(angle - (tilt - 90 * u.deg)).value
    ellipse = EllipseSkyRegion(center, 2 * a * u.arcmin, 2 * b * u.arcmin, tilt)
    round_one = CircleSkyRegion(center.icrs if center.name != "icrs" else center.galactic, a * u.arcmin)
    means = region_means(np.array([long**2, short**2]), region_weights([ellipse, round_one], wcs, shape))
    assert np.allclose(means, np.array([[a, a], [b, a]]) ** 2 / 4, rtol=0.01)


@pytest.mark.parametrize("kwargs", WCSS)
def test_polygons_on_the_sky(kwargs):
    shape = 40, 50
    wcs = tan_wcs(shape, **kwargs)
    square = PolygonSkyRegion(wcs.pixel_to_world([9.5, 29.5, 29.5, 9.5], [4.5, 4.5, 24.5, 24.5]))
    y, x = np.mgrid[:40, :50].astype(float)
    means = region_means(np.array([x, y]), region_weights(square, wcs, shape))
    assert np.allclose(means[:, 0], [19.5, 14.5], atol=1e-3)


@pytest.mark.parametrize(("frame", "name"), [("RADEC", "icrs"), ("GLON", "galactic"), ("FK5", "fk5")])
def test_centers_are_in_the_frame_of_the_grid(frame, name):
    wcs = tan_wcs(SHAPE, frame="GLON" if frame == "GLON" else "RADEC")
    if frame == "FK5":
        wcs.wcs.radesys = "FK5"
    there = wcs.pixel_to_world(5, 6)
    regions = [
        CircleSkyRegion(there.galactic, 1 * u.arcmin),
        CircleSkyRegion(there.fk5, 1 * u.arcmin),
        circle(5, 6, 2),
        PointSkyRegion(there.icrs),
        PolygonPixelRegion(PixCoord([3, 7, 7, 3], [4, 4, 8, 8])),
        circle(4, 6, 2) | (circle(6, 6, 2) | circle(5, 6, 1)),
        CircleAnnulusSkyRegion(there, 1 * u.arcmin, 2 * u.arcmin),
    ]
    centers = detection_probability(*maps(3), wcs, OPEN, regions, 0.0)["center"]
    assert centers.frame.name == name
    assert (centers.separation(there) < 1e-6 * u.arcsec).all()


def test_beyond_the_sky_and_the_field():
    with_parts_beyond = CircleSkyRegion(FAR, 1 * u.arcmin) | CircleSkyRegion(GRID.pixel_to_world(5, 5), 1 * u.arcmin)
    regions = [
        circle(5, 5, 2),
        PointSkyRegion(FAR),
        CircleSkyRegion(FAR, 1 * u.arcmin),
        EllipseSkyRegion(FAR, 1 * u.arcmin, 2 * u.arcmin),
        PolygonSkyRegion(SkyCoord([330, 330.1, 330], [-2.2, -2.2, -2.1], unit="deg")),
        with_parts_beyond,
        circle(50, 50, 2),
        PointPixelRegion(PixCoord(-1, 3)),
        circle(8, 8, 2),
    ]
    mean, samples = maps(8)
    table = region_statistics(mean, samples, GRID, OPEN, regions, background=[1, 2] * u.arcmin)
    there = np.array([True, *[False] * 7, True])
    for name in STATISTICS[2:-1]:
        assert np.array_equal(np.isfinite(table[name]), there)
    assert np.allclose(table["data_fraction"], there)
    assert (table["center"][1:4].separation(FAR) < 1e-6 * u.arcsec).all()
    alone = region_statistics(mean, samples, GRID, OPEN, regions[-1], background=[1, 2] * u.arcmin)
    assert np.allclose(table["kappa"][-1], alone["kappa"][0])
    probability = detection_probability(mean, samples, GRID, OPEN, regions, -9.0)["probability"]
    assert np.array_equal(probability, np.where(there, 1, np.nan), equal_nan=True)


def test_circles_together_are_circles_one_by_one():
    shape = 40, 50
    wcs = tan_wcs(shape, rotation=20)
    regions = [CircleSkyRegion(c, 1.3 * u.arcmin) for c in scatter(wcs, shape, 20)]
    together = region_weights(regions, wcs, shape)
    for i, region in enumerate(regions):
        alone = region_weights(region, wcs, shape)
        assert np.isclose(together.area[i], alone.area[0], rtol=1e-4)
        assert np.abs((together.overlap[[i]] - alone.overlap).toarray()).max() < 1e-3


# ---- means


def weighted(samples, row):
    """Means by a plain loop over pixels."""
    total = sum(w * s.astype(float) for w, s in zip(row, samples.reshape(len(samples), -1).T, strict=True))
    return total / row.sum()


@given(
    st.lists(st.tuples(st.floats(0, 16), st.floats(0, 11), st.floats(0.2, 6)), min_size=1, max_size=4), st.booleans()
)
def test_tables_are_plain_sums(circles, ring):
    mean, samples = maps(9, seed=len(circles))
    mask = np.random.default_rng(1).random(SHAPE) < 0.3
    regions = [circle(*c) for c in circles]
    background = [0.9, 2.1] * u.arcmin if ring else None
    weights = region_weights(regions, GRID, SHAPE)
    rows = weights.overlap.toarray()
    values = np.array([weighted(samples, row) for row in rows])
    kappa = np.array([weighted(mean[None], row)[0] for row in rows])
    if ring:
        for i, (x, y, _) in enumerate(circles):
            annulus = CircleAnnulusPixelRegion(PixCoord(x, y), 0.9 / 0.4, 2.1 / 0.4)
            (row,) = region_weights(annulus, GRID, SHAPE).overlap.toarray()
            values[i] -= weighted(samples, row)
            kappa[i] -= weighted(mean[None], row)[0]
    table = region_statistics(mean, samples, GRID, mask, regions, background=background, level=0.5)
    assert table.colnames == STATISTICS
    assert np.allclose(table["kappa"], kappa, atol=1e-5)
    assert np.allclose(table["std"], values.std(axis=1, ddof=1), rtol=1e-4)
    assert np.allclose(table["lower"], np.quantile(values, 0.25, axis=1, method="weibull"), atol=1e-5)
    assert np.allclose(table["upper"], np.quantile(values, 0.75, axis=1, method="weibull"), atol=1e-5)
    assert np.allclose(table["signal_to_noise"], table["kappa"] / table["std"])
    assert np.allclose(table["data_fraction"], rows @ ~mask.ravel() / weights.area)
    thresholds = np.linspace(-0.1, 0.1, len(regions))
    detected = detection_probability(mean, samples, GRID, mask, regions, thresholds, background)
    assert detected.colnames == PROBABILITIES and (detected["n_samples"] == 9).all()
    assert np.allclose(detected["probability"], [np.mean(v > t) for v, t in zip(values, thresholds, strict=True)])


def test_a_known_posterior():
    # Pixels are independent, normal (mu, sigma): a mean with the weights w is normal (mu, sigma |w| / sum w).
    # Five binomial or sampling errors, in 5 regions and 3 figures: one false alarm in 1e5 seeds.
    n, mu, sigma = 20000, 0.03, 0.2
    rng = np.random.default_rng(5)
    samples = (mu + sigma * rng.normal(size=(n, *SHAPE))).astype(np.float32)
    regions = [circle(x, y, r) for x, y, r in [(4, 4, 1), (9, 7, 2.3), (12.3, 3.1, 3.6), (0, 0, 2), (6, 6, 0.3)]]
    weights = region_weights(regions, GRID, SHAPE).overlap.toarray()
    spread = sigma * np.linalg.norm(weights, axis=1) / weights.sum(axis=1)
    mean = np.full(SHAPE, mu)
    for threshold in (0.03, 0.08):
        table = detection_probability(mean, samples, GRID, OPEN, regions, threshold)
        p = ndtr((mu - threshold) / spread)
        assert np.allclose(table["kappa"], mu)
        assert (np.abs(table["probability"] - p) < 5 * np.sqrt(p * (1 - p) / n)).all()
    table = region_statistics(mean, samples, GRID, OPEN, regions, level=0.6826895)
    assert (np.abs(table["std"] / spread - 1) < 5 / np.sqrt(2 * n)).all()
    assert (np.abs((table["upper"] - table["lower"]) / (2 * spread) - 1) < 5 * 1.2 / np.sqrt(n)).all()


def test_a_background_is_subtracted():
    y, x = np.mgrid[:40, :50]
    slope = 0.01 * x + 0.02 * y
    clump = (np.hypot(x - 24, y - 20) < 4) * 0.1
    offsets = np.random.default_rng(0).normal(size=(8, 1, 1))
    samples, wcs, mask = slope + clump + offsets, tan_wcs((40, 50)), np.zeros((40, 50), dtype=bool)
    regions = [circle(24, 20, 3), circle(12, 20, 3)]
    rings = [CircleAnnulusPixelRegion(PixCoord(a, 20), 6, 10) for a in (24, 12)]
    for background, words in [
        ([2.4, 4] * u.arcmin, "2.4 arcmin to 4 arcmin around each"),
        (rings, "one region for each"),
    ]:
        table = region_statistics(samples[0], samples, wcs, mask, regions, background=background)
        assert np.allclose(table["kappa"][0], 0.1, atol=1e-4)
        assert (table["std"] < 1e-4).all()
        assert table.meta["background"] == words
    one = region_statistics(samples[0], samples, wcs, mask, regions, background=rings[0])
    assert np.allclose(one["kappa"], [0.1, -0.12], atol=1e-3)
    assert one.meta["background"] == "one region for all"
    assert region_statistics(samples[0], samples, wcs, mask, regions).meta["background"] is None


def test_pixels_without_a_value_are_outside():
    mean, samples = maps(6)
    samples[:, :, :5] = np.nan  # as outside of a reprojected map
    samples[2, 7, 9] = np.nan  # one sample is enough
    mean[:, :5], mean[3, 11] = 0, np.nan
    table = region_statistics(mean, samples, GRID, OPEN, [circle(4.5, 6, 3), circle(9, 7, 0.4), circle(11, 3, 1.5)])
    assert np.isclose(table["data_fraction"][0], 0.5)
    assert table["data_fraction"][1] == 0 and np.isnan(table["kappa"][1])
    part = region_weights(circle(-0.5, 6, 3), GRID, SHAPE)  # the same half circle, on the remaining part
    shifted = np.pad(mean[:, 5:], [(0, 0), (0, 5)])[None]
    assert np.isclose(table["kappa"][0], region_means(shifted, part)[0, 0])
    assert np.isfinite(table["kappa"][2]) and np.isclose(table["data_fraction"][2], 1 - 1 / (np.pi * 1.5**2))


def test_data_fraction_is_relative_to_the_whole_region():
    mask = OPEN.copy()
    mask[:, :8] = True  # the edge of the data is at x = 7.5
    regions = [circle(7.5, 5, 3), circle(3, 5, 2), circle(12, 11.5, 3), circle(7.5, 11.5, 3)]
    table = detection_probability(*maps(3), GRID, mask, regions, 0)
    assert np.allclose(table["data_fraction"], [0.5, 0, 0.5, 0.25])
    assert np.isfinite(table["probability"]).all()


def test_results_do_not_depend_on_the_batch_size(monkeypatch):
    _, samples = maps(7)
    regions = [circle(4, 5, 2), circle(4, 5, 2) | circle(9, 5, 2)]
    before = region_means(samples, region_weights(regions, GRID, SHAPE))
    monkeypatch.setattr(_places, "_AT_ONCE", 50)
    assert np.allclose(region_means(samples, region_weights(regions, GRID, SHAPE)), before, rtol=1e-12)


# ---- forms of regions


def test_regions_from_files():
    mean, samples = maps(6)
    sky = [CircleSkyRegion(GRID.pixel_to_world(x, 6), 1 * u.arcmin, {"text": f"A{x}"}) for x in (4, 11)]
    expected = region_statistics(mean, samples, GRID, OPEN, sky)
    assert list(expected["region"]) == ["A4", "A11"]
    Regions(sky).write("r.reg")
    Regions([r.to_pixel(GRID) for r in sky]).write("r.fits")
    table = QTable({"ra": expected["center"].ra, "dec": expected["center"].dec, "radius": [1, 1] * u.arcmin})
    table["name"] = ["A4", "A11"]
    table.write("r.ecsv")
    for source in ("r.reg", "r.fits", "r.ecsv", table, Regions(sky)):
        found = region_statistics(mean, samples, GRID, OPEN, source)
        for name in STATISTICS[2:]:
            assert np.allclose(found[name], expected[name], atol=1e-4)
        assert list(found["region"]) == (["0", "1"] if source == "r.fits" else ["A4", "A11"])
    Regions(sky[:1]).write("one.reg")
    one = region_statistics(mean, samples, GRID, OPEN, sky[1], background="one.reg")
    assert np.isclose(one["kappa"][0], expected["kappa"][1] - expected["kappa"][0], atol=1e-4)


def test_tables_can_be_written_and_read():
    table = region_statistics(*maps(6), GRID, OPEN, [circle(4, 5, 2), circle(8, 8, 1)], background=[1, 2] * u.arcmin)
    table.write("t.ecsv")
    back = QTable.read("t.ecsv")
    assert (back["center"].separation(table["center"]) < 1e-6 * u.arcsec).all()
    assert np.array_equal(back["kappa"], table["kappa"])
    assert back.meta["level"] == 0.68 and back.meta["n_samples"] == 6


def test_labels():
    regions = [circle(4, 5, 2) for _ in range(4)]
    for region, meta in zip(regions, [{"text": "A"}, {"name": "B"}, {"label": "C"}, {}], strict=True):
        region.meta.update(meta)
    assert list(detection_probability(*maps(2), GRID, OPEN, regions, 0)["region"]) == ["A", "B", "C", "3"]


def test_no_regions():
    for background in (None, [1, 2] * u.arcmin, []):
        table = region_statistics(*maps(8), GRID, OPEN, [], background=background)
        assert len(table) == 0 and table.colnames == STATISTICS
    assert len(detection_probability(*maps(3), GRID, OPEN, [], 0.0)["center"]) == 0


def test_one_sample_has_no_standard_deviation():
    mean, samples = maps(1)
    assert set(detection_probability(mean, samples, GRID, OPEN, circle(4, 5, 2), 0)["probability"]) <= {0.0, 1.0}
    with pytest.raises(ValueError, match="samples: an interval needs at least two"):
        region_statistics(mean, samples, GRID, OPEN, circle(4, 5, 2))


# ---- invalid arguments


@each_case(
    ("kwargs", "error", "message"),
    [
        ({"samples": None}, ValueError, "^samples: .*n_samples > [01]"),
        ({"samples": np.zeros((0, *SHAPE))}, ValueError, "^samples: .*n_samples > [01]"),
        ({"samples": np.zeros((3, 5, 5))}, ValueError, "^samples: need the shape"),
        ({"mean": np.zeros(5)}, ValueError, "^mean: needs the shape"),
        ({"mask": np.zeros(SHAPE)}, ValueError, "^mask: needs a bool"),
        ({"regions": 3}, TypeError, "^regions: "),
        ({"regions": [3]}, TypeError, "^regions: needs regions"),
        ({"regions": "missing.reg"}, OSError, "^regions: there is no file"),
        ({"background": 3}, TypeError, "^background: "),
        ({"background": "missing.reg"}, OSError, "^background: there is no file"),
        ({"background": [circle(1, 1, 1)] * 3}, ValueError, "^background: needs one region, or one for each of 2"),
        ({"background": [1, 2] * u.m}, u.UnitsError, "^background: needs two angles"),
        ({"background": 1 * u.arcmin}, ValueError, "^background: needs two positive radii"),
        ({"background": [2, 1] * u.arcmin}, ValueError, "^background: needs two positive radii"),
        ({"background": [0, 1] * u.arcmin}, ValueError, "^background: needs two positive radii"),
        ({"background": [1, np.nan] * u.arcmin}, ValueError, "^background: needs two positive radii"),
    ],
)
def test_bad_arguments(kwargs, error, message):
    mean, samples = maps(3)
    arguments = {"mean": mean, "samples": samples, "wcs": GRID, "mask": OPEN, "regions": [circle(4, 5, 2)] * 2} | kwargs
    with pytest.raises(error, match=message):
        region_statistics(**arguments)
    with pytest.raises(error, match=message):
        detection_probability(**arguments, threshold=0.0)


@each_case(
    ("threshold", "error"),
    [
        ([1, 2, 3], ValueError),
        (np.nan, ValueError),
        ([0, np.inf], ValueError),
        ("high", TypeError),
        (1 * u.m, u.UnitsError),
    ],
)
def test_bad_thresholds(threshold, error):
    with pytest.raises(error, match=r"^threshold: "):
        detection_probability(*maps(3), GRID, OPEN, [circle(4, 5, 2)] * 2, threshold)


@each_case(("level", "error"), [(0, ValueError), (68, ValueError), (np.nan, ValueError), ("most", TypeError)])
def test_bad_levels(level, error):
    with pytest.raises(error, match=r"^level: "):
        region_statistics(*maps(3), GRID, OPEN, circle(4, 5, 2), level=level)


def test_maps_of_another_grid():
    weights = region_weights(circle(4, 5, 2), GRID, SHAPE)
    with pytest.raises(ValueError, match=r"^maps: "):
        region_means(np.zeros((3, 5, 5)), weights)
    with pytest.raises(ValueError, match=r"^maps: "):
        region_means(np.zeros(SHAPE), weights)
