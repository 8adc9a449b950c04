"""
Data unlike those of the training: ``python benchmarks/beyond_training.py OUT``.

The mocks are fields of 96 x 96 pixels of 0.4 arcmin from the held-out box of ``benchmarks/survey_prior.py OUT``, with
sources at redshift 1. The table shows, for halos of some height in the middle, for other noise, and for few pixels with
data, the errors of the mean of the diffusion (without the scatter of its eight samples) over those of the Wiener
filter, the convergence of the pixel in the middle with its standard deviation, the peak of the residuals, and how many
mocks are left to the chains. With ``--methods`` there are rows for the default chains and for those that start from the
diffusion (``short``), with ``--maps`` the maps are those of ``massmap simulate``.
"""

import argparse
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import torch
from score_prior import footprint, mock
from survey_prior import ARCMIN, Skies

from astro_massmap import AnnealedHMC, PosteriorDiffusion, ScorePrior, Wiener
from astro_massmap.analysis.statements import PEAK
from astro_massmap.priors import PosteriorNetwork
from astro_massmap.simulation import MapSet

from list_table import list_table

SIDE, NOISE = 96, 0.15
# name, height of a halo, noise, fraction of the field with data
CASES = (
    ("random field", 0.0, NOISE, 0.6),
    ("halo of 0.35", 0.35, NOISE, 0.6),
    ("halo of 1.2", 1.2, NOISE, 0.6),
    ("halo of 4", 4.0, NOISE, 0.6),
    ("noise 0.03", 0.0, 0.03, 0.6),
    ("noise 0.5", 0.0, 0.5, 0.6),
    ("5 % with data", 0.0, NOISE, 0.05),
)


def seen(fraction, i):
    """Return the pixels with data; the middle has data."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    if fraction < 0.5:
        return np.hypot(x, y) < SIDE * (fraction / np.pi) ** 0.5
    return footprint(SIDE, i) | (np.hypot(x, y) < 8)


def skies_of(arguments, pixel):
    """Return the spectrum of the maps, and a function of the number of the mock that returns a larger map."""
    if arguments.maps is not None:
        maps = MapSet.open(arguments.maps).stack()
        return ScorePrior.load("default").theory, lambda i: maps[(30 * i + 7) % len(maps)].astype(float)
    skies = Skies(argparse.Namespace(**vars(arguments), box_size=256.0, size=2 * SIDE, device="cpu"))
    survey = skies.held_out.survey(np.random.default_rng(0), cosmology=0, pixel_size=pixel, redshift=1.0)
    choices = np.random.default_rng(17)
    drawn = [skies.held_out.draw(survey, choices).numpy() for _ in range(arguments.mocks)]
    return survey.spectrum, lambda i: drawn[i]


def row(name, method, mocks, theory):
    """Return a row of the table: a method on the mocks of a case."""
    errors, middle, peaks = [], [], []
    for i, (truth, observation) in enumerate(mocks):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own = dataclasses.replace(method, seed=i)
            found, wiener = (m.solve(observation) for m in (own, Wiener(theory, n_samples=0)))
        data = observation.observed.numpy()
        squares = (found.mean - truth) ** 2 - found.std**2 / len(found.samples), (wiener.mean - truth) ** 2
        errors.append([[square[w].sum() for w in (data, ~data)] for square in squares])
        middle.append((truth[SIDE // 2, SIDE // 2], *(m[SIDE // 2, SIDE // 2] for m in (found.mean, found.std))))
        peaks.append(found.diagnostics["fit"]["residual_peak"])
    own, reference = np.sqrt(np.sum(errors, axis=0))
    shown = "{:.2f}; {:.2f} +- {:.2f}".format(*np.mean(middle, axis=0))
    replaced = f"{sum(p > PEAK for p in peaks)} of {len(peaks)}"
    return name, *(f"{r:.3f}" for r in own / reference), shown, f"{min(peaks):.1f} to {max(peaks):.1f}", replaced


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", nargs="*", default=[name for name, *_ in CASES], help="rows of the table")
    parser.add_argument("--methods", nargs="+", default=["diffusion"], help="diffusion, short, chains")
    parser.add_argument("--mocks", type=int, default=4)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--maps", type=Path, help="of massmap simulate")
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--boxes", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pixel = 0.4 * ARCMIN
    theory, sky = skies_of(arguments, pixel)
    network, prior = (dataclasses.replace(c.load("default"), spectrum=theory) for c in (PosteriorNetwork, ScorePrior))
    common = {"n_samples": arguments.samples, "n_check": 0}
    methods = {
        "diffusion": PosteriorDiffusion(network, fallback=None, **common),
        "short": AnnealedHMC(prior, start="diffusion", **common),
        "chains": AnnealedHMC(prior, **common),
    }
    rows = [("case", "error / Wiener, data", "gaps", "middle: truth, samples", "residual peak", "left to chains")]
    for name, height, noise, fraction in CASES:
        for key in arguments.methods if name in arguments.cases else ():
            mocks = []
            for i in range(arguments.mocks):
                y, x = (np.arange(n) - n // 2 for n in sky(i).shape)
                r = np.hypot(x, y[:, None])
                halo = height * np.exp(-r / 15) / (1 + r**2 / 2.25)
                mocks.append(mock(sky(i) + halo, SIDE, noise, seen(fraction, i), i, pixel))
            rows.append(row(name if len(arguments.methods) == 1 else f"{name}, {key}", methods[key], mocks, theory))
            print(*rows[-1], sep=" | ", flush=True)
    (arguments.out / "beyond_training.rst").write_text(list_table(rows))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
