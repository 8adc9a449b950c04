import math

import numpy as np
import pytest
import torch

from astro_massmap.inference import FourierGrid, LensingOperator, grid as grid_module, padded_shape

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
    assert variance[0, 0] == variance[0, 1]  # the lowest ell is along the longer side


def test_pixel_variance_matches_white_noise():
    grid = FourierGrid((6, 7), 1e-3, dtype=torch.float64)
    assert math.isclose(grid.pixel_variance(torch.ones(6, 4, dtype=torch.float64)), 1)


def test_padded_shape_is_at_least_the_requested_one():
    assert padded_shape((97, 50), 2) >= (194, 100)
    assert padded_shape((7, 9), 1) == (8, 9)  # 7 is a slow length


def test_a_box_smaller_than_its_field_is_an_error():
    with pytest.raises(ValueError, match="box_shape"):
        FourierGrid((8, 8), 1e-3, (7, 9))


@pytest.mark.parametrize("shape", SIDES)
def test_pieces_change_nothing(shape, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    field = torch.randn(2, 2, *shape, dtype=torch.float64, generator=generator)

    def everything():
        grid = FourierGrid(shape, 1e-3, (15, 16), dtype=torch.float64)
        operator = LensingOperator(grid)
        modes = operator.adjoint(field)
        return [
            modes,
            operator.forward(modes),
            operator.p2,
            grid.mode_variance(lambda ell: ell**-2),
            grid.pointwise(lambda p, x: p * x + p, operator.p1, modes),
            grid.balanced(modes, modes),
            grid.inner(modes, 2 * modes),
        ]

    whole = everything()
    for piece in (1, 20, 64):  # of 135 modes
        monkeypatch.setattr(grid_module, "_PIECE_ON_CPU", piece)
        for a, b in zip(whole, everything(), strict=True):
            assert a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-13, atol=1e-15)


def test_a_part_of_the_box_may_extend_around_its_corner():
    generator = torch.Generator().manual_seed(4)
    grid = FourierGrid((8, 9), 1e-3, (15, 16), dtype=torch.float64)
    where = torch.arange(-3, 9) % 15, torch.arange(-2, 12) % 16
    box = torch.randn(2, 15, 16, dtype=torch.float64, generator=generator)
    cut = grid.to_field(grid.to_modes(box), where=where)
    assert torch.allclose(cut, box.roll((3, 2), (1, 2))[:, :12, :14], atol=1e-14)
    part = torch.randn(12, 14, dtype=torch.float64, generator=generator)
    there = torch.zeros(15, 16, dtype=torch.float64)
    there[where[0][:, None], where[1]] = part
    assert torch.allclose(grid.to_modes(part, where=where), grid.to_modes(there), atol=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 1), (2, 2), (5, 8)])
def test_the_lowest_ell_is_that_of_the_longer_side(shape):
    grid = FourierGrid(shape, 1e-3, dtype=torch.float64)
    expected = 2 * math.pi / (1e-3 * max(shape)) if max(shape) > 1 else 1e3
    assert math.isclose(float(grid.longest), expected)
    if max(shape) > 1:
        assert float(grid.longest) == float(grid.ell.flatten()[1:].min())
