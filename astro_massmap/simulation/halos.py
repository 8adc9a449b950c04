"""
Halos of dark matter (Navarro, Frenk & White 1997), and surveys and maps with one more of them.

With x the distance from the centre over the scale radius, and ``kappa_s = rho_s r_s / Sigma_crit`` (Bartelmann 1996;
Wright & Brainerd 2000),

    kappa(x) = 2 kappa_s (1 - h) / (x^2 - 1),     mean kappa within x = 4 kappa_s (ln(x / 2) + h) / x^2,

where ``h = arccosh(1 / x) / sqrt(1 - x^2)`` inside of the scale radius and ``arccos(1 / x) / sqrt(x^2 - 1)`` outside.
The tangential shear is the difference of the second and the first.
"""

from dataclasses import dataclass

import numpy as np

from .mock_survey import lensed

_SUBPIXELS = 5  # on a side: a pixel holds the mean of the profile
_NEAR_ONE = 1e-3  # of x^2 - 1, where a series takes the place of 0 / 0


@dataclass(frozen=True)
class NFWHalo:
    """
    A halo of dark matter.

    Parameters
    ----------
    mass : `~astropy.units.Quantity`
        M200c: within the radius r200 where the mean density is 200 times the critical one.
    redshift : float
        Of the halo.
    concentration : float, optional
        r200 over the scale radius; by default that of Duffy et al. (2008), ``5.71 (M / 2e12 Msun / h)^-0.084
        (1 + z)^-0.47``.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default the one that astropy is set to.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap.simulation import NFWHalo
    >>> halo = NFWHalo(5e14 * u.Msun, redshift=0.3)
    >>> bool(halo.convergence(1 * u.arcmin, z_source=1.0) > halo.convergence(3 * u.arcmin, z_source=1.0) > 0)
    True
    """

    mass: object
    redshift: float
    concentration: float | None = None
    cosmology: object = None

    def __post_init__(self):
        import astropy.units as u
        from astropy.cosmology import default_cosmology

        if not getattr(self.mass, "unit", u.one).is_equivalent(u.Msun):
            raise u.UnitsError(f"mass: needs a unit such as Msun, got {self.mass!r}")
        if not (np.ndim(self.mass) == 0 and 0 < self.mass.value < np.inf):
            raise ValueError(f"mass: needs one positive mass, got {self.mass}")
        if not 0 < self.redshift < np.inf:
            raise ValueError(f"redshift: needs to be positive, got {self.redshift!r}")
        if self.concentration is not None and not self.concentration > 0:
            raise ValueError(f"concentration: needs to be positive, got {self.concentration!r}")
        if self.cosmology is None:
            object.__setattr__(self, "cosmology", default_cosmology.get())
        if self.concentration is None:
            pivot = 2e12 * u.Msun / self.cosmology.h
            c = 5.71 * (self.mass / pivot).to_value(u.one) ** -0.084 * (1 + self.redshift) ** -0.47
            object.__setattr__(self, "concentration", float(c))

    @property
    def r200(self):
        """Radius of 200 times the critical density, a `~astropy.units.Quantity`."""
        import astropy.units as u

        density = 200 * self.cosmology.critical_density(self.redshift)
        return ((3 * self.mass / (4 * np.pi * density)) ** (1 / 3)).to(u.Mpc)

    @property
    def scale_radius(self):
        """As seen on the sky, an angle."""
        import astropy.units as u

        ratio = self.r200 / self.concentration / self.cosmology.angular_diameter_distance(self.redshift)
        return (ratio.to_value(u.one) * u.rad).to(u.arcmin)

    def convergence(self, theta, z_source):
        """
        Convergence at some distances from the centre.

        Parameters
        ----------
        theta : `~astropy.units.Quantity`
            Angles, positive.
        z_source : float or array-like
            Redshift of the sources, or of the source at each of the angles; zero for those in front.

        Returns
        -------
        ndarray
        """
        return 2 * self._scale_convergence(z_source) * _profile(self._x(theta))

    def shear(self, theta, z_source):
        """Tangential shear at some distances from the centre; arguments as for `convergence`."""
        x = self._x(theta)
        mean = 2 * (np.log(x / 2) + _h(x)) / x**2
        return 2 * self._scale_convergence(z_source) * (mean - _profile(x))

    def _x(self, theta):
        import astropy.units as u

        return np.maximum((theta / self.scale_radius).to_value(u.one), 1e-6)

    def _scale_convergence(self, z_source):
        """``rho_s r_s / Sigma_crit`` for each source."""
        import astropy.constants as const
        import astropy.units as u

        from ..mass import lensing_efficiency

        c, r_s = self.concentration, self.r200 / self.concentration
        rho_s = self.mass / (4 * np.pi * r_s**3 * (np.log(1 + c) - c / (1 + c)))
        distance = self.cosmology.angular_diameter_distance(self.redshift)
        strongest = (rho_s * r_s * 4 * np.pi * const.G * distance / const.c**2).to_value(u.one)
        return strongest * lensing_efficiency(self.redshift, z_source, self.cosmology)


