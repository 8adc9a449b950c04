"""
An energy and its gradient, against finite differences, paths, and a Gaussian that is known.

The direct network is the control: what is true of a gradient must be false there.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import (
    FourierGrid,
    GaussianPosterior,
    SplitPosterior,
    SplitTarget,
    Streams,
    Trajectory,
    split_step,
)
from astro_massmap.inference.hmc import start
from astro_massmap.priors import Correction, EnergyDenoiser, HybridDenoiser, UNet

import problems
import small_priors
from small_priors import PIXEL, THEORY, WIDTHS

SIGMA = 0.1


def network(outputs, seed=0):
    """A network that has learned nothing, but has much to say."""
    generator = torch.Generator().manual_seed(seed)
    unet = UNet(WIDTHS, outputs=outputs).requires_grad_(False)
    for name, parameter in unet.named_parameters():
        if name.endswith(("weight", "bias")):
            scale = 1 / math.sqrt(parameter[0].numel()) if name.endswith("weight") else 0.1
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    unet.leave.gain.fill_(0.3)
    return unet


def energy_denoiser(seed=0, spectrum=THEORY):
    return EnergyDenoiser(network(2, seed), spectrum, PIXEL)


def energy_prior(seed=0, **options):
    options = {"correction": small_priors.table(), "margin": 8} | options
    return ScorePrior(energy_denoiser(seed), THEORY, (0.003, 0.5), **options)


def noisy_maps(n, shape, seed=0, sigma=SIGMA):
    """Noisy skies in double precision."""
    white = torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    grid = FourierGrid(shape, PIXEL, dtype=torch.float64)
    modes = (grid.mode_variance(THEORY) + sigma**2).sqrt() * grid.to_modes(white)
    return torch.fft.irfft2(modes, s=shape, norm="ortho")


def whole(denoiser, z, sigma=SIGMA):
    """What an `EnergyDenoiser` or another says of whole maps."""
    level = torch.full((len(z),), sigma, dtype=z.dtype)
    return denoiser(z, wiener(z, level), level)


def wiener(z, level):
    return EnergyDenoiser(network(2), THEORY, PIXEL).wiener(z, level)


# ---- maps


def test_the_residual_is_the_slope_of_the_energy():
    denoiser, z, h = energy_denoiser().double(), noisy_maps(2, (24, 30)), 1e-5
    level = torch.full((2,), SIGMA, dtype=torch.float64)
    along = 0.1 * torch.randn(2, 24, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    energies = [denoiser.energy(z + s * h * along, wiener(z + s * h * along, level), level) for s in (1, -1)]
    slope = (energies[0] - energies[1]) / (2 * h)
    told = (whole(denoiser, z) * along).sum(dim=(1, 2))
    assert torch.allclose(told, slope, rtol=1e-7)
    assert told.abs().min() > 1e-4
    # what reaches the energy through the Wiener filter is not small
    by_z = denoiser.slopes(z, wiener(z, level), level)[1]
    assert ((by_z * along).sum(dim=(1, 2)) / slope - 1).abs().min() > 0.01


def test_the_maps_of_a_batch_do_not_know_each_other():
    denoiser, z = energy_denoiser().double(), noisy_maps(3, (24, 30))
    alone = torch.cat([whole(denoiser, z[i : i + 1]) for i in range(3)])
    assert torch.allclose(whole(denoiser, z), alone, rtol=1e-9, atol=1e-14)


def test_the_residual_may_itself_be_differentiated():
    # here D_G is known to depend on z
    denoiser, z = energy_denoiser().double(), noisy_maps(1, (24, 30))
    u = noisy_maps(1, (24, 30), 1)
    expected = whole(denoiser, z)
    variable = z.clone().requires_grad_()
    said = whole(denoiser, variable)
    assert torch.allclose(said.detach(), expected, rtol=1e-9, atol=1e-15)
    by_torch = torch.autograd.grad((said * u).sum(), variable)[0]
    change = (whole(denoiser, z + 1e-3 * u) - whole(denoiser, z - 1e-3 * u)) / 2e-3
    assert torch.allclose(by_torch, change, rtol=1e-4, atol=1e-5 * float(change.abs().max()))  # J is symmetric


def asymmetry(denoiser, h=1e-3):
    """How much ``v J u`` differs from ``u J v``, over their size, for the Jacobian of what a denoiser says."""
    z, u, v = noisy_maps(1, (24, 30)), noisy_maps(1, (24, 30), 1), noisy_maps(1, (24, 30), 2)
    products = []
    for a, b in ((u, v), (v, u)):
        change = (whole(denoiser, z + h * a).double() - whole(denoiser, z - h * a).double()) / (2 * h)
        products.append(float((change * b).sum()))
    return abs(products[0] - products[1]) / (abs(products[0]) + abs(products[1]))


def test_the_jacobian_of_an_energy_is_symmetric_and_that_of_a_direct_network_is_not():
    assert asymmetry(energy_denoiser().double()) < 1e-5
    # single precision goes into its last steps: a difference of maps of 1e-3 of their size is good to 1e-3
    assert asymmetry(HybridDenoiser(network(1), THEORY, PIXEL).double(), h=0.05) > 0.05


def test_gradients_are_recorded_for_those_who_record_them():
    denoiser, z = energy_denoiser().requires_grad_(True), noisy_maps(1, (24, 30)).float()
    level = torch.full((1,), SIGMA)
    with torch.no_grad():
        filtered = denoiser.wiener(z, level)
        energy, *slopes = denoiser.slopes(z, filtered, level)
    assert not any(t.requires_grad for t in (energy, *slopes))
    assert all(t.requires_grad for t in denoiser.slopes(z, filtered, level))
    frozen = energy_denoiser().slopes(z, filtered, level)
    assert not any(t.requires_grad for t in (z, *frozen))


def test_a_network_of_one_output_is_refused():
    with pytest.raises(ValueError, match=r"network: needs two outputs, got 1"):
        EnergyDenoiser(network(1), THEORY, PIXEL)


def test_a_network_that_has_learned_nothing_leaves_the_theory():
    denoiser = EnergyDenoiser(UNet(WIDTHS, outputs=2), THEORY, PIXEL)
    assert not whole(denoiser, noisy_maps(1, (24, 30)).float()).any()


# ---- on the modes of a box


@pytest.fixture
def grid():
    return FourierGrid((20, 27), PIXEL, (48, 64), dtype=torch.float64)


def corners(grid, n):
    """Modes of noisy skies, ``(n, 1, ny, nx // 2 + 1)``."""
    return grid.to_modes(noisy_maps(n, grid.box_shape))[:, None]


def work(on_grid, a, b, nodes=12):
    """The integral of the residual along the straight line from a to b."""
    places, weights = (torch.from_numpy(t) for t in np.polynomial.legendre.leggauss(nodes))
    path = torch.cat([a + (b - a) * (1 + p) / 2 for p in places])
    return float((on_grid.grid.inner(on_grid.residual(path, SIGMA), b - a) * weights).sum() / 2)


FOURFOLD = PowerSpectrum(THEORY.ell, 4 * THEORY.cl, name="fourfold")


@pytest.mark.parametrize("options", [{}, {"correction": Correction.none(2000)}, {"spectrum": FOURFOLD}, {"margin": 0}])
def test_the_density_is_the_integral_of_the_residual(grid, options):
    # the network works in single precision
    on_grid = energy_prior(**options).on(grid)
    a, b = corners(grid, 2)
    gain = on_grid.log_ratio(b, SIGMA) - on_grid.log_ratio(a, SIGMA)
    assert abs(float(gain)) > 1
    assert abs(work(on_grid, a, b) - float(gain)) < 1e-3 * abs(float(gain))


def test_around_a_loop_no_work_is_done_but_by_a_direct_network(grid):
    a, b, c = corners(grid, 3)
    sides = ((a, b), (b, c), (c, a))
    for prior, closed in ((energy_prior(), True), (small_priors.prior(), False)):
        parts = [work(prior.on(grid), *side) for side in sides]
        left = abs(sum(parts)) / max(map(abs, parts))
        assert left < 1e-3 if closed else left > 0.02


def test_the_density_that_was_computed_with_the_residual_is_not_computed_again(grid):
    prior = energy_prior()
    calls = []
    prior.denoiser.network.register_forward_hook(lambda *_: calls.append(1))
    on_grid, (a, b) = prior.on(grid), corners(grid, 2)
    on_grid.residual(a, SIGMA)
    kept = on_grid.log_ratio(a, SIGMA)
    assert len(calls) == 1
    assert torch.allclose(kept, prior.on(grid).log_ratio(a, SIGMA), rtol=1e-6)
    assert len(calls) == 2
    # another map, another level, or the same numbers elsewhere are not what is remembered
    for modes, sigma in ((b, SIGMA), (a, 2 * SIGMA), (a.clone(), SIGMA)):
        on_grid.log_ratio(modes, sigma)
    assert len(calls) == 5
    assert (on_grid.log_ratio(b, SIGMA) - kept).abs() > 1e-3


def observation(side, noise=0.15):
    generator = torch.Generator().manual_seed(3)
    return problems.observe(problems.gaussian_sky(side, generator), np.full((side, side), noise), generator)


def test_with_the_density_the_change_of_energy_falls_with_the_square_of_the_step():
    # a density that did not belong to the residual would leave a change of energy at any step
    split = SplitPosterior(GaussianPosterior(observation(24), THEORY, (48, 48), dtype=torch.float64), SIGMA)
    on_grid = energy_prior().on(split.grid)
    target, changes = SplitTarget(split, on_grid), []
    for leapfrogs in (4, 16):
        streams = Streams(1, range(4))
        state = start(target, split.mean + split.fluctuations(streams), streams)
        before = on_grid.log_ratio(state.modes, SIGMA)
        trajectory = Trajectory(length=0.4, jitter=0.0, leapfrogs=leapfrogs)
        state = split_step(target, state, trajectory, streams, split.grid.inner)
        changes.append(state.energy_error.abs())
    assert state.accepted.all() and (on_grid.log_ratio(state.modes, SIGMA) - before).abs().max() > 10
    assert changes[0].max() > 0.1
    assert ((changes[0] / changes[1] - 16).abs() < 3).all()


class OneGenerator(Streams):
    """Many chains from one stream: faster than one each, for chains that are only counted together."""

    def __init__(self, seed, n):
        super().__init__(seed, [0])
        self.n = n

    def normal(self, *shape, dtype=torch.float32):
        return super().normal(self.n, *shape, dtype=dtype)[0]

    def uniform(self):
        return torch.rand(self.n, generator=self._generators[0], dtype=torch.float64)


class Quadratic(torch.nn.Module):
    """A network that says ``strength w``: the energy is ``sp strength / sw |D_G|^2``, the posterior Gaussian."""

    def __init__(self, strength):
        super().__init__()
        self.strength, self.settings = strength, {"outputs": 2}

    def forward(self, x, sigma):
        return torch.stack([self.strength * x[:, 1], torch.zeros_like(x[:, 0])], dim=1)


def test_chains_reach_the_gaussian_that_a_quadratic_energy_makes():
    # 300 draws of 40 modes: their mean to 5 sigma, their variance to 6, the mean of that over 64 pixels to 5
    side, pixel, n, strength = 8, 4 * PIXEL, 300, -8.0
    generator = torch.Generator().manual_seed(3)
    grid = FourierGrid((side, side), pixel, dtype=torch.float64)
    kappa = grid.mode_variance(THEORY).sqrt() * grid.to_modes(
        torch.randn(side, side, generator=generator, dtype=torch.float64)
    )
    seen = problems.observe(kappa, np.full((side, side), 0.15), generator)
    seen = dataclasses.replace(seen, pixel_size=pixel)
    split = SplitPosterior(GaussianPosterior(seen, THEORY, (side, side), dtype=torch.float64), SIGMA)
    denoiser = EnergyDenoiser(Quadratic(strength), THEORY, pixel)
    on_grid = ScorePrior(denoiser, THEORY, (0.003, 0.5), margin=1000).on(grid)
    _, filtered, posterior = (float(s) for s in denoiser.spreads(torch.tensor([SIGMA])))
    variance = grid.mode_variance(THEORY)
    gain = variance / (variance + SIGMA**2)
    added = 2 * posterior * strength / filtered * gain**2 / SIGMA**2  # to the slope of the density, times z
    covariance = split.covariance(torch.ones_like(split.mean)[None])[0].real
    expected = 1 / (1 / covariance - added)

    target, streams = SplitTarget(split, on_grid), OneGenerator(2, n)
    state = start(target, split.mean + split.fluctuations(streams), streams)
    accepted = []
    for _ in range(15):
        state = split_step(target, state, Trajectory(), streams, grid.inner)
        accepted.append(float(state.accepted.double().mean()))
    assert 0.5 < np.mean(accepted) < 0.99
    deviation = (state.modes - expected / covariance * split.mean) / expected.sqrt()
    assert deviation.mean(dim=0).abs().max() < 5 / n**0.5
    ratio = deviation.abs().square().mean(dim=0)
    assert (ratio - 1).abs().max() < 6 * (2 / n) ** 0.5
    assert abs(float((ratio * grid.multiplicity).sum()) / side**2 - 1) < 5 * (2 / n / side**2) ** 0.5
    assert (covariance / expected - 1).abs().max() > 8 * (2 / n) ** 0.5  # and theory alone is another Gaussian


# ---- files


def test_a_file_says_which_it_is(tmp_path):
    grid = FourierGrid((20, 24), PIXEL, (40, 48))
    modes = grid.to_modes(0.1 * Streams(0, range(2)).normal(40, 48))
    for prior in (energy_prior(card={"maps": "none"}), small_priors.prior()):
        prior.save(tmp_path / "p.safetensors", overwrite=True)
        back = ScorePrior.load(tmp_path / "p.safetensors")
        assert type(back.denoiser) is type(prior.denoiser)
        assert torch.equal(back.on(grid).residual(modes, SIGMA), prior.on(grid).residual(modes, SIGMA))
