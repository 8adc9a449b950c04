"""What maps are compared by: power in bands of ell, moments, peaks."""

import math

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, maximum_filter

from ..inference.grid import FourierGrid


def band_power(maps, pixel_size, edges):
    """
    Power spectrum of flat maps that are not periodic, in bands.

    A map is multiplied by a Hann window along both axes, which keeps power of the long waves from leaking into the
    short ones, and its power is divided by the mean square of the window. Waves as long as the map lose up to half of
    their power with its mean.

    Parameters
    ----------
    maps : array-like
        ``(n, ny, nx)``.
    pixel_size : float
        In radians.
    edges : array-like
        Of the bands, multipoles.

    Returns
    -------
    power : ndarray
        C_ell ``(n, bands)``, the mean over the modes of a band; NaN where there are none.
    """
    maps = torch.as_tensor(np.asarray(maps, dtype=np.float64))  # those of FITS files are big-endian
    ny, nx = maps.shape[-2:]
    window = torch.outer(*(torch.hann_window(side, periodic=False, dtype=torch.float64) for side in (ny, nx)))
    mean = (maps * window).sum(dim=(-2, -1), keepdim=True) / window.sum()
    power = torch.fft.rfft2((maps - mean) * window).abs().square() * pixel_size**2 / window.square().sum()
    grid = FourierGrid((ny, nx), pixel_size, dtype=torch.float64)
    numbers, counts = _bands(grid, edges)
    sums = torch.zeros((len(maps), len(edges) + 1), dtype=torch.float64)
    sums.index_add_(1, numbers.flatten(), (power * grid.multiplicity).flatten(1))
    return (sums[:, 1:-1] / counts).numpy()


def band_mean(spectrum, shape, pixel_size, edges):
    """The mean of ``spectrum(ell)`` over the same modes as in `band_power`, ``(bands,)``."""
    grid = FourierGrid(shape, pixel_size, dtype=torch.float64)
    numbers, counts = _bands(grid, edges)
    ell = grid.ell.clone()
    ell[0, 0] = ell[0, 1]
    values = torch.as_tensor(spectrum(ell.numpy())) * grid.multiplicity
    sums = torch.zeros(len(edges) + 1, dtype=torch.float64).index_add_(0, numbers.flatten(), values.flatten())
    return (sums[1:-1] / counts).numpy()


def _bands(grid, edges):
    numbers = torch.bucketize(grid.ell, torch.as_tensor(np.asarray(edges, dtype=float)), right=True)
    multiplicity = grid.multiplicity.expand(numbers.shape).flatten()
    counts = torch.zeros(len(edges) + 1, dtype=torch.float64).index_add_(0, numbers.flatten(), multiplicity)
    counts[counts == 0] = float("nan")
    return numbers, counts[1:-1]


def smoothed(maps, pixel_size, sigma):
    """Maps after a Gaussian of standard deviation ``sigma`` (radians), less a border of three of it."""
    pixels = sigma / pixel_size
    edge = math.ceil(3 * pixels)
    maps = np.stack([gaussian_filter(np.asarray(m, dtype=np.float64), pixels, truncate=5) for m in maps])
    return maps[:, edge : maps.shape[1] - edge, edge : maps.shape[2] - edge]


def moments(maps):
    """Standard deviation, skewness and excess kurtosis of all pixels of some maps, about their common mean."""
    x = np.asarray(maps, dtype=np.float64)
    x = x - x.mean()
    variance = np.mean(x**2)
    return math.sqrt(variance), np.mean(x**3) / variance**1.5, np.mean(x**4) / variance**2 - 3


def peak_density(maps, pixel_size, thresholds):
    """
    Peaks per square degree above some thresholds.

    Parameters
    ----------
    maps : array-like
        ``(n, ny, nx)``, smoothed as wanted.
    pixel_size : float
        In radians.
    thresholds : sequence of float
        Values of kappa.

    Returns
    -------
    ndarray
        ``(n, thresholds)``: pixels higher than their eight neighbours, per square degree.
    """
    found = []
    for image in np.asarray(maps):
        inner = np.s_[1:-1, 1:-1]
        peaks = image[inner][(image == maximum_filter(image, 3, mode="nearest"))[inner]]
        area = np.degrees(pixel_size) ** 2 * (image.shape[0] - 2) * (image.shape[1] - 2)
        found.append([(peaks > threshold).sum() / area for threshold in thresholds])
    return np.array(found)
