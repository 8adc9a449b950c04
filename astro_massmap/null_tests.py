"""
Null tests of a catalogue, and its noise.

Gravity makes E modes and, to first order, no B modes. Galaxies that are turned by random angles keep their shapes and
lose the lensing: what is left is noise, as it is in this survey, with its mask, weights and outliers.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable

from ._progress import progress_bar
from .angular_power import power_spectrum
from .catalog import ShearCatalog
from .convergence_map import ConvergenceMap
from .methods import KaiserSquires, resolve

__all__ = ["BModeTest", "b_mode_test", "jackknife", "noise_maps", "rotated"]


def rotated(catalog, seed):
    """
    The catalogue with every galaxy turned by a random angle: its noise, without lensing.

    Parameters
    ----------
    catalog : ShearCatalog
        The galaxies.
    seed : int
        Of the angles.

    Returns
    -------
    ShearCatalog

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.null_tests import rotated
    >>> catalog = datasets.demo()
    >>> turned = rotated(catalog, seed=1)
    >>> bool(abs(turned.shape_noise / catalog.shape_noise - 1) < 1e-12)
    True
    """
    _check(catalog)
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(catalog))
    return catalog._with_shear(catalog._west_north * np.exp(1j * angle))


def noise_maps(catalog, n=32, *, method=None, seed=0, wcs=None, shape=None, pixel_scale=None, progress=False):
    """
    Maps of randomly turned galaxies.

    Parameters
    ----------
    catalog : ShearCatalog
        The galaxies.
    n : int
        Maps, at least two.
    method : str or method object, optional
        How they are mapped; by default `~astro_massmap.KaiserSquires`.
    seed : int
        Of the angles; map i has those of ``[seed, i]``.
    wcs, shape, pixel_scale
        The grid, as for `ShearCatalog.to_map`.
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
    """
    method, grid = _prepared(catalog, n, method, wcs, shape, pixel_scale)
    with progress_bar(total=n, desc="rotations", disable=not progress) as bar:
        maps = [_mapped(rotated(catalog, [seed, i]), method, grid, bar) for i in range(n)]
    samples = np.stack([m.data for m in maps])
    return _noise(maps[0], samples.mean(axis=0), samples.std(axis=0, ddof=1), samples, "rotated galaxies")


def jackknife(catalog, n=32, *, method=None, seed=0, wcs=None, shape=None, pixel_scale=None, progress=False):
    """
    The noise of a map from maps that lack some of the galaxies.

    Galaxies are put into ``n`` random groups, and each map lacks one of them. The variance is ``(n - 1) / n`` times
    the sum of the squared deviations from the mean of the maps (Efron 1982); it needs several galaxies in a pixel.

    Parameters
    ----------
    catalog, n, method, wcs, shape, pixel_scale, progress
        As for `noise_maps`.
    seed : int
        Of the groups.

    Returns
    -------
    ConvergenceMap
        The map of all galaxies with this standard deviation; its samples are the maps that lack a group.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    method, grid = _prepared(catalog, n, method, wcs, shape, pixel_scale)
    if len(catalog) < 2 * n:
        raise ValueError(f"n: {len(catalog)} galaxies are too few for {n} groups")
    group = np.random.default_rng(seed).permutation(np.arange(len(catalog)) % n)
    with progress_bar(total=n + 1, desc="jackknife", disable=not progress) as bar:
        whole = _mapped(catalog, method, grid, bar)
        samples = np.stack([_mapped(catalog[group != i], method, grid, bar).data for i in range(n)])
    std = np.sqrt((n - 1) / n * ((samples - samples.mean(axis=0)) ** 2).sum(axis=0))
    return _noise(whole, whole.data, std, samples, "jackknife")


@dataclass(frozen=True)
class BModeTest:
    """
    What a catalogue shows of E and B modes.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        In bands of ell (``low``, ``high``): ``e_power`` and ``b_power`` of the maps, ``noise`` and ``noise_std``, the
        mean and scatter of the power of turned galaxies, and ``e_significance`` and ``b_significance``, by how much of
        that scatter the power exceeds it.
    chi2 : float
        Sum of the squared significances of the B mode.
    p_value : float
        Share of maps, this one and those of turned galaxies, whose chi2 is as large.
    """

    table: QTable
    chi2: float
    p_value: float

    @property
    def ok(self):
        """Whether there is no clear sign of a B mode: p above 0.01."""
        return self.p_value > 0.01

    def __str__(self):
        verdict = "no sign of a B mode" if self.ok else "there is a B mode, which lensing does not make"
        lines = [f"{verdict}: chi2 = {self.chi2:.1f} in {len(self.table)} bands, p = {self.p_value:.3f}"]
        lines += [f"{'ell':>15}  E / noise  B / noise  E sigma  B sigma"]
        for row in self.table:
            e, b = (row[f"{mode}_power"] / row["noise"] for mode in "eb")
            lines.append(
                f"{row['low']:6.0f} - {row['high']:6.0f}  {e:9.2f}  {b:9.2f}  {row['e_significance']:7.1f}  "
                f"{row['b_significance']:7.1f}"
            )
        return "\n".join(lines)


