"""Tables of results with one row per region: names of the regions, columns of the input, and FITS files."""

import unicodedata
from pathlib import Path

import numpy as np
from astropy.io.registry import UnifiedReadWriteMethod
from astropy.table import QTable
from astropy.table.connect import TableWrite

from .._utils.progress import warn

_PLAIN = {0x2212: "-", 0x2010: "-", 0x2013: "-", 0x2014: "-", 0x2018: "'", 0x2019: "'"}  # minus, dashes, quotes
_PLAIN |= {0xDF: "ss", 0xF8: "o", 0xD8: "O", 0xE6: "ae", 0xC6: "AE", 0x142: "l", 0x141: "L"}
_FITS = (".fits", ".fits.gz", ".fit", ".fit.gz", ".fts", ".fts.gz")


def region_names(regions):
    """Return unique names of regions: text, name or label, else the tags, else the number of the region."""
    return unique([_name(region) or str(i) for i, region in enumerate(regions)])


def _name(region):
    names = (region.meta.get(key) for key in ("text", "name", "label"))
    name = next((str(name).strip() for name in names if name is not None and str(name).strip()), None)
    return name or ", ".join(str(tag) for tag in region.meta.get("tag") or ()).strip()


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


def keep_columns(table, regions, keep):
    """Add columns of the regions (True, False, or names) to results; existing names are followed by ``_input``."""
    if keep is False or keep is None:
        return table
    source = regions.table
    if source is None:
        raise ValueError(f"keep_columns: got {keep!r}, but the regions have no columns; give a table of clusters")
    names = source.colnames if keep is True else [keep] if isinstance(keep, str) else list(keep)
    for name in names:
        if name not in source.colnames:
            raise ValueError(f"keep_columns: no column {name!r} in the table, which has {source.colnames}")
        new = name
        while new in table.colnames:
            new += "_input"
        column = source[name]
        if getattr(getattr(column, "dtype", None), "kind", "") in "SU" and getattr(column, "unit", None) is not None:
            column = column.copy()
            column.unit = None  # such as h:m:s of VizieR; a QTable cannot make a quantity of text
        table[new] = column
    return table


class _Write(TableWrite):
    """Method `~astropy.table.Table.write` that transliterates text in FITS files to ASCII."""

    def __call__(self, *args, **kwargs):
        table, file = self._instance, args[0] if args else None
        by_name = isinstance(file, str | Path) and str(file).lower().endswith(_FITS)
        if kwargs.get("format", "fits" if by_name else None) == "fits":
            table = _in_ascii(table)
        TableWrite(table, type(table))(*args, **kwargs)


class RegionTable(QTable):
    """Table of results. Text that is not ASCII is transliterated, with a warning, in FITS files only."""

    write = UnifiedReadWriteMethod(_Write)


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
