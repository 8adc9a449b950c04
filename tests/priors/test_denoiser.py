"""The Gaussian component of the denoiser against sums over modes, and the inputs of the network."""

import math

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import CONDITIONS, FieldStatistics, HybridDenoiser, UNet
from astro_massmap.priors.denoiser import log_levels, wiener_filter

from helpers import small_priors
from helpers.small_priors import PIXEL, THEORY


class Spy(torch.nn.Module):
    """A network that records its inputs and returns one."""

    def forward(self, x, conditions):
        self.seen, self.conditions = x, conditions
        return torch.ones_like(x[:, :1])


def all_modes(side=192):
    """S of all modes of a square box, without the symmetry of real fields."""
    ell = 2 * np.pi * np.hypot(*np.meshgrid(*[np.fft.fftfreq(side, PIXEL)] * 2))
    ell[0, 0] = ell[0, 1]
    return THEORY(ell) / PIXEL**2


@pytest.fixture
def denoiser():
    return HybridDenoiser(UNet((4, 8, 8)), THEORY, PIXEL)


def test_standard_deviations_are_means_over_modes(denoiser):
    s, levels = all_modes(), (0.003, 0.05, 0.3)
    assert math.isclose(float(denoiser.field.variance), s.mean(), rel_tol=1e-10)
    for spread, of_mode in zip(
        denoiser.spreads(torch.tensor(levels)),
        (lambda n: s + n, lambda n: s**2 / (s + n), lambda n: s * n / (s + n)),
        strict=True,
    ):
        assert spread.shape == (3, 1, 1)
        assert np.allclose(spread[:, 0, 0], [np.sqrt(of_mode(level**2).mean()) for level in levels], rtol=1e-6)


def test_standard_deviations_at_low_and_high_noise(denoiser):
    deviation = math.sqrt(float(denoiser.field.variance))
    observed, wiener, posterior = (float(s) for s in denoiser.spreads(torch.tensor([1e-6])))
    assert np.allclose([observed, wiener, posterior], [deviation, deviation, 1e-6], rtol=1e-3)
    observed, wiener, posterior = (float(s) for s in denoiser.spreads(torch.tensor([1e3])))
    assert np.allclose([observed, posterior], [1e3, deviation], rtol=1e-5)
    assert math.isclose(wiener, math.sqrt((all_modes() ** 2).mean()) / 1e3, rel_tol=1e-5)


def test_variances_add_up(denoiser):
    sigma = torch.tensor([0.01, 0.1, 0.4])
    _, wiener, posterior = denoiser.spreads(sigma)
    assert torch.allclose(wiener**2 + posterior**2, torch.tensor(float(denoiser.field.variance)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(12, 14), (9, 11)])
def test_the_wiener_filter_mode_by_mode(shape):
    variance = FourierGrid(shape, PIXEL, dtype=torch.float64).mode_variance(THEORY)
    maps, sigma = small_priors.gaussian_maps(THEORY, 2, shape).double(), torch.tensor([0.05, 0.3], dtype=torch.float64)
    modes, filtered = (torch.fft.fft2(m) for m in (maps, wiener_filter(maps, variance, sigma)))
    for i in range(2):
        gain = filtered[i] / modes[i]
        assert torch.allclose(gain.imag, torch.zeros(()).double(), atol=1e-12)
        half = gain.real[:, : shape[1] // 2 + 1]
        assert torch.allclose(half, variance / (variance + sigma[i] ** 2), rtol=1e-9)
        mirrored = gain.real.flip(0, 1).roll((1, 1), (0, 1))
        assert torch.allclose(gain.real, mirrored, rtol=1e-9)


def test_an_untrained_network_adds_nothing(denoiser):
    z = small_priors.gaussian_maps(THEORY, 2, (20, 24))
    assert not denoiser(z, 0.5 * z, torch.tensor([0.1, 0.2])).any()


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.4])
def test_the_inputs_of_the_network_have_unit_variance(sigma):
    # at the highest noise the Wiener filter of a map has some 20 large-scale modes: 2 % from 48 maps
    spy = Spy()
    denoiser, side = HybridDenoiser(spy, THEORY, PIXEL), 192
    x = small_priors.gaussian_maps(THEORY, 48, (side, side))
    z = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    level = torch.full((48,), sigma)
    filtered = wiener_filter(z, FourierGrid((side, side), PIXEL).mode_variance(THEORY), level)
    added = denoiser(z, filtered, level)
    assert torch.allclose(spy.seen.std(dim=(0, 2, 3)), torch.ones(2), atol=0.05)
    assert spy.conditions.shape == (48, CONDITIONS) and torch.equal(spy.conditions, denoiser.field.conditions(level))
    # the output of the network is in units of the error of the Wiener filter
    assert math.isclose(float(added[0, 0, 0]), float((x - filtered).std()), rel_tol=0.02)


