"""
A score prior against known answers.

The oracle replaces the network: for a Gaussian sky with the spectrum TRUTH and theory with another spectrum, the exact
contribution of the network is the difference of two Wiener filters.
"""

import dataclasses

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import AnnealedHMC, PowerSpectrum, Schedule, ScorePrior
from astro_massmap.inference import (
    FourierGrid,
    GaussianPosterior,
    Observation,
    SplitPlan,
    Streams,
    padded_shape,
    reverse_diffusion,
)
from astro_massmap.priors import Correction

from helpers import problems, small_priors
from helpers.cases import each_case
from helpers.small_priors import PIXEL, THEORY, TRUTH


class Oracle(torch.nn.Module):
    """Wiener filter for TRUTH minus that for THEORY, for maps of a whole box."""

    def __init__(self, box_shape, pixel_size):
        super().__init__()
        self.pixel_size = pixel_size
        grid = FourierGrid(box_shape, pixel_size, dtype=torch.float64)
        self.truth, self.theory = (grid.mode_variance(s) for s in (TRUTH, THEORY))

    def forward(self, z, wiener, sigma):
        noise = sigma.double()[:, None, None] ** 2
        gain = self.truth / (self.truth + noise) - self.theory / (self.theory + noise)
        return torch.fft.irfft2(torch.fft.rfft2(z.double()) * gain, s=z.shape[-2:])


def oracle(box_shape, pixel_size=PIXEL):
    """Prior of a Gaussian sky with TRUTH: evaluated in the whole box, with a correction of the variance alone."""
    longest = 2 * np.pi / (max(box_shape) * pixel_size)  # its variance is also that of the mean
    sigma, ell = np.geomspace(0.001, 0.6, 300), np.geomspace(longest, 6e4, 2000)
    noise = sigma[:, None] ** 2
    truth, theory = (s * noise / (s + noise) for s in (spectrum(ell) / pixel_size**2 for spectrum in (TRUTH, THEORY)))
    one = np.ones_like(truth)
    correction = Correction(sigma, ell, one, 0 * one, truth / theory)
    return ScorePrior(Oracle(box_shape, pixel_size), THEORY, (0.001, 0.6), correction=correction, margin=10**6)


class Fixed(torch.nn.Module):
    """A denoiser that returns a function of z and records its inputs."""

    pixel_size = PIXEL

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, z, wiener, sigma):
        self.z, self.wiener, self.sigma = z, wiener, sigma
        return self.function(z)


def fixed(function, **options):
    return ScorePrior(Fixed(function), THEORY, (0.003, 0.5), **options)


def white(grid, n, seed=0):
    return grid.to_modes(Streams(seed, range(n)).normal(*grid.box_shape, dtype=grid.dtype))


def noisy_sky(grid, n, sigma, spectrum=TRUTH):
    return (grid.mode_variance(spectrum) + sigma**2).sqrt() * white(grid, n)


def field_of(grid, modes):
    return torch.fft.irfft2(modes, s=grid.box_shape, norm="ortho")


# ---- a sky with a known posterior


@pytest.mark.parametrize("sigma", [0.005, 0.08, 0.5])
def test_the_residual_is_the_difference_of_two_scores(sigma):
    # maps of the region are in single precision
    grid = FourierGrid((24, 30), PIXEL, (48, 60), dtype=torch.float64)
    z = noisy_sky(grid, 3, sigma)
    truth, theory = (grid.mode_variance(s) for s in (TRUTH, THEORY))
    expected = z / (theory + sigma**2) - z / (truth + sigma**2)
    residual = oracle((48, 60)).on(grid).residual(z, sigma)
    scale = (z.abs() / (theory + sigma**2)).mean()
    assert (residual - expected).abs().max() < 1e-6 * scale
    assert expected.abs().max() > 0.1 * scale


def test_the_conditional_variance_is_that_of_the_truth():
    grid, sigma = FourierGrid((24, 30), PIXEL, dtype=torch.float64), 0.13
    truth = grid.mode_variance(TRUTH)
    variance = oracle((24, 30)).on(grid).conditional_variance(sigma)
    assert torch.allclose(variance, truth * sigma**2 / (truth + sigma**2), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 4])
