"""Fields of the tomographic bins of a survey."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..maps.catalog_bins import TOTAL, check_bins, numbers_of_bins, warn_of_n_z
from ..maps.n_z import n_z_of_bins, total_n_z
from .fields import SkyFields, pieces_of

__all__ = ["fields_of_bins", "galaxies_of_bin"]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import astropy.units as u
    from numpy.typing import ArrayLike

    from ..maps.catalog import ShearCatalog
    from ..maps.n_z import NZ


def fields_of_bins(
    catalog: ShearCatalog | Iterable[ShearCatalog],
    tomo: str | ArrayLike = "tomo",
    *,
    edges: ArrayLike | None = None,
    n_z: Any = None,
    total: bool = False,
    pixel_scale: u.Quantity | None = None,
    nside: int | None = None,
    margin: u.Quantity | None = None,
) -> dict[Any, SkyFields]:
    """
    Divide a survey into tomographic bins and overlapping fields, in one reading of the galaxies.

    Parameters
    ----------
    catalog, nside, margin
        As for `~astro_massmap.SkyFields`.
    tomo, edges, n_z, total
        As for `~astro_massmap.ShearCatalog.bins`.
    pixel_scale : `~astropy.units.Quantity`, optional
        Side of a pixel of all bins, by default that for the density of the first bin in the first piece.

    Returns
    -------
    dict of SkyFields
        Fields by bin number, in increasing order, and with ``total`` those of the galaxies of all bins under the key
        ``"all"``. Fields of the same cell have the same grid.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        As `~astro_massmap.SkyFields` and `~astro_massmap.ShearCatalog.bins`.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If galaxies are in no bin, or the bins have no redshift distributions.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.survey.bins import fields_of_bins
    >>> catalog = datasets.demo()
    >>> catalog.redshift = np.linspace(0.2, 1.4, len(catalog))
    >>> bins = fields_of_bins(catalog, edges=[0.2, 0.8, 1.4], nside=64)
    >>> {key: fields.n_galaxies for key, fields in bins.items()}
    {1: 32833, 2: 32833}
    """
    bins: dict[Any, SkyFields] = {}
    outside, n, given = 0, 0, False
    for piece in pieces_of(catalog):
        number = numbers_of_bins(piece, tomo, edges)
        outside, n = outside + int((number < 0).sum()), n + len(number)
        alone = copy.copy(piece)
        alone.n_z = None  # that of the catalogue is not the one of a bin
        given = given or piece._given_n_z is not None
        parts: dict[Any, ShearCatalog] = {int(key): alone[number == key] for key in np.unique(number[number >= 0])}
        if total and parts:
            parts[TOTAL] = (piece if n_z is None else alone)[number >= 0]
        for key, part in parts.items():
            if key in bins:
                bins[key]._add(part)
                continue
            bins[key] = SkyFields(part, pixel_scale=pixel_scale, nside=nside, margin=margin)
            pixel_scale, nside, margin = bins[key].pixel_scale, bins[key].nside, bins[key].margin
    keys = check_bins(bins.keys() - {TOTAL}, edges, outside, n)
    for key, fields in bins.items():
        fields.n_z = fields._total_n_z()
        fields.meta["bin"] = key
    if n_z is not None:
        found = n_z_of_bins(n_z, keys)
        for key in keys:
            bins[key].n_z = found[key]
        if total:
            weights = [sum(weight for _, weight in bins[key]._redshifts) for key in keys]
            bins[TOTAL].n_z = total_n_z([cast("NZ", found[key]) for key in keys], weights)
    elif all(bins[key].n_z is None for key in keys):
        warn_of_n_z(given)
    return {key: bins[key] for key in [*keys, *([TOTAL] if total else [])]}


def galaxies_of_bin(
    catalog: ShearCatalog | Iterable[ShearCatalog],
    key: Any,
    tomo: str | ArrayLike = "tomo",
    *,
    edges: ArrayLike | None = None,
) -> Iterator[ShearCatalog]:
    """
    Yield the galaxies of one bin of `fields_of_bins`, in pieces.

    Parameters
    ----------
    catalog, tomo, edges
        As for `fields_of_bins`.
    key : int or ``"all"``
        Number of the bin, or the galaxies of all bins.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.survey.bins import galaxies_of_bin
    >>> catalog = datasets.demo()
    >>> catalog.redshift = np.linspace(0.2, 1.4, len(catalog))
    >>> [len(piece) for piece in galaxies_of_bin(catalog, 1, edges=[0.2, 0.8, 1.4])]
    [32833]
    """
    for piece in pieces_of(catalog):
        number = numbers_of_bins(piece, tomo, edges)
        inside = number >= 0 if key == TOTAL else number == key
        if inside.any():
            yield piece[inside]
