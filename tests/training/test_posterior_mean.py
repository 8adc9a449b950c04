"""Mock surveys drawn during the training, and posterior-mean networks trained on them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from astro_massmap.cli import main
from astro_massmap.inference import FourierGrid, GaussianPosterior, LensingOperator, Observation
from astro_massmap.priors import HybridDenoiser, MeanNetwork, UNet
from astro_massmap.priors.mean_network import untrained
from astro_massmap.simulation import lognormal_maps
from astro_massmap.training import (
    MapBank,
    MeanTrainer,
    MockPieces,
    Noiser,
    Trainer,
    TrainingPlan,
    fixed_mocks,
    mean_ratios,
    train_posterior_mean,
)
from astro_massmap.training.mocks import random_holes, random_noise

from helpers import small_priors
from helpers.small_priors import PIXEL, THEORY, WIDTHS

CUT = {"size": 32, "margin": 8}
PLAN = TrainingPlan(
    **CUT, steps=4, maps_per_step=2, warm_up=4, learning_rate=1e-2, sigma=(0.05, 0.3), bfloat16=False,
    validate_every=2, validation_maps=2,
)  # fmt: skip


def gaussian(n=8, seed=0):
    return MapBank(small_priors.gaussian_maps(THEORY, n, (64, 64), seed), PIXEL)


def surveys(n=8, seed=0, theory=THEORY):
    return MockPieces(gaussian(n, seed), theory, **CUT)


def trainer(plan=PLAN, **options):
    torch.manual_seed(0)
    return MeanTrainer(untrained(WIDTHS, THEORY, PIXEL), surveys(), plan, **options)


def weights(denoiser):
    return torch.cat([p.detach().flatten() for p in denoiser.parameters()])


# ---- mock surveys


def test_holes():
    choices = np.random.default_rng(0)
    holes = np.array([random_holes((40, 48), choices) for _ in range(400)])
    missing = holes.mean(axis=(1, 2))
    assert holes.shape == (400, 40, 48) and missing.max() <= 0.6
    # a fifth has none, or a little more, as those with too many are drawn anew: 0.20 +- 0.02
    assert 0.12 < (missing == 0).mean() < 0.30
    assert 0.2 < missing.mean() < 0.4 and missing.max() > 0.5
    # every pixel has data in some surveys, and none in others
    assert holes.mean(axis=0).min() > 0.1 and holes.mean(axis=0).max() < 0.6


def test_noise():
    choices, holes = np.random.default_rng(0), np.zeros((64, 64), dtype=bool)
    holes[:5] = True
    noise = np.array([random_noise(holes, 0.1, choices) for _ in range(100)])
    assert np.isinf(noise[:, :5]).all()
    same = (noise[:, 5:] == 0.1).all(axis=(1, 2))
    assert 0.35 < same.mean() < 0.65  # half of 100: 3 standard deviations
    # the number of galaxies is (0.1 / noise)^2 of its mean, and that is 1: 6e5 pixels with a variance of at most 1
    galaxies = (0.1 / noise[~same, 5:]) ** 2
    assert abs(galaxies.mean() - 1) < 0.01
    assert 0.05 < (galaxies == 0).mean() < 0.3 and galaxies.max() > 3


def test_the_shear_is_that_of_the_whole_map():
    made = surveys(2)
    grid = FourierGrid((64, 64), PIXEL, dtype=torch.float64)
    expected = LensingOperator(grid).forward(grid.to_modes(made.source.maps.double()))
    assert torch.allclose(made.shear(made.source.maps).double(), expected, atol=1e-6)


def test_a_mock_is_filtered_as_the_method_does():
    made = surveys(1)
    truth, noise_std = made.source.maps[0, 8:40, 8:40], torch.full((32, 32), 0.1)
    noise_std[4:10, 8:20] = torch.inf
    shear = made.shear(made.source.maps)[0, :, 8:40, 8:40]
    x, wiener, share, observed, sigma = made.mock(truth, shear, noise_std, torch.Generator().manual_seed(3))
    white = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(3))
    data = torch.where(torch.isfinite(noise_std), shear + 0.1 * white, 0.0)
    posterior = GaussianPosterior(Observation(data, noise_std, PIXEL), THEORY, (48, 48), tolerance=1e-6)
    exact = posterior.grid.to_field(posterior.mean_modes())
    assert torch.equal(x, truth) and sigma == pytest.approx(0.1)
    assert (wiener - exact).abs().max() < 3e-3 * exact.abs().max()
    assert torch.equal(observed, torch.isfinite(noise_std).float()) and torch.equal(share, observed)


def test_batches():
    made = surveys()
    first, again, other = (
        made.batch(3, 0.05, 0.3, np.random.default_rng(seed), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    for name, tensor in vars(first).items():
        assert tensor.shape == ((6,) if name == "sigma" else (6, 32, 32)) and torch.isfinite(tensor).all()
        assert torch.equal(tensor, vars(again)[name]) and not torch.equal(tensor, vars(other)[name])
    # 0 without data, and 2 only for no noise at all
    assert ((first.share == 0) == (first.observed == 0)).all() and first.share.max() < 2
    # the Wiener filter correlates with the truth, the more at lower noise
    error, power = ((m.square()).mean(dim=(1, 2)) for m in (first.wiener - first.x, first.x))
    assert error.sum() < 0.9 * power.sum() and (error / power)[0] < 0.8


def test_pieces_that_do_not_fit():
    with pytest.raises(ValueError, match="pieces of 64 pixels with a margin of 8"):
        MockPieces(gaussian(), THEORY, size=64, margin=8)


def test_the_mocks_of_a_validation_are_always_the_same():
    first, again = (fixed_mocks(surveys(), 3) for _ in range(2))
    assert list(first) == [0.08, 0.15]
    assert all(
        torch.equal(a, b) for n in first for a, b in zip(vars(first[n]).values(), vars(again[n]).values(), strict=True)
    )
    assert torch.equal(first[0.08].observed, first[0.15].observed) and 0 < first[0.08].observed.mean() < 1
    assert set(mean_ratios(untrained(WIDTHS, THEORY, PIXEL), first).values()) == {1.0}


# ---- training


def test_the_loss_of_the_variance_leaves_the_mean_alone():
    learning = trainer()
    batch = surveys().batch(2, 0.05, 0.3, np.random.default_rng(0), torch.Generator().manual_seed(0))
    learning.denoiser.network.leave.bias.data.copy_(torch.tensor([0.3, 0.0]))
    *_, spread = learning.denoiser.spreads(batch.sigma)
    error = (batch.x - batch.wiener) / spread - 0.3
    assert float(learning.loss(batch).detach()) == pytest.approx(float(1.2 * error.square().mean()), rel=1e-5)
    learning.loss(batch).backward()
    gradient = learning.denoiser.network.leave.bias.grad
    assert float(gradient[0]) == pytest.approx(float(-2 * error.mean()), rel=1e-4)
    # of log V + error^2 / V by log V
    assert float(gradient[1]) == pytest.approx(float(0.2 * (1 - error.square().mean())), rel=1e-4)


def learned(maps, steps=60):
    """Ratios on held-out maps after a short training, and z of those with data."""
    plan = dataclasses.replace(
        PLAN, steps=steps, maps_per_step=4, ema=0.95, validate_every=steps, learning_rate=5e-3, sigma=(0.05, 0.1)
    )
    training, held = (MapBank(maps(n, seed), PIXEL) for n, seed in ((64, 0), (48, 1)))
    network, _ = train_posterior_mean(training, held, THEORY, plan, widths=(8, 8, 8), progress=False)
    batch = fixed_mocks(MockPieces(held, THEORY, **CUT), 48, levels=(0.06,), seed=5)
    (seen,) = batch.values()
    with torch.no_grad():
        added, std = network.denoiser(seen.wiener, seen.share, seen.sigma)
    z = (seen.x - seen.wiener - added) / std
    return mean_ratios(network.denoiser, batch), z.square().mean().item()


@pytest.mark.slow
def test_lower_error_than_the_wiener_filter_on_lognormal_maps():
    ratios, z2 = learned(lambda n, seed: lognormal_maps(THEORY, n, (64, 64), PIXEL, shift=0.02, seed=seed))
    # measured: 0.78 and 0.83
    assert ratios["0.060"] < 0.88 and ratios["0.060 in gaps"] < 0.95
    assert abs(z2 - 1) < 0.15


@pytest.mark.slow
def test_no_lower_error_than_the_wiener_filter_on_gaussian_maps():
    ratios, z2 = learned(lambda n, seed: small_priors.gaussian_maps(THEORY, n, (64, 64), seed))
    # the Wiener filter is optimal; measured: 1.0005
    assert 0.997 < ratios["0.060"] < 1.01 and 0.997 < ratios["0.060 in gaps"] < 1.01
    assert abs(z2 - 1) < 0.1


# ---- a run


def test_result_and_metadata():
    network, history = train_posterior_mean(
        gaussian(), gaussian(4, 1), THEORY, PLAN, widths=WIDTHS, card={"maps": "mine"}, progress=False
    )
    assert network.sigma_range == (0.05, 0.3) and network.pixel_size == PIXEL and network.spectrum is THEORY
    card = network.card
    assert card["maps"] == "mine" and card["training_maps"] == 8 and card["validation_maps"] == 4
    assert card["parameters"] == len(weights(network.denoiser))
    assert (
        list(card["error_ratio"]) == list(history[0]["ratio"]) == ["0.080", "0.080 in gaps", "0.150", "0.150 in gaps"]
    )
    assert [row["step"] for row in history] == [2, 4] and json.loads(json.dumps(card)) == card
    network.save("m.safetensors")
    assert MeanNetwork.load("m.safetensors").card == card


def test_a_training_that_was_interrupted_goes_on(monkeypatch):
    whole = weights(trainer().run(progress=False))
    advance = MeanTrainer._advance

    def interrupted(self, batch):
        if self.step == 3:
            raise KeyboardInterrupt
        return advance(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MeanTrainer, "_advance", interrupted)
        trainer(checkpoint="c.safetensors").run(progress=False)
    going_on = trainer(checkpoint="c.safetensors")
    assert going_on.step == 2
    assert torch.equal(weights(going_on.run(progress=False)), whole)


def test_the_checkpoint_of_another_training_is_left_as_it_is():
    noiser = Noiser(gaussian(), THEORY, **CUT)
    Trainer(HybridDenoiser(UNet(WIDTHS), THEORY, PIXEL), noiser, PLAN, checkpoint="c.safetensors").run(progress=False)
    with pytest.raises(ValueError, match="is from another run"):
        trainer(checkpoint="c.safetensors")


def test_from_a_shell(tmp_path, capsys):
    maps = ["--boxes", "2", "--maps", "2", "--size", "80", "--pixel-scale", "0.4 arcmin"]
    assert main(["simulate", "--lognormal", "-o", "maps", *maps]) == 0
    options = ["--size", "32", "--margin", "8", "--widths", "4,8,8", "--steps", "4", "--validate-every", "2"]
    arguments = ["train", "--posterior-mean", "--maps", "maps", "--spectrum", "maps/spectrum.ecsv", "--quiet", *options]
    assert main([*arguments, "-o", "m.safetensors", "--z-source", "0.8", "--device", "cpu"]) == 0
    network = MeanNetwork.load("m.safetensors")
    assert network.card["source_redshift"] == 0.8 and network.card["steps"] == 4
    ratio = network.card["error_ratio"]["0.080"]
    assert f"noise 0.080: mean squared error {ratio:.3f} of that of the Gaussian" in capsys.readouterr().out
    assert "0.080 in gaps" in (tmp_path / "m.csv").read_text()
    assert main([*arguments, "-o", "n.safetensors", "--without-theory"]) == 1
    assert "--without-theory: cannot be combined" in capsys.readouterr().err
