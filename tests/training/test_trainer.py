"""A training lowers the error, is the same after an interruption, and names invalid settings."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.cli import main
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import HybridDenoiser, UNet
from astro_massmap.training import LEVELS, MapBank, Noiser, Trainer, TrainingPlan, denoising_ratios, start_workers

from helpers import small_priors
from helpers.cases import each_case
from helpers.small_priors import PIXEL, THEORY, WIDTHS

CUT = {"size": 32, "margin": 8}
# a theory with a quarter of the power of the maps: the network improves quickly
LOW = PowerSpectrum(THEORY.ell, 0.25 * THEORY.cl)


def noiser(n=16, seed=0, theory=LOW, size=32, margin=8):
    maps = small_priors.gaussian_maps(THEORY, n, (64, 64), seed)
    return Noiser(MapBank(maps, PIXEL), theory, size=size, margin=margin)


def plan(**changes):
    options = {"steps": 8, "maps_per_step": 2, "learning_rate": 1e-2, "warm_up": 4, "bfloat16": False}
    return TrainingPlan(**CUT | options | {"validate_every": 4, "validation_maps": 2} | changes)


def trainer(plan, *, widths=WIDTHS, theory=LOW, seed=0, **options):
    torch.manual_seed(seed)
    return Trainer(HybridDenoiser(UNet(widths), theory, PIXEL), noiser(theory=theory), plan, **options)


def weights(denoiser):
    return torch.cat([p.detach().flatten() for p in denoiser.parameters()])


def judge_grid():
    return FourierGrid((64, 64), PIXEL, dtype=torch.float64)


def best_ratio(level):
    """Mean squared error of the Wiener filter with the spectrum of the maps over that with LOW."""
    grid, n = judge_grid(), level**2
    truth, low = (grid.mode_variance(s) for s in (THEORY, LOW))
    left = truth * n / (truth + n)
    left_by_low = truth * (n / (low + n)) ** 2 + n * (low / (low + n)) ** 2
    return grid.pixel_variance(left) / grid.pixel_variance(left_by_low)


def stop_at(monkeypatch, step):
    """Interrupt every trainer before a step."""
    advance = Trainer._advance

    def interrupted(self, batch):
        if self.step == step:
            raise KeyboardInterrupt
        return advance(self, batch)

    monkeypatch.setattr(Trainer, "_advance", interrupted)


# ---- training


@pytest.mark.slow
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_small_network_learns_what_theory_misses(bfloat16):
    validation = noiser(4, seed=1)
    learning = trainer(plan(steps=80, maps_per_step=4, ema=0.9, validate_every=80, bfloat16=bfloat16))
    before = denoising_ratios(learning.mean, validation, 4)
    trained = learning.run(progress=False)
    after = denoising_ratios(trained, validation, 4)
    assert set(before.values()) == {1.0}
    for level in LEVELS:
        # at least a fifth of the possible gain (an eighth at the lowest noise, where it is small)
        gain = (1 - after[f"{level:.3f}"]) / (1 - best_ratio(level))
        assert (0.12 if level == 0.003 else 0.2) < gain < 1
    assert trained is learning.mean and not torch.equal(weights(trained), weights(learning.denoiser))


def test_the_loss_is_one_before_any_training():
    # 16 maps with the spectrum of theory, two pieces each: the scatter is 3 % measured
    learning = trainer(plan(maps_per_step=16), theory=THEORY)
    assert abs(float(learning._advance(learning.batches[learning.step])) - 1) < 0.1


def test_history_and_progress(capsys):
    learning = trainer(plan(), validation=noiser(2, seed=1))
    learning.run()
    assert [row["step"] for row in learning.history] == [4, 8]
    assert list(learning.history[0]["ratio"]) == [f"{level:.3f}" for level in LEVELS]
    assert "loss=" in capsys.readouterr().err
    alone = trainer(plan())
    alone.run(progress=False)
    assert [list(row) for row in alone.history] == [["step", "loss"]] * 2


def test_the_running_mean_of_the_weights():
    learning = trainer(plan(ema=0.3))
    expected = weights(learning.mean)
    for step in range(1, 6):
        learning._advance(learning.batches[learning.step])
        memory = min(0.3, (1 + step) / (20 + step))
        expected = memory * expected + (1 - memory) * weights(learning.denoiser)
        assert torch.allclose(weights(learning.mean), expected, atol=1e-6)
    assert memory == (1 + step) / (20 + step) < 0.3 < 20 / 39


def test_learning_rates():
    schedule = plan(steps=100, warm_up=10)
    rates = np.array([schedule.rate(step) for step in range(101)])
    assert np.allclose(rates[:10], np.arange(1, 11) / 10)
    assert np.allclose(rates[[50, 100]], [0.51, 0.02])
    assert (np.diff(rates[10:]) < 0).all() and schedule.rate(200) == pytest.approx(0.02)
    learning = trainer(plan())
    for step in range(3):
        learning._advance(learning.batches[learning.step])
        assert learning.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * (step + 1) / 4)


def test_gradients_are_clipped():
    def first_step(clip):
        learning = trainer(plan(clip=clip))
        learning.optimizer = torch.optim.SGD(learning.denoiser.parameters(), lr=1.0)
        before = weights(learning.denoiser)
        learning._advance(learning.batches[learning.step])
        return float((weights(learning.denoiser) - before).norm())

    assert first_step(1e-3) == pytest.approx(1e-3 * 1e-2 / 4, rel=1e-3)
    assert first_step(1e6) > 1e-5


def test_workers_see_other_pieces():
    first, second = trainer(plan()), trainer(plan())
    second.batches.rank = 1
    assert float(first._advance(first.batches[first.step])) != float(second._advance(second.batches[second.step]))


def test_a_training_depends_on_its_seed():
    runs = [weights(trainer(plan(seed=seed)).run(progress=False)) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


# ---- interruptions


def test_an_interrupted_training_continues(monkeypatch):
    whole = trainer(plan(), validation=noiser(2, seed=1))
    whole.run(progress=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 6)
        trainer(plan(), validation=noiser(2, seed=1), checkpoint="c.safetensors").run(progress=False)
    # the initial weights do not matter
    resumed = trainer(plan(), validation=noiser(2, seed=1), checkpoint="c.safetensors", seed=9)
    assert resumed.step == 4
    resumed.run(progress=False)
    for name in ("denoiser", "mean"):
        assert torch.equal(weights(getattr(resumed, name)), weights(getattr(whole, name)))
    assert resumed.history == whole.history


def test_a_finished_training_is_unchanged():
    done = trainer(plan(), checkpoint="c.safetensors")
    done.run(progress=False)
    again = trainer(plan(), checkpoint="c.safetensors", seed=9)
    assert torch.equal(weights(again.run(progress=False)), weights(done.mean))
    assert again.history == done.history


@each_case(
    ("changes", "options", "named"),
    [
        ({"steps": 9}, {}, "steps"),
        ({"seed": 1, "sigma": (0.01, 0.3)}, {}, "sigma, seed"),
        ({}, {"widths": (4, 8, 12)}, "network"),
        ({}, {"theory": THEORY}, "theory"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(tmp_path, changes, options, named):
    trainer(plan(), checkpoint="c.safetensors").run(progress=False)
    before = (tmp_path / "c.safetensors").read_bytes()
    with pytest.raises(ValueError, match=rf"'c\.safetensors' is from another run \({named} differ\)"):
        trainer(plan(**changes), checkpoint="c.safetensors", **options)
    assert (tmp_path / "c.safetensors").read_bytes() == before


def test_damaged_checkpoints(tmp_path):
    file = tmp_path / "c.safetensors"
    trainer(plan(), checkpoint=file).run(progress=False)
    content = file.read_bytes()
    for keep in (0, 5, 200, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:keep])
        with pytest.raises(OSError, match=r"c\.safetensors' is damaged"):
            trainer(plan(), checkpoint=file)


@each_case("metadata", [None, {"training": "{"}, {"training": "[]"}, {"training": '{"step": 3}'}])
def test_checkpoints_with_other_contents(metadata):
    save_file({"weight": torch.zeros(3)}, "c.safetensors", metadata)
    with pytest.raises(OSError, match="damaged, or is not a checkpoint of a training"):
        trainer(plan(), checkpoint="c.safetensors")


# ---- errors


def test_a_loss_that_is_not_finite():
    with pytest.raises(ValueError, match=r"learning_rate: the loss is not finite after 4 steps"):
        trainer(plan(learning_rate=1e30, warm_up=0)).run(progress=False)


@each_case(
    "changes",
    [
        {"steps": 0},
        {"maps_per_step": -1},
        {"pieces": 1.5},
        {"size": "96"},
        {"margin": -3},
        {"margin": 2.5},
        {"validate_every": 0},
        {"validation_maps": 0},
        {"sigma": (0.1, 0.01)},
        {"sigma": (0, 0.1)},
        {"sigma": (0.1,)},
    ],
)
def test_invalid_plans_name_the_option(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        plan(**changes)


# ---- validation


@pytest.mark.slow
def test_the_best_denoiser_has_the_ratio_of_theory():
    # 8 maps, at noise levels with a possible gain: the ratio, of the same maps and noise, scatters by 1 %
    judge, levels = noiser(8, seed=1, margin=0), (0.05, 0.1, 0.2, 0.4)
    truth, low = (judge_grid().mode_variance(s) for s in (THEORY, LOW))

    def best(z, wiener, sigma):
        gain = truth / (truth + sigma**2) - low / (low + sigma**2)
        return torch.fft.irfft2(torch.fft.rfft2(z) * gain, s=(64, 64)).float()

    for level, ratio in zip(levels, denoising_ratios(best, judge, 8, levels).values(), strict=True):
        assert abs(ratio - best_ratio(level)) < 0.03
    assert denoising_ratios(lambda z, wiener, sigma: z - wiener, judge, 2, (0.2,))["0.200"] > 2  # no denoiser


def test_edges_do_not_count():
    judge = noiser(2, seed=1, margin=16)

    def wrong_at_the_edges(z, wiener, sigma):
        added = torch.ones_like(z)
        added[:, 16:-16, 16:-16] = 0
        return added

    assert set(denoising_ratios(wrong_at_the_edges, judge, 2).values()) == {1.0}


def test_more_maps_than_there_are():
    denoiser = HybridDenoiser(small_priors.network(), LOW, PIXEL)
    judge = noiser(2)
    assert denoising_ratios(denoiser, judge, 50) == denoising_ratios(denoiser, judge, 2)
    assert denoising_ratios(denoiser, judge, 1) != denoising_ratios(denoiser, judge, 2)


# ---- several workers


def test_alone_there_are_no_workers(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert start_workers("cpu") == torch.device("cpu")


@pytest.mark.slow
def test_two_workers_continue_the_training_of_one(monkeypatch, tmp_path):
    os.mkdir("maps")
    for box in range(2):
        np.save(f"maps/box{box}.npy", small_priors.gaussian_maps(THEORY, 3, (64, 64), box).numpy())
    LOW.to_table().write("cl.ecsv")
    arguments = ["train", "-o", "p.safetensors", "--maps", "maps", "--spectrum", "cl.ecsv", "--checkpoint", "c"]
    arguments += ["--pixel-scale", "0.4 arcmin", "--steps", "4", "--size", "32", "--margin", "8", "--widths", "4,8,8"]
    arguments += ["--validate-every", "2", "--corrections", "2", "--quiet", "--device", "cpu"]
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert main(arguments) == 130
    assert not (tmp_path / "p.safetensors").exists()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [*command, "-m", "astro_massmap", *arguments],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("wrote p.safetensors") == 1
    assert "Traceback" not in process.stderr
    prior = ScorePrior.load("p.safetensors")
    assert prior.card["steps"] == 4 and len((tmp_path / "p.csv").read_text().splitlines()) == 3
