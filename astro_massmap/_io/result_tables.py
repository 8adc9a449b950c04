"""Tables of results: formats with which they are printed, and files with full precision and ASCII text."""

import unicodedata
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io.registry import UnifiedReadWriteMethod
from astropy.table import QTable
from astropy.table.connect import TableWrite

from .._utils.progress import warn

_PLAIN = {0x2212: "-", 0x2010: "-", 0x2013: "-", 0x2014: "-", 0x2018: "'", 0x2019: "'"}  # minus, dashes, quotes
_PLAIN |= {0xDF: "ss", 0xF8: "o", 0xD8: "O", 0xE6: "ae", 0xC6: "AE", 0x142: "l", 0x141: "L"}
_EXTENSIONS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits", ".fts": "fits"}

FORMATS = {
    "aperture_mass": ".4f",
    "area": ".3g",
    "cl": ".4e",
    "cl_samples": ".3e",
    "completeness": ".3f",
    "correlation": ".2f",
    "count": ".1f",
    "coverage": ".3f",
    "data_fraction": ".2f",
    "dec": ".5f",
    "density": ".3f",
    "deviation": ".1f",
    "east": ".1f",
    "ell": ".1f",
    "expected": ".3f",
    "high": ".5g",
    "kappa": ".4f",
    "kappa_tested": ".4f",
    "low": ".5g",
    "mass": ".2e",
    "mean_probability": ".3f",
    "north": ".1f",
    "p_value": ".3f",
    "probability": ".3f",
    "ra": ".5f",
    "samples": ".2e",
    "separation": ".2f",
    "signal_to_noise": ".1f",
    "std_east": ".1f",
    "std_north": ".1f",
    "width": ".4f",
    "zeta_c": ".4f",
}
_SAME = "std", "lower", "upper", "error"  # in the format of the column before them
_SKY = "{0.spherical.lon.deg:.4f} {0.spherical.lat.deg:.4f}"


class _Write(TableWrite):
    """Method `~astropy.table.Table.write` with full precision in files of all formats."""

    def __call__(self, *args, **kwargs):
        table, form = self._instance, kwargs.get("format")
        if form is None and args and isinstance(args[0], str | Path):
            name = str(args[0]).lower().removesuffix(".gz")
            form = _EXTENSIONS.get(Path(name).suffix)
        if form != "ascii.ecsv":  # astropy rounds the values in other text files
            table = table.copy()
            for name in table.colnames:
                table[name].info.format = None
        if form == "fits":
            table = _in_ascii(table)
        TableWrite(table, type(table))(*args, **kwargs)


class ResultTable(QTable):
    """Table of results. Only ECSV files have its formats; text that is not ASCII is transliterated in FITS files."""

    write = UnifiedReadWriteMethod(_Write)


def printed(table, default=".4g"):
    """
    Set the formats of columns of numbers and positions that have none, and return the table.

    Formats are those of ``FORMATS``, otherwise ``default``. Values are not changed.
    """
    last = default
    for name in table.colnames:
        column = table[name]
        if isinstance(column, SkyCoord):
            column.info.format = column.info.format or _SKY
        elif getattr(getattr(column, "dtype", None), "kind", "") == "f":
            last = last if name in _SAME else FORMATS.get(name, default)
            column.info.format = column.info.format or last
    return table


def _in_ascii(table):
    new, changed = table.copy(), []
    for name in table.colnames:
        column = table[name]
        if getattr(getattr(column, "dtype", None), "kind", "") != "U":
            continue
        values = np.asarray(column)
        if all(value.isascii() for value in values.flat):
            continue
        changed.append(name)
        ascii_values = [to_ascii(value) for value in values.flat]
        ascii_values = unique(ascii_values) if name == "region" else ascii_values
        mask = {"mask": column.mask} if hasattr(column, "mask") else {}
        ascii_values = np.array(ascii_values, dtype=str).reshape(values.shape)
        new[name] = type(column)(ascii_values, unit=column.unit, description=column.description, **mask)
    for name in table.colnames:
        if not name.isascii():
            new.rename_column(name, to_ascii(name))
            changed.append(name)
    new.meta = {key: to_ascii(value) if isinstance(value, str) else value for key, value in table.meta.items()}
    if changed:
        names = ", ".join(map(repr, dict.fromkeys(changed)))
        warn(f"FITS files can only store ASCII: the text of {names} is transliterated; ECSV files keep it", 4)
    return new


def to_ascii(text):
    """Return text without accents, and other characters that are not ASCII as escapes, such as ``\\u03b1``."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.translate(_PLAIN)) if not unicodedata.combining(c))
    return plain.encode("ascii", "backslashreplace").decode()


def unique(names):
    """Return the names in their order, with a number, from 2, after each repeated one."""
    given, taken, next_one, found = set(names), set(), {}, []
    for name in names:
        new = name
        while new in taken or (new is not name and new in given):
            next_one[name] = next_one.get(name, 1) + 1
            new = f"{name} ({next_one[name]})"
        taken.add(new)
        found.append(new)
    return found
