"""Finding the columns of a table of galaxies, or of clusters, under the names that surveys give them."""

import re
import warnings
from itertools import product
from pathlib import Path

from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.units import UnitsWarning

from .._utils.progress import warn
from .._utils.untrusted import begins, parsing
from .fits_headers import open_fits
from .positions import positions
from .text_files import check_table, text_encoding

USUAL_NAMES = {
    "ra": ("ra", "raj2000", "ra_icrs", "alpha_j2000", "alpha", "right_ascension"),
    "dec": ("dec", "dej2000", "decj2000", "de_icrs", "dec_icrs", "delta_j2000", "delta", "declination"),
    "g1": ("g1", "e1", "gamma1", "e_1", "e1_corr", "bias_corrected_e1"),
    "g2": ("g2", "e2", "gamma2", "e_2", "e2_corr", "bias_corrected_e2"),
    "weight": ("weight", "w", "shape_weight", "lensfit_weight"),
    "redshift": ("redshift", "z", "z_b", "photo_z", "zphot"),
    # biases are used only where they are asked for, or in tables that this package wrote
    "m_bias": (),
    "c1": (),
    "c2": (),
    "response": (),
    "R11": (),
    "R12": (),
    "R21": (),
    "R22": (),
    "rms_e": (),
}
REQUIRED = ("ra", "dec", "g1", "g2")
# columns that belong together, with the part of their names by which they differ
PAIRS = {
    ("ra", "dec"): re.compile(r"right_?ascension|declination|alpha|delta|ra|dec|de", re.IGNORECASE),
    ("g1", "g2"): re.compile(r"[12](?!.*[12])"),
}
CREATOR = "astro_massmap"


def read_table(file, name, **kwargs):
    """
    Read a table from a file; OSError if there is none in it.

    Parameters
    ----------
    file : str or path-like
        The file. Those named ``.txt`` and ``.dat`` are plain ASCII. Text that is not in UTF-8 is read as Latin-1, with
        a warning. Of FITS files in the LDAC format, the table of objects is read.
    name : str
        Name of the argument, for errors.
    **kwargs
        Arguments of `astropy.table.Table.read`.
    """
    if str(file).lower().endswith((".txt", ".dat")):
        kwargs.setdefault("format", "ascii")
    with parsing(f"{name}: cannot read a table from {str(file)!r}"), warnings.catch_warnings():
        # units in other spellings: of the columns that are used, see astro_massmap._io.units
        warnings.simplefilter("ignore", UnitsWarning)
        warnings.filterwarnings("ignore", message=".*Invalid unit string")
        table = _read(file, **kwargs)
        if not all(isinstance(key, str) for key in table.meta):
            raise ValueError("its notes have names that are no texts")
    return table


def _read(file, **kwargs):
    if not Path(file).is_file():
        return Table.read(file, **kwargs)
    if kwargs.get("format") in (None, "fits") and begins(file, b"SIMPLE"):
        with open_fits(file, images=False) as hdus:
            return Table.read(hdus, **{"hdu": _ldac_objects(hdus)} | kwargs | {"format": "fits"})
    if begins(file, b"\x89HDF"):
        raise ValueError("a damaged table in HDF5 breaks its library; convert it to FITS or ECSV")
    encoding = None if "encoding" in kwargs else text_encoding(file)
    if encoding is not None:
        kwargs["encoding"] = encoding
    check_table(file, kwargs.get("encoding"))
    if encoding == "latin-1":
        warn(f"{str(file)!r} is not in UTF-8; Latin-1 is assumed", stacklevel=6)
    return Table.read(file, **kwargs)


def _ldac_objects(hdus):
    """Number of the HDU with the objects of a file in the LDAC format, None for other files."""
    tables = {i: hdu.name.upper() for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)}
    objects = [i for i, name in tables.items() if name in ("LDAC_OBJECTS", "OBJECTS")]
    if not objects and "LDAC_IMHEAD" in tables.values():
        objects = [i for i, name in tables.items() if name != "LDAC_IMHEAD"]
    if len(objects) > 1:
        warn(f"HDUs {objects} all contain objects; HDU {objects[0]} is read. Use hdu= for another one", stacklevel=7)
    return objects[0] if objects else None


