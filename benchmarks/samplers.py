"""
Samplers on problems with known posteriors: ``python benchmarks/samplers.py [SECTION ...] [--quick] [--rst FOLDER]``.

Sections: gaussian, modes, diffusion, tempered, controls, wrong, coverage, cost, scaling. Each row states the case, the
number of evaluations of the score for a sample, and the deviation of the samples from the exact posterior.
"""

import argparse
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from astro_massmap import GaussianPrior, Schedule
from astro_massmap.inference import (
    DiffusedStartPlan,
    DiffusionPlan,
    FourierGrid,
    LensingOperator,
    Observation,
    SplitPlan,
    Streams,
    TemperedPlan,
    Trajectory,
    run_chains,
)
from astro_massmap.validation.diagnostics import coverage as coverage_of

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # problems and samplers that tests and benchmarks share

from helpers import problems
from helpers.analytic_priors import GaussianNetwork, MixtureNetwork
from helpers.ensembles import bare_split, ensemble, from_prior
from helpers.leapfrog import LeapfrogTarget
from list_table import list_table


def identity_mass(observation, n_levels, steps, leapfrogs):
    """Return a plan as of Remy et al. (2020): leapfrog steps, identity mass, noise reduced level by level."""

    class Plan(TemperedPlan):
        target = LeapfrogTarget

    levels = tuple(np.geomspace(0.15, 0.002, n_levels))
    schedule = Schedule(levels, (steps,), Trajectory(length=float(leapfrogs), leapfrogs=leapfrogs), splitting=False)
    return Plan(observation, GaussianPrior(problems.spectrum()), schedule, observation.shape)


def gaussian(quick):
    yield "case", "evaluations", "mean (data / holes); std (data / holes); chi2/n; power by band", "within targets"
    cases = [(64, 30, 16)] if quick else [(128, 30, 64), (128, 7.5, 64), (320, 30, 16), (320, 7.5, 16)]
    for side, density, n in cases:
        generator = torch.Generator().manual_seed(side)
        sky = problems.gaussian_sky(side, generator)
        observation = problems.observe(sky, problems.noise_map(side, density), generator)
        exact = problems.Exact(observation, 64 if quick else 128)
        for steps in (8,) if quick else (4, 8, 12):
            plan = bare_split(observation, steps)
            modes, _ = ensemble(plan, n, start=from_prior(plan))
            agreement = exact.compare(modes)
            yield (
                f"split kernel from a draw of the prior, {side}, {density}",
                f"{4 * steps + 1}",
                agreement.row(),
                agreement.good,
            )
        plan = bare_split(observation, 8)
        modes, _ = ensemble(plan, n, start=lambda s, p=plan: p.start(s))
        agreement = exact.compare(modes)
        yield f"split kernel from an exact draw, {side}, {density}", "32", agreement.row(), agreement.good
        for steps in (1, 5, 10):
            schedule = Schedule(reverse_steps=steps, trajectories=2)
            plan = SplitPlan(observation, GaussianPrior(problems.spectrum()), schedule, observation.shape)
            modes, _ = ensemble(plan, n, seed=steps)
            agreement = exact.compare(modes)
            yield f"noise splitting, {side}, {density}, {steps} reverse steps", "0", agreement.row(), agreement.good
    yield _noise_floor_row(quick)
    yield from _identity_rows(quick)


