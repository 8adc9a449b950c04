"""Mock surveys drawn during the training, and networks of the posterior trained on them."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from astro_massmap import ConvergenceMap
from astro_massmap.cli import main
from astro_massmap.inference import FourierGrid, GaussianPosterior, Observation
from astro_massmap.priors import HybridDenoiser, PosteriorDenoiser, PosteriorNetwork, UNet, posterior_unet
from astro_massmap.simulation import lognormal_maps
from astro_massmap.training import (
    MapBank,
    Noiser,
    OneSurvey,
    PosteriorMocks,
    PosteriorTrainer,
    Trainer,
    TrainingPlan,
    fixed_pairs,
    posterior_ratios,
    train_posterior,
)
from astro_massmap.training.footprints import holes_of_survey, random_holes, random_noise

from helpers import small_priors
from helpers.skies import tan_wcs
from helpers.small_priors import PIXEL, THEORY, WIDTHS

CUT = {"size": 32, "margin": 8}
PLAN = TrainingPlan(
    **CUT, steps=4, maps_per_step=2, pieces=1, warm_up=4, learning_rate=1e-2, sigma=(0.3, 60), bfloat16=False,
    validate_every=2, validation_maps=2,
)  # fmt: skip
SIGNAL = small_priors.signal()


def gaussian(n=8, seed=0):
    return MapBank(small_priors.gaussian_maps(THEORY, n, (64, 64), seed), PIXEL)


def mocks(n=8, seed=0, **options):
    return PosteriorMocks([OneSurvey(gaussian(n, seed), THEORY)] * 2, **CUT | options)


def drawn(made, n, low, high, seed=0):
    return made.batch(n, low, high, np.random.default_rng(seed), torch.Generator().manual_seed(seed))


def untrained():
    return PosteriorDenoiser(posterior_unet(WIDTHS), THEORY, PIXEL)


def trainer(plan=PLAN, **options):
    torch.manual_seed(0)
    return PosteriorTrainer(untrained(), mocks(), plan, validation=fixed_pairs(mocks(4, 1), 2, (0.6, 60)), **options)


def weights(denoiser):
    return torch.cat([p.detach().flatten() for p in denoiser.parameters()])


# ---- footprints


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


def test_surveys_of_few_pixels_have_holes():
    # a quarter of three pixels is none, but a strip has one
    holes = [random_holes((3, 7), np.random.default_rng(seed)) for seed in range(40)]
    assert all(part.mean() <= 0.6 for part in holes) and np.mean([part.any() for part in holes]) > 0.4


def symmetries(image):
    return [turned[::step] for k in range(4) for turned in [np.rot90(image, k)] for step in (1, -1)]


def test_holes_of_a_survey():
    choices, footprint = np.random.default_rng(0), np.random.default_rng(1).random((14, 20)) < 0.7
    found = []
    for _ in range(30):
        holes = holes_of_survey([footprint], (10, 12), choices)
        windows = [
            np.lib.stride_tricks.sliding_window_view(image, holes.shape) == ~holes for image in symmetries(footprint)
        ]
        found.append([window.all(axis=(2, 3)).any() for window in windows])
        assert holes.mean() < 0.6
    assert np.sum(found, axis=1).min() == 1 and np.any(found, axis=0).all()  # each in one orientation, in all of them
    # there are no data around a footprint that is smaller: the place of its 280 pixels is random
    wide = [~holes_of_survey([footprint], (40, 40), choices) for _ in range(20)]
    assert {int(seen.sum()) for seen in wide} == {int(footprint.sum())}
    assert len({tuple(np.argwhere(seen)[0]) for seen in wide}) > 10
    # a corner with data, of the many pieces without
    rare = np.zeros((60, 60), dtype=bool)
    rare[:25, :25] = True
    assert np.mean([holes_of_survey([rare], (20, 20), choices).mean() <= 0.6 for _ in range(40)]) > 0.8


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


def test_a_survey_covers_a_part_of_the_map():
    choices, made = np.random.default_rng(0), mocks()
    noise = np.array([made.noise(SIGNAL, choices) for _ in range(60)])
    level = np.min(noise, axis=(1, 2)) / SIGNAL
    assert level.min() < 3 and level.max() > 20 and level.max() <= 60
    data = np.isfinite(noise)
    assert data.any(axis=(1, 2)).all() and 0.1 < data.mean() < 0.7 and data[:, 16:48, 16:48].any(axis=0).all()


def test_half_of_the_maps_have_the_gaps_of_the_survey():
    board = np.indices((70, 70)).sum(axis=0) % 2 == 0  # in any orientation, data in pixels of one colour
    choices, made = np.random.default_rng(0), mocks(footprints=[board])
    own = [len(set(np.argwhere(np.isfinite(made.noise(SIGNAL, choices))).sum(axis=1) % 2)) == 1 for _ in range(60)]
    assert 0.3 < np.mean(own) < 0.7  # half of 60: 3 standard deviations
    with pytest.raises(ValueError, match="footprints: needs masks"):
        mocks(footprints=[np.zeros((4, 4), dtype=bool)])


# ---- mock surveys


@pytest.mark.parametrize("sigma", [0.05, math.inf])
def test_the_mean_is_that_of_data_and_noisy_map(sigma):
    """Compared with dense linear algebra for the random numbers of the mock."""
    side, source = 12, OneSurvey(MapBank(small_priors.gaussian_maps(THEORY, 1, (12, 12)), PIXEL), THEORY)
    made, truth = PosteriorMocks([source] * 2, size=8, margin=2), source.maps.maps[0]
    noise_std = np.full((side, side), 0.1)
    noise_std[2:5, :6], noise_std[8:] = np.inf, 0.05
    (x, b, mean, weight, smooth), level = made.looks(
        truth, source, noise_std, sigma, SIGNAL, torch.Generator().manual_seed(3)
    )
    assert torch.equal(x, truth) and torch.equal(weight, torch.from_numpy(noise_std).float() ** -2)
    assert 0.04 < level < 0.11 and smooth.shape == weight.shape
    grid = FourierGrid((side, side), PIXEL, dtype=torch.float64)
    observation = Observation.from_arrays(np.zeros((2, side, side)), noise_std, PIXEL)
    posterior = GaussianPosterior(observation, THEORY, (side, side), dtype=torch.float64)
    pixels = grid.to_modes(torch.eye(side**2, dtype=torch.float64).view(-1, side, side))
    prior, precision = (
        grid.to_field(m).flatten(1)
        for m in (
            pixels * grid.mode_variance(THEORY),
            posterior.operator.adjoint(posterior.weight * posterior.operator.forward(pixels)),
        )
    )
    precision = precision + torch.linalg.inv(prior) + torch.eye(side**2, dtype=torch.float64) * sigma**-2
    exact = torch.linalg.solve(precision, b.double().flatten()).view(side, side)
    assert (mean - exact).abs().max() < 1e-2 * exact.abs().max()
    # the noise of both
    white = torch.Generator().manual_seed(3)
    data, noise = (torch.randn(*shape, generator=white) for shape in ((2, side, side), (side, side)))
    shear = posterior.operator.forward(grid.to_modes(truth.double())) * posterior.weight
    expected = grid.to_field(posterior.operator.adjoint(shear + posterior.weight.sqrt() * data))
    expected = expected + 0 * noise if math.isinf(sigma) else expected + (truth + sigma * noise) / sigma**2
    assert (b - expected).abs().max() < 1e-4 * expected.abs().max()


def test_batches():
    made = mocks(pieces=2)
    first, again, other = (drawn(made, 3, 0.3, 60, seed) for seed in (0, 0, 1))
    for name, tensor in vars(first).items():
        if name == "field":
            assert len(tensor.modes) == 6
            continue
        assert tensor.shape == ((6,) if name in ("sigma", "level", "kind") else (6, 32, 32))
        assert torch.equal(tensor, vars(again)[name])
        assert name == "kind" or not torch.equal(tensor, vars(other)[name])
    # the mean is closer to the truth than zero is
    assert (first.mean - first.x).square().sum() < 0.95 * first.x.square().sum()
    levels = drawn(mocks(), 80, 0.3, 60)
    assert 1 / 24 < torch.isinf(levels.sigma).float().mean() < 1 / 3  # a sixth: 3 standard deviations
    known = levels.sigma[torch.isfinite(levels.sigma)] / SIGNAL
    assert 0.3 <= known.min() < 0.4 and 45 < known.max() <= 60
    assert levels.kind.mean() == pytest.approx(0.3, abs=0.15)


def test_fields_with_a_halo_come_from_the_second_source():
    brighter = OneSurvey(MapBank(torch.ones(2, 64, 64), PIXEL), THEORY)
    made = PosteriorMocks((OneSurvey(gaussian(), THEORY), brighter), targeted=0.5, **CUT)
    batch = drawn(made, 12, 0.3, 60)
    assert 0 < batch.kind.sum() < 12
    assert torch.equal(batch.kind == 1, (batch.x == 1).all(dim=(1, 2)))
    none = drawn(PosteriorMocks(made.sources, targeted=0, **CUT), 12, 0.3, 60)
    assert none.kind.sum() == 0 and none.x.abs().max() < 1


def test_pieces_that_do_not_fit():
    with pytest.raises(ValueError, match="pieces of 64 pixels with a margin of 8"):
        mocks(size=64)


def test_the_mocks_of_a_validation_are_always_the_same():
    first, again = (fixed_pairs(mocks(), 3, (0.6, 60)) for _ in range(2))
    assert list(first) == ["0.6", "60"]
    assert all(torch.equal(first[key].b, again[key].b) for key in first)
    assert torch.isin(first["0.6"].sigma, torch.tensor([math.inf])).sum() < 3
    assert set(posterior_ratios(untrained(), first).values()) == {1.0}


# ---- training


def test_the_loss_of_the_variance_leaves_the_mean_alone():
    learning = trainer()
    batch = drawn(mocks(), 4, 0.3, 60)
    learning.denoiser.network.leave.bias.data.copy_(torch.tensor([0.3, 0.0]))
    *_, spread = learning.denoiser.scales(batch.pair, batch.field)
    error = (batch.x - batch.mean) / spread - 0.3
    assert float(learning.loss(batch).detach()) == pytest.approx(float(1.2 * error.square().mean()), rel=1e-5)
    learning.loss(batch).backward()
    gradient = learning.denoiser.network.leave.bias.grad
    assert float(gradient[0]) == pytest.approx(float(-2 * error.mean()), rel=1e-4)
    # of log V + error^2 / V by log V
    assert float(gradient[1]) == pytest.approx(float(0.2 * (1 - error.square().mean())), rel=1e-4)


def learned(maps, steps=60):
    """Ratios on held-out maps after a short training, and z of all pixels."""
    plan = dataclasses.replace(PLAN, steps=steps, maps_per_step=4, pieces=2, ema=0.95, validate_every=steps)
    training, held = (MapBank(maps(n, seed), PIXEL) for n, seed in ((64, 0), (48, 1)))
    network, _ = train_posterior(training, held, THEORY, plan, widths=(8, 8, 8), progress=False)
    pairs = fixed_pairs(PosteriorMocks([OneSurvey(held, THEORY)] * 2, targeted=0, **CUT), 48, (0.6, 2.0), seed=5)
    with torch.no_grad():
        added, std = network.denoiser(pairs["2"].pair, pairs["2"].field)
    z = (pairs["2"].x - pairs["2"].mean - added) / std
    return posterior_ratios(network.denoiser, pairs), z.square().mean().item()


@pytest.mark.slow
def test_lower_error_than_the_gaussian_mean_on_lognormal_maps():
    ratios, z2 = learned(lambda n, seed: lognormal_maps(THEORY, n, (64, 64), PIXEL, shift=0.02, seed=seed))
    # measured: 0.86, 0.90 and 0.87
    assert ratios["0.6"] < 0.9 and ratios["2"] < 0.95
    assert abs(z2 - 1) < 0.2


@pytest.mark.slow
def test_no_lower_error_than_the_gaussian_mean_on_gaussian_maps():
    ratios, z2 = learned(lambda n, seed: small_priors.gaussian_maps(THEORY, n, (64, 64), seed))
    # the Gaussian mean is optimal; measured: 1.0007
    assert all(0.997 < ratio < 1.02 for ratio in ratios.values())
    assert abs(z2 - 1) < 0.1


# ---- a run


def test_result_and_metadata():
    network, history = train_posterior(
        gaussian(), gaussian(4, 1), THEORY, PLAN, widths=WIDTHS, card={"maps": "mine"}, progress=False
    )
    assert network.sigma_range == (0.8, 60.0) and network.theory is THEORY and network.kind == "random"
    assert network.pixel_sizes[0].tolist() == [PIXEL, PIXEL]
    card = network.card
    assert card["maps"] == "mine" and card["training_maps"] == 8 and card["validation_maps"] == 4
    assert card["parameters"] == len(weights(network.denoiser))
    levels = [f"{level}{place}" for level in ("0.6", "2", "6", "60") for place in ("", " in gaps")]
    assert list(card["error_ratio"]) == list(history[0]["ratio"]) == levels
    assert [row["step"] for row in history] == [2, 4] and json.loads(json.dumps(card)) == card
    network.save("m.safetensors")
    assert PosteriorNetwork.load("m.safetensors").card == card


def test_a_trained_network_is_for_its_pixels_and_random_fields():
    network, _ = train_posterior(gaussian(), gaussian(4, 1), THEORY, PLAN, widths=WIDTHS, progress=False)
    assert network.fault(PIXEL, 2 * SIGNAL) is None
    assert "needs pixels of 0.4 to 0.4 arcmin" in network.fault(1.1 * PIXEL)
    with pytest.raises(ValueError, match="field: the network has not been trained on targeted fields"):
        dataclasses.replace(network, kind="targeted")


def test_noise_levels_without_training_are_refused():
    plan = dataclasses.replace(PLAN, sigma=(0.05, 0.3))
    with pytest.raises(ValueError, match=r"plan: sigma needs to contain 0\.6 to 60 .*, got 0\.05 to 0\.3"):
        train_posterior(gaussian(), gaussian(4, 1), THEORY, plan, widths=WIDTHS, progress=False)


def test_a_training_that_was_interrupted_goes_on(monkeypatch):
    whole = weights(trainer().run(progress=False))
    advance = PosteriorTrainer._advance

    def interrupted(self, batch):
        if self.step == 3:
            raise KeyboardInterrupt
        return advance(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PosteriorTrainer, "_advance", interrupted)
        trainer(checkpoint="c.safetensors").run(progress=False)
    going_on = trainer(checkpoint="c.safetensors")
    assert going_on.step == 2
    assert torch.equal(weights(going_on.run(progress=False)), whole)


def test_the_checkpoint_of_other_footprints_is_left_as_it_is():
    def run(footprint, **options):
        made = mocks(footprints=[footprint])
        return PosteriorTrainer(untrained(), made, PLAN, validation={}, checkpoint="c.safetensors", **options)

    run(np.eye(64, dtype=bool)).run(progress=False)
    run(np.eye(64, dtype=bool))
    with pytest.raises(ValueError, match=r"footprints differ"):
        run(np.ones((64, 64), dtype=bool))


def test_the_checkpoint_of_another_training_is_left_as_it_is():
    noiser = Noiser(gaussian(), THEORY, **CUT)
    Trainer(HybridDenoiser(UNet(WIDTHS), THEORY, PIXEL), noiser, PLAN, checkpoint="c.safetensors").run(progress=False)
    with pytest.raises(ValueError, match="is from another run"):
        trainer(checkpoint="c.safetensors")


def test_from_a_shell(tmp_path, capsys):
    maps = ["--boxes", "2", "--maps", "2", "--size", "80", "--pixel-scale", "0.4 arcmin"]
    assert main(["simulate", "--lognormal", "-o", "maps", *maps]) == 0
    options = ["--size", "32", "--margin", "8", "--widths", "4,8,8", "--steps", "4", "--validate-every", "2"]
    arguments = ["train", "--posterior", "--maps", "maps", "--spectrum", "maps/spectrum.ecsv", "--quiet", *options]
    assert main([*arguments, "-o", "m.safetensors", "--z-source", "0.8", "--device", "cpu"]) == 0
    network = PosteriorNetwork.load("m.safetensors")
    assert network.card["source_redshift"] == 0.8 and network.card["steps"] == 4
    ratio = network.card["error_ratio"]["0.6"]
    assert f"noise / signal 0.6: mean squared error {ratio:.3f} of that of the Gaussian" in capsys.readouterr().out
    assert "60 in gaps" in (tmp_path / "m.csv").read_text()
    for name, pixel in (("a", 0.4), ("b", 0.5)):
        gaps = np.indices((40, 40)).sum(axis=0) % 7 == 0
        kappa = ConvergenceMap(np.zeros((40, 40)), wcs=tan_wcs((40, 40), scale=pixel), mask=gaps)
        kappa.write(f"{name}.fits")
    assert main([*arguments, "-o", "f.safetensors", "--device", "cpu", "--footprint", "a.fits"]) == 0
    assert PosteriorNetwork.load("f.safetensors").card["footprints"] == 1
    capsys.readouterr()
    assert main([*arguments, "-o", "n.safetensors", "--footprint", "a.fits", "b.fits"]) == 1
    assert "--footprint: b.fits has pixels of 0.5 arcmin, the maps of 0.4" in capsys.readouterr().err
    assert main([*arguments, "-o", "n.safetensors", "--without-theory"]) == 1
    assert "--without-theory: cannot be combined with --posterior" in capsys.readouterr().err
