"""
Make the shipped network of the posterior: ``python benchmarks/posterior_network.py OUT``.

Its maps are random fields and fields with a halo from the boxes that ``benchmarks/survey_prior.py OUT`` makes (they are
simulated if they do not exist), with data of random footprint and noise. The training writes
``OUT/posterior.safetensors``, its curves, and the mean squared errors on held-out maps over those of the Gaussian mean.
An interrupted run continues. A small run: ``--particles 32 --steps 4 --size 96 --maps 4``.
"""

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from survey_prior import ARCMIN, Skies, survey

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.priors import FieldStatistics, PosteriorDenoiser, PosteriorNetwork, posterior_unet
from astro_massmap.simulation import RESOLUTION, TargetedMaps, declared_spectrum
from astro_massmap.training import TrainingPlan, write_curves
from astro_massmap.training.posterior import trained_posterior
from astro_massmap.training.posterior_mocks import NOISE

FIELDS = ((0.25, 2.0), (0.35, 2.4)), ((0.1, 0.4), (0.5, 2.4))  # pixels in arcmin and source redshifts of both kinds


def limits(sources):
    """Return the pixel sizes and the standard deviations of a pixel of the training, as `PosteriorNetwork` has them."""
    signals = np.empty((2, 2, 2))
    for (k, (pixels, redshifts)), source in zip(enumerate(FIELDS), sources, strict=True):
        for (i, pixel), (j, z) in product(enumerate(pixels), enumerate(redshifts)):
            field = survey(source, z, pixel)
            signals[k, i, j] = float(FieldStatistics(field.spectrum, field.pixel_size).variance) ** 0.5
    return np.array([pixels for pixels, _ in FIELDS]) * ARCMIN, signals


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--boxes", type=int, default=1, help="boxes of each cosmology")
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--box-size", type=float, default=256.0)
    parser.add_argument("--size", type=int, default=160, help="pixels on a side of a map")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--maps-per-step", type=int, default=5)
    parser.add_argument("--maps", type=int, default=60, help="held-out maps at each noise level")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw maps")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    out, begin = arguments.out, time.perf_counter()
    skies = Skies(arguments)
    factor = ScorePrior.load("default", field="targeted").factor
    pixels = {"pixel_sizes": (0.1 * ARCMIN, 0.4 * ARCMIN)}
    sources, held_out = ((maps, TargetedMaps(maps, factor, **pixels)) for maps in (skies.training, skies.held_out))
    size = min(96, arguments.size // 2)
    plan = TrainingPlan(
        steps=arguments.steps,
        maps_per_step=arguments.maps_per_step,
        pieces=1,
        size=size,
        margin=min(32, (arguments.size - size) // 2),
        sigma=(0.3, 60.0),
        validate_every=max(1, arguments.steps // 10),
    )
    torch.manual_seed(plan.seed)
    declared = declared_spectrum(PowerSpectrum.default())
    denoiser = PosteriorDenoiser(posterior_unet(embedding=128), declared, 0.4 * ARCMIN)
    print(f"{time.perf_counter() - begin:.0f} s for the boxes", flush=True)
    card = {
        "maps": f"{arguments.boxes} + {arguments.boxes} boxes of {arguments.box_size:g} Mpc/h, "
        f"{arguments.particles}^3 particles, sigma_8 0.83 and 0.75, and halos of 1e14 to 3e15 solar masses in them",
        "spectrum": declared.name,
        "resolution": list(RESOLUTION),
    }
    trained, card, history = trained_posterior(
        denoiser,
        sources,
        held_out,
        plan,
        maps=arguments.maps,
        card=card,
        checkpoint=out / "posterior_state.safetensors",
        device=skies.device,
        workers=arguments.workers,
        progress=False,
    )
    write_curves(history, out / "posterior")
    network = PosteriorNetwork(trained, declared, NOISE, *limits(sources), factor, card=card)
    network.save(out / "posterior.safetensors", overwrite=True)
    print(f"{time.perf_counter() - begin:.0f} s with the training", *card["error_ratio"].items(), sep="\n", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
