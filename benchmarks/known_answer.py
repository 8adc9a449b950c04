"""
Train the network on lognormal maps, whose statistics are known, and compare samples of its prior with such maps.

``python benchmarks/known_answer.py OUT`` trains a copy of the shipped network for 400 more steps on maps in pixels of
0.4 arcmin, with the spectrum and about the skewness of the simulated maps, and fits its correction. It writes
``known_answer.rst``: power in bands of ell, skewness, and peaks of maps drawn from this prior alone, and of maps drawn
given noisy ones, over those of true maps. As no simulation is involved, differences are due to the training and the
sampler. A small run: ``--steps 4 --maps 8 --samples 2``.
"""

import argparse
import copy
import itertools
from pathlib import Path

import numpy as np
import torch

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import FourierGrid, Streams, reverse_diffusion
from astro_massmap.priors import HybridDenoiser
from astro_massmap.simulation import band_power, declared_spectrum, lognormal_maps, peak_density, smoothed
from astro_massmap.training import MapBank, Noiser, Trainer, TrainingPlan, fit_correction

from list_table import list_table

ARCMIN = np.radians(1 / 60)
PIXEL, SIDE, EDGE = 0.4 * ARCMIN, 224, 16  # pixels on a side, and those that are cut off before maps are compared
SHIFT = 0.025  # skewness of 1.7 and 1.4 after smoothing with a Gaussian of 1 and 2 arcmin
BANDS, SCALES, THRESHOLDS = (500, 1000, 2000, 3000, 4500, 7000, 12000, 20000), (1, 2), (0.02, 0.04, 0.06)
NOISE, LAST = 0.13, 0.01  # noise of the data, and last level: 0.6 standard deviations of a pixel
FREE, POSTERIOR = (40, 120), (10, 30, 80)  # numbers of levels
NAMES = (
    *(f"power, ell {a} to {b}" for a, b in itertools.pairwise(BANDS)),
    *(f"skewness, {scale} arcmin" for scale in SCALES),
    *(f"peaks above {threshold:g}" for threshold in THRESHOLDS),
)


def truths(n, seed):
    spectrum = declared_spectrum(PowerSpectrum.default())
    return lognormal_maps(spectrum, n, (SIDE, SIDE), PIXEL, shift=SHIFT, seed=seed)


def train(network, bank, judge, spectrum, plan, checkpoint):
    """Return a denoiser of one field: a copy of the network, trained on a bank of maps of the field."""
    cut = {"size": plan.size, "margin": plan.margin, "pieces": plan.pieces}
    denoiser = HybridDenoiser(copy.deepcopy(network).requires_grad_(), spectrum, bank.pixel_size)
    noiser, judge = Noiser(bank, spectrum, **cut), Noiser(judge, spectrum, **cut)
    trainer = Trainer(denoiser, noiser, plan, validation=judge, checkpoint=checkpoint)
    print("before", trainer.judge(), flush=True)
    trained = trainer.run(progress=False).eval()
    for row in trainer.history:
        print(row, flush=True)
    return trained, noiser