def test_the_reverse_diffusion_draws_from_the_truth(steps):
    # 6000 draws of 72 modes: mean to 5 sigma, variance to 6 (some modes are real), its mean over modes to 5
    pixel, a, n = 4 * PIXEL, 0.15, 6000
    grid = FourierGrid((8, 8), pixel, dtype=torch.float64)
    prior, truth = oracle((8, 8), pixel).on(grid), grid.mode_variance(TRUTH)
    z = noisy_sky(grid, 1, a)
    x = reverse_diffusion(prior, z.expand(n, -1, -1), [a * 0.5**k for k in range(steps)], Streams(0, range(n)))
    gain = truth / (truth + a**2)
    deviation, variance = x - gain * z, gain * a**2
    assert (deviation.mean(dim=0).abs() / variance.sqrt()).max() < 5 / n**0.5
    ratio = deviation.abs().square().mean(dim=0) / variance
    assert (ratio - 1).abs().max() < 6 * (2 / n) ** 0.5
    # 64 modes; without the factor c single modes would be off by up to a quarter
    assert abs(float((ratio * grid.multiplicity).sum()) / 64 - 1) < 5 * (2 / n / 64) ** 0.5
    theory = grid.mode_variance(THEORY)
    assert (theory * a**2 / (theory + a**2) / variance - 1).abs().max() > 12 * (2 / n) ** 0.5


def masked_observation(side, noise=0.1):
    generator = torch.Generator().manual_seed(3)
    grid = FourierGrid((side, side), PIXEL, dtype=torch.float64)
    kappa = grid.mode_variance(TRUTH).sqrt() * grid.to_modes(
        torch.randn(side, side, generator=generator, dtype=torch.float64)
    )
    noise_std = np.full((side, side), noise)
    noise_std[8:18, 12:26] = np.inf
    noise_std[25:, :5] = np.inf
    return problems.observe(kappa, noise_std, generator)


def gaussian_answer(observation, box, spectrum, n=128):
    posterior = GaussianPosterior(observation, spectrum, box, dtype=torch.float64)
    shifts = posterior.draw(Streams(7, range(n)), 1e-4)[1].square().mean(dim=0)
    return posterior.grid.to_field(posterior.mean_modes()).numpy(), posterior.variance(shifts).sqrt().numpy()


@pytest.mark.slow
def test_chains_reach_the_posterior_of_the_truth():
    # 128 samples: their mean is off by std / sqrt(128), and the mean square of that over correlated pixels scatters by
    # 0.15 (measured); the standard deviation is good to 6 % in a pixel, to 1 % in the mean of pixels
    side, n = 32, 128
    observation, box = masked_observation(side), padded_shape((side, side), 2.0)
    method = AnnealedHMC(oracle(box), n_samples=n, batch_size=64, n_check=0, information=1.0, schedule="fast")
    estimate = method.solve(observation)
    assert estimate.diagnostics["acceptance"][-1] > 0.9 and estimate.diagnostics["restarts"] == 0
    observed = observation.observed.numpy()

    def compared_with(spectrum):
        mean, std = gaussian_answer(observation, box, spectrum)
        ratio = estimate.std / std
        return (((estimate.mean - mean) / std) ** 2).mean() * n, ratio[observed].mean(), ratio[~observed].mean()

    z, with_data, holes = compared_with(TRUTH)
    assert abs(z - 1) < 0.5 and abs(with_data - 1) < 0.025 and abs(holes - 1) < 0.03
    z, with_data, holes = compared_with(THEORY)  # theory alone gives another posterior
    assert z > 1.7 and with_data < 0.95 and holes < 0.95


# ---- from the box to the field and back


@pytest.fixture
def grid():
    return FourierGrid((20, 27), PIXEL, (48, 64), dtype=torch.float64)


def point(grid, row, column):
    field = torch.zeros(1, *grid.box_shape, dtype=torch.float64)
    field[0, row, column] = 1
    return grid.to_modes(field), field


@pytest.mark.parametrize("place", [(0, 0), (0, 26), (19, 0), (19, 26), (7, 11), (-2, -3), (21, 28)])
def test_the_output_of_the_network_has_the_position_of_its_input(grid, place):
    sigma = 0.1
    modes, field = point(grid, *place)
    prior = fixed(lambda z: z, margin=6)
    output = field_of(grid, prior.on(grid).residual(modes, sigma) * sigma**2)
    assert torch.allclose(output, field, atol=1e-6)
    # and its input is the sky in order, with the margin around the field
    assert prior.denoiser.z.shape == (1, 32, 39)
    assert abs(float(prior.denoiser.z[0, place[0] + 6, place[1] + 6]) - 1) < 1e-6


@pytest.mark.parametrize("place", [(-7, 5), (26, 5), (5, 33), (5, -7), (30, 40)])
def test_the_prior_is_gaussian_beyond_the_margin(grid, place):
    modes, _ = point(grid, *place)
    assert fixed(lambda z: z, margin=6).on(grid).residual(modes, 0.1).abs().max() < 1e-6


def test_an_input_of_the_network_is_the_wiener_filter_of_the_whole_box(grid):
    sigma, prior = 0.1, fixed(lambda z: z, margin=6)
    modes = noisy_sky(grid, 2, sigma)
    prior.on(grid).residual(modes, sigma)
    variance = grid.mode_variance(THEORY)
    filtered = field_of(grid, modes * variance / (variance + sigma**2))
    assert torch.allclose(prior.denoiser.wiener[:, 6:26, 6:33].double(), filtered[:, :20, :27], atol=1e-6)
    assert torch.allclose(prior.denoiser.sigma, torch.full((2,), sigma))


