"""
Count good and diverging chains that are flagged as diverged: ``python benchmarks/divergence.py [--chains N]``.

Good chains are those of the default method on mock fields of 12 to 32 pixels on a side, with 20 to 100 galaxies per
square arcminute and holes: Gaussian fields, half of them with a halo of 2e14 to 2e15 solar masses in the middle.
Diverging chains have a wrong score. Results of finished fields are kept in a file (``--state``), from which an
interrupted run continues.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.cosmology import FlatLambdaCDM

from astro_massmap import AnnealedHMC, PowerSpectrum, Schedule, ScorePrior
from astro_massmap.inference import (
    FourierGrid,
    LensingOperator,
    Observation,
    SplitPlan,
    TemperedPlan,
    Trajectory,
    diverged,
    one_thread,
    run_chains,
)
from astro_massmap.simulation import NFWHalo

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # problems that tests and benchmarks share

from helpers import problems
from list_table import list_table

ARCMIN, PIXEL = np.radians(1 / 60), 0.4  # arcmin
SHAPE_NOISE, BATCH = 0.27, 8
COSMOLOGY = FlatLambdaCDM(70, 0.3)


def mock(seed):
    """Return an observation, and the mass of its halo in solar masses, 0 for none."""
    rng = np.random.default_rng(seed)
    side, density = int(rng.integers(12, 33)), rng.uniform(20, 100)
    noise_std = SHAPE_NOISE / np.sqrt(rng.poisson(density * PIXEL**2, (side, side)).clip(min=0.1))
    noise_std[noise_std > 0.5] = np.inf
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * PIXEL
    for _ in range(rng.integers(0, 4)):
        noise_std[np.hypot(x - rng.uniform(x.min(), x.max()), y - rng.uniform(y.min(), y.max())) < 1] = np.inf
    grid = FourierGrid((side, side), PIXEL * ARCMIN, (128, 128), dtype=torch.float64)
    white = grid.to_modes(torch.from_numpy(rng.normal(size=grid.box_shape)))
    operator = LensingOperator(grid)
    shear = operator.forward(grid.mode_variance(PowerSpectrum.default()).sqrt() * white).numpy()
    mass = 0.0
    if rng.random() < 0.5:
        mass = float(10 ** rng.uniform(np.log10(2e14), np.log10(2e15)))
        halo = NFWHalo(mass * u.Msun, 0.3, cosmology=COSMOLOGY)
        theta = np.hypot(x, y).clip(min=0.1) * u.arcmin
        tangential = halo.shear(theta, 1.0) / (1 - np.minimum(halo.convergence(theta, 1.0), 0.8))  # reduced
        angle = 2 * np.arctan2(y, x)
        shear = shear - tangential * np.stack([np.cos(angle), np.sin(angle)])
    noise = np.where(np.isinf(noise_std), 0, noise_std) * rng.normal(size=shear.shape)
    return Observation.from_arrays(shear + noise, noise_std, PIXEL * ARCMIN), mass


def good_chains(n_fields, state):
    """Return for each field the mass of the halo, the numbers of chains and of flagged ones, and the largest power."""
    prior = ScorePrior.load("default")
    done = [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []
    for seed in range(len(done), n_fields):
        observation, mass = mock(seed)
        plan = AnnealedHMC(prior).prepare(observation)
        run = run_chains(plan, plan.streams(0, range(BATCH)))
        power = plan.band_power(run.modes, 0.0, 8).amax(dim=1)
        row = {
            "mass": mass,
            "chains": BATCH,
            "flagged": int(diverged(plan, run.modes).sum()),
            "power": float(power.max()),
            "acceptance": float(run.acceptance[:, -1].min()),
        }
        with open(state, "a") as file:
            file.write(json.dumps(row) + "\n")
        done.append(row)
        if seed % 20 == 19:
            print(f"{seed + 1} fields, {sum(r['flagged'] for r in done)} chains flagged", flush=True)
    return done


class Amplified:
    """Prior with the residual of another prior, multiplied by a factor."""

    def __init__(self, prior, factor):
        self.prior, self.factor = prior, factor

    def on(self, grid):
        """Return the prior on a grid."""
        on_grid = self.prior.on(grid)
        residual = on_grid.residual
        on_grid.residual = lambda modes, sigma: self.factor * residual(modes, sigma)
        return on_grid


def bad_chains(n_fields):
    """Return name and numbers of chains and of flagged ones, for schemes that diverge."""
    tempered = Schedule((0.05, 0.02, 0.007, 0.003), 3, Trajectory(leapfrogs=4, metropolis=False), splitting=False)
    free = Schedule((1.5, 1.0), 4, Trajectory(metropolis=False))
    schemes = {
        "tempered, score 3 % wrong, no Metropolis rule": (TemperedPlan, problems.WrongScore(0.03), tempered),
        "tempered, score 10 % wrong, no Metropolis rule": (TemperedPlan, problems.WrongScore(0.1), tempered),
        "split, residual 20 times too large": (SplitPlan, Amplified(ScorePrior.load("default"), 20.0), free),
        "split, residual -20 times": (SplitPlan, Amplified(ScorePrior.load("default"), -20.0), free),
    }
    rows = []
    for name, (kind, prior, schedule) in schemes.items():
        flagged = 0
        for seed in range(n_fields):
            observation, _ = mock(10000 + seed)
            plan = kind(observation, prior, schedule, (64, 64))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    flagged += int(diverged(plan, run_chains(plan, plan.streams(0, range(4))).modes).sum())
                except ValueError:  # a non-finite score or solve raises an error
                    flagged += 4
        rows.append((name, 4 * n_fields, flagged))
        print(*rows[-1], flush=True)
    return rows


def main():
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=4000)
    parser.add_argument("--bad", type=int, default=5, help="fields of each diverging scheme")
    parser.add_argument("--state", type=Path, default=Path("divergence.jsonl"))
    parser.add_argument("--rst", type=Path, help="folder for the table of the documentation")
    arguments = parser.parse_args()
    with one_thread():
        done = good_chains(-(-arguments.chains // BATCH), arguments.state)
        rows = []
        for name, low, high in (
            ("no halo", -1, 1),
            ("halo of 2e14 to 7e14", 1, 7e14),
            ("halo of 7e14 to 2e15", 7e14, 1e17),
        ):
            part = [r for r in done if low <= r["mass"] < high]
            n, flagged = (sum(r[key] for r in part) for key in ("chains", "flagged"))
            rows.append((name, n, flagged, f"{max((r['power'] for r in part), default=np.nan):.1f}"))
        rows += [(*row, "") for row in bad_chains(arguments.bad)]
    text = list_table([("chains of", "number", "flagged", "largest power over the prior"), *rows])
    print(text)
    if arguments.rst:
        (arguments.rst / "divergence.rst").write_text(text)


if __name__ == "__main__":
    main()
