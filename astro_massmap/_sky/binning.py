"""From galaxies to pixels."""

import numpy as np

_RANGE = 1e-100  # of weights, below which they are normalised pixel by pixel


def normalised(weight):
    """Weights ``(n,)`` over a power of two, which is exact: the largest is of order one, and its square is finite."""
    return np.ldexp(weight, -np.frexp(weight.max(initial=0))[1])


def bin_galaxies(x, y, shear, *, weight, response, shape_noise, shape):
    """
    Weighted mean shear of the galaxies in each pixel, and its noise.

    Parameters
    ----------
    x, y : ndarray
        Pixel positions ``(n,)``; those off the grid, or NaN, are left out.
    shear : ndarray
        Complex shear ``(n,)`` along the pixel axes.
    weight : ndarray
        Weights ``(n,)``.
    response : float or ndarray
        Response to shear, ``1 + m`` with the multiplicative bias m.
    shape_noise : float
        Standard deviation of a component of the shear of a galaxy.
    shape : tuple of int
        Rows and columns of the grid.

    Returns
    -------
    data : ndarray
        ``(2, ny, nx)``: ``sum(w e) / sum(w (1 + m))``, zero without galaxies.
    noise_std : ndarray
        ``(ny, nx)``: ``shape_noise / sqrt(N_eff)`` with ``N_eff = (sum w)^2 / sum(w^2)``, over the mean
        response; infinite without galaxies.
    counts : ndarray
        Galaxies in each pixel, ``(ny, nx)``.
    """
    ny, nx = shape
    on_grid = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    pixel = (np.floor(y[on_grid] + 0.5) * nx + np.floor(x[on_grid] + 0.5)).astype(np.intp)
    w, e = normalised(weight[on_grid]), shear[on_grid]
    if w.min(initial=1) < _RANGE:  # their squares would vanish
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
