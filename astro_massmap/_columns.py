"""Finding the columns of a table of galaxies, or of clusters, under the names that surveys give them."""

import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from ._fits_headers import open_fits
from ._text_files import check_table
from ._untrusted import begins, parsing

USUAL_NAMES = {
    "ra": ("ra", "raj2000", "ra_icrs", "alpha_j2000", "alpha", "right_ascension"),
    "dec": ("dec", "dej2000", "decj2000", "de_icrs", "delta_j2000", "delta", "declination"),
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
CREATOR = "astro_massmap"


def read_table(file, name, **kwargs):
    """
    A table from a file, OSError if there is none in it; arguments are those of `astropy.table.Table.read`.

    ``name`` is that of the argument, for errors. Files ``.txt`` and ``.dat`` are taken for plain ASCII.
    """
    if str(file).lower().endswith((".txt", ".dat")):
        kwargs.setdefault("format", "ascii")
    with parsing(f"{name}: cannot read a table from {str(file)!r}"):
        table = _read(file, **kwargs)
        if not all(isinstance(key, str) for key in table.meta):
            raise ValueError("its notes have names that are no texts")
    return table


def _read(file, **kwargs):
    if not Path(file).is_file():
        return Table.read(file, **kwargs)
    if kwargs.get("format") in (None, "fits") and begins(file, b"SIMPLE"):
        with open_fits(file) as hdus:
            return Table.read(hdus, **kwargs | {"format": "fits"})
    if begins(file, b"\x89HDF"):
        raise ValueError("a damaged table in HDF5 breaks its library; convert it to FITS or ECSV")
    check_table(file)
    return Table.read(file, **kwargs)


def find_columns(table, columns=None):
    """
    The columns of a table by what they hold.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Names are compared without regard to case.
    columns : dict, optional
        From what a column holds to its name in the table, or to None for no such column.

    Returns
    -------
    dict
        Keys as in ``USUAL_NAMES``; only those that were found.

    Raises
    ------
    ValueError
        If a column that is named, or one that is needed, is not there.
    """
    columns = dict(columns or {})
    for key, name in columns.items():
        if key not in USUAL_NAMES:
            raise ValueError(f"columns: {key!r} is unknown; known are {', '.join(USUAL_NAMES)}")
        if name is not None and name not in table.colnames:
            raise ValueError(f"columns: no column {name!r} (for {key!r}) in the table, which has {table.colnames}")
    by_lower = {name.lower(): name for name in reversed(table.colnames)}
    ours = str(table.meta.get("CREATOR", "")).startswith(CREATOR)
    for key, usual in USUAL_NAMES.items():
        if key not in columns:
            usual = usual or ((key.lower(),) if ours else ())
            columns[key] = next((by_lower[name] for name in usual if name in by_lower), None)
    if columns["ra"] is None and columns["dec"] is None:
        columns["ra"] = columns["dec"] = _sky_column(table)
    missing = [key for key in REQUIRED if columns[key] is None]
    if missing:
        raise ValueError(
            f"columns: cannot find {', '.join(missing)} among {table.colnames}; say which they are, "
            f"for instance columns={{{missing[0]!r}: '...'}}"
        )
    return {key: table[name] for key, name in columns.items() if name is not None}


def table_positions(table, name):
    """The positions in a table, found under the usual names of their columns; ``name`` is that of the argument."""
    by_lower = {column.lower(): column for column in reversed(table.colnames)}
    found = [next((by_lower[n] for n in USUAL_NAMES[key] if n in by_lower), None) for key in ("ra", "dec")]
    if found == [None, None]:
        found = [_sky_column(table)] * 2
    if None in found:
        raise ValueError(f"{name}: the table needs columns ra and dec, it has {table.colnames}")
    return positions(*(table[column] for column in found))


def _sky_column(table):
    """The name of the column of positions, if there is one and no other."""
    names = [name for name in table.colnames if isinstance(table[name], SkyCoord)]
    return names[0] if len(names) == 1 else None


def positions(ra, dec):
    """
    A `SkyCoord`: of two columns in ICRS, where plain numbers are degrees, which a warning states.

    Both may be one column of positions, which keeps its frame.
    """
    if isinstance(ra, SkyCoord):
        return ra
    for column, name in ((ra, "ra"), (dec, "dec")):
        if not hasattr(column, "unit") or np.ndim(column) != 1:
            raise ValueError(f"{name}: needs a column of angles, got a {type(column).__name__} of shape {column.shape}")
    if ra.unit is None and dec.unit is None:
        warnings.warn("ra and dec have no unit; degrees are assumed", AstropyUserWarning, stacklevel=3)
    elif ra.unit is None or dec.unit is None:
        raise u.UnitsError(f"ra, dec: one has the unit {ra.unit or dec.unit}, the other none")
    lon, lat = (_degrees(c, name) for c, name in ((ra, "ra"), (dec, "dec")))
    outside = np.abs(lat) > 90
    if outside.any():
        raise ValueError(f"dec: {int(outside.sum())} values lie beyond 90 degrees; is its unit right?")
    return SkyCoord(lon * u.deg, lat * u.deg)


def _degrees(column, name):
    unit = column.unit or u.deg
    if not unit.is_equivalent(u.deg):
        raise u.UnitsError(f"{name}: needs an angle, got the unit {unit}")
    try:
        values = np.ma.asarray(getattr(column, "value", column)).astype(float)
    except ValueError as error:
        raise ValueError(f"{name}: needs numbers ({error})") from error
    return np.ma.filled(values, np.nan) * unit.to(u.deg)
