"""Smoothing within a field: what lies outside does not count, and does not become known."""

import numpy as np
from scipy.ndimage import gaussian_filter


def smoother(field, pixels):
    """
    A function that smooths maps of one field by a Gaussian.

    Parameters
    ----------
    field : ndarray of bool
        ``(ny, nx)``, where the maps are known.
    pixels : float
        Standard deviation of the Gaussian.

    Returns
    -------
    callable
        From a map ``(ny, nx)`` to the weighted mean over the field around each pixel; NaN outside of it.
    """
    share = gaussian_filter(field.astype(float), pixels, mode="constant")

    def smooth(image):
        total = gaussian_filter(np.where(field, image, 0), pixels, mode="constant", output=float)
        return np.divide(total, share, out=np.full(field.shape, np.nan), where=field)

    return smooth
