"""Sums, differences and multiples of maps, with their uncertainties and samples."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import astropy.units as u
import numpy as np
from astropy.nddata import NDData

from .._io.quantities import floats
from .._sky.geometry import same_grid
from .._utils.progress import warn
from .._utils.version import __version__, now
from ..analysis.statements import gaussian_prior
from .n_z import mean_redshift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from .._utils.typing import Floats, MapParts
else:
    MapParts = object

_SHIFT = 0.02  # of the mean of 1 + z, up to which two maps have the same sources
_SEED = 0  # of the pairs of samples of independent maps
_OF_SOURCES = ("lens", "z_lens", "critical_surface_density")  # entries of meta that hold for one lens and its sources
_OF_GALAXIES = ("bin", "n_galaxies", "galaxies_per_arcmin2")  # entries of meta that hold for one reconstruction


class Arithmetic(MapParts):
    """Methods and operators of `~astro_massmap.ConvergenceMap` that combine maps, or maps and numbers."""

    __array_ufunc__ = None  # numpy leaves 2 * kappa to the map

    def add(self, other: Self | u.Quantity | ArrayLike, *, paired: bool = False, same_sources: bool = True) -> Self:
        """
        Add a map on the same grid, or numbers without errors; ``a + b`` is ``a.add(b)``.

        By default the two maps are independent: their standard deviations are added in quadrature, and each sample of
        one map is combined with a random sample of the other, the same in every call. The result has as many samples
        as the map with fewer, and no uncertainty or samples if one of the maps has none. With ``paired`` sample i is
        combined with sample i, and the uncertainty is the standard deviation of the results.

        B modes of independent maps are combined likewise; those of paired maps are left out. Pixels without data in one
        of the maps are masked. ``meta["provenance"]`` records the operation; of ``meta``
        only entries that both maps share are kept, and no diagnostics. A sum with
        an array has no bin and no number of galaxies. ``n_z`` is kept if both maps have one.

        Parameters
        ----------
        other : ConvergenceMap, float, array-like or `~astropy.units.Quantity`
            Map, number, or numbers ``(ny, nx)``, with a unit for a surface density.
        paired : bool
            Combine the samples of two maps in their order, for maps that depend on each other.
        same_sources : bool
            Whether the maps need the same lens and sources. With False, maps of different tomographic bins can be
            combined; the result has no ``n_z`` and no lens. The uncertainty is that of the reconstructions, without
            the correlation of the convergence of the bins.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If ``other`` is neither a map nor numbers, or has another grid, unit, lens or mean source redshift (by more
            than 2 % of 1 + z), or ``paired`` needs samples of both maps, equal in number and at least two. Maps of the
            same data that are added as independent give a warning.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> a, b = (ConvergenceMap(truth.data, wcs=truth.wcs, uncertainty=np.full((128, 128), s)) for s in (0.03, 0.04))
        >>> mean = (a + b) / 2
        >>> print(mean.uncertainty.array[0, 0].round(3), np.allclose(mean.data, truth.data))
        0.025 True
        """
        return self._plus(other, paired, same_sources, 1)

    def subtract(
        self, other: Self | u.Quantity | ArrayLike, *, paired: bool = False, same_sources: bool = True
    ) -> Self:
        """
        Subtract a map on the same grid, or numbers without errors; ``a - b`` is ``a.subtract(b)``.

        Parameters and errors are those of `add`.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=4, progress=False)
        >>> print(abs(kappa.subtract(kappa, paired=True).samples).max())
        0.0
        """
        return self._plus(other, paired, same_sources, -1)

    def multiply(self, factor: float | Floats | u.Quantity) -> Self:
        """
        Multiply the map, its uncertainty and samples by numbers without errors; ``2 * a`` is ``a.multiply(2)``.

        Parameters
        ----------
        factor : float, array-like or `~astropy.units.Quantity`
            Number, or numbers ``(ny, nx)``, dimensionless and finite.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If ``factor`` is not as described: another map, for instance, or a quantity with a dimension.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> truth = datasets.demo_truth()
        >>> print((2 * truth).data.max() / truth.data.max())
        2.0
        """
        return self._times(self._exact(factor, "factor", u.dimensionless_unscaled), "multiply", factor)

    def divide(self, divisor: float | Floats | u.Quantity) -> Self:
        """
        Divide the map, its uncertainty and samples by numbers without errors; ``a / 2`` is ``a.divide(2)``.

        Parameters and errors are those of `multiply`; zero is a ValueError.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> truth = datasets.demo_truth()
        >>> calibrated = truth / (1 - 0.02)
        """
        numbers = self._exact(divisor, "divisor", u.dimensionless_unscaled)
        if not numbers.all():
            raise ValueError("divisor: needs numbers that are not zero")
        return self._times(1 / numbers, "divide", divisor)

    def __add__(self, other: Any) -> Self:
        return self.add(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Self:
        return self.subtract(other)

    def __rsub__(self, other: Any) -> Self:
        return (-self).add(other)

    def __mul__(self, factor: Any) -> Self:
        return self.multiply(factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Self:
        return self.divide(divisor)

    def __neg__(self) -> Self:
        return self.multiply(-1)

    def __pos__(self) -> Self:
        return self.multiply(1)

    def _exact(self, value: Any, name: str, unit: u.UnitBase) -> Floats:
        """Return a number or an array of numbers in the precision of the map."""
        if not isinstance(value, Real | np.ndarray | list | tuple):
            kind = type(value).__name__
            hint = "; the data of a map are numbers, map.data" if isinstance(value, NDData) else ""
            raise TypeError(f"{name}: needs a number or numbers (ny, nx), got a {kind}{hint}")
        numbers = floats(value, name, unit=unit, dtype=self.data.dtype)
        if unit != u.dimensionless_unscaled and not isinstance(value, u.Quantity) and numbers.any():
            raise u.UnitsError(f"{name}: needs a quantity in {unit}, got numbers without a unit")
        if numbers.shape not in ((), self.shape):
            raise ValueError(f"{name}: needs one number or the shape {self.shape} of the map, got {numbers.shape}")
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name}: needs finite numbers")
        return numbers

    def _times(self, numbers: Floats, name: str, given: Any) -> Self:
        return type(self)(
            self.data * numbers,
            wcs=self.wcs,
            uncertainty=None if self.uncertainty is None else self.uncertainty.array * abs(numbers),
            mask=self.mask,
            samples=None if self.samples is None else self.samples * numbers,
            b_mode=None if self.b_mode is None else self.b_mode._times(numbers, name, given),
            n_z=self.n_z,
            unit=self.unit,
            **_recorded(name, {"other": _described(given)}, self),
        )

    def _plus(self, other: Any, paired: bool, same_sources: bool, sign: int) -> Self:
        name = "add" if sign > 0 else "subtract"
        if isinstance(other, Arithmetic):
            check_same_grid(self, other)
            if same_sources:
                _check_same_sources(self, other, name)
            return self._plus_map(other, paired, same_sources, sign, name)
        numbers = sign * self._exact(other, "other", self.unit)
        made = _recorded(name, {"other": _described(other)}, self)
        if np.ptp(numbers) > 0:
            made["meta"] = _without(made["meta"], _OF_GALAXIES)
        return type(self)(
            self.data + numbers,
            wcs=self.wcs,
            uncertainty=self.uncertainty,
            mask=self.mask,
            samples=None if self.samples is None else self.samples + numbers,
            b_mode=self.b_mode,
            n_z=self.n_z,
            unit=self.unit,
            **made,
        )

    def _plus_map(self, other: Any, paired: bool, same_sources: bool, sign: int, name: str) -> Self:
        samples, uncertainty, b_mode = None, None, None
        made = _recorded(name, {"other": "ConvergenceMap", "paired": paired}, self, other)
        if not same_sources:
            made["meta"] = _without(made["meta"], _OF_SOURCES)
            made["diagnostics"]["settings"]["same_sources"] = False
        if paired:
            samples = _paired(self.samples, other.samples, sign)
            uncertainty = samples.std(axis=0, ddof=1)
        else:
            if self is other or set(_data_of(self)) & set(_data_of(other)):
                warn(
                    "other: was made from the same data as this map, so that their errors are not independent; use "
                    f"{name}(other, paired=True) if their samples belong together",
                    5,
                )
            if self.uncertainty is not None and other.uncertainty is not None:
                uncertainty = np.hypot(self.uncertainty.array, other.uncertainty.array)
            if self.samples is not None and other.samples is not None:
                samples = _independent(self.samples, other.samples, sign)
            if self.b_mode is not None and other.b_mode is not None and self is not other:
                b_mode = self.b_mode._plus_map(other.b_mode, False, same_sources, sign, name)
        return type(self)(
            self.data + sign * other.data,
            wcs=self.wcs,
            uncertainty=uncertainty,
            mask=self.mask | other.mask,
            samples=samples,
            b_mode=b_mode,
            n_z=self.n_z if same_sources and other.n_z is not None else None,
            unit=self.unit,
            **made,
        )


def _paired(a: Floats | None, b: Floats | None, sign: int) -> Floats:
    if a is None or b is None or len(a) != len(b) or len(a) < 2:
        n = [0 if samples is None else len(samples) for samples in (a, b)]
        raise ValueError(f"paired: needs maps with the same number of samples, at least two, got {n[0]} and {n[1]}")
    return a + sign * b


def _independent(a: Floats, b: Floats, sign: int) -> Floats:
    n = min(len(a), len(b))
    order = np.random.default_rng(_SEED).permutation(len(b))[:n]
    return a[:n] + sign * b[order]


def check_same_grid(a: Any, b: Any) -> None:
    """Raise an error unless two maps have the same grid and unit."""
    if a.shape != b.shape or not same_grid(a.wcs, b.wcs, a.shape):
        raise ValueError(
            "other: needs a map on the same grid, but the two differ in shape or WCS; use other.reproject_to(wcs, "
            "shape) with those of this map"
        )
    if a.unit != b.unit:
        raise u.UnitsError(f"other: needs the unit {str(a.unit) or 'one'} of this map, got {str(b.unit) or 'one'}")


def _check_same_sources(a: Any, b: Any, name: str) -> None:
    """Raise an error unless two maps have the same lens and sources."""
    remedy = f"use {name}(other, same_sources=False) to combine them, without n_z and lens of the result"
    convergence = a.unit == u.dimensionless_unscaled
    key = "lens" if convergence else "z_lens"
    if a.meta.get(key) != b.meta.get(key):
        raise ValueError(
            f"other: needs the same lens and reference source as this map, but meta[{key!r}] is {a.meta.get(key)} here "
            f"and {b.meta.get(key)} there; {remedy}"
        )
    z = [mean_redshift(kappa.n_z) for kappa in (a, b)]
    if convergence and None not in z and abs(z[1] - z[0]) > _SHIFT * (1 + z[0]):  # type: ignore[operator]
        raise ValueError(
            f"other: needs the same sources as this map, but their mean redshifts are {z[0]:.3g} here and {z[1]:.3g} "
            f"there; the convergence of each refers to its own sources; {remedy}"
        )


def _data_of(kappa: Any) -> Iterator[str]:
    """Return the checksums of the data of a map and of the maps from which it was made."""
    left = [kappa.meta.get("provenance")]
    while left:
        record = left.pop()
        if isinstance(record, dict):
            data = record.get("input")
            if isinstance(data, dict) and data.get("sha256"):
                yield data["sha256"]
            left += [record.get("of_input"), record.get("of_other")]


def _recorded(name: str, settings: dict[str, Any], *maps: Any) -> dict[str, Any]:
    """Return the meta and diagnostics of the result of an operation on maps."""
    first = maps[0].meta
    meta = {key: value for key, value in first.items() if all(_same(m.meta.get(key), value) for m in maps[1:])}
    made = {"method": name, "settings": settings, "date": now() + "Z", "versions": {"astro_massmap": __version__}}
    if any(gaussian_prior(kappa.meta, kappa.diagnostics) for kappa in maps):
        made["prior"] = {"name": "that of a map of this operation", "gaussian": True}
    before = zip(("of_input", "of_other"), (kappa.meta.get("provenance") for kappa in maps), strict=False)
    made |= {key: record for key, record in before if record is not None}
    return {"meta": meta | {"provenance": made}, "diagnostics": {"method": name, "settings": settings}}


def _without(meta: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in meta.items() if key not in keys}


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(np.all(a == b))
    except ValueError:  # arrays within dictionaries
        return False


def _described(numbers: Any) -> str:
    return f"{numbers}" if np.ndim(numbers) == 0 else f"array {np.shape(numbers)}"
