import numpy as np
import pytest
import torch

from astro_massmap.inference import DirectOperator, FourierGrid, LensingOperator


def _operator(field, box=None):
    return LensingOperator(FourierGrid(field, 1.2e-4, box, dtype=torch.float64))


@pytest.mark.parametrize(("field", "box"), [((12, 12), None), ((9, 13), (16, 20)), ((10, 7), (15, 15))])
def test_operator_and_adjoint_agree(field, box):
    generator = torch.Generator().manual_seed(0)
    operator = _operator(field, box)
    kappa = operator.grid.to_modes(torch.randn(operator.grid.box_shape, dtype=torch.float64, generator=generator))
    shear = torch.randn(2, *field, dtype=torch.float64, generator=generator)
    forward = float((operator.forward(kappa) * shear).sum())
    assert abs(forward - float(operator.grid.inner(kappa, operator.adjoint(shear)))) < 1e-12


@pytest.mark.parametrize("shape", [(15, 15), (9, 21)])
def test_a_periodic_map_of_odd_sides_is_recovered(shape):
    kappa = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    kappa -= kappa.mean()
    operator = _operator(shape)
    shear = operator.forward(operator.grid.to_modes(kappa))
    e_mode, b_mode = (operator.grid.to_field(m) for m in operator.e_and_b_modes(shear))
    assert float((e_mode - kappa).abs().max()) < 1e-10
    assert float(b_mode.abs().max()) < 1e-10


def test_a_wave_has_the_shear_of_its_direction():
    # kappa = cos(l.x) has the shear gamma = kappa exp(2 i phi), phi the direction of l (Kaiser & Squires 1993)
    y, x = np.mgrid[:16, :16]
    for k1, k2 in [(1, 0), (0, 2), (2, 1), (3, -3)]:
        kappa = np.cos(2 * np.pi * (k1 * x + k2 * y) / 16)
        operator = _operator((16, 16))
        g1, g2 = operator.forward(operator.grid.to_modes(torch.from_numpy(kappa))).numpy()
        phi = np.arctan2(k2, k1)
        assert np.allclose(g1, kappa * np.cos(2 * phi), atol=1e-13)
        assert np.allclose(g2, kappa * np.sin(2 * phi), atol=1e-13)


def test_shear_around_an_overdensity_is_tangential():
    y, x = np.mgrid[:65, :65] - 32.0
    kappa = np.exp(-0.5 * (x**2 + y**2) / 3**2)
    operator = _operator((65, 65))
    g1, g2 = operator.forward(operator.grid.to_modes(torch.from_numpy(kappa))).numpy()
    phi = np.arctan2(y, x)
    tangential = -(g1 * np.cos(2 * phi) + g2 * np.sin(2 * phi))
    cross = g1 * np.sin(2 * phi) - g2 * np.cos(2 * phi)
    ring = (np.hypot(x, y) > 4) & (np.hypot(x, y) < 12)
    assert tangential[ring].min() > 0
    assert np.abs(cross[ring]).max() < 0.02 * tangential[ring].max()


def test_the_mean_of_the_map_causes_no_shear():
    operator = _operator((8, 8))
    modes = operator.grid.to_modes(torch.ones(8, 8, dtype=torch.float64))
    assert float(operator.forward(modes).abs().max()) == 0


def test_the_direct_operator_returns_the_map():
    grid = FourierGrid((9, 13), 1.2e-4, (16, 20), dtype=torch.float64)
    kappa = torch.randn(16, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    first, second = DirectOperator(grid).forward(grid.to_modes(kappa))
    assert torch.allclose(first, kappa[:9, :13], atol=1e-12)
    assert float(second.abs().max()) == 0
