"""Starlet transform: exact, with the filters of the literature, and B-splines with their adjoint."""

import numpy as np
import torch
from scipy.ndimage import convolve1d

from astro_massmap.inference import FourierGrid, starlet
from astro_massmap.inference.starlet import smooth, spline_beams, spline_products, spline_sum

from helpers.cases import each_case


def white(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@each_case(("shape", "n_scales"), [((33, 40), 3), ((2, 16, 16), 5), ((1, 9), 4), ((64, 64), 1)])
def test_the_transform_reconstructs_exactly(shape, n_scales):
    field = white(*shape)
    coefficients = starlet(field, n_scales)
    assert coefficients.shape == (*shape[:-2], n_scales + 1, *shape[-2:])
    back = coefficients[..., 0, :, :] + spline_sum(coefficients[..., 1:, :, :])
    assert torch.allclose(back, field, rtol=0, atol=1e-13)


def test_the_filters_are_those_with_holes():
    field = white(50, 37)
    for scale in (1, 2, 3):
        kernel = np.zeros(4 * 2 ** (scale - 1) + 1)
        kernel[:: 2 ** (scale - 1)] = np.array([1, 4, 6, 4, 1]) / 16
        expected = field.numpy()
        for axis in (0, 1):
            expected = convolve1d(expected, kernel, axis=axis, mode="constant")
        assert np.allclose(smooth(field, scale), expected, atol=1e-14)


def test_the_adjoint():
    coefficients, field = white(2, 4, 21, 30), white(2, 21, 30, seed=1)
    sums, products = spline_sum(coefficients), spline_products(field, 4)
    assert torch.allclose((sums * field).sum(dim=(1, 2)), (coefficients * products).sum(dim=(1, 2, 3)), rtol=1e-12)


def test_the_transfer_functions_are_those_of_the_splines():
    grid = FourierGrid((128, 128), 1.2e-4, dtype=torch.float64)
    point = torch.zeros(1, 128, 128, dtype=torch.float64)
    point[0, 64, 64] = 1
    splines = spline_products(point, 4)[0]  # the largest has a width of 61 pixels
    for spline, beam in zip(splines, spline_beams(grid, 4), strict=True):
        assert torch.allclose(grid.to_field(grid.to_modes(point) * beam)[0], spline, atol=1e-12)
        assert abs(float(spline.sum()) - 1) < 1e-12 and float(spline.min()) >= 0