def inject_halo(target, halo, center, *, z_source=None):
    """
    A survey or a map with one more halo, or several.

    Parameters
    ----------
    target : ShearCatalog or ConvergenceMap
        Galaxies are sheared by the halo (reduced shear; Seitz & Schneider 1997) on top of all that has sheared them.
        To a map, and to its samples, the convergence is added, as if all halos were known.
    halo : NFWHalo or sequence of NFWHalo
        One for all centres, or one for each.
    center : `~astropy.coordinates.SkyCoord`
        Where: one position or several.
    z_source : float, optional
        Redshift of all galaxies; by default each galaxy of a catalogue has its own.

    Returns
    -------
    ShearCatalog or ConvergenceMap

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the redshift of the galaxies is not known.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap import datasets
    >>> from astro_massmap.simulation import NFWHalo, inject_halo
    >>> place = SkyCoord(34.5, -5.0, unit="deg")
    >>> more = inject_halo(datasets.demo_truth(), NFWHalo(5e14 * u.Msun, 0.3), place, z_source=1.0)
    >>> bool((more.data > datasets.demo_truth().data).all())
    True
    """
    from astropy.coordinates import SkyCoord

    from ..catalog import ShearCatalog

    if not isinstance(center, SkyCoord):
        raise TypeError(f"center: needs a SkyCoord, got {type(center).__name__}")
    centers = center.reshape(-1)
    halos = [halo] * len(centers) if isinstance(halo, NFWHalo) else list(halo)
    if not all(isinstance(h, NFWHalo) for h in halos):
        raise TypeError("halo: needs an NFWHalo, or a sequence of them")
    if len(halos) != len(centers):
        raise ValueError(f"halo: needs one for each of {len(centers)} centres, got {len(halos)}")
    if isinstance(target, ShearCatalog):
        return _into_catalog(target, halos, centers, z_source)
    if z_source is None:
        raise ValueError("z_source: a map needs the redshift of the sources")
    return _into_map(target, halos, centers, z_source)


def _into_catalog(catalog, halos, centers, z_source):
    if z_source is None and catalog.redshift is None:
        raise ValueError("z_source: the catalogue has no redshifts of its own; give that of the sources")
    z_source = catalog.redshift if z_source is None else z_source
    shear, convergence = np.zeros(len(catalog), dtype=complex), np.zeros(len(catalog))
    for halo, center in zip(halos, centers.transform_to(catalog.coords.frame), strict=True):
        theta = catalog.coords.separation(center)
        # from North through East, at the galaxy; the image is stretched across the line to the centre
        towards = catalog.coords.position_angle(center).rad
        shear -= halo.shear(theta, z_source) * np.exp(2j * (towards + np.pi / 2))
        convergence += halo.convergence(theta, z_source)
    bias = 0.0 if catalog.m_bias is None else catalog.m_bias
    return catalog._with_shear(lensed(catalog._west_north, shear, convergence, bias))


def _into_map(kappa, halos, centers, z_source):
    steps = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    y, x = (np.arange(n)[:, None] + steps for n in kappa.shape)
    added = np.zeros(kappa.shape)
    for halo, (cx, cy) in zip(halos, np.transpose(kappa.wcs.world_to_pixel(centers)), strict=True):
        theta = np.hypot(x.ravel() - cx, y.ravel()[:, None] - cy) * kappa.pixel_scale
        fine = halo.convergence(theta, z_source)
        added += fine.reshape(kappa.shape[0], _SUBPIXELS, kappa.shape[1], _SUBPIXELS).mean(axis=(1, 3))
    return type(kappa)(
        kappa.data + added,
        wcs=kappa.wcs,
        uncertainty=kappa.uncertainty,
        mask=kappa.mask,
        samples=None if kappa.samples is None else kappa.samples + added,
        meta=kappa.meta,
        diagnostics=kappa.diagnostics,
        b_mode=kappa.b_mode,
    )


def _h(x):
    t = np.where(np.abs(x**2 - 1) < _NEAR_ONE, 1.0, x**2 - 1)
    root = np.sqrt(np.abs(t))
    exact = np.where(t < 0, np.arccosh(1 / np.minimum(x, 1)), np.arctan(root)) / root
    near = x**2 - 1
    return np.where(np.abs(near) < _NEAR_ONE, 1 - near / 3 + near**2 / 5, exact)


def _profile(x):
    """``(1 - h) / (x^2 - 1)``."""
    t = x**2 - 1
    near = np.abs(t) < _NEAR_ONE
    return np.where(near, 1 / 3 - t / 5 + t**2 / 7, (1 - _h(x)) / np.where(near, 1.0, t))
