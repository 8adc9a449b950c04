"""What one asks of a map and of its samples."""

import numpy as np
from astropy.uncertainty import Distribution


class Questions:
    """Methods of `~astro_massmap.ConvergenceMap` that ask, and change nothing."""

    def quantile(self, q):
        """
        Quantiles of the samples, pixel by pixel.

        Parameters
        ----------
        q : float or array-like
            Between 0 and 1.

        Returns
        -------
        ndarray
            ``(ny, nx)``, or ``(len(q), ny, nx)``.

        Raises
        ------
        ValueError
            If the map has no samples, or q is out of range.
        """
        return np.quantile(self._need_samples(), q, axis=0)

    @property
    def median(self):
        """Median of the samples ``(ny, nx)``; ValueError without samples."""
        return np.median(self._need_samples(), axis=0)

    @property
    def distribution(self):
        """The samples as an `astropy.uncertainty.Distribution`; ValueError without samples."""
        return Distribution(np.moveaxis(self._need_samples(), 0, -1))

    def _need_samples(self):
        if self.samples is None:
            raise ValueError("samples: the map is a point estimate; reconstruct it with n_samples > 0")
        return self.samples
