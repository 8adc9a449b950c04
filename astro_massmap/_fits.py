"""How maps lie in FITS files: every image with the WCS, and what is not an image as text in a table."""

import os
import warnings

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.io.misc import yaml
from astropy.table import Table
from astropy.wcs import WCS
from yaml import YAMLError

from . import __version__
from ._files import atomic_path


def write_images(file, images, wcs, notes, *, unit=u.dimensionless_unscaled, overwrite=False):
    """
    Write images of one WCS, the first as the primary HDU.

    Parameters
    ----------
    file : str or path-like
        Target.
    images : dict
        Arrays ``(ny, nx)`` or ``(n, ny, nx)`` by the name of their HDU; bool arrays become bytes.
    wcs : `~astropy.wcs.WCS`
        Of all of them.
    notes : dict
        Whatever else, by section, kept as YAML.
    unit : `~astropy.units.Unit`
        Of the images of floats.
    overwrite : bool
        Replace an existing file.
    """
    table = _notes_to_table({**notes, "images": list(images)})
    hdus = fits.HDUList()
    for name, array in images.items():
        array = np.asarray(array)
        array = array.astype(np.uint8) if array.dtype == bool else array
        hdu = (fits.ImageHDU if hdus else fits.PrimaryHDU)(array, _wcs_header(wcs, array.ndim))
        hdu.header["EXTNAME"] = name
        hdu.header["BUNIT"] = unit.to_string("fits") if array.dtype.kind == "f" else ""
        hdus.append(hdu)
    hdus[0].header["CREATOR"] = f"astro_massmap {__version__}"
    hdus.append(fits.table_to_hdu(table))
    with atomic_path(file, overwrite=overwrite) as temporary:
        hdus.writeto(temporary)


def read_images(file, required):
    """
    Read what `write_images` wrote, from a path or an open binary file.

    Returns
    -------
    images : dict
        Arrays in native byte order.
    wcs : `~astropy.wcs.WCS`
        Of the primary HDU.
    notes : dict
        Sections as written.
    unit : `~astropy.units.Unit`
        Of the primary HDU.

    Raises
    ------
    OSError
        If the file is not there, damaged, or lacks a required image.
    """
    # opened here, so that it is closed whatever becomes of it; astropy's readers may hand over a stream
    stream = open(file, "rb") if isinstance(file, str | os.PathLike) else file  # noqa: SIM115
    name = getattr(stream, "name", "stream")
    try:
        with stream, warnings.catch_warnings():
            warnings.simplefilter("error", fits.verify.VerifyWarning)
            warnings.filterwarnings("error", message="File may have been truncated")
            with fits.open(stream, memmap=False) as hdus:
                images = {h.name: _native(h.data) for h in hdus if h.is_image and h.data is not None}
                names, header = [h.name for h in hdus], hdus[0].header
                notes = _table_to_notes(Table.read(hdus["NOTES"])) if "NOTES" in names else None
                unit = u.Unit(header.get("BUNIT", ""), format="fits")
    except (OSError, TypeError, ValueError, EOFError, KeyError, YAMLError, Warning) as error:
        raise OSError(f"file: {name!r} is damaged or not a FITS file: {error}") from error
    missing = [image for image in required if image not in images]
    if missing:
        raise OSError(f"file: {name!r} has no image {', '.join(missing)}; was it written by this package?")
    # the notes come last and list the images: what was cut off is missed
    lost = [image for image in notes.pop("images", []) if image not in images] if notes else ["NOTES"]
    if lost:
        raise OSError(f"file: {name!r} is not whole, it lacks {', '.join(lost)}")
    shape = images[required[0]].shape[-2:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what wcslib mends silently in headers of others
        wcs = WCS(header, naxis=2)
    wcs.array_shape = shape
    return images, wcs, notes, unit


def _wcs_header(wcs, ndim):
    header = wcs.to_header(relax=True)
    if ndim == 3:
        header["WCSAXES"] = 3
        header["CTYPE3"], header["CRPIX3"], header["CRVAL3"], header["CDELT3"] = "SAMPLE", 1.0, 0.0, 1.0
    return header


def _native(array):
    return array.astype(array.dtype.newbyteorder("="))


def _notes_to_table(notes):
    """A row for each section, its content as YAML."""
    texts = []
    for section, content in notes.items():
        try:
            texts.append(yaml.dump(content).strip())
        except YAMLError as error:
            raise ValueError(f"{section}: {_culprit(content)} cannot be written to a file") from error
    table = Table({"section": list(notes), "content": texts})
    table.meta["EXTNAME"] = "NOTES"
    return table


def _culprit(content):
    for key, value in content.items():
        try:
            yaml.dump(value)
        except YAMLError:
            return f"{key!r}, a {type(value).__name__},"
    return "it"


def _table_to_notes(table):
    return {str(section): yaml.load(str(content)) for section, content in table.iterrows()}
