"""Draw the chains of a run, repeat those that fail, and store the samples."""

import threading
from contextlib import ExitStack, closing
from functools import partial

import numpy as np

from .._utils.progress import progress_bar, warn
from ..inference import (
    ScoreError,
    SolverError,
    diverged,
    one_thread,
    reduced_shear_log_weight,
    residual_peak,
    residual_power,
    run_chains,
    thread_pool,
)
from ..inference.fit import N_BANDS
from ._workers import shared_out
from .base import in_batches

_ATTEMPTS = 6  # on a field of 320 x 320 one attempt of five does not mix: three would lose one run of thirty in four
_HOPELESS = 8  # number of first chains that end the run if all of them fail
_MIXING = 0.1  # fraction of accepted steps at the last level below which a chain does not mix


class SampleStore:
    """Samples ``(n_samples, *shape)`` in memory, and the records of their chains."""

    def __init__(self, n_samples, shape):
        self.samples, self.records = np.empty((n_samples, *shape), np.float32), {}

    def add(self, indices, samples, records):
        self.samples[indices] = samples
        self.records.update(zip(indices, records, strict=True))

    def without(self, lost):
        """Return all samples except those of the chains ``lost``."""
        return np.delete(self.samples, lost, axis=0) if lost else self.samples


def task(context, indices):
    """Draw some samples of a `~astro_massmap.methods._workers.RunContext`: the work of one task of an executor."""
    drawn = SampleStore(len(indices), context.observation.shape)

    def draw(rows):
        drawn.add(rows, *draw_chains(context.prepared(), context.method.seed, [indices[row] for row in rows]))

    with one_thread():
        in_batches(draw, list(range(len(indices))), len(indices))
    return indices, drawn.samples, [drawn.records[row] for row in range(len(indices))]


def draw_samples(method, plan, checkpoint, workers, n_jobs, progress):
    """
    Draw the samples of all chains; return those that did not fail, ``(n_good, ny, nx)``, and the record of each chain.

    ``checkpoint`` is None to keep the samples in memory. ``workers`` is an executor and the `RunContext`, or None to
    draw the chains in this process, on a CPU with ``n_jobs`` batches at a time.
    """
    kept = SampleStore(method.n_samples, plan.grid.field_shape) if checkpoint is None else checkpoint
    todo = [i for i in range(method.n_samples) if i not in kept.records]
    batch = method.batch_size or (1 if plan.grid.device.type == "cpu" else 32)
    pieces, stopped = [todo[i : i + batch] for i in range(0, len(todo), batch)], threading.Event()
    options = {"total": method.n_samples, "initial": method.n_samples - len(todo), "desc": "chains"}
    with progress_bar(**options, disable=not progress) as bar:

        def on_step(level, state):
            if stopped.is_set():
                raise RuntimeError("the run was stopped")
            bar.set_postfix(level=f"{plan.targets[level].sigma:.3g}", acceptance=f"{state.accepted.float().mean():.2f}")

        def draw(indices):
            return indices, *draw_chains(plan, method.seed, indices, on_step)

        def keep(drawn):
            kept.add(*drawn)
            check_failures(kept.records, method)

        with ExitStack() as stack:
            if workers is not None:
                results = shared_out(partial(task, workers[1]), pieces, workers[0])
            elif plan.grid.device.type == "cpu":
                results = shared_out(draw, pieces, stack.enter_context(thread_pool(max(min(n_jobs, len(pieces)), 1))))
            else:
                in_batches(lambda indices: keep(draw(indices)), todo, batch, on_done=bar.update)
                results = (piece for piece in ())
            stack.enter_context(closing(results))
            stack.callback(stopped.set)  # called first, so that an error does not wait for running chains
            for drawn in results:
                keep(drawn)
                bar.update(len(drawn[0]))
    check_failures(kept.records, method, finished=True)
    return kept.without(failed(kept.records)), [kept.records[i] for i in range(method.n_samples)]


