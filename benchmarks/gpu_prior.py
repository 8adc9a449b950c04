"""
Train the large networks on a machine with a GPU, torch and safetensors.

``python benchmarks/gpu_prior.py OUT --boxes 8 --particles 512 --box-size 256 --widths 32,64,128``
simulates the boxes, calibrates their maps, and trains the prior and the posterior-mean network on maps that are drawn
during the training. An interrupted run continues when it is started again. A small run on a processor:
``python benchmarks/gpu_prior.py OUT --boxes 4 --particles 32 --box-size 64 --steps 20 --mean-steps 10 --maps 4 --size
224 --widths 8,8,8``. ``benchmarks/speed.py --prior OUT/prior.safetensors`` measures the cost of a sample.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.inference import pick_device
from astro_massmap.simulation import (
    RESOLUTION,
    Cosmology,
    NBody,
    calibrate,
    declared_spectrum,
    light_cone,
    simulate_boxes,
)
from astro_massmap.training import (
    LightConeMaps,
    MapBank,
    TrainingPlan,
    train_posterior_mean,
    train_prior,
    write_curves,
)

PIXEL = np.radians(0.4 / 60)


class Run:
    """The steps of the run, with their clock, device and theory."""

    def __init__(self, arguments):
        self.arguments, self.out, self.start = arguments, arguments.out, time.perf_counter()
        self.device, self.cosmology, self.theory = (
            str(pick_device("auto")),
            Cosmology.default(),
            PowerSpectrum.default(),
        )
        self.widths = tuple(int(w) for w in arguments.widths.split(","))

    def clock(self, text):
        print(f"{time.perf_counter() - self.start:7.1f} s  {text}", flush=True)

    def maps(self):
        """Return training maps, drawn during the training, and a bank of held-out maps; simulations are kept."""
        arguments = self.arguments
        simulation = NBody(arguments.particles, arguments.box_size, self.cosmology, device=self.device)
        self.clock(f"{self.device}, {simulation.memory / 2**30:.1f} GiB for a simulation")
        boxes = simulate_boxes(self.out / "boxes", simulation, arguments.boxes, progress=False)
        self.clock(f"{len(boxes)} boxes")
        shape, n_held = (arguments.size, arguments.size), max(1, arguments.boxes // 4)
        transfer, report = calibrate(boxes[:-n_held], self.cosmology, self.theory, shape, PIXEL, redshift=1.0)
        for row in zip(report.ell, report.raw, report.calibrated, report.error, strict=True):
            print("{:8.0f}  raw {:.3f}  calibrated {:.3f} +- {:.3f}".format(*row))
        training, held = (
            LightConeMaps(light_cone(part, self.cosmology, redshift=1.0, device=self.device), shape, PIXEL, transfer)
            for part in (boxes[:-n_held], boxes[-n_held:])
        )
        validation = MapBank(held.draw(arguments.maps, np.random.default_rng(1)).cpu(), PIXEL)
        self.clock("maps")
        return training, validation

    def card(self):
        arguments = self.arguments
        n_boxes = arguments.boxes - max(1, arguments.boxes // 4)
        return {
            "source_redshift": 1.0,
            "maps": f"{n_boxes} boxes of {arguments.box_size:g} Mpc/h, {arguments.particles}^3 particles",
            "spectrum": declared_spectrum(self.theory).name,
            "resolution": list(RESOLUTION),
            "device": self.device if self.device == "cpu" else torch.cuda.get_device_name(),
        }

    def train(self, train, name, maps, plan, **options):
        """Train one network, from its checkpoint if there is one, and write it with its curves."""
        options |= {"widths": self.widths, "card": self.card(), "device": self.device, "progress": False}
        network, history = train(*maps, declared_spectrum(self.theory), plan, **options)
        network.save(self.out / f"{name}.safetensors", overwrite=True)
        write_curves(history, self.out / name)
        self.clock(name)
        return network.card


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--boxes", type=int, default=8, help="number of boxes, of which the last quarter is held out")
    parser.add_argument("--particles", type=int, default=512)
    parser.add_argument("--box-size", type=float, default=256.0)
    parser.add_argument("--maps", type=int, default=64, help="held-out maps; the correction uses four times as many")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--widths", default="32,64,128")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--mean-steps", type=int, default=8000, help="steps of the posterior-mean network")
    parser.add_argument("--maps-per-step", type=int, default=16)
    arguments = parser.parse_args()
    run, steps, mean_steps = Run(arguments), arguments.steps, arguments.mean_steps
    maps = run.maps()
    plan = TrainingPlan(steps=steps, maps_per_step=arguments.maps_per_step, validate_every=max(1, steps // 10))
    options = {"n_correction": 4 * arguments.maps, "checkpoint": run.out / "state.safetensors"}
    card = run.train(train_prior, "prior", maps, plan, **options)
    (run.out / "card.json").write_text(json.dumps(card, indent=1))
    print(json.dumps(card["denoising_ratio"], indent=1))
    plan = dataclasses.replace(
        plan, steps=mean_steps, sigma=(0.05, 0.3), validate_every=max(1, mean_steps // 10), size=128
    )
    options = {"checkpoint": run.out / "mean_state.safetensors"}
    print(json.dumps(run.train(train_posterior_mean, "posterior_mean", maps, plan, **options)["error_ratio"], indent=1))


if __name__ == "__main__":
    main()
