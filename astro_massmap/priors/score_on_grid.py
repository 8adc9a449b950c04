"""A score prior on the modes of a box: Gaussian in the whole box, with the network on the field and its margin."""

import threading

import torch

from .base import PriorOnGrid
from .region import Region

_lock = threading.Lock()
KEPT = 2**25  # cached numbers of the corrections; those of the last noise level are always kept


class ScoreOnGrid(PriorOnGrid):
    gaussian = noiseless = False
    # measured with the shipped weights at a noise of 0.08 and 0.15: 90 % of steps are accepted, at 0.55 a third
    max_step = 0.3

    def __init__(self, grid, prior):
        super().__init__(grid, prior.theory)
        self.prior, self.amplitude, self.max_sigma = prior, prior.amplitude, prior.max_sigma
        self.targeted = prior.factor is not None
        self.denoiser = prior.denoiser.to(grid.device).eval()
        self.region = Region(grid, prior.margin, prior.tile, prior.denoiser)
        self._corrections = {}

    def _factors(self, sigma):
        """Return the correction at a noise level; it is cached, as chains return to the same few levels."""
        factors = self._corrections.get(sigma)
        if factors is None:
            level = sigma / self.amplitude
            factors = self.grid.of_ell(lambda ell: torch.stack(self.prior.correction.at(level, ell))).unbind()
            with _lock:  # chains run in threads
                while self._corrections and (len(self._corrections) + 1) * 3 * self.variance.numel() > KEPT:
                    self._corrections.pop(next(iter(self._corrections)))
                self._corrections[sigma] = factors
        return factors

    def conditional_variance(self, sigma):
        return super().conditional_variance(sigma) * self._factors(sigma)[2]

    def log_ratio(self, modes, sigma):
        return None

    @torch.no_grad()
    def residual(self, modes, sigma):
        network, theory, _ = self._factors(sigma)
        gain = self._gain(sigma)
        *maps, level = self._inputs(modes, sigma, gain)

        def contribution(parts, place):
            return self.amplitude * self.denoiser(*parts, level) * self.region.windowed(place)

        with self._precision():
            added = self.region.evaluate(contribution, maps)
        return self.grid.pointwise(
            lambda network, added, theory, gain, z: (network * added + theory * (gain * z)) / sigma**2,
            network,
            self.region.modes(added),
            theory,
            gain,
            modes,
        )

    def _inputs(self, modes, sigma, gain):
        """Return the inputs of the denoiser: z and D_G in the region, and the noise level."""
        if sigma > self.max_sigma * (1 + 1e-6):
            raise ValueError(f"sigma: the prior was trained up to a noise of {self.max_sigma:.3g}, got {sigma:.3g}")
        z, wiener = (self.region.maps(modes, times) / self.amplitude for times in (None, gain))
        return z, wiener, torch.full((len(z),), sigma / self.amplitude, dtype=torch.float32, device=self.grid.device)

    def _gain(self, sigma):
        return self.variance / (self.variance + sigma**2)

    def _precision(self):
        return torch.autocast(self.grid.device.type, torch.bfloat16, enabled=self.prior.bfloat16)
