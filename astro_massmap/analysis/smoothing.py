"""Gaussian smoothing of maps within a field."""

import numpy as np
from scipy.ndimage import gaussian_filter


def smoother(field, pixels):
    """
    Return a function that smooths maps ``(ny, nx)``, known on a field, by a Gaussian of this standard deviation.

    Its result is the weighted mean over the field around each pixel; NaN outside of the field.
    """
    covered = gaussian_filter(field.astype(float), pixels, mode="constant")

    def smooth(image):
        total = gaussian_filter(np.where(field, image, 0), pixels, mode="constant", output=float)
        return np.divide(total, covered, out=np.full(field.shape, np.nan), where=field)

    return smooth
