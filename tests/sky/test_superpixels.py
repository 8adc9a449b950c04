"""Super-pixels: means and positions compared with those of the pixels in them."""

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS

from astro_massmap._sky.superpixels import block_mean, block_wcs, pixels_per_side

from helpers.skies import tan_wcs

SHAPE = (12, 18)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 30])
def test_means_are_those_of_the_pixels_of_each_block(n):
    maps = np.random.default_rng(n).normal(size=(2, 12, 17)).astype(np.float32)
    found = block_mean(maps, n)
    for k in range(2):
        for i in range(found.shape[1]):
            for j in range(found.shape[2]):
                block = maps[k, i * n : (i + 1) * n, j * n : (j + 1) * n]
                assert found[k, i, j] == pytest.approx(block.mean(), abs=1e-6)
    assert found.dtype == float and found.shape == (2, -(-12 // n), -(-17 // n))


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"rotation": 40}, {"flipped": True}, {"frame": "GLON"}, {"center": (0.0, 0.0)}, {"center": (359.99, 80.0)}],
)
@pytest.mark.parametrize("cd", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_super_pixel_is_at_the_centre_of_its_pixels(kwargs, cd, n):
    wcs = tan_wcs(SHAPE, **kwargs)
    if not cd:
        wcs = WCS(wcs.to_header())
        assert not wcs.wcs.has_cd()
    blocks = block_wcs(wcs, n, SHAPE)
    i, j = np.mgrid[: SHAPE[0] // n, : SHAPE[1] // n]
    expected = wcs.pixel_to_world((j + 0.5) * n - 0.5, (i + 0.5) * n - 0.5)
    assert blocks.pixel_to_world(j, i).separation(expected).max() < 1e-6 * u.arcsec
    assert blocks.array_shape == i.shape


def test_the_size_is_rounded_to_whole_pixels():
    wcs = tan_wcs(SHAPE)  # 0.4 arcmin
    sizes = [0.3, 0.5, 0.7, 1.5, 2.8] * u.arcmin
    assert [pixels_per_side(size, wcs, SHAPE) for size in sizes] == [1, 1, 2, 4, 7]
    with pytest.raises(ValueError, match=r"^size: needs at least the side of a pixel, 0\.4 arcmin, got 0\.1 arcmin"):
        pixels_per_side(0.1 * u.arcmin, wcs, SHAPE)
    with pytest.raises(ValueError, match=r"^size: needs at most the shorter side of the map, .* arcmin, got 5 deg"):
        pixels_per_side(5 * u.deg, wcs, SHAPE)
    with pytest.raises(u.UnitsError, match=r"^size: needs an angle"):
        pixels_per_side(2, wcs, SHAPE)


def test_distorted_grids_are_refused():
    header = tan_wcs(SHAPE).to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"], header["B_ORDER"], header["A_2_0"], header["B_2_0"] = 2, 2, 1e-4, 0.0
    with pytest.raises(ValueError, match=r"^wcs: super-pixels need a grid without distortions"):
        block_wcs(WCS(header), 2, SHAPE)
