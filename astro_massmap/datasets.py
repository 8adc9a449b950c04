"""Example catalogues: `demo`, a mock survey in the package, and `cosmos` and `bullet`, downloaded on first use."""

from __future__ import annotations

import copy
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.utils.data import clear_download_cache, download_file

from ._io.result_tables import ResultTable, printed
from .maps.catalog import ShearCatalog
from .maps.convergence_map import ConvergenceMap

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["bullet", "cosmos", "cosmos_clusters", "demo", "demo_clusters", "demo_truth"]

COSMOS_URL = "https://raw.githubusercontent.com/CosmoStat/jax-lensing/81da74205678401591fe2d0312ffa7e4902dccb7/data/"
COSMOS_SHA256 = {
    "COSMOS/ra.fits": "b47e7e65b36da81fbcbac53d96976a133980a608590ba242a01fbfa8b4e67092",
    "COSMOS/dec.fits": "6f8ad325d6603468a1e747afbbb694af448491c7569e35f5966f64378d009622",
    "COSMOS/e1.fits": "a335533144ed5d94143d1d2f9b1144ff4af3e6f7d5e85b0d2eee4e8dd56997db",
    "COSMOS/e2.fits": "4c68ac134b5c3061b701517b7332df8ed04f045711cf68891015b2964e450fb0",
    "COSMOS/nhweight_int.fits": "7d75c1ef1f7e979532a4fe1af2e7c1e9e225b3e63db074ba55735f9c2e827bce",
    "xray.txt": "c9d211f4e965ddff6adb959e65e7d7d852fd113d10b77676b2dea7e4a2d24da5",
}
_N_BRIGHT = 165159
_MAX_SHEAR = 2
BULLET_URL = (
    "https://raw.githubusercontent.com/craiglagegit/Bullet_Cluster/685555c137d726a86ad02a968e1442ab0c6123f0/data/"
    "1e0657.release1.shear.dat"
)
BULLET_SHA256 = "a95f8b2c9dcce47de864a439826da5b0cbd6528b2e4e1ca27f48872bea1d8c56"  # of eight columns as '<f8'


def _embedded(name: str) -> Traversable:
    return resources.files(__package__) / "data" / name


def demo() -> ShearCatalog:
    """
    Return a mock survey of 51 x 51 arcmin with holes around stars and an irregular edge.

    Returns
    -------
    ShearCatalog
        Catalogue made by ``tools/make_demo.py`` of the source tree from the convergence `demo_truth`.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> datasets.demo()
    <ShearCatalog: 65666 galaxies, axes 'west-north', shape noise 0.260>
    """
    return copy.deepcopy(_demo())


@cache
def _demo() -> ShearCatalog:
    with resources.as_file(_embedded("demo_catalog.fits.gz")) as path:
        return ShearCatalog.read(path, axes="west-north", format="fits")


def demo_truth() -> ConvergenceMap:
    """
    Return the true convergence of `demo`, a ConvergenceMap.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> datasets.demo_truth()
    <ConvergenceMap: 128 x 128 pixels of 0.4 arcmin, 100% measured, no samples>
    """
    with resources.as_file(_embedded("demo_truth.fits")) as path:
        return ConvergenceMap.read(path, format="fits")


def demo_clusters() -> QTable:
    """
    Return the clusters in `demo`, as in an X-ray catalogue, a `~astropy.table.QTable`.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> clusters = datasets.demo_clusters()
    >>> len(clusters), clusters.colnames
    (5, ['name', 'ra', 'dec', 'radius'])
    """
    with resources.as_file(_embedded("demo_clusters.ecsv")) as path:
        return QTable.read(path, format="ascii.ecsv")


def cosmos(sample: Literal["all", "bright", "faint"] = "all") -> ShearCatalog:
    """
    Return the HST/ACS COSMOS shear catalogue of Schrabback et al. (2010, A&A 516, A63); please cite its authors.

    The files are downloaded to the cache of astropy on first use, and verified by checksum.

    Parameters
    ----------
    sample : {'all', 'bright', 'faint'}
        All 417,117 galaxies, or one of the two samples of the paper.

    Returns
    -------
    ShearCatalog

    Raises
    ------
    OSError, ValueError
        If a file cannot be downloaded or its checksum is wrong, or if ``sample`` is unknown.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> datasets.cosmos("bright")  # doctest: +REMOTE_DATA
    <ShearCatalog: 165159 galaxies, axes 'west-north', shape noise 0.277>
    """
    samples = {"all": slice(None), "bright": slice(_N_BRIGHT), "faint": slice(_N_BRIGHT, None)}
    if sample not in samples:
        raise ValueError(f"sample: needs one of {', '.join(map(repr, samples))}, got {sample!r}")
    ra, dec, e1, e2, weight = (
        np.asarray(fits.getdata(_fetch(name)), dtype=float)[samples[sample]]
        for name in COSMOS_SHA256
        if name.endswith(".fits")
    )
    source = "Schrabback et al. 2010, A&A 516, A63; HST/ACS COSMOS"
    meta = {"object": "COSMOS", "source": source, "sample": sample}
    return ShearCatalog(SkyCoord(ra * u.deg, dec * u.deg), e1, e2, axes="west-north", weight=weight, meta=meta)


