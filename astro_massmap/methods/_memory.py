"""
How much memory a run needs, told before it begins.

With M the modes of the box, F the pixels of the field and r the bytes of a real number, there are of vectors of modes,
2 r M bytes each: those that a box has, those that each level keeps, and those of each chain; of fields, those of the
observation in double precision, and one for each sample; and the layers of the network for its largest tile. How many,
at the moment when most are alive, was counted in the code and put right by measurements on a CPU: of fields of 256 to
2048 pixels on a side, of one chain. On a GPU it was not measured.
"""

from dataclasses import dataclass

import torch

from .._utils.memory import physical_memory
from ..inference import posterior_shape
from ..priors import GaussianPrior
from ..priors.score_on_grid import KEPT
from ..priors.tiles import tiles

_PROGRAM = 0.3 * 2**30  # bytes, of Python and its libraries
_BOX, _LEVEL, _DRAW, _CHAIN = 4.0, 1.0, 9.0, 15.0  # vectors of modes: of a box, a level, a Gaussian draw, a chain
_OBSERVATION, _TOLD = 60, 16  # bytes: of a pixel, and of one that the network is told
_LAYERS = 6  # numbers of four bytes in a pixel of a tile and a channel of a network
_REVERSE = 10  # levels of the reverse diffusion
_SHARE = 0.95  # of the memory of a device that may be needed


@dataclass(frozen=True)
class MemoryEstimate:
    """
    What a run needs; as text, in one line.

    Attributes
    ----------
    shape, box : tuple of int
        Rows and columns of the field, and of the box.
    tiles : list of Tile
        In which the network is evaluated; none without a network.
    bytes : int
        Of memory, when most of it is in use.
    """

    shape: tuple
    box: tuple
    tiles: list
    bytes: int

    def __str__(self):
        network = ""
        if len(self.tiles) == 1:
            network = ", the network in one piece"
        elif self.tiles:
            network = f", the network in {len(self.tiles)} tiles of {_times(_largest(self.tiles))}"
        return f"{_times(self.shape)} pixels in a box of {_times(self.box)}{network}: some {_gibibytes(self.bytes)}"


def needed_memory(shape, padding=2.0, *, prior=None, dtype="float32", batch=1, levels=1, samples=1):
    """
    What a run needs.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the field.
    padding : float
        Side of the box in sides of the field.
    prior : prior or `~astro_massmap.priors.MeanNetwork`, optional
        Whose network it is; None, or a `~astro_massmap.GaussianPrior`, for a run without.
    dtype : {'float32', 'float64'}
        Precision of the numbers.
    batch : int
        Chains at once.
    levels : int
        Of the schedule.
    samples : int
        That are kept in memory.

    Returns
    -------
    MemoryEstimate
    """
    box, (ny, nx) = posterior_shape(shape, padding), shape
    real = getattr(torch, dtype).itemsize
    vector = 2 * real * box[0] * (box[1] // 2 + 1)
    gaussian = prior is None or isinstance(prior, GaussianPrior)
    vectors = _BOX + _LEVEL * (1 if gaussian else levels) + batch * (_DRAW if gaussian else _CHAIN)
    needed = _PROGRAM + vectors * vector + ny * nx * (_OBSERVATION + 4 * samples + real * levels)
    pieces = _pieces(shape, box, prior)
    if pieces:
        rows, columns = _largest(pieces)
        layers = 4 * _channels(prior.denoiser) * _LAYERS
        corrections = 3 * vector // 2
        needed += corrections * min(max(real * KEPT // corrections, 1), levels + _REVERSE)
        told = pieces[-1].core[0].stop * pieces[-1].core[1].stop
        needed += batch * (rows * columns * layers + told * _TOLD)
    return MemoryEstimate(tuple(shape), box, pieces, int(needed))


def _pieces(shape, box, prior):
    """The tiles of the field and its margin, if the prior has a network."""
    if getattr(prior, "tile", None) is None:
        return []
    margins = (min(prior.margin, (around - side) // 2) for side, around in zip(shape, box, strict=True))
    region = [min(side + 2 * margin, around) for side, margin, around in zip(shape, margins, box, strict=True)]
    return tiles(region, prior.tile, prior.denoiser)


def _channels(denoiser):
    """Of the network at its finest scale; none of a denoiser that has no network of ours."""
    return getattr(getattr(denoiser, "network", None), "settings", {}).get("widths", [0])[0]


def _largest(pieces):
    return tuple(max(tile.outer[axis].stop - tile.outer[axis].start for tile in pieces) for axis in (0, 1))


def check_memory(estimate, device="cpu", name="shape"):
    """
    Refuse a run that a device cannot hold.

    Parameters
    ----------
    estimate : MemoryEstimate
        Of the run.
    device : `torch.device` or str
        Where it takes place.
    name : str
        Of the argument to blame.

    Returns
    -------
    str
        What it needs, in one line.

    Raises
    ------
    ValueError
        If it needs nearly all the memory of the device, or more.
    """
    device = torch.device(device)
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else physical_memory()
    if estimate.bytes > _SHARE * memory:
        owner = f"the device {device}" if device.type == "cuda" else "this computer"
        raise ValueError(
            f"{name}: {estimate}, {owner} has {_gibibytes(memory)}; use larger pixels, a part of the field, less padding, "
            "or a smaller batch_size or n_jobs"
        )
    return str(estimate)


def workers_that_fit(estimate_of, most):
    """
    Number of chains side by side that the memory of this computer holds, at least one.

    Parameters
    ----------
    estimate_of : callable
        `MemoryEstimate` of a run with so many workers.
    most : int
        Largest number to consider.

    Returns
    -------
    int
    """
    memory = _SHARE * physical_memory()
    return next((n for n in range(most, 1, -1) if estimate_of(n).bytes <= memory), 1)


def _gibibytes(count):
    return f"{count / 2**30:.2g} GiB" if count < 9.95 * 2**30 else f"{count / 2**30:.0f} GiB"


def _times(sides):
    return " x ".join(str(side) for side in sides)
