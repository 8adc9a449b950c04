"""
FITS files of samples, written sample by sample.

The primary image ``(n_samples, ny, nx)`` has its final size from the beginning, and each sample is written at its
position in the file: the file is valid at any time, also after a kill, and may be larger than the memory.
"""

import os
import shutil
from pathlib import Path

import numpy as np
from astropy.io import fits

from .._io.fits_headers import open_fits
from .._utils.files import atomic_path


def create_samples(path, shape, cards=(), *, overwrite=False):
    """
    Create a FITS file of zeros ``(n_samples, ny, nx)``, atomically; return its memory map in single precision.

    ``cards`` are further keywords of the header. A file that exists (without ``overwrite``), cannot be written, or
    exceeds the free space on the disk raises OSError.
    """
    path, needed = Path(path), 4 * int(np.prod(shape))
    with atomic_path(path, overwrite=overwrite) as temporary:
        free = shutil.disk_usage(temporary.parent).free
        if needed > free:
            raise OSError(
                f"checkpoint: the samples need {needed / 2**30:.3g} GiB, the disk of {str(path)!r} has "
                f"{free / 2**30:.3g} GiB left"
            )
        head = _header(shape, cards).tostring().encode("ascii")
        with open(temporary, "wb") as file:
            file.write(head)
            file.truncate(len(head) + needed + -needed % 2880)
    return open_samples(path)


def _header(shape, cards):
    header = fits.PrimaryHDU(np.empty((1, 1, 1), np.float32)).header
    for axis, side in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = side
    header["EXTNAME"] = "SAMPLES"
    header["BUNIT"] = ""
    header.extend((card for card in cards if card[0] not in header), end=True)
    return header


def open_samples(path):
    """Return the samples of a file as a read-only memory map; OSError, ValueError or TypeError for other files."""
    with open_fits(path, memmap=True) as hdus:
        image = hdus[0]
        shape, offset = image.shape, image.fileinfo()["datLoc"]
        if image.header["BITPIX"] != -32:
            raise ValueError("its numbers are not in single precision")
    return np.memmap(path, ">f4", "r", offset, shape)


def put_sample(path, samples, index, sample):
    """Write one sample into the file of the memory map ``samples``, synchronised to the disk; return its bytes."""
    data = np.ascontiguousarray(sample, samples.dtype).tobytes()
    with open(path, "r+b") as file:
        file.seek(samples.offset + index * len(data))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return data


def check_name(path):
    """Raise ValueError unless the file extension is ``.fits``."""
    if Path(path).suffix.lower() != ".fits":
        raise ValueError(f"checkpoint: needs the name of a FITS file, which ends in .fits, got {str(path)!r}")
