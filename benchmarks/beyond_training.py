"""
Data unlike those of the training: ``python benchmarks/beyond_training.py OUT``.

The mocks are fields of 96 x 96 pixels of 0.4 arcmin from the held-out box of ``benchmarks/survey_prior.py OUT``, with
sources at redshift 1. The table shows, for halos of some height in the middle, for other noise, and for few pixels with
data, the errors of the mean of the diffusion (without the scatter of its eight samples) over those of the Wiener
filter, the convergence of the pixel in the middle with its standard deviation, the peak of the residuals, and how many
mocks are left to the chains.
"""

import argparse
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import torch
from score_prior import footprint, mock
from survey_prior import ARCMIN, Skies

from astro_massmap import PosteriorDiffusion, Wiener
from astro_massmap.analysis.statements import PEAK
from astro_massmap.priors import PosteriorNetwork

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mocks", type=int, default=4)
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--boxes", type=int, default=1)
    arguments = parser.parse_args()
    skies = Skies(argparse.Namespace(**vars(arguments), box_size=256.0, size=2 * SIDE, device="cpu"))
    pixel = 0.4 * ARCMIN
    survey = skies.held_out.survey(np.random.default_rng(0), cosmology=0, pixel_size=pixel, redshift=1.0)
    network = dataclasses.replace(PosteriorNetwork.load("default"), spectrum=survey.spectrum)
    y, x = np.mgrid[: 2 * SIDE, : 2 * SIDE] - SIDE
    halo = np.exp(-np.hypot(x, y) / 15) / (1 + np.hypot(x, y) ** 2 / 2.25)
    rows = [("case", "error / Wiener, data", "gaps", "middle: truth, samples", "residual peak", "left to chains")]
    for name, height, noise, fraction in CASES:
        choices, errors, middle, peaks = np.random.default_rng(17), [], [], []
        for i in range(arguments.mocks):
            truth = skies.held_out.draw(survey, choices).numpy() + height * halo
            truth, observation = mock(truth, SIDE, noise, seen(fraction, i), i, pixel)
            method = PosteriorDiffusion(network, n_samples=8, seed=i, n_check=0, fallback=None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, wiener = (m.solve(observation) for m in (method, Wiener(survey.spectrum, n_samples=0)))
            data = observation.observed.numpy()
            squares = (found.mean - truth) ** 2 - found.std**2 / len(found.samples), (wiener.mean - truth) ** 2
            errors.append([[square[w].sum() for w in (data, ~data)] for square in squares])
            middle.append((truth[SIDE // 2, SIDE // 2], *(m[SIDE // 2, SIDE // 2] for m in (found.mean, found.std))))
            peaks.append(found.diagnostics["fit"]["residual_peak"])
        own, reference = np.sqrt(np.sum(errors, axis=0))
        shown = "{:.2f}; {:.2f} +- {:.2f}".format(*np.mean(middle, axis=0))
        replaced = f"{sum(p > PEAK for p in peaks)} of {len(peaks)}"
        rows.append(
            (name, *(f"{r:.3f}" for r in own / reference), shown, f"{min(peaks):.1f} to {max(peaks):.1f}", replaced)
        )
        print(*rows[-1], sep=" | ", flush=True)
    (arguments.out / "beyond_training.rst").write_text(list_table(rows))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
