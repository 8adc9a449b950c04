"""Would a cluster have been seen here? Halos are put in front of the galaxies, and searched for like real ones."""

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from regions import CircleSkyRegion
from scipy.ndimage import distance_transform_edt

from ._geometry import pixel_scale as scale_of, to_angle
from ._progress import progress_bar
from .methods import resolve
from .simulation import NFWHalo, inject_halo

__all__ = ["completeness", "random_centers"]


def random_centers(mask, wcs, n, separation, *, seed=0):
    """
    Random places in a field, each on a pixel with data, apart from each other and from the edge.

    Parameters
    ----------
    mask : ndarray of bool
        ``(ny, nx)``, True where there is no data.
    wcs : `~astropy.wcs.WCS`
        Of the grid.
    n : int
        Places.
    separation : `~astropy.units.Quantity`
        The least, of two of them; half of it is kept from the edge.
    seed : int
        Of the places.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`

    Raises
    ------
    ValueError
        If so many do not fit.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.completeness import random_centers
    >>> shear = datasets.demo().to_map()
    >>> len(random_centers(shear.mask, shear.wcs, 5, 8 * u.arcmin))
    5
    """
    side, _ = scale_of(wcs, mask.shape)
    pixels = float(to_angle(separation, "separation") / side)
    free = ~mask
    inside = np.zeros(mask.shape, dtype=bool)
    edge = int(np.ceil(pixels / 2))
    inside[edge : mask.shape[0] - edge, edge : mask.shape[1] - edge] = True
    free &= inside
    rng, places = np.random.default_rng(seed), []
    while free.any() and len(places) < n:
        y, x = rng.choice(np.argwhere(free))
        places.append((x, y))
        taken = np.ones(mask.shape, dtype=bool)
        taken[y, x] = False
        free &= distance_transform_edt(taken) >= pixels
    if len(places) < n:
        raise ValueError(f"n, separation: only {len(places)} places that far apart were found in the field, not {n}")
    return wcs.pixel_to_world(*np.transpose(places))


def completeness(
    catalog,
    masses,
    redshift,
    centers,
    *,
    method,
    threshold,
    radius,
    z_source=None,
    probability=0.5,
    background=None,
    concentration=None,
    cosmology=None,
    wcs=None,
    shape=None,
    pixel_scale=None,
    progress=False,
):
    """
    Share of injected halos that are detected, by mass.

    For each mass, halos are put at all centres of the survey at once, which is then mapped once. A halo is detected
    if the mean convergence of its aperture exceeds the threshold with at least some probability. The first row, of
    mass zero, tells how often these apertures are detected without a halo.

    Parameters
    ----------
    catalog : ShearCatalog
        The survey.
    masses : `~astropy.units.Quantity`
        M200c of the halos.
    redshift : float
        Theirs.
    centers : `~astropy.coordinates.SkyCoord`
        Where they are put, at least four radii apart; see `random_centers`.
    method : str or method object
        How the survey is mapped; it has to draw samples.
    threshold : float
        Of the mean convergence of an aperture.
    radius : `~astropy.units.Quantity`
        Of the apertures.
    z_source : float, optional
        Redshift of all galaxies; by default each has its own.
    probability : float
        From which on a halo counts as detected.
    background : `~astropy.units.Quantity`, optional
        Radii of a ring whose mean is subtracted, as for `ConvergenceMap.detection_probability`.
    concentration, cosmology
        Of `~astro_massmap.simulation.NFWHalo`.
    wcs, shape, pixel_scale
        The grid, as for `ShearCatalog.to_map`.
    progress : bool
        Show a bar.

    Returns
    -------
    `~astropy.table.QTable`
        ``mass``, ``completeness``, ``error`` (of a share of so many halos, ``sqrt(c (1 - c) / n)`` with one success
        and one failure added, which is never zero) and ``mean_probability``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    radius = to_angle(radius, "radius")
    if not isinstance(centers, SkyCoord) or centers.ndim != 1 or not len(centers):
        raise TypeError("centers: needs a SkyCoord of one dimension")
    if len(centers) > 1:
        nearest = centers.match_to_catalog_sky(centers, nthneighbor=2)[1].min()
        if nearest < 4 * radius:
            raise ValueError(
                f"centers: need to be four radii apart, two are {nearest.to(radius.unit):.3g} from another"
            )
    halos = [NFWHalo(m, redshift, concentration, cosmology) for m in np.atleast_1d(masses)]
    method = resolve(method, {})
    shear = catalog.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale)
    apertures = [CircleSkyRegion(c, radius) for c in centers]
    found = []
    with progress_bar(total=len(halos) + 1, desc="masses", disable=not progress) as bar:
        for halo in (None, *halos):
            survey = catalog if halo is None else inject_halo(catalog, halo, centers, z_source=z_source)
            kappa = survey.reconstruct(method, wcs=shear.wcs, shape=shear.shape, progress=False)
            found.append(kappa.detection_probability(apertures, threshold, background)["probability"])
            bar.update()
    found, n = np.array(found), len(centers)
    share = (found >= probability).mean(axis=1)
    smoothed = (share * n + 1) / (n + 2)
    mass = np.concatenate([[0], [h.mass.to_value(masses.unit) for h in halos]]) * masses.unit
    table = QTable({"mass": mass, "completeness": share, "error": np.sqrt(smoothed * (1 - smoothed) / (n + 2))})
    table["mean_probability"] = found.mean(axis=1)
    table.meta |= {"redshift": redshift, "threshold": threshold, "radius": radius, "n": n, "probability": probability}
    return table
