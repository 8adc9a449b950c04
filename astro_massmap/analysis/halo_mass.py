"""
Masses of halos: aperture densitometry, and M200 by the fit of an NFW profile to each sample.

The profile of a map is its mean convergence in annuli minus that in an outer ring, so that a mass sheet cancels. The
model is averaged over the same pixels (:math:`w_{ap}`, the area of pixel p in annulus a), so that neither the size of
the pixels nor the edge of the field biases it. The fitted mass of a map minimises

    sum_a A_a (kappa_a - kappa_ring - model_a(M))^2

with the area A_a of each annulus as weight: the least-squares fit to pixels of equal weight. The weights do not depend
on the data, so that the fitted mass is a fixed function of the convergence. Samples of the convergence are therefore
converted to samples of this function, one for one.

What is fitted is all matter in front of the sources: structure along the line of sight is counted as mass of the halo,
and its scatter is added to the masses of the samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

from .._io.quantities import checked_level, floats
from .._io.result_tables import ResultTable, printed
from .._sky.geometry import local_scale
from .._utils.progress import warn
from ..theory.cosmology import checked_cosmology
from ..theory.nfw import mass_in_units, mean_concentration, mean_profile
from ..theory.source_redshifts import read_n_z
from ..theory.spectrum import PowerSpectrum
from .annuli import Annuli, checked_radii, checked_ring, structure_covariance
from .detection import region_statistics
from .mass import critical_densities, redshifts_of
from .region_means import add_interval, checked_maps, named_centers

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import Bools, Floats, RedshiftsLike, RegionsLike

__all__ = ["aperture_densitometry", "nfw_mass"]

_SOFT, _LARGEST = 1e13, 1e17  # Msun; the grid is uniform in arcsinh(M / _SOFT)
_GRID = 401


def aperture_densitometry(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    center: SkyCoord,
    radii: u.Quantity,
    background: u.Quantity,
    *,
    level: float = 0.68,
) -> QTable:
    """
    Measure the aperture densitometry zeta_c (Clowe et al. 1998), which a mass sheet does not change.

    ``zeta_c(r)`` is the mean convergence within r minus that in a fixed ring. In terms of shear it is the integral
    ``2 int_r^r2 gamma_t dln r + 2 / (1 - r2^2 / r3^2) int_r2^r3 gamma_t dln r`` for the ring from r2 to r3. The mass
    ``pi r^2 Sigma_crit zeta_c`` is a lower limit of the projected mass; `~astro_massmap.analysis.mass.projected_mass`
    of the circle with the same ``background`` returns it.

    Parameters
    ----------
    mean, samples, wcs, mask, level
        As for `~astro_massmap.analysis.detection.region_statistics`, also for errors.
    center : `~astropy.coordinates.SkyCoord`
        Centre of the circles.
    radii : `~astropy.units.Quantity`
        Radii of the circles.
    background : `~astropy.units.Quantity`
        Inner and outer radius of the ring; the inner one is not smaller than the largest circle.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``radius``, ``zeta_c``, ``std``, ``lower``, ``upper`` and ``data_fraction``, that of the circle.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.halo_mass import aperture_densitometry
    >>> truth = datasets.demo_truth()
    >>> samples, center = truth.data + np.linspace(-1, 1, 7)[:, None, None], truth.wcs.pixel_to_world(40, 87)
    >>> maps = truth.data, samples, truth.wcs, truth.mask
    >>> table = aperture_densitometry(*maps, center, [1, 2, 4] * u.arcmin, [4, 8] * u.arcmin)
    >>> print(table["zeta_c"].round(3), table["std"].round(3))
    [0.107 0.058 0.024] [0. 0. 0.]
    """
    if not isinstance(center, SkyCoord):
        raise TypeError(f"center: needs a SkyCoord, got {type(center).__name__}")
    center = center.reshape(-1)
    if len(center) != 1:
        raise ValueError(f"center: needs one position, got {len(center)}")
    radii, (low, high) = checked_radii(radii, "radii"), checked_ring(background)
    if radii[-1] > low * (1 + 1e-9):
        raise ValueError(f"background: needs a ring outside of the largest of radii, {radii[-1]:g}, got {low:g}")
    circles = [CircleSkyRegion(center[0], radius) for radius in radii]
    found = region_statistics(mean, samples, wcs, mask, circles, background=u.Quantity([low, high]), level=level)
    table = ResultTable({"radius": radii, "zeta_c": found["kappa"]})
    for name in ("std", "lower", "upper", "data_fraction"):
        table[name] = found[name]
    table.meta |= {"center": center[0], "background": found.meta["background"], "level": found.meta["level"]}
    return printed(table)


def nfw_mass(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    centers: SkyCoord | RegionsLike,
    z_lens: ArrayLike | str,
    z_source: RedshiftsLike,
    *,
    background: u.Quantity,
    radii: u.Quantity | None = None,
    concentration: float | None = None,
    scatter: float = 0.0,
    structure: bool | PowerSpectrum = True,
    seed: int = 0,
    cosmology: FLRW | None = None,
    weight: ArrayLike | None = None,
    level: float = 0.68,
) -> QTable:
    """
    Fit the mass M200c of an NFW halo to the radial profile of each sample.

    The profile is the mean convergence in annuli minus that in a ring, which cancels a mass sheet. Each annulus has its
    area as weight, so that the fitted mass is a fixed function of the convergence and each sample of the map gives one
    sample of the mass. A profile lower than the ring has a negative mass, as the halo of opposite sign, so that noise
    does not bias the mean of small masses.

    The posterior contains the noise of the shapes. Structure along the line of sight is a part of the convergence, and
    is counted as mass of the halo: the masses have its scatter, too, see the page on limits.

    Parameters
    ----------
    mean, samples, wcs, mask, level
        As for `~astro_massmap.analysis.detection.region_statistics`, also for errors.
    centers : `~astropy.coordinates.SkyCoord` or regions
        Centres of the halos, or regions (objects, table or file) with these centres and with names. The mass is too low
        if the centre is wrong by more than the inner annulus.
    z_lens : float, array-like or str
        Redshift of the halos, as for `~astro_massmap.analysis.mass.projected_mass`.
    z_source, cosmology, weight
        As for `~astro_massmap.analysis.mass.critical_surface_density`, also for errors. The cosmology converts radii in
        kpc or Mpc of a table, too.
    background : `~astropy.units.Quantity`
        Inner and outer radius of the ring. The model includes the mass of the halo in it.
    radii : `~astropy.units.Quantity`, optional
        Edges of the annuli, increasing; by default of six, equal in the logarithm, from two pixels to the inner radius
        of ``background``.
    concentration : float, optional
        r200 divided by the scale radius; by default the mean of Duffy et al. (2008) at each mass, as for
        `~astro_massmap.simulation.NFWHalo`.
    scatter : float
        Standard deviation of the natural logarithm of the concentration about this value. Each sample is then fitted
        with a concentration of its own, drawn from the lognormal distribution; that of simulated halos is 0.25 to 0.35.
    structure : bool or `~astro_massmap.PowerSpectrum`
        Spectrum of structure along the line of sight, by default of the sources in the default cosmology. The profile
        of a Gaussian field with this spectrum is subtracted from that of each sample, so that the masses have its
        scatter (Hoekstra 2003, MNRAS 339, 1155). These profiles have mean zero and, if there are more samples than
        annuli, exactly their covariance. Parts of annuli that are not on the map are not taken into account. False to
        fit the convergence alone.
    seed : int
        Seed of these concentrations and profiles.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region`` (for regions), ``center``, ``mass`` (mean of the samples, in Msun), ``std``, ``samples``
        (fitted masses ``(n_samples,)``), ``lower``, ``upper`` and ``data_fraction``, that of the circle of the largest
        radius. NaN for centres outside of the field, and, with a warning, for missing redshifts in a column.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, an annulus has no pixel on the map, or there are fewer than two samples. If
        a fit ends at 1e17 Msun, a warning.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astropy.cosmology import FlatLambdaCDM
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.halo_mass import nfw_mass
    >>> truth = datasets.demo_truth()
    >>> samples, center = truth.data * np.linspace(0.9, 1.1, 100)[:, None, None], truth.wcs.pixel_to_world(40, 87)
    >>> table = nfw_mass(truth.data, samples, truth.wcs, truth.mask, center, 0.3, 1.0,
    ...                  background=[4, 8] * u.arcmin, cosmology=FlatLambdaCDM(70, 0.3))
    >>> print(f"{table['mass'][0]:.2g}, {table['samples'].shape}")
    2.7e+14 solMass, (1, 100)
    """
    level, (_, samples, mask) = checked_level(level), checked_maps(mean, samples, mask, at_least=2)
    cosmology, ring = checked_cosmology(cosmology), checked_ring(background)
    table, clusters = named_centers(centers, wcs, cosmology)
    places, sources = table["center"], read_n_z(z_source, "z_source", weight=weight)
    names = table["region"] if "region" in table.colnames else [f"row {i}" for i in range(len(table))]
    z_lens = redshifts_of(z_lens, len(table), clusters)
    critical, ratio = critical_densities(z_lens, sources, cosmology, names), _positive(concentration)
    spread = floats(scatter, "scatter")
    if spread.ndim or not 0 <= spread < np.inf:
        raise ValueError(f"scatter: needs a number, zero or positive, got {spread}")
    factors = np.exp(spread * np.random.default_rng(seed).normal(size=(len(places), len(samples))))
    edges = None if radii is None else checked_radii(radii, "radii", at_least=2, zero=True)
    if edges is not None and edges[-1] > ring[0] * (1 + 1e-9):
        raise ValueError(f"background: needs a ring outside of the largest of radii, {edges[-1]:g}, got {ring[0]:g}")
    if structure is True:
        structure = PowerSpectrum.from_n_z(sources)
    random = np.random.default_rng([seed, 1])
    masses, data_fraction = np.full(factors.shape, np.nan), np.zeros(len(places))
    x, y, scale = (np.atleast_1d(a) for a in local_scale(places, wcs))
    ny, nx = mask.shape
    for i in np.flatnonzero((np.abs(x - (nx - 1) / 2) <= nx / 2) & (np.abs(y - (ny - 1) / 2) <= ny / 2)):
        annuli = Annuli(samples, mask, (x[i], y[i]), edges, ring, scale[i])
        data_fraction[i] = annuli.data_fraction
        if structure:
            covariance = structure_covariance(structure, annuli.edges, u.Quantity(ring).to_value(u.rad))
            annuli.profile -= _fields(covariance, len(samples), random)
        if np.isfinite(critical[i]):
            masses[i] = _fitted(annuli, _Halo(z_lens[i], critical[i], cosmology, ratio), factors[i])
    largest = int((np.abs(masses) > 0.97 * _LARGEST).sum())  # the last but one of the grid
    if largest:
        warn(f"samples: {largest} of {masses.size} fits end at the largest mass, {_LARGEST:g} Msun", 3)
    table["mass"] = masses.mean(axis=1) * u.Msun
    add_interval(table, masses.T * u.Msun, level)
    table.add_column(masses * u.Msun, name="samples", index=table.index_column("lower"))
    table["data_fraction"] = data_fraction
    relation = "Duffy et al. 2008" if concentration is None else concentration
    table.meta |= {"level": level, "n_samples": len(samples), "z_lens": z_lens.tolist(), "cosmology": cosmology.name}
    table.meta |= {"critical_surface_density": critical, "concentration": relation, "scatter": float(scatter)}
    table.meta["structure"] = str(getattr(structure, "name", structure))
    return printed(table)


class _Halo:
    """Model of the convergence in bins of the radius."""

    def __init__(self, z, critical, cosmology, concentration):
        self.critical, self.z, self.h, self.concentration = critical, z, cosmology.h, concentration
        self.density = cosmology.critical_density(z).to_value(u.Msun / u.kpc**3)
        self.distance = cosmology.angular_diameter_distance(z).to_value(u.kpc)

    def convergence(self, mass, radius, factor=1.0):
        """
        Return means of the convergence between the radii (radians), ``(n_masses, n_radii - 1)``.

        ``factor`` multiplies the concentration.
        """
        c = mean_concentration(mass, self.z, self.h) if self.concentration is None else self.concentration
        c = np.broadcast_to(factor * c, mass.shape)
        scale_radius = (3 * mass / (800 * np.pi * self.density)) ** (1 / 3) / c
        strength = mass / (np.pi * scale_radius**2 * mass_in_units(c)) / self.critical.to_value(u.Msun / u.kpc**2)
        x = np.maximum(radius * self.distance / scale_radius[:, None], 1e-6)
        within = x**2 * mean_profile(x)
        return strength[:, None] * np.diff(within, axis=1) / np.diff(x**2, axis=1)


def _fields(covariance, n, random):
    """Return n vectors of mean zero that have a covariance, exactly if there are more vectors than components."""
    draws = random.normal(size=(n, len(covariance)))
    draws -= draws.mean(axis=0)
    if n > len(covariance):
        draws = np.linalg.qr(draws)[0] * (n - 1) ** 0.5
    else:
        draws *= (n / (n - 1)) ** 0.5
    values, vectors = np.linalg.eigh(covariance)
    return draws @ (vectors * np.sqrt(values.clip(min=0))).T


def _fitted(annuli, halo, factors):
    """Return the fitted mass of each sample in Msun; ``factors`` multiply the concentration."""
    t = np.linspace(0, np.arcsinh(_LARGEST / _SOFT), _GRID)
    found = np.zeros(len(factors))
    for factor in np.unique(factors):
        these = factors == factor
        model = np.zeros((_GRID, len(annuli.area)))
        model[1:] = annuli.of(halo.convergence(_SOFT * np.sinh(t[1:]), annuli.radius, factor))
        model = np.concatenate([-model[:0:-1], model])
        square = (annuli.area * model**2).sum(axis=1) - 2 * (annuli.area * annuli.profile[these]) @ model.T
        best = square.argmin(axis=1).clip(1, len(model) - 2)
        before, here, after = (np.take_along_axis(square, best[:, None] + k, axis=1)[:, 0] for k in (-1, 0, 1))
        bend = before - 2 * here + after
        shift = np.divide(before - after, 2 * bend, out=np.zeros(len(best)), where=bend > 0)
        found[these] = _SOFT * np.sinh((best - (_GRID - 1) + shift.clip(-1, 1)) * t[1])
    return found


def _positive(concentration):
    if concentration is not None and not 0 < floats(concentration, "concentration") < np.inf:
        raise ValueError(f"concentration: needs a positive number, got {concentration!r}")
    return None if concentration is None else float(concentration)