def _noise_floor_row(quick):
    """Compare samples and the exact posterior for data with a noise floor, with Poisson counts of galaxies."""
    side = 64
    generator = torch.Generator().manual_seed(64)
    counts = torch.poisson(torch.full((side, side), 4.84, dtype=torch.float64), generator=generator)
    noise_std = torch.where(counts > 0, 0.271 / counts.clamp(min=1).sqrt(), math.inf)
    white = torch.randn(2, side, side, generator=generator, dtype=torch.float64)
    grid = FourierGrid((side, side), problems.PIXEL, dtype=torch.float64)
    shear = LensingOperator(grid).forward(problems.gaussian_sky(side, generator))
    observation = Observation(shear + torch.where(counts > 0, noise_std, 0.0) * white, noise_std, problems.PIXEL)
    data = observation.with_noise_floor(0.985, 0)
    plan = SplitPlan(data, GaussianPrior(problems.spectrum()), Schedule(trajectories=2), (side, side))
    agreement = problems.Exact(data, 64).compare(ensemble(plan, 16 if quick else 64)[0])
    kept, gain = data.information_kept(observation), float(data.noise_std.min() / observation.noise_std.min())
    return f"Poisson counts, 64, 30: {kept:.1%} kept, s x {gain:.2f}", "0", agreement.row(), agreement.good


def _identity_rows(quick):
    generator = torch.Generator().manual_seed(64)
    observation = problems.observe(problems.gaussian_sky(64, generator), problems.noise_map(64, 30), generator)
    exact = problems.Exact(observation, 64)
    for n_levels, steps, leapfrogs in [(20, 2, 4)] if quick else [(50, 4, 10), (100, 4, 10), (200, 4, 10)]:
        modes, _ = ensemble(identity_mass(observation, n_levels, steps, leapfrogs), 16 if quick else 32)
        agreement = exact.compare(modes)
        count = n_levels * (steps * leapfrogs + 1)
        name = f"leapfrog with identity mass, annealed, 64, 30 ({n_levels} levels)"
        yield name, f"{count}", agreement.row(), agreement.good


def _mode_rows(name, problem, plan_of, n, start=None):
    errors, count, acceptance = [], 0, []
    for observation, weight in zip(problem.observations, problem.weights, strict=True):
        plan = plan_of(observation)
        modes, run = ensemble(plan, n, start=start, seed=round(1e3 * weight))
        measured, _ = problems.cluster_weight(problem.prior, plan.grid, modes)
        errors.append((weight, measured, math.sqrt(weight * (1 - weight) / n)))
        count = run.evaluations
        acceptance.append(float(run.acceptance[:, -1].mean()))
    worst = max(errors, key=lambda e: abs(e[1] - e[0]))
    listed = " ".join(f"{m:.3f}" for _, m, _ in errors)
    allowed = all(abs(m - w) <= 0.03 + 2 * e for w, m, e in errors)
    result = f"{listed}; worst {abs(worst[1] - worst[0]):.3f} (s.e. {worst[2]:.3f})"
    return name, f"{count}", f"{np.mean(acceptance):.2f}", result, allowed


def modes(quick):
    yield (
        "case (exact weights .132 .349 .579 .842)",
        "evaluations",
        "acceptance",
        "fraction of samples with the cluster",
        "within targets",
    )
    n = 32 if quick else 128
    for side, separation, schedule, name in [
        (64, 4.1, Schedule(trajectories=4), "fast, 4 steps"),
        (64, 6.1, Schedule.fast(), "fast"),
        (64, 6.1, Schedule(trajectories=8, share=0.6), "fast, share 0.6, 8 steps"),
        (64, 6.1, Schedule.annealed(), "annealed"),
        (64, 10.2, Schedule.fast(), "fast"),
        (64, 10.2, Schedule.annealed(), "annealed"),
        (128, 6.1, Schedule.annealed(), "annealed"),
    ][: 2 if quick else None]:
        problem = problems.two_modes(side, separation)

        def plan_of(observation, problem=problem, schedule=schedule):
            return SplitPlan(observation, problem.prior, schedule, observation.shape)

        yield _mode_rows(f"{side}, separation {separation}, {name}", problem, plan_of, n)


