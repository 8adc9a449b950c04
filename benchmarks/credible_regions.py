"""
Coverage of credible regions of positions and of joint intervals: ``python benchmarks/credible_regions.py [--rst DIR]``.

The truth is one more draw from the distribution of n samples. Positions are normal (with standard deviations of 8 and
3), have heavy tails (Student t with 3 degrees of freedom along a random direction) or are around two points 60 apart;
sets of values are correlated, normal or lognormal. ``--rst`` writes the tables of the documentation.
"""

import argparse
from pathlib import Path

import numpy as np

from astro_massmap.analysis.position_regions import Kernels, rank_of
from astro_massmap.analysis.quantiles import quantiles
from astro_massmap.analysis.simultaneous import count_beyond, joint_interval

from list_table import list_table

CASES = (16, 0.68), (19, 0.95), (40, 0.68), (40, 0.95), (200, 0.95)


def positions(kind, n, rng):
    x = rng.normal(size=(2, n)) * [[8], [3]]
    if kind == "heavy tails":
        x /= np.sqrt(rng.chisquare(3, n) / 3)
    if kind == "two points":
        x[0] += np.where(rng.random(n) < 0.4, -30, 30)
    return x


def values(kind, n, m, rng):
    x = rng.normal(size=(n, m)) @ (np.eye(m) + 0.5 * np.random.default_rng(m).normal(size=(m, m)) / m**0.5)
    return np.exp(0.6 * x) if kind == "lognormal" else x


def ellipse_inside(samples, truth, level, *, left_out):
    """Return whether the truth is in an ellipse, with or without its calibration by leaving out samples."""
    n, mean, covariance = samples.shape[1], samples.mean(axis=1)[:, None], np.cov(samples)

    def square(x):
        return ((x - mean) * np.linalg.solve(covariance, x - mean)).sum(axis=0)

    sizes = square(samples)
    if left_out:
        sizes = n * (n - 2) / (n - 1) ** 2 * sizes / (1 - n * sizes / (n - 1) ** 2) * (1 + 1 / n)
    return square(truth[:, None])[0] <= quantiles(sizes, level)


def of_positions(kind, n, level, trials):
    rng, inside = np.random.default_rng(n), []
    for _ in range(trials):
        x = positions(kind, n + 1, rng)
        samples, truth = x[:, :-1], x[:, -1]
        kernels = Kernels(samples)
        region = kernels.log_density(truth[:, None])[0] >= quantiles(kernels.log_left_out, 1 - level)
        ellipses = [ellipse_inside(samples, truth, level, left_out=left_out) for left_out in (True, False)]
        inside.append([region, *ellipses, (rank_of(samples, truth) + 1) / (n + 1) > 1 - level + 1e-9])
    return np.mean(inside, axis=0)


def of_values(kind, n, m, level, trials):
    rng, inside = np.random.default_rng(n), []
    for _ in range(trials):
        x = values(kind, n + 1, m, rng)
        low, high = joint_interval(x[:-1], level)
        p = (count_beyond(x[:-1], x[-1]) + 1) / (n + 1)
        inside.append([((low <= x[-1]) & (x[-1] <= high)).all(), p > 1 - level + 1e-9])
    return np.mean(inside, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--rst", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    table = [["positions", "samples", "level", "region", "ellipse", "ellipse, not calibrated", "p > 1 - level"]]
    for kind in ("normal", "heavy tails", "two points"):
        for n, level in CASES:
            found = of_positions(kind, n, level, arguments.trials)
            table.append([kind, str(n), f"{level:g}", *(f"{x:.3f}" for x in found)])
            print(*table[-1], sep="  ", flush=True)
    joint = [["values", "number", "samples", "level", "joint intervals", "p > 1 - level"]]
    for kind in ("normal", "lognormal"):
        for m in (1, 50, 400):
            for n, level in CASES[:2] + CASES[4:]:
                found = of_values(kind, n, m, level, arguments.trials)
                joint.append([kind, str(m), str(n), f"{level:g}", *(f"{x:.3f}" for x in found)])
                print(*joint[-1], sep="  ", flush=True)
    if arguments.rst is not None:
        for name, rows in (("positions", table), ("joint", joint)):
            (arguments.rst / f"credible_{name}.rst").write_text(list_table(rows))


if __name__ == "__main__":
    main()
