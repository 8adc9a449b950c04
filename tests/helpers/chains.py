"""Small data sets and weak priors for chains."""

import numpy as np

from astro_massmap import PowerSpectrum, Schedule
from astro_massmap.inference import Observation
from astro_massmap.priors import PriorOnGrid

from helpers import problems

FAST = {"schedule": Schedule((1.0,), (2,), reverse_steps=2), "n_check": 0}


def observation(side=24, seed=0, *, counts=False):
    rng = np.random.default_rng(seed)
    noise_std = np.full((side, side), 0.12)
    if counts:
        noise_std = 0.27 / np.sqrt(np.maximum(rng.poisson(5, (side, side)), 1))
    noise_std[5:9, 3:12] = np.inf
    shear = rng.normal(size=(2, side, side)) * np.where(np.isinf(noise_std), 0, noise_std)
    return Observation.from_arrays(shear, noise_std, problems.PIXEL)


class Prior:
    """Prior with a residual that is a function of the modes and the noise level."""

    pixel_size = None

    def __init__(self, residual):
        self.residual = residual

    def on(self, grid):
        on_grid = PriorOnGrid(grid, PowerSpectrum.default())
        on_grid.gaussian, on_grid.residual, on_grid.log_ratio = False, self.residual, lambda modes, sigma: None
        return on_grid


def tenth(modes, sigma):
    """Residual at module level, so that other processes can import it."""
    return 0.1 * modes


GENTLE = Prior(tenth)


def white_score(maps, sigma):
    """Score of white noise with a variance of 0.01 per pixel."""
    return -maps / (0.01 + sigma**2)
