import math

import numpy as np
import pytest
import torch

from astro_massmap.inference import FourierGrid, padded_shape

SIDES = [(8, 8), (9, 7), (8, 11), (5, 12)]


@pytest.mark.parametrize("shape", SIDES)
def test_modes_are_those_of_numpy(shape):
    field = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grid = FourierGrid(shape, 1e-3, dtype=torch.float64)
    assert np.allclose(grid.to_modes(field), np.fft.rfft2(field, norm="ortho"), atol=1e-14)
    assert torch.allclose(grid.to_field(grid.to_modes(field)), field, atol=1e-14)


@pytest.mark.parametrize("shape", SIDES)
def test_embedding_and_cutting_are_adjoint(shape):
    generator = torch.Generator().manual_seed(1)
    grid = FourierGrid(shape, 1e-3, (15, 16), dtype=torch.float64)
    field = torch.randn(shape, dtype=torch.float64, generator=generator)
    modes = torch.fft.rfft2(torch.randn(15, 16, dtype=torch.float64, generator=generator), norm="ortho")
    in_modes = float(grid.inner(grid.to_modes(field), modes))
    assert math.isclose(in_modes, float((field * grid.to_field(modes)).sum()), rel_tol=1e-12)


@pytest.mark.parametrize("shape", SIDES)
def test_inner_product_is_that_of_the_fields(shape):
    a, b = torch.randn(2, 4, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    grid = FourierGrid(shape, 1e-3, dtype=torch.float64)
    assert torch.allclose(grid.inner(grid.to_modes(a), grid.to_modes(b)), (a * b).sum(dim=(1, 2)))


def test_mode_variance_is_spectrum_over_pixel_area_and_finite_at_zero():
    grid = FourierGrid((6, 8), 2e-4, dtype=torch.float64)
    variance = grid.mode_variance(lambda ell: 1 / ell)
    assert torch.allclose(variance[1:], 1 / grid.ell[1:] / 4e-8)
    assert variance[0, 0] == variance[0, 1]  # the longest wave runs along the longer side


def test_pixel_variance_matches_white_noise():
    grid = FourierGrid((6, 7), 1e-3, dtype=torch.float64)
    assert math.isclose(grid.pixel_variance(torch.ones(6, 4, dtype=torch.float64)), 1)


def test_padded_shape_is_at_least_what_was_asked_for():
    assert padded_shape((97, 50), 2) >= (194, 100)
    assert padded_shape((7, 9), 1) == (8, 9)  # 7 is a slow length


def test_a_box_smaller_than_its_field_is_refused():
    with pytest.raises(ValueError, match="box_shape"):
        FourierGrid((8, 8), 1e-3, (7, 9))
