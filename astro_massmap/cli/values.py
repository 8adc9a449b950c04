"""Values of options: parsers of numbers, angles and columns, and readers of files that define a grid."""

import argparse
from pathlib import Path

import astropy.units as u


def columns(text):
    try:
        pairs = (part.split("=", 1) for part in text.split(",") if part.strip())
        return {key.strip(): name or None for key, name in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs pairs such as g1=e1,g2=e2, got {text!r}") from None


def hdu(text):
    return int(text) if text.isdecimal() else text


def angle(text):
    from .._sky.geometry import to_angle

    try:
        return to_angle(u.Quantity(text), "angle")
    except (TypeError, ValueError, u.UnitsError):
        raise argparse.ArgumentTypeError(f"needs an angle such as '0.4 arcmin', got {text!r}") from None


def numbers(text):
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 1,2,3, got {text!r}") from None


def table_file(text):
    """Return the path of a table, or raise the error of argparse if no table format has its extension."""
    from astropy.io import registry
    from astropy.table import QTable

    if not registry.identify_format("write", QTable, text, None, [text], {}):
        raise argparse.ArgumentTypeError(f"{text!r} needs the extension of a table format, such as .ecsv or .fits")
    return Path(text)


def wcs_of(file):
    """Read the WCS of the first image of a FITS file."""
    from astropy.wcs import WCS

    from .._io.fits_headers import open_fits
    from .._utils.untrusted import parsing

    with parsing(f"--wcs: cannot read {str(file)!r}"), open_fits(file, whole=False, images=False) as hdus:
        image = next((h for h in hdus if h.is_image and h.header["NAXIS"] >= 2), None)
        if image is not None:
            return WCS(image.header)
    raise ValueError(f"--wcs: {str(file)!r} contains no image")


def options(arguments, *names):
    """Return the arguments of these names that are not None."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def angles(text):
    """Parse two numbers and an angular unit, such as '3,6 arcmin'."""
    import astropy.units as u

    values, _, unit = text.strip().rpartition(" ")
    try:
        pair = numbers(values) * u.Unit(unit)
        if len(pair) != 2 or not pair.unit.is_equivalent(u.rad):
            raise ValueError
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"needs two radii such as '3,6 arcmin', got {text!r}") from None
    return pair


def kept_columns(text):
    """Parse names separated by commas; True for "all"."""
    return True if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
