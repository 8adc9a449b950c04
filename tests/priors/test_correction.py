"""Interpolation of the correction factors, and their values outside the table."""

import numpy as np
import pytest
import torch

from astro_massmap.priors import Correction
from astro_massmap.priors.correction import taper

SIGMA, ELL = np.array([0.01, 0.1, 0.2]), np.array([100.0, 1000.0, 10000.0])
NETWORK = np.array([[1.0, 2.0, 4.0], [3.0, 5.0, 7.0], [2.0, 2.0, 2.0]])


@pytest.fixture
def correction():
    return Correction(SIGMA, ELL, NETWORK, 0.1 * NETWORK, 0.01 * NETWORK)


def at(correction, sigma, *ell):
    network, theory, variance = correction.at(sigma, torch.tensor(ell, dtype=torch.float64))
    assert torch.allclose(theory, 0.1 * network) and torch.allclose(variance, 0.01 * network)
    return network.tolist()


def test_values_at_the_nodes(correction):
    for sigma, row in zip(SIGMA, NETWORK, strict=True):
        assert np.allclose(at(correction, sigma, *ELL), row, rtol=1e-12)


def test_interpolation_is_linear_in_both_logarithms(correction):
    middle = np.sqrt(0.01 * 0.1)
    assert np.allclose(at(correction, middle, *ELL), (NETWORK[0] + NETWORK[1]) / 2)
    assert np.allclose(at(correction, 0.1, 100 * np.sqrt(10), 100 * 10**0.75), [4, 4.5])
    assert np.allclose(at(correction, 0.1 * 2**0.25, *ELL), 0.75 * NETWORK[1] + 0.25 * NETWORK[2])


def test_constant_outside_the_table(correction):
    assert np.allclose(at(correction, 1e-5, *ELL), NETWORK[0])
    assert np.allclose(at(correction, 10.0, *ELL), NETWORK[2])
    assert np.allclose(at(correction, 0.1, 0.0, 1.0, 99.0, 1e6), [3, 3, 3, 7])


def test_factors_have_the_shape_of_the_modes(correction):
    factors = correction.at(0.05, torch.rand(4, 3) * 1000)
    assert all(f.shape == (4, 3) and f.dtype == torch.float64 for f in factors)


def test_a_table_of_one_level(correction):
    one = Correction(SIGMA[:1], ELL, NETWORK[:1], 0.1 * NETWORK[:1], 0.01 * NETWORK[:1])
    for sigma in (1e-4, 0.01, 1.0):
        assert np.allclose(at(one, sigma, *ELL), NETWORK[0])


def test_none_changes_nothing():
    for sigma in (1e-3, 0.5):
        network, theory, variance = Correction.none().at(sigma, torch.tensor([0.0, 5.0, 500.0, 3e5]))
        assert (network == 1).all() and (theory == 0).all() and (variance == 1).all()


def test_taper_without_other_factors():
    network, theory, variance = Correction.none(500).at(0.1, torch.tensor([0.0, 50.0, 500.0, 5000.0]))
    assert np.allclose(network, [0, 1e-4, 0.5, 1], atol=2e-3)  # the table is coarse
    assert (theory == 0).all() and (variance == 1).all()


def test_the_taper():
    assert np.allclose(taper(np.array([250.0, 500.0, 1000.0]), 500), [1 / 17, 1 / 2, 16 / 17])
    assert taper(np.array([0.0]), 500) < 1e-30
    assert (taper(np.array([0.0, 10.0]), 0) == 1).all()
