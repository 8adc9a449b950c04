"""Run of the fields of a survey, each as one task, whose map is written as soon as it is finished."""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .._utils.files import check_space, check_target
from .._utils.progress import part_named, progress_bar, warn
from ..maps.convergence_map import ConvergenceMap
from ..maps.fields import with_jobs
from ..maps.n_z import as_n_z
from .maps import SkyMaps, field_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from .._utils.typing import File
    from ..maps.shear_map import ShearMap
    from ..methods import Method
    from .fields import SkyFields


class Task(NamedTuple):
    """Reconstruction of a field."""

    cell: int
    shear: ShearMap
    method: Method
    reduced_shear: bool | Literal["auto"]

    def kappa(self) -> ConvergenceMap:
        return self.shear.reconstruct(self.method, reduced_shear=self.reduced_shear, progress=False)


def run_fields(
    fields: SkyFields,
    folder: File,
    method: Method,
    tasks: Callable[[list[int]], Iterator[Any]],
    executor: Executor | None,
    progress: bool,
    *,
    mark: str,
    samples: int,
) -> SkyMaps:
    """
    Map the fields that are not finished in a folder, by the tasks of their cells.

    A task is a named tuple such as `Task`, with ``cell``, ``method`` and ``kappa()``. ``mark`` is a text of the
    settings besides those of the method, by which maps of the same run are recognised, and ``samples`` is the number of
    samples, for the space on the disk. See `SkyFields.reconstruct` for the errors.
    """
    from ..methods.provenance import digest  # loads torch

    if getattr(method, "checkpoint", None) is not None:
        raise ValueError("checkpoint: is a file for a single field; finished fields of a survey are kept anyway")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OSError(f"folder: {str(folder)!r} exists and is not a folder")
    n_z = as_n_z(fields.n_z)
    mark = f"{digest(method)} {mark} {None if n_z is None else [column.tolist() for column in n_z]}"
    marks = {cell: fields._sums[cell].checksum(mark) for cell in fields}
    done = _finished(fields, folder, marks)
    todo = [cell for cell in fields if cell not in done]
    folder.mkdir(parents=True, exist_ok=True)
    if todo:
        check_target(folder / field_file(fields.nside, todo[0]), overwrite=True)
        check_space(folder / "field_*.fits", 4 * (samples + 2) * sum(fields._sums[cell].counts.size for cell in todo))
    if progress:
        kept = f", {len(done)} of which are finished" if done else ""
        print(f"{fields!r}{kept}; {memory_of(method, [fields._sums[cell].shape for cell in todo])}", file=sys.stderr)
    failures: dict[int, str] = {}
    with progress_bar(total=len(fields), initial=len(done), desc="fields", disable=not progress) as bar:
        for cell, kappa in mapped(tasks(todo), len(todo), method, executor):
            bar.update()
            file = folder / field_file(fields.nside, cell)
            if isinstance(kappa, str):
                failures[cell] = kappa
                file.unlink(missing_ok=True)  # a damaged one
                continue
            kappa.meta["field_sha256"] = marks[cell]
            try:
                kappa.write(file, format="fits", overwrite=True)
            except OSError as error:
                raise OSError(
                    f"folder: {str(file)!r} cannot be written ({error}); {len(done)} of {len(fields)} maps are "
                    "finished, and the same call continues"
                ) from error
            done.add(cell)
    if failures:
        first = next(iter(failures))
        text = f"{len(failures)} of {len(fields)} fields failed (cell {first}: {failures[first]})"
        if len(failures) == len(fields):
            raise ValueError(text)
        warn(f"{text}; the others are kept, and the same call repeats those that failed")
    maps = SkyMaps.read(folder)
    maps.failures = failures
    return maps


def _finished(fields: SkyFields, folder: Path, marks: dict[int, str]) -> set[int]:
    """Return the cells of the finished maps in a folder; OSError for maps of another survey."""
    done = set()
    ours = {field_file(fields.nside, cell): cell for cell in fields}
    for file in sorted(folder.glob("field_*.fits")):
        cell, found = ours.get(file.name), {}
        try:
            if cell is not None:
                found = ConvergenceMap.read(file, format="fits", memmap=True).meta
        except (OSError, ValueError) as error:
            warn(f"folder: {file.name} is damaged and made again ({error})")
            continue
        if cell is None or found.get("field_sha256") != marks[cell]:
            raise OSError(
                f"folder: {str(file)!r} is a map of other data, cells or settings; use another folder, or remove its "
                "files"
            )
        done.add(cell)
    return done


def mapped(
    tasks: Iterator[Any], n: int, method: Method, executor: Executor | None
) -> Iterator[tuple[int, ConvergenceMap | str]]:
    """Yield cells with their maps, or with the text of an error."""
    from ..inference import available_cores, pick_device, thread_pool  # loads torch
    from ..methods import shared_out  # loads torch

    on_cpu = pick_device(getattr(method, "device", "cpu")).type == "cpu"
    workers = max(min(available_cores(), n), 1) if on_cpu else 1
    with thread_pool(workers) if executor is None else nullcontext(executor) as pool:
        if executor is not None or workers > 1:  # the fields already occupy the cores
            tasks = (task._replace(method=with_jobs(task.method, 1)) for task in tasks)
        with closing(shared_out(_map_field, tasks, pool, _failed)) as done:
            yield from done


def _map_field(task: Any) -> tuple[int, ConvergenceMap | str]:
    """Return the map of a field, or the text of its error, so that it does not end the run."""
    try:
        with part_named(f"cell {task.cell}"):
            return task.cell, task.kappa()
    except Exception as error:
        return _failed(task, error)


def _failed(task: Any, error: BaseException) -> tuple[int, str]:
    return task.cell, f"{type(error).__name__}: {error}"


def memory_of(method: Method, shapes: Sequence[tuple[int, int]]) -> str:
    """Return the size of the largest field and the memory that a method states for it."""
    if not shapes:
        return "nothing is left to do"
    largest = max(shapes, key=lambda shape: shape[0] * shape[1])
    stated = getattr(method, "memory", None)
    return f"the largest has {largest[0]} x {largest[1]} pixels" if stated is None else str(stated(largest))