@pytest.mark.parametrize("margin", [0, 1, 6, 14, 1000])
def test_the_window_is_one_on_the_field_and_falls_to_the_edge_of_the_margin(grid, margin):
    sigma, prior = 0.1, fixed(torch.ones_like, margin=margin)
    output = prior.on(grid).residual(torch.zeros(1, 48, 33, dtype=torch.complex128), sigma)
    window = field_of(grid, output * sigma**2)[0]
    assert torch.allclose(window[:20, :27], torch.ones(()).double(), atol=1e-9)
    assert window.min() > -1e-9 and window.max() < 1 + 1e-9
    if margin == 6:
        down, up = window[19:26, 5], window[[0, -1, -2, -3, -4, -5, -6], 5]
        assert torch.allclose(down, up)
        assert (down.diff() < 1e-9).all() and 0 < down[-1] < 0.1
        assert torch.allclose(down[:4], torch.ones(()).double())  # the inner half
        assert window[26:42].abs().max() < 1e-9 and window[:, 33:58].abs().max() < 1e-9


def test_a_field_that_fills_the_box_has_no_edges():
    grid = FourierGrid((20, 27), PIXEL, dtype=torch.float64)
    modes = noisy_sky(grid, 1, 0.1)
    assert torch.allclose(fixed(lambda z: z).on(grid).residual(modes, 0.1) * 0.1**2, modes, atol=1e-5)


def test_correction_of_both_components(grid):
    sigma, modes = 0.07, noisy_sky(grid, 2, 0.07)
    plain, corrected = (small_priors.prior(correction=c) for c in (Correction.none(), small_priors.table()))
    network, theory, variance = small_priors.table().at(sigma, grid.ell)
    filtered = modes * grid.mode_variance(THEORY) / (grid.mode_variance(THEORY) + sigma**2)
    expected = network * plain.on(grid).residual(modes, sigma) + theory * filtered / sigma**2
    assert torch.allclose(corrected.on(grid).residual(modes, sigma), expected, rtol=1e-6)
    ratio = corrected.on(grid).conditional_variance(sigma) / plain.on(grid).conditional_variance(sigma)
    assert torch.allclose(ratio, variance)


# ---- other sources


def test_maps_of_twice_the_amplitude_have_half_the_score(grid):
    sigma, modes = 0.06, noisy_sky(grid, 2, 0.06)
    once = small_priors.prior()
    twice = dataclasses.replace(once, spectrum=PowerSpectrum(THEORY.ell, 4 * THEORY.cl))
    assert abs(twice.amplitude - 2) < 1e-12 and once.amplitude == 1
    assert twice.max_sigma == pytest.approx(2 * once.max_sigma)
    once, twice = once.on(grid), twice.on(grid)
    expected = once.residual(modes, sigma) / 2
    assert torch.allclose(twice.residual(2 * modes, 2 * sigma), expected, rtol=1e-4, atol=1e-5 * expected.abs().max())
    assert torch.allclose(twice.conditional_variance(2 * sigma), 4 * once.conditional_variance(sigma))
    x = field_of(grid, modes)
    assert torch.allclose(twice.score(2 * x, 2 * sigma), once.score(x, sigma) / 2, rtol=1e-4, atol=1e-3)


def test_another_theory_within_the_limits_gives_no_warning():
    prior = small_priors.prior().scaled(PowerSpectrum(THEORY.ell, 1.5 * THEORY.cl, name="others"))
    assert abs(prior.amplitude - 1.5**0.5) < 1e-12
    assert prior.theory.name == "others" and prior.trained_spectrum is THEORY


@pytest.mark.parametrize(
    "factor", [1.7, 0.2, 1 + 0.6 * np.tanh(2 * np.log(THEORY.ell / 1500))], ids=["high", "low", "other shape"]
)
def test_a_theory_beyond_the_limits_gives_a_warning(factor):
    with pytest.warns(AstropyUserWarning, match=r"amplitude is \d\.\d\d times .* shape differs by up to \d+%"):
        prior = small_priors.prior().scaled(PowerSpectrum(THEORY.ell, factor * THEORY.cl))
    assert prior.spectrum is not None


def test_theory_has_the_resolution_of_the_training_maps():
    matter = PowerSpectrum.default()
    card = {"resolution": [5200.0, 2.2]}
    prior = dataclasses.replace(small_priors.prior(card=card), trained_spectrum=matter.resolved(5200.0, 2.2))
    scaled = prior.scaled(matter)
    ell = np.geomspace(100, 3e4, 50)
    assert np.allclose(scaled.theory(ell), prior.trained_spectrum(ell), rtol=1e-12)
    assert abs(scaled.amplitude - 1) < 1e-12


