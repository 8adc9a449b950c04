"""The training of an energy: what it differentiates, what it is shown, and that it learns."""

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import EnergyDenoiser, UNet
from astro_massmap.priors.denoiser import wiener_filter
from astro_massmap.training import EnergyTrainer, MapBank, Noiser, TrainingPlan, train_energy

import small_priors
from small_priors import PIXEL, THEORY, WIDTHS

# a theory that knows a quarter of the power of the maps: there is much to learn, and quickly
LOW = PowerSpectrum(THEORY.ell, 0.25 * THEORY.cl)


def bank(n=16, seed=0):
    return MapBank(small_priors.gaussian_maps(THEORY, n, (64, 64), seed), PIXEL)


def plan(**changes):
    options = {"steps": 6, "maps_per_step": 2, "size": 24, "margin": 12, "learning_rate": 1e-2, "warm_up": 4}
    return TrainingPlan(**options | {"bfloat16": False, "validate_every": 6, "validation_maps": 2} | changes)


def trainer(border=8):
    torch.manual_seed(0)
    denoiser = EnergyDenoiser(UNet(WIDTHS, outputs=2), LOW, PIXEL)
    torch.nn.init.constant_(denoiser.network.leave.gain, 0.3)
    noiser = Noiser(bank(), LOW, size=24 + 2 * border, margin=12 - border)
    return EnergyTrainer(denoiser, noiser, plan())


def batch_of(noiser, seed=3):
    return noiser.batch(2, 0.03, 0.2, np.random.default_rng(seed), torch.Generator().manual_seed(seed))


def best_ratio(level):
    """Mean squared error of the Wiener filter with the spectrum of the maps over that with LOW."""
    grid, n = FourierGrid((64, 64), PIXEL, dtype=torch.float64), level**2
    truth, low = (grid.mode_variance(s) for s in (THEORY, LOW))
    left = truth * n / (truth + n)
    left_by_low = truth * (n / (low + n)) ** 2 + n * (low / (low + n)) ** 2
    return grid.pixel_variance(left) / grid.pixel_variance(left_by_low)


def test_a_piece_is_filtered_as_a_part_of_its_map():
    learning = trainer()
    piece = torch.randn(1, 40, 40, generator=torch.Generator().manual_seed(1))
    sigma, place = torch.tensor([0.1]), (..., slice(11, 51), slice(20, 60))
    whole = torch.zeros(1, 64, 64)
    whole[place] = piece
    variance = FourierGrid((64, 64), PIXEL).mode_variance(LOW)
    expected = wiener_filter(whole, variance, sigma)[place]
    assert torch.allclose(learning._smooth(piece, sigma), expected, atol=1e-6)


def test_the_slope_of_the_loss_is_that_of_finite_differences():
    # single precision: a loss near 1 is good to 1e-6, its difference over 0.02 to 1e-4
    learning = trainer()
    batch, network = batch_of(learning.noiser), learning.denoiser.network
    learning.loss(batch).backward()
    for parameter in (network.leave.gain, network.enter.bias):
        losses = []
        for step in (0.01, -0.02):
            with torch.no_grad():
                parameter[0] += step
                losses.append(float(learning.loss(batch)))
        with torch.no_grad():
            parameter[0] += 0.01
        slope = (losses[0] - losses[1]) / 0.02
        assert abs(slope) > 0.003
        assert abs(float(parameter.grad[0]) - slope) < 3e-4 + 0.01 * abs(slope)


def test_the_loss_of_theory_is_that_of_the_wiener_filter_in_the_inside():
    learning = trainer()
    torch.nn.init.zeros_(learning.denoiser.network.leave.gain)
    batch = batch_of(learning.noiser)
    *_, spread = learning.denoiser.spreads(batch.sigma)
    error = ((batch.x - batch.wiener) / spread)[:, 8:32, 8:32]
    assert torch.allclose(learning.loss(batch).detach(), error.square().mean(), rtol=1e-5)


def test_a_border_does_not_change_what_is_learned_from():
    wide, narrow = (batch_of(trainer(border).noiser) for border in (8, 0))
    assert torch.equal(wide.x[:, 8:32, 8:32], narrow.x)
    assert torch.equal(wide.z[:, 8:32, 8:32], narrow.z) and torch.equal(wide.sigma, narrow.sigma)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_small_energy_learns_what_theory_misses(bfloat16, tmp_path):
    settings = plan(steps=100, maps_per_step=4, ema=0.9, validate_every=100, bfloat16=bfloat16)
    prior, history = train_energy(
        bank(), bank(4, seed=1), LOW, settings, widths=WIDTHS, border=8, card={"maps": "small"}, progress=False
    )
    for level in (0.03, 0.08, 0.15):
        # of what there is to learn, at least a tenth
        gain = (1 - history[-1]["ratio"][f"{level:.3f}"]) / (1 - best_ratio(level))
        assert 0.1 < gain < 1
    assert prior.card["maps"] == "small"
    prior.save(tmp_path / "p.safetensors")
    grid = FourierGrid((24, 24), PIXEL, (48, 48))
    modes = grid.to_modes(0.1 * torch.randn(1, 48, 48, generator=torch.Generator().manual_seed(0)))
    back = ScorePrior.load(tmp_path / "p.safetensors").on(grid)
    assert torch.equal(back.log_ratio(modes, 0.1), prior.on(grid).log_ratio(modes, 0.1))
    assert back.log_ratio(modes, 0.1).abs() > 0.1


@pytest.mark.parametrize("border", [-1, 13, 2.0])
def test_a_border_that_does_not_fit_is_refused(border):
    with pytest.raises(ValueError, match=r"border: needs a number of pixels up to the margin of the plan 12, got"):
        train_energy(bank(2), bank(2), LOW, plan(), widths=WIDTHS, border=border)
