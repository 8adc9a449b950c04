"""
Files are not believed: what they say is checked before memory is spent on it.

What lies in a file as it is cannot need more room than the file has. What is packed, by gzip or bzip2, in tiles, or by
leaving out the pixels of a sphere that hold nothing, may unpack to 1100 times the size of the file (what gzip can do at
best) and 128 MiB, but not to more than an eighth of the memory of the computer: see `allowance`.
"""

import bz2
import gzip
import io
import math
import os
from contextlib import contextmanager

from .memory import physical_memory

_BEST_PACKING, _SPARE, _SHARE = 1100, 2**27, 8
_PACKINGS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
_OTHER_PACKINGS = b"\xfd7z", b"PK\x03\x04", b"\x1f\x9d"  # xz, zip and compress, which astropy would open
_LONGEST = 300  # letters of a reason


def allowance(size):
    """How many bytes a packed file of ``size`` bytes may unpack to."""
    return min(physical_memory() // _SHARE, _SPARE + _BEST_PACKING * size)


def check_allowance(needed, size, what):
    """OSError if a file of ``size`` bytes may not unpack to ``needed`` bytes; ``what`` it says that it holds."""
    if needed > allowance(size):
        raise OSError(
            f"it says that it holds {what}, {needed / 2**20:.3g} MiB, which is not believed of a file of {size} bytes: "
            f"at most {allowance(size) / 2**20:.3g} MiB are unpacked from it on this computer"
        )


@contextmanager
def parsing(fault):
    """
    Whatever a reader of another library raises within, as an OSError that begins with ``fault``.

    A file that is not there, or that may not be read, is left as the error that it is.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # readers of other libraries raise anything at all for a damaged file
        raise OSError(f"{fault}: {_reason(error)}") from error


def _reason(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, KeyError) or not lines:  # a lone word says nothing
        lines = [f"{type(error).__name__} {' '.join(lines)}".strip()]
    return lines[0] if len(lines[0]) <= _LONGEST else f"{lines[0][:_LONGEST]} ..."


def file_size(stream):
    """Bytes of the file behind a stream, or of a stream in memory."""
    try:
        return os.fstat(stream.fileno()).st_size
    except (AttributeError, OSError):
        return stream.seek(0, os.SEEK_END)


def begins(file, start):
    """Whether a file, packed or not, begins with some bytes; OSError and others if its packing is damaged."""
    with open(file, "rb") as stream:
        packing = _packing(stream)
        return (stream if packing is None else packing(stream)).read(len(start)) == start


def _packing(stream):
    """What opens a packed stream, or None for a plain one; OSError for packings that are not looked into."""
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(_OTHER_PACKINGS):
        raise OSError("it is packed, but not by gzip or bzip2; unpack it first")
    return next((packing for magic, packing in _PACKINGS.items() if start.startswith(magic)), None)


class Unpacked(io.BytesIO):
    """The bytes of a packed stream, in memory, as far as `fill` has unpacked it."""

    def __init__(self, source, size):
        super().__init__()
        self._source, self._size, self.limit = source, size, allowance(size)

    def fill(self, end=math.inf):
        """Unpack up to the byte ``end``, or to the end of the stream; OSError if that is more than the `allowance`."""
        place, there = self.tell(), self.seek(0, os.SEEK_END)
        while there < end and (piece := self._source.read(min(2**20, end - there))):
            there += len(piece)
            if there > self.limit:
                raise OSError(
                    f"it unpacks to more than {self.limit / 2**20:.3g} MiB, the most that is unpacked from its "
                    f"{self._size} bytes on this computer; unpack it first"
                )
            self.write(piece)
        self.seek(place)


def unpacked(stream, until=math.inf):
    """
    A binary stream without its packing, if it has one: an `Unpacked`, filled up to the byte ``until``.

    Streams that unpack as they are read are treated in the same way.
    """
    packing = _packing(stream)
    if packing is None and isinstance(getattr(stream, "raw", stream), io.FileIO | io.BytesIO):
        return stream
    size = file_size(stream)
    stream.seek(0)
    plain = Unpacked(stream if packing is None else packing(stream), size)
    plain.fill(until)
    return plain


def read_tensors(file, section, *, device="cpu"):
    """
    What a safetensors file holds: the JSON of a section of its header, and its tensors.

    What is raised does not name the file, and is of any kind: to be called within `parsing`.
    """
    import json

    import torch
    from safetensors import safe_open

    # safetensors 0.4 reads to the default device of torch first
    with torch.device("cpu"), safe_open(str(file), framework="pt", device=str(device)) as opened:
        notes = json.loads((opened.metadata() or {})[section])
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    if not isinstance(notes, dict):
        raise OSError(f"its header holds a {type(notes).__name__} where there should be a dictionary")
    return notes, tensors