def draw_chains(plan, seed, indices, on_step=lambda level, state: None):
    """
    Draw some samples; return their maps and the records of their chains.

    Chains that failed are drawn again, up to five times; ``failure`` in a record is the reason or None.
    """
    maps, records = np.zeros((len(indices), *plan.grid.field_shape), np.float32), [None] * len(indices)
    todo = list(range(len(indices)))
    for attempt in range(_ATTEMPTS):
        drawn = _attempt(plan, seed, [indices[row] for row in todo], attempt, on_step)
        for row, (sample, record) in zip(todo, drawn, strict=True):
            maps[row], records[row] = sample, record
        todo = [row for row in todo if records[row]["failure"]]
        if not todo:
            break
    return maps, records


def _attempt(plan, seed, indices, attempt, on_step):
    """Return map and record of each chain; an error in one chain does not end the others."""
    try:
        run = run_chains(plan, plan.streams(seed, indices, attempt), on_step=on_step)
    except (ScoreError, SolverError) as error:
        if len(indices) > 1:
            return [pair for i in indices for pair in _attempt(plan, seed, [i], attempt, on_step)]
        steps, levels = next((n for n in reversed(plan.schedule.trajectories) if n), 0), len(plan.targets)
        shapes = {"acceptance": levels, "energy_error": levels, "trace": (steps, 3), "chi2": 2, "power": N_BANDS}
        record = {"evaluations": 0, "restarts": attempt, "failure": str(error)}
        return [(np.nan, record | {name: np.full(shape, np.nan).tolist() for name, shape in shapes.items()})]
    bad = diverged(plan, run.modes)
    chi2, b_chi2 = residual_power(plan.posterior(), run.modes)
    peak = residual_peak(plan.posterior(), run.modes)
    power = plan.band_power(run.modes, 0.0, N_BANDS)
    log_weight = None
    if plan.observation.frozen is not None:
        log_weight = reduced_shear_log_weight(plan.posterior(), plan.observation, run.modes)
    fields = plan.grid.to_field(run.modes).cpu().numpy()
    fields[bad.cpu().numpy()] = np.nan
    return [
        (
            fields[row],
            {
                "evaluations": run.evaluations * (attempt + 1),
                "restarts": attempt,
                "failure": _failure(plan, bool(bad[row]), float(run.acceptance[row, -1])),
                "acceptance": run.acceptance[row].tolist(),
                "energy_error": run.energy_error[row].tolist(),
                "trace": run.trace[row].tolist(),
                "chi2": [float(chi2[row]), float(b_chi2[row])],
                "residual_peak": float(peak[row]),
                "power": power[row].tolist(),
            }
            | ({} if log_weight is None else {"log_weight": float(log_weight[row])}),
        )
        for row in range(len(indices))
    ]


def _failure(plan, diverges, acceptance):
    if diverges:
        return "diverged"
    if acceptance < _MIXING:  # NaN without steps
        return f"did not mix (acceptance {acceptance:.2f} at the noise level {plan.targets[-1].sigma:.3g})"
    return None


def failed(records):
    """Return the numbers of the samples whose chains failed."""
    return sorted(i for i, record in records.items() if record.get("failure"))


def check_failures(records, method, finished=False):
    """
    Raise ValueError if more than half of all chains failed, or the first eight; once all are finished, warn of others.

    The ``records`` are by sample number.
    """
    n_samples, checkpoint = method.n_samples, method.checkpoint
    part, run, cause = method.FAILURE
    lost = failed(records)
    if not lost:
        return
    reason = records[lost[0]]["failure"]
    if 2 * len(lost) > n_samples or len(lost) == len(records) >= _HOPELESS:
        kept = "" if checkpoint is None else f"; the finished samples are kept in {str(checkpoint)!r}"
        raise ValueError(
            f"{part}: {len(lost)} of {len(records)} {run}s failed {_ATTEMPTS} times each ({run} {lost[0]}: {reason}): "
            f"{cause}. The methods 'posterior_mean' and 'wiener' need no {run}s{kept}"
        )
    if not finished:
        return
    warn(
        f"{len(lost)} of {n_samples} {run}s failed {_ATTEMPTS} times each and are left out ({run} {lost[0]}: "
        f"{reason}); the map has {n_samples - len(lost)} samples"
    )
