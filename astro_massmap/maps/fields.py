"""Reconstruction of several fields or tomographic bins, in threads or by an executor, and their files."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from .._io.result_tables import ResultTable, printed
from .._sky.geometry import fitting_wcs
from .._utils.files import atomic_path, check_target
from .._utils.progress import part_named
from .catalog import ShearCatalog
from .catalog_bins import TOTAL, fixed_scale
from .n_z import mean_redshift

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor

    from astropy.table import QTable
    from astropy.wcs import WCS

    from .._utils.typing import File, Mask, Shape
    from ..methods import Method, MethodLike
    from .convergence_map import ConvergenceMap
    from .shear_map import ShearMap

    Field = ShearCatalog | ShearMap | ConvergenceMap

SUMMARY = "bins.ecsv"


class _Task(NamedTuple):
    number: int
    name: str
    field: Field
    method: Method
    options: dict[str, Any]
    note: dict[str, str]


def reconstruct_fields(
    fields: Iterable[Field] | Mapping[Any, Field],
    method: MethodLike | Sequence[MethodLike] = None,
    *,
    wcs: WCS | None = None,
    shape: Shape | None = None,
    pixel_scale: u.Quantity | None = None,
    mask: Mask | None = None,
    reduced_shear: bool | Literal["auto"] = "auto",
    executor: Executor | None = None,
    progress: bool = True,
    **options: Any,
) -> Iterator[ConvergenceMap]:
    """
    Reconstruct several fields, or the tomographic bins of one, in parallel, each as one task.

    Parameters
    ----------
    fields : iterable or dict of `ShearCatalog`, `ShearMap` or `ConvergenceMap`
        Catalogues or maps, one for each field. A dictionary, such as that of `ShearCatalog.bins`, contains parts of one
        field: its catalogues are binned on one common grid, with the default pixel scale of the densest bin (not that
        of all galaxies by ``total``), or that of the prior or network of a method, if it is for one scale only.
    method : str, method object or callable, or list of these, optional
        Method of all fields, or one for each, as for `ShearMap.reconstruct`.
    wcs, shape, pixel_scale, mask
        Grid of the catalogues, as for `ShearCatalog.to_map`.
    executor : `concurrent.futures.Executor`, optional
        Executor that runs the fields; by default threads of this process, as many as cores. To share the chains of one
        field between workers, give ``executor`` to its own ``reconstruct``.
    reduced_shear, progress, **options
        As for `ShearMap.reconstruct`.

    Returns
    -------
    iterator of ConvergenceMap
        Maps in the order of the fields, each available as soon as it and the maps before it are done. Maps that are
        written immediately are not lost if a later field fails. Those of catalogues of bins have the key of their bin
        in ``meta["bin"]``. Warnings and progress lines begin with the bin or the number of the field from 1.

    Raises
    ------
    TypeError, ValueError
        If there is no such method or option, the number of methods is not that of the fields, a grid is given for maps,
        the reconstruction of a field fails, or the method has a checkpoint, which is a file for one field.

    Notes
    -----
    Each field has its own prior spectrum, from its own ``n_z``, and its own random numbers, which depend on its data.
    Tomographic bins are reconstructed independently: the correlation of their convergence is not used.

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
    together = isinstance(fields, Mapping)
    pairs = list(fields.items() if isinstance(fields, Mapping) else enumerate(fields, start=1))
    names, fields = _names(pairs, "bin" if together else "field"), [field for _, field in pairs]
    for i, field in enumerate(fields):
        if not callable(getattr(field, "reconstruct", None)):
            raise TypeError(f"fields: needs catalogues or maps, got a {type(field).__name__} in fields[{i}]")
    given: list[Any] = list(method) if isinstance(method, list | tuple) else [method] * len(fields)
    if len(given) != len(fields):
        raise ValueError(f"method: needs one for all fields or one for each of {len(fields)}, got {len(given)}")
    methods = [resolve(each, options) for each in given]
    if any(getattr(each, "checkpoint", None) is not None for each in methods):
        raise ValueError(
            "checkpoint: needs a single field, since it is one file; call reconstruct on each field with its own file"
        )
    grid = {"wcs": wcs, "shape": shape, "pixel_scale": pixel_scale, "mask": mask}
    grid = {name: value for name, value in grid.items() if value is not None}
    catalogs = [field for field in fields if isinstance(field, ShearCatalog)]
    if grid and len(catalogs) < len(fields):
        raise TypeError(f"{', '.join(grid)}: needs catalogues as fields; a map has its grid")
    note: dict[str, str] = {}
    if together and wcs is None and len(catalogs) > 1:
        scale, note = common_pixel_scale(catalogs, methods, pixel_scale)
        found = common_grid(catalogs, scale, shape)
        grid = {"wcs": found, "shape": found.array_shape} | ({} if mask is None else {"mask": mask})
    common = {} if reduced_shear == "auto" else {"reduced_shear": reduced_shear}
    tasks = []
    for i, field in enumerate(fields):
        on_grid, its_note = (grid, note) if isinstance(field, ShearCatalog) else ({}, {})
        tasks.append(_Task(i, names[i], field, methods[i], common | on_grid, its_note))
    return _mapped(tasks, executor, progress)


