"""
Null tests of a catalogue, and its noise.

Gravity makes E modes and, to first order, no B modes. Galaxies that are turned by random angles keep their shapes and
lose the lensing: what is left is noise, as it is in this survey, with its mask, weights and outliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.table import QTable

from .._utils.checks import check_integer
from .._utils.progress import progress_bar
from ..analysis.angular_power import power_spectrum
from ..maps.catalog import ShearCatalog
from ..maps.convergence_map import ConvergenceMap
from ..methods import KaiserSquires, resolve, run
from ..methods.wiener import ExpectedShear
from .binned_survey import BinnedSurvey, generator_of_angles, random_phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import RegionsLike, Shape
    from ..methods import Method

__all__ = ["BModeTest", "b_mode_test", "jackknife", "noise_maps", "rotated"]

_LEVEL = 0.01
_LEAST_ROTATIONS = round(1 / _LEVEL) - 1
_PADDING = 2.0


def rotated(catalog: ShearCatalog, seed: int | Sequence[int]) -> ShearCatalog:
    """
    The catalogue with every galaxy turned by a random angle: its noise, without lensing.

    Parameters
    ----------
    catalog : ShearCatalog
        The galaxies.
    seed : int or sequence of int
        Of the angles.

    Returns
    -------
    ShearCatalog
        Its additive bias is taken off before.

    Raises
    ------
    TypeError
        If it is no catalogue.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import rotated
    >>> catalog = datasets.demo()
    >>> turned = rotated(catalog, seed=1)
    >>> bool(abs(turned.shape_noise / catalog.shape_noise - 1) < 1e-12)
    True
    """
    _check(catalog)
    for part in np.atleast_1d(seed):
        check_integer(part, "seed", 0)
    return catalog.with_shear(catalog.west_north * random_phase(len(catalog), seed))


def noise_maps(
    catalog: ShearCatalog,
    n: int = 32,
    *,
    method: str | Method | None = None,
    seed: int = 0,
    wcs: WCS | None = None,
    shape: Shape | None = None,
    pixel_scale: u.Quantity | None = None,
    mask: RegionsLike | None = None,
    progress: bool = False,
) -> ConvergenceMap:
    """
    Maps of randomly turned galaxies.

    Parameters
    ----------
    catalog : ShearCatalog
        The galaxies.
    n : int
        Maps, at least two.
    method : str or method object, optional
        How they are mapped; by default `~astro_massmap.KaiserSquires`. Of a method with samples only the mean is used.
    seed : int
        Of the angles; map i is that of ``rotated(catalog, [seed, i])``.
    wcs, shape, pixel_scale
        The grid, as for `~astro_massmap.ShearCatalog.to_map`.
    mask : regions, optional
        Regions whose galaxies are left out, as for `~astro_massmap.ShearCatalog.to_map`.
    progress : bool
        Show a bar.

    Returns
    -------
    ConvergenceMap
        The maps as its samples, their mean and standard deviation.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import noise_maps
    >>> catalog = datasets.demo()
    >>> noise = noise_maps(catalog, 8, pixel_scale=1.6 * u.arcmin)
    >>> kappa = catalog.reconstruct("kaiser_squires", pixel_scale=1.6 * u.arcmin)
    >>> noise.samples.shape, bool((kappa.data / noise.uncertainty.array).max() > 4)
    ((8, 32, 32), True)
    """
    method, survey = _prepared(catalog, n, seed, method, wcs, shape, pixel_scale, mask)
    with progress_bar(total=n, desc="rotations", disable=not progress) as bar:
        maps = [_solved(method, survey.turned(seed, i), bar) for i in range(n)]
    samples = np.stack([m.mean for m in maps])
    return survey.noise_map(samples.mean(axis=0), samples, maps[0].diagnostics | {"noise": "rotated galaxies"})


def jackknife(
    catalog: ShearCatalog,
    n: int = 32,
    *,
    method: str | Method | None = None,
    seed: int = 0,
    wcs: WCS | None = None,
    shape: Shape | None = None,
    pixel_scale: u.Quantity | None = None,
    mask: RegionsLike | None = None,
    progress: bool = False,
) -> ConvergenceMap:
    """
    The noise of a map from maps that lack some of the galaxies.

    Galaxies are put into ``n`` random groups, and each map lacks one of them. The variance is ``(n - 1) / n`` times
    the sum of the squared deviations from the mean of the maps (Efron 1982); it needs several galaxies in a pixel.

    Parameters
    ----------
    catalog, n, method, wcs, shape, pixel_scale, mask, progress
        As for `noise_maps`.
    seed : int
        Of the groups.

    Returns
    -------
    ConvergenceMap
        The map of all galaxies with this standard deviation. Its samples are the maps that lack a group, their
        deviations from the mean made larger by ``(n - 1) / sqrt(n)`` and put around the map of all galaxies: their
        scatter is that of the jackknife, also that of means over regions.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or galaxies are too few for the groups.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import jackknife
    >>> kappa = jackknife(datasets.demo(), 16, pixel_scale=1.6 * u.arcmin)
    >>> bool((kappa.data / kappa.uncertainty.array).max() > 4)
    True
    """
    method, survey = _prepared(catalog, n, seed, method, wcs, shape, pixel_scale, mask)
    if survey.n_galaxies < 2 * n:
        raise ValueError(f"n: {survey.n_galaxies} galaxies are too few for {n} groups")
    group = generator_of_angles(seed).permutation(np.arange(len(catalog)) % n)
    with progress_bar(total=n + 1, desc="jackknife", disable=not progress) as bar:
        whole = _solved(method, survey.observation(), bar)
        parts = np.stack([_solved(method, survey.observation(kept=group != i), bar).mean for i in range(n)])
    samples = whole.mean + (parts - parts.mean(axis=0)) * (n - 1) / np.sqrt(n)
    return survey.noise_map(whole.mean, samples, whole.diagnostics | {"noise": "jackknife"})


@dataclass(frozen=True)
class BModeTest:
    """
    What a catalogue shows of E and B modes.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        In bands of ell (``low``, ``high``): of each mode the power C_ell (``e_power``, ``b_power``), its mean and
        scatter over maps of turned galaxies (``e_noise``, ``e_noise_std``, ``b_noise``, ``b_noise_std``), and by how
        much of that scatter the power exceeds the noise (``e_significance``, ``b_significance``). NaN in bands without
        waves.
    chi2 : float
        Of the B mode: the sum over bands of the squared deviation from the mean of all other maps, over their variance.
    p_value : float
        Share of maps, this one and those of turned galaxies, whose chi2 is as large.
    n : int
        Maps of turned galaxies.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import b_mode_test
    >>> report = b_mode_test(datasets.demo(), 40, pixel_scale=3.2 * u.arcmin)
    >>> print(str(report).splitlines()[0])
    no sign of a B mode: chi2 = 3.0 in 3 bands, p = 0.415

    Sixteen rotations cannot detect a B mode, however strong, at the level of 0.01:

    >>> from astro_massmap.validation.null_tests import BModeTest
    >>> BModeTest(report.table, chi2=100.0, p_value=1 / 17, n=16).ok is None
    True
    """

    table: QTable
    chi2: float
    p_value: float
    n: int

    @property
    def ok(self) -> bool | None:
        """
        True if there is no significant B mode (p above 0.01), False if there is one, None if that is undecided.

        Without a B mode it is False by chance in 1 of 100 cases. It is None where p is the least that n rotations can
        give, ``1 / (n + 1)``, and that is above 0.01: the test needs at least 99 rotations.
        """
        if self.n < _LEAST_ROTATIONS and self.p_value < 1.5 / (self.n + 1):
            return None
        return self.p_value > _LEVEL

    def __str__(self) -> str:
        verdict = {
            True: "no sign of a B mode",
            False: "there is a B mode, which lensing does not make",
            None: f"no verdict from {self.n} rotations, whose least p this is: at least {_LEAST_ROTATIONS} are needed",
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
    Is there a B mode?

    The power of the B mode of the Kaiser-Squires map, in bands of ell, against that of randomly turned galaxies. Every
    map, this one too, is compared with the mean and the scatter of all others, so that without lensing the rank of its
    chi2 is as fair as that of any of them, and the p-value exact.

    Holes and edges turn some of the E mode of lensing into B. Therefore the shear that a Wiener filter expects of the
    E mode, with the default spectrum, is first taken from every map, also of turned galaxies. Behind the holes of
    `~astro_massmap.datasets.demo`, with 70 galaxies per square arcmin, what is left of the leakage adds at most 0.2
    standard deviations to the mean power of a band; without the filter it adds 1.9 to that of the longest waves.
    Reduced shear, clustered sources, and shear that varies within coarse pixels make a little B mode too.

    Parameters
    ----------
    catalog : ShearCatalog
        The galaxies.
    n : int
        Maps of rotated galaxies; the p-value is a multiple of ``1 / (n + 1)``. A B mode is only reported as
        significant (p of 0.01 or less) with 99 or more.
    edges : array-like, optional
        Of the bands of ell; by default octaves, from the longest wave in the field to the finest on the grid.
    seed, wcs, shape, pixel_scale, mask, progress
        As for `noise_maps`.

    Returns
    -------
    BModeTest

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or no wave of the grid lies in the bands.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.null_tests import b_mode_test
    >>> report = b_mode_test(datasets.demo(), 40, pixel_scale=1.6 * u.arcmin)
    >>> report.ok, bool(report.table["e_significance"].max() > 5)
    (True, True)
    """
    _, survey = _prepared(catalog, n, seed, None, wcs, shape, pixel_scale, mask)
    observed = survey.observation()
    expected = ExpectedShear(observed, _PADDING)
    with progress_bar(total=n + 1, desc="rotations", disable=not progress) as bar:
        modes = [_e_and_b(observed, expected, bar)]
        modes += [_e_and_b(survey.turned(seed, i), expected, bar) for i in range(n)]
    edges = _octaves(observed.shape, observed.pixel_size) if edges is None else edges
    maps = [image for pair in modes for image in pair]
    low, high, _, power = power_spectrum(maps, survey.shear.mask, observed.pixel_size, edges)
    filled = np.isfinite(power).all(axis=0)
    if not filled.any():
        raise ValueError(f"edges: no wave of the grid lies in the bands {np.asarray(edges)}")
    table = QTable({"low": low, "high": high}, meta={"n": n, "seed": seed})
    for mode, (this, *turned) in {"e": power[::2], "b": power[1::2]}.items():
        mean, std = np.mean(turned, axis=0), np.std(turned, axis=0, ddof=1)
        table[f"{mode}_power"], table[f"{mode}_noise"], table[f"{mode}_noise_std"] = this, mean, std
        table[f"{mode}_significance"] = (this - mean) / std
    chi2 = _chi2_of_each(power[1::2, filled])
    return BModeTest(table, float(chi2[0]), float((chi2 >= chi2[0]).mean()), int(n))


