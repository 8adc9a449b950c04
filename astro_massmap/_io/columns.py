"""Read tables, and find the columns of galaxies or clusters by the names that surveys use."""

import re
import warnings
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.ascii import InconsistentTableError
from astropy.io.registry import IORegistryError
from astropy.table import Table
from astropy.units import Unit, UnitsWarning

from .._utils.progress import warn
from .._utils.untrusted import begins, parsing
from .fits_headers import open_fits
from .parquet import is_parquet, whole_parquet
from .positions import positions
from .text_files import check_table, table_layout, text_encoding

USUAL_NAMES = {
    "ra": ("ra", "raj2000", "ra_icrs", "alpha_j2000", "alpha", "right_ascension", "_raj2000", "_ra.icrs", "_ra"),
    "dec": (
        *("dec", "dej2000", "decj2000", "de_icrs", "dec_icrs", "delta_j2000", "delta", "declination"),
        *("_dej2000", "_de.icrs", "_de"),
    ),
    "g1": ("g1", "e1", "gamma1", "e_1", "e1_corr", "bias_corrected_e1"),
    "g2": ("g2", "e2", "gamma2", "e_2", "e2_corr", "bias_corrected_e2"),
    "weight": ("weight", "w", "shape_weight", "lensfit_weight"),
    "redshift": ("redshift", "z", "z_b", "photo_z", "zphot"),
    "tomo": ("tomo", "tomo_bin", "tomobin", "tomographic_bin", "zbin", "z_bin", "hsc_y3_zbin"),
    # biases are used only if they are named, or in tables written by this package
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
# pairs of columns, with the part of their names in which they differ
PAIRS = {
    ("ra", "dec"): re.compile(r"right_?ascension|declination|alpha|delta|ra|dec|de", re.IGNORECASE),
    ("g1", "g2"): re.compile(r"[12](?!.*[12])"),
}
CREATOR = "astro_massmap"
N_Z = "N_Z"  # name of the table of n(z) in the FITS files of this package
_CSV = re.compile(r"\.csv(\.gz|\.bz2)?$", re.IGNORECASE)
_TEXT = (".txt", ".dat", ".tsv", ".asc", ".ascii", ".cat")  # FITS files may have these extensions too
_LAYOUT = {"delimiter", "comment", "header_start", "data_start"}


def read_table(file, name, *, galaxies=None, **kwargs):
    """
    Read a table from a file, with the arguments of `astropy.table.Table.read`; OSError, after ``name``, if it fails.

    The file extensions .txt, .dat, .tsv, .asc, .ascii and .cat are plain text. Text that is not UTF-8 is read as
    Latin-1, with a warning. In FITS files in the LDAC format, the table of objects is read, and for ``galaxies``, the
    ``columns`` of `find_columns`, the first table that has the required ones.
    """
    if is_parquet(file) and not kwargs and Path(file).exists() and (table := whole_parquet(file, name)) is not None:
        return table
    with _known(kwargs), parsing(f"{name}: cannot read a table from {str(file)!r}"), warnings.catch_warnings():
        # _units checks the units of the columns that are used
        warnings.simplefilter("ignore", UnitsWarning)
        warnings.filterwarnings("ignore", message=".*Invalid unit string")
        table = _read(file, galaxies, **kwargs)
        if not all(isinstance(key, str) for key in table.meta):
            raise ValueError("the keys of its metadata need to be text")
    return table


def table_pieces(file, name, rows, hdu=None, galaxies=None):
    """Yield tables of some rows each of a FITS table that may be larger than the memory, otherwise as `read_table`."""
    with parsing(f"{name}: cannot read a table from {str(file)!r}"), open_fits(file, memmap=True, images=False) as hdus:
        hdu = (_galaxy_table(hdus, galaxies or {}) or 1) if hdu is None else hdu
        try:
            found = hdus[hdu]
        except (KeyError, IndexError):
            raise ValueError(f"it has no HDU {hdu!r}") from None
        if not isinstance(found, fits.BinTableHDU):
            raise ValueError(f"its HDU {hdu!r} is not a table")
        variable = [column.name for column in found.columns if re.match(r"\d*[PQ]", str(column.format))]
        if variable:
            raise ValueError(f"its columns {variable} of variable length are not read in pieces; write it without them")
        n_z = _own_n_z(hdus) if found is hdus[1] else None
        for start in range(0, len(found.data), rows):
            piece = fits.BinTableHDU(found.data[start : start + rows].copy(), found.header)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnitsWarning)
                table = Table.read(piece)
            if n_z is not None:
                table.meta["n_z"] = n_z
            yield table


