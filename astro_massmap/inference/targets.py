"""What Hamiltonian Monte Carlo samples: a prior and data at one noise level, with their reference Gaussian."""

import dataclasses

import torch

from .gaussian import GaussianPosterior

# Velocities and kicks need not be solved for to the last digit. With 3e-3 the power of the longest waves of a
# field of 320 pixels is right to 0.7 %, that of all others to 0.1 %. A kick that is a little off is still a kick:
# reversible, and of known size; only its energy is known to 3e-2 of itself.
_VELOCITY, _KICK = 3e-3, 3e-2


def rotate(u, v, angle):
    """The flow of a Gaussian: a quarter turn exchanges position and velocity."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return u * cos + v * sin, v * cos - u * sin


class SplitTarget:
    """
    The posterior of z, the map with its share of the noise.

    The reference is the Gaussian posterior of z, exactly; the factor is the residual of the prior alone.

    Parameters
    ----------
    split : `~astro_massmap.inference.SplitPosterior`
        The reference.
    prior : `~astro_massmap.priors.PriorOnGrid`
        The prior.

    Examples
    --------
    With a Gaussian prior there is no force, and the flow of the reference is all: a quarter turn makes a position of
    the velocity.

    >>> import math
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import GaussianPrior, PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, SplitPosterior, SplitTarget, Streams
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (32, 32))
    >>> target = SplitTarget(SplitPosterior(posterior, 0.05), GaussianPrior().on(posterior.grid))
    >>> u, v = target.draw_velocity(Streams(0, [0])), target.draw_velocity(Streams(0, [1]))
    >>> float(target.force(target.mean + u).abs().max())
    0.0
    >>> torch.allclose(target.flow(u, v, torch.tensor(math.pi / 2))[0], v, atol=1e-6)
    True
    """

    flow = staticmethod(rotate)

    def __init__(self, split, prior):
        self.split, self.prior, self.mean, self.sigma = split, prior, split.mean, split.sigma

    def draw_velocity(self, streams):
        """Velocities ``(n, ny, nx // 2 + 1)`` from the covariance of z; costs a linear solve."""
        return self.split.fluctuations(streams, _VELOCITY)

    def covariance(self, modes):
        """The covariance of z applied to modes; costs a linear solve. Zero with a Gaussian prior, which needs none."""
        return torch.zeros_like(modes) if self.prior.gaussian else self.split.covariance(modes, _KICK)

    def force(self, modes):
        """The residual of the prior at modes ``(n, ny, nx // 2 + 1)``."""
        return self.prior.residual(modes, self.split.sigma)

    def log_factor(self, modes):
        """Log density of the prior less that of its Gaussian half, ``(n,)``; None where it is unknown."""
        return self.prior.log_ratio(modes, self.split.sigma)

    def unknown_force(self, force, modes):
        """All of the force if the prior has no density, else None."""
        return None if self.log_factor(modes) is not None else force


class TemperedTarget:
    """
    The posterior with white noise of deviation ``sigma`` added to the noise of the data and to the prior.

    This is the scheme of Remy et al. (2020). It is the posterior itself at ``sigma = 0`` only: the noise is
    counted twice at any other level. The reference is Gaussian and stationary, with the mean noise of the
    box; its factor holds what the mask and the residual of the prior change.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        Of the observation with the noise of this level, under the Gaussian half with its noise.
    prior : `~astro_massmap.priors.PriorOnGrid`
        The prior.
    sigma : float
        The level, noise in units of kappa.

    Examples
    --------
    With the same noise everywhere in a periodic field and a Gaussian prior, the reference is the posterior: no force
    is left.

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, Streams, TemperedTarget
    >>> shear = np.random.default_rng(0).normal(scale=0.1, size=(2, 16, 16))
    >>> observation = Observation.from_arrays(shear, np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default())
    >>> target = TemperedTarget(posterior, GaussianPrior().on(posterior.grid), 0.0)
    >>> modes = target.mean + target.draw_velocity(Streams(0, [0]))
    >>> bool(target.force(modes).abs().max() < 1e-3 * posterior.precision(modes).abs().max())
    True
    """

    flow = staticmethod(rotate)

    def __init__(self, posterior: GaussianPosterior, prior, sigma):
        self.posterior, self.prior, self.sigma = posterior, prior, float(sigma)
        self.mean = self.centre = posterior.mean_modes()
        self.inverse_mass = self._reference = posterior.reference

    def draw_velocity(self, streams):
        """Velocities ``(n, ny, nx // 2 + 1)`` from the reference covariance."""
        grid = self.posterior.grid
        return self.inverse_mass.sqrt() * grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))

    def covariance(self, modes):
        """The reference covariance applied to modes: one factor a mode."""
        return self.inverse_mass * modes

    def _masked(self, modes):
        """What the reference gets wrong: ``(Lambda - reference^-1) (x - m)``."""
        u = modes - self.mean
        return self.posterior.precision(u) - u / self._reference

    def force(self, modes):
        """The residual of the prior at modes ``(n, ny, nx // 2 + 1)``, and what the mask changes."""
        masked = self._masked(modes)
        return -masked if self.prior.gaussian else self.prior.residual(modes, self.sigma) - masked

    def log_factor(self, modes):
        """Log of what the mask changes, and of the density of the prior where it is known: ``(n,)``."""
        quadratic = -0.5 * self.posterior.grid.inner(modes - self.centre, self._masked(modes))
        ratio = self.prior.log_ratio(modes, self.sigma)
        return quadratic if ratio is None else quadratic + ratio

    def unknown_force(self, force, modes):
        """The residual of the prior if it has no density, else None."""
        if self.prior.log_ratio(modes, self.sigma) is not None:
            return None
        return force + self._masked(modes)


def noisier(observation, extra_variance):
    """An observation of the same shear with more noise, or less, by the variance given."""
    noise_std = (observation.noise_std**2 + extra_variance).sqrt()
    return dataclasses.replace(observation, noise_std=noise_std)
