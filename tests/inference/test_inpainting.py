"""Inpainting of the shear, with convergences that are known."""

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.inference import DirectOperator, FourierGrid, LensingOperator, inpainted_shear
from astro_massmap.inference.inpainting import _wavelets, _with_equal_variance
from astro_massmap.simulation import lognormal_maps

PIXEL = np.radians(0.4 / 60)


def holes(shape, fraction, seed=0):
    """Return pixels with data of a field with round holes."""
    rng, (y, x) = np.random.default_rng(seed), np.indices(shape)
    seen = np.ones(shape, dtype=bool)
    while seen.mean() > 1 - fraction:
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        seen &= np.hypot(x - cx, y - cy) > rng.uniform(1, 4)
    return torch.from_numpy(seen)


def waves(shape):
    """Return a field of four products of cosines, each a single coefficient of the transform."""
    y, x = (np.arange(n) + 0.5 for n in shape)
    terms = [(1.0, 4, 0), (0.6, 6, 10), (0.4, 0, 18), (0.3, 20, 2)]
    field = sum(a * np.outer(np.cos(np.pi * k * y / shape[0]), np.cos(np.pi * m * x / shape[1])) for a, k, m in terms)
    return torch.from_numpy(field)


def filled(operator, kappa, observed, iterations=100):
    """Return the modes of E and B of the inpainted shear of a convergence, and the true and the inpainted shear."""
    shear = operator.forward(operator.grid.to_modes(kappa))
    result = inpainted_shear(operator, torch.where(observed, shear, 0.0), observed, iterations)
    return *operator.e_and_b_modes(result), shear, result


@pytest.mark.parametrize("operator", [LensingOperator, DirectOperator])
def test_few_cosines_are_recovered_in_holes(operator):
    # even waves are periodic as well; zero shear leaves an error of 40 % of the standard deviation
    grid = FourierGrid((96, 80), PIXEL, dtype=torch.float64)
    observed, kappa = holes(grid.field_shape, 0.2), waves(grid.field_shape)
    _, b_mode, shear, result = filled(operator(grid), kappa, observed)
    zero = torch.where(observed, shear, 0.0)
    error, before = ((grid.to_field(operator(grid).e_and_b_modes(s)[0]) - kappa)[~observed] for s in (result, zero))
    assert error.std() < 0.02 * kappa.std()
    assert error.std() < before.std() / 50
    assert grid.to_field(b_mode)[~observed].std() < 0.01 * kappa.std()


def test_a_random_field_is_recovered_better_than_with_zero_shear():
    # a Gaussian field, smooth on the scale of the holes: three fields, all of them
    grid = FourierGrid((96, 96), PIXEL, dtype=torch.float64)
    operator, variance = LensingOperator(grid), grid.mode_variance(PowerSpectrum.default())
    window = torch.exp(-0.5 * (grid.ell * 3 * PIXEL) ** 2)
    for seed in range(3):
        white = torch.randn(96, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        modes = variance.sqrt() * window * grid.to_modes(white)
        modes[0, 0] = 0  # shear does not measure the mean
        kappa, observed = grid.to_field(modes), holes((96, 96), 0.2, seed)
        e_mode, b_mode, shear, _ = filled(operator, kappa, observed)
        zero, zero_b = operator.e_and_b_modes(torch.where(observed, shear, 0.0))
        for part in (observed, ~observed):
            error, before = ((grid.to_field(m) - kappa)[part].square().mean().sqrt() for m in (e_mode, zero))
            assert error < 0.25 * before
            assert grid.to_field(b_mode)[part].std() < 0.15 * grid.to_field(zero_b)[part].std()


def test_data_are_unchanged_and_the_box_is_filled():
    grid = FourierGrid((40, 48), PIXEL, (60, 72), dtype=torch.float64)
    observed = holes((40, 48), 0.1)
    shear = torch.randn(2, 40, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    result = inpainted_shear(LensingOperator(grid), torch.where(observed, shear, 0.0), observed, 5)
    assert result.shape == (2, 60, 72) and result.dtype == torch.float64
    assert torch.equal(result[:, :40, :48][:, observed], shear[:, observed])
    assert (result[:, 40:].std() > 0.3) and (result[:, :40, :48][:, ~observed].std() > 0.3)


def test_without_gaps_the_shear_is_the_same():
    grid = FourierGrid((16, 20), PIXEL, dtype=torch.float64)
    shear, observed = torch.ones(2, 16, 20, dtype=torch.float64), torch.ones(16, 20, dtype=torch.bool)
    assert torch.equal(inpainted_shear(LensingOperator(grid), shear, observed, 50), shear)


def test_wavelets_are_differences_of_spline_smoothed_maps():
    # in pixels, with periodic convolutions by (1, 4, 6, 4, 1) / 16 with holes of 2^j - 1 zeros
    box = FourierGrid((64, 64), PIXEL)
    image = np.random.default_rng(0).normal(size=(64, 64))
    parts = box.to_field(_wavelets(box) * box.to_modes(box.real(torch.from_numpy(image)))).numpy()
    smooth = image
    for j, part in enumerate(parts):
        softer = smooth
        for axis in (0, 1):
            weights = zip((1, 4, 6, 4, 1), range(-2, 3), strict=True)
            softer = sum(w * np.roll(softer, shift * 2**j, axis) for w, shift in weights) / 16
        assert np.allclose(part, smooth - softer, atol=1e-5)
        smooth = softer
    assert len(parts) == 3


def test_the_variance_in_gaps_becomes_that_of_the_data():
    # a white field, too low by a factor of 4 in half of the box, far from the border between both
    box = FourierGrid((128, 128), PIXEL)
    white = torch.randn(128, 128, generator=torch.Generator().manual_seed(2))
    gap = torch.zeros(128, 128, dtype=torch.bool)
    gap[:, 64:] = True
    wavelets = _wavelets(box)
    result = _with_equal_variance(box, wavelets, torch.where(gap, white / 4, white), gap)
    assert torch.equal(result[~gap], white[~gap])
    parts = box.to_field(wavelets * box.to_modes(result))
    inside, outside = parts[:2, :, 76:116].std(dim=(1, 2)), parts[:2, :, 12:52].std(dim=(1, 2))
    assert torch.allclose(inside, outside, rtol=0.1)  # 2.5 % of scatter, and the part beyond the two scales


def test_the_power_of_inpainted_gaps_is_that_of_the_data():
    grid = FourierGrid((64, 64), PIXEL, (128, 128), dtype=torch.float64)
    kappa = lognormal_maps(PowerSpectrum.default(), 1, (128, 128), PIXEL, seed=5, dtype=torch.float64)[0]
    box = FourierGrid((128, 128), PIXEL, dtype=torch.float64)
    shear = LensingOperator(box).forward(box.to_modes(kappa))[:, :64, :64]
    observed = holes((64, 64), 0.2, seed=5)
    result = inpainted_shear(LensingOperator(grid), torch.where(observed, shear, 0.0), observed, 100)
    e_mode = box.to_field(LensingOperator(box).e_and_b_modes(result)[0])
    gap = torch.ones(128, 128, dtype=torch.bool)
    gap[:64, :64] = ~observed
    parts = box.to_field(box.real(_wavelets(box)) * box.to_modes(e_mode))
    ratio = torch.stack([part[gap].std() / part[~gap].std() for part in parts])
    assert ((ratio > 0.8) & (ratio < 1.25)).all()