def diffusion(quick):
    yield (
        "case (exact weights .132 .349 .579 .842)",
        "evaluations",
        "mean (data / holes); std (data / holes); chi2/n; power by band; or fraction of samples with the cluster",
        "within targets",
    )
    generator = torch.Generator().manual_seed(64)
    observation = problems.observe(problems.gaussian_sky(64, generator), problems.noise_map(64, 30), generator)
    exact = problems.Exact(observation, 64 if quick else 128)
    for steps in (4,) if quick else (1, 4, 15, 25):
        plan = DiffusionPlan(observation, GaussianNetwork(problems.spectrum()), steps, observation.shape)
        agreement = exact.compare(ensemble(plan, 16 if quick else 64)[0])
        yield f"64, Gaussian, {steps} steps", "0", agreement.row(), agreement.good
    for steps in (2, 12):
        network, prior = GaussianNetwork(problems.spectrum()), GaussianPrior(problems.spectrum())
        plan = _short(observation, prior, network, steps)
        agreement = exact.compare(ensemble(plan, 16 if quick else 64)[0])
        yield f"64, Gaussian, chains from {steps} steps", "0", agreement.row(), agreement.good
    cases = [(4.1, 25), (6.1, 10), (6.1, 25), (6.1, None), (10.2, None)]
    for separation, steps in cases[: 1 if quick else None]:
        problem = problems.two_modes(64, separation)

        def plan_of(observation, problem=problem, steps=steps):
            network = MixtureNetwork(problem.prior, observation)
            if steps is None:
                return _short(observation, problem.prior, network, 12)
            return DiffusionPlan(observation, network, steps, observation.shape)

        label = "chains from 12 steps" if steps is None else f"{steps} steps"
        name, evaluations, _, *rest = _mode_rows(
            f"64, separation {separation}, {label}", problem, plan_of, 32 if quick else 128
        )
        yield name, evaluations, *rest


def _short(observation, prior, network, steps):
    """Return the plan of short chains that start from a diffusion."""
    diffusion = DiffusionPlan(observation, network, steps, observation.shape)
    return DiffusedStartPlan(diffusion, observation, prior, Schedule.short(), observation.shape)


def tempered(quick):
    yield (
        "case (exact weights .132 .349 .579 .842)",
        "evaluations",
        "acceptance",
        "fraction of samples with the cluster",
        "within targets",
    )
    problem = problems.two_modes(64, 6.1)
    schedule = Schedule.tempered()

    def plan_of(observation):
        return TemperedPlan(observation, problem.prior, schedule, observation.shape)

    yield _mode_rows("64, separation 6.1, tempered (Remy et al. 2020)", problem, plan_of, 16 if quick else 96)


def controls(quick):
    """Run schemes that are known to be wrong: no annealing at zero noise, and a deterministic flow."""
    yield "control", "evaluations", "result", "fails as expected"
    problem = problems.two_modes(64, 6.1, wanted=(0.842,))
    observation, weight = problem.observations[0], problem.weights[0]
    schedule = Schedule((0.0,), (16,), Trajectory(leapfrogs=4), splitting=False)
    plan = TemperedPlan(observation, problem.prior, schedule, observation.shape)
    samples, run = ensemble(plan, 32 if quick else 128)
    measured, _error = problems.cluster_weight(problem.prior, plan.grid, samples)
    yield (
        "no annealing, no splitting",
        f"{run.evaluations}",
        f"{measured:.3f} for {weight:.3f}",
        weight - measured > 0.3,
    )
    ratio = deterministic_std(32 if quick else 64)
    yield "deterministic flow from z to kappa, 20 steps", "20", f"std {ratio:.2f} of the exact one", ratio < 0.9


def deterministic_std(n):
    """Return the ratio to the exact standard deviation, in the data, for samples by the probability flow."""
    generator = torch.Generator().manual_seed(64)
    observation = problems.observe(problems.gaussian_sky(64, generator), problems.noise_map(64, 30), generator)
    exact = problems.Exact(observation, 64)
    plan = SplitPlan(observation, GaussianPrior(problems.spectrum()), Schedule.fast(), observation.shape)
    z = torch.cat([plan.start(Streams(1, [i])) for i in range(n)])
    sigmas = list(np.geomspace(plan.share, 0.005, 20))
    for a, b in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
        denoised = plan.prior.variance / (plan.prior.variance + a**2) * z
        z = denoised + b / a * (z - denoised)
    return exact.compare(z).std_observed


