"""
Maps of mock surveys in FITS files of any code.

A folder has the files ``mock_000.fits``, ... of one method, with the name of the folder, or ``mock_000_NAME.fits`` of
any number of methods, as `~astro_massmap.validation.run_mocks` writes them.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.wcs import WCS, FITSFixedWarning

from .._io.fits_headers import open_fits
from .._sky.geometry import celestial_wcs, same_grid
from .._utils.untrusted import parsing
from ..maps.convergence_map import ConvergenceMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.io import fits
    from numpy.typing import NDArray

    from .._utils.typing import File

_FILE = re.compile(r"mock_(\d+)(?:_([\w.+-]+))?\.fits(?:\.gz)?")
_TRUTH = "truth"


def files_in(folder: File) -> dict[str, dict[int, Path]]:
    """Return the files of a folder by method and number of the mock; OSError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise OSError(f"maps: {str(folder)!r} does not exist or is not a folder")
    found: dict[str, dict[int, Path]] = {}
    for file in sorted(folder.iterdir()):
        parts = _FILE.fullmatch(file.name)
        if parts and parts[2] != _TRUTH:
            found.setdefault(parts[2] or folder.resolve().name, {})[int(parts[1])] = file
    if not found:
        raise OSError(f"maps: {str(folder)!r} contains no files such as mock_000.fits or mock_000_NAME.fits")
    return found


def read_maps(name: str, files: dict[int, Path], truths: dict[int, ConvergenceMap]) -> list[ConvergenceMap]:
    """Read the maps of one method of the mocks with these truths, with the checks of `checked`."""
    missing = [i for i in truths if i not in files]
    if missing:
        raise ValueError(f"maps: {name!r} has no map of {len(missing)} of {len(truths)} mocks: {_listed(missing)}")
    return checked(name, [read_map(files[i]) for i in truths], truths)


def checked(name: str, maps: Sequence[ConvergenceMap], truths: dict[int, ConvergenceMap]) -> list[ConvergenceMap]:
    """Return maps of one method; ValueError that names the mock if shape, pixels or numbers of samples are wrong."""
    if len(maps) != len(truths):
        raise ValueError(f"maps: need one map for each of {len(truths)} mocks, got {len(maps)} of {name!r}")
    numbers: dict[int, int] = {}
    for (i, truth), kappa in zip(truths.items(), maps, strict=True):
        whose = f"maps: mock {i} of {name!r}"
        if kappa.data.shape != truth.data.shape:
            raise ValueError(f"{whose} needs the shape {truth.data.shape} of the mock, got {kappa.data.shape}")
        if not same_grid(kappa.wcs, truth.wcs, truth.data.shape):
            raise ValueError(f"{whose} needs the WCS of the mock, but its pixels are elsewhere on the sky")
        if kappa.samples is not None and not np.isfinite(kappa.samples).all():
            raise ValueError(f"{whose} has samples with values that are not finite")
        numbers[i] = 0 if kappa.samples is None else len(kappa.samples)
    if len(set(numbers.values())) > 1:
        first, second = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
        raise ValueError(
            f"maps: need the same number of samples in all mocks of {name!r}, got {numbers[first]} in mock {first} and "
            f"{numbers[second]} in mock {second}"
        )
    if 1 in numbers.values():
        raise ValueError(f"maps: need no samples or at least two, got one in those of {name!r}")
    return list(maps)


def read_map(file: Path) -> ConvergenceMap:
    """
    Read a convergence map in a FITS file of any code.

    The convergence is the image KAPPA or the first image, samples are the image SAMPLES or the first cube, and the
    standard deviation is STD. ValueError for values that are not finite, in any pixel, or without a celestial WCS.
    """
    with parsing(f"file: {str(file)!r} is damaged or not a FITS file"), open_fits(file) as hdus:
        names = [hdu.name for hdu in hdus]
        own = "KAPPA" in names and "NOTES" in names
        found = {} if own else _images(hdus)
    if own:
        return ConvergenceMap.read(file, format="fits")
    if "KAPPA" not in found:
        raise ValueError(f"maps: {str(file)!r} contains no image (ny, nx)")
    kappa, header = found["KAPPA"]
    wrong = int((~np.isfinite(kappa)).sum())
    if wrong:
        raise ValueError(
            f"maps: the convergence in {str(file)!r} needs to be finite, also in pixels without data, but {wrong} "
            "pixels are not"
        )
    more: dict[str, Any] = {
        key: found[name][0] for key, name in (("samples", "SAMPLES"), ("uncertainty", "STD")) if name in found
    }
    return ConvergenceMap(kappa, wcs=_wcs(file, header, kappa.shape), **more)


def _images(hdus: Any) -> dict[str, tuple[NDArray[Any], fits.Header]]:
    """Return array and header of KAPPA, or the first image, of SAMPLES, or the first cube, and of STD."""
    found = {}
    for name, ndim in (("KAPPA", 2), ("SAMPLES", 3), ("STD", 2)):
        images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == ndim]
        named = [hdu for hdu in images if hdu.name == name]
        first = [hdu for hdu in images if hdu.name != "STD"] if name != "STD" else []
        for hdu in [*named, *first][:1]:
            found[name] = np.array(hdu.data, dtype=hdu.data.dtype.newbyteorder("=")), hdu.header.copy()
    return found


def _wcs(file, header, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header, naxis=2)
    if not wcs.has_celestial:
        raise ValueError(f"maps: {str(file)!r} needs the WCS of the mock in the header of its image")
    return celestial_wcs(wcs, shape)[0]


def _listed(numbers, most=10):
    return ", ".join(map(str, numbers[:most])) + ", ..." * (len(numbers) > most)
