"""Surface densities, aperture masses, projected masses and masses of halos from a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import astropy.units as u
import numpy as np

from ..theory.cosmology import from_record
from ..theory.source_redshifts import read_n_z
from .arguments import need_convergence

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from numpy.typing import ArrayLike

    from .._utils.typing import Background, KeepColumns, MapParts, RedshiftsLike, RegionsLike, Select
    from ..theory.spectrum import PowerSpectrum
else:
    MapParts = object


class Masses(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that measure masses."""

    def surface_density(
        self,
        z_lens: float | None = None,
        z_source: RedshiftsLike | None = None,
        cosmology: FLRW | None = None,
        *,
        weight: ArrayLike | None = None,
    ) -> Self:
        """
        Convert the convergence to mass per area, with all matter at one redshift (thin-lens approximation).

        Parameters and errors are those of `astro_massmap.analysis.mass.critical_surface_density`. For maps of
        `ShearCatalog.for_lens <astro_massmap.ShearCatalog.for_lens>` they are by default those in ``meta["lens"]``, and
        another ``z_source`` is a ValueError. For other maps ``z_source`` is by default ``n_z`` of the map. A map made
        with a Gaussian prior gives a warning, because masses are then too low; a surface density is a UnitsError.

        Returns
        -------
        ConvergenceMap
            Map in Msun / kpc2, with uncertainty and samples.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().surface_density(z_lens=0.3, z_source=1.0).unit
        Unit("solMass / kpc2")
        """
        from ..analysis.mass import critical_surface_density  # loads regions

        need_convergence(self)
        self._warn_if_gaussian()
        z_lens, z_source, cosmology = self._lens(z_lens, z_source, cosmology)
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
            n_z=self.n_z,
        )

    def aperture_mass(self, centers: SkyCoord | RegionsLike, radius: u.Quantity, *, level: float = 0.68) -> QTable:
        """
        Measure the compensated aperture mass (Schneider et al. 1998), which a mass sheet does not change.

        Parameters, columns of the table and errors are those of `astro_massmap.analysis.mass.aperture_mass`, without
        the maps, mask and WCS. A Gaussian prior gives a warning, as for `surface_density`.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> samples = [a * truth.data for a in (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3)]
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> table = kappa.aperture_mass(SkyCoord(34.4163, -5.17, unit="deg"), 6 * u.arcmin)
        >>> print("{aperture_mass:.4f} +- {std:.4f}".format(**table[0]))
        0.0175 +- 0.0038
        """
        from ..analysis.mass import aperture_mass  # loads regions

        need_convergence(self)
        samples = self._need_samples()
        self._warn_if_gaussian()
        return aperture_mass(self.data, samples, self.wcs, self.mask, centers, radius, level=level)

    def projected_mass(
        self,
        regions: RegionsLike,
        z_lens: ArrayLike | str | None = None,
        z_source: RedshiftsLike | None = None,
        *,
        cosmology: FLRW | None = None,
        weight: ArrayLike | None = None,
        background: Background | None = None,
        level: float = 0.68,
        keep_columns: KeepColumns = False,
        select: Select | None = None,
    ) -> QTable:
        """
        Measure the mass projected onto regions, with all matter at one redshift (thin-lens approximation).

        Parameters, columns of the table and errors are those of `astro_massmap.analysis.mass.projected_mass`, without
        the maps, mask and WCS. Lens, source and cosmology have the defaults of `surface_density`, and a Gaussian prior
        gives the same warning.

        Examples
        --------
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth, cosmology = datasets.demo_truth(), FlatLambdaCDM(70, 0.3)
        >>> samples = [a * truth.data for a in (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3)]
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> table = kappa.projected_mass(datasets.demo_clusters(), z_lens=0.3, z_source=1.0, cosmology=cosmology)
        >>> print("{region}: {mass:.2e} +- {std:.1e}".format(**table[0]))
        A: 1.17e+14 solMass +- 2.5e+13 solMass
        """
        from ..analysis.mass import projected_mass  # loads regions

        need_convergence(self)
        samples = self._need_samples()
        self._warn_if_gaussian()
        z_lens, z_source, cosmology = self._lens(z_lens, z_source, cosmology)
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
            select=select,
        )

    def aperture_densitometry(
        self, center: SkyCoord, radii: u.Quantity, background: u.Quantity, *, level: float = 0.68
    ) -> QTable:
        """
        Measure the aperture densitometry zeta_c (Clowe et al. 1998), which a mass sheet does not change.

        Parameters, columns of the table and errors are those of
        `astro_massmap.analysis.halo_mass.aperture_densitometry`, without the maps, mask and WCS. A Gaussian prior gives
        a warning, as for `surface_density`.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> samples = [a * truth.data for a in (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3)]
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> center = SkyCoord(34.4163, -5.17, unit="deg")
        >>> print(kappa.aperture_densitometry(center, [1, 2, 4] * u.arcmin, [4, 8] * u.arcmin)["zeta_c"].round(3))
        [0.1   0.053 0.021]
        """
        from ..analysis.halo_mass import aperture_densitometry  # loads regions

        need_convergence(self)
        samples = self._need_samples()
        self._warn_if_gaussian()
        return aperture_densitometry(self.data, samples, self.wcs, self.mask, center, radii, background, level=level)

    def nfw_mass(
        self,
        centers: SkyCoord | RegionsLike,
        z_lens: ArrayLike | str | None = None,
        z_source: RedshiftsLike | None = None,
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
        Fit the mass M200c of an NFW halo to the radial profile of each sample, after subtracting a ring.

        Parameters, columns of the table and errors are those of `astro_massmap.analysis.halo_mass.nfw_mass`, without
        the maps, mask and WCS. Lens, source and cosmology have the defaults of `surface_density`. A Gaussian prior
        gives a warning, as for `surface_density`.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astropy.coordinates import SkyCoord
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth, cosmology = datasets.demo_truth(), FlatLambdaCDM(70, 0.3)
        >>> samples = np.linspace(0.7, 1.3, 100)[:, None, None] * truth.data
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> center, ring = SkyCoord(34.4163, -5.17, unit="deg"), [4, 8] * u.arcmin
        >>> table = kappa.nfw_mass(center, z_lens=0.3, z_source=1.0, background=ring, cosmology=cosmology)
        >>> print("{mass:.0e}".format(**table[0]))
        2e+14 solMass
        """
        from ..analysis.halo_mass import nfw_mass  # loads regions

        need_convergence(self)
        samples = self._need_samples()
        z_lens, z_source, cosmology = self._lens(z_lens, z_source, cosmology)
        self._warn_if_gaussian()
        return nfw_mass(
            self.data,
            samples,
            self.wcs,
            self.mask,
            centers,
            z_lens,
            z_source,
            background=background,
            radii=radii,
            concentration=concentration,
            scatter=scatter,
            structure=structure,
            seed=seed,
            cosmology=cosmology,
            weight=weight,
            level=level,
        )

    def _lens(self, z_lens: Any, z_source: Any, cosmology: FLRW | None) -> tuple[Any, Any, FLRW | None]:
        """Return the given lens, source and cosmology, by default those to which the convergence refers."""
        lens = self.meta.get("lens")
        if not (isinstance(lens, dict) and {"z_lens", "z_source", "cosmology"} <= lens.keys()):
            z_source = self.n_z if z_source is None else z_source
            missing = [name for name, value in (("z_lens", z_lens), ("z_source", z_source)) if value is None]
            if missing:
                raise ValueError(
                    f"{', '.join(missing)}: needed for this map; only maps of catalog.for_lens(z_lens, z_source) "
                    "contain a lens, and z_source is by default n_z of the map"
                    + (", which has none; give one redshift, or (z, n)" if "z_source" in missing else "")
                )
            return z_lens, z_source, cosmology
        reference = lens["z_source"]
        if z_source is not None and not (np.ndim(z_source) == 0 and z_source == reference):
            raise ValueError(
                f"z_source: the convergence of this map refers to sources at redshift {reference}; leave z_source out"
            )
        cosmology = from_record(lens["cosmology"]) if cosmology is None else cosmology
        return lens["z_lens"] if z_lens is None else z_lens, reference, cosmology
