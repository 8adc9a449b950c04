"""
Completeness: the fraction of halos of a given mass that would be detected in a survey.

Halos are injected into the galaxies of a survey at positions far from each other, and the survey is mapped. Noise,
masks and true structure stay as they are, so that the completeness is that of this survey at these positions.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion

from .._io.quantities import bools
from .._io.result_tables import ResultTable, printed
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
    from astropy.table import QTable
    from astropy.wcs import WCS

    from .._utils.typing import Background, Bools, RedshiftsLike, Shape
    from ..methods import MethodLike

__all__ = ["completeness", "random_centers"]

_LEVEL = 0.68269  # level of the interval of the completeness
_APART = 4  # smallest separation of halos, in radii
_ROUNDING = 1e-9


def completeness(
    catalog: ShearCatalog,
    masses: u.Quantity,
    redshift: float,
    centers: SkyCoord,
    *,
    method: MethodLike,
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
    Compute the fraction of injected halos that are detected, by mass.

    For each mass there is one reconstruction, with a halo at each centre. A halo is detected if the mean convergence of
    an aperture around it exceeds the threshold with at least the given probability. The method uses the same random
    numbers each time, so that results of different masses differ only by their halos.

    Parameters
    ----------
    catalog : ShearCatalog
        Survey.
    masses, redshift
        M200c of the halos, ``(n,)`` or one, and the redshift of all halos.
    centers : `~astropy.coordinates.SkyCoord`
        Positions of the halos, at least four radii apart, for example from `random_centers`.
    method, progress
        Method that draws samples, and progress bar, as for `~astro_massmap.ShearMap.reconstruct`.
    threshold, radius
        Threshold in the mean convergence of an aperture, and radius of the apertures.
    z_source : float, pair of array-like, table, file, SACC object or ShearCatalog, optional
        Redshift of all galaxies, or their distribution n(z), as for `~astro_massmap.simulation.inject_halo`; by
        default the redshifts of the catalogue.
    probability : float
        Smallest probability of a detection, above 0 and at most 1.
    wcs, shape, pixel_scale
        Grid, see `~astro_massmap.ShearCatalog.to_map`.
    background : regions or `~astropy.units.Quantity`, optional
        Regions or annulus whose mean is subtracted, as for ``ConvergenceMap.detection_probability``.
    concentration, cosmology
        Concentration of the halos and cosmology, as for `~astro_massmap.simulation.NFWHalo`.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``mass``, ``completeness``, its Wilson interval of 68.3 % ``lower`` to ``upper``, half of its width
        ``error``, and ``mean_probability`` over the centres. The first row, of mass zero, is the survey without
        injected halos: the false-detection rate of these apertures.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, centres are too close or outside the field, or the method draws no
        samples.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import Wiener, datasets
    >>> from astro_massmap.validation.completeness import completeness, random_centers
    >>> shear = datasets.demo().to_map(pixel_scale=1 * u.arcmin)
    >>> centers = random_centers(shear.mask, shear.wcs, 8, 8 * u.arcmin, seed=1)
    >>> table = completeness(datasets.demo(), 3e15 * u.Msun, 0.3, centers, method=Wiener(n_samples=16), threshold=0.03,
    ...                      radius=2 * u.arcmin, z_source=1.0, wcs=shear.wcs)
    >>> print(table["completeness"][-1])
    1.0
    """
    if not isinstance(catalog, ShearCatalog):
        raise TypeError(f"catalog: needs a ShearCatalog, got {type(catalog).__name__}")
    method, radius = resolve(method), to_angle(radius, "radius")
    if not 0 < probability <= 1:
        raise ValueError(f"probability: needs to be between 0 and 1, got {probability!r}")
    centers = _far_apart(centers, radius)
    masses = np.atleast_1d(u.Quantity(masses))  # type: ignore[assignment]  # a Quantity
    halos = [NFWHalo(m, redshift, concentration, cosmology) for m in masses]
    if z_source is not None and not is_listed(z_source):
        z_source = read_n_z(z_source, "z_source")
    shear = catalog.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale)
    apertures = [CircleSkyRegion(c, radius) for c in centers]

    def probabilities(halo):
        survey = catalog if halo is None else inject_halo(catalog, halo, centers, z_source=z_source)
        with warnings.catch_warnings():  # expected: injected halos make the field unlike the prior
            expected = (
                "the power of the data",
                "the residuals of the samples",
                "prior: the samples have",
                "reduced_shear:",
            )
            for message in expected:
                warnings.filterwarnings("ignore", message, AstropyUserWarning)
            kappa = survey.reconstruct(method, wcs=shear.wcs, shape=shear.shape, progress=False)
        if kappa.samples is None:
            raise ValueError(f"method: needs one that draws samples, such as Wiener(n_samples=16), got {method!r}")
        # not the method, which warns about a Gaussian prior: the bias of the prior is part of the completeness
        maps = kappa.data, kappa.samples, kappa.wcs, kappa.mask
        return np.asarray(detection_probability(*maps, apertures, threshold, background)["probability"])

    found = []
    with progress_bar(total=len(halos) + 1, desc="completeness", disable=not progress) as bar:
        for halo in (*halos, None):  # halos first, so that invalid arguments fail before a reconstruction
            found.append(probabilities(halo))
            _check_inside(found[-1])
            bar.update()
    settings = {"redshift": redshift, "threshold": threshold, "radius": radius, "probability": probability}
    meta = {**settings, "n_centers": len(centers)}
    return _table(np.concatenate([[0] * masses.unit, masses]), np.array([found[-1], *found[:-1]]), probability, meta)


