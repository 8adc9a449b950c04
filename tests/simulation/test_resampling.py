import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, strategies as st

from astro_massmap.simulation.resampling import in_arcmin, resample, resampled_shape, to_radians

from helpers.cases import each_case

INSIDE = np.s_[8:-8, 8:-8]


def wave(y, x, frequency, angle=0.6):
    """A plane wave; the frequency is in units of the Nyquist frequency."""
    return np.sin(np.pi * frequency * (np.cos(angle) * x + np.sin(angle) * y) + 0.7)


def centres(n, ratio):
    """Pixel centres of both grids, in old pixels from the centre of the map."""
    return [(np.arange(m) - (m - 1) / 2) * step for m, step in ((n, 1), (resampled_shape((n, n), ratio)[0], ratio))]


def on_both_grids(n, ratio, frequency):
    return [wave(*np.meshgrid(c, c, indexing="ij"), frequency) for c in centres(n, ratio)]


@each_case("ratio", [0.7, 1.37, 2, 2.5])
@each_case("frequency", [0.1, 0.4, 0.6])
def test_a_wave_below_the_new_nyquist_frequency_is_kept(ratio, frequency):
    old, new = on_both_grids(256, ratio, frequency / max(ratio, 1))
    resampled = resample(old, ratio)[INSIDE]
    amplitude = (resampled * new[INSIDE]).sum() / (new[INSIDE] ** 2).sum()
    assert abs(amplitude - 1) < 0.01
    assert np.abs(resampled - new[INSIDE]).max() < 0.03


@pytest.mark.parametrize("ratio", [1.37, 2, 2.5])
def test_a_wave_above_the_new_nyquist_frequency_is_removed(ratio):
    old, new = on_both_grids(256, ratio, min(1.5 / ratio, 0.95))
    assert resample(old, ratio)[INSIDE].std() < 0.05 * new.std()


@pytest.mark.parametrize("wave_number", [95, 97])
def test_the_cut_is_sharp(wave_number):
    # cosines of the expansion have whole numbers of half periods; 96 are the Nyquist frequency of 96 pixels
    x = (np.arange(128) + 0.5) / 128
    resampled = resample(np.outer(np.ones(128), np.cos(np.pi * wave_number * x)), 128 / 96)
    expected = np.cos(np.pi * wave_number * (np.arange(96) + 0.5) / 96) * (wave_number < 96)
    assert np.allclose(resampled, expected, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 5))
def test_shape_and_constants(ny, nx, ratio):
    if min(ny, nx) < ratio:
        with pytest.raises(ValueError, match="pixel_scale"):
            resample(np.ones((ny, nx)), ratio)
        return
    resampled = resample(np.full((ny, nx), 3.0), ratio)
    assert resampled.shape == resampled_shape((ny, nx), ratio)
    assert resampled.dtype == np.float32
    assert np.allclose(resampled, 3, atol=1e-5)
    assert max(side * ratio - n for side, n in zip(resampled.shape, (ny, nx), strict=True)) < 1e-4


def test_the_same_scale_changes_nothing():
    image = np.random.default_rng(0).normal(size=(20, 31)).astype(np.float32)
    assert np.allclose(resample(image, 1.0), image, atol=1e-5)


def test_white_noise_keeps_its_power_per_mode():
    noise = np.random.default_rng(1).normal(size=(256, 256))
    assert abs(resample(noise, 2).var() * 4 - 1) < 0.03


def test_shapes_are_limited_before_memory_is_allocated():
    with pytest.raises(ValueError, match="pixel_scale"):
        resample(np.ones((8, 8)), 1e-9)


# ---- angles


def test_angles():
    assert np.isclose(to_radians(1 * u.arcmin, "a"), np.pi / 10800)
    assert to_radians(1e-4, "a") == 1e-4
    assert in_arcmin(np.pi / 10800) == "1 arcmin"


@each_case(
    ("angle", "error"),
    [
        (1 * u.m, u.UnitsError),
        ("wide", TypeError),
        ([1e-4, 1e-4] * u.rad, TypeError),
        (None, TypeError),
        (0, ValueError),
        (-1e-4, ValueError),
        (np.nan, ValueError),
        (0.4, ValueError),  # arcmin were meant
    ],
)
def test_bad_angles_are_named(angle, error):
    with pytest.raises(error, match="pixel_scale: needs"):
        to_radians(angle, "pixel_scale")
