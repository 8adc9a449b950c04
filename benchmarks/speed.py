"""
Time of the network and of a sample: ``python benchmarks/speed.py [--sides 128 200 320] [--chains 1 8] [--out FOLDER]``.

The first table is for the network alone at the size of the largest field and its margin, in single and in mixed
precision, for batches of maps; results are compared with double precision on the CPU. The second table is for samples,
one chain each without redraws, of a field with a noise of 0.15 and data in 60 % of the pixels. Requirements are torch,
numpy, scipy and safetensors. ``--widths 32,64,128`` uses an untrained network of those widths instead of the default
prior, as the time does not depend on the training.
"""

import argparse
import copy
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch

from astro_massmap import Schedule, ScorePrior
from astro_massmap.inference import (
    FourierGrid,
    LensingOperator,
    Observation,
    SplitPlan,
    Streams,
    padded_shape,
    pick_device,
    run_chains,
)
from astro_massmap.priors import HybridDenoiser, UNet

PIXEL = np.radians(0.4 / 60)


def untrained(prior, widths):
    """Return the prior with a random network of small output."""
    torch.manual_seed(0)
    network = UNet(widths)
    torch.nn.init.constant_(network.leave.gain, 1e-2)
    denoiser = HybridDenoiser(network, prior.trained_spectrum, prior.pixel_size).requires_grad_(False)
    return dataclasses.replace(prior, denoiser=denoiser)


def waited(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.no_grad()
def network_table(prior, side, batches, device, log):
    """Write evaluations per second, and errors divided by the standard deviation of the output."""
    side += 2 * prior.margin
    network = prior.denoiser.network
    exact = copy.deepcopy(network).cpu().double()
    images = torch.randn(max(batches), 2, side, side, generator=torch.Generator().manual_seed(0))
    level = prior.denoiser.field.conditions(torch.full((1,), 0.1))
    truth = exact(images[:1].double(), level.double())[0]
    network = copy.deepcopy(network).to(device)
    log(f"network of {sum(p.numel() for p in network.parameters())} parameters, {side} x {side} pixels")
    log(f"{'batch':>6} {'precision':>10} {'a second':>10} {'error, rms':>11} {'largest':>9}")
    for batch in batches:
        inputs, levels = images[:batch].to(device), level.expand(batch, -1).to(device)
        for half in (False, True):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                result = network(inputs, levels)  # includes the warm-up
                repeats = 1 if device.type == "cpu" else max(3, 512 // batch)
                start = waited(device)
                for _ in range(repeats):
                    network(inputs, levels)
                seconds = (waited(device) - start) / repeats
            error = (result[0].cpu().double() - truth) / truth.std()
            name = "bfloat16" if half else "float32"
            rms, largest = error.square().mean().sqrt(), error.abs().max()
            log(f"{batch:6d} {name:>10} {batch / seconds:10.1f} {rms:11.1e} {largest:9.1e}")


def observed(spectrum, side, noise=0.15):
    """Observation of a Gaussian field with holes of several sizes."""
    rng = np.random.default_rng(side)
    grid = FourierGrid((side, side), PIXEL, (2 * side, 2 * side), dtype=torch.float64)
    modes = grid.mode_variance(spectrum).sqrt() * grid.to_modes(torch.from_numpy(rng.normal(size=grid.box_shape)))
    shear = LensingOperator(grid).forward(modes).numpy()
    y, x = np.mgrid[:side, :side]
    seen = np.ones((side, side), dtype=bool)
    while seen.mean() > 0.6:
        seen &= np.hypot(*(a - rng.uniform(0, side) for a in (x, y))) > rng.uniform(2, 9)
    data = shear + noise * rng.normal(size=shear.shape)
    return Observation.from_arrays(np.where(seen, data, 0), np.where(seen, noise, np.inf), PIXEL)


def sample_table(prior, sides, chains, device, log):
    """Write seconds per sample."""
    header = f"{'side':>6} {'chains':>7} {'precision':>10} {'s a sample':>11} {'evaluations':>12}"
    log("\n" + header + (f" {'GiB':>6}" if device.type == "cuda" else ""))
    for side in sides:
        observation = observed(prior.trained_spectrum, side)
        for half in (False, True):
            used = dataclasses.replace(prior, bfloat16=half)
            plan = SplitPlan(observation, used, Schedule.annealed(), padded_shape((side, side), 2.0), device=device)
            if device.type == "cuda":
                run_chains(plan, Streams(0, list(range(max(chains))), device=device))
            for n in chains:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                start = waited(device)
                run = run_chains(plan, Streams(1, list(range(n)), device=device))
                seconds = (waited(device) - start) / n
                name = "bfloat16" if half else "float32"
                row = f"{side:6d} {n:7d} {name:>10} {seconds:11.3f} {run.evaluations:12d}"
                memory = f" {torch.cuda.max_memory_allocated() / 2**30:6.1f}" if device.type == "cuda" else ""
                log(row + memory)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="default")
    parser.add_argument("--widths", help="widths of an untrained network, such as 32,64,128")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 200, 320])
    parser.add_argument("--chains", type=int, nargs="+", help="simultaneous chains (default: 1 on a CPU, 64 elsewhere)")
    parser.add_argument(
        "--batches", type=int, nargs="+", help="maps in a batch (default: 1 to 8 on a CPU, to 256 elsewhere)"
    )
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, lines = pick_device("auto"), []
    on_cpu = device.type == "cpu"

    def log(text):
        print(text, flush=True)
        lines.append(text)

    prior = ScorePrior.load(arguments.prior).of_pixels(PIXEL)
    if arguments.widths:
        prior = untrained(prior, tuple(int(w) for w in arguments.widths.split(",")))
    log(f"{torch.get_num_threads()} threads of a CPU" if on_cpu else torch.cuda.get_device_name())
    batches = arguments.batches or ([1, 2, 4, 8] if on_cpu else [1, 4, 16, 64, 128, 256])
    network_table(prior, max(arguments.sides), batches, device, log)
    sample_table(prior, arguments.sides, arguments.chains or [1 if on_cpu else 64], device, log)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "speed.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
