"""What maps are compared by: power in bands of ell, moments, peaks."""

import math
from functools import partial

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
        Side of a pixel in radians.
    edges : array-like
        Of the bands, multipoles ``(bands + 1,)``, increasing.

    Returns
    -------
    power : ndarray
        C_ell ``(n, bands)``, the mean over the modes of a band; NaN where there are none.

    See Also
    --------
    band_mean : What it is for a given spectrum.

    Examples
    --------
    White noise has the same power at all ell, its variance times the solid angle of a pixel:

    >>> import numpy as np
    >>> from astro_massmap.simulation import band_power
    >>> noise, pixel = np.random.default_rng(0).normal(scale=0.03, size=(100, 64, 64)), 1.2e-4
    >>> power = band_power(noise, pixel, [4000, 8000, 16000])
    >>> power.shape
    (100, 2)
    >>> bool(np.allclose(power.mean(axis=0), (0.03 * pixel) ** 2, rtol=0.05))
    True
    """
    maps = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float64))  # those of FITS files are big-endian
    ny, nx = maps.shape[-2:]
    hann = partial(torch.hann_window, periodic=False, dtype=torch.float64, device="cpu")
    window = torch.outer(hann(ny), hann(nx))
    mean = (maps * window).sum(dim=(-2, -1), keepdim=True) / window.sum()
    power = torch.fft.rfft2((maps - mean) * window).abs().square() * pixel_size**2 / window.square().sum()
    grid = FourierGrid((ny, nx), pixel_size, dtype=torch.float64)
    numbers, counts = _bands(grid, edges)
    sums = power.new_zeros((len(maps), len(edges) + 1))
    sums.index_add_(1, numbers.flatten(), (power * grid.multiplicity).flatten(1))
    return (sums[:, 1:-1] / counts).numpy()


def band_mean(spectrum, shape, pixel_size, edges):
    """
    The mean of a spectrum over the same modes as in `band_power`.

    Parameters
    ----------
    spectrum : callable
        C_ell at an array of ``ell > 0``.
    shape : tuple of int
        Rows and columns of a map.
    pixel_size : float
        Side of a pixel in radians.
    edges : array-like
        Of the bands, multipoles ``(bands + 1,)``, increasing.

    Returns
    -------
    ndarray
        ``(bands,)``; NaN where there are no modes.

    Examples
    --------
    The mean of the square of ell over a ring is that of the squares of its edges:

    >>> import numpy as np
    >>> from astro_massmap.simulation import band_mean
    >>> edges = np.array([2000.0, 4000.0, 8000.0, 16000.0])
    >>> mean = band_mean(lambda ell: ell**2, (128, 128), 1.2e-4, edges)
    >>> bool(np.allclose(mean, (edges[:-1] ** 2 + edges[1:] ** 2) / 2, rtol=0.05))
    True
    """
    grid = FourierGrid(shape, pixel_size, dtype=torch.float64)
    numbers, counts = _bands(grid, edges)
    ell = grid.ell.clone()
    ell[0, 0] = ell[0, 1]
    values = torch.as_tensor(spectrum(ell.numpy()), dtype=torch.float64, device="cpu") * grid.multiplicity
    sums = values.new_zeros(len(edges) + 1).index_add_(0, numbers.flatten(), values.flatten())
    return (sums[1:-1] / counts).numpy()


def _bands(grid, edges):
    numbers = torch.bucketize(grid.ell, torch.from_numpy(np.array(edges, dtype=np.float64)), right=True)
    multiplicity = grid.multiplicity.expand(numbers.shape).flatten()
    counts = multiplicity.new_zeros(len(edges) + 1).index_add_(0, numbers.flatten(), multiplicity)
    counts[counts == 0] = float("nan")
    return numbers, counts[1:-1]


def smoothed(maps, pixel_size, sigma):
    """
    Maps after a Gaussian, less a border of three standard deviations of it.

    Parameters
    ----------
    maps : array-like
        ``(n, ny, nx)``.
    pixel_size : float
        Side of a pixel in radians.
    sigma : float
        Standard deviation of the Gaussian in radians.

    Returns
    -------
    ndarray
        ``(n, ny - 2 * edge, nx - 2 * edge)`` in double precision, with ``edge`` the pixels in three of ``sigma``,
        rounded up.

    Examples
    --------
    One bright pixel becomes a Gaussian with the height ``1 / (2 pi sigma^2)``:

    >>> import math
    >>> import numpy as np
    >>> from astro_massmap.simulation import smoothed
    >>> spike = np.zeros((1, 41, 51))
    >>> spike[0, 20, 25] = 1
    >>> image = smoothed(spike, 1e-4, 3e-4)
    >>> image.shape
    (1, 23, 33)
    >>> print(f"{image.max() * 2 * math.pi * 3**2:.4f}")
    1.0000
    """
    pixels = sigma / pixel_size
    edge = math.ceil(3 * pixels)
    maps = np.stack([gaussian_filter(np.asarray(m, dtype=np.float64), pixels, truncate=5) for m in maps])
    return maps[:, edge : maps.shape[1] - edge, edge : maps.shape[2] - edge]


def moments(maps):
    """
    Standard deviation, skewness and excess kurtosis of all pixels of some maps, about their common mean.

    Parameters
    ----------
    maps : array-like
        ``(n, ny, nx)``; or of any other shape.

    Returns
    -------
    std, skewness, kurtosis : float
        The last two are 0 for a Gaussian field.

    Examples
    --------
    A coin has no skewness, and the least kurtosis that there is, -2:

    >>> from astro_massmap.simulation import moments
    >>> print("{:.1f} {:.1f} {:.1f}".format(*moments([[[1.0, -1.0], [-1.0, 1.0]]])))
    1.0 0.0 -2.0

    The skewness of a lognormal map is positive, as that of the sky:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> maps = lognormal_maps(PowerSpectrum.default(), 4, (64, 64), 1.2e-4)
    >>> bool(moments(maps)[1] > 0.5)
    True
    """
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
        Side of a pixel in radians.
    thresholds : sequence of float
        Values of kappa.

    Returns
    -------
    ndarray
        ``(n, thresholds)``: pixels as high as the highest of their eight neighbours or higher, per square degree. The
        outermost pixels do not count, nor does their area.

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
        peaks = image[inner][(image == maximum_filter(image, 3, mode="nearest"))[inner]]
        area = np.degrees(pixel_size) ** 2 * (image.shape[0] - 2) * (image.shape[1] - 2)
        found.append([(peaks > threshold).sum() / area for threshold in thresholds])
    return np.array(found)
