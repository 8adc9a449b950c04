"""What Hamiltonian Monte Carlo samples: a prior and data at one noise level, with their reference Gaussian."""

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
    """

    flow = staticmethod(rotate)

    def __init__(self, split, prior):
        self.split, self.prior, self.mean, self.sigma = split, prior, split.mean, split.sigma

    def draw_velocity(self, streams):
        return self.split.fluctuations(streams, _VELOCITY)

    def covariance(self, modes):
        return torch.zeros_like(modes) if self.prior.gaussian else self.split.covariance(modes, _KICK)

    def force(self, modes):
        return self.prior.residual(modes, self.split.sigma)

    def log_factor(self, modes):
        return self.prior.log_ratio(modes, self.split.sigma)

    def unknown_force(self, force, modes):
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
        The level.
    """

    flow = staticmethod(rotate)

    def __init__(self, posterior: GaussianPosterior, prior, sigma):
        self.posterior, self.prior, self.sigma = posterior, prior, float(sigma)
        self.mean = self.centre = posterior.mean_modes()
        self.inverse_mass = self._reference = posterior.reference

    def draw_velocity(self, streams):
        grid = self.posterior.grid
        return self.inverse_mass.sqrt() * grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))

    def covariance(self, modes):
        return self.inverse_mass * modes

    def _masked(self, modes):
        """What the reference gets wrong: ``(Lambda - reference^-1) (x - m)``."""
        u = modes - self.mean
        return self.posterior.precision(u) - u / self._reference

    def force(self, modes):
        masked = self._masked(modes)
        return -masked if self.prior.gaussian else self.prior.residual(modes, self.sigma) - masked

    def log_factor(self, modes):
        quadratic = -0.5 * self.posterior.grid.inner(modes - self.centre, self._masked(modes))
        ratio = self.prior.log_ratio(modes, self.sigma)
        return quadratic if ratio is None else quadratic + ratio

    def unknown_force(self, force, modes):
        if self.prior.log_ratio(modes, self.sigma) is not None:
            return None
        return force + self._masked(modes)


class LeapfrogTarget(TemperedTarget):
    """
    The same posterior, moved by plain leapfrog steps instead of rotations.

    Parameters
    ----------
    posterior, prior, sigma
        As for `TemperedTarget`.
    mass : {'identity', 'fourier'}
        The same for all modes, as in the paper, so that a step of length 1 moves by the width of the
        narrowest; or the precision of the reference, mode by mode.
    """

    def __init__(self, posterior, prior, sigma, mass="identity"):
        super().__init__(posterior, prior, sigma)
        self.mean = torch.zeros_like(self.centre)
        if mass == "identity":
            self.inverse_mass = posterior.reference.min().expand(posterior.reference.shape)

    @staticmethod
    def flow(u, v, angle):
        return u + angle * v, v

    def _masked(self, modes):
        """All of the force: there is no reference here."""
        return self.posterior.precision(modes - self.centre)


def noisier(observation, extra_variance):
    """An observation of the same shear with more noise, or less, by the variance given."""
    noise_std = (observation.noise_std**2 + extra_variance).sqrt()
    return type(observation)(observation.shear, noise_std, observation.pixel_size)
