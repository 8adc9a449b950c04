"""The kernel of Remy et al. (2020): plain leapfrog steps."""

import torch

from astro_massmap.inference import TemperedTarget


class LeapfrogTarget(TemperedTarget):
    """
    A `~astro_massmap.inference.TemperedTarget` with plain leapfrog steps instead of rotations.

    Parameters
    ----------
    posterior, prior, sigma
        See `~astro_massmap.inference.TemperedTarget`.
    mass : {'identity', 'fourier'}
        Mass matrix: one mass for all modes, as in Remy et al. (2020), so that a step of length 1 moves by the width of
        the narrowest mode; or the precision of the reference, mode by mode.
    """

    def __init__(self, posterior, prior, sigma, mass="identity"):
        if mass not in ("identity", "fourier"):
            raise ValueError(f"mass: needs to be 'identity' or 'fourier', got {mass!r}")
        super().__init__(posterior, prior, sigma)
        self.mean = torch.zeros_like(self.centre)
        if mass == "identity":
            self.inverse_mass = posterior.reference.min().expand(posterior.reference.shape)

    @staticmethod
    def flow(u, v, angle):
        """Move on a straight line at constant velocity."""
        return u + angle * v, v

    def _masked(self, modes):
        """The whole force of data and Gaussian prior, as there is no reference."""
        return self.posterior.precision(modes - self.centre)
