"""Read and write maps in FITS files: images with their WCS, everything else as YAML in a table of notes."""

import io
import os
import warnings

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from .._utils.files import atomic_path
from .._utils.untrusted import parsing
from .._utils.version import __version__, now
from .columns import N_Z
from .fits_headers import open_fits
from .yaml_text import check_yaml, dump_yaml, load_yaml


def write_images(file, images, wcs, notes, *, unit=u.dimensionless_unscaled, cards=(), n_z=None, overwrite=False):
    """
    Write images of one WCS, the first as the primary HDU, and ``notes`` by section in YAML, as the last HDU.

    ``n_z`` (redshifts, densities) is written as the table N_Z.

    ``images`` are arrays ``(ny, nx)`` or ``(n, ny, nx)`` by the name of their HDU: bool arrays are written as bytes, a
    `numpy.memmap` image by image; ``unit`` is that of floats. ``cards`` (keyword, value, comment) are added to the
    primary header.
    """
    table = _notes_to_table({**notes, "images": list(images)})
    hdus = []
    for name, array in images.items():
        array = array if isinstance(array, np.memmap) else np.asarray(array)
        array = array.astype(np.uint8) if array.dtype == bool else array
        hdu = (fits.ImageHDU if hdus else fits.PrimaryHDU)(array, _wcs_header(wcs, array.ndim))
        hdu.header["EXTNAME"] = name
        hdu.header["BUNIT"] = unit.to_string("fits") if array.dtype.kind == "f" else ""
        hdus.append(hdu)
    written = ("CREATOR", f"astro_massmap {__version__}", ""), ("DATE", now(), "UTC, when the file was written")
    _add_cards(hdus[0].header, (*written, *cards))
    if n_z is not None:
        hdus.append(n_z_hdu(n_z))
    hdus.append(fits.table_to_hdu(table))
    if isinstance(file, io.BytesIO):
        fits.HDUList(hdus).writeto(file)
        return
    with atomic_path(file, overwrite=overwrite) as temporary:
        _write(hdus, temporary)


def n_z_hdu(n_z):
    """Return the HDU of n(z), a pair of redshifts and densities."""
    hdu = fits.table_to_hdu(Table(dict(zip(("z", "n"), n_z, strict=True))))
    hdu.name = N_Z
    return hdu


def _write(hdus, path):
    """Write HDUs, memory-mapped stacks image by image unless the output is compressed."""
    if path.suffix == ".gz" or not any(isinstance(hdu.data, np.memmap) for hdu in hdus):
        fits.HDUList(hdus).writeto(path)
        return
    hdus[0].writeto(path)
    for hdu in hdus[1:]:
        if isinstance(hdu.data, np.memmap):
            stream = fits.StreamingHDU(str(path), hdu.header)  # a Path would lose its folder
            for image in hdu.data:
                stream.write(image.astype(image.dtype.newbyteorder(">")))
            stream.close()
        else:
            fits.append(path, hdu.data, hdu.header, verify=False)


def read_images(file, required, *, memmap=False):
    """
    Return images, WCS, notes and unit written by `write_images`, from a path or a binary file.

    Arrays are in native byte order; WCS and unit are those of the first required image. A table N_Z becomes the note
    ``n_z``, redshifts and densities. With ``memmap``, stacks of images are read-only memory maps. OSError if the file
    is missing, damaged, or lacks a required image.
    """
    name = str(file if isinstance(file, str | os.PathLike) else getattr(file, "name", "stream"))
    with warnings.catch_warnings(), parsing(f"file: {name!r} is damaged or not a FITS file"):
        warnings.simplefilter("error", fits.verify.VerifyWarning)
        warnings.filterwarnings("error", message="File may have been truncated")
        with open_fits(file) as hdus:
            place = _unpacked_path(name) if memmap else None
            images = {h.name: _image(h, place) for h in hdus if h.is_image and h.shape}
            names = [h.name for h in hdus]
            header = hdus[names.index(required[0]) if required[0] in names else 0].header
            notes = _table_to_notes(Table.read(hdus["NOTES"])) if "NOTES" in names else None
            unit = u.Unit(header.get("BUNIT", ""), format="fits")
            n_z = tuple(np.array(hdus[N_Z].data[key], float) for key in ("z", "n")) if N_Z in names else None
    missing = [image for image in required if image not in images]
    if missing:
        raise OSError(f"file: {name!r} has no image {', '.join(missing)}; it was not written by ConvergenceMap.write")
    # the notes are the last HDU and list the images, which detects a truncated file
    lost = [image for image in notes.pop("images", []) if image not in images] if notes else ["NOTES"]
    if lost:
        raise OSError(
            f"file: {name!r} is incomplete, or was written by another program: it lacks {', '.join(lost)}, which "
            "write() of a map adds"
        )
    notes["n_z"] = n_z
    shape = images[required[0]].shape
    if len(shape) < 2:
        raise OSError(f"file: {name!r} contains no map: {required[0]} has the shape {shape}")
    with warnings.catch_warnings(), parsing(f"file: {name!r} has no usable WCS"):
        warnings.simplefilter("ignore")  # about repairs of the header by wcslib
        wcs = WCS(header, naxis=2)
        wcs.array_shape = shape[-2:]
        if wcs.has_celestial:
            wcs.pixel_to_world(0, 0)
    return images, wcs, notes, unit