def lognormal_prior(out, arguments):
    """Return a prior for lognormal maps, from ``out`` if it is there."""
    file, spectrum = out / "lognormal.safetensors", declared_spectrum(PowerSpectrum.default())
    if not file.exists():
        bank, judge = (MapBank(truths(n, seed), PIXEL) for n, seed in ((arguments.maps, 0), (8, 1)))
        plan = TrainingPlan(
            steps=arguments.steps, learning_rate=1e-3, validate_every=max(1, arguments.steps // 2), validation_maps=2
        )
        network = ScorePrior.load("default").denoiser.network
        trained, noiser = train(network, bank, judge, spectrum, plan, out / "state.safetensors")
        correction = fit_correction(trained, noiser, arguments.correction, seed=10**6)
        ScorePrior(trained, spectrum, plan.sigma, correction=correction).save(file)
    return ScorePrior.load(file)


def diffuse(prior, start, levels, seed, batch=8):
    """Return maps drawn by reverse diffusion; ``start(streams)`` are modes with the first noise level."""
    drawn = []
    for first in range(0, len(seed), batch):
        streams = Streams(5, seed[first : first + batch])
        drawn.append(prior.grid.to_field(reverse_diffusion(prior, start(streams), levels, streams)).numpy())
    return np.concatenate(drawn)


def free(prior, n, steps, sigma):
    """Return maps drawn from the prior alone."""

    def start(streams):
        white = prior.grid.to_modes(streams.normal(SIDE, SIDE))
        return (prior.variance + sigma**2).sqrt() * white

    return diffuse(prior, start, list(np.geomspace(sigma, LAST, steps)), range(n))


def posterior(prior, maps, steps):
    """Return a sample for each true map, given the map with noise."""
    levels = list(np.geomspace(NOISE, LAST, steps))

    def start(streams):
        part = maps[streams.indices]
        return prior.grid.to_modes(part + NOISE * streams.normal(SIDE, SIDE))

    return diffuse(prior, start, levels, range(len(maps)))


def measure(maps):
    """Return power, second and third moments for both scales, and peaks of each map, ``(n, numbers)``."""
    maps = maps[:, EDGE:-EDGE, EDGE:-EDGE]
    smooth = [smoothed(maps, PIXEL, scale * ARCMIN) for scale in SCALES]
    moments = [(m**k).mean(axis=(1, 2)) for m in smooth for k in (2, 3)]
    return np.column_stack([band_power(maps, PIXEL, BANDS), *moments, peak_density(smooth[0], PIXEL, THRESHOLDS)])


def statistics(means):
    """Return power, skewness and peaks for means of the numbers of `measure`."""
    power, moments, peaks = np.split(means, [len(BANDS) - 1, len(BANDS) - 1 + 2 * len(SCALES)], axis=-1)
    return np.concatenate([power, moments[..., 1::2] / moments[..., ::2] ** 1.5, peaks], axis=-1)


def ratios(drawn, true, paired):
    """Return the statistics over those of true maps, and their standard errors (jackknife)."""

    def left_out(numbers):
        return statistics((numbers.sum(axis=0) - numbers) / (len(numbers) - 1))

    def error(values):
        return np.sqrt((len(values) - 1) * values.var(axis=0))

    a, b, above, below = (f(x) for f in (lambda x: statistics(x.mean(axis=0)), left_out) for x in (drawn, true))
    if paired:
        return a / b, error(above / below)
    return a / b, a / b * np.hypot(error(above) / a, error(below) / b)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--maps", type=int, default=400, help="maps of the training")
    parser.add_argument("--correction", type=int, default=100, help="maps of the correction")
    parser.add_argument("--samples", type=int, default=32)
    arguments = parser.parse_args()
    out, n = arguments.out, arguments.samples
    out.mkdir(parents=True, exist_ok=True)
    prior = lognormal_prior(out, arguments)
    on_grid, true = prior.on(FourierGrid((SIDE, SIDE), PIXEL)), truths(max(200, n), 2)
    wanted, columns = measure(true.numpy()), {}
    for steps in FREE:
        drawn = measure(free(on_grid, n, steps, prior.max_sigma))
        columns[f"prior alone, {steps} levels"] = ratios(drawn, wanted, paired=False)
    for steps in POSTERIOR:
        drawn = measure(posterior(on_grid, true[:n], steps))
        columns[f"noise {NOISE:g}, {steps} levels"] = ratios(drawn, wanted[:n], paired=True)
    cells = [[f"{v:.3f} +- {e:.3f}" for v, e in zip(*column, strict=True)] for column in columns.values()]
    table = list_table([["over true maps", *columns], *zip(NAMES, *cells, strict=True)])
    (out / "known_answer.rst").write_text(table)
    print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
