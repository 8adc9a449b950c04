"""
Make the shipped prior: light cones to redshift 3 of two cosmologies, the training on random surveys, and its errors.

``python benchmarks/survey_prior.py OUT`` simulates a box of 256 Mpc/h with 320^3 particles for each cosmology and one
for the validation, trains for 5000 steps, and writes ``prior.safetensors``, the curves of the training, and the
denoising errors on held-out maps of other sources and pixels. An interrupted run continues. ``gpu_prior.py`` makes a
larger prior on a GPU. A small run: ``--particles 32 --steps 4 --maps 2 --size 96``. The second cosmology needs astropy
and camb, unless ``OUT/powers.npz`` exists.
"""

import argparse
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.inference import pick_device
from astro_massmap.simulation import (
    RESOLUTION,
    Cosmology,
    LensPlanes,
    LightCone,
    NBody,
    PlaneFilter,
    Survey,
    SurveyMaps,
    declared_spectrum,
    matter_power,
    simulate_boxes,
)
from astro_massmap.theory.matter_power import MatterPower
from astro_massmap.training import TrainingPlan, train_survey_prior, write_curves
from astro_massmap.training.survey_prior import survey_bank, survey_ratios

ARCMIN = np.radians(1 / 60)
REFERENCE = 0.4 * ARCMIN
SIGMA8 = (0.8283, 0.75)  # of the default cosmology, and of another one
PIXELS, REDSHIFTS = (0.25, 0.4, 0.7, 1.2, 2.0), (0.35, 0.6, 1.0, 1.6, 2.4)  # of the correction
JUDGED_PIXELS, JUDGED_REDSHIFTS = (0.3, 0.4, 0.8, 1.6), (0.4, 0.7, 1.0, 1.5, 2.2)
RATIOS = (0.3, 1.0, 3.0, 10.0)


def cosmology_of(sigma8, file):
    """Return a cosmology with another sigma_8 and its nonlinear power, which are kept in ``file``."""
    if not file.exists():
        from astropy.cosmology import FlatLambdaCDM

        like = {"sigma8": sigma8, "n_s": 0.97}
        cosmology = FlatLambdaCDM(70, 0.3, Ob0=0.05)
        linear = Cosmology.from_astropy(cosmology, **like)
        matter = MatterPower.from_cosmology(cosmology, **like, z_max=3.5)
        tables = {name: getattr(matter, name) for name in ("z", "power", "omega_m_h2")}
        tables |= {"k": matter.k, "distance": matter.distance(matter.z), "linear_k": linear.k, "linear": linear.power}
        np.savez(file, **tables, name=linear.name, omega_m=linear.omega_m)
    with np.load(file) as saved:
        cosmology = Cosmology(float(saved["omega_m"]), saved["linear_k"], saved["linear"], str(saved["name"]))
        tables = {name: saved[name] for name in ("z", "k", "power")}
        matter = MatterPower(**tables, distance=saved["distance"], omega_m_h2=float(saved["omega_m_h2"]))
    return cosmology, matter_power(matter)


def cosmologies(out):
    """Return both cosmologies and their nonlinear power; those of the second one are kept in ``powers.npz``."""
    other, power = cosmology_of(SIGMA8[1], out / "powers.npz")
    return [Cosmology.default(), other], [matter_power(MatterPower.default()), power]


class Skies:
    """
    Boxes of both cosmologies and a held-out one, their calibration, and maps of random surveys.

    Boxes of another ``seed`` than 1 are in no training set: all of them are held out.
    """

    def __init__(self, arguments, seed=1):
        self.arguments, self.device, self.seed = arguments, str(pick_device(arguments.device)), seed
        self.cosmologies, self.powers = cosmologies(arguments.out)
        n = arguments.boxes
        groups = [self._boxes(f"sigma8_{s}", self.cosmologies[i], n, seed=seed + i * n) for i, s in enumerate(SIGMA8)]
        self.filters = PlaneFilter.fit(list(zip(groups, self.powers, strict=True)))
        self.training = self._maps(groups, self.cosmologies, self.powers)

    @cached_property
    def held_out(self):
        """Maps of the held-out box, or of all boxes of another seed."""
        if self.seed != 1:
            return self.training
        boxes = [self._boxes("held_out", self.cosmologies[0], 1, seed=1 + 2 * self.arguments.boxes)]
        return self._maps(boxes, self.cosmologies[:1], self.powers[:1])

    def of_cosmology(self, sigma8):
        """Return maps of a box with another sigma_8, with the filters of the boxes of the training."""
        name = f"held_out_{sigma8:g}"
        cosmology, power = cosmology_of(sigma8, self.arguments.out / f"{name}.npz")
        boxes = self._boxes(name, cosmology, 1, seed=2 + 2 * self.arguments.boxes)
        return self._maps([boxes], [cosmology], [power])

    def _boxes(self, name, cosmology, n, seed):
        a = self.arguments
        simulation = NBody(a.particles, a.box_size, cosmology, longest_step=0.03, device=self.device)
        files = simulate_boxes(a.out / name, simulation, n, seed=seed, z_max=3.0, progress=False)
        return [LensPlanes.load(file) for file in files]

    def _maps(self, groups, cosmologies, powers):
        cones = [
            LightCone([self.filters.apply(cube) for cube in cubes], np.ones(len(cubes[0].distance)), self.device)
            for cubes in groups
        ]
        shape = (self.arguments.size, self.arguments.size)
        return SurveyMaps(cones, cosmologies, powers, self.filters, shape)


