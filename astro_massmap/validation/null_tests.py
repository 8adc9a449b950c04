"""
Null tests of a catalogue, and its noise.

Gravitational lensing produces E modes and, to first order, no B modes. Galaxies rotated by random angles keep their
shapes and lose the lensing signal: they sample the noise of this survey, with its mask, weights and outliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from .._io.result_tables import ResultTable, printed
from .._utils.checks import check_integer
from .._utils.progress import progress_bar
from ..analysis.angular_power import power_spectrum
from ..maps.catalog import ShearCatalog
from ..maps.convergence_map import ConvergenceMap
from ..methods import KaiserSquires, resolve, run
from ..methods.sources import for_sources
from ..methods.wiener import ExpectedShear
from .binned_survey import BinnedSurvey, generator_of_angles, random_phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import QTable
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import RegionsLike, Shape
    from ..methods import MethodLike

__all__ = ["BModeTest", "b_mode_test", "jackknife", "noise_maps", "rotated"]

_LEVEL = 0.01
_LEAST_ROTATIONS = round(1 / _LEVEL) - 1
_PADDING = 2.0


def rotated(catalog: ShearCatalog, seed: int | Sequence[int]) -> ShearCatalog:
    """
    Rotate every galaxy of a catalogue by a random angle, which leaves its noise without lensing.

    Parameters
    ----------
    catalog, seed
        Galaxies, and seed of the angles.

    Returns
    -------
    ShearCatalog
        The rotated galaxies, after subtracting the additive bias.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import rotated
    >>> rotated(datasets.demo(), seed=1)
    <ShearCatalog: 65666 galaxies, axes 'west-north', shape noise 0.260>
    """
    _check(catalog)
    for part in np.atleast_1d(seed):
        check_integer(part, "seed", 0)
    return catalog.with_shear(catalog.west_north * random_phase(len(catalog), seed))


def noise_maps(
    catalog: ShearCatalog,
    n: int = 32,
    *,
    method: MethodLike = None,
    seed: int = 0,
    wcs: WCS | None = None,
    shape: Shape | None = None,
    pixel_scale: u.Quantity | None = None,
    mask: RegionsLike | None = None,
    progress: bool = False,
) -> ConvergenceMap:
    """
    Map randomly rotated galaxies.

    Parameters
    ----------
    catalog, n
        Galaxies, and number of maps, at least two.
    method : str, method object or callable, optional
        Method of the maps; by default `~astro_massmap.KaiserSquires`. Only the mean of a method with samples is used.
    seed : int
        Seed of the angles; map i is that of ``rotated(catalog, [seed, i])``.
    wcs, shape, pixel_scale, mask, progress
        Grid and excluded regions, see `~astro_massmap.ShearCatalog.to_map` (also for errors), and progress bar.

    Returns
    -------
    ConvergenceMap
        The maps as samples, with their mean and standard deviation.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import noise_maps
    >>> noise_maps(datasets.demo(), 8, pixel_scale=1.6 * u.arcmin)
    <ConvergenceMap: 32 x 32 pixels of 1.6 arcmin, 87% measured, 8 samples>
    """
    method, survey = _prepared(catalog, n, seed, method, wcs, shape, pixel_scale, mask)
    with progress_bar(total=n, desc="rotations", disable=not progress) as bar:
        maps = [_solved(method, survey.rotated(seed, i), bar) for i in range(n)]
    samples = np.stack([m.mean for m in maps])
    return survey.noise_map(samples.mean(axis=0), samples, maps[0].diagnostics | {"noise": "rotated galaxies"})


def jackknife(
    catalog: ShearCatalog,
    n: int = 32,
    *,
    method: MethodLike = None,
    seed: int = 0,
    wcs: WCS | None = None,
    shape: Shape | None = None,
    pixel_scale: u.Quantity | None = None,
    mask: RegionsLike | None = None,
    progress: bool = False,
) -> ConvergenceMap:
    """
    Estimate the noise of a map from maps without some of the galaxies.

    Galaxies are put into ``n`` random groups, and each map lacks one of them. The variance is ``(n - 1) / n`` times
    the sum of the squared deviations from the mean of the maps (Efron 1982); it needs several galaxies in a pixel.

    Parameters
    ----------
    catalog, n, method, seed, wcs, shape, pixel_scale, mask, progress
        See `noise_maps`; the seed is that of the groups, of at least two galaxies (ValueError).

    Returns
    -------
    ConvergenceMap
        The map of all galaxies with this standard deviation. Its samples are this map plus the deviations from the
        mean, scaled by ``(n - 1) / sqrt(n)``: their scatter is the jackknife error, also of means over regions.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import jackknife
    >>> jackknife(datasets.demo(), 16, pixel_scale=1.6 * u.arcmin)
    <ConvergenceMap: 32 x 32 pixels of 1.6 arcmin, 87% measured, 16 samples>
    """
    method, survey = _prepared(catalog, n, seed, method, wcs, shape, pixel_scale, mask)
    if survey.n_galaxies < 2 * n:
        raise ValueError(f"n: needs at least two galaxies per group, got {survey.n_galaxies} for {n} groups")
    group = generator_of_angles(seed).permutation(np.arange(len(catalog)) % n)
    with progress_bar(total=n + 1, desc="jackknife", disable=not progress) as bar:
        whole = _solved(method, survey.observation(), bar)
        parts = np.stack([_solved(method, survey.observation(kept=group != i), bar).mean for i in range(n)])
    samples = whole.mean + (parts - parts.mean(axis=0)) * (n - 1) / np.sqrt(n)
    return survey.noise_map(whole.mean, samples, whole.diagnostics | {"noise": "jackknife"})


@dataclass(frozen=True)
class BModeTest:
    """
    Result of `b_mode_test`: the power of the E and B modes of a catalogue.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        In bands of ell (``low``, ``high``), for each mode: power C_ell (``e_power``, ``b_power``), its mean and
        standard deviation over maps of rotated galaxies (``e_noise``, ``e_noise_std``, ``b_noise``, ``b_noise_std``),
        and the excess over this mean in standard deviations (``e_significance``, ``b_significance``). NaN in bands
        without modes.
    chi2, p_value : float
        Sum over bands of the squared deviation of the B mode from the mean of all other maps, over their variance, and
        fraction of all maps, this one and the ``n`` of rotated galaxies, with at least this chi2.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import b_mode_test
    >>> b_mode_test(datasets.demo(), 40, pixel_scale=3.2 * u.arcmin).ok
    True
    """

    table: QTable
    chi2: float
    p_value: float
    n: int

    @property
    def ok(self) -> bool | None:
        """
        True without a significant B mode (p above 0.01), False with one (by chance in 1 of 100 cases).

        It is None if p is ``1 / (n + 1)``, the smallest value of n rotations, and above 0.01: 99 rotations are needed.
        """
        if self.n < _LEAST_ROTATIONS and self.p_value < 1.5 / (self.n + 1):
            return None
        return self.p_value > _LEVEL

    def __str__(self) -> str:
        verdict = {
            True: "no significant B mode",
            False: "there is a B mode, which lensing does not produce",
            None: f"no verdict: p is the minimum for {self.n} rotations, at least {_LEAST_ROTATIONS} are needed",
        }[self.ok]
        bands = int(np.isfinite(self.table["b_significance"]).sum())
        lines = [f"{verdict}: chi2 = {self.chi2:.1f} in {bands} bands, p = {self.p_value:.3f}"]
        lines += [f"{'ell':>15}  E / noise  B / noise  E sigma  B sigma"]
        for row in self.table:  # type: ignore[attr-defined]
            e, b = (row[f"{mode}_power"] / row[f"{mode}_noise"] for mode in "eb")
            lines.append(
                f"{row['low']:6.0f} - {row['high']:6.0f}  {e:9.2f}  {b:9.2f}  {row['e_significance']:7.1f}  "
                f"{row['b_significance']:7.1f}"
            )
        return "\n".join(lines)


def b_mode_test(
    catalog: ShearCatalog,
    n: int = 128,
    *,
    edges: ArrayLike | None = None,
    seed: int = 0,
    wcs: WCS | None = None,
    shape: Shape | None = None,
    pixel_scale: u.Quantity | None = None,
    mask: RegionsLike | None = None,
    progress: bool = False,
) -> BModeTest:
    """
    Test a catalogue for a B mode.

    The power of the B mode of the Kaiser-Squires map, in bands of ell, is compared with that of randomly rotated
    galaxies. Every map, including the observed one, is compared with the mean and scatter of all others, so that
    without lensing all ranks of the observed chi2 are equally likely and the p-value is exact.

    Masks and edges leak E modes of lensing into B. Therefore the shear that a Wiener filter with the default spectrum
    expects of the E mode is first subtracted from every map, also of rotated galaxies. Behind the masks of
    `~astro_massmap.datasets.demo`, with 70 galaxies per square arcmin, the remaining leakage adds at most 0.2 standard
    deviations to the mean power of a band; without the filter it adds 1.9 to the band of the largest scales. Reduced
    shear, clustered sources, and shear that varies within coarse pixels also produce a small B mode.

    Parameters
    ----------
    catalog, n
        Galaxies, and number of maps of rotated galaxies; the p-value is a multiple of ``1 / (n + 1)``. A B mode is only
        reported as significant (p of 0.01 or less) with 99 or more.
    edges : array-like, optional
        Edges of the bands of ell; by default octaves, from the largest scale of the field to the smallest of the grid.
    seed, wcs, shape, pixel_scale, mask, progress
        See `noise_maps`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or no mode of the grid lies in the bands.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import b_mode_test
    >>> print(str(b_mode_test(datasets.demo(), 40, pixel_scale=3.2 * u.arcmin)).splitlines()[0])
    no significant B mode: chi2 = 3.0 in 3 bands, p = 0.415
    """
    _, survey = _prepared(catalog, n, seed, None, wcs, shape, pixel_scale, mask)
    observed = survey.observation()
    expected = ExpectedShear(observed, _PADDING)
    with progress_bar(total=n + 1, desc="rotations", disable=not progress) as bar:
        modes = [_e_and_b(observed, expected, bar)]
        modes += [_e_and_b(survey.rotated(seed, i), expected, bar) for i in range(n)]
    edges = _octaves(observed.shape, observed.pixel_size) if edges is None else edges
    maps = [image for pair in modes for image in pair]
    low, high, _, power = power_spectrum(maps, survey.shear.mask, observed.pixel_size, edges)
    filled = np.isfinite(power).all(axis=0)
    if not filled.any():
        raise ValueError(f"edges: need bands that contain modes of the grid, got {np.asarray(edges)}")
    table = ResultTable({"low": low, "high": high}, meta={"n": n, "seed": seed})
    for mode, (this, *noise) in {"e": power[::2], "b": power[1::2]}.items():
        mean, std = np.mean(noise, axis=0), np.std(noise, axis=0, ddof=1)
        table[f"{mode}_power"], table[f"{mode}_noise"], table[f"{mode}_noise_std"] = this, mean, std
        table[f"{mode}_significance"] = (this - mean) / std
    chi2 = _chi2_of_each(power[1::2, filled])
    return BModeTest(printed(table), float(chi2[0]), float((chi2 >= chi2[0]).mean()), int(n))


def _octaves(shape, pixel_size):
    side = np.sqrt(shape[0] * shape[1])
    return 2 * np.pi / (side * pixel_size) * np.geomspace(1, side / 2, max(1, round(np.log2(side / 2))) + 1)


def _chi2_of_each(power):
    """Return chi2 of each row against the mean and variance of all others."""
    n = len(power) - 1
    power = power / power.std(axis=0)
    mean = (power.sum(axis=0) - power) / n
    square = ((power**2).sum(axis=0) - power**2) / n
    variance = (square - mean**2) * n / (n - 1)
    return ((power - mean) ** 2 / variance).sum(axis=1)


def _e_and_b(observation, expected, bar):
    """Return the E mode, and the B mode after subtracting the expected shear of the E mode."""
    method = KaiserSquires(smoothing=0 * u.arcmin, padding=_PADDING)
    e_mode = method.solve(observation).mean
    bar.update()
    return e_mode, method.solve(expected.taken_from(observation)).b_mode


def _prepared(catalog, n, seed, method, wcs, shape, pixel_scale, mask):
    _check(catalog)
    check_integer(n, "n", 2)
    check_integer(seed, "seed", 0)
    method = KaiserSquires() if method is None else resolve(method)
    if mask is not None:
        grid = catalog.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale)  # grid of all galaxies
        catalog, wcs, shape, pixel_scale = catalog.outside(mask, grid.wcs), grid.wcs, grid.shape, None
    survey = BinnedSurvey(catalog, wcs=wcs, shape=shape, pixel_scale=pixel_scale)
    return for_sources(method, survey.shear.n_z)[0], survey


def _check(catalog):
    if not isinstance(catalog, ShearCatalog):
        raise TypeError(f"catalog: needs a ShearCatalog, got {type(catalog).__name__}")


def _solved(method, observation, bar):
    estimate = run(method, observation, progress=False)
    bar.update()
    return estimate