@contextmanager
def _known(kwargs):
    """Raise TypeError for an argument that the reader of the format does not have."""
    try:
        yield
    except OSError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error.__cause__))
        if unknown is None or unknown[1] not in kwargs:
            raise
        raise TypeError(f"{unknown[1]}: neither a known argument, nor one of the reader of this format") from error


def _read(file, galaxies=None, **kwargs):
    if str(file).lower().endswith(_TEXT) and not (Path(file).is_file() and begins(file, b"SIMPLE")):
        kwargs.setdefault("format", "ascii")
    if not Path(file).is_file():
        return Table.read(file, **kwargs)
    if kwargs.get("format") in (None, "fits") and begins(file, b"SIMPLE"):
        with open_fits(file, images=False) as hdus:
            n_z = _own_n_z(hdus)
            if kwargs.get("hdu") is None:
                found = _ldac_objects(hdus) if n_z is None else 1
                kwargs["hdu"] = _galaxy_table(hdus, galaxies) if found is None and galaxies is not None else found
            table = Table.read(hdus, **kwargs | {"format": "fits"})
            if n_z is not None:
                table.meta["n_z"] = n_z
            return table
    if begins(file, b"\x89HDF"):
        raise ValueError("HDF5 is not read, because damaged files crash its library; convert it to FITS or ECSV")
    encoding = None if "encoding" in kwargs else text_encoding(file)
    if encoding is not None:
        kwargs["encoding"] = encoding
    lines = check_table(file, kwargs.get("encoding"))
    if encoding == "latin-1":
        warn(f"{str(file)!r} is not in UTF-8; Latin-1 is assumed", stacklevel=6)
    csv = kwargs.get("format", "csv" if _CSV.search(str(file)) else None) in ("csv", "ascii.csv")
    units = []
    if (csv or kwargs.get("format") == "ascii") and not _LAYOUT & kwargs.keys():
        layout, units = table_layout(lines, csv=csv)
        kwargs |= layout
    try:
        table = Table.read(file, **kwargs)
    except InconsistentTableError as error:
        raise ValueError(
            f"its lines have different numbers of columns ({str(error).strip().splitlines()[0]}). Lines before the "
            "names of the columns need to begin with # or to be skipped with header_start=; give the separator with "
            "delimiter="
        ) from error
    except IORegistryError as error:
        raise ValueError(
            "its file extension is not that of a known format; give format=, or rename it to .fits, .ecsv, .csv or .txt"
        ) from error
    for name, unit in zip(table.colnames, units, strict=False):
        table[name].unit = Unit(unit, parse_strict="silent") if unit else None
    return table


def _own_n_z(hdus):
    """Return n(z) in a file of this package, None in other files."""
    if N_Z not in hdus or not str(hdus[1].header.get("CREATOR")).startswith(CREATOR):
        return None
    return {key: np.array(hdus[N_Z].data[key], dtype=float) for key in ("z", "n")}


def _ldac_objects(hdus):
    """Return the number of the HDU with the objects of an LDAC file, None for other files."""
    tables = {i: hdu.name.upper() for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)}
    objects = [i for i, name in tables.items() if name in ("LDAC_OBJECTS", "OBJECTS")]
    if not objects and "LDAC_IMHEAD" in tables.values():
        objects = [i for i, name in tables.items() if name != "LDAC_IMHEAD"]
    if len(objects) > 1:
        warn(f"HDUs {objects} all contain objects; HDU {objects[0]} is read; give hdu= for another one", stacklevel=7)
    return objects[0] if objects else None


def _galaxy_table(hdus, columns):
    """Return the number of the first table with the required columns, with a warning; None if it is the first one."""
    tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    for i in tables:
        names = hdus[i].columns.names
        found = _usual_columns(Table(names=names), columns)
        if {*REQUIRED} <= found.keys() and {*found.values()} <= {*names}:
            if i != tables[0]:
                label = f"HDU {i} ({hdus[i].name})" if hdus[i].name else f"HDU {i}"
                warn(f"{label} is read, the first table with positions and ellipticities; hdu= gives another", 7)
            return None if i == tables[0] else i
    return None


