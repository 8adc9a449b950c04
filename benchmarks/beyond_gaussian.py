"""
Samples under priors that are far from Gaussian, against exact posteriors: ``python benchmarks/beyond_gaussian.py OUT``.

In the manner of benchmarks of diffusion posterior samplers, the priors are sparse and known exactly: independent pixels
with few spikes, with Student or with Laplace distributions, and piecewise constant maps with few jumps (Haar wavelets).
Their denoisers are known in closed form (``tests/helpers/sparse_priors.py``). The data are the shear of a periodic
field with masked pixels and inhomogeneous noise. The exact posterior is that of a collapsed Gibbs sampler, two chains
from opposite starts.

The columns of ``OUT/beyond_gaussian.rst`` are the loss of the mean of the samples, the excess of its mean square error
over that of the exact mean; the ratio of standard deviations; the distance of Kolmogorov and Smirnov of a pixel, in the
mean, and its expected value for exact samples; the fraction of samples within the exact intervals of 68 and 95 %; the
fraction of true values within intervals of the samples and within exact ones; and the difference of the probabilities
that a coefficient is of the component of the largest variance.
"""

import argparse
import dataclasses
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from astro_massmap import AnnealedHMC, Schedule
from astro_massmap.inference import FourierGrid, LensingOperator, Observation

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # priors that tests and benchmarks share

from helpers.sparse_priors import gibbs, heavy_tails, jumps, spikes
from list_table import list_table

PIXEL, SIDE = 1.2e-4, 12
PRIORS = {
    "spikes": spikes((SIDE, SIDE), PIXEL),
    "Student": heavy_tails((SIDE, SIDE), PIXEL, kind="student", scale=0.03),
    "Laplace": heavy_tails((SIDE, SIDE), PIXEL, kind="laplace", scale=0.035),
    "jumps": jumps(16, PIXEL),
}
SCHEDULES = {
    "default": Schedule.annealed(),
    "200 steps": dataclasses.replace(Schedule.annealed(), reverse_steps=200),
    "30 steps to 0.05": dataclasses.replace(Schedule.annealed(), sigma_end=0.05),
    "200 steps to 0.05": dataclasses.replace(Schedule.annealed(), reverse_steps=200, sigma_end=0.05),
}


def mock(prior, seed):
    """Return a true map and an observation of its shear, with a fifth of the pixels masked."""
    rng = np.random.default_rng(seed)
    truth = prior.draw(rng, 1)[0]
    grid = FourierGrid(prior.shape, prior.pixel_size, dtype=torch.float64)
    shear = LensingOperator(grid).forward(grid.to_modes(torch.from_numpy(truth))).numpy()
    noise = rng.uniform(0.08, 0.14, prior.shape)
    shear += rng.normal(size=shear.shape) * noise
    noise[rng.random(prior.shape) < 0.1] = np.inf
    noise[2:5, 3:8] = np.inf
    return truth, Observation.from_arrays(shear, noise, prior.pixel_size)


def exact(prior, observation, sweeps):
    """Return the exact posterior, and the standard errors of its means and probabilities."""
    last = prior.weights.shape[1] - 1
    a, b = (gibbs(prior, observation, sweeps, seed, first=first) for seed, first in ((1, 0), (2, last)))
    scale = np.sqrt((a | b).variance.mean())
    return a | b, (np.sqrt(np.mean((a.mean - b.mean) ** 2)) / 2 / scale, np.sqrt(np.mean((a.large - b.large) ** 2)) / 2)


