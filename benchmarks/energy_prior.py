"""
A score that is a gradient against one that is drawn: ``energy_prior.py ENERGY DIRECT MAPS [--equal-steps PRIOR]``.

ENERGY is a file of `massmap` whose network tells an energy, DIRECT one whose network tells the residual, trained for
the same time, and --equal-steps another one, for as many steps. MAPS is a folder of ``massmap simulate``, whose
held-out boxes give the truths. With --out the table goes to energy.rst there.

All fields are small (64 x 64, in a box of 128 x 128) and all runs short: it is the difference that counts.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from score_prior import APERTURE, ARCMIN, DETECTED, mock

from astro_massmap import Schedule, ScorePrior
from astro_massmap.inference import (
    GaussianPosterior,
    SplitPlan,
    SplitPosterior,
    SplitTarget,
    Streams,
    run_chains,
    split_step,
    stationarity_check,
)
from astro_massmap.inference.hmc import Trajectory, start
from astro_massmap.priors import EnergyDenoiser
from astro_massmap.simulation import MapSet, moments, smoothed
from astro_massmap.training import MapBank, Noiser, denoising_ratios

SIDE, BOX, NOISE, MARGIN = 64, (128, 128), 0.15, 8
HALO, WIDTH = 0.06, 1.0  # convergence in the middle of the injected halo, and its standard deviation in arcmin


class WithoutDensity:
    """A prior on a grid for a sampler that is not told its density: Metropolis takes the integral along the path."""

    def __init__(self, on_grid):
        self._on_grid = on_grid

    def __getattr__(self, name):
        return getattr(self._on_grid, name)

    def log_ratio(self, modes, sigma):
        return None


class Bench:
    def __init__(self, arguments):
        maps = MapSet.open(arguments.maps)
        self.bank = MapBank(maps.split(0.2)[1].by_turns().stack(), maps.pixel_size)
        files = {"energy": arguments.energy, "direct, equal time": arguments.direct}
        if arguments.equal_steps is not None:
            files["direct, equal steps"] = arguments.equal_steps
        self.priors = {name: replace(ScorePrior.load(file), margin=MARGIN) for name, file in files.items()}
        self.fields, self.n_mocks, self.rows, self.notes = arguments.fields, arguments.mocks, [], []

    def row(self, label, values):
        cells = [values.get(name, "") for name in self.priors]
        self.rows.append([label, *cells])
        print(f"{label:60}", *(f"{cell:>20}" for cell in cells), flush=True)

    def posterior(self, i=0, halo=0.0):
        """A mock with an injected halo: the truth in the field, and the observation."""
        truth = self.bank.maps[i].numpy().astype(float)
        y, x = np.mgrid[: len(truth), : len(truth)] - len(truth) // 2
        truth = truth + halo * np.exp(-(x**2 + y**2) / 2 / (WIDTH / 0.4) ** 2)
        return mock(truth, SIDE, NOISE, np.ones((SIDE, SIDE), dtype=bool), 100 + i)

    def split(self, sigma, i=0):
        theory = self.priors["energy"].theory
        return SplitPosterior(GaussianPosterior(self.posterior(i)[1], theory, BOX), sigma)

    def training(self):
        cards = {name: prior.card for name, prior in self.priors.items()}
        self.row("steps of the training", {n: str(c["steps"]) for n, c in cards.items() if "steps" in c})
        minutes = {n: f"{c['cpu'] / 60:.1f}" for n, c in cards.items() if "cpu" in c}
        self.row("minutes of one processor for them", minutes)

    def denoising(self, n=8):
        noiser = Noiser(self.bank, self.priors["energy"].theory)
        ratios = {name: denoising_ratios(p.denoiser, noiser, n, seed=10**7) for name, p in self.priors.items()}
        for level in ratios["energy"]:
            self.row(f"denoising error / Wiener at noise {level}", {n: f"{r[level]:.3f}" for n, r in ratios.items()})

    def cost(self, n=8, repeat=10):
        split = self.split(0.135)
        modes = split.mean + split.fluctuations(Streams(0, range(n)))
        spent = {}
        for name, prior in self.priors.items():
            on_grid = prior.on(split.grid)
            on_grid.residual(modes, 0.135)
            begin = time.process_time()
            for _ in range(repeat):
                on_grid.residual(modes, 0.135)
            spent[name] = (time.process_time() - begin) / repeat
        unit = spent["direct, equal time"]
        self.row("time of an evaluation in the sampler", {name: f"{s / unit:.1f}" for name, s in spent.items()})

    def loop(self, sigma=0.135, nodes=8, n=8):
        """Work around triangles of draws from the Gaussian posterior, and along their sides: log densities."""
        split = self.split(sigma)
        places, weights = (torch.from_numpy(t) for t in np.polynomial.legendre.leggauss(nodes))
        draws = split.mean + split.fluctuations(Streams(3, range(3 * n)))
        found = {}
        for name, prior in self.priors.items():
            on_grid, work = prior.on(split.grid), np.zeros((n, 3))
            for i, side in np.ndindex(n, 3):
                begin, step = draws[3 * i + side], draws[3 * i + (side + 1) % 3] - draws[3 * i + side]
                path = torch.stack([begin + step * float(1 + p) / 2 for p in places])
                work[i, side] = (split.grid.inner(on_grid.residual(path, sigma), step) * weights).sum() / 2
            around, along = (np.sqrt(np.mean(w**2)) for w in (work.sum(axis=1), work))
            found[name] = f"{around:.3f} of {along:.2f}"
        self.row("work around a loop, of that along a side (rms)", found)

    def metropolis(self, sigma=0.135, n=16, steps=4):
        """Energy errors of the same trajectories, by the density and by the integral along the path."""
        split = self.split(sigma)
        for angle in (0.3, 0.55, 1.1):
            rows = {"density": {}, "path": {}}
            for name, prior in self.priors.items():
                on_grid = prior.on(split.grid)
                ways = {"path": WithoutDensity(on_grid)}
                if isinstance(prior.denoiser, EnergyDenoiser):
                    ways["density"] = on_grid
                for way, told in ways.items():
                    rows[way][name] = self._trajectories(split, told, angle, n, steps)
            for way, label in (("density", "by the density"), ("path", "by the integral along the path")):
                self.row(f"accepted, rms change of energy, kicks {angle} apart, {label}", rows[way])

    def _trajectories(self, split, on_grid, angle, n, steps):
        target, streams = SplitTarget(split, on_grid), Streams(5, range(n))
        state, errors, accepted = start(target, split.mean + split.fluctuations(streams), streams), [], []
        for _ in range(steps):
            state = split_step(target, state, Trajectory(length=4 * angle, leapfrogs=4), streams, split.grid.inner)
            errors.append(state.energy_error)
            accepted.append(state.accepted.double().mean())
        return f"{float(torch.stack(accepted).mean()):.2f}, {float(torch.cat(errors).square().mean().sqrt()):.2f}"

    def deep(self, n=4, steps=16):
        """Hamiltonian Monte Carlo where learned scores run away: at noise levels far below that of the data."""
        for sigma in (0.06, 0.03, 0.015):
            observation, found = self.posterior()[1], {}
            for name, prior in self.priors.items():
                plan = SplitPlan(observation, prior, Schedule(share=sigma / NOISE, trajectories=steps), BOX)
                plan.finish = lambda modes, streams: modes
                run = run_chains(plan, Streams(2, range(n)))
                worst = plan.band_power(run.modes, sigma, 8).mean(dim=0).max()
                found[name] = f"{float(run.acceptance.mean()):.2f}, {float(worst):.2f}"
            self.row(f"accepted, power / prior in the worst band, unsplit to noise {sigma}", found)

    def stationarity(self):
        observation, (rows, columns) = self.posterior()[1], (slice(128, 256),) * 2
        truths = [self.bank.maps[i, rows, columns].clone() for i in range(self.fields)]
        bands, skewness = {}, {}
        for name, prior in self.priors.items():
            wide, steps = replace(prior, margin=32), Schedule(trajectories=4)
            out = stationarity_check(lambda data, p=wide, s=steps: SplitPlan(data, p, s, BOX), observation, truths, 3)
            before, after = out["maps"].numpy()
            bands[name] = " ".join(f"{r:.2f}" for r in out["power_ratio"][2:])
            skew = [moments(smoothed(m, prior.pixel_size, ARCMIN))[1] for m in (after, before)]
            skewness[name] = f"{skew[0]:.2f} of {skew[1]:.2f}"
        self.row("power after / before, in bands", bands)
        self.row("skewness of what was left, 1 arcmin", skewness)

    def halo(self, n=16):
        """Fraction of samples in which a halo at the edge of detection is there."""
        y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
        disc = np.hypot(x, y) < APERTURE / 0.4
        claimed, there = {name: [] for name in self.priors}, []
        for i in range(self.n_mocks):
            truth, observation = self.posterior(i, HALO)
            there.append(truth[disc].mean())
            for name, prior in self.priors.items():
                plan = SplitPlan(observation, prior, Schedule(trajectories=4, reverse_steps=8), BOX)
                samples = plan.grid.to_field(run_chains(plan, Streams(7, range(n))).modes).numpy()
                claimed[name].append((samples[:, disc].mean(axis=1) > DETECTED).mean())
        means = {name: f"{np.mean(c):.2f}" for name, c in claimed.items()}
        self.row(f"samples with an injected halo, mean of {self.n_mocks} mocks", means)
        spread = {
            name: f"{np.abs(np.subtract(c, claimed['energy'])).mean():.2f}"
            for name, c in claimed.items()
            if name != "energy"
        }
        self.row("the same, mean difference from the energy", spread)
        self.notes.append("true mean of the aperture: " + " ".join(f"{t:.3f}" for t in there))
        self.notes += [f"{name}: " + " ".join(f"{f:.2f}" for f in c) for name, c in claimed.items()]

    def table(self):
        """All rows as a table of reStructuredText."""
        rows = [["", *self.priors], *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        rule = " ".join("=" * max(w, 1) for w in widths)
        lines = [" ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines[0] = "\\ " + lines[0][2:]
        return "\n".join([rule, lines[0], rule, *lines[1:], rule]) + "\n"


SECTIONS = ("training", "denoising", "cost", "loop", "metropolis", "deep", "halo", "stationarity")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("energy")
    parser.add_argument("direct")
    parser.add_argument("maps", type=Path)
    parser.add_argument("sections", nargs="*", default=SECTIONS, help=", ".join(SECTIONS))
    parser.add_argument("--equal-steps", metavar="PRIOR", help="trained directly for as many steps as the energy")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--mocks", type=int, default=6)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    bench = Bench(arguments)
    for section in arguments.sections:
        begin = time.process_time()
        getattr(bench, section)()
        print(f"== {section}: {time.process_time() - begin:.0f} s", flush=True)
    print(bench.table(), *bench.notes, sep="\n")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "energy.rst").write_text(bench.table())
        (arguments.out / "energy_halo.txt").write_text("\n".join(bench.notes) + "\n")


if __name__ == "__main__":
    main()
