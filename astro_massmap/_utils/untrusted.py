"""
Validate sizes and structure of files before memory is allocated.

Compressed data (gzip, bzip2, tiles, partial spheres) may expand to 1100 times the size of the file (the largest ratio
of gzip) plus 128 MiB, but not to more than an eighth of the memory of the computer: see `allowance`.
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
_LONGEST = 300  # characters of a reason


def allowance(size):
    """Return the largest decompressed size in bytes of a file of ``size`` bytes."""
    return min(physical_memory() // _SHARE, _SPARE + _BEST_PACKING * size)


def check_allowance(needed, size, what):
    """Raise OSError if ``what``, of ``needed`` bytes, exceeds the `allowance` of a file of ``size`` bytes."""
    if needed > allowance(size):
        raise OSError(
            f"it declares {what}, {needed / 2**20:.3g} MiB, which exceeds the limit of {allowance(size) / 2**20:.3g} "
            f"MiB for a file of {size} bytes on this computer"
        )


@contextmanager
def parsing(fault):
    """
    Convert errors of any type, raised by readers of other libraries, to OSError with a message after ``fault``.

    Errors for missing files and folders and for missing permissions are not converted.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # readers of other libraries raise errors of any type for a damaged file
        raise OSError(f"{fault}: {_reason(error)}") from error


def _reason(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, KeyError) or not lines:  # a lone word needs its type
        lines = [f"{type(error).__name__} {' '.join(lines)}".strip()]
    return lines[0] if len(lines[0]) <= _LONGEST else f"{lines[0][:_LONGEST]} ..."


def file_size(stream):
    """Return the size in bytes of the file behind a stream, or of a stream in memory."""
    try:
        return os.fstat(stream.fileno()).st_size
    except (AttributeError, OSError):
        return stream.seek(0, os.SEEK_END)


def begins(file, start):
    """Return whether a file, decompressed, begins with some bytes; errors of any type if it is damaged."""
    with open(file, "rb") as stream:
        packing = _packing(stream)
        return (stream if packing is None else packing(stream)).read(len(start)) == start


def _packing(stream):
    """Return the function that opens a compressed stream, None for a plain one; OSError for other compressions."""
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(_OTHER_PACKINGS):
        raise OSError("it is compressed, but not by gzip or bzip2; decompress it first")
    return next((packing for magic, packing in _PACKINGS.items() if start.startswith(magic)), None)


class Unpacked(io.BytesIO):
    """Bytes of a compressed stream, in memory, as far as `fill` has decompressed it."""

    def __init__(self, source, size):
        super().__init__()
        self._source, self._size, self.limit = source, size, allowance(size)

    def fill(self, end=math.inf):
        """Decompress up to the byte ``end`` or the end of the stream; OSError beyond the `allowance`."""
        place, there = self.tell(), self.seek(0, os.SEEK_END)
        while there < end and (piece := self._source.read(min(2**20, end - there))):
            there += len(piece)
            if there > self.limit:
                raise OSError(
                    f"it decompresses to more than {self.limit / 2**20:.3g} MiB, the limit for a file of {self._size} "
                    "bytes on this computer; decompress it first"
                )
            self.write(piece)
        self.seek(place)


def unpacked(stream, until=math.inf):
    """Return a plain stream, or an `Unpacked` of a compressed one, filled up to the byte ``until``."""
    packing = _packing(stream)
    if packing is None and isinstance(getattr(stream, "raw", stream), io.FileIO | io.BytesIO):
        return stream
    size = file_size(stream)
    stream.seek(0)
    plain = Unpacked(stream if packing is None else packing(stream), size)
    plain.fill(until)
    return plain


def read_tensors(file, section, *, device="cpu"):
    """Return a section of the header, JSON, and the tensors of a safetensors file; to be called within `parsing`."""
    import json

    import torch
    from safetensors import safe_open

    # safetensors 0.4 reads to the default device of torch first
    with torch.device("cpu"), safe_open(str(file), framework="pt", device=str(device)) as opened:
        notes = json.loads((opened.metadata() or {})[section])
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    if not isinstance(notes, dict):
        raise OSError(f"the section {section!r} of its header needs to be a dictionary, got a {type(notes).__name__}")
    return notes, tensors