def wrong(quick):
    yield "error of the denoiser below sigma = 0.03", "evaluations", "std (data / holes)", "as expected"
    generator = torch.Generator().manual_seed(64)
    observation = problems.observe(problems.gaussian_sky(64, generator), problems.noise_map(64, 30), generator)
    exact = problems.Exact(observation, 64)
    for epsilon in (0.0, 0.01, 0.03, 0.1):
        plan = SplitPlan(observation, problems.WrongScore(epsilon), Schedule.fast(), observation.shape)
        samples, run = ensemble(plan, 16 if quick else 64)
        a = exact.compare(samples)
        fine = bool(torch.isfinite(samples.real).all()) and (epsilon > 0.03 or max(a.std_observed, a.std_holes) <= 1.10)
        yield f"{epsilon:.0%}, noise splitting", f"{run.evaluations}", f"{a.std_observed:.3f} / {a.std_holes:.3f}", fine


def coverage(quick):
    yield "intervals over mock skies", "skies x chains", "pixels 68 %, 95 %; blocks of 16 pixels 68 %", "within targets"
    n_skies, n_chains = 10 if quick else 50, 39
    pixels, blocks = mock_posteriors(64, n_skies, n_chains)
    inside, (block,) = coverage_of(*pixels, (0.68, 0.95))["coverage"], coverage_of(*blocks, (0.68,))["coverage"]
    good = abs(inside[0] - 0.68) <= 0.02 and abs(inside[1] - 0.95) <= 0.01 and abs(block - 0.68) <= 0.05
    yield (
        "AnnealedHMC, Gaussian prior",
        f"{n_skies} x {n_chains}",
        f"{inside[0]:.3f}, {inside[1]:.3f}; {block:.3f}",
        good,
    )


