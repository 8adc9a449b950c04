"""Offsets of peaks compared with placed peaks, counts of samples, and the Gaussian distribution."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap.analysis.offsets import peak_offset
from astro_massmap.analysis.positions import PeakOffset
from astro_massmap.analysis.probability import Probability

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = 30, 36
OPEN = np.zeros(SHAPE, dtype=bool)


def bumps(x, y, height=0.3, width=2.0):
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x, y = (np.reshape(a, (-1, 1, 1)) for a in (x, y))
    return height * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * width**2))


def drawn(n, scale=(8, 3), seed=1):
    """A posterior of n positions around a reference, normal with these standard deviations in arcsec."""
    reference = SkyCoord(150.0, 40.0, unit="deg")
    east, north = np.random.default_rng(seed).normal(scale=np.reshape(scale, (2, 1)), size=(2, n))
    turned = (east + 1j * north) * np.exp(0.6j)  # the long axis from East to North
    positions = SkyCoord(turned.real * u.arcsec, turned.imag * u.arcsec, frame=reference.skyoffset_frame())
    return PeakOffset(reference, positions, n)


@pytest.mark.parametrize("kwargs", [{}, {"rotation": 40}, {"flipped": True}, {"frame": "GLON"}])
def test_offsets_are_those_of_placed_peaks(kwargs):
    wcs = tan_wcs(SHAPE, **kwargs)
    x, y = 17 + np.array([-1.3, 0.2, 0.9, 2.4, -0.2]), 14 + np.array([0.4, -2.2, 1.0, 0.0, 0.6])
    a, b = wcs.pixel_to_world([16.0, 18.0], [14.0, 14.0])
    found = peak_offset(bumps(x, y), wcs, OPEN, wcs.pixel_to_world(17, 14), b, radius=1.2 * u.arcmin)
    expected = wcs.pixel_to_world(x, y).transform_to(b.skyoffset_frame())
    assert (found.positions.separation(expected) < 0.02 * 0.4 * u.arcmin).all()  # 0.02 pixels
    lon, lat = expected.lon.wrap_at("180d").arcsec, expected.lat.arcsec
    assert found.mean.lon.wrap_at("180d").arcsec == pytest.approx(lon.mean(), abs=0.3)
    assert found.median.lat.arcsec == pytest.approx(np.median(lat), abs=0.5)
    assert np.allclose(found.covariance.to_value(u.arcsec**2), np.cov(lon, lat), rtol=0.02, atol=15)  # of up to 900
    expected = Probability(2, 5)  # 15.7 and 16.8 are nearer to 16 than to 18
    nearer = found.probability_nearer(a, b)
    assert (nearer, nearer.lower, nearer.upper, nearer.n_samples) == (expected, expected.lower, expected.upper, 5)
    assert found.probability_nearer(b, a) == 0.6
    assert found.fraction == 1


def test_the_peak_is_the_highest_maximum_within_the_radius():
    wcs, x = tan_wcs(SHAPE), np.array([15.0, 16.0, 17.0])
    maps = (
        bumps(x, 14 + 0 * x) + bumps(x + 5, 14 + 0 * x, height=0.5, width=1.0) + bumps(x + 12, 14 + 0 * x, height=0.9)
    )
    center = wcs.pixel_to_world(16, 14)
    for radius, at in ((1.5, 16), (2.8, 21)):  # arcmin: up to 3.75 and 7 pixels
        found = peak_offset(maps, wcs, OPEN, center, wcs.pixel_to_world(at, 14), radius=radius * u.arcmin)
        assert found.mean.separation(found.reference) < 0.2 * 0.4 * u.arcmin
        assert len(found.positions) == found.n_samples == 3


def test_samples_without_a_peak_are_counted():
    wcs = tan_wcs(SHAPE)
    maps = bumps([10, 11, 12, 30, 30], [10, 10, 10, 10, 10])
    center = wcs.pixel_to_world(11, 10)
    with pytest.warns(AstropyUserWarning, match="center: 2 of 5 samples have no maximum within 1 arcmin"):
        found = peak_offset(maps, wcs, OPEN, center, center)
    assert found.fraction == 0.6 and found.fraction.n_samples == 5 and found.probability_nearer(center, center) == 0
    assert "3 of 5 samples" in repr(found)
    with pytest.raises(ValueError, match=r"positions: an ellipse needs .* not on a line"):
        found.ellipse()
    masked = OPEN.copy()
    masked[10, 11] = True
    with pytest.warns(AstropyUserWarning, match="center: the map has no data there"):
        peak_offset(maps[:3], wcs, masked, center, center)


def test_smoothing_merges_two_maxima():
    wcs, x = tan_wcs(SHAPE), np.array([15.0, 16.0])
    maps = bumps(x - 1.5, 14 + 0 * x, width=0.7) + bumps(x + 1.5, 14 + 0 * x, width=0.7)
    found = peak_offset(maps, wcs, OPEN, *[wcs.pixel_to_world(15.5, 14)] * 2, smoothing=0.8 * u.arcmin)
    assert found.mean.separation(found.reference) < 0.02 * u.arcmin


@pytest.mark.parametrize("level", [0.3, 0.68, 0.95])
def test_the_ellipse_contains_its_fraction_of_the_samples(level):
    offset, wcs = drawn(199), tan_wcs((400, 400), scale=0.2 / 60, center=(150.0, 40.0), rotation=25)
    region = offset.ellipse(level)
    inside = region.contains(offset.positions.icrs, wcs)
    assert abs(inside.sum() - level * 200) <= 3  # 1 for the sample on the edge, 2 as the others define the size
    assert float(region.width / region.height) == pytest.approx(8 / 3, rel=0.2)  # errors of 5 % each
    # the level of a position on the contour is that of the contour
    tip = region.center.directional_offset_by(270 * u.deg + region.angle, region.width / 2)
    assert offset.level_at(tip) == pytest.approx(level, abs=0.02)


def test_the_level_of_a_position_is_that_of_a_gaussian():
    offset = drawn(4000)
    frame = offset.reference.skyoffset_frame()
    along = np.exp(0.6j)
    for sigmas in (0.5, 1.5, 2.5):
        for direction in (8 * along, 3j * along):
            position = SkyCoord((sigmas * direction).real * u.arcsec, (sigmas * direction).imag * u.arcsec, frame=frame)
            # binomial errors are below 0.008
            assert offset.level_at(position) == pytest.approx(1 - np.exp(-(sigmas**2) / 2), abs=0.03)
    assert offset.level_at() < 0.02


def test_a_probability_has_a_wilson_interval():
    # z = 1 of Wilson (1927): (p + 1 / 2n +- (p (1 - p) / n + 1 / 4n^2)^1/2) / (1 + 1 / n); a level of 0.6827
    p = Probability(30, 40, 0.6826894921)
    half = np.sqrt(0.75 * 0.25 / 40 + 1 / 6400)
    assert p == 0.75 and p.n_samples == 40
    assert (p.lower, p.upper) == pytest.approx([(0.75 + 1 / 80 - half) / 1.025, (0.75 + 1 / 80 + half) / 1.025])


@each_case(
    ("change", "error", "message"),
    [
        ({"center": SkyCoord(151, 2.2, unit="deg")}, ValueError, "center: needs a position on the map"),
        ({"center": (150, 2)}, TypeError, "center: needs a SkyCoord"),
        ({"reference": SkyCoord([150, 150], [2, 2], unit="deg")}, ValueError, "reference: needs one finite position"),
        ({"radius": 1.0}, u.UnitsError, "radius: needs an angle"),
        ({"radius": 0.1 * u.arcmin}, ValueError, "radius: 0 of 4 samples have a maximum within 0.1 arcmin"),
        ({"samples": None}, ValueError, "samples: "),
        ({"samples": np.zeros((1, *SHAPE))}, ValueError, "samples: "),
    ],
)
def test_invalid_arguments(change, error, message):
    wcs = tan_wcs(SHAPE)
    center = wcs.pixel_to_world(17, 14)
    arguments = {"samples": bumps([20] * 4, [14] * 4), "center": center, "reference": center} | change
    with pytest.raises(error, match=f"^{message}"):
        peak_offset(wcs=wcs, mask=OPEN, **arguments)
