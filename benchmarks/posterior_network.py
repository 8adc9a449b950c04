"""
Make the shipped network of the posterior: ``python benchmarks/posterior_network.py OUT``.

Its maps are random fields and fields with a halo from the boxes that ``benchmarks/survey_prior.py OUT`` makes (they are
simulated if they do not exist), with data of random footprint and noise. The training writes
``OUT/posterior.safetensors``, its curves, and the mean squared errors on held-out maps over those of the Gaussian mean.
An interrupted run continues. A small run: ``--particles 32 --steps 4 --size 96 --maps 4``.
"""

import argparse
import time
from pathlib import Path

import torch
from survey_prior import Skies

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.priors import PosteriorDenoiser, posterior_unet
from astro_massmap.simulation import TargetedMaps, declared_spectrum
from astro_massmap.training import PosteriorMocks, PosteriorTrainer, TrainingPlan, fixed_pairs, write_curves

LEVELS = (0.6, 2.0, 6.0, 60.0)  # noise of the noisy map, in units of the standard deviation of a pixel


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
    out, begin = arguments.out, time.perf_counter()
    skies = Skies(arguments)
    factor = ScorePrior.load("default", field="targeted").factor
    sources, held_out = ((maps, TargetedMaps(maps, factor)) for maps in (skies.training, skies.held_out))
    size = min(96, arguments.size // 2)
    cut = {"size": size, "margin": min(32, (arguments.size - size) // 2), "device": skies.device}
    plan = TrainingPlan(
        steps=arguments.steps,
        maps_per_step=arguments.maps_per_step,
        pieces=1,
        size=size,
        margin=cut["margin"],
        sigma=(0.3, 60.0),
        validate_every=max(1, arguments.steps // 10),
    )
    torch.manual_seed(plan.seed)
    denoiser = PosteriorDenoiser(posterior_unet(embedding=128), declared_spectrum(PowerSpectrum.default()), 1.2e-4)
    validation = fixed_pairs(PosteriorMocks(held_out, **cut), arguments.maps, LEVELS)
    print(f"{time.perf_counter() - begin:.0f} s for boxes and held-out maps", flush=True)
    trainer = PosteriorTrainer(
        denoiser,
        PosteriorMocks(sources, **cut),
        plan,
        validation=validation,
        checkpoint=out / "posterior_state.safetensors",
        device=skies.device,
        workers=arguments.workers,
    )
    trainer.run(progress=False)
    write_curves(trainer.history, out / "posterior")
    print(f"{time.perf_counter() - begin:.0f} s with the training", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