def _names(pairs: Sequence[tuple[Any, Field]], kind: str) -> list[str]:
    """Return the names of fields in warnings and progress lines, such as ``'bin 3'`` or ``'field 2'``."""
    bins = [(getattr(field, "meta", {}).get("bin"), key) for key, field in pairs]
    return [f"{kind} {key}" if name is None else f"bin {name}" for name, key in bins]


def common_grid(catalogs: Sequence[ShearCatalog], scale: u.Quantity, shape: Shape | None = None) -> WCS:
    """Return the WCS of a tangential grid around all catalogues."""
    frame = catalogs[0].coords.frame.replicate_without_data()
    places = [catalog.coords.transform_to(frame).spherical for catalog in catalogs]
    lon, lat = (np.concatenate([getattr(p, axis).rad for p in places]) * u.rad for axis in ("lon", "lat"))
    return fitting_wcs(SkyCoord(lon, lat, frame=frame), scale, shape)


def common_pixel_scale(
    catalogs: Sequence[ShearCatalog], methods: Sequence[Method], given: u.Quantity | None = None
) -> tuple[u.Quantity, dict[str, str]]:
    """Return the given pixel scale, or that of a method or of the densest bin with a note for ``meta``."""
    fixed = next((method for method in methods if fixed_scale(method) is not None), None)
    if given is not None or fixed is not None:
        return catalogs[0]._pixel_scale(given, fixed)
    bins = [catalog for catalog in catalogs if catalog.meta.get("bin") != TOTAL] or catalogs
    densest = max(bins, key=lambda catalog: catalog.density.value)
    scale, note = densest._pixel_scale(None)
    key = densest.meta.get("bin")
    return scale, note if key is None else {"pixel_scale": f"{note['pixel_scale']} in bin {key}"}


def write_fields(maps: Iterable[ConvergenceMap], folder: File, *, overwrite: bool = False) -> QTable:
    """
    Write maps of tomographic bins or fields to FITS files in a folder, with a table, and return the table.

    The files are ``bin_1.fits``, ..., by ``meta["bin"]``, or else the number of the map from 1. Each is written as soon
    as the map is available; the table, ``bins.ecsv``, is written last.

    Parameters
    ----------
    maps : iterable of ConvergenceMap
        Maps, such as those of `reconstruct_fields`.
    folder : str or path-like
        Folder, made with the first map if it does not exist.
    overwrite : bool
        Replace existing files, which are an OSError otherwise.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``bin``, ``file``, ``n_galaxies``, ``density`` (effective number of galaxies per area for bins,
        otherwise the number per area of measured pixels), ``mean_redshift``, ``pixel_scale``, ``method``,
        ``spectrum``, ``std`` (median standard deviation of the measured pixels) and ``signal_to_noise`` (standard
        deviation of the map over ``std``), NaN for unknown values, and ``reduced_shear`` (whether it was applied).

    Raises
    ------
    ValueError, OSError
        If two maps have the same bin, or a file exists or cannot be written.

    Examples
    --------
    >>> from astro_massmap import datasets, reconstruct_fields, write_fields
    >>> catalog = datasets.demo()
    >>> bins = catalog.bins([i % 2 for i in range(len(catalog))], n_z=[1.0, 1.0])
    >>> table = write_fields(reconstruct_fields(bins, "kaiser_squires", progress=False), "maps", overwrite=True)
    >>> table["bin", "file", "n_galaxies"].pformat(show_unit=False)[2:]
    ['  0 bin_0.fits      32833', '  1 bin_1.fits      32833']
    """
    folder = Path(folder)
    check_target(folder / SUMMARY if folder.is_dir() else folder, overwrite=overwrite and folder.is_dir())
    rows: list[dict[str, Any]] = []
    for i, kappa in enumerate(maps, start=1):
        key = str(kappa.meta.get("bin", i))
        if any(row["bin"] == key for row in rows):
            raise ValueError(f"maps: two of them have the bin {key!r} in meta")
        folder.mkdir(exist_ok=True)
        file = f"bin_{key}.fits"
        kappa.write(folder / file, format="fits", overwrite=overwrite)
        rows.append({"bin": key, "file": file, **_summary(kappa)})
    if not rows:
        raise ValueError("maps: needs at least one map, got none")
    table = printed(ResultTable(rows))
    with atomic_path(folder / SUMMARY, overwrite=overwrite) as temporary:
        table.write(temporary, format="ascii.ecsv")
    return table