def b_mode_test(catalog, n=128, *, edges=None, seed=0, wcs=None, shape=None, pixel_scale=None, progress=False):
    """
    Is there a B mode?

    The power of the E and the B mode of the Kaiser-Squires map, in bands of ell, against that of randomly turned
    galaxies. Every map, this one too, is compared with the mean and the scatter of all others, so that its rank is as
    fair as that of any of them; the mask mixes E and B modes alike in all.

    Parameters
    ----------
    catalog : ShearCatalog
        The galaxies.
    n : int
        Maps of turned galaxies; the p-value is a multiple of ``1 / (n + 1)``.
    edges : array-like, optional
        Of the bands of ell; by default six.
    seed, wcs, shape, pixel_scale, progress
        As for `noise_maps`.

    Returns
    -------
    BModeTest

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.null_tests import b_mode_test
    >>> report = b_mode_test(datasets.demo(), 40, pixel_scale=1.6 * u.arcmin)
    >>> report.ok
    True
    """
    method, grid = _prepared(catalog, n, KaiserSquires(smoothing=0 * u.arcmin), wcs, shape, pixel_scale)
    with progress_bar(total=n + 1, desc="rotations", disable=not progress) as bar:
        whole = _mapped(catalog, method, grid, bar)
        turned = [_mapped(rotated(catalog, [seed, i]), method, grid, bar) for i in range(n)]
    size = whole.pixel_scale.to_value(u.rad)
    if edges is None:
        edges = np.geomspace(2 * np.pi / (min(whole.shape) * size), np.pi / size, 7)
    maps = np.stack([whole.data, whole.b_mode.data, *(m.b_mode.data for m in turned), *(m.data for m in turned)])
    low, high, _, power = power_spectrum(maps, whole.mask, size, edges)
    e, b, noise_b, noise_e = power[0], power[1], power[2 : n + 2], power[n + 2 :]
    noise = np.concatenate([noise_b, noise_e])
    table = QTable({"low": low, "high": high, "e_power": e, "b_power": b})
    table["noise"], table["noise_std"] = noise.mean(axis=0), noise.std(axis=0, ddof=1)
    table["e_significance"] = (e - table["noise"]) / table["noise_std"]
    table["b_significance"] = (b - table["noise"]) / table["noise_std"]
    table.meta["n"] = n
    chi2 = _chi2_of_each(np.concatenate([b[None], noise_b]))
    return BModeTest(table, float(chi2[0]), float((chi2 >= chi2[0]).mean()))


def _chi2_of_each(power):
    """Of each row, against the mean and scatter of all others."""
    n = len(power) - 1
    mean = (power.sum(axis=0) - power) / n
    square = ((power**2).sum(axis=0) - power**2) / n
    variance = (square - mean**2) * n / (n - 1)
    return ((power - mean) ** 2 / variance).sum(axis=1)


def _prepared(catalog, n, method, wcs, shape, pixel_scale):
    """The method, and the grid of all maps: that of the catalogue."""
    _check(catalog)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise ValueError(f"n: needs an integer of at least 2, got {n!r}")
    shear = catalog.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale)
    method = KaiserSquires() if method is None else resolve(method, {})
    return method, {"wcs": shear.wcs, "shape": shear.shape}


def _check(catalog):
    if not isinstance(catalog, ShearCatalog):
        raise TypeError(f"catalog: needs a ShearCatalog, got {type(catalog).__name__}")


def _mapped(catalog, method, grid, bar):
    kappa = catalog.reconstruct(method, **grid, progress=False)
    bar.update()
    return kappa


def _noise(like, data, std, samples, kind):
    return ConvergenceMap(
        data, wcs=like.wcs, uncertainty=std, mask=like.mask, samples=samples, meta={**like.meta, "noise": kind}
    )