def _octaves(shape, pixel_size):
    side = np.sqrt(shape[0] * shape[1])
    return 2 * np.pi / (side * pixel_size) * np.geomspace(1, side / 2, max(1, round(np.log2(side / 2))) + 1)


def _chi2_of_each(power):
    """Of each row, against the mean and variance of all others."""
    n = len(power) - 1
    power = power / power.std(axis=0)
    mean = (power.sum(axis=0) - power) / n
    square = ((power**2).sum(axis=0) - power**2) / n
    variance = (square - mean**2) * n / (n - 1)
    return ((power - mean) ** 2 / variance).sum(axis=1)


def _e_and_b(observation, expected, bar):
    """The E mode, and the B mode of what the expected E mode leaves of the shear."""
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
        grid = catalog.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale)  # that of all galaxies
        catalog, wcs, shape, pixel_scale = catalog.outside(mask, grid.wcs), grid.wcs, grid.shape, None
    return method, BinnedSurvey(catalog, wcs=wcs, shape=shape, pixel_scale=pixel_scale)


def _check(catalog):
    if not isinstance(catalog, ShearCatalog):
        raise TypeError(f"catalog: needs a ShearCatalog, got {type(catalog).__name__}")


def _solved(method, observation, bar):
    estimate = run(method, observation, progress=False)
    bar.update()
    return estimate