def _check_inside(found):
    outside = int(np.isnan(found).sum())
    if outside:
        raise ValueError(f"centers: need to lie in the field, {outside} of {len(found)} do not")


def _table(masses, found, probability, meta):
    detected, n = (found >= probability).sum(axis=1), found.shape[1]
    lower, upper = probability_interval(detected, n, _LEVEL)
    table = ResultTable({"mass": masses, "completeness": detected / n, "error": (upper - lower) / 2})
    table["lower"], table["upper"] = lower, upper
    table["mean_probability"] = found.mean(axis=1)
    table.meta |= meta
    return printed(table)


def _far_apart(centers, radius):
    if not isinstance(centers, SkyCoord) or centers.size == 0:
        raise TypeError(f"centers: needs a SkyCoord of one position or more, got {centers!r}")
    centers = centers.reshape(-1)
    if len(centers) > 1:
        nearest = centers.match_to_catalog_sky(centers, nthneighbor=2)[1].min()
        if nearest < _APART * radius * (1 - _ROUNDING):
            raise ValueError(
                f"centers: need to be {_APART} radii apart, {_APART * radius:.3g}, so that halos do not affect "
                f"each other; got two that are {nearest.to(radius.unit):.3g} apart"
            )
    return centers


def random_centers(mask: Bools, wcs: WCS, n: int, separation: u.Quantity, seed: int = 0) -> SkyCoord:
    """
    Draw random positions in a field that are far from each other.

    Parameters
    ----------
    mask, wcs
        Mask ``(ny, nx)``, True without data, where no positions lie, and coordinates of the grid.
    n, seed : int
        Number of positions (ValueError if fewer are found), and seed of the random numbers.
    separation : `~astropy.units.Quantity`
        Smallest separation of two positions, and twice their smallest distance from the edges of the grid.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`
        Positions, ``(n,)``.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.completeness import random_centers
    >>> shear = datasets.demo().to_map()
    >>> len(random_centers(shear.mask, shear.wcs, 10, 8 * u.arcmin, seed=1))
    10
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
    positions = _on_sky((pixels + rng.uniform(-0.5, 0.5, pixels.shape)).T, wcs, mask.shape, separation / 2)
    picked = _greedy(positions.cartesian.xyz.value, n, 2 * np.sin(separation / 2) * (1 + _ROUNDING))
    if len(picked) < n:
        raise ValueError(
            f"n, separation: need to fit into the field, but only {len(picked)} positions of {n} were found "
            f"{separation * u.rad.to(u.arcmin):.3g} arcmin apart; use a smaller n or separation"
        )
    return positions[picked]


def _on_sky(yx, wcs, shape, margin):
    """Return the positions of pixels farther than ``margin`` (radians) from the edges of the grid."""
    y, x = yx
    middle = wcs.pixel_to_world((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    beside = wcs.pixel_to_world((shape[1] + 1) / 2, (shape[0] - 1) / 2)
    border = margin / middle.separation(beside).rad - 0.5
    inside = (np.minimum(x, shape[1] - 1 - x) > border) & (np.minimum(y, shape[0] - 1 - y) > border)
    return wcs.pixel_to_world(x[inside], y[inside])


def _greedy(xyz, n, chord):
    """Return the indices of up to n of the points ``(3, m)``, each at least a chord from those before."""
    free, picked = np.arange(xyz.shape[1]), []
    while len(free) and len(picked) < n:
        picked.append(free[0])
        free = free[np.linalg.norm(xyz[:, free] - xyz[:, free[:1]], axis=0) >= chord]
    return picked