def mock_posteriors(side, n_skies, n_chains):
    """Return samples and truths for skies from the prior: of pixels, and of means over 4 x 4 pixels."""
    pixels, blocks = [], []
    for sky in range(n_skies):
        generator = torch.Generator().manual_seed(1000 + sky)
        truth = problems.gaussian_sky(side, generator)
        observation = problems.observe(truth, problems.noise_map(side, 30, seed=sky), generator)
        plan = SplitPlan(observation, GaussianPrior(problems.spectrum()), Schedule((1.0,), (2,)), (side, side))
        samples = plan.grid.to_field(ensemble(plan, n_chains, seed=sky)[0]).numpy()
        field = plan.grid.to_field(truth).numpy()
        for shape, store in ((1, pixels), (4, blocks)):
            store.append(
                [
                    a.reshape(*a.shape[:-2], side // shape, shape, side // shape, shape).mean((-3, -1))
                    for a in (samples, field)
                ]
            )
    return [tuple(map(np.stack, zip(*of_skies, strict=True))) for of_skies in (pixels, blocks)]


def cost(quick):
    yield "side", "seconds a sample", "of which the score (a network of 1 M parameters)", "overhead"
    for side in (64, 128) if quick else (64, 128, 256, 320):
        for padding in (1, 2):
            yield _cost_row(side, padding * side)


def _cost_row(side, box):
    """Measure the wall time of one sample, and the part spent in the network, in the same run."""
    network, spent = _network(), []
    generator = torch.Generator().manual_seed(side)
    observation = problems.observe(problems.gaussian_sky(side, generator), problems.noise_map(side, 30), generator)

    class Prior(problems.WrongScore):
        def on(self, grid):
            on_grid = super().on(grid)
            original = on_grid.residual

            def residual(modes, sigma):
                field = grid.to_field(modes)[:, None].expand(-1, 3, -1, -1)
                start = time.perf_counter()
                output = network(field)
                spent.append(time.perf_counter() - start)
                return original(modes, sigma) + 0 * grid.to_modes(output[:, 0])

            on_grid.residual = residual
            return on_grid

    plan = SplitPlan(observation, Prior(0.01), Schedule.fast(), (box, box))
    ensemble(plan, 1)
    spent.clear()
    start = time.perf_counter()
    _, run = ensemble(plan, 1)
    total, score = time.perf_counter() - start, sum(spent)
    return (
        f"{side} in a box of {box}",
        f"{total:.2f}",
        f"{score:.2f} ({run.evaluations} evaluations)",
        f"{total / score - 1:.0%}",
    )


def scaling(quick):
    """Measure time and memory by side of the field and number of chains at a time, each in its own process."""
    yield "side of the field", "chains at a time", "seconds a sample, without the score", "peak memory"
    cases = [(64, 1), (128, 1)] if quick else [(64, 1), (128, 1), (256, 1), (512, 1), (1024, 1), (128, 4), (128, 16)]
    for side, chains in cases:
        command = [
            sys.executable,
            __file__,
            "--measure",
            str(side),
            str(chains),
            "--threads",
            str(torch.get_num_threads()),
        ]
        seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        yield f"{side}", f"{chains}", f"{float(seconds):.2f}", f"{float(peak):.2f} GiB"


def measure(side, chains):
    """Return seconds per sample and peak memory in GiB of the fast schedule, with a residual without a network."""
    generator = torch.Generator().manual_seed(side)
    observation = problems.observe(problems.gaussian_sky(side, generator), problems.noise_map(side, 30), generator)
    plan = SplitPlan(observation, problems.WrongScore(0.01), Schedule.fast(), (2 * side, 2 * side))
    start = time.perf_counter()
    run_chains(plan, Streams(0, range(chains)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "linux" else 2**30)
    return (time.perf_counter() - start) / chains, peak


def _network():
    """Return an untrained residual network of 1 M parameters at three scales, to measure its time."""
    conv = torch.nn.Conv2d
    silu = torch.nn.SiLU

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            w = (32, 64, 128)
            self.into = conv(3, w[0], 3, padding=1)
            self.down = torch.nn.ModuleList([self.block(w[0]), self.block(w[1]), self.block(w[2])])
            self.shrink = torch.nn.ModuleList([conv(w[0], w[1], 2, 2), conv(w[1], w[2], 2, 2)])
            self.grow = torch.nn.ModuleList(
                [torch.nn.ConvTranspose2d(w[2], w[1], 2, 2), torch.nn.ConvTranspose2d(w[1], w[0], 2, 2)]
            )
            self.up = torch.nn.ModuleList([self.block(w[1]), self.block(w[0])])
            self.out = conv(w[0], 1, 3, padding=1)

        @staticmethod
        def block(w):
            one = lambda: torch.nn.Sequential(silu(), conv(w, w, 3, padding=1), silu(), conv(w, w, 3, padding=1))  # noqa: E731
            return torch.nn.ModuleList([one(), one()])

        @staticmethod
        def go(blocks, x):
            for block in blocks:
                x = x + block(x)
            return x

        def forward(self, x):
            a = self.go(self.down[0], self.into(x))
            b = self.go(self.down[1], self.shrink[0](a))
            c = self.go(self.down[2], self.shrink[1](b))
            b = self.go(self.up[0], b + self.grow[0](c))
            return self.out(self.go(self.up[1], a + self.grow[1](b)))

    net = Net().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return net


SECTIONS = {f.__name__: f for f in (gaussian, modes, diffusion, tempered, controls, wrong, coverage, cost, scaling)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=[])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rst", type=Path, help="folder for the tables of the documentation")
    parser.add_argument("--measure", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.measure:
        print(*measure(*arguments.measure))
        return
    for name in arguments.sections or SECTIONS:
        table = []
        for row in SECTIONS[name](arguments.quick):
            table.append([{True: "yes", False: "no"}.get(cell, str(cell)) for cell in row])
            print("  |  ".join(table[-1]), flush=True)
        print(flush=True)
        if arguments.rst:
            (arguments.rst / f"samplers_{name}.rst").write_text(list_table(table))


if __name__ == "__main__":
    main()
