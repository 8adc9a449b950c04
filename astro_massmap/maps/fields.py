"""Many fields, mapped one by one or by many workers."""

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
    Map several fields.

    Every field is a task of its own. For many samples of one field give the executor to its own ``reconstruct``, which
    shares out its chains.

    Parameters
    ----------
    fields : iterable of `ShearCatalog`, `ShearMap` or `ConvergenceMap`
        What is mapped.
    method : str or method object, optional
        As for `ShearMap.reconstruct`.
    executor : `concurrent.futures.Executor`, optional
        Executor that maps the fields; by default they are mapped in threads of this process, as many at a time as
        there are cores.
    progress : bool
        Show a progress bar.
    **options
        Options of a method that is given by name.

    Returns
    -------
    iterator of ConvergenceMap
        In the order of the fields, each as soon as it and those before it are there: what is written from it at once
        is not lost when a later field fails.

    Raises
    ------
    TypeError, ValueError
        If there is no such method or option, a field cannot be mapped, or the method has a checkpoint, which is a file
        for one field.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets, reconstruct_fields
    >>> shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    >>> for kappa in reconstruct_fields([shear, shear], "wiener", n_samples=0, progress=False):
    ...     print(kappa)
    <ConvergenceMap: 32 x 32 pixels of 1.6 arcmin, 87% measured, no samples>
    <ConvergenceMap: 32 x 32 pixels of 1.6 arcmin, 87% measured, no samples>
    """
    from ..methods import resolve

    if not isinstance(fields, Iterable):
        raise TypeError(f"fields: needs several catalogues or maps, got one {type(fields).__name__}")
    fields, method = list(fields), resolve(method, options)
    for i, field in enumerate(fields):
        if not callable(getattr(field, "reconstruct", None)):
            raise TypeError(f"fields: number {i} is a {type(field).__name__}, not a catalogue or a map")
    if getattr(method, "checkpoint", None) is not None:
        raise ValueError("checkpoint: it is a file for one field; map the fields one by one, each with its own")
    return _mapped(fields, method, executor, progress)


def _mapped(
    fields: list[ShearCatalog | ShearMap | ConvergenceMap], method: Method, executor: Executor | None, progress: bool
) -> Iterator[ConvergenceMap]:
    """The maps, in order."""
    from tqdm.auto import tqdm

    from ..inference import available_cores, pick_device, side_by_side
    from ..methods import shared_out

    on_cpu = pick_device(getattr(method, "device", "cpu")).type == "cpu"
    workers = min(available_cores(), len(fields)) if on_cpu else 1
    if getattr(method, "n_jobs", 0) is None and dataclasses.is_dataclass(method) and (executor or workers > 1):
        # the fields occupy the cores already
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
    """The number of a field, and its map."""
    number, field, method = task
    try:
        return number, field.reconstruct(method, progress=False)
    except Exception as error:
        error.add_note(f"in fields[{number}]")
        raise
