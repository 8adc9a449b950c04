"""
The angular power spectrum of maps that are seen through a mask.

With a window w (0 where the mask is, faded towards it and towards the edges of the field), the power of ``w kappa`` is
that of kappa, mixed between wave numbers by the power of the window. In bands,

    P_b = sum over b' of M_bb' C_b',    M_bb' = mean over l in b of the sum over l' in b' of |W(l - l')|^2,

which is undone by the inverse of M (Hivon et al. 2002, on a flat sky). The field is padded by zeros to twice its
size, so that nothing wraps around.
"""

import numpy as np
from astropy.table import QTable
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_array

from ._input import bools

__all__ = ["power_spectrum", "spectrum_table"]

_FADE = 0.08  # of the shorter side of the field, over which the window rises from its edge
_N_BANDS = 12
_SINGULAR = 1e6  # condition number of the coupling


def default_edges(shape, pixel_size, n=_N_BANDS):
    """Edges of bands of equal width in log(ell), from one wave in the field to the Nyquist frequency."""
    return np.geomspace(2 * np.pi / (min(shape) * pixel_size), np.pi / pixel_size, n + 1)


def power_spectrum(maps, mask, pixel_size, edges=None):
    """
    Angular power spectrum of maps, in bands of ell.

    Parameters
    ----------
    maps : ndarray
        ``(n, ny, nx)``.
    mask : ndarray of bool or None
        ``(ny, nx)``, True where the maps are not to be used.
    pixel_size : float
        Side of a pixel in radians.
    edges : array-like, optional
        Of the bands, increasing; by default twelve of equal width in log(ell).

    Returns
    -------
    edges : ndarray
        Of the bands, ``(n_bands + 1,)``.
    ell : ndarray
        Mean ell of the modes of each band.
    cl : ndarray
        ``(n, n_bands)``.

    Raises
    ------
    ValueError
        If edges do not increase, a band holds no mode, or bands are too narrow to be told apart.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.angular_power import power_spectrum
    >>> white = np.random.default_rng(0).normal(size=(20, 64, 64))
    >>> edges, ell, cl = power_spectrum(white, None, pixel_size=1e-4, edges=[3000, 10000, 30000])
    >>> print((cl.mean(axis=0) / 1e-8).round(2))
    [1.   0.99]
    """
    maps = np.asarray(maps, dtype=float)
    mask = bools(mask, maps.shape[1:]) | ~np.isfinite(maps).all(axis=0)
    if mask.all():
        raise ValueError("mask: no pixel is left")
    edges = default_edges(mask.shape, pixel_size) if edges is None else np.asarray(edges, dtype=float)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges: need to be increasing, at least two, got {edges}")
    window = _window(mask)
    box = tuple(2 * n for n in mask.shape)
    ell = 2 * np.pi * np.hypot(np.fft.fftfreq(box[0], pixel_size)[:, None], np.fft.fftfreq(box[1], pixel_size))
    averages = _averages(ell, edges)
    filled = np.where(mask, 0, maps)
    mean = (window * filled).sum(axis=(1, 2), keepdims=True) / window.sum()
    pseudo = np.stack([np.abs(np.fft.fft2(window * m, s=box)) ** 2 for m in filled - mean])
    pseudo = averages @ pseudo.reshape(len(maps), -1).T * pixel_size**2
    coupling = _coupling(window, averages, box)
    if np.linalg.cond(coupling) > _SINGULAR:
        raise ValueError("edges: bands are too narrow to be told apart through this mask; use fewer, wider ones")
    named = np.searchsorted(_numbers(ell, edges), [1, len(edges)])
    cl = np.linalg.solve(coupling, pseudo)[slice(*named)]
    return edges, (averages @ ell.ravel())[slice(*named)], cl.T


def _window(mask):
    """1 well inside, 0 in the mask and outside of the field, a cosine between."""
    depth = distance_transform_edt(np.pad(~mask, 1))[1:-1, 1:-1]
    fade = max(_FADE * min(mask.shape), 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(depth / fade, 1))


def _numbers(ell, edges):
    """Numbers of the bands that hold modes: 0 below the edges, their number above them."""
    numbers = np.unique(np.searchsorted(edges, ell.ravel(), side="right"))
    missing = np.setdiff1d(np.arange(1, len(edges)), numbers)
    if len(missing):
        low, high = edges[missing[0] - 1], edges[missing[0]]
        raise ValueError(f"edges: the band from {low:g} to {high:g} holds no mode of this field; use wider ones")
    return numbers


def _averages(ell, edges):
    """The mean over each band, as a sparse matrix; what lies below and above the edges are bands too."""
    numbers = np.searchsorted(_numbers(ell, edges), np.searchsorted(edges, ell.ravel(), side="right"))
    counts = np.bincount(numbers)
    return csr_array((1 / counts[numbers], (numbers, np.arange(ell.size))), shape=(len(counts), ell.size))


def _coupling(window, averages, box):
    """How the bands mix: M of the head of this module."""
    power = np.fft.rfft2(np.abs(np.fft.fft2(window, s=box)) ** 2)
    columns = []
    for row in averages > 0:
        band = row.toarray().reshape(box).astype(float)
        columns.append(averages @ np.fft.irfft2(power * np.fft.rfft2(band), s=box).ravel())
    return np.stack(columns, axis=1) / (box[0] * box[1])


def spectrum_table(mean, samples, mask, pixel_size, edges=None, *, level=0.68):
    """
    Power spectra of a map and of its samples.

    Parameters
    ----------
    mean : ndarray
        ``(ny, nx)``.
    samples : ndarray or None
        ``(n_samples, ny, nx)``.
    mask, pixel_size, edges
        As for `power_spectrum`.
    level : float
        Of the interval over the samples.

    Returns
    -------
    `~astropy.table.QTable`
        ``low``, ``high``, ``ell``, ``cl``, and over the samples ``cl_samples`` (mean), ``std``, ``lower`` and
        ``upper``; NaN without samples.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: needs to be between 0 and 1, got {level!r}")
    maps = mean[None] if samples is None else np.concatenate([mean[None], samples])
    edges, ell, (cl, *of_samples) = power_spectrum(maps, mask, pixel_size, edges)
    of_samples = np.array(of_samples) if samples is not None else np.full((1, len(ell)), np.nan)
    table = QTable({"low": edges[:-1], "high": edges[1:], "ell": ell, "cl": cl, "cl_samples": of_samples.mean(axis=0)})
    table["std"] = of_samples.std(axis=0, ddof=1) if len(of_samples) > 1 else np.full(len(ell), np.nan)
    table["lower"], table["upper"] = np.quantile(of_samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    table.meta |= {"level": level, "n_samples": 0 if samples is None else len(samples)}
    return table
