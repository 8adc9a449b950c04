"""
Memory that a run needs, estimated before it begins.

With M modes of the box and r bytes for a real number, a vector of modes takes 2 r M bytes. The numbers of vectors, of
fields and of layers of the network in memory were counted in the code and corrected by measurements on a CPU, for one
chain on fields of 256 to 2048 pixels on a side, not on a GPU.
"""

from dataclasses import dataclass

import torch

from .._utils.memory import physical_memory
from ..inference import posterior_shape
from ..priors import GaussianPrior, PosteriorNetwork
from ..priors.score_on_grid import KEPT
from ..priors.tiles import tiles

_PROGRAM = 0.3 * 2**30  # bytes for Python and its libraries
_BOX, _LEVEL, _DRAW, _CHAIN = 4.0, 1.0, 9.0, 15.0  # vectors of modes for a box, a level, a Gaussian draw, a chain
_GIBBS, _SPECTRUM = 18.0, 4.0  # vectors of modes for a chain of an inferred spectrum, and for all of them together
_BAND = 6  # fields of a band in such a chain
_DIFFUSION = 30.0  # vectors of modes for a sample of a diffusion, with three linear systems at a time
_OBSERVATION, _INPUT = 60, 16  # bytes for a pixel of the field, and for a pixel of the input of the network
_LAYERS = 6  # numbers of four bytes for a pixel of a tile and a channel of the network
_REVERSE = 10  # number of levels of the reverse diffusion
_FRACTION = 0.95  # largest fraction of the memory of a device that a run may need


@dataclass(frozen=True)
class MemoryEstimate:
    """
    Memory in ``bytes`` that a run needs; as text, in one line.

    ``shape`` and ``box`` are rows and columns; ``tiles`` are those of the network, empty without one.
    """

    shape: tuple
    box: tuple
    tiles: list
    bytes: int

    def __str__(self):
        network = ""
        if len(self.tiles) == 1:
            network = ", the network in one tile"
        elif self.tiles:
            network = f", the network in {len(self.tiles)} tiles of {_times(_largest(self.tiles))}"
        memory = f"about {_gibibytes(self.bytes)} of memory"
        return f"{_times(self.shape)} pixels in a box of {_times(self.box)}{network}: {memory}"


def needed_memory(shape, padding=2.0, *, prior=None, dtype="float32", batch=1, levels=1, samples=1, bands=0):
    """
    Return the `MemoryEstimate` of a run on a field of ``shape``, with options as for `~astro_massmap.Wiener`.

    ``prior`` is a prior or a `~astro_massmap.priors.PosteriorNetwork`; None, or a `~astro_massmap.GaussianPrior`, has
    no network. ``batch`` is the number of chains at a time, ``levels`` that of the levels of the schedule, ``samples``
    that of the samples in memory, in single precision, and ``bands`` that of the bands of an inferred spectrum.
    """
    box, (ny, nx) = posterior_shape(shape, padding), shape
    real = getattr(torch, dtype).itemsize
    vector = 2 * real * box[0] * (box[1] // 2 + 1)
    gaussian = prior is None or isinstance(prior, GaussianPrior)
    own = _DRAW if gaussian else _DIFFUSION if isinstance(prior, PosteriorNetwork) else _CHAIN
    own = _GIBBS if bands else own
    vectors = _BOX + _LEVEL * (1 if gaussian else levels) + _SPECTRUM * (bands > 0) + batch * own
    needed = _PROGRAM + vectors * vector + ny * nx * (_OBSERVATION + 4 * samples + real * levels)
    needed += batch * (bands + 1) * _BAND * real * ny * nx if bands else 0
    pieces = _pieces(shape, box, prior)
    if pieces:
        rows, columns = _largest(pieces)
        layers = 4 * _channels(prior.denoiser) * _LAYERS
        corrections = 3 * vector // 2
        needed += corrections * min(max(real * KEPT // corrections, 1), levels + _REVERSE)
        pixels = pieces[-1].core[0].stop * pieces[-1].core[1].stop
        needed += batch * (rows * columns * layers + pixels * _INPUT)
    return MemoryEstimate(tuple(shape), box, pieces, int(needed))


def _pieces(shape, box, prior):
    """Return the tiles of the field and its margin, if the prior has a network."""
    if getattr(prior, "tile", None) is None:
        return []
    margins = (min(prior.margin, (around - side) // 2) for side, around in zip(shape, box, strict=True))
    region = [min(side + 2 * margin, around) for side, margin, around in zip(shape, margins, box, strict=True)]
    return tiles(region, prior.tile, prior.denoiser)


def _channels(denoiser):
    """Return the number of channels of the network at its finest scale; 0 for a denoiser of another kind."""
    return getattr(getattr(denoiser, "network", None), "settings", {}).get("widths", [0])[0]


def _largest(pieces):
    return tuple(max(tile.outer[axis].stop - tile.outer[axis].start for tile in pieces) for axis in (0, 1))


def check_memory(estimate, device="cpu", name="shape"):
    """Raise ValueError on ``name`` if a run needs more than 0.95 of its device; return the estimate as text."""
    device = torch.device(device)
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else physical_memory()
    if estimate.bytes > _FRACTION * memory:
        owner = f"the device {device}" if device.type == "cuda" else "this computer"
        raise ValueError(
            f"{name}: {estimate}, {owner} has {_gibibytes(memory)}; use larger pixels, a part of the field, less "
            "padding, or a smaller batch_size or n_jobs"
        )
    return str(estimate)


def workers_that_fit(estimate_of, most):
    """Return the largest number of workers up to ``most`` for which ``estimate_of(workers)`` fits into the memory."""
    memory = _FRACTION * physical_memory()
    return next((n for n in range(most, 1, -1) if estimate_of(n).bytes <= memory), 1)


def _gibibytes(count):
    return f"{count / 2**30:.2g} GiB" if count < 9.95 * 2**30 else f"{count / 2**30:.0f} GiB"


def _times(sides):
    return " x ".join(str(side) for side in sides)
