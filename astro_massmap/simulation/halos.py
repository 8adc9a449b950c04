"""
Lensing by halos of the profile of Navarro, Frenk & White (1997).

The formulas of the projected profile are in `astro_massmap.theory.nfw`. The profile is not truncated at r200.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..theory.nfw import mass_in_units, mean_concentration, mean_profile, profile

if TYPE_CHECKING:
    import astropy.units as u
    from astropy.cosmology import FLRW
    from numpy.typing import NDArray

    from .._utils.typing import RedshiftsLike

_SMALLEST = 1e-6  # scale radii


@dataclass(frozen=True)
class NFWHalo:
    """
    Dark matter halo with an NFW profile.

    Parameters
    ----------
    mass : `~astropy.units.Quantity`
        M200c, the mass within the radius in which the mean density is 200 times the critical density.
    redshift : float
        Redshift of the halo.
    concentration : float, optional
        r200 divided by the scale radius; by default the mean of Duffy et al. (2008), all halos:
        ``5.71 (M / (2e12 Msun / h))^-0.084 (1 + z)^-0.47``.
    cosmology : `~astropy.cosmology.FLRW`, optional
        Cosmology of the distances; by default the default cosmology of astropy.

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
    >>> theta = [1, 3] * u.arcmin
    >>> print(halo.convergence(theta, z_source=1.0).round(3), halo.shear(theta, z_source=1.0).round(3))
    [0.119 0.031] [0.072 0.038]
    >>> print(halo.surface_density(theta).round(-6))
    [3.36e+08 8.90e+07] solMass / kpc2
    """

    mass: u.Quantity
    redshift: float
    concentration: float | Any = None  # None is replaced by that of Duffy et al.
    cosmology: FLRW | Any = field(default=None, repr=False, hash=False)

    def __post_init__(self) -> None:
        from ..theory.cosmology import checked_cosmology, redshift  # loads astropy

        mass, cosmology = _mass(self.mass), checked_cosmology(self.cosmology)
        z = float(redshift(self.redshift, "redshift"))
        mean = mean_concentration(mass.to_value("Msun"), z, float(cosmology.h))
        concentration = float(mean if self.concentration is None else self.concentration)
        if not 0 < concentration < np.inf:
            raise ValueError(f"concentration: needs to be positive, got {self.concentration!r}")
        values = {"mass": mass, "redshift": z, "concentration": concentration, "cosmology": cosmology}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def r200(self) -> u.Quantity:
        """Radius within which the mean density is 200 times the critical density, in kpc."""
        density = 200 * self.cosmology.critical_density(self.redshift)
        return ((3 * self.mass / (4 * np.pi * density)) ** (1 / 3)).to("kpc")

    @property
    def scale_radius(self) -> u.Quantity:
        """Scale radius ``r_s`` in kpc."""
        return self.r200 / self.concentration

    @property
    def angular_scale_radius(self) -> u.Quantity:
        """Angular scale radius in arcmin."""
        import astropy.units as u

        distance = self.cosmology.angular_diameter_distance(self.redshift)  # type: ignore[type-var]
        return ((self.scale_radius / distance).to_value(u.one) * u.rad).to(u.arcmin)

    def surface_density(self, theta: u.Quantity) -> u.Quantity:
        """
        Return the projected density in Msun / kpc2 at the angles ``theta`` from the centre.

        Within 1e-6 scale radii, the value at 1e-6 is returned: the density diverges as log(1 / theta). TypeError or
        UnitsError if ``theta`` is not an angle.
        """
        return 2 * self._scale_density * profile(self._x(theta))

    def projected_mass(self, theta: u.Quantity) -> u.Quantity:
        """Return the mass in Msun within circles of the angular radii ``theta``, along the whole line of sight."""
        x = self._x(theta)
        return (4 * np.pi * self._scale_density * self.scale_radius**2 * x**2 * mean_profile(x)).to("Msun")

    def convergence(self, theta: u.Quantity, z_source: RedshiftsLike) -> NDArray[np.float64]:
        """
        Return the convergence.

        Parameters
        ----------
        theta : `~astropy.units.Quantity`
            Angles from the centre.
        z_source
            Redshift of all sources or one for each angle; sources in front of the halo are not lensed. Or n(z), for
            the mean over the sources, as for `~astro_massmap.analysis.mass.critical_surface_density`.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If ``theta`` is not an angle, or a redshift is not positive.
        """
        return 2 * self._scale_convergence(z_source) * profile(self._x(theta))

    def shear(self, theta: u.Quantity, z_source: RedshiftsLike) -> NDArray[np.float64]:
        """Return the tangential shear; arguments as for `convergence`."""
        x = self._x(theta)
        return self._scale_convergence(z_source) * (4 * mean_profile(x) - 2 * profile(x))

    @property
    def _scale_density(self):
        """``rho_s r_s``."""
        return (self.mass / (4 * np.pi * self.scale_radius**2 * mass_in_units(self.concentration))).to("Msun / kpc2")

    def _scale_convergence(self, z_source):
        """Return ``kappa_s`` for each source."""
        import astropy.units as u
        from astropy.constants import G, c

        from ..analysis.mass import lensing_efficiency  # loads astropy

        distance = self.cosmology.angular_diameter_distance(self.redshift)
        strongest = (self._scale_density * 4 * np.pi * G * distance / c**2).to_value(u.one)
        return strongest * lensing_efficiency(self.redshift, z_source, self.cosmology)

    def _x(self, theta):
        import astropy.units as u

        from .._io.quantities import floats  # loads astropy

        x = floats(theta, "theta", unit=u.arcmin) / self.angular_scale_radius.to_value(u.arcmin)
        return np.maximum(np.abs(x), _SMALLEST)


def _mass(mass):
    import astropy.units as u

    unit = getattr(mass, "unit", None)
    if unit is None or not unit.is_equivalent(u.Msun):
        raise u.UnitsError(f"mass: needs a mass such as 5e14 * u.Msun, got {mass!r}")
    mass = u.Quantity(mass, dtype=float).to(u.Msun)
    if not (mass.isscalar and 0 < mass.value < np.inf):
        raise ValueError(f"mass: needs one positive mass, got {mass}")
    return mass