def find_columns(table, columns=None):
    """
    Return the names of the columns of a table of galaxies by what they contain.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Names are compared without regard to case.
    columns : dict, optional
        Names of columns by what they contain; None (or an empty name) for no such column.

    Returns
    -------
    dict
        Keys as in ``USUAL_NAMES``; only those that were found.

    Raises
    ------
    ValueError
        If a column that is named, or one that is needed, is not there.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If the columns of both coordinates, or of both components, have names of different conventions.
    """
    named = dict(columns or {})
    for key, name in named.items():
        if key not in USUAL_NAMES:
            raise ValueError(f"columns: {key!r} is unknown; known are {', '.join(USUAL_NAMES)}")
        if name not in (None, "", *table.colnames):
            raise ValueError(f"columns: no column {name!r} (for {key!r}) in the table, which has {table.colnames}")
    found = _usual_columns(table, named)
    if not found.get("ra") and not found.get("dec"):
        found["ra"] = found["dec"] = _sky_column(table)
    missing = [key for key in REQUIRED if not found.get(key)]
    if missing:
        raise ValueError(
            f"columns: cannot find {', '.join(missing)} among {table.colnames}; name the columns, "
            f"for instance columns={{{missing[0]!r}: '...'}}"
        )
    for pair in PAIRS:
        if not all(named.get(key) for key in pair):
            _check_pair(pair, found)
    return {key: found[key] for key in USUAL_NAMES if found.get(key)}


def is_own(table):
    """Whether this package wrote a table."""
    return str(table.meta.get("CREATOR", "")).startswith(CREATOR)


def _usual_columns(table, named=()):
    """Names of columns by what they contain: those that are named, others by their usual names."""
    by_lower = {name.lower(): name for name in reversed(table.colnames)}
    known = {key: names or ((key.lower(),) if is_own(table) else ()) for key, names in USUAL_NAMES.items()}
    candidates = {key: [by_lower[name] for name in names if name in by_lower] for key, names in known.items()}
    candidates |= {key: [name] if name else [] for key, name in dict(named).items()}
    found = {key: names[0] for key, names in candidates.items() if names}
    for pair in PAIRS:
        both = product(*(candidates[key] for key in pair))
        found |= next((dict(zip(pair, names, strict=True)) for names in both if _match(pair, *names)), {})
    return found


def _match(pair, first, second):
    """Whether the names of two columns are of one convention, as "RAJ2000" and "DEJ2000" are."""
    first, second = (PAIRS[pair].sub("#", name, count=1).lower().replace("_", "") for name in (first, second))
    return first == second


def _check_pair(pair, found):
    names = {key: found[key] for key in pair}
    if not _match(pair, *names.values()):
        warn(
            f"columns: {' and '.join(map(repr, names.values()))} are used as {' and '.join(pair)}, but their names are "
            f"of different conventions; give the names of both, columns={names}, if they belong together",
            stacklevel=5,
        )


def table_positions(table, name):
    """Return the positions in a table, by the usual names of their columns; ``name`` is that of the argument."""
    found = _usual_columns(table)
    if "ra" not in found and "dec" not in found:
        found["ra"] = found["dec"] = _sky_column(table)
    if not found.get("ra") or not found.get("dec"):
        raise ValueError(f"{name}: the table needs columns ra and dec, it has {table.colnames}")
    _check_pair(("ra", "dec"), found)
    return positions(table[found["ra"]], table[found["dec"]])


def _sky_column(table):
    """The name of the column of positions, if there is one and no other."""
    names = [name for name in table.colnames if isinstance(table[name], SkyCoord)]
    return names[0] if len(names) == 1 else None