def survey(source, redshift, pixel):
    """Return the survey of a source plane in the default cosmology, with pixels in arcmin."""
    return source.survey(np.random.default_rng(0), cosmology=0, redshift=redshift, pixel_size=pixel * ARCMIN)


def judge(prior, skies, n):
    """Return rows of pixel scale, source redshift, and mean squared error over that of the Wiener filter."""
    rows, margin = [], min(40, (skies.arguments.size - 32) // 2)
    for pixel in JUDGED_PIXELS:
        for redshift in JUDGED_REDSHIFTS:
            field = survey(skies.held_out, redshift, pixel)
            found = survey_ratios(
                prior.denoiser.network, skies.held_out, field, n, ratios=RATIOS, margin=margin, device=skies.device
            )
            rows.append([pixel, redshift, *(round(found[ratio], 3) for ratio in RATIOS)])
            print(*rows[-1], flush=True)
    return rows


def write_rows(rows, out, name="prior_fields.rst"):
    names = ["pixel [arcmin]", "z_s", *(f"noise {ratio:g}" for ratio in RATIOS)]
    cells = [names, *([f"{x:g}" for x in row[:2]] + [f"{x:.3f}" for x in row[2:]] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    rule = " ".join("=" * width for width in widths)
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    (out / name).write_text("\n".join([rule, lines[0], rule, *lines[1:], rule]) + "\n")


def plot_rows(rows, out):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure((9, 2.8), layout="constrained")
    panels = figure.subplots(1, len(RATIOS), sharey=True)
    for panel, ratio, column in zip(panels, RATIOS, range(2, 2 + len(RATIOS)), strict=True):
        for pixel in JUDGED_PIXELS:
            of_pixel = [row for row in rows if row[0] == pixel]
            panel.plot([r[1] for r in of_pixel], [r[column] for r in of_pixel], "o-", ms=3, label=f"{pixel:g} arcmin")
        panel.axhline(1, color="0.5", lw=0.8)
        panel.set(title=f"noise / signal {ratio:g}", xlabel="source redshift")
    panels[0].set_ylabel("error / Wiener filter")
    panels[-1].legend(title="pixels", fontsize="small")
    figure.savefig(out / "prior_fields.png", dpi=120)


def command_line(description):
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--boxes", type=int, default=1, help="boxes of each cosmology")
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--box-size", type=float, default=256.0)
    parser.add_argument("--size", type=int, default=192, help="pixels on a side of a map")
    parser.add_argument("--widths", default="16,32,64")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--maps-per-step", type=int, default=5)
    parser.add_argument("--checkpoint-every", type=int, help="steps; by default a tenth of them")
    parser.add_argument("--maps", type=int, default=40, help="maps of each field for correction and errors")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw maps")
    parser.add_argument("--device", default="auto")
    return parser


def main(options=None):
    arguments = command_line(__doc__).parse_args(options)
    out, start = arguments.out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    skies = Skies(arguments)
    bank = survey_bank(skies.held_out, survey(skies.held_out, 1.0, 0.4), 24, 9)
    print(f"{time.perf_counter() - start:.0f} s for boxes and calibration", flush=True)
    reference = Survey(0, np.zeros(0), declared_spectrum(PowerSpectrum.default()), REFERENCE)
    fields = [[survey(skies.training, z, pixel) for z in REDSHIFTS] for pixel in PIXELS]
    size = 112 if arguments.size >= 192 else arguments.size // 2
    plan = TrainingPlan(
        steps=arguments.steps,
        maps_per_step=arguments.maps_per_step,
        pieces=1,
        size=size,
        margin=min(40, (arguments.size - size) // 2),
        sigma=(0.12, 40.0),
        validate_every=arguments.checkpoint_every or max(1, arguments.steps // 10),
    )
    card = {
        "maps": f"{arguments.boxes} + {arguments.boxes} boxes of {arguments.box_size:g} Mpc/h, "
        f"{arguments.particles}^3 particles, sigma_8 0.83 and 0.75",
        "spectrum": reference.spectrum.name,
        "resolution": list(RESOLUTION),
        "source_redshifts": list(skies.training.redshifts),
    }
    prior, history = train_survey_prior(
        skies.training,
        bank,
        reference,
        fields,
        plan,
        widths=tuple(int(w) for w in arguments.widths.split(",")),
        card=card,
        n_correction=arguments.maps,
        checkpoint=out / "state.safetensors",
        device=skies.device,
        workers=arguments.workers,
    )
    prior.save(out / "prior.safetensors", overwrite=True)
    write_curves(history, out / "prior")
    print(f"{time.perf_counter() - start:.0f} s with the training", flush=True)
    rows = judge(prior, skies, arguments.maps)
    write_rows(rows, out)
    plot_rows(rows, out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
