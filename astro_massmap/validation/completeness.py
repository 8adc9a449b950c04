"""
Would a cluster of this mass have been seen here?

Halos are put in front of the galaxies of a survey at places that are far from each other; the survey is mapped as it
would have been; and in each place the question of a detection is asked. The noise, the holes and all true structure
of the survey stay as they are, so that the answer is about this survey, at these places.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion

from .._io.quantities import bools
from .._sky.geometry import celestial_wcs, to_angle
from .._utils.checks import check_integer
from .._utils.progress import progress_bar
from ..analysis.detection import detection_probability
from ..analysis.quantiles import probability_interval
from ..maps.catalog import ShearCatalog
from ..methods import resolve
from ..simulation import NFWHalo, inject_halo
from ..theory.source_redshifts import is_listed, read_n_z

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from astropy.wcs import WCS

    from .._utils.typing import Background, Bools, RedshiftsLike, Shape
    from ..methods import Method

__all__ = ["completeness", "random_centers"]

_LEVEL = 0.68269  # of the interval of the completeness
_APART = 4  # radii between halos, at least
_ROUNDING = 1e-9


def completeness(
    catalog: ShearCatalog,
    masses: u.Quantity,
    redshift: float,
    centers: SkyCoord,
    *,
    method: str | Method,
    threshold: float,
    radius: u.Quantity,
    z_source: RedshiftsLike | None = None,
    probability: float = 0.5,
    wcs: WCS | None = None,
    shape: Shape | None = None,
    pixel_scale: u.Quantity | None = None,
    background: Background | None = None,
    concentration: float | None = None,
    cosmology: FLRW | None = None,
    progress: bool = False,
) -> QTable:
    """
    Share of injected halos that are detected, by mass.

    For each mass there is one reconstruction, with a halo at each centre. A halo is detected if, with the probability
    of ``probability`` or more, the mean convergence of an aperture around it exceeds the threshold. The method has
    the same random numbers each time, so that masses differ by their halos alone.

    Parameters
    ----------
    catalog : ShearCatalog
        The survey.
    masses : `~astropy.units.Quantity`
        M200c of the halos, ``(n,)`` or one.
    redshift : float
        Of all halos.
    centers : `~astropy.coordinates.SkyCoord`
        Where they are put, at least four radii apart; `random_centers` finds some.
    method : str or method object
        As for `~astro_massmap.ShearMap.reconstruct`; it has to draw samples.
    threshold : float
        Of the mean convergence of an aperture.
    radius : `~astropy.units.Quantity`
        Of the apertures.
    z_source : float, pair of array-like, table, file, SACC object or ShearCatalog, optional
        Redshift of all galaxies, or their distribution n(z), as for `~astro_massmap.simulation.inject_halo`; by
        default they have their own.
    probability : float
        From which on a halo is detected, between 0 and 1.
    wcs, shape, pixel_scale
        The grid, as for `~astro_massmap.ShearCatalog.to_map`.
    background : regions or `~astropy.units.Quantity`, optional
        Whose mean is subtracted, as for ``ConvergenceMap.detection_probability``.
    concentration, cosmology
        Of the halos, as for `~astro_massmap.simulation.NFWHalo`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``mass``, ``completeness``, its Wilson interval of 68.3 % ``lower`` to ``upper`` and half of its width
        ``error``, and ``mean_probability`` over the centres. The first row, of mass zero, is the survey as it is:
        how often these apertures are detected without a halo.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, centres are too close or outside of the field, or the method draws no
        samples.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import Wiener, datasets
    >>> from astro_massmap.validation.completeness import completeness, random_centers
    >>> survey, radius = datasets.demo(), 2 * u.arcmin
    >>> shear = survey.to_map(pixel_scale=1 * u.arcmin)
    >>> centers = random_centers(shear.mask, shear.wcs, 8, 4 * radius, seed=1)
    >>> table = completeness(survey, [5e13, 3e15] * u.Msun, 0.3, centers, method=Wiener(n_samples=16),
    ...                      threshold=0.03, radius=radius, z_source=1.0, wcs=shear.wcs)
    >>> table["mass"], table["completeness"][-1]
    (<Quantity [0.e+00, 5.e+13, 3.e+15] solMass>, np.float64(1.0))
    """
    if not isinstance(catalog, ShearCatalog):
        raise TypeError(f"catalog: needs a ShearCatalog, got {type(catalog).__name__}")
    method, radius = resolve(method), to_angle(radius, "radius")
    if not 0 < probability <= 1:
        raise ValueError(f"probability: needs to be between 0 and 1, got {probability!r}")
    centers = _far_apart(centers, radius)
    masses = np.atleast_1d(u.Quantity(masses))  # type: ignore[assignment]  # it is a Quantity
    halos = [NFWHalo(m, redshift, concentration, cosmology) for m in masses]
    if z_source is not None and not is_listed(z_source):
        z_source = read_n_z(z_source, "z_source")
    shear = catalog.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale)
    apertures = [CircleSkyRegion(c, radius) for c in centers]

    def ask(halo):
        survey = catalog if halo is None else inject_halo(catalog, halo, centers, z_source=z_source)
        with warnings.catch_warnings():  # halos are put there: of course the field is unlike the prior
            for message in ("the power of the data", "the residuals of the samples", "prior: the samples have"):
                warnings.filterwarnings("ignore", message, AstropyUserWarning)
            kappa = survey.reconstruct(method, wcs=shear.wcs, shape=shear.shape, progress=False)
        if kappa.samples is None:
            raise ValueError(f"method: needs one that draws samples, such as Wiener(n_samples=16), got {method!r}")
        maps = kappa.data, kappa.samples, kappa.wcs, kappa.mask  # the bias of the prior is part of what is measured
        return np.asarray(detection_probability(*maps, apertures, threshold, background)["probability"])

    found = []
    with progress_bar(total=len(halos) + 1, desc="completeness", disable=not progress) as bar:
        for halo in (*halos, None):  # a mistake in what halos need is told at once
            found.append(ask(halo))
            _check_inside(found[-1])
            bar.update()
    settings = {"redshift": redshift, "threshold": threshold, "radius": radius, "probability": probability}
    meta = {**settings, "n_centers": len(centers)}
    return _table(np.concatenate([[0] * masses.unit, masses]), np.array([found[-1], *found[:-1]]), probability, meta)


def _check_inside(found):
    outside = int(np.isnan(found).sum())
    if outside:
        raise ValueError(f"centers: {outside} of {len(found)} lie outside of the field")


def _table(masses, found, probability, meta):
    """From the probability of a detection ``(n_masses, n_centers)``."""
    detected, n = (found >= probability).sum(axis=1), found.shape[1]
    lower, upper = probability_interval(detected, n, _LEVEL)
    table = QTable({"mass": masses, "completeness": detected / n, "error": (upper - lower) / 2})
    table["lower"], table["upper"] = lower, upper
    table["mean_probability"] = found.mean(axis=1)
    table.meta |= meta
    return table


def _far_apart(centers, radius):
    if not isinstance(centers, SkyCoord) or centers.size == 0:
        raise TypeError(f"centers: needs a SkyCoord of one position or more, got {centers!r}")
    centers = centers.reshape(-1)
    if len(centers) > 1:
        nearest = centers.match_to_catalog_sky(centers, nthneighbor=2)[1].min()
        if nearest < _APART * radius * (1 - _ROUNDING):
            raise ValueError(
                f"centers: need to be {_APART} radii apart, {_APART * radius:.3g}, so that halos do not count for "
                f"each other; two are {nearest.to(radius.unit):.3g} apart"
            )
    return centers


def random_centers(mask: Bools, wcs: WCS, n: int, separation: u.Quantity, seed: int = 0) -> SkyCoord:
    """
    Random places in a field that are far from each other.

    Parameters
    ----------
    mask : ndarray of bool
        ``(ny, nx)``, True where there is no data. Places lie on pixels with data.
    wcs : `~astropy.wcs.WCS`
        Of the grid.
    n : int
        How many.
    separation : `~astropy.units.Quantity`
        The least of any two. From the edges of the grid they keep half of it.
    seed : int
        Of the random numbers.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`
        ``(n,)``.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, or so many places were not found.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.completeness import random_centers
    >>> shear = datasets.demo().to_map()
    >>> places = random_centers(shear.mask, shear.wcs, 10, 8 * u.arcmin, seed=1)
    >>> bool(places[1:].separation(places[0]).min() >= 8 * u.arcmin)
    True
    """
    check_integer(n, "n", 1)
    check_integer(seed, "seed", 0)
    separation = to_angle(separation, "separation").to_value(u.rad)
    if np.ndim(mask) != 2:
        raise ValueError(f"mask: needs a bool array (ny, nx), got {np.ndim(mask)} dimensions")
    mask = bools(mask, np.shape(mask))
    wcs, _ = celestial_wcs(wcs, mask.shape)
    rng = np.random.default_rng(seed)
    pixels = rng.permutation(np.argwhere(~mask))
    places = _on_sky((pixels + rng.uniform(-0.5, 0.5, pixels.shape)).T, wcs, mask.shape, separation / 2)
    picked = _greedy(places.cartesian.xyz.value, n, 2 * np.sin(separation / 2) * (1 + _ROUNDING))
    if len(picked) < n:
        raise ValueError(
            f"n, separation: only {len(picked)} places {separation * u.rad.to(u.arcmin):.3g} arcmin apart were "
            f"found, not {n}; ask for fewer, or closer ones"
        )
    return places[picked]


def _on_sky(yx, wcs, shape, margin):
    """The positions of pixels that are farther than ``margin`` (radians) from the edges of the grid."""
    y, x = yx
    middle = wcs.pixel_to_world((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    beside = wcs.pixel_to_world((shape[1] + 1) / 2, (shape[0] - 1) / 2)
    border = margin / middle.separation(beside).rad - 0.5
    inside = (np.minimum(x, shape[1] - 1 - x) > border) & (np.minimum(y, shape[0] - 1 - y) > border)
    return wcs.pixel_to_world(x[inside], y[inside])


def _greedy(xyz, n, chord):
    """Numbers of the first points ``(3, m)``, up to n of them, that keep a distance from those before."""
    free, picked = np.arange(xyz.shape[1]), []
    while len(free) and len(picked) < n:
        picked.append(free[0])
        free = free[np.linalg.norm(xyz[:, free] - xyz[:, free[:1]], axis=0) >= chord]
    return picked
