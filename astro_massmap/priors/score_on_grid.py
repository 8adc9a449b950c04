"""A score prior on the modes of a box: Gaussian in the whole box, with the network on the field and its margin."""

import math
import threading

import torch

from .base import PriorOnGrid
from .tiles import in_tiles, tiles

_lock = threading.Lock()
KEPT = 2**25  # cached numbers of the corrections; those of the last noise level are always kept


class ScoreOnGrid(PriorOnGrid):
    gaussian = False
    # measured with the shipped weights at a noise of 0.08 and 0.15: 90 % of steps are accepted, at 0.55 a third
    max_step = 0.3

    def __init__(self, grid, prior):
        super().__init__(grid, prior.theory)
        self.prior, self.amplitude, self.max_sigma = prior, prior.amplitude, prior.max_sigma
        self.denoiser = prior.denoiser.to(grid.device).eval()
        sides = list(zip(grid.field_shape, grid.box_shape, strict=True))
        self._where = tuple(_around(field, box, prior.margin, grid.device) for field, box in sides)
        self._window = [
            _apodised(len(cells), field, box, grid) for cells, (field, box) in zip(self._where, sides, strict=True)
        ]
        self._tiles = tiles([len(cells) for cells in self._where], prior.tile, prior.denoiser)
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

        def contribution(tile, parts):
            return self.amplitude * self.denoiser(*parts, level) * self._windowed(tile.outer)

        with self._precision():
            added = in_tiles(contribution, maps, self._tiles)
        return self.grid.pointwise(
            lambda network, added, theory, gain, z: (network * added + theory * (gain * z)) / sigma**2,
            network,
            self._modes(added),
            theory,
            gain,
            modes,
        )

    def _inputs(self, modes, sigma, gain):
        """Return the inputs of the denoiser: z and D_G in the region, and the noise level."""
        if sigma > self.max_sigma * (1 + 1e-6):
            raise ValueError(f"sigma: the prior was trained up to a noise of {self.max_sigma:.3g}, got {sigma:.3g}")
        z, wiener = (self._region(modes, times) / self.amplitude for times in (None, gain))
        return z, wiener, torch.full((len(z),), sigma / self.amplitude, dtype=torch.float32, device=self.grid.device)

    def _gain(self, sigma):
        return self.variance / (self.variance + sigma**2)

    def _precision(self):
        return torch.autocast(self.grid.device.type, torch.bfloat16, enabled=self.prior.bfloat16)

    def _windowed(self, part):
        """Return the apodisation window in a part of the region."""
        return torch.outer(*(window[cells] for window, cells in zip(self._window, part, strict=True)))

    def _region(self, modes, times=None):
        """Return the maps of some modes in the region: the field and its margin."""
        return self.grid.to_field(modes, times, self._where).float()

    def _modes(self, region):
        """Return the modes of a map that is zero outside of the region; the adjoint of `_region`."""
        return self.grid.to_modes(region.to(self.grid.dtype), where=self._where)


def _around(field, box, margin, device):
    """Return the indices of the cells of the box in the field and its margin, in the order of the sky."""
    extra = min(margin, (box - field) // 2)
    return torch.arange(-extra, min(field + extra, box - extra), dtype=torch.int64, device=device) % box


def _apodised(length, field, box, grid):
    """Return a window: 1 in the field and the inner half of the margin, falling to 0 at its edge, 1 without edges."""
    if length == box:
        return torch.ones(length, dtype=grid.dtype, device=grid.device)
    margin = (length - field) // 2
    distance = torch.arange(length, dtype=torch.float64, device="cpu")
    distance = torch.minimum(distance, length - 1 - distance) + 0.5
    rise = (distance / max(margin / 2, 0.5)).clamp(max=1)
    return grid.real(torch.sin(math.pi / 2 * rise) ** 2)
