"""Reconstruction of the fields of a survey, each as one task."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Literal, NamedTuple

from .._utils.progress import part_named
from ..maps.fields import with_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor

    from ..maps.convergence_map import ConvergenceMap
    from ..maps.shear_map import ShearMap
    from ..methods import Method


class Task(NamedTuple):
    cell: int
    shear: ShearMap
    method: Method
    reduced_shear: bool | Literal["auto"]


def mapped(
    tasks: Iterator[Task], n: int, method: Method, executor: Executor | None
) -> Iterator[tuple[int, ConvergenceMap | str]]:
    """Yield cells with their maps, or with the text of an error."""
    from ..inference import available_cores, pick_device, thread_pool  # loads torch
    from ..methods import shared_out  # loads torch

    on_cpu = pick_device(getattr(method, "device", "cpu")).type == "cpu"
    workers = max(min(available_cores(), n), 1) if on_cpu else 1
    with thread_pool(workers) if executor is None else nullcontext(executor) as pool:
        if executor is not None or workers > 1:  # the fields already occupy the cores
            tasks = (task._replace(method=with_jobs(task.method, 1)) for task in tasks)
        with closing(shared_out(_map_field, tasks, pool)) as done:
            yield from done


def _map_field(task: Task) -> tuple[int, ConvergenceMap | str]:
    """Return the map of a field, or the text of its error, so that it does not end the run."""
    try:
        with part_named(f"cell {task.cell}"):
            kappa = task.shear.reconstruct(task.method, reduced_shear=task.reduced_shear, progress=False)
    except Exception as error:
        return task.cell, f"{type(error).__name__}: {error}"
    return task.cell, kappa


def memory_of(method: Method, shapes: Sequence[tuple[int, int]]) -> str:
    """Return the size of the largest field and the memory that a method states for it."""
    if not shapes:
        return "nothing is left to do"
    largest = max(shapes, key=lambda shape: shape[0] * shape[1])
    stated = getattr(method, "memory", None)
    return f"the largest has {largest[0]} x {largest[1]} pixels" if stated is None else str(stated(largest))