def _summary(kappa: ConvergenceMap) -> dict[str, Any]:
    measured = ~kappa.mask
    n_galaxies, z = kappa.meta.get("n_galaxies", 0), mean_redshift(kappa.n_z)
    std = np.nan if kappa.uncertainty is None else float(np.median(kappa.uncertainty.array[measured]))
    sources = kappa.diagnostics.get("sources", {})
    area = (measured.sum() * kappa.pixel_scale**2).to_value(u.arcmin**2)
    return {
        "n_galaxies": n_galaxies,
        "density": kappa.meta.get("galaxies_per_arcmin2", n_galaxies / area) / u.arcmin**2,
        "mean_redshift": np.nan if z is None else z,
        "pixel_scale": kappa.pixel_scale,
        "method": kappa.diagnostics.get("method", ""),
        "spectrum": sources.get("spectrum") or "",
        "std": std,
        "signal_to_noise": float(kappa.data[measured].std() / std) if std > 0 else np.nan,
        "reduced_shear": bool(kappa.diagnostics.get("reduced_shear", {}).get("applied", False)),
    }


def _mapped(tasks: list[_Task], executor: Executor | None, progress: bool) -> Iterator[ConvergenceMap]:
    from tqdm.auto import tqdm

    from ..inference import available_cores, pick_device, side_by_side  # loads torch
    from ..methods import shared_out  # loads torch
    from ..methods.sources import statement  # loads torch

    on_cpu = all(
        pick_device(getattr(method, "device", "cpu")).type == "cpu" for method in (task.method for task in tasks)
    )
    workers = min(available_cores(), len(tasks)) if on_cpu else 1
    if executor or workers > 1:  # the fields already occupy the cores
        jobs = 1 if executor else max(available_cores() // workers, 1)
        tasks = [task._replace(method=with_jobs(task.method, jobs)) for task in tasks]
    if executor is None:
        done = side_by_side(_map_field, tasks, workers, ahead=1)
    else:
        done = shared_out(_map_field, tasks, executor)
    early, i = {}, 0
    with closing(done), tqdm(total=len(tasks), desc="fields", disable=not progress) as bar:
        for number, kappa in done:
            bar.update()
            if progress and (sources := statement(kappa.diagnostics["sources"])):
                bar.write(f"{tasks[number].name}: {sources}", file=sys.stderr)
            early[number] = kappa
            while i in early:
                yield early.pop(i)
                i += 1


def with_jobs(method: Method, jobs: int) -> Method:
    """Return a method that computes ``jobs`` parts at a time, unless their number is given."""
    if getattr(method, "n_jobs", 0) is None and dataclasses.is_dataclass(method):
        return dataclasses.replace(cast("Any", method), n_jobs=jobs)
    return method


def _map_field(task: _Task) -> tuple[int, ConvergenceMap]:
    try:
        with part_named(task.name):
            kappa = task.field.reconstruct(task.method, progress=False, **task.options)
    except Exception as error:
        error.add_note(f"in fields[{task.number}]")
        raise
    kappa.meta.update(task.note)
    return task.number, kappa
