"""
Halos of dark matter (Navarro, Frenk & White 1997), and surveys and maps with more of them than there are.

With ``x`` the distance from the centre in scale radii ``r_s = r200 / c`` and ``kappa_s = rho_s r_s / Sigma_crit``, the
convergence and its mean within x are (Bartelmann 1996; Wright & Brainerd 2000)

    kappa(x) = 2 kappa_s (1 - A) / (x^2 - 1),    kbar(x) = 4 kappa_s (ln(x / 2) + A) / x^2,
    A = arccosh(1 / x) / (1 - x^2)^1/2  where x < 1,    A = arccos(1 / x) / (x^2 - 1)^1/2  where x > 1,

and the tangential shear is ``gamma_t = kbar - kappa``. The halo does not end at r200. Both forms are rearranged where
they would lose digits: around x = 1 and at small x.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .mock_survey import lensed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import astropy.units as u
    from astropy.coordinates import SkyCoord
    from astropy.cosmology import FLRW
    from numpy.typing import ArrayLike, NDArray

    from ..catalog import ShearCatalog
    from ..convergence_map import ConvergenceMap

_Target = TypeVar("_Target", "ShearCatalog", "ConvergenceMap")
_SMALLEST = 1e-6  # scale radii
_NEAR = 8  # pixels around a centre within which the convergence is averaged over
_SUBPIXELS = 16  # on a side
# sum of w^k (1 / (2k + 1) + 1 / (2k + 3)), with w = (1 - x) / (1 + x), and of w^k / (2k + 1)
_SERIES_F, _SERIES_A = ([1 / (2 * k + 1) + more / (2 * k + 3) for k in range(11)] for more in (1, 0))
_NEAR_ONE = 0.05  # of w; the series are right to 1e-14


@dataclass(frozen=True)
class NFWHalo:
    """
    A halo of dark matter.

    Parameters
    ----------
    mass : `~astropy.units.Quantity`
        M200c: that within the radius in which the mean density is 200 times the critical one.
    redshift : float
        Of the halo.
    concentration : float, optional
        r200 over the scale radius; by default the mean of Duffy et al. (2008), all halos:
        ``5.71 (M / (2e12 Msun / h))^-0.084 (1 + z)^-0.47``.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default the one that astropy is set to.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.cosmology import FlatLambdaCDM
    >>> from astro_massmap.simulation import NFWHalo
    >>> halo = NFWHalo(5e14 * u.Msun, redshift=0.3, cosmology=FlatLambdaCDM(70, 0.3))
    >>> print(f"{halo.concentration:.2f}, {halo.r200:.0f}, {halo.angular_scale_radius:.2f}")
    3.27, 1478 kpc, 1.69 arcmin
    >>> print(halo.convergence([1, 3] * u.arcmin, z_source=1.0).round(3))
    [0.119 0.031]
    """

    mass: u.Quantity
    redshift: float
    concentration: float | Any = None  # which becomes that of Duffy et al.
    cosmology: FLRW | Any = field(default=None, repr=False, hash=False)

    def __post_init__(self) -> None:
        from ..mass import checked_cosmology, redshift

        mass, cosmology = _mass(self.mass), checked_cosmology(self.cosmology)
        z = redshift(self.redshift, "redshift")
        concentration = _duffy(mass, z, cosmology) if self.concentration is None else float(self.concentration)
        if not 0 < concentration < np.inf:
            raise ValueError(f"concentration: needs to be positive, got {self.concentration!r}")
        values = {"mass": mass, "redshift": z, "concentration": concentration, "cosmology": cosmology}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def r200(self) -> u.Quantity:
        """Radius in which the mean density is 200 times the critical one, in kpc."""
        density = 200 * self.cosmology.critical_density(self.redshift)
        return ((3 * self.mass / (4 * np.pi * density)) ** (1 / 3)).to("kpc")

    @property
    def scale_radius(self) -> u.Quantity:
        """The radius ``r_s``, in kpc."""
        return self.r200 / self.concentration

    @property
    def angular_scale_radius(self) -> u.Quantity:
        """The scale radius on the sky, in arcmin."""
        import astropy.units as u

        distance = self.cosmology.angular_diameter_distance(self.redshift)  # type: ignore[type-var]
        return ((self.scale_radius / distance).to_value(u.one) * u.rad).to(u.arcmin)

    def surface_density(self, theta: u.Quantity) -> u.Quantity:
        """
        Projected density.

        Parameters
        ----------
        theta : `~astropy.units.Quantity`
            Angles from the centre.

        Returns
        -------
        `~astropy.units.Quantity`
            In Msun / kpc2. It grows like the logarithm of 1 / theta towards the centre; within 1e-6 scale radii, it
            is what it is there.

        Raises
        ------
        TypeError, `~astropy.units.UnitsError`
            If ``theta`` is no angle.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap.simulation import NFWHalo
        >>> halo = NFWHalo(5e14 * u.Msun, redshift=0.3, cosmology=FlatLambdaCDM(70, 0.3))
        >>> print(halo.surface_density([1, 3] * u.arcmin).round(-6))
        [3.36e+08 8.90e+07] solMass / kpc2
        """
        return 2 * self._scale_density * _profile(self._x(theta))

    def projected_mass(self, theta: u.Quantity) -> u.Quantity:
        """
        Mass within circles on the sky, all along the line of sight.

        Parameters
        ----------
        theta : `~astropy.units.Quantity`
            Their angular radii.

        Returns
        -------
        `~astropy.units.Quantity`
            In Msun.

        Raises
        ------
        TypeError, `~astropy.units.UnitsError`
            If ``theta`` is no angle.

        Examples
        --------
        In front of and behind the sphere of r200 there is mass too:

        >>> import astropy.units as u
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap.simulation import NFWHalo
        >>> halo = NFWHalo(5e14 * u.Msun, redshift=0.3, cosmology=FlatLambdaCDM(70, 0.3))
        >>> theta = halo.concentration * halo.angular_scale_radius
        >>> print(f"{halo.projected_mass(theta) / halo.mass:.2f}")
        1.31
        """
        x = self._x(theta)
        return (4 * np.pi * self._scale_density * self.scale_radius**2 * x**2 * _mean_profile(x)).to("Msun")

    def convergence(self, theta: u.Quantity, z_source: ArrayLike) -> NDArray[np.float64]:
        """
        Convergence.

        Parameters
        ----------
        theta : `~astropy.units.Quantity`
            Angles from the centre.
        z_source : float or array-like
            Redshift of the sources, or of the one at each angle; those in front of the halo see nothing.

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If ``theta`` is no angle, or a redshift is not positive.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap.simulation import NFWHalo
        >>> halo = NFWHalo(5e14 * u.Msun, redshift=0.3, cosmology=FlatLambdaCDM(70, 0.3))
        >>> print(halo.convergence(1 * u.arcmin, z_source=[0.2, 0.6, 1.0]).round(3))
        [0.    0.085 0.119]
        """
        return 2 * self._scale_convergence(z_source) * _profile(self._x(theta))

    def shear(self, theta: u.Quantity, z_source: ArrayLike) -> NDArray[np.float64]:
        """
        Tangential shear.

        Parameters
        ----------
        theta, z_source
            As for `convergence`.

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If ``theta`` is no angle, or a redshift is not positive.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap.simulation import NFWHalo
        >>> halo = NFWHalo(5e14 * u.Msun, redshift=0.3, cosmology=FlatLambdaCDM(70, 0.3))
        >>> print(halo.shear([1, 3] * u.arcmin, z_source=1.0).round(3))
        [0.072 0.038]
        """
        x = self._x(theta)
        return self._scale_convergence(z_source) * (4 * _mean_profile(x) - 2 * _profile(x))

    @property
    def _scale_density(self):
        """``rho_s r_s``."""
        c = self.concentration
        return (self.mass / (4 * np.pi * self.scale_radius**2 * (np.log1p(c) - c / (1 + c)))).to("Msun / kpc2")

    def _scale_convergence(self, z_source):
        """``kappa_s`` for each source."""
        import astropy.units as u
        from astropy.constants import G, c

        from ..mass import lensing_efficiency

        distance = self.cosmology.angular_diameter_distance(self.redshift)
        strongest = (self._scale_density * 4 * np.pi * G * distance / c**2).to_value(u.one)
        return strongest * lensing_efficiency(self.redshift, z_source, self.cosmology)

    def _x(self, theta):
        import astropy.units as u

        from .._input import floats

        x = floats(theta, "theta", unit=u.arcmin) / self.angular_scale_radius.to_value(u.arcmin)
        return np.maximum(np.abs(x), _SMALLEST)


def _mass(mass):
    """``mass`` as a scalar Quantity in Msun."""
    import astropy.units as u

    unit = getattr(mass, "unit", None)
    if unit is None or not unit.is_equivalent(u.Msun):
        raise u.UnitsError(f"mass: needs a mass such as 5e14 * u.Msun, got {mass!r}")
    mass = u.Quantity(mass, dtype=float).to(u.Msun)
    if not (mass.isscalar and 0 < mass.value < np.inf):
        raise ValueError(f"mass: needs one positive mass, got {mass}")
    return mass


def _duffy(mass, z, cosmology):
    """Mean concentration of the halos of a mass and redshift (Duffy et al. 2008, table 1)."""
    return 5.71 * (mass.to_value("Msun") * cosmology.h / 2e12) ** -0.084 * (1 + z) ** -0.47


def _profile(x):
    """``(1 - A) / (x^2 - 1)``."""
    w = (1 - x) / (1 + x)
    square = np.where(np.abs(w) < _NEAR_ONE, 2.0, (x - 1) * (x + 1))
    near = (1 + w) ** 2 / 4 * np.polynomial.polynomial.polyval(w, _SERIES_F)
    return np.where(np.abs(w) < _NEAR_ONE, near, (1 - _arc(x)) / square)


def _mean_profile(x):
    """``(ln(x / 2) + A) / x^2``."""
    inner = np.minimum(x, 0.5)
    root = np.sqrt(1 - inner**2)
    small = np.log(2 / inner) / (1 + root) + np.log1p(-(inner**2) / (2 * (1 + root))) / inner**2
    return np.where(x < 0.5, small / root, (np.log(x / 2) + _arc(x)) / x**2)


def _arc(x):
    """``A``."""
    w = (1 - x) / (1 + x)
    near = (1 + w) * np.polynomial.polynomial.polyval(w, _SERIES_A)
    inner, outer = np.where(w > _NEAR_ONE, x, 0.5), np.where(w < -_NEAR_ONE, x, 2.0)
    root_in, root_out = np.sqrt(1 - inner**2), np.sqrt(outer**2 - 1)
    inside, outside = np.log((1 + root_in) / inner) / root_in, np.arctan(root_out) / root_out
    return np.where(w > _NEAR_ONE, inside, np.where(w < -_NEAR_ONE, outside, near))


# ---- halos where there are none


def inject_halo(
    target: _Target, halo: NFWHalo | Sequence[NFWHalo], center: SkyCoord, *, z_source: float | None = None
) -> _Target:
    """
    Put halos into a survey, or into a map.

    The galaxies of a catalogue are sheared by the halos on top of what has sheared them: the reduced shear of all
    halos together is composed with each ellipticity (Seitz & Schneider 1997). Their number and their positions stay,
    without magnification. To a map, and to each of its samples, the convergence is added, averaged over pixels: what
    a perfect measurement would add. Its uncertainty stays.

    Parameters
    ----------
    target : ShearCatalog or ConvergenceMap
        Where to.
    halo : NFWHalo or sequence of NFWHalo
        One for all centres, or one for each.
    center : `~astropy.coordinates.SkyCoord`
        One position or several.
    z_source : float, optional
        Redshift of all sources. By default the galaxies of a catalogue have their own; those in front of a halo do
        not feel it. A map needs it.

    Returns
    -------
    ShearCatalog or ConvergenceMap
        A new one. Of a catalogue the additive bias is taken off, and ``meta["halos"]`` counts what was added.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, or redshifts of sources are not known.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap import datasets
    >>> from astro_massmap.simulation import NFWHalo, inject_halo
    >>> halo, center = NFWHalo(8e14 * u.Msun, redshift=0.3), SkyCoord(34.5, -5.0, unit="deg")
    >>> survey = inject_halo(datasets.demo(), halo, center, z_source=1.0)
    >>> survey, survey.meta["halos"]
    (<ShearCatalog: 65666 galaxies, axes 'west-north', shape noise 0.260>, 1)
    """
    from ..catalog import ShearCatalog
    from ..convergence_map import ConvergenceMap

    halos, centers = _pairs(halo, center)
    if z_source is not None:
        z_source = _behind(z_source, halos)
    if isinstance(target, ShearCatalog):
        return _into_catalog(target, halos, centers, z_source)
    if isinstance(target, ConvergenceMap):
        return _into_map(target, halos, centers, z_source)
    raise TypeError(f"target: needs a ShearCatalog or a ConvergenceMap, got {type(target).__name__}")


def _pairs(halo, center):
    """As many halos as centres."""
    from astropy.coordinates import SkyCoord

    if not isinstance(center, SkyCoord):
        raise TypeError(f"center: needs a SkyCoord, got {type(center).__name__}")
    centers = center.reshape(-1)
    if not (np.isfinite(centers.spherical.lon.deg) & np.isfinite(centers.spherical.lat.deg)).all():
        raise ValueError("center: needs finite positions")
    halos = [halo] * len(centers) if isinstance(halo, NFWHalo) else list(halo) if np.iterable(halo) else [halo]
    if not all(isinstance(h, NFWHalo) for h in halos):
        raise TypeError("halo: needs an NFWHalo or a sequence of them")
    if len(halos) != len(centers):
        raise ValueError(f"halo: needs one for all, or one for each of {len(centers)} centres, got {len(halos)}")
    return halos, centers


def _behind(z_source, halos):
    from ..mass import redshift

    z_source = redshift(z_source, "z_source")
    farthest = max((h.redshift for h in halos), default=0)
    if z_source <= farthest:
        raise ValueError(f"z_source: needs to be larger than the redshift {farthest:g} of a halo, got {z_source:g}")
    return z_source


def _into_catalog(catalog, halos, centers, z_source):
    z_source = _source_redshifts(catalog) if z_source is None else z_source
    gamma, kappa = np.zeros(len(catalog), dtype=complex), np.zeros(len(catalog))
    for halo, center in zip(halos, centers.transform_to(catalog.coords.frame), strict=True):
        theta = catalog.coords.separation(center)
        # An image is stretched across the line to the centre; at a position angle phi from North through East,
        # this line is at phi + 90 degrees from West, and -exp(2i (phi + 90 deg)) = exp(2i phi).
        phi = catalog.coords.position_angle(center).rad
        gamma += halo.shear(theta, z_source) * np.exp(2j * phi)
        kappa += halo.convergence(theta, z_source)
    bias = 0.0 if catalog.m_bias is None else catalog.m_bias
    new = catalog._with_shear(lensed(catalog._west_north, gamma, kappa, bias))
    new.meta["halos"] = catalog.meta.get("halos", 0) + len(halos)
    return new


def _source_redshifts(catalog):
    if catalog.redshift is None:
        raise ValueError("z_source: the catalogue has no redshifts of its own; give that of the sources")
    bad = ~((catalog.redshift > 0) & np.isfinite(catalog.redshift))
    if bad.any():
        raise ValueError(
            f"z_source: {int(bad.sum())} of {len(catalog)} galaxies have no positive redshift of their own; "
            "select the others, or give one for all"
        )
    return catalog.redshift


def _into_map(kappa, halos, centers, z_source):
    if z_source is None:
        raise ValueError("z_source: a map needs the redshift of the sources")
    kappa._need_convergence()
    added = np.zeros(kappa.shape)
    for halo, center in zip(halos, centers, strict=True):
        added += _pixel_means(halo, center, z_source, kappa.wcs, kappa.shape)
    return type(kappa)(
        (kappa.data + added).astype(kappa.data.dtype),
        wcs=kappa.wcs,
        uncertainty=kappa.uncertainty,
        mask=kappa.mask,
        samples=None if kappa.samples is None else kappa.samples + added.astype(kappa.samples.dtype),
        meta={**kappa.meta, "halos": kappa.meta.get("halos", 0) + len(halos)},
        diagnostics=kappa.diagnostics,
        b_mode=kappa.b_mode,
    )


def _pixel_means(halo, center, z_source, wcs, shape):
    """Convergence of a halo ``(ny, nx)``: means over the pixels near its centre, values at the middles of others."""
    x0, y0 = wcs.world_to_pixel(center)
    y, x = np.mgrid[: shape[0], : shape[1]]

    def at(x, y):
        theta = np.asarray(wcs.pixel_to_world(x, y).separation(center).arcmin)
        theta = np.where(np.isfinite(theta), theta, 180 * 60)  # off the projection, where there is no sky
        return halo.convergence(theta, z_source)

    result = at(x, y)
    near = np.hypot(x - x0, y - y0) < _NEAR
    step = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    if near.any():
        fine = at(*np.broadcast_arrays(x[near][:, None, None] + step, y[near][:, None, None] + step[:, None]))
        result[near] = fine.mean(axis=(1, 2))
    return result
