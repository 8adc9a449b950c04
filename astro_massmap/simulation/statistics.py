"""Summary statistics of maps: power in bands of ell, moments, peaks."""

import math
from functools import partial

import numpy as np
import torch

from ..analysis.local_maxima import local_maxima
from ..analysis.smoothing import smoother
from ..inference.grid import FourierGrid


def band_power(maps, pixel_size, edges):
    """
    Measure the power spectrum of flat, non-periodic maps in bands.

    Each map is multiplied by a Hann window along both axes, which limits leakage from large to small scales, and its
    power is divided by the mean square of the window. Modes of the size of the map lose up to half of their power with
    the mean.

    Parameters
    ----------
    maps, pixel_size
        Maps ``(n, ny, nx)``, and side of a pixel in radians.
    edges : array-like
        Edges of the bands in ell, ``(bands + 1,)``, increasing.

    Returns
    -------
    ndarray
        C_ell ``(n, bands)``, the mean over the modes of a band; NaN for bands without modes.

    Examples
    --------
    The power of white noise is its variance times the solid angle of a pixel:

    >>> import numpy as np
    >>> from astro_massmap.simulation import band_power
    >>> noise = np.random.default_rng(0).normal(size=(100, 64, 64))
    >>> print((band_power(noise, 1e-4, [4000, 8000, 16000]).mean(axis=0) / 1e-8).round(1))
    [1. 1.]
    """
    maps = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float64))  # converts big-endian maps of FITS files
    ny, nx = maps.shape[-2:]
    hann = partial(torch.hann_window, periodic=False, dtype=torch.float64, device="cpu")
    window = torch.outer(hann(ny), hann(nx))
    mean = (maps * window).sum(dim=(-2, -1), keepdim=True) / window.sum()
    power = torch.fft.rfft2((maps - mean) * window).abs().square() * pixel_size**2 / window.square().sum()
    grid = FourierGrid((ny, nx), pixel_size, dtype=torch.float64)
    return _band_means(power, grid, edges).numpy()


def band_mean(spectrum, shape, pixel_size, edges):
    """
    Return the mean of a spectrum over the modes of `band_power`.

    Parameters
    ----------
    spectrum : callable
        C_ell at an array of ``ell > 0``.
    shape, pixel_size, edges
        Rows and columns of a map; pixels and bands, as for `band_power`.

    Returns
    -------
    ndarray
        C_ell ``(bands,)``; NaN for bands without modes.

    Examples
    --------
    The mean of ell^2 over a ring is that of the squares of its edges:

    >>> from astro_massmap.simulation import band_mean
    >>> print((band_mean(lambda ell: ell**2, (128, 128), 1e-4, [3000, 4000]) / 12.5e6).round(1))
    [1.]
    """
    grid = FourierGrid(shape, pixel_size, dtype=torch.float64)
    ell = grid.ell.clone()
    ell[0, 0] = ell[0, 1]
    values = torch.as_tensor(spectrum(ell.numpy()), dtype=torch.float64, device="cpu")
    return _band_means(values[None], grid, edges)[0].numpy()


def _band_means(values, grid, edges):
    """Return means of ``(n, ny, nx // 2 + 1)`` over the modes of each band, ``(n, bands)``; NaN without modes."""
    # The other binnings in ell differ for a reason, and use ell in single precision: `angular_power` adds bands outside
    # of the edges and removes empty bands for its coupling matrix, `inference.Bands` assigns modes row by row on the
    # device of the sampler, and `training.regression` sums products without the multiplicity of the stored modes.
    numbers = torch.bucketize(grid.ell, torch.from_numpy(np.array(edges, dtype=np.float64)), right=True).flatten()
    multiplicity = grid.multiplicity.expand(grid.ell.shape)
    counts, sums = (
        x.new_zeros((len(x), len(edges) + 1)).index_add_(1, numbers, x.flatten(1))
        for x in (multiplicity[None], values * multiplicity)
    )
    counts[counts == 0] = float("nan")
    return sums[:, 1:-1] / counts[:, 1:-1]


def smoothed(maps, pixel_size, sigma):
    """
    Smooth maps by a Gaussian, and cut off a border of three standard deviations.

    Parameters
    ----------
    maps, pixel_size
        Maps ``(n, ny, nx)`` and side of a pixel, as for `band_power`.
    sigma : float
        Standard deviation of the Gaussian in radians.

    Returns
    -------
    ndarray
        Maps ``(n, ny - 2 * edge, nx - 2 * edge)`` in double precision, where ``edge`` is 3 sigma in pixels, rounded up.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import smoothed
    >>> image = smoothed(np.ones((1, 41, 51)), 1e-4, 3e-4)
    >>> print(image.shape, image.max().round(3))
    (1, 23, 33) 1.0
    """
    pixels = sigma / pixel_size
    edge = math.ceil(3 * pixels)
    maps = np.asarray(maps)
    smooth = smoother(np.ones(maps.shape[1:], dtype=bool), pixels)
    maps = np.stack([smooth(image) for image in maps])
    return maps[:, edge : maps.shape[1] - edge, edge : maps.shape[2] - edge]


def moments(maps):
    """
    Return standard deviation, skewness and excess kurtosis of all pixels about their common mean.

    Parameters
    ----------
    maps : array-like
        Maps of any shape.

    Returns
    -------
    std, skewness, kurtosis : float
        Moments; skewness and excess kurtosis of a Gaussian field are 0.

    Examples
    --------
    >>> from astro_massmap.simulation import moments
    >>> print("{:.1f} {:.1f} {:.1f}".format(*moments([[[1.0, -1.0], [-1.0, 1.0]]])))
    1.0 0.0 -2.0
    """
    x = np.asarray(maps, dtype=np.float64)
    x = x - x.mean()
    variance = np.mean(x**2)
    return math.sqrt(variance), np.mean(x**3) / variance**1.5, np.mean(x**4) / variance**2 - 3


def peak_density(maps, pixel_size, thresholds):
    """
    Count peaks per square degree above some thresholds.

    Parameters
    ----------
    maps, pixel_size
        Maps ``(n, ny, nx)``, smoothed as needed, and side of a pixel, as for `band_power`.
    thresholds : sequence of float
        Thresholds of the convergence.

    Returns
    -------
    ndarray
        Peaks per square degree, ``(n, thresholds)``: those of `~astro_massmap.analysis.peaks.local_maxima` without the
        outermost pixels, whose area is not counted either.

    Examples
    --------
    Two peaks on a square degree, one of them above 0.05:

    >>> import numpy as np
    >>> from astro_massmap.simulation import peak_density
    >>> image = np.zeros((1, 62, 62))
    >>> image[0, 20, 30], image[0, 40, 10] = 0.04, 0.08
    >>> peak_density(image, np.radians(1 / 60), [0.03, 0.05, 0.1]).round(6).tolist()
    [[2.0, 1.0, 0.0]]
    """
    found = []
    for image in np.asarray(maps):
        inner = np.s_[1:-1, 1:-1]
        peaks = image[inner][local_maxima(image)[inner]]
        area = np.degrees(pixel_size) ** 2 * (image.shape[0] - 2) * (image.shape[1] - 2)
        found.append([(peaks > threshold).sum() / area for threshold in thresholds])
    return np.array(found)
