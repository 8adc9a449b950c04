"""
A network evaluated piece by piece, where a map is so large that the memory of its layers would be.

A network of convolutions looks no farther than its `~astro_massmap.priors.UNet.reach`. So a tile that extends by that
much beyond the pixels that are kept of it, its core, tells them what the whole map would: there are no seams. Tiles
begin at multiples of the pitch of the coarsest scale, and end at the edges of the map where the core does, so that the
network meets the same edges as without tiles.
"""

import itertools
from typing import NamedTuple

import torch

_PITCH = 4  # pixels


class Tile(NamedTuple):
    """Pairs of slices, rows and columns: of the tile and of its core in the map, and of the core in the tile."""

    outer: tuple
    core: tuple
    inner: tuple


def tiles(shape, largest, denoiser):
    """
    Tiles whose cores cover a map, each pixel once.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the map.
    largest : int
        Side of the largest tile in pixels; a map that is no larger is one tile.
    denoiser : `~astro_massmap.priors.HybridDenoiser`
        Its network, a `~astro_massmap.priors.UNet`, says how far it looks if the map is cut at all.

    Returns
    -------
    list of Tile

    Raises
    ------
    ValueError
        If the map has to be cut, and nothing of such a tile would be core.
    """
    halo = 0
    if max(shape) > largest:
        halo = _rounded_up(denoiser.network.reach)
        if largest < 2 * halo + _PITCH:
            raise ValueError(
                f"tile: the network looks {denoiser.network.reach} pixels far, so that a tile needs a side of at "
                f"least {2 * halo + _PITCH}, got {largest}"
            )
    rows, columns = (_along(side, largest // _PITCH * _PITCH, halo) for side in shape)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def _along(length, largest, halo):
    """The three slices of each tile on one axis, as equal in length as the pitch allows."""
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
    """
    What a network says of maps, one tile after the other; all maps of a batch at once.

    Parameters
    ----------
    function : callable
        Told the tile and a list of those parts of the maps, it returns a tensor ``(..., rows, columns)``.
    maps : sequence of `torch.Tensor`
        ``(n, ny, nx)``.
    pieces : list of Tile
        Of these maps.

    Returns
    -------
    `torch.Tensor`
        ``(..., ny, nx)``.
    """
    shape, whole = maps[0].shape[-2:], None
    for tile in pieces:
        said = function(tile, [m[..., *tile.outer] for m in maps])
        if len(pieces) == 1:
            return said
        if whole is None:
            whole = torch.empty((*said.shape[:-2], *shape), dtype=said.dtype, device=said.device)
        whole[..., *tile.core] = said[..., *tile.inner]
    return whole


def check_tile(tile):
    """ValueError unless ``tile`` is a side in pixels."""
    if not (isinstance(tile, int) and not isinstance(tile, bool) and tile >= 1):
        raise ValueError(f"tile: needs a side in pixels, a positive integer, got {tile!r}")
