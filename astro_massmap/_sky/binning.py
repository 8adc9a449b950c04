"""Binning of galaxies into pixels."""

import numpy as np

_RANGE = 1e-100  # relative weights below which the normalisation is per pixel


def normalised(weight):
    """Divide weights ``(n,)`` by a power of two, without rounding, so that the largest is of order one."""
    return np.ldexp(weight, -np.frexp(weight.max(initial=0))[1])


def bin_galaxies(x, y, shear, *, weight, response, shape_noise, shape):
    """
    Return the weighted mean shear of the galaxies in each pixel, and its noise.

    Parameters
    ----------
    x, y : ndarray
        Pixel positions ``(n,)``; galaxies off the grid, or at NaN, are left out.
    shear : ndarray
        Complex shear ``(n,)`` along the pixel axes.
    weight : ndarray
        Weights ``(n,)``.
    response : float or ndarray
        Response ``1 + m`` to shear, with the multiplicative bias m.
    shape_noise : float
        Standard deviation of a component of the shear of a galaxy.
    shape : tuple of int
        Rows and columns of the grid.

    Returns
    -------
    data, noise_std, counts : ndarray
        Shear ``sum(w e) / sum(w (1 + m))``, ``(2, ny, nx)``, zero without galaxies; its noise
        ``shape_noise sqrt(sum(w^2)) / sum(w (1 + m))``, ``(ny, nx)``, infinite without galaxies; number of galaxies.
    """
    ny, nx = shape
    on_grid = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    pixel = (np.floor(y[on_grid] + 0.5) * nx + np.floor(x[on_grid] + 0.5)).astype(np.intp)
    w, e = normalised(weight[on_grid]), shear[on_grid]
    if w.min(initial=1) < _RANGE:  # squares would underflow
        largest = np.zeros(ny * nx)
        np.maximum.at(largest, pixel, weight[on_grid])
        w = np.ldexp(weight[on_grid], -np.frexp(largest)[1][pixel])
    w_response = w * (response if np.ndim(response) == 0 else response[on_grid])
    sums = (np.bincount(pixel, q, minlength=ny * nx) for q in (w * e.real, w * e.imag, w**2, w_response))
    e1, e2, w2, r = (s.reshape(shape) for s in sums)
    occupied = r > 0
    r = np.where(occupied, r, 1)
    noise_std = np.where(occupied, shape_noise * np.sqrt(w2) / r, np.inf)
    return np.stack([e1 / r, e2 / r]), noise_std, np.bincount(pixel, minlength=ny * nx).reshape(shape)
