"""What a map weighs: surface densities, aperture masses, projected masses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import astropy.units as u

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from numpy.typing import ArrayLike

    from .._utils.typing import Background, KeepColumns, MapParts, RedshiftsLike, RegionsLike
else:
    MapParts = object


class Masses(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that weigh the matter."""

    def surface_density(
        self, z_lens: float, z_source: RedshiftsLike, cosmology: FLRW | None = None, *, weight: ArrayLike | None = None
    ) -> Self:
        """
        The map in units of mass per area, were all of the matter at one redshift.

        Parameters
        ----------
        z_lens : float
            Redshift of the matter.
        z_source : float, array-like, pair of array-like, table, file, SACC object or ShearCatalog
            Redshift of the galaxies behind, of each of them, or their distribution n(z), such as (z, n); as for
            `~astro_massmap.analysis.mass.critical_surface_density`.
        cosmology : `~astropy.cosmology.FLRW`, optional
            By default the one that astropy is set to.
        weight : array-like, optional
            Weight of each galaxy, where ``z_source`` has one redshift for each.

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

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the map was made with a Gaussian prior, which biases masses low.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().surface_density(z_lens=0.3, z_source=1.0).unit
        Unit("solMass / kpc2")
        """
        from ..analysis.mass import critical_surface_density
        from ..theory.source_redshifts import read_n_z

        self._need_convergence()
        self._warn_if_gaussian()
        sources = read_n_z(z_source, "z_source", weight=weight)
        critical = critical_surface_density(z_lens, sources, cosmology).to(u.Msun / u.kpc**2)
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
            b_mode=None if b_mode is None else b_mode.surface_density(z_lens, sources, cosmology),
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
            If an argument is not as described, the radius is less than three pixels, or the map has fewer than two
            samples.
        `~astropy.units.UnitsError`
            If the radius is no angle, or of a map in units of a surface density.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the map was made with a Gaussian prior, which biases masses low.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> samples = truth.data + np.random.default_rng(0).normal(scale=0.05, size=(32, *truth.shape))
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> table = kappa.aperture_mass(SkyCoord(34.4163, -5.17, unit="deg"), 6 * u.arcmin)
        >>> print(f"{table['aperture_mass'][0]:.4f} +- {table['std'][0]:.4f}")
        0.0175 +- 0.0021
        """
        from ..analysis.mass import aperture_mass

        self._need_convergence()
        samples = self._need_samples()
        self._warn_if_gaussian()
        return aperture_mass(self.data, samples, self.wcs, self.mask, centers, radius, level=level)

    def projected_mass(
        self,
        regions: RegionsLike,
        z_lens: ArrayLike | str,
        z_source: RedshiftsLike,
        *,
        cosmology: FLRW | None = None,
        weight: ArrayLike | None = None,
        background: Background | None = None,
        level: float = 0.68,
        keep_columns: KeepColumns = False,
    ) -> QTable:
        """
        Mass projected onto regions, were all of the matter at one redshift.

        Parameters
        ----------
        regions, background, keep_columns
            As for ``region_statistics``.
        z_lens : float, array-like or str
            Redshift of the matter, in all regions or in each, or the name of its column in a table of clusters.
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

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the map was made with a Gaussian prior, which biases masses low, or redshifts are missing in a column.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> samples = truth.data + np.random.default_rng(0).normal(scale=0.05, size=(32, *truth.shape))
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> table = kappa.projected_mass(datasets.demo_clusters(), z_lens=0.3, z_source=1.0,
        ...                              cosmology=FlatLambdaCDM(70, 0.3), background=[6, 10] * u.arcmin)
        >>> print(f"{table['region'][0]}: {table['mass'][0]:.1e}")
        A: 1.2e+14 solMass
        """
        from ..analysis.mass import projected_mass

        self._need_convergence()
        samples = self._need_samples()
        self._warn_if_gaussian()
        return projected_mass(
            self.data,
            samples,
            self.wcs,
            self.mask,
            regions,
            z_lens,
            z_source,
            cosmology=cosmology,
            weight=weight,
            background=background,
            level=level,
            keep_columns=keep_columns,
        )
