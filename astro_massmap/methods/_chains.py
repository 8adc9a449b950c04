"""Chains of some samples, drawn until they are good, and where they are kept."""

import numpy as np

from ..inference import Streams, run_chains, runaways
from .base import in_batches

_ATTEMPTS = 6  # on a field of 320 x 320 one attempt of five is stuck: three would lose one run of thirty chains in four
_STUCK = 0.1  # share of accepted steps at the last level below which a chain is stuck


class Kept:
    """
    Samples in memory, and what is recorded of each.

    Parameters
    ----------
    n_samples : int
        How many.
    shape : tuple of int
        Of one of them.
    """

    def __init__(self, n_samples, shape):
        self.samples, self.records = np.empty((n_samples, *shape), np.float32), {}

    def add(self, indices, samples, records):
        """Keep finished samples, and what is recorded of each of them."""
        self.samples[indices] = samples
        self.records.update(zip(indices, records, strict=True))


def task(job, indices):
    """What a worker does for a `~astro_massmap.methods._workers.Job`: what ``add`` of `Kept` takes."""
    drawn = Kept(len(indices), job.observation.shape)

    def draw(rows):
        drawn.add(rows, *draw_chains(job.prepared(), job.method.seed, [indices[row] for row in rows]))

    in_batches(draw, list(range(len(indices))), len(indices))
    return indices, drawn.samples, [drawn.records[row] for row in range(len(indices))]


def draw_chains(plan, seed, indices, on_step=lambda level, state: None):
    """Maps of some samples and their records. Chains that ran away or are stuck are drawn anew, up to five times."""
    maps, records = np.empty((len(indices), *plan.grid.field_shape), np.float32), [None] * len(indices)
    todo = list(range(len(indices)))
    for attempt in range(_ATTEMPTS):
        streams = Streams(seed, [indices[k] for k in todo], attempt=attempt, device=plan.grid.device)
        run = run_chains(plan, streams, on_step=on_step)
        bad = runaways(plan, run.modes).cpu() | (run.acceptance[:, -1] < _STUCK)
        fields = plan.grid.to_field(run.modes).cpu().numpy()
        for row, k in enumerate(todo):
            maps[k] = fields[row]
            records[k] = {
                "evaluations": run.evaluations * (attempt + 1),
                "restarts": attempt,
                "acceptance": run.acceptance[row].tolist(),
                "energy_error": run.energy_error[row].tolist(),
                "trace": run.trace[row].tolist(),
            }
        todo = [k for row, k in enumerate(todo) if bad[row]]
        if not todo:
            return maps, records
    first = todo[0]
    raise ValueError(
        f"prior: chain {indices[first]} ran away or was stuck {_ATTEMPTS} times (acceptance "
        f"{records[first]['acceptance'][-1]:.2f} at the noise level {plan.targets[-1].sigma:.3g}); its score "
        "does not hold the data, or the schedule is too coarse"
    )
