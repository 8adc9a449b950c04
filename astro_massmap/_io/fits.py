"""How maps lie in FITS files: every image with the WCS, and what is not an image as text in a table."""

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
from .fits_headers import open_fits
from .yaml_text import check_yaml, dump_yaml, load_yaml


def write_images(file, images, wcs, notes, *, unit=u.dimensionless_unscaled, cards=(), overwrite=False):
    """
    Write images of one WCS, the first as the primary HDU.

    Parameters
    ----------
    file : str, path-like or `io.BytesIO`
        Target.
    images : dict
        Arrays ``(ny, nx)`` or ``(n, ny, nx)`` by the name of their HDU; bool arrays become bytes, and of a stack that
        lies in a file (a `numpy.memmap`) one image is copied after the other.
    wcs : `~astropy.wcs.WCS`
        Of all of them.
    notes : dict
        Whatever else, by section, kept as YAML.
    unit : `~astropy.units.Unit`
        Of the images of floats.
    cards : sequence of (str, value, str)
        Further cards of the primary header: keyword, value and comment.
    overwrite : bool
        Replace an existing file.
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
    hdus.append(fits.table_to_hdu(table))
    if isinstance(file, io.BytesIO):
        fits.HDUList(hdus).writeto(file)
        return
    with atomic_path(file, overwrite=overwrite) as temporary:
        _write(hdus, temporary)


def _write(hdus, path):
    """Write HDUs, stacks that lie in files image by image; packed files are written as a whole."""
    if path.suffix == ".gz" or not any(isinstance(hdu.data, np.memmap) for hdu in hdus):
        fits.HDUList(hdus).writeto(path)
        return
    hdus[0].writeto(path)
    for hdu in hdus[1:]:
        if isinstance(hdu.data, np.memmap):
            stream = fits.StreamingHDU(str(path), hdu.header)  # of a Path it would take the last part
            for image in hdu.data:
                stream.write(image.astype(image.dtype.newbyteorder(">")))
            stream.close()
        else:
            fits.append(path, hdu.data, hdu.header, verify=False)


def read_images(file, required, *, memmap=False):
    """
    Read what `write_images` wrote, from a path or an open binary file.

    With ``memmap`` stacks of images stay in the file, each a `numpy.memmap` that cannot be written.

    Returns
    -------
    images : dict
        Arrays in native byte order.
    wcs : `~astropy.wcs.WCS`
        Of the first required image.
    notes : dict
        Sections as written.
    unit : `~astropy.units.Unit`
        Of the first required image.

    Raises
    ------
    OSError
        If the file is not there, damaged, or lacks a required image.
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
    missing = [image for image in required if image not in images]
    if missing:
        raise OSError(f"file: {name!r} has no image {', '.join(missing)}: it is not of ConvergenceMap.write")
    # the notes come last and list the images: what was cut off is missed
    lost = [image for image in notes.pop("images", []) if image not in images] if notes else ["NOTES"]
    if lost:
        raise OSError(
            f"file: {name!r} is not whole, or of another program: it lacks {', '.join(lost)}, which write() of a map "
            "puts last"
        )
    shape = images[required[0]].shape
    if len(shape) < 2:
        raise OSError(f"file: {name!r} holds no maps, {required[0]} has the shape {shape}")
    with warnings.catch_warnings(), parsing(f"file: {name!r} has no WCS that can be used"):
        warnings.simplefilter("ignore")  # what wcslib mends silently in headers of others
        wcs = WCS(header, naxis=2)
        wcs.array_shape = shape[-2:]
        if wcs.has_celestial:
            wcs.pixel_to_world(0, 0)
    return images, wcs, notes, unit


def wcs_cards(wcs):
    """The cards (keyword, value) of a stack of images of a WCS."""
    return tuple((card.keyword, card.value) for card in _wcs_header(wcs, 3).cards)


def _wcs_header(wcs, ndim):
    header = wcs.to_header(relax=True)
    if ndim == 3:
        header["WCSAXES"] = 3
        header["CTYPE3"], header["CRPIX3"], header["CRVAL3"], header["CDELT3"] = "SAMPLE", 1.0, 0.0, 1.0
    return header


def _add_cards(header, cards):
    """Add cards; text becomes printable ASCII, as the standard wants it, and a comment must fit."""
    for keyword, value, comment in cards:
        if isinstance(value, str):
            value = value.encode("unicode_escape").decode("ascii")
        if keyword in ("COMMENT", "HISTORY"):
            header[keyword] = value
            continue
        length = len(fits.Card(keyword, value).image.rstrip())
        header[keyword] = (value, comment if length + len(f" / {comment}") <= fits.Card.length else "")


def _image(hdu, path):
    """The array of an image in native byte order; if a path is given, a stack as a memory map."""
    plain = not isinstance(hdu, fits.CompImageHDU) and hdu.header.get("BSCALE", 1) == 1 and not hdu.header.get("BZERO")
    if path is not None and plain and len(hdu.shape) == 3 and hdu.header["BITPIX"] < 0:
        return np.memmap(path, f">f{-hdu.header['BITPIX'] // 8}", "r", hdu.fileinfo()["datLoc"], hdu.shape)
    return hdu.data.astype(hdu.data.dtype.newbyteorder("="))


def _unpacked_path(name):
    with open(name, "rb") as file:
        if file.read(6) != b"SIMPLE":
            raise OSError("it is packed, so that its samples cannot stay in it; unpack it, or read without memmap")
    return name


def _notes_to_table(notes):
    """A row for each section, its content as YAML."""
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
    """The keys of a dictionary that cannot be written and read again, with the types of their values, in words."""
    found = {}
    for key, value in content.items():
        try:
            check_yaml(dump_yaml({key: value}))
        except ValueError:
            found[key] = f"{key!r}, a {type(value).__name__},"
    return found


def _table_to_notes(table):
    """Dictionaries by section, and the list of the images."""
    notes = {str(section): load_yaml(str(content)) for section, content in table.iterrows()}
    for section, content in notes.items():
        if not isinstance(content, list if section == "images" else dict | None):
            raise ValueError(f"its notes hold a {type(content).__name__} under {section!r}")
    if not all(isinstance(image, str) for image in notes.get("images", [])):
        raise ValueError("its notes hold names of images that are none")
    return notes
