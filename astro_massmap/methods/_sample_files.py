"""
Files of samples that are written as they come: FITS, HDF5 or numpy, by the ending of the name.

In each of the three the samples lie as one array ``(n_samples, ny, nx)`` behind a header that is written once. A
sample is put in its place in the bytes: the file is whole at any time, whatever kills the writer, and may be larger
than the memory.
"""

import os
import shutil
from pathlib import Path

import numpy as np

from .._utils.files import atomic_path
from .._utils.optional import require


def create_samples(path, shape, cards=()):
    """
    Write a file with room for samples, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        ``.fits``, ``.h5`` (or ``.hdf5``), or ``.npy``.
    shape : tuple of int
        ``(n_samples, ny, nx)``; the samples are in single precision.
    cards : sequence of (str, value)
        Of the header; numpy files have none.

    Raises
    ------
    OSError
        If it exists, cannot be written, or is larger than what is free on the disk.
    """
    path, needed = Path(path), 4 * int(np.prod(shape))
    with atomic_path(path) as temporary:
        free = shutil.disk_usage(temporary.parent).free
        if needed > free:
            raise OSError(
                f"checkpoint: the samples need {needed / 2**30:.3g} GiB, the disk of {str(path)!r} has "
                f"{free / 2**30:.3g} GiB left"
            )
        _LAYOUTS[path.suffix.lower()][0](temporary, shape, cards)
    return open_samples(path)


def open_samples(path):
    """
    The samples of a file, as a memory map that cannot be written.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        If the file is none that `create_samples` wrote.
    """
    return _LAYOUTS[Path(path).suffix.lower()][1](path)


def put_sample(path, samples, index, sample):
    """Write one sample into the file of the memory map ``samples``, through to the disk; returns its bytes."""
    data = np.ascontiguousarray(sample, samples.dtype).tobytes()
    with open(path, "r+b") as file:
        file.seek(samples.offset + index * len(data))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return data


def check_name(path):
    """ValueError unless the ending of the name is that of a file of samples."""
    if Path(path).suffix.lower() not in _LAYOUTS:
        raise ValueError(f"checkpoint: needs a name that ends in {', '.join(_LAYOUTS)}, got {str(path)!r}")


def _create_npy(path, shape, cards):
    np.lib.format.open_memmap(path, "w+", np.float32, shape)


def _open_npy(path):
    return np.lib.format.open_memmap(path, mode="r")


def _create_fits(path, shape, cards):
    from astropy.io import fits

    header = fits.PrimaryHDU(np.empty((1, 1, 1), np.float32)).header
    for axis, side in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = side
    header["EXTNAME"] = "SAMPLES"
    header["BUNIT"] = ""
    header.extend((card for card in cards if card[0] not in header), end=True)
    head = header.tostring().encode("ascii")
    size = len(head) + 4 * int(np.prod(shape))
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(size + -size % 2880)


def _open_fits(path):
    from astropy.io import fits

    with fits.open(path) as hdus:
        image = hdus[0]
        shape, offset = image.shape, image.fileinfo()["datLoc"]
        if image.header["BITPIX"] != -32:
            raise ValueError("its numbers are not in single precision")
    return np.memmap(path, ">f4", "r", offset, shape)


def _create_hdf5(path, shape, cards):
    h5py = require("h5py", "hdf5")
    with h5py.File(path, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # the array has its place in the file from the beginning
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple(shape)
        samples = h5py.h5d.create(file.id, b"samples", h5py.h5t.IEEE_F32LE, space, plan)
        for key, value in cards:
            h5py.Dataset(samples).attrs[key] = value


def _open_hdf5(path):
    h5py = require("h5py", "hdf5")
    with h5py.File(path, "r") as file:
        samples = file["samples"]
        shape, offset = samples.shape, samples.id.get_offset()
        if samples.dtype != np.dtype("<f4") or offset is None:
            raise ValueError("its array of samples is not in single precision and in one piece")
    return np.memmap(path, "<f4", "r", offset, shape)


_HDF5 = _create_hdf5, _open_hdf5
_LAYOUTS = {".npy": (_create_npy, _open_npy), ".fits": (_create_fits, _open_fits), ".h5": _HDF5, ".hdf5": _HDF5}
