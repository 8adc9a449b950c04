"""Binning of galaxies into pixels."""

import numpy as np

_RANGE = 1e-100  # relative weights below which the normalisation is per pixel


def normalised(weight):
    """Divide weights ``(n,)`` by a power of two, without rounding, so that the largest is of order one."""
    return np.ldexp(weight, -np.frexp(weight.max(initial=0))[1])


def pixel_numbers(x, y, shape):
    """Return which positions ``(n,)`` are on a grid (NaN is not), and the numbers of the pixels of these."""
    ny, nx = shape
    on_grid = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    return on_grid, (np.floor(y[on_grid] + 0.5) * nx + np.floor(x[on_grid] + 0.5)).astype(np.intp)


def bin_galaxies(x, y, shear, *, weight, response, shape_noise, shape):
    """
    Return the mean shear ``(2, ny, nx)`` of the galaxies in each pixel, its noise and the counts, both ``(ny, nx)``.

    The mean is ``sum(w e) / sum(w (1 + m))``, zero without galaxies, and its noise ``shape_noise sqrt(sum(w^2)) /
    sum(w (1 + m))``, infinite without galaxies. Pixel positions, complex shear along the pixel axes, weight w and
    response ``1 + m`` are ``(n,)``; galaxies off the grid, or at NaN, are left out.
    """
    ny, nx = shape
    on_grid, pixel = pixel_numbers(x, y, shape)
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


def mean_in_pixels(x, y, values, weight, shape):
    """Return the weighted mean of values ``(n,)`` in each pixel, ``(ny, nx)``, zero without galaxies."""
    return bin_galaxies(x, y, values + 0j, weight=weight, response=1.0, shape_noise=1.0, shape=shape)[0][0]


def in_pixels_with_data(x, y, noise_std):
    """Return bool ``(n,)`` for positions in pixels of finite noise; NaN is in none."""
    found, pixel = pixel_numbers(x, y, noise_std.shape)
    found[found] = np.isfinite(noise_std.ravel()[pixel])
    return found