def test_invalid_spectra():
    with pytest.raises(TypeError, match="needs a PowerSpectrum, got function"):
        small_priors.prior().scaled(lambda ell: ell)
    with pytest.raises(TypeError, match=r"needs a PowerSpectrum, .*got str"):
        small_priors.prior(spectrum="flat")


@each_case("margin", [-1, 2.5, "8"])
def test_invalid_margins(margin):
    with pytest.raises(ValueError, match="margin"):
        small_priors.prior(margin=margin)


# ---- in a sampler


def test_noise_above_the_range_of_the_training_is_refused(grid):
    on_grid, modes = small_priors.prior().on(grid), noisy_sky(grid, 1, 0.5)
    on_grid.residual(modes, 0.5)
    with pytest.raises(ValueError, match=r"up to a noise of 0\.5, got 0\.51"):
        on_grid.residual(modes, 0.51)


@pytest.mark.parametrize(
    ("highest", "levels", "share"), [(0.5, 5, 0.108), (0.2, 3, 0.108), (0.108, 1, 0.108), (0.05, 1, 0.05)]
)
def test_levels_above_the_range_of_the_training_are_left_out(highest, levels, share):
    observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.12), PIXEL)
    prior = dataclasses.replace(small_priors.prior(), sigma_range=(0.003, highest))
    plan = SplitPlan(observation, prior, Schedule.annealed(), (32, 32))
    sigmas = [target.sigma for target in plan.targets]
    assert len(sigmas) == len(plan.schedule.trajectories) == levels
    assert sigmas == pytest.approx([share * level for level in Schedule.annealed().levels[-levels:]])
    assert plan.reverse_levels[0] == pytest.approx(share)
    for sigma in (*sigmas, *plan.reverse_levels):
        plan.prior.residual(torch.zeros(1, 32, 17, dtype=torch.complex64), sigma)


def test_chains_of_a_batch_are_independent(grid):
    prior, modes = small_priors.prior().on(grid), noisy_sky(grid, 4, 0.1)
    together = prior.residual(modes, 0.1)
    scale = together.abs().mean()
    for i in range(4):
        assert (prior.residual(modes[i : i + 1], 0.1)[0] - together[i]).abs().max() < 1e-4 * scale
    sigmas = [0.1, 0.05, 0.01]
    drawn = reverse_diffusion(prior, modes, sigmas, Streams(5, range(4)))
    alone = reverse_diffusion(prior, modes[2:3], sigmas, Streams(5, [2]))
    assert torch.allclose(field_of(grid, alone)[0], field_of(grid, drawn)[2], atol=1e-5)


def test_a_sample_is_the_same_alone_and_in_a_batch():
    options = {"n_samples": 4, "n_check": 0, "seed": 2, "schedule": Schedule((1.5, 1.0), 2, reverse_steps=3)}
    batch, alone = (
        AnnealedHMC(small_priors.prior(gain=0.1), batch_size=n, **options).solve(masked_observation(32)).samples
        for n in (4, 1)
    )
    assert np.abs(batch - alone).max() < 1e-3 < 0.01 < batch.std()


# ---- repr, pixel scale and precision


def test_repr_is_a_short_line():
    prior = small_priors.prior(card={"maps": "my boxes", "version": "1.2"})
    n = sum(p.numel() for p in prior.denoiser.parameters())
    assert repr(prior) == f"<ScorePrior: {n} parameters, trained on my boxes, version 1.2>"
    scaled = prior.scaled(PowerSpectrum(THEORY.ell, THEORY.cl, name="mine"))
    assert repr(scaled).endswith(", theory 'mine'>")
    assert len(repr(small_priors.prior())) < 100 and "\n" not in repr(scaled)


def test_its_pixel_scale():
    assert small_priors.prior().pixel_scale.to_string(precision=4) == "0.4000 arcmin"
    assert small_priors.prior().pixel_size == PIXEL


def test_mixed_precision_is_close_to_single_precision():
    # rounding to eight bits, which averages out over the many terms of a convolution
    prior = small_priors.prior()
    grid = FourierGrid((32, 32), PIXEL, (48, 48))
    modes = Streams(3, [0, 1]).normal(*grid.box_shape)
    modes = prior.on(grid).variance.sqrt() * grid.to_modes(modes)
    single, mixed = (p.on(grid).residual(modes, 0.1) for p in (prior, dataclasses.replace(prior, bfloat16=True)))
    error = (mixed - single).abs().square().mean().sqrt() / single.abs().square().mean().sqrt()
    assert 1e-5 < error < 0.02
    assert mixed.dtype == single.dtype
