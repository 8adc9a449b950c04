"""
Evaluate a network in tiles, where the layers of a whole map would need too much memory.

An output of a convolutional network depends on inputs within `~astro_massmap.priors.UNet.reach` pixels: a tile that
extends this far beyond its core, the pixels that are used, gives the same values there as the whole map. Tiles begin at
multiples of the pitch of the coarsest scale and end with their core at the edges of the map.
"""

import itertools
from typing import NamedTuple

import torch

_PITCH = 4  # pixels


class Tile(NamedTuple):
    """Pairs of slices, rows and columns: tile in the map, core in the map, core in the tile."""

    outer: tuple
    core: tuple
    inner: tuple


def tiles(shape, largest, denoiser):
    """Return tiles of at most ``largest`` pixels whose cores cover a map once; ValueError if the network needs more."""
    halo, side = 0, largest // _PITCH * _PITCH
    if max(shape) > side:
        halo = _rounded_up(denoiser.network.reach)
        if side < 2 * halo + _PITCH:
            raise ValueError(
                f"tile: the receptive field of the network extends {denoiser.network.reach} pixels, so that a tile "
                f"needs a side of at least {2 * halo + _PITCH} pixels, got {largest}"
            )
    rows, columns = (_along(length, side, halo) for length in shape)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def _along(length, largest, halo):
    """Return the three slices of each tile along one axis; tiles are as equal in length as the pitch allows."""
    inside = length - 2 * halo
    count = max(-(-inside // (largest - 2 * halo)), 1)
    core = _rounded_up(-(-inside // count))
    edges = [0, *(halo + core * i for i in range(1, count)), length]
    pieces = []
    for low, high in itertools.pairwise(edges):
        start, stop = max(low - halo, 0), min(high + halo, length)
        pieces.append((slice(start, stop), slice(low, high), slice(low - start, high - start)))
    return pieces


def _rounded_up(pixels):
    return -(-pixels // _PITCH) * _PITCH


def in_tiles(function, maps, pieces):
    """Evaluate ``function(tile, parts of the maps)`` tile by tile on maps ``(n, ny, nx)``; return ``(..., ny, nx)``."""
    shape, whole = maps[0].shape[-2:], None
    for tile in pieces:
        values = function(tile, [m[..., *tile.outer] for m in maps])
        if len(pieces) == 1:
            return values
        if whole is None:
            whole = torch.empty((*values.shape[:-2], *shape), dtype=values.dtype, device=values.device)
        whole[..., *tile.core] = values[..., *tile.inner]
    return whole


def check_tile(tile):
    """Raise a ValueError unless ``tile`` is a positive integer."""
    if not (isinstance(tile, int) and not isinstance(tile, bool) and tile >= 1):
        raise ValueError(f"tile: needs a positive integer (side in pixels), got {tile!r}")
