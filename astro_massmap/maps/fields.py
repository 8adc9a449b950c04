"""Reconstruction of several fields, in threads or by an executor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from ..methods import Method
    from .catalog import ShearCatalog
    from .convergence_map import ConvergenceMap
    from .shear_map import ShearMap


def reconstruct_fields(
    fields: Iterable[ShearCatalog | ShearMap | ConvergenceMap],
    method: str | Method | None = None,
    *,
    executor: Executor | None = None,
    progress: bool = True,
    **options: Any,
) -> Iterator[ConvergenceMap]:
    """
    Reconstruct several fields in parallel, each as one task.

    Parameters
    ----------
    fields : iterable of `ShearCatalog`, `ShearMap` or `ConvergenceMap`
        Catalogues or maps, one for each field.
    executor : `concurrent.futures.Executor`, optional
        Executor that runs the fields; by default threads of this process, as many as cores. To share the chains of one
        field between workers, give ``executor`` to its own ``reconstruct``.
    method, progress, **options
        As for `ShearMap.reconstruct`.

    Returns
    -------
    iterator of ConvergenceMap
        Maps in the order of the fields, each available as soon as it and the maps before it are done. Maps that are
        written immediately are not lost if a later field fails.

    Raises
    ------
    TypeError, ValueError
        If there is no such method or option, the reconstruction of a field fails, or the method has a checkpoint, which
        is a file for one field.

    Examples
    --------
    >>> from astro_massmap import datasets, reconstruct_fields
    >>> shear = datasets.demo().to_map()
    >>> [kappa.shape for kappa in reconstruct_fields([shear, shear], "kaiser_squires", progress=False)]
    [(128, 128), (128, 128)]
    """
    from ..methods import resolve  # loads torch

    if not isinstance(fields, Iterable):
        raise TypeError(f"fields: needs an iterable of catalogues or maps, got a {type(fields).__name__}")
    fields, method = list(fields), resolve(method, options)
    for i, field in enumerate(fields):
        if not callable(getattr(field, "reconstruct", None)):
            raise TypeError(f"fields: needs catalogues or maps, got a {type(field).__name__} in fields[{i}]")
    if getattr(method, "checkpoint", None) is not None:
        raise ValueError(
            "checkpoint: needs a single field, since it is one file; call reconstruct on each field with its own file"
        )
    return _mapped(fields, method, executor, progress)


def _mapped(
    fields: list[ShearCatalog | ShearMap | ConvergenceMap], method: Method, executor: Executor | None, progress: bool
) -> Iterator[ConvergenceMap]:
    from tqdm.auto import tqdm

    from ..inference import available_cores, pick_device, side_by_side  # loads torch
    from ..methods import shared_out  # loads torch

    on_cpu = pick_device(getattr(method, "device", "cpu")).type == "cpu"
    workers = min(available_cores(), len(fields)) if on_cpu else 1
    if getattr(method, "n_jobs", 0) is None and dataclasses.is_dataclass(method) and (executor or workers > 1):
        # the fields already occupy the cores
        method = dataclasses.replace(method, n_jobs=1 if executor else max(available_cores() // workers, 1))
    tasks = [(i, field, method) for i, field in enumerate(fields)]
    if executor is None:
        done = side_by_side(_map_field, tasks, workers, ahead=1)
    else:
        done = shared_out(_map_field, tasks, executor)
    early, i = {}, 0
    with closing(done), tqdm(total=len(fields), desc="fields", disable=not progress) as bar:
        for number, kappa in done:
            bar.update()
            early[number] = kappa
            while i in early:
                yield early.pop(i)
                i += 1


def _map_field(task: tuple[int, ShearCatalog | ShearMap | ConvergenceMap, Method]) -> tuple[int, ConvergenceMap]:
    number, field, method = task
    try:
        return number, field.reconstruct(method, progress=False)
    except Exception as error:
        error.add_note(f"in fields[{number}]")
        raise
