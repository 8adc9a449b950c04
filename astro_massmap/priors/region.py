"""The part of a box in which a network is evaluated: the field and its margin."""

import math

import torch

from .tiles import in_tiles, tiles


class Region:
    """
    Field and margin in the box of a `~astro_massmap.inference.FourierGrid`.

    Parameters
    ----------
    grid, margin : `~astro_massmap.inference.FourierGrid`, int
        Box and field, and width of the margin in pixels; beyond it, the contribution of a network is zero.
    tile, denoiser
        Side of the largest tile in pixels, and denoiser whose network is evaluated.
    """

    def __init__(self, grid, margin, tile, denoiser):
        self.grid, sides = grid, list(zip(grid.field_shape, grid.box_shape, strict=True))
        self.where = tuple(_around(field, box, margin, grid.device) for field, box in sides)
        self.field = tuple(slice(n := min(margin, (box - field) // 2), n + field) for field, box in sides)
        self._window = [
            _apodised(len(cells), field, box, grid) for cells, (field, box) in zip(self.where, sides, strict=True)
        ]
        self.tiles = tiles([len(cells) for cells in self.where], tile, denoiser)

    def maps(self, modes, times=None):
        """Return the maps of modes, multiplied by ``times``, in the region, in single precision."""
        return self.grid.to_field(modes, times, self.where).float()

    def modes(self, region):
        """Return the modes of a map that is zero outside of the region; the adjoint of `maps`."""
        return self.grid.to_modes(region.to(self.grid.dtype), where=self.where)

    def evaluate(self, function, maps):
        """Return ``function(parts of the maps, tile)`` for the region, evaluated tile by tile."""
        return in_tiles(lambda tile, parts: function(parts, tile.outer), maps, self.tiles)

    def windowed(self, part):
        """Return the apodisation window in a part of the region."""
        return torch.outer(*(window[cells] for window, cells in zip(self._window, part, strict=True)))


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
