"""What a map weighs: surface densities, aperture masses, projected masses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import astropy.units as u

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from numpy.typing import ArrayLike

    from ._typing import Background, MapParts, RegionsLike
else:
    MapParts = object


class Masses(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that weigh the matter."""

    def surface_density(
        self, z_lens: float, z_source: ArrayLike, cosmology: FLRW | None = None, *, weight: ArrayLike | None = None
    ) -> Self:
        """
        The map in units of mass per area, were all of the matter at one redshift.

        Parameters
        ----------
        z_lens : float
            Redshift of the matter.
        z_source : float or array-like
            Redshift of the galaxies behind, or of each of them.
        cosmology : `~astropy.cosmology.FLRW`, optional
            By default the one that astropy is set to.
        weight : array-like, optional
            Of the galaxies, where ``z_source`` has one redshift for each.

        Returns
        -------
        ConvergenceMap
            In Msun / kpc2, with the samples and the uncertainty scaled alike.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or no source is behind the lens.
        `~astropy.units.UnitsError`
            Of a map that is in units of a surface density already.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=0, progress=False)
        >>> kappa.surface_density(z_lens=0.3, z_source=1.0).unit
        Unit("solMass / kpc2")
        """
        from .mass import critical_surface_density

        self._need_convergence()
        critical = critical_surface_density(z_lens, z_source, cosmology, weight=weight).to(u.Msun / u.kpc**2)
        b_mode = self.b_mode
        notes = {"z_lens": float(z_lens), "critical_surface_density": f"{critical:.6g}"}
        return type(self)(
            self.data * critical,
            wcs=self.wcs,
            uncertainty=None if self.uncertainty is None else self.uncertainty.array * critical,
            mask=self.mask,
            samples=None if self.samples is None else self.samples * critical,
            meta={**self.meta, **notes},
            diagnostics=self.diagnostics,
            b_mode=None if b_mode is None else b_mode.surface_density(z_lens, z_source, cosmology, weight=weight),
        )

    def aperture_mass(self, centers: SkyCoord, radius: u.Quantity, *, level: float = 0.68) -> QTable:
        """
        The compensated aperture mass (Schneider et al. 1998), which a constant sheet of mass does not change.

        Parameters
        ----------
        centers : `~astropy.coordinates.SkyCoord`
            Of the apertures.
        radius : `~astropy.units.Quantity`
            Theirs.
        level : float
            Of the interval over the samples.

        Returns
        -------
        `~astropy.table.QTable`
            ``center``, ``aperture_mass``, ``std``, ``lower``, ``upper``, ``signal_to_noise`` and
            ``data_fraction``.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, the radius is less than two pixels, or the map has fewer than two
            samples.
        `~astropy.units.UnitsError`
            If the radius is no angle, or of a map in units of a surface density.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=8, progress=False)
        >>> cluster = SkyCoord(34.4163, -5.17, unit="deg")
        >>> table = kappa.aperture_mass(cluster, 6 * u.arcmin)
        >>> print(f"{table['aperture_mass'][0]:.4f}, data in {table['data_fraction'][0]:.0%}")
        0.0056, data in 100%
        """
        from .mass import aperture_mass

        self._need_convergence()
        return aperture_mass(self.data, self._need_samples(), self.wcs, self.mask, centers, radius, level=level)

    def projected_mass(
        self,
        regions: RegionsLike,
        z_lens: ArrayLike,
        z_source: ArrayLike,
        *,
        cosmology: FLRW | None = None,
        weight: ArrayLike | None = None,
        background: Background | None = None,
        level: float = 0.68,
    ) -> QTable:
        """
        Mass projected onto regions, were all of the matter at one redshift.

        Parameters
        ----------
        regions, background
            As for ``region_statistics``.
        z_lens : float or array-like
            Redshift of the matter, in all regions or in each.
        z_source, cosmology, weight
            As for `surface_density`.
        level : float
            Of the interval over the samples.

        Returns
        -------
        `~astropy.table.QTable`
            ``region``, ``center``, ``mass`` (in Msun), ``std``, ``lower``, ``upper`` and ``data_fraction``.

        Raises
        ------
        TypeError, ValueError, OSError
            If an argument is not as described, a file cannot be read, the map has fewer than two samples, or no
            source is behind the lens.
        `~astropy.units.UnitsError`
            Of a map in units of a surface density.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=8, progress=False)
        >>> table = kappa.projected_mass(datasets.demo_clusters(), z_lens=0.3, z_source=1.0,
        ...                              cosmology=FlatLambdaCDM(70, 0.3), background=[6, 10] * u.arcmin)
        >>> print(f"{table['region'][0]}: {table['mass'][0]:.1e}")
        A: 3.9e+13 solMass
        """
        from .mass import projected_mass

        self._need_convergence()
        return projected_mass(
            self.data,
            self._need_samples(),
            self.wcs,
            self.mask,
            regions,
            z_lens,
            z_source,
            cosmology=cosmology,
            weight=weight,
            background=background,
            level=level,
        )
