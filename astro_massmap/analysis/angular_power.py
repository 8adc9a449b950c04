"""
The angular power spectrum of maps with a mask and edges.

A map kappa is multiplied by the window w, which is 1 where the map is used, falls to 0 along holes and edges, and is 0
beyond. The mean, weighted by w, is unknown to lensing and is subtracted. The field is put into a box twice as large,
whose N modes k do not feel the period of the box: with F the orthonormal transform and p the side of a pixel,
``P(k) = p^2 |F(w (kappa - mean))(k)|^2`` is in expectation a sum over the power of the sky,

``<P(k)> = 1/N sum_k' |w(k - k') - w(k) w*(k') / w(0)|^2 C(k')``,

where the second term is the effect of subtracting the mean. With C constant within bands b, the means of P over bands
are ``P_b = sum_b' M_bb' C_b'``, and ``C = M^-1 P`` corrects the mode coupling of window and edges (MASTER, Hivon et al.
2002). Bands below and above the requested edges are solved for too, so that their power does not leak. A constant
spectrum is unbiased; the mean of another over the modes of a band is recovered to 1 % for the convergence, and to 3 %
on scales as large as the field. The pixel window is not corrected.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import astropy.units as u
import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import distance_transform_edt

from .._io.quantities import bools, checked_level, floats
from .._io.result_tables import ResultTable, printed
from ..inference.grid import FourierGrid, padded_shape
from .quantiles import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import QTable
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Bools, Floats, Shape

__all__ = ["BandPowers", "default_edges", "power_spectrum", "spectrum_table"]

_STEP = 64 ** (1 / 12)  # ratio of the default edges: twelve bands in a field of 128 pixels
_SMALLEST = 4  # pixels along the side of a field
_LARGEST_PIXEL = 0.1  # radians; larger values are angles in other units
_WORST_CONDITION = 1e3
_TAPER = 2  # pixels


class BandPowers(NamedTuple):
    """
    Power spectra in bands.

    Attributes
    ----------
    low, high, ell : ndarray
        Edges of the bands in ell, and mean ell of their modes, ``(bands,)``.
    cl : ndarray
        C_ell ``(n, bands)``; NaN in bands without a mode.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.angular_power import power_spectrum
    >>> truth = datasets.demo_truth()
    >>> power_spectrum([truth.data], truth.mask, pixel_size=1e-4, edges=[500, 2000, 8000]).cl.shape
    (1, 2)
    """

    low: np.ndarray
    high: np.ndarray
    ell: np.ndarray
    cl: np.ndarray


def default_edges(shape: Shape, pixel_size: float) -> NDArray[np.float64]:
    """
    Compute edges of bands from the largest scale in a field to the Nyquist frequency.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the field, at least 4 x 4 (ValueError).
    pixel_size : float
        Side of a pixel in radians.

    Returns
    -------
    ndarray
        Edges in ell: equal steps of the fundamental mode at first, then a constant ratio of about 1.4.

    Examples
    --------
    >>> from astro_massmap.analysis.angular_power import default_edges
    >>> default_edges((32, 32), pixel_size=1e-3).round().tolist()
    [196.0, 393.0, 589.0, 823.0, 1151.0, 1608.0, 2248.0, 3142.0]
    """
    side, pixel_size = np.sqrt(shape[0] * shape[1]), _radians(pixel_size)
    if side < _SMALLEST:
        raise ValueError(f"maps: need {_SMALLEST} x {_SMALLEST} pixels or more, got {shape[0]} x {shape[1]}")
    longest, nyquist = 2 * np.pi / (side * pixel_size), np.pi / pixel_size
    even = np.arange(1, min(np.ceil(1 / (_STEP - 1)), side // 2) + 1)
    steps = round(np.log(side / 2 / even[-1]) / np.log(_STEP))
    edges = np.concatenate([longest * even[:-1], np.geomspace(longest * even[-1], nyquist, steps + 1)])
    edges[-1] = nyquist
    return edges


def power_spectrum(
    maps: Floats | Sequence[Floats],
    mask: Bools,
    pixel_size: float,
    edges: ArrayLike | None = None,
    *,
    apodization: float | None = None,
) -> BandPowers:
    """
    Measure angular power spectra of maps in bands, corrected for the mode coupling by mask and edges.

    Parameters
    ----------
    maps : ndarray or sequence of ndarray
        Maps ``(n, ny, nx)``; a pixel that is not finite in one of them is left out of all.
    mask : ndarray of bool
        Pixels ``(ny, nx)`` that are not used.
    pixel_size : float
        Side of a pixel in radians.
    edges : array-like, optional
        Edges of the bands in ell, increasing; by default `default_edges`.
    apodization : float, optional
        Width in radians over which the window falls along holes and edges; by default two pixels. A larger width
        reduces the scatter that large-scale power adds at high ell for a steep spectrum, and reduces the area.

    Raises
    ------
    ValueError
        If an argument is not as described, no pixel is left, or the mode-coupling matrix is nearly singular.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.analysis.angular_power import power_spectrum
    >>> noise = np.random.default_rng(0).normal(scale=0.1, size=(100, 32, 32))
    >>> bands = power_spectrum(noise, np.tri(32, dtype=bool), pixel_size=1e-4, edges=[5000, 10000, 20000])
    >>> bool(np.allclose(bands.cl.mean(axis=0), 0.1**2 * 1e-4**2, rtol=0.02))
    True
    """
    maps = [np.asarray(image) for image in maps]
    shapes = {image.shape for image in maps}
    if len(shapes) != 1 or maps[0].ndim != 2:
        raise ValueError(f"maps: need the shape (n, ny, nx), got {len(maps)} of shapes {sorted(shapes)}")
    pixel_size = _radians(pixel_size)
    shape = maps[0].shape
    edges = default_edges(shape, pixel_size) if edges is None else _check_edges(edges)
    used = reduce(np.logical_and, (np.isfinite(image) for image in maps), ~bools(mask, shape))
    window = _window(used, _TAPER if apodization is None else apodization / pixel_size)
    bands = _Bands(shape, pixel_size, edges)
    coupling = _coupling(window, bands)
    if not np.linalg.cond(coupling) < _WORST_CONDITION:
        raise ValueError(
            "edges, mask: the mode-coupling matrix is nearly singular for these bands and this mask; use wider bands"
        )
    power = np.array([_power(image, window, bands) for image in maps]) * pixel_size**2
    cl = np.linalg.solve(coupling, power.T).T
    return BandPowers(edges[:-1], edges[1:], bands.requested(bands.ell), bands.requested(cl))


def spectrum_table(
    mean: Floats,
    samples: Floats | None,
    mask: Bools,
    pixel_size: float,
    edges: ArrayLike | None = None,
    *,
    level: float = 0.68,
    apodization: float | None = None,
) -> QTable:
    """
    Measure the power spectra of a map and of its samples, as a table.

    Parameters and errors are those of `power_spectrum`, and ``mean``, ``samples`` (or None) and ``level`` those of
    `~astro_massmap.analysis.detection.region_statistics`.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``low``, ``high``, ``ell``, ``cl`` (of the map; a posterior mean has less power than the sky), and of
        the samples ``cl_samples`` (mean), ``std``, ``lower`` and ``upper``: NaN without samples.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.angular_power import spectrum_table
    >>> truth = datasets.demo_truth()
    >>> spectrum_table(truth.data, None, truth.mask, pixel_size=1e-4, edges=[500, 2000, 8000]).colnames
    ['low', 'high', 'ell', 'cl', 'cl_samples', 'std', 'lower', 'upper']
    """
    level = checked_level(level)
    maps = [mean] if samples is None else [mean, *samples]
    low, high, ell, (cl, *of_samples) = power_spectrum(maps, mask, pixel_size, edges, apodization=apodization)
    table = ResultTable({"low": low, "high": high, "ell": ell, "cl": cl})
    unknown, n = np.full(len(table), np.nan), len(of_samples)
    table["cl_samples"] = np.mean(of_samples, axis=0) if n else unknown
    table["std"] = np.std(of_samples, axis=0, ddof=1) if n > 1 else unknown
    table["lower"], table["upper"] = interval(of_samples, level) if n else (unknown, unknown)
    table.meta |= {"level": level, "n_samples": n, "apodization": apodization}
    return printed(table)


def _radians(pixel_size: ArrayLike) -> float:
    pixel_size = floats(pixel_size, "pixel_size", unit=u.rad)
    if pixel_size.ndim or not 0 < pixel_size < _LARGEST_PIXEL:
        raise ValueError(f"pixel_size: needs a positive angle in radians below {_LARGEST_PIXEL}, got {pixel_size}")
    return float(pixel_size)


def _check_edges(edges: ArrayLike) -> NDArray[np.float64]:
    edges = floats(edges, "edges")
    if edges.ndim != 1 or len(edges) < 2 or not (edges[0] >= 0 and (np.diff(edges) > 0).all()):
        raise ValueError(f"edges: need at least two increasing values that are not negative, got {edges}")
    return edges


def _window(used, taper):
    """Return the window: 1 in used pixels, a cosine over ``taper`` pixels along holes and edges, 0 elsewhere."""
    if not (np.isfinite(taper) and taper >= 0):
        raise ValueError(f"apodization: needs a finite width that is not negative, got {taper:g} pixels")
    if not used.any():
        raise ValueError("mask: needs pixels that are used, but all are masked or not finite")
    distance = distance_transform_edt(np.pad(used, 1))[1:-1, 1:-1]
    return (1 - np.cos(np.pi * np.minimum(distance / (taper + 1), 1))) / 2


class _Bands:
    """
    Bands of all modes of the padded box except k = 0: the requested bands, and others below and above.

    ``number`` is the band of each mode of the half-plane of a real transform, the number of bands for k = 0.
    """

    def __init__(self, shape, pixel_size, edges):
        self.box = padded_shape(shape, 2)
        grid = FourierGrid(shape, pixel_size, self.box)
        ell, self._multiplicity = grid.ell.numpy(), np.broadcast_to(grid.multiplicity.numpy(), grid.ell.shape)
        others = default_edges(shape, pixel_size)
        width = others[0]
        below, above = others[others <= edges[0] - width], others[others >= edges[-1] + width]
        bin_of_mode = np.digitize(ell, np.concatenate([below, edges, above]))
        bin_of_mode[0, 0] = len(below) + len(edges) + len(above) + 1
        filled, number = np.unique(bin_of_mode, return_inverse=True)
        self.number = number.reshape(ell.shape)
        self._count = len(filled) - 1
        self._modes = self.sum(np.ones(ell.shape))
        self._requested = len(below) + 1 + np.arange(len(edges) - 1)
        self._filled = filled[:-1]
        self.ell = self.mean(ell)

    def __len__(self):
        return self._count

    def sum(self, values):
        return np.bincount(self.number.ravel(), (values * self._multiplicity).ravel())[:-1]

    def mean(self, values):
        return self.sum(values) / self._modes

    def requested(self, values):
        """Select the requested bands of values ``(..., bands)``; NaN for those without modes."""
        index = np.minimum(np.searchsorted(self._filled, self._requested), self._count - 1)
        return np.where(self._filled[index] == self._requested, values[..., index], np.nan)


def _coupling(window, bands):
    """Return the mode-coupling matrix M ``(bands, bands)``."""
    size = bands.box[0] * bands.box[1]
    w = rfft2(window, s=bands.box, norm="ortho")
    power, w_0 = np.abs(w) ** 2, w[0, 0].real
    padded = irfft2(w, s=bands.box)  # the window divided by the root of N
    correlation = irfft2(power, s=bands.box)
    columns = []
    for b in range(len(bands)):
        inside = (bands.number == b).astype(float)
        direct = rfft2(correlation * irfft2(inside, s=bands.box))
        with_mean = (w * np.conj(rfft2(padded * irfft2(w * inside, s=bands.box)))).real / w_0
        mean_term = power * bands.sum(power)[b] / w_0**2 / size
        columns.append(bands.mean(direct.real - 2 * with_mean + mean_term))
    return np.stack(columns, axis=1)


def _power(image, window, bands):
    """Return the mean of P over each band, in units of the pixel area."""
    image = np.where(window > 0, image, 0).astype(float)
    image -= (window * image).sum() / window.sum()
    return bands.mean(np.abs(rfft2(window * image, s=bands.box, norm="ortho")) ** 2)
