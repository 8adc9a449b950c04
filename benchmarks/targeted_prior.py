"""
Make the shipped prior of fields chosen for a cluster: ``python benchmarks/targeted_prior.py OUT``.

The random fields around the halos are maps of the boxes that ``benchmarks/survey_prior.py OUT`` makes (they are
simulated if they do not exist). The training starts from the network of random fields, ``OUT/prior.safetensors`` or
``--start``, and writes ``OUT/targeted.safetensors``, the curves of the training, and the denoising errors on held-out
maps over those of the Wiener filter with the same spectrum. An interrupted run continues. A small run: ``--particles 32
--steps 4 --maps 2 --size 96 --factor-maps 8``.

``--correct`` only replaces the correction of ``OUT/targeted.safetensors``, or of ``--pixels`` alone. One of 40 maps
has errors of up to 0.1 in the factor a and 0.02 in b, which change fitted masses by 5 % (``halo_calibration.py``).
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from survey_prior import ARCMIN, RATIOS, Skies, survey, write_rows

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.simulation import RESOLUTION, TargetedMaps, declared_spectrum, power_factor
from astro_massmap.training import TrainingPlan, train_survey_prior, write_curves
from astro_massmap.training.survey_prior import correction_table, survey_bank, survey_ratios

PIXELS, REDSHIFTS = (0.1, 0.2, 0.4), (0.6, 1.0, 2.0)  # of the correction
REFERENCE = (1.0, 0.2)  # source redshift, and pixels in arcmin


def judge(prior, source, n):
    """Return rows of pixel scale, source redshift, and mean squared error over that of the Wiener filter."""
    rows, margin = [], min(40, (min(source.shape) - 32) // 2)
    for pixel in PIXELS:
        for redshift in REDSHIFTS:
            field, network = survey(source, redshift, pixel), prior.denoiser.network
            found = survey_ratios(network, source, field, n, ratios=RATIOS, margin=margin)
            rows.append([pixel, redshift, *(round(found[ratio], 3) for ratio in RATIOS)])
            print(*rows[-1], flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", type=Path, help="prior of random fields (default: OUT/prior.safetensors)")
    parser.add_argument("--boxes", type=int, default=1, help="boxes of each cosmology")
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--box-size", type=float, default=256.0)
    parser.add_argument("--size", type=int, default=160, help="pixels on a side of a map")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--maps-per-step", type=int, default=5)
    parser.add_argument("--maps", type=int, default=160, help="maps of each field for correction and errors")
    parser.add_argument("--correct", action="store_true", help="replace the correction, without a training")
    parser.add_argument("--pixels", type=float, nargs="+", default=PIXELS, help="those that are corrected again")
    parser.add_argument("--factor-maps", type=int, default=400, help="maps for the factor of the power")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw maps")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (correct if arguments.correct else make)(arguments, Skies(arguments))


def correct(arguments, skies):
    """Replace the correction of the prior."""
    file = arguments.out / "targeted.safetensors"
    prior = ScorePrior.load(file)
    source, table = TargetedMaps(skies.training, prior.factor), prior.table
    fields = [[survey(source, z, pixel) for z in REDSHIFTS] for pixel in arguments.pixels]
    cut = {"size": 80, "margin": 32, "pieces": 1, "device": skies.device}
    options = {"ratios": table.ratio, "seed": 1}
    found = correction_table(prior.denoiser.network, source, fields, arguments.maps, cut, **options)
    rows = [int(np.abs(table.pixel_size / (pixel * ARCMIN) - 1).argmin()) for pixel in arguments.pixels]
    new = {name: getattr(table, name).copy() for name in ("signal", "network", "theory", "variance")}
    for name, values in new.items():
        values[rows] = getattr(found, name)
    dataclasses.replace(prior, table=dataclasses.replace(table, **new)).save(file, overwrite=True)


def make(arguments, skies):
    """Train the prior, and write it with its curves and errors."""
    out, begin = arguments.out, time.perf_counter()
    start = ScorePrior.load(arguments.start or out / "prior.safetensors").denoiser.network
    factor = power_factor(TargetedMaps(skies.training), arguments.factor_maps, np.random.default_rng(11))
    source = TargetedMaps(skies.training, factor)
    held_out = TargetedMaps(skies.held_out, factor)
    bank = survey_bank(held_out, survey(held_out, *REFERENCE), 24, 9)
    declared = declared_spectrum(PowerSpectrum.default()).times(factor)
    reference = dataclasses.replace(survey(held_out, *REFERENCE), spectrum=declared)
    size = min(96, arguments.size // 2)
    plan = TrainingPlan(
        steps=arguments.steps,
        maps_per_step=arguments.maps_per_step,
        pieces=1,
        size=size,
        margin=min(32, (arguments.size - size) // 2),
        learning_rate=1e-3,
        sigma=(0.08, 30.0),
        validate_every=max(1, arguments.steps // 5),
        validation_maps=6,
    )
    card = {
        "field": "targeted",
        "maps": f"halos in maps of {arguments.boxes} + {arguments.boxes} boxes of {arguments.box_size:g} Mpc/h, "
        f"{arguments.particles}^3 particles, sigma_8 0.83 and 0.75",
        "halos": "M200c 1e14 to 3e15 solar masses (h = 0.7), redshift 0.1 to 0.9; a tenth of the maps without",
        "start": "network of the prior of random fields",
        "spectrum": declared.name,
        "resolution": list(RESOLUTION),
        "source_redshifts": list(source.redshifts),
    }
    prior, history = train_survey_prior(
        source,
        bank,
        reference,
        [[survey(source, z, pixel) for z in REDSHIFTS] for pixel in PIXELS],
        plan,
        embedding=start.settings["embedding"],
        widths=start.settings["widths"],
        start=start,
        card=card,
        n_correction=arguments.maps,
        checkpoint=out / "targeted_state.safetensors",
        device=skies.device,
        workers=arguments.workers,
    )
    prior = dataclasses.replace(prior, factor=factor)
    prior.save(out / "targeted.safetensors", overwrite=True)
    write_curves(history, out / "targeted")
    print(f"{time.perf_counter() - begin:.0f} s with the training", flush=True)
    write_rows(judge(prior, held_out, arguments.maps), out, "targeted_fields.rst")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
