"""
Noise splitting: a part of the noise of the data moves into the map, and the posterior of that map is simple.

The data are ``y = P kappa + n`` with pixel noise N. Choose s below the smallest noise of a pixel and give
the map a share of the noise: with w a white part of it (n = s w + the rest, where there is data),

    z = kappa + s P' w + s sqrt(1 - |P|^2) white,      that is  z = kappa + white noise of deviation s.

With a Gaussian prior the posterior of z is Gaussian: with Lambda and m those of `GaussianPosterior` and
``G = 1 - s^2 P' N^-1 P``,

    mean  m + s^2 P' N^-1 (y - P m),      covariance  G Lambda^-1 G + s^2 G.

With another prior it is that Gaussian times the ratio of the prior at noise level s to its Gaussian part:
all that a sampler has to explore. Given z, kappa does not depend on the data any more.
"""

import math

from .gaussian import GaussianPosterior


class SplitPosterior:
    """
    The Gaussian posterior of z = kappa + white noise of standard deviation ``sigma``.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        That of kappa, with the noise of the data.
    sigma : float
        The share of the noise that moves into the map; no pixel may have less noise.

    Attributes
    ----------
    mean : `torch.Tensor`
        Modes ``(ny, nx // 2 + 1)`` of the mean of z.

    Raises
    ------
    ValueError
        If a pixel has less noise than ``sigma``, or this is not positive.
    ConvergenceError
        If a system cannot be solved to the tolerance.

    Examples
    --------
    Of a map of the convergence with the same noise everywhere, all noise may move into the map: z is then the data.

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import ConvergenceObservation, GaussianPosterior, SplitPosterior
    >>> kappa = np.random.default_rng(0).normal(scale=0.1, size=(16, 16))
    >>> observation = ConvergenceObservation.from_arrays(kappa, np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), dtype=torch.float64)
    >>> split = SplitPosterior(posterior, 0.1)
    >>> np.allclose(split.grid.to_field(split.mean), kappa)
    True
    >>> SplitPosterior(posterior, 0.2)
    Traceback (most recent call last):
    ...
    ValueError: sigma: needs to be positive and below the least noise of a pixel 0.1, got 0.2
    """

    def __init__(self, posterior: GaussianPosterior, sigma: float):
        least = math.sqrt(posterior.best_noise)
        if not 0 < sigma <= least * (1 + 1e-6):
            raise ValueError(
                f"sigma: needs to be positive and below the least noise of a pixel {least:.3g}, got {sigma}"
            )
        self.posterior, self.sigma, self.grid = posterior, float(sigma), posterior.grid
        kappa = posterior.mean_modes()
        residual = posterior.shear - posterior.operator.forward(kappa)
        residual *= posterior.weight
        self.mean = self._added(kappa, posterior.operator.adjoint(residual))

    def _added(self, a, b):
        """``a + s^2 b``"""
        return self.grid.pointwise(lambda a, b: a + self.sigma**2 * b, a, b)

    def shrink(self, modes):
        """``G`` applied to modes."""
        return self.grid.pointwise(
            lambda x, data: x - self.sigma**2 * data, modes, self.posterior.data_precision(modes)
        )

    def covariance(self, modes, tolerance=None):
        """The covariance of z applied to modes ``(n, ny, nx // 2 + 1)``; costs a linear solve."""
        shrunk = self.shrink(modes)
        return self._added(self.shrink(self.posterior.solve(shrunk, tolerance)), shrunk)

    def fluctuations(self, streams, tolerance=None):
        """Modes ``(n, ny, nx // 2 + 1)`` drawn from the covariance of z."""
        return self.lift(self.posterior.fluctuations(streams, tolerance), 0.0, streams)

    def lift(self, kappa, shear, streams):
        """
        Draw z given kappa and the data.

        Given the noise n of a pixel, its white part w has mean ``s n / N`` and variance ``1 - s^2 / N``; in
        pixels without data it is standard normal.

        Parameters
        ----------
        kappa : `torch.Tensor`
            Modes ``(n, ny, nx // 2 + 1)``.
        shear : `torch.Tensor` or float
            The data ``(2, *field_shape)``.
        streams : `~astro_massmap.inference.Streams`
            Random numbers.
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