def test_conditions_are_of_order_one_and_differ():
    low, high = (FieldStatistics(PowerSpectrum(THEORY.ell, a * THEORY.cl), p) for a, p in ((0.1, 6e-4), (4, 7e-5)))
    signal = [float(field.variance.sqrt()) for field in (low, high)]
    noise = torch.logspace(-1, 1.6, 200)
    for field, std in zip((low, high), signal, strict=True):
        found = field.conditions(noise * std)
        assert found.shape == (200, CONDITIONS) and torch.isfinite(found).all() and found.abs().max() < 1.6
        assert (found[1:] - found[:-1]).norm(dim=1).min() > 0.01
        assert float(found[-1, 0] - found[0, 0]) == pytest.approx(2.6 / 1.5, rel=1e-5)
    # the noise is in units of the signal; pixels and signal are conditions of their own
    both = [field.conditions(torch.tensor([std])) for field, std in zip((low, high), signal, strict=True)]
    assert torch.allclose(both[0][:, :9], both[1][:, :9], atol=1e-5)
    assert float(both[0][0, 9] - both[1][0, 9]) == pytest.approx(math.log2(6e-4 / 7e-5) / 1.5, rel=1e-4)
    assert float(both[1][0, 12] - both[0][0, 12]) == pytest.approx(math.log10(signal[1] / signal[0]) / 0.5, rel=1e-4)
    batch = FieldStatistics.of_batch([low, high])
    sigma = torch.tensor([0.1, 0.2])
    assert torch.equal(batch.conditions(sigma)[1], high.conditions(sigma[1:])[0])
    assert all(
        torch.equal(both[1], one[0]) for both, one in zip(batch.spreads(sigma), high.spreads(sigma[1:]), strict=True)
    )


def test_the_signal_of_the_conditions_is_limited():
    free, limited = FieldStatistics(THEORY, PIXEL), FieldStatistics(THEORY, PIXEL, limits=(1.0, 2.0))
    sigma = torch.tensor([0.1])
    assert torch.equal(free.conditions(sigma)[:, :12], limited.conditions(sigma)[:, :12])
    assert float(limited.conditions(sigma)[0, 12]) == pytest.approx(math.log10(1 / 0.014) / 0.5, rel=1e-5)


def test_levels_are_stratified():
    n, low, high = 8, 0.003, 0.5
    drawn = torch.stack([log_levels(low, high, n, torch.Generator().manual_seed(i)) for i in range(50)])
    part = torch.log(drawn / low) / math.log(high / low) * n
    assert torch.equal(part.floor(), torch.arange(8.0).expand(50, 8))
    within = part - part.floor()
    assert within.min() < 0.02 and within.max() > 0.98
    assert abs(float(within.mean()) - 0.5) < 4 / math.sqrt(12 * 400)
    assert torch.equal(drawn[3], log_levels(low, high, n, torch.Generator().manual_seed(3)))
