"""
Noise splitting: a part of the noise of the data is added to the map, whose posterior is then simple.

The data are ``y = P kappa + n`` with pixel noise N. Choose s below the lowest noise of a pixel, and let w be a white
part of the noise (n = s w + the rest, where there are data). The map

    z = kappa + s P' w + s sqrt(1 - |P|^2) white      is  z = kappa + white noise of standard deviation s.

With a Gaussian prior the posterior of z is Gaussian: with Lambda and m of `GaussianPosterior` and
``G = 1 - s^2 P' N^-1 P``,

    mean  m + s^2 P' N^-1 (y - P m),      covariance  G Lambda^-1 G + s^2 G.

With another prior it is that Gaussian times the ratio of the prior at noise level s to its Gaussian component, and
only this ratio needs sampling. Given z, kappa is independent of the data.
"""

import math

from .gaussian import GaussianPosterior


class SplitPosterior:
    """
    Gaussian posterior of z = kappa + white noise of standard deviation ``sigma``; ``mean`` has the modes of its mean.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        Posterior of kappa, with the noise of the data.
    sigma : float
        Standard deviation of the noise of z, at most the lowest noise of a pixel.

    Raises
    ------
    ValueError
        If a pixel has less noise than ``sigma``, or ``sigma`` is not positive.
    SolverError
        If a linear system cannot be solved to the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import ConvergenceObservation, GaussianPosterior, SplitPosterior
    >>> observation = ConvergenceObservation.from_arrays(np.ones((16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), dtype=torch.float64)
    >>> split = SplitPosterior(posterior, 0.1)  # z contains all the noise: it is equal to the data
    >>> np.allclose(split.grid.to_field(split.mean), 1)
    True
    """

    def __init__(self, posterior: GaussianPosterior, sigma: float):
        least = math.sqrt(posterior.best_noise)
        if not 0 < sigma <= least * (1 + 1e-6):
            raise ValueError(
                f"sigma: needs to be positive and at most the lowest noise of a pixel, {least:.3g}, got {sigma}"
            )
        self.posterior, self.sigma, self.grid = posterior, float(sigma), posterior.grid
        kappa = posterior.mean_modes()
        residual = posterior.shear - posterior.operator.forward(kappa)
        residual *= posterior.weight
        self.mean = self._added(kappa, posterior.operator.adjoint(residual))

    def _added(self, a, b):
        return self.grid.pointwise(lambda a, b: a + self.sigma**2 * b, a, b)

    def shrink(self, modes):
        """Apply ``G`` to modes."""
        return self.grid.pointwise(
            lambda x, data: x - self.sigma**2 * data, modes, self.posterior.data_precision(modes)
        )

    def covariance(self, modes, tolerance=None):
        """Apply the covariance of z to modes ``(n, ny, nx // 2 + 1)``, with one linear solve."""
        shrunk = self.shrink(modes)
        return self._added(self.shrink(self.posterior.solve(shrunk, tolerance)), shrunk)

    def fluctuations(self, streams, tolerance=None):
        """Draw modes ``(n, ny, nx // 2 + 1)`` from the covariance of z."""
        return self.lift(self.posterior.fluctuations(streams, tolerance), 0.0, streams)

    def lift(self, kappa, shear, streams):
        """
        Draw z given kappa, modes ``(n, ny, nx // 2 + 1)``, and the data ``shear``, ``(2, *field_shape)``.

        Given the noise n of a pixel, its white part w has mean ``s n / N`` and variance ``1 - s^2 / N``; in pixels
        without data w is standard normal.
        """
        s, grid, p = self.sigma, self.grid, self.posterior
        white = streams.normal(2, *grid.box_shape, dtype=grid.dtype)
        rows, columns = grid.field_shape
        inside = white[..., :rows, :columns]
        inside *= (1 - s**2 * p.weight).clamp(min=0).sqrt()
        inside += s * p.weight * (shear - p.operator.forward(kappa))
        seen = p.on_box.adjoint(white)
        del white, inside
        unseen = grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))
        return grid.pointwise(
            lambda x, p1, p2, seen, unseen: x + s * seen + s * (1 - (p1**2 + p2**2)).clamp(min=0).sqrt() * unseen,
            kappa,
            p.operator.p1,
            p.operator.p2,
            seen,
            unseen,
        )
