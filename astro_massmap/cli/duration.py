"""Duration of a run of chains, estimated before it starts."""

import math
import sys
import time

import astropy.units as u

_OTHER = 1.15  # time of a run over that of the evaluations: linear systems, self-check, files


def print_duration(method, shear, workers=None):
    """Print the expected duration of ``method`` on a shear map, with ``workers`` processes, from a few evaluations."""
    jobs, batch, evaluations, seconds = _measured(method, shear, workers)
    rounds = math.ceil(method.n_samples / (jobs * batch))
    total = _OTHER * rounds * evaluations * seconds
    shown = f"{total:.0f} s" if total < 100 else f"{total / 60:.1f} min"
    print(
        f"{method.n_samples} samples, {jobs * batch} at a time: about {shown} if the computer remains as busy as now "
        f"({evaluations} evaluations of the network for each sample, of {seconds:.2g} s)",
        file=sys.stderr,
    )


def _measured(method, shear, workers):
    """Return the chains at a time, their batch size, and number and time of the evaluations of the score of each."""
    from ..inference import Observation, side_by_side  # loads torch

    observation = Observation.from_arrays(shear.data, shear.noise_std, shear.pixel_scale.to_value(u.rad))
    plan = method.prepare(observation)
    on_cpu = plan.grid.device.type == "cpu"
    jobs = min(workers or method._workers(shear.shape), method.n_samples)
    batch = 1 if on_cpu else min(method.n_samples, 32)
    modes = plan.targets[-1].mean.expand(batch, -1, -1)

    def evaluate(_):
        start = time.perf_counter()
        plan.prior.residual(modes, plan.targets[-1].sigma).abs().sum().item()  # waits for a GPU
        return time.perf_counter() - start

    times = list(side_by_side(evaluate, range(3 * jobs), jobs))[jobs:]  # the first ones allocate memory
    steps = [n for n in plan.schedule.trajectories if n]
    evaluations = sum(1 + n * plan.schedule.trajectory.leapfrogs for n in steps) + plan.final_evaluations
    return jobs, batch, evaluations, sum(times) / len(times)
