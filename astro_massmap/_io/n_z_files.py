"""Open files of redshift distributions, and list the usual names of their columns."""

import os
import re
from types import SimpleNamespace

from .._utils.untrusted import begins, parsing

REDSHIFT_NAMES = ("z_mid", "zmid", "z_mean", "z", "redshift", "z_b", "photo_z", "zphot")
DENSITY_NAMES = ("n", "nz", "n_z", "n(z)", "dndz", "dn/dz", "dn_dz", "pz", "p_z", "p(z)", "nofz", "n_of_z", "density")
BIN_NAME = re.compile(r"(bin|nz|n|n_z|tomo|pz|source)_?\d+")


def open_n_z(file, name, column=None):
    """
    Return the table of a file, or an object with the tracers of a SACC file, and the column of the density, if any.

    FileNotFoundError, OSError, ImportError or ValueError, with ``name`` first, if there is no table.
    """
    from .columns import read_table  # loads astropy

    if not os.path.isfile(file):
        raise FileNotFoundError(f"{name}: needs a redshift, n(z) or a file of n(z); there is no file {str(file)!r}")
    with parsing(f"{name}: cannot read {str(file)!r}"):
        is_hdf, is_fits = (begins(file, start) for start in (b"\x89HDF", b"SIMPLE"))
    if is_hdf:
        return _sacc_of_hdf(file, name), column
    if is_fits and (tracers := _tracers_of_fits(file, name)):
        return SimpleNamespace(tracers=tracers), column
    return (_table_of_fits(file, name, column) if is_fits else None) or (read_table(file, name), column)


def _sacc_of_hdf(file, name):
    try:
        from sacc import Sacc
    except ImportError as error:
        raise ImportError(f"{name}: sacc is needed to read {str(file)!r}, a file in HDF5: pip install sacc") from error
    with parsing(f"{name}: cannot read {str(file)!r} as a SACC file"):
        return Sacc.load_hdf5(str(file))


def _tracers_of_fits(file, name):
    """Return the tracers of a SACC file in FITS with n(z), by name."""
    from astropy.table import Table

    from .fits_headers import open_fits  # loads astropy

    with parsing(f"{name}: cannot read a table from {str(file)!r}"), open_fits(file) as hdus:
        found = [hdu for hdu in hdus if hdu.header.get("SACCTYPE") == "tracer" and hdu.header.get("SACCCLSS") == "NZ"]
        tables = {str(hdu.header.get("SACCNAME", hdu.name)): Table.read(hdu) for hdu in found}
        return {key: SimpleNamespace(z=table["z"], nz=table["nz"]) for key, table in tables.items()}


def _table_of_fits(file, name, column):
    """
    Return the table with n(z) of a FITS file of several tables, and its density column; None for a file of one table.

    The column is None if ``column`` is the name of the table.
    """
    from astropy.table import Table

    from .fits_headers import open_fits  # loads astropy

    with parsing(f"{name}: cannot read a table from {str(file)!r}"), open_fits(file) as hdus:
        tables = {hdu.name or str(i): hdu for i, hdu in enumerate(hdus) if hasattr(hdu, "columns")}
        if len(tables) < 2:
            return None
        found = {key: hdu for key, hdu in tables.items() if _has_n_z(hdu.columns.names)}
        named = {key: hdu for key, hdu in found.items() if column in (*_keys(key, hdu), *hdu.columns.names)}
        sources = {key: hdu for key, hdu in found.items() if "source" in key.lower()}
        chosen = next((some for some in (named, found, sources) if len(some) == 1), {})
        result = [(Table.read(hdu), None if column in _keys(key, hdu) else column) for key, hdu in chosen.items()]
    if not result:
        raise ValueError(
            f"{name}: {str(file)!r} has {len(found)} tables with columns such as z and n, {', '.join(found)}, among "
            f"{', '.join(tables)}; read one with astropy.table.Table.read(file, hdu=...)"
        )
    return result[0]


def _has_n_z(names):
    lower = [n.lower() for n in names]
    dense = [n for n in lower if n in DENSITY_NAMES or BIN_NAME.fullmatch(n)]
    return bool(dense) and any(n in REDSHIFT_NAMES for n in lower)


def _keys(key, hdu):
    return key, hdu.header.get("SACCNAME", key)
