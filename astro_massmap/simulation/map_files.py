"""
Files of maps: FITS, NumPy and HDF5.

A format is a context manager that opens a file and yields its header and a function that reads one map. Only that map
is read, and no file stays open, so that a set of maps can be passed to other processes.
"""

import math
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._utils.optional import require
from .._utils.untrusted import check_allowance, parsing
from .resampling import LARGEST_MAP, in_arcmin

_MOST_MAPS = 2**20  # maps in a file
_SAME_SCALE = 0.01


class Layout(NamedTuple):
    """Number and shape of the maps in a file, and side of a pixel in radians or None."""

    count: int  # type: ignore[assignment]  # a method of tuples
    shape: tuple
    pixel_size: float | None


class _Opened(NamedTuple):
    shape: tuple
    dtype: np.dtype
    sides: tuple | None  # sides of a pixel in radians
    get: Callable


@dataclass(frozen=True)
class MapFile:
    """File of one map ``(ny, nx)`` or of several ``(n, ny, nx)``, in an HDF5 file under the name ``dataset``."""

    path: str
    dataset: str = "kappa"

    def layout(self):
        """Read the layout from the header; OSError for a damaged file, ValueError without maps of square pixels."""
        with self._open() as opened:
            return self._checked(opened)

    def read(self, index, shape, pixel_size):
        """
        Read a map ``(ny, nx)`` of float32, C-contiguous, by its number.

        OSError if the file is missing, damaged, or truncated; ValueError if the map is not finite, or has another
        shape or another side of a pixel (radians, if the file contains one).
        """
        with self._open() as opened:
            layout = self._checked(opened)
            if layout.shape != tuple(shape):
                raise self.unfit(f"needs maps of shape {tuple(shape)}, as in the first file, got {layout.shape}")
            self.check_scale(layout.pixel_size, pixel_size)
            with self._naming(), np.errstate(over="ignore"):
                values = opened.get(index) if len(opened.shape) == 3 else opened.get(...)
                values = np.array(values, dtype=np.float32, order="C")
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise self.unfit(f"map {index} has {bad} pixels that are not finite")
        return values

    def check_scale(self, found, wanted):
        """Raise ValueError if the pixel scale of the file (radians, or None) differs by more than 1 %."""
        if found is not None and abs(found / wanted - 1) > _SAME_SCALE:
            raise self.unfit(f"has pixels of {in_arcmin(found)}, needs {in_arcmin(wanted)}")

    def unfit(self, fault):
        return ValueError(f"file: {self.path!r} {fault}")

    @contextmanager
    def _open(self):
        opening = _FORMATS[ending(self.path)](self.path, self.dataset)
        with ExitStack() as stack:
            with self._naming():
                opened = stack.enter_context(opening)
            yield opened

    @contextmanager
    def _naming(self):
        """Convert errors of readers to an OSError that names the file."""
        try:
            with parsing(f"file: {self.path!r} is damaged, truncated, or of another format"):
                yield
        except FileNotFoundError as error:
            raise OSError(f"file: {self.path!r} does not exist") from error

    def _checked(self, opened):
        shape = tuple(opened.shape)
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise self.unfit(f"needs maps of shape (ny, nx) or (n, ny, nx), got {shape}")
        count, (ny, nx) = shape[0] if len(shape) == 3 else 1, shape[-2:]
        if count > _MOST_MAPS or ny * nx > LARGEST_MAP:
            raise self.unfit(
                f"declares {count} maps of {ny} x {nx} pixels, above the limits {_MOST_MAPS} and {LARGEST_MAP}"
            )
        if opened.dtype.kind not in "fiu":
            raise self.unfit(f"needs maps of real numbers, got {opened.dtype}")
        if opened.sides is None:
            return Layout(count, (ny, nx), None)
        low, high = min(opened.sides), max(opened.sides)
        if not 0 < low <= high < (1 + _SAME_SCALE) * low:
            raise self.unfit(f"needs square pixels, got pixels of {in_arcmin(low)} x {in_arcmin(high)}")
        return Layout(count, (ny, nx), (low * high) ** 0.5)


@contextmanager
def _open_fits(path, dataset):
    from .._io.fits_headers import open_fits  # loads astropy

    with ExitStack() as stack:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hdus = stack.enter_context(open_fits(path, whole=False))
            hdu = next((hdu for hdu in hdus if hdu.is_image and hdu.shape), None)
            if hdu is None:
                raise OSError("it contains no image")
            sides = _sides(hdu.header)
        cut = [str(w.message) for w in caught if "truncated" in str(w.message)]

        def get(index):
            if cut:
                raise OSError(cut[0])
            return hdu.section[index]

        yield _Opened(hdu.shape, np.dtype(float), sides, get)


def _sides(header):
    """Return the sides of a pixel in radians from a WCS, or from the side of a LensTools map in degrees, or None."""
    from astropy import units as u
    from astropy.wcs import WCS

    if "ANGLE" in header and header.get("ITYPE") == "ConvergenceMap":
        return tuple(np.radians(header["ANGLE"]) / header[f"NAXIS{axis}"] for axis in (1, 2))
    if not any(key in header for key in ("CDELT1", "CD1_1")):
        return None
    wcs = WCS(header, naxis=2)
    units = [unit if unit != u.dimensionless_unscaled else u.deg for unit in map(u.Unit, wcs.wcs.cunit)]
    # CDELT = 1 is a default of programs, not a scale
    known = wcs.has_celestial or "CUNIT1" in header or abs(header.get("CDELT1", 0)) != 1
    if not (known and all(unit.is_equivalent(u.rad) for unit in units)):
        return None
    matrix = wcs.pixel_scale_matrix * [[unit.to(u.rad)] for unit in units]
    return tuple(np.linalg.svd(matrix, compute_uv=False).tolist())


@contextmanager
def _open_npy(path, dataset):
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with open(path, "rb") as stream:
        version = np.lib.format.read_magic(stream)
        if version not in headers:
            raise ValueError(f"version {version} of the NumPy format is not supported")
        shape, _, dtype = headers[version](stream)
    yield _Opened(shape, dtype, None, lambda index: np.load(path, mmap_mode="r", allow_pickle=False)[index])


def _open_hdf5(path, dataset):
    return _hdf5(require("h5py", "hdf5"), path, dataset)


@contextmanager
def _hdf5(h5py, path, dataset):
    with h5py.File(path, "r") as file:
        maps = file.get(dataset)
        if not isinstance(maps, h5py.Dataset):
            raise LookupError(f"it has no dataset {dataset!r}; it contains {', '.join(list(file)[:8]) or 'nothing'}")
        if maps.file != file or maps.external or maps.is_virtual:
            raise ValueError(f"its dataset {dataset!r} lies in another file")

        def get(index):
            numbers = max(math.prod(maps.shape[-2:]), math.prod(maps.chunks or (1,)))
            check_allowance(numbers * maps.dtype.itemsize, os.path.getsize(path), f"{numbers} pixels in a piece")
            return maps[index]

        yield _Opened(maps.shape or (), maps.dtype, None, get)


_FORMATS = {
    ".fits": _open_fits,
    ".fit": _open_fits,
    ".fits.gz": _open_fits,
    ".fits.fz": _open_fits,
    ".npy": _open_npy,
    ".hdf5": _open_hdf5,
    ".h5": _open_hdf5,
}


def ending(path):
    """Return the file extension if its format is known, or None."""
    return next((end for end in _FORMATS if str(path).lower().endswith(end)), None)