def measure(prior, truth, posterior, samples):
    """Return the numbers of the table for one data set, and those of each sample."""
    flat, n = samples.reshape(len(samples), -1).astype(float), len(samples)
    variance = flat.var(axis=0, ddof=1)
    loss = np.mean((flat.mean(axis=0) - posterior.mean) ** 2 - variance / n) / posterior.variance.mean()
    u = posterior.cdf(samples)
    ordered, steps = np.sort(u, axis=0), np.arange(n + 1)[:, None] / n
    distance = np.maximum(steps[1:] - ordered, ordered - steps[:-1]).max(axis=0).mean()
    large = prior.posterior_weights(flat @ prior.basis)[..., -1]
    of_truth = (flat < truth.ravel()).mean(axis=0), posterior.cdf(truth[None])[0]
    return {
        "loss": loss,
        "std": np.sqrt(variance.mean() / posterior.variance.mean()),
        "distance": distance,
        "within": np.array([inside(u, p).mean(axis=1) for p in (0.68, 0.95)]),
        "truths": np.array([[inside(v, p).mean() for v in of_truth] for p in (0.68, 0.95)]),
        "large": (large.mean(axis=0) - posterior.large).mean(),
        "large_error": large.mean(axis=1).std() / np.sqrt(n),
    }


def inside(u, probability):
    return np.abs(u - 0.5) < probability / 2


def row(name, found, evaluations, n):
    """Return the cells of a prior and a schedule: means over data sets, and standard errors from samples."""
    mean = {key: np.mean([f[key] for f in found], axis=0) for key in found[0] if key != "within"}
    within = np.concatenate([f["within"] for f in found], axis=1)
    error = within.std(axis=1) / np.sqrt(within.shape[1])
    scatter = np.std([f["loss"] for f in found]) / np.sqrt(len(found))
    return [
        name,
        evaluations,
        f"{10 * np.log10(1 + mean['loss']):.3f} +- {10 * np.log10(1 + scatter):.3f}",
        f"{mean['std']:.3f}",
        f"{mean['distance']:.3f}",
        " / ".join(f"{100 * w:.1f} +- {100 * e:.1f}" for w, e in zip(within.mean(axis=1), error, strict=True)),
        " / ".join(f"{100 * a:.0f} ({100 * b:.0f})" for a, b in mean["truths"]),
        f"{mean['large']:+.3f} +- {mean['large_error'] / np.sqrt(len(found)):.3f}",
    ]


def rows(arguments):
    n = arguments.samples
    yield [
        "prior (data sets), reverse diffusion",
        "evaluations",
        "loss of the mean (dB)",
        "standard deviation",
        f"KS distance (exact: {0.8687 / np.sqrt(n):.3f})",
        "within exact 68 / 95 %",
        "truths in 68 / 95 % (exact)",
        "probability of the largest component",
    ]
    for name in arguments.priors:
        prior, found, evaluations = PRIORS[name], {}, {}
        for seed in range(arguments.fields):
            truth, observation = mock(prior, seed)
            start = time.process_time()
            posterior, errors = exact(prior, observation, arguments.sweeps)
            print(name, seed, "Gibbs errors", errors, f"{time.process_time() - start:.0f} s", flush=True)
            for key, schedule in SCHEDULES.items():
                method = AnnealedHMC(
                    prior.as_score(),
                    n_samples=n,
                    batch_size=min(n, 256),
                    schedule=schedule,
                    padding=1,
                    information=1.0,
                    n_check=0,
                    device="cpu",
                )
                start = time.process_time()
                estimate = method.solve(observation)
                found.setdefault(key, []).append(measure(prior, truth, posterior, estimate.samples))
                known = estimate.diagnostics
                evaluations[key] = min(known["score_evaluations"], evaluations.get(key, np.inf))
                print(key, row("", found[key], "", n), flush=True)
                print(known["acceptance"], known["restarts"], f"{time.process_time() - start:.0f} s", flush=True)
        for key, results in found.items():
            yield row(f"{name} ({len(results)}), {key}", results, evaluations[key], n)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--priors", nargs="+", choices=list(PRIORS), default=list(PRIORS))
    parser.add_argument("--fields", type=int, default=3, help="data sets of each prior")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--sweeps", type=int, default=2000, help="of each of two chains of the Gibbs sampler")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="padding|f: as a")
    table = list_table(rows(arguments))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "beyond_gaussian.rst").write_text(table)
    print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
