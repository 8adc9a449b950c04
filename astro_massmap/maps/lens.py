"""Galaxies behind one lens: the efficiency of each of them relative to that of a reference source."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Self

import astropy.units as u
import numpy as np

from .._io.quantities import floats
from .._sky.binning import mean_in_pixels
from .._utils.progress import warn
from ..theory.cosmology import checked_cosmology, redshift, to_record
from ..theory.source_redshifts import read_n_z

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from numpy.typing import NDArray

    from .._utils.typing import RedshiftsLike, Shape
    from .n_z import NZ

    Moments = list[NDArray[np.float64]]  # means of the efficiency, of its square and of its cube, (n,)

_NODES, _GRID = 64, 2048  # of the integral over the redshift error, and redshifts between which it is interpolated
_FARTHEST = 9.9  # larger numbers, such as 9.99 or 99, are missing redshifts


class BehindLens:
    """Method of `~astro_massmap.ShearCatalog` for galaxies behind one lens."""

    if TYPE_CHECKING:  # attributes of a catalogue

        def __len__(self) -> int: ...
        def __getitem__(self, item: Any) -> Self: ...

        weight: NDArray[np.float64]
        redshift: NDArray[np.float64] | None
        m_bias: float | NDArray[np.float64] | None
        meta: dict[str, Any]
        _given_n_z: NZ | None

    # of each galaxy in its reduced shear: with beta averaged over the error of its redshift, <beta^2> / <beta> and
    # <beta^3> / <beta>
    efficiency: NDArray[np.float64] | None = None
    _efficiency_square: NDArray[np.float64] | None = None

    def for_lens(
        self,
        z_lens: float,
        z_source: float,
        cosmology: FLRW | None = None,
        *,
        redshift_error: float | None = None,
        n_z: RedshiftsLike | None = None,
        inverse_sigma_crit: u.Quantity | None = None,
    ) -> Self:
        """
        Return the galaxies behind a lens, scaled to the convergence of one reference source.

        The shear of a galaxy is beta times that of the reference source, where beta is its efficiency ``D_ls / D_s``
        divided by that of the reference. The result has the weights ``w beta`` and the response ``beta (1 + m)``, so
        that maps are those of the convergence for sources at ``z_source``: ``n_z``, and thereby the prior spectrum, is
        that of ``z_source``, and ``meta["lens"]`` contains lens, reference and cosmology, from which `surface_density
        <astro_massmap.ConvergenceMap.surface_density>` and `projected_mass
        <astro_massmap.ConvergenceMap.projected_mass>` of the map follow without arguments. Select galaxies by redshift
        before: the result has no redshifts.

        Parameters
        ----------
        z_lens : float
            Redshift of the lens.
        z_source : float
            Redshift of the reference source, behind the lens.
        cosmology : `~astropy.cosmology.FLRW`, optional
            Cosmology; by default the default cosmology of astropy.
        redshift_error : float, optional
            Standard deviation of the redshifts divided by ``1 + z``, over which beta and beta^2 are averaged.
        n_z : pair of array-like, table, file, SACC object, optional
            Redshift distribution of all galaxies, also of those in front of the lens, for beta and beta^2 averaged over
            it instead of those of single galaxies; by default, without redshifts, the ``n_z`` of the catalogue.
        inverse_sigma_crit : `~astropy.units.Quantity`, optional
            Inverse critical surface density of each galaxy ``(n,)``, for example in kpc2 / Msun, instead of redshifts;
            zero in front of the lens.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If a redshift is not positive, ``z_source`` is not behind the lens, there are no redshifts, no galaxy is
            behind the lens, an efficiency exceeds that of a source at infinite distance, or the catalogue is scaled to
            a reference source already.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If galaxies are in front of the lens, or have no redshift, and are left out.

        Notes
        -----
        The reduced shear of sources of several efficiencies is computed from mean and variance of the efficiency in
        each pixel, see :ref:`efficiency`: for sources at redshifts of 0.5 to 2.5 behind a lens at 0.3, it is correct to
        0.1 % for kappa up to 0.4 and 0.4 % at 0.5.

        Examples
        --------
        >>> import numpy as np
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap import datasets
        >>> catalog = datasets.demo()
        >>> catalog.redshift = np.full(len(catalog), 0.6)
        >>> behind = catalog.for_lens(0.3, 1.0, FlatLambdaCDM(70, 0.3))
        >>> print(behind.efficiency[:2].round(3), behind.n_z)
        [0.718 0.718] (array([1.]), array([1.]))
        """
        from ..analysis.mass import critical_surface_density, lensing_efficiency  # loads regions

        if self.efficiency is not None:
            raise ValueError("for_lens: the galaxies are scaled to a reference source already; use the first catalogue")
        z_lens, z_source = redshift(z_lens, "z_lens"), redshift(z_source, "z_source")
        cosmology = checked_cosmology(cosmology)
        if not z_source > z_lens:
            raise ValueError(f"z_source: needs a reference source behind z_lens = {z_lens:g}, got {z_source:g}")
        critical = critical_surface_density(z_lens, z_source, cosmology)
        reference = float(lensing_efficiency(z_lens, z_source, cosmology))
        if inverse_sigma_crit is not None:
            moments = _from_inverse(inverse_sigma_crit, len(self), critical, reference)
        else:
            found = self._efficiencies(z_lens, cosmology, redshift_error, n_z)
            moments = [moment / reference**k for k, moment in enumerate(found, start=1)]
        behind, new = self._are_behind(moments[0], z_lens), self[:]
        new.redshift = new._given_n_z = None
        new, (beta, square, cube) = new[behind], [moment[behind] for moment in moments]
        new.weight = new.weight * beta
        new.m_bias = beta * (1.0 if new.m_bias is None else 1 + new.m_bias) - 1
        new.efficiency, new._efficiency_square = square / beta, cube / beta
        new._given_n_z = (np.array([z_source]), np.ones(1))
        new.meta["lens"] = {"z_lens": z_lens, "z_source": z_source, "cosmology": to_record(cosmology)}
        return new

    def _efficiencies(
        self, z_lens: float, cosmology: FLRW, redshift_error: float | None, n_z: RedshiftsLike | None
    ) -> Moments:
        """Return the means of ``D_ls / D_s``, its square and its cube for each galaxy."""
        from ..analysis.mass import lensing_efficiency  # loads regions

        if n_z is None and self.redshift is None:
            n_z = self._given_n_z
            if n_z is None:
                raise ValueError(
                    "redshift: the catalogue has no redshifts, from which the efficiency of its galaxies follows; give "
                    "n_z or inverse_sigma_crit"
                )
        if n_z is not None:
            if redshift_error is not None:
                raise ValueError("redshift_error, n_z: give one of them; the errors are part of n(z)")
            sources = read_n_z(n_z, "n_z")
            values = lensing_efficiency(z_lens, sources.z, cosmology)
            return [np.full(len(self), (sources.weight * values**k).sum()) for k in (1, 2, 3)]
        z = np.asarray(self.redshift)
        z = np.where((z >= 0) & (z <= _FARTHEST), z, 0.0)  # missing redshifts count as in front
        if redshift_error is None:
            values = lensing_efficiency(z_lens, z, cosmology)
            return [values, values**2, values**3]
        if not 0 < (error := float(floats(redshift_error, "redshift_error"))) < 1:
            raise ValueError(f"redshift_error: needs a number between 0 and 1, got {redshift_error!r}")
        grid = np.linspace(0, z.max(), _GRID)
        steps = [NormalDist().inv_cdf((k + 0.5) / _NODES) for k in range(_NODES)]
        scattered = np.maximum(grid + error * (1 + grid) * np.array(steps)[:, None], 0)
        values = lensing_efficiency(z_lens, scattered, cosmology)
        return [np.interp(z, grid, (values**k).mean(axis=0)) * (z > 0) for k in (1, 2, 3)]

    def _binned_efficiency(
        self, x: NDArray[np.float64], y: NDArray[np.float64], shape: Shape
    ) -> NDArray[np.float64] | None:
        """Return mean and variance of the efficiency in pixels ``(2, ny, nx)``, weighted as the shear."""
        if self.efficiency is None:
            return None
        weight = self.weight * (1.0 if self.m_bias is None else 1 + self.m_bias)
        mean, square = (mean_in_pixels(x, y, v, weight, shape) for v in (self.efficiency, self._efficiency_square))
        return np.stack([mean, np.maximum(square - mean**2, 0)])

    def _are_behind(self, beta: NDArray[np.float64], z_lens: float) -> NDArray[np.bool_]:
        """Return bool ``(n,)`` for galaxies that are lensed; a warning counts the others."""
        behind = beta > 0
        n, count = len(self), int((~behind).sum())
        if count == n:
            raise ValueError(
                f"redshift: needs galaxies behind z_lens = {z_lens:g}, but all {n} are in front of it or have no "
                "redshift; check the redshifts"
            )
        if count:
            missing = 0
            if self.redshift is not None:
                z = np.asarray(self.redshift)
                missing = int((~((z >= 0) & (z <= _FARTHEST)) & ~behind).sum())
            others = f", {missing} of them without a redshift" if missing else ""
            warn(f"for_lens: {count} of {n} galaxies are not behind z_lens = {z_lens:g} and are left out{others}", 4)
        return behind


def _from_inverse(inverse: u.Quantity, n: int, critical: u.Quantity, reference: float) -> Moments:
    """Return beta, its square and its cube from inverse critical surface densities."""
    unit = getattr(inverse, "unit", None)
    if unit is None or not unit.is_equivalent(1 / critical.unit):
        raise u.UnitsError(f"inverse_sigma_crit: needs an area per mass, such as kpc2 / Msun, got {unit or 'no unit'}")
    beta = np.asarray((inverse * critical).to_value(u.one), dtype=float)
    if beta.shape != (n,):
        raise ValueError(f"inverse_sigma_crit: needs the shape ({n},) of coords, got {beta.shape}")
    beta = np.where(np.isfinite(beta), np.maximum(beta, 0), 0.0)
    too_large = int((beta * reference > 1 + 1e-6).sum())
    if too_large:
        raise ValueError(
            f"inverse_sigma_crit: {too_large} of {n} galaxies exceed the value of a source at infinite distance; check "
            "z_lens, the cosmology and the unit"
        )
    return [beta, beta**2, beta**3]