def find_columns(table, columns=None):
    """
    Return the names of the columns of a table of galaxies by their quantity, a key of ``USUAL_NAMES``.

    ``columns`` gives names by quantity, None or "" for no column; others are found by their usual names in any case.
    ValueError if a named or required column is missing; a warning if names of a pair are of different conventions.
    """
    named = dict(columns or {})
    for key, name in named.items():
        if key not in USUAL_NAMES:
            raise ValueError(f"columns: {key!r} is unknown; the keys are {', '.join(USUAL_NAMES)}")
        if name not in (None, "", *table.colnames):
            raise ValueError(f"columns: no column {name!r} (for {key!r}) in the table, which has {table.colnames}")
    found = _usual_columns(table, named)
    if not found.get("ra") and not found.get("dec"):
        found["ra"] = found["dec"] = _sky_column(table)
    missing = [key for key in REQUIRED if not found.get(key)]
    if missing:
        raise ValueError(
            f"columns: cannot find {', '.join(missing)} among {table.colnames}; name the columns, for example "
            f"columns={ {key: _similar(key, table.colnames) for key in missing} }"
        )
    for first, second in PAIRS:
        if found[first] == found[second] and not isinstance(table[found[first]], SkyCoord):
            raise ValueError(f"columns: {first} and {second} need two columns, got {found[first]!r} for both")
        if not (named.get(first) and named.get(second)):
            _check_pair((first, second), found)
    known = _candidates(table, named)
    known["g1"] = [a for a in known["g1"] if any(_match(("g1", "g2"), a, b) for b in known["g2"])]
    for key in ("g1", "weight", "redshift"):
        others = ", ".join(repr(name) for name in known[key] if name != found[key])
        if others and not is_own(table):
            warn(f"columns: {found[key]!r} is used as {key}, not {others}; name one in columns={{{key!r}: ...}}", 4)
    return {key: found[key] for key in USUAL_NAMES if found.get(key)}


def _similar(key, names):
    """Return the shortest name that ends with a usual one, such as i_ra, or dots."""
    return min((name for name in names if name.lower().endswith(USUAL_NAMES[key])), key=len, default="...")


def is_own(table):
    return str(table.meta.get("CREATOR", "")).startswith(CREATOR)


def _candidates(table, named=()):
    """Return the columns that may contain each quantity: that given, or all with its usual names."""
    by_lower = {name.lower(): name for name in reversed(table.colnames)}
    known = {key: names or ((key.lower(),) if is_own(table) else ()) for key, names in USUAL_NAMES.items()}
    candidates = {key: [by_lower[name] for name in names if name in by_lower] for key, names in known.items()}
    return candidates | {key: [name] if name else [] for key, name in dict(named).items()}


def _usual_columns(table, named=()):
    """Return the names of columns by quantity: those given, others by their usual names."""
    candidates = _candidates(table, named)
    found = {key: names[0] for key, names in candidates.items() if names}
    for pair in PAIRS:
        both = product(*(candidates[key] for key in pair))
        found |= next((dict(zip(pair, names, strict=True)) for names in both if _match(pair, *names)), {})
    return found


def _match(pair, first, second):
    first, second = (PAIRS[pair].sub("#", name, count=1).lower().replace("_", "") for name in (first, second))
    return first == second


def _check_pair(pair, found):
    names = {key: found[key] for key in pair}
    if not _match(pair, *names.values()):
        warn(
            f"columns: {' and '.join(map(repr, names.values()))} are used as {' and '.join(pair)}, but their names are "
            f"of different conventions; if they belong together, give columns={names}",
            stacklevel=5,
        )


def table_positions(table, name):
    """Return the positions in a table by the usual names of their columns; ``name`` is the argument in errors."""
    found = _usual_columns(table)
    if "ra" not in found and "dec" not in found:
        found["ra"] = found["dec"] = _sky_column(table)
    if not found.get("ra") or not found.get("dec"):
        raise ValueError(f"{name}: the table needs columns ra and dec, it has {table.colnames}")
    _check_pair(("ra", "dec"), found)
    return positions(table[found["ra"]], table[found["dec"]])


def _sky_column(table):
    """Return the name of the column of positions, if there is exactly one."""
    names = [name for name in table.colnames if isinstance(table[name], SkyCoord)]
    return names[0] if len(names) == 1 else None
