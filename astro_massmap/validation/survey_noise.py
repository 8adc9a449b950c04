"""
Maps of randomly rotated galaxies of a survey, field by field.

The maps of a field are the samples of one file: its standard deviation is the noise of the map, and every product of
`~astro_massmap.SkyMaps` is one of the noise. A galaxy has the same angle in all fields on which it lies.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import astropy.units as u
import numpy as np

from .._utils.checks import check_integer
from .._utils.memory import physical_memory
from .._utils.progress import progress_bar
from ..inference import Observation
from ..maps.convergence_map import ConvergenceMap
from ..methods import InferredSpectrum, KaiserSquires, Method, Wiener, resolve, run
from ..survey.cells import vectors
from ..survey.fields import SkyFields, pieces_of
from ..survey.tasks import run_fields
from .binned_survey import random_phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from .._utils.typing import File
    from ..maps.catalog import ShearCatalog
    from ..maps.shear_map import ShearMap
    from ..methods import MethodLike
    from ..survey.maps import SkyMaps

__all__ = ["survey_noise_maps"]


def survey_noise_maps(
    fields: SkyFields,
    catalog: ShearCatalog | Iterable[ShearCatalog],
    folder: File,
    n: int = 100,
    *,
    method: MethodLike = None,
    seed: int = 0,
    executor: Executor | None = None,
    progress: bool = True,
) -> SkyMaps:
    """
    Map ``n`` catalogues of randomly rotated galaxies of a survey, in one reading of the galaxies.

    Parameters
    ----------
    fields : `~astro_massmap.SkyFields`
        Fields of the survey.
    catalog : `~astro_massmap.ShearCatalog`, or iterable of these
        The galaxies of which ``fields`` was made, or the same pieces again.
    folder : str or path-like
        Folder of the maps. The same call continues an interrupted run, see `~astro_massmap.SkyFields.reconstruct`.
    n : int
        Number of catalogues, at least two.
    method : str, method object or callable, optional
        Method of the maps; by default `~astro_massmap.KaiserSquires`. Only the mean of a method with samples is used.
    seed : int
        Seed of the angles. Those of piece k in map i are those of ``rotated(piece, [seed, i, k])``.
    executor, progress
        As for `~astro_massmap.SkyFields.reconstruct`.

    Returns
    -------
    SkyMaps
        In the map of each field, the ``n`` maps are the samples, with their mean and standard deviation.

    Raises
    ------
    TypeError, ValueError, OSError
        As `~astro_massmap.SkyFields.reconstruct`, or if the galaxies are not those of the fields, or the binned shear
        of all fields that are not finished, 8 bytes times ``n`` for each pixel, exceeds half of the memory.

    Notes
    -----
    The binned shear of all fields that are not finished is in memory: with 100 maps, 78 MB for a field of the default
    size, 365 x 268 pixels, and thus 4 GB for 450 square degrees in 52 fields. A larger survey is divided into parts.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import SkyFields, datasets
    >>> from astro_massmap.validation.survey_noise import survey_noise_maps
    >>> catalog = datasets.demo()[::4]
    >>> fields = SkyFields(catalog, nside=64, pixel_scale=1.6 * u.arcmin)
    >>> noise = survey_noise_maps(fields, catalog, "noise", 8, method="kaiser_squires", progress=False)
    >>> noise.healpix().colnames
    ['pixel', 'mean', 'std', 'signal_to_noise']
    """
    if not isinstance(fields, SkyFields):
        raise TypeError(f"fields: needs SkyFields, got {type(fields).__name__}")
    check_integer(n, "n", 2)
    check_integer(seed, "seed", 0)
    chosen = _mean_alone(KaiserSquires() if method is None else resolve(method))

    def tasks(cells: list[int]) -> Iterator[_Task]:
        if cells:
            shears = _rotated_shear(fields, catalog, cells, n, seed, progress)
            yield from (_Task(cell, fields[cell], shears.pop(cell), chosen) for cell in cells)

    return run_fields(fields, folder, chosen, tasks, executor, progress, mark=f"rotated {n} {seed}", samples=n)


def _mean_alone(method: Method) -> Method:
    """Return a method that computes the mean without samples, if there is such an option."""
    if isinstance(method, Wiener) and not isinstance(method.spectrum, InferredSpectrum):
        return dataclasses.replace(method, n_samples=0, uncertainty=False)
    return method


class _Task(NamedTuple):
    """Maps of the rotated galaxies of a field, of which ``shears`` is the binned shear ``(n, ny, nx)``."""

    cell: int
    shear: ShearMap
    shears: NDArray[np.complex64]
    method: Method

    def kappa(self) -> ConvergenceMap:
        shear, pixel_size = self.shear, self.shear.pixel_scale.to_value(u.rad)
        maps = []
        for e in self.shears:
            observation = Observation.from_arrays(np.stack([e.real, e.imag]), shear.noise_std, pixel_size)
            maps.append(run(self.method, observation, progress=False, n_z=shear.n_z))
        samples = np.stack([np.asarray(found.mean, dtype=np.float32) for found in maps])
        return ConvergenceMap(
            samples.mean(axis=0),
            wcs=shear.wcs,
            uncertainty=samples.std(axis=0, ddof=1),
            mask=shear.mask,
            samples=samples,
            meta=shear.meta,
            n_z=shear.n_z,
            diagnostics=maps[0].diagnostics | {"noise": "rotated galaxies"},
        )


def _rotated_shear(fields, catalog, cells, n, seed, progress):
    """Return the binned shear of the rotated galaxies ``(n, ny, nx)`` of some fields, by cell."""
    sums = {cell: fields._sums[cell] for cell in cells}
    needed = 8 * n * sum(field.counts.size for field in sums.values())
    if needed > physical_memory() / 2:
        raise ValueError(
            f"n: {n} maps of {len(cells)} fields need {needed / 2**30:.3g} GiB of memory, more than half of it; use "
            "fewer maps, or divide the survey"
        )
    counts = {cell: 0 for cell in cells}
    shears = {cell: np.zeros((n, field.counts.size), np.complex64) for cell, field in sums.items()}
    for k, piece in enumerate(pieces_of(catalog)):
        coords, parts = piece.coords.icrs, {}
        places, shear = vectors(coords.ra.rad, coords.dec.rad), piece.west_north
        for cell, field in sums.items():
            here, pixel, e = field.located(piece.coords, places, shear)
            counts[cell] += len(here)
            if len(here):
                parts[cell] = here, pixel, (piece.weight[here] * e).astype(np.complex64)
        with progress_bar(total=n, desc=f"rotations of piece {k + 1}", disable=not progress) as bar:
            for i in range(n):
                phase = random_phase(len(piece), [seed, i, k])
                for cell, (here, pixel, e) in parts.items():
                    turned = e * phase[here]
                    shears[cell][i].real += np.bincount(pixel, turned.real, sums[cell].counts.size)
                    shears[cell][i].imag += np.bincount(pixel, turned.imag, sums[cell].counts.size)
                bar.update()
    if any(counts[cell] != field.counts.sum() for cell, field in sums.items()):
        raise ValueError("catalog: needs the galaxies of the fields, all of them and once")
    for cell, field in sums.items():
        shears[cell] /= np.where(field.response > 0, field.response, 1)
        shears[cell] = shears[cell].reshape(n, *field.shape)
    return shears