def cosmos_clusters() -> QTable:
    """
    Return the X-ray clusters of the COSMOS field (Finoguenov et al. 2007, ApJS 172, 182), downloaded and cached.

    Returns
    -------
    `~astropy.table.QTable`
        Table with the columns ``id``, ``ra``, ``dec``, ``r500``, ``redshift``, ``m500`` and ``m500_err``.

    Raises
    ------
    OSError
        If the file cannot be downloaded, or its checksum is wrong.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> len(datasets.cosmos_clusters().colnames)  # doctest: +REMOTE_DATA
    7
    """
    raw = Table.read(_fetch("xray.txt"), format="ascii.no_header")
    units = {"id": None, "ra": u.deg, "dec": u.deg, "r500": u.arcmin, "redshift": None}
    units |= {"m500": 1e13 * u.Msun, "m500_err": 1e13 * u.Msun}
    numbers = {"id": 1, "ra": 2, "dec": 3, "r500": 4, "redshift": 7, "m500": 8, "m500_err": 9}
    columns = {name: raw[f"col{i}"].data for name, i in numbers.items()}
    table = ResultTable({name: c if units[name] is None else c * units[name] for name, c in columns.items()})
    table.meta["source"] = "Finoguenov et al. 2007, ApJS 172, 182"
    return printed(table)


def bullet() -> ShearCatalog:
    """
    Return the shear catalogue of the Bullet Cluster, 1E 0657-56 at redshift 0.296; please cite Clowe et al. (2006).

    Release 1 of the authors: ellipticities, which measure the reduced shear, of 2837 galaxies in 6.5 x 5 arcmin, with
    photometric redshifts; one more, with an ellipticity above 2, is left out. The file is downloaded to the cache of
    astropy on first use, and its numbers are verified by checksum.

    Returns
    -------
    ShearCatalog

    Raises
    ------
    OSError
        If the file cannot be downloaded or its checksum is wrong.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> datasets.bullet()  # doctest: +REMOTE_DATA
    <ShearCatalog: 2837 galaxies, axes 'west-north', shape noise 0.324>
    """
    path = _download(BULLET_URL)
    try:
        values = np.loadtxt(path, dtype="<f8", ndmin=2, usecols=range(8))
    except ValueError as error:
        raise _wrong(BULLET_URL, f"cannot be read ({error})") from error
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    if digest != BULLET_SHA256:
        raise _wrong(BULLET_URL, f"has numbers with the checksum {digest}, expected {BULLET_SHA256}")
    hours, dec, g1, g2, weight, _, _, z = values[np.hypot(values[:, 2], values[:, 3]) < _MAX_SHEAR].T
    meta = {"object": "1E 0657-56", "source": "Clowe et al. 2006, ApJL 648, L109; release 1"}
    return ShearCatalog(
        SkyCoord(hours * u.hourangle, dec * u.deg), g1, g2, axes="west-north", weight=weight, redshift=z, meta=meta
    )


def _fetch(name: str) -> str:
    """Return the path of a cached file, after a download if necessary; OSError for a wrong checksum."""
    path = _download(COSMOS_URL + name)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != COSMOS_SHA256[name]:
        raise _wrong(COSMOS_URL + name, f"has the checksum {digest}, expected {COSMOS_SHA256[name]}")
    return path


def _download(url: str) -> str:
    try:
        return download_file(url, cache=True, pkgname="astro_massmap", show_progress=False)
    except OSError as error:
        raise OSError(f"{url.rpartition('/')[2]}: cannot be downloaded from {url} ({error})") from error


def _wrong(url: str, fault: str) -> OSError:
    """Remove a file from the cache, and return an error."""
    clear_download_cache(url, pkgname="astro_massmap")
    return OSError(f"{url.rpartition('/')[2]}: the downloaded file {fault}")
