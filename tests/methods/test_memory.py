"""Estimated memory of a run compared with that of a process, and errors for runs that exceed the memory."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from astro_massmap import GaussianPrior, ScorePrior, Wiener
from astro_massmap.inference import FourierGrid, Observation
from astro_massmap.methods import _memory
from astro_massmap.methods._memory import check_memory, needed_memory
from astro_massmap.priors import PosteriorNetwork

from helpers import small_priors

GIB = 2**30
SMALL = Observation.from_arrays(
    np.random.default_rng(0).normal(scale=0.1, size=(2, 64, 64)), np.full((64, 64), 0.1), 1.2e-4
)

# a chain of the shipped prior, or an exact draw, in its own process: the largest memory before and after, in KiB
RUN = """
import torch
from astro_massmap import GaussianPrior, Schedule, ScorePrior
from astro_massmap.inference import Observation, SplitPlan, Streams, padded_shape, run_chains
import astro_massmap.methods
torch.set_num_threads(1)
peak = lambda: next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
prior = ScorePrior.load("default") if {network} else GaussianPrior()
print(peak())
shape, generator = (448, 448), torch.Generator().manual_seed(0)
shear = 0.15 * torch.randn(2, *shape, dtype=torch.float64, generator=generator)
observation = Observation(shear, torch.full(shape, 0.15, dtype=torch.float64), {pixel})
schedule = Schedule(trajectories=(int({network}),), reverse_steps=2)
plan = SplitPlan(observation, prior, schedule, padded_shape(shape, 2.0), tolerance=0.1)
run_chains(plan, Streams(0, [0]))
print(peak())
"""


# the map of a method, after a small one that loads the libraries
SOLVE = """
import numpy as np, torch
from astro_massmap import InferredSpectrum, Sparse, Wiener
from astro_massmap.inference import Observation
torch.set_num_threads(1)
peak = lambda: next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
method = {method}
for side in (24, {side}):
    observation = Observation.from_arrays(np.zeros((2, side, side)), np.full((side, side), 0.15), 1.2e-4)
    method.solve(observation)
    print(peak())
print(method._memory_estimate(observation.shape, method.n_jobs).bytes)
"""
SPARSE = "Sparse(n_noise=2, max_iterations=2, n_jobs={})"
INFER = "Wiener(InferredSpectrum(n_chains=1, burn_in=0, thin=1), n_samples=2, n_jobs=1, tolerance=0.1)"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.skipif(torch.version.cuda is not None, reason="the memory of the CUDA libraries was not measured")
@pytest.mark.parametrize("method", [INFER, SPARSE.format(1), SPARSE.format(2)])
@pytest.mark.parametrize("side", [256, 512])
def test_other_methods_use_the_estimated_memory(method, side):
    code, environment = SOLVE.format(method=method, side=side), os.environ | {"OMP_NUM_THREADS": "1"}
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    before, after, estimate = (int(line) for line in printed.stdout.split())
    assert 0.75 < (estimate - _memory._PROGRAM) / (1024 * (after - before)) < 1.25


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.skipif(torch.version.cuda is not None, reason="the memory of the CUDA libraries was not measured")
@pytest.mark.parametrize("network", [False, True])
def test_a_run_uses_the_estimated_memory(network):
    prior = ScorePrior.load("default")
    code = RUN.format(network=network, pixel=1.2e-4)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    before, after = (1024 * int(line) for line in printed.stdout.split())
    estimate = needed_memory((448, 448), prior=prior if network else GaussianPrior()).bytes
    assert 0.15 * GIB < before < 0.6 * GIB  # other libraries may take more or less
    assert 0.75 < estimate / (after - before + _memory._PROGRAM) < 1.25


def test_samples_of_a_wiener_filter_are_counted_in_its_precision():
    for dtype, size in (("float32", 4), ("float64", 8)):
        few, many = (Wiener(n_samples=n, dtype=dtype)._memory_estimate((64, 64), 1).bytes for n in (16, 1016))
        assert (
            many - few == 1000 * 64 * 64 * size == 1000 * Wiener(n_samples=1, dtype=dtype).solve(SMALL).samples.nbytes
        )


def test_the_text_contains_field_box_tiles_and_memory():
    prior = ScorePrior.load("default")
    estimate = needed_memory((1024, 1024), prior=prior, levels=5)
    where = "1024 x 1024 pixels in a box of 2048 x 2048, the network in 9 tiles of 428 x 428"
    assert str(estimate).startswith(f"{where}: about ")
    assert check_memory(dataclasses.replace(estimate, bytes=int(1.234 * GIB))).endswith(": about 1.2 GiB of memory")
    assert check_memory(dataclasses.replace(estimate, bytes=int(4.97 * GIB))).endswith(": about 5 GiB of memory")
    assert ", the network in one tile: about " in str(needed_memory((300, 100), prior=prior))
    assert "network" not in str(needed_memory((1024, 1024)))


@pytest.mark.parametrize("shape", [(1024, 1024), (448, 449), (30, 700)])
def test_the_tiles_are_those_of_the_prior(shape):
    prior = ScorePrior.load("default")
    estimate = needed_memory(shape, 1.25, prior=prior)
    on_grid = prior.on(FourierGrid(shape, 2e-4, estimate.box))
    assert estimate.tiles == on_grid.region.tiles


def test_a_run_that_exceeds_the_memory_is_an_error(monkeypatch):
    monkeypatch.setattr(_memory, "physical_memory", lambda: 8 * GIB)
    assert check_memory(needed_memory((2048, 2048)))
    with pytest.raises(ValueError, match=r"shape: 8192 x 8192 .*: about \d+ GiB of memory, this computer has 8 GiB; u"):
        check_memory(needed_memory((8192, 8192)))


def test_more_of_everything_needs_more():
    prior = ScorePrior.load("default")
    shape = (1024, 1024)
    usual = needed_memory(shape, prior=prior).bytes
    for more in ({"padding": 3.0}, {"batch": 2}, {"levels": 5}, {"samples": 64}, {"dtype": "float64"}):
        assert needed_memory(shape, **({"prior": prior} | more)).bytes > usual
    assert needed_memory(shape, prior=dataclasses.replace(prior, tile=1088)).bytes > usual
    assert needed_memory(shape).bytes < usual
    assert needed_memory(shape, prior=GaussianPrior()).bytes == needed_memory(shape).bytes
    samples = [needed_memory(shape, samples=n).bytes for n in (10, 20)]
    assert samples[1] - samples[0] == 10 * 4 * 1024 * 1024


def test_a_denoiser_of_another_kind_counts_no_layers():
    other = dataclasses.replace(small_priors.prior(), denoiser=torch.nn.Identity())
    assert needed_memory((256, 256)).bytes < needed_memory((256, 256), prior=other).bytes


def test_a_network_of_the_posterior_is_counted_too():
    network = PosteriorNetwork.load("default")
    assert len(needed_memory((1024, 1024), prior=network).tiles) == 9


def test_a_box_of_double_precision_is_twice_as_large():
    needed = (needed_memory((2048, 2048), dtype=dtype).bytes for dtype in ("float32", "float64"))
    single, double = (count - _memory._PROGRAM for count in needed)
    assert 1.7 < double / single < 2
