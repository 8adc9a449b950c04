"""Targets of Hamiltonian Monte Carlo: prior and data at one noise level, with their Gaussian reference."""

import dataclasses

import torch

from .gaussian import GaussianPosterior

# Tolerances of the linear solves for velocities and kicks. With 3e-3 the power at the largest scales of a field of 320
# pixels is correct to 0.7 %, at all others to 0.1 %. An inexact kick is still reversible and of known size, with a
# relative error of its energy of 3e-2.
_VELOCITY, _KICK = 3e-3, 3e-2


def rotate(u, v, angle):
    """Return position and velocity after the flow of a Gaussian, a rotation by ``angle``."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return u * cos + v * sin, v * cos - u * sin


class SplitTarget:
    """
    Posterior of z, the map with noise of noise splitting.

    The reference is the exact Gaussian posterior of z; the gradient of the factor is the residual of the prior.

    Parameters
    ----------
    split, prior
        `~astro_massmap.inference.SplitPosterior`, and `~astro_massmap.priors.PriorOnGrid` of the convergence.

    Examples
    --------
    With a Gaussian prior there is no force:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, SplitPosterior, SplitTarget, Streams
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (32, 32))
    >>> target = SplitTarget(SplitPosterior(posterior, 0.05), GaussianPrior().on(posterior.grid))
    >>> float(target.force(target.mean + target.draw_velocity(Streams(0, [0]))).abs().max())
    0.0
    """

    flow = staticmethod(rotate)

    def __init__(self, split, prior):
        self.split, self.prior, self.mean, self.sigma = split, prior, split.mean, split.sigma

    def draw_velocity(self, streams):
        """Draw velocities ``(n, ny, nx // 2 + 1)`` from the covariance of z, with one linear solve."""
        return self.split.fluctuations(streams, _VELOCITY)

    def covariance(self, modes):
        """Apply the covariance of z to modes, with one linear solve; return zero for a Gaussian prior."""
        return torch.zeros_like(modes) if self.prior.gaussian else self.split.covariance(modes, _KICK)

    def force(self, modes):
        """Return the residual of the prior at modes ``(n, ny, nx // 2 + 1)``."""
        return self.prior.residual(modes, self.split.sigma)

    def log_factor(self, modes):
        """Return the log density of the prior minus that of its Gaussian component, ``(n,)``; None if unknown."""
        return self.prior.log_ratio(modes, self.split.sigma)

    def unknown_force(self, force, modes):
        """Return the force if the prior has no density, else None."""
        return None if self.log_factor(modes) is not None else force


class TemperedTarget:
    """
    Posterior with white noise of standard deviation ``sigma`` added to the data and to the prior.

    This is the scheme of Remy et al. (2020). It is the posterior itself at ``sigma = 0`` only: at other levels the
    noise counts twice. The reference is Gaussian and stationary, with the mean noise of the box; the factor contains
    the effects of the mask and of the residual of the prior.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        Posterior with the noise of this level added to the data and to the Gaussian component of the prior.
    prior, sigma
        `~astro_massmap.priors.PriorOnGrid` of the convergence, and noise level in units of kappa.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, Streams, TemperedTarget
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default())
    >>> target = TemperedTarget(posterior, GaussianPrior().on(posterior.grid), 0.0)
    >>> target.draw_velocity(Streams(0, [0])).shape
    torch.Size([1, 16, 9])
    """

    flow = staticmethod(rotate)

    def __init__(self, posterior: GaussianPosterior, prior, sigma):
        self.posterior, self.prior, self.sigma = posterior, prior, float(sigma)
        self.mean = self.centre = posterior.mean_modes()
        self.inverse_mass = self._reference = posterior.reference

    def draw_velocity(self, streams):
        """Draw velocities ``(n, ny, nx // 2 + 1)`` from the reference covariance."""
        grid = self.posterior.grid
        return self.inverse_mass.sqrt() * grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))

    def covariance(self, modes):
        """Apply the reference covariance to modes: one factor for each mode."""
        return self.inverse_mass * modes

    def _masked(self, modes):
        """Return the difference from the reference, ``(Lambda - reference^-1) (x - m)``."""
        u = modes - self.mean
        return self.posterior.precision(u) - u / self._reference

    def force(self, modes):
        """Return the residual of the prior at modes ``(n, ny, nx // 2 + 1)``, plus the effect of the mask."""
        masked = self._masked(modes)
        return -masked if self.prior.gaussian else self.prior.residual(modes, self.sigma) - masked

    def log_factor(self, modes):
        """Return the log of the effect of the mask, and of the density of the prior if known, ``(n,)``."""
        quadratic = -0.5 * self.posterior.grid.inner(modes - self.centre, self._masked(modes))
        ratio = self.prior.log_ratio(modes, self.sigma)
        return quadratic if ratio is None else quadratic + ratio

    def unknown_force(self, force, modes):
        """Return the residual of the prior if it has no density, else None."""
        if self.prior.log_ratio(modes, self.sigma) is not None:
            return None
        return force + self._masked(modes)


def noisier(observation, extra_variance):
    """Return an observation of the same shear with ``extra_variance`` added to the noise variance."""
    noise_std = (observation.noise_std**2 + extra_variance).sqrt()
    return dataclasses.replace(observation, noise_std=noise_std)