def wcs_cards(wcs):
    """Return the header cards (keyword, value) of a stack of images with this WCS."""
    return tuple((card.keyword, card.value) for card in _wcs_header(wcs, 3).cards)


def _wcs_header(wcs, ndim):
    header = wcs.to_header(relax=True)
    if ndim == 3:
        header["WCSAXES"] = 3
        header["CTYPE3"], header["CRPIX3"], header["CRVAL3"], header["CDELT3"] = "SAMPLE", 1.0, 0.0, 1.0
    return header


def _add_cards(header, cards):
    for keyword, value, comment in cards:
        if isinstance(value, str):
            value = value.encode("unicode_escape").decode("ascii")
        if keyword in ("COMMENT", "HISTORY"):
            header[keyword] = value
            continue
        length = len(fits.Card(keyword, value).image.rstrip())
        header[keyword] = (value, comment if length + len(f" / {comment}") <= fits.Card.length else "")


def _image(hdu, path):
    """Return an image in native byte order, or a memory map of a stack of floats if a path is given."""
    plain = not isinstance(hdu, fits.CompImageHDU) and hdu.header.get("BSCALE", 1) == 1 and not hdu.header.get("BZERO")
    if path is not None and plain and len(hdu.shape) == 3 and hdu.header["BITPIX"] < 0:
        return np.memmap(path, f">f{-hdu.header['BITPIX'] // 8}", "r", hdu.fileinfo()["datLoc"], hdu.shape)
    return hdu.data.astype(hdu.data.dtype.newbyteorder("="))


def _unpacked_path(name):
    with open(name, "rb") as file:
        if file.read(6) != b"SIMPLE":
            raise OSError("it is compressed and cannot be memory-mapped; decompress it, or read it without memmap")
    return name


def _notes_to_table(notes):
    """Return a table with one row for each section, its content in YAML."""
    texts = []
    for section, content in notes.items():
        try:
            texts.append(dump_yaml(content))
        except ValueError as error:
            culprits = unwritable(content) if isinstance(content, dict) else {}
            raise ValueError(f"{section}: {next(iter(culprits.values()), 'it')} cannot be written to a file") from error
    table = Table({"section": list(notes), "content": texts})
    table.meta["EXTNAME"] = "NOTES"
    return table


def unwritable(content):
    """Return the keys of a dictionary that cannot be written and read again, with a description for messages."""
    found = {}
    for key, value in content.items():
        try:
            check_yaml(dump_yaml({key: value}))
        except ValueError:
            found[key] = f"{key!r}, a {type(value).__name__},"
    return found


def _table_to_notes(table):
    notes = {str(section): load_yaml(str(content)) for section, content in table.iterrows()}
    for section, content in notes.items():
        if not isinstance(content, list if section == "images" else dict | None):
            raise ValueError(f"the section {section!r} of its notes is a {type(content).__name__}")
    if not all(isinstance(image, str) for image in notes.get("images", [])):
        raise ValueError("the names of images in its notes are not text")
    return notes
