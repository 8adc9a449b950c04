"""Input and output of catalogues of galaxies as tables and files."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Self, cast

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table

from .._io.columns import CREATOR, find_columns, is_own, read_table, table_pieces
from .._io.fits import n_z_hdu
from .._io.parquet import is_parquet, parquet_pieces
from .._io.positions import positions
from .._io.quantities import NoValidGalaxy
from .._io.result_tables import ResultTable, printed
from .._io.selection import NothingSelected, selected
from .._sky.geometry import shear_to_icrs
from .._utils.checks import check_integer
from .._utils.files import atomic_path
from .._utils.progress import warn
from .axes import AXES, check_axes_name, same_axes, to_west_north
from .calibration import RESPONSE, response_of_columns, response_to_table, seen_along, warn_of_unused
from .catalog_bins import WITHOUT_BIN_0, bin_numbers, is_bin_number
from .n_z import is_redshift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astropy.coordinates import SkyCoord
    from astropy.table import QTable
    from numpy.typing import NDArray

    from .._utils.typing import Axes, File, Response, Select
    from .n_z import NZ

_SHAPE_NOISE = "sigma_e"  # keyword of the shape noise; FITS limits keywords to eight letters
_C = ("c1", "c2")
_FITS = re.compile(r"\.(fits?|fts)(\.gz|\.bz2)?$", re.IGNORECASE)


class CatalogTables:
    """Methods of `~astro_massmap.ShearCatalog` that read and write tables."""

    if TYPE_CHECKING:  # attributes of a catalogue

        def __init__(self, *columns: Any, **more: Any) -> None: ...

        def __len__(self) -> int: ...

        axes: Axes
        coords: SkyCoord
        g1: NDArray[np.float64]
        g2: NDArray[np.float64]
        weight: NDArray[np.float64]
        redshift: NDArray[np.float64] | None
        m_bias: float | NDArray[np.float64] | None
        c_bias: tuple[float | NDArray[np.float64], ...]
        response: Response | None
        meta: dict[str, Any]
        columns: dict[str, str]
        _given_shape_noise: float | None
        _given_n_z: NZ | None
        tomo: NDArray[np.int64] | None
        rows: NDArray[np.int64]
        _n_rows: int
        efficiency: NDArray[np.float64] | None

    @classmethod
    def from_table(
        cls,
        table: Table,
        *,
        axes: Axes,
        columns: Mapping[str, str | None] | None = None,
        select: Select | None = None,
        **kwargs: Any,
    ) -> Self:
        """
        Make a catalogue from the columns of a table.

        Parameters
        ----------
        table : `~astropy.table.Table`
            Table with positions in any unit of angle. Numbers without a unit are assumed to be degrees, and sexagesimal
            text hours and degrees, with a warning. Masked values, NaN and blank text are missing values.
        columns : dict, optional
            Names of the columns by content, for instance ``{"g1": "e1", "g2": "e2"}``. The columns ``ra``, ``dec``,
            ``g1``, ``g2``, ``weight``, ``redshift`` and ``tomo`` (numbers of tomographic bins) are found by their usual
            names if not given (None: do not use one). Columns of the calibration are used only if given: ``m_bias``,
            ``c1``, ``c2``, and ``response``, or ``R11`` to ``R22`` (metacalibration), or ``rms_e`` (distortions, with
            responsivity ``1 - rms_e^2``).
        select : str or array-like, optional
            Galaxies to use: flags ``(n,)`` or a condition, such as ``"tomo == 1"``, ``"z > 0.6 & mag < 24"`` or
            ``"not star"``. A condition compares columns, in their own units, with numbers and quoted texts by ``==``,
            ``!=``, ``<``, ``<=``, ``>``, ``>=`` and ``in (1, 2)``, or is a column of flags (bools, 0 and 1, or text
            such as true and false). Conditions are joined by ``and`` or ``&``, ``or`` or ``|``, ``not`` or ``~``, and
            parentheses. Names with characters other than letters, digits and underscores are in backticks. Galaxies
            with missing values (masked or NaN) are not selected, with a warning.
        axes, **kwargs
            Arguments of `~astro_massmap.ShearCatalog`.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If ``table`` is not a table or is empty, an argument is not as described, or a column does not exist or has
            a wrong type, values out of range or a wrong unit.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If a unit is missing or not in a standard spelling, positions look like radians or hours, the names of two
            columns follow different conventions (``e1`` with ``gamma2``), several columns have the usual names of the
            ellipticity, the weight or the redshift, ellipticities seem to need a response, a
            column named as a weight or a multiplicative bias is not used, a redshift column does not look like
            redshifts and is not used, galaxies are dropped, or the header of the table contains other axes or the shape
            noise of other columns.

        Examples
        --------
        >>> from astropy.table import Table
        >>> from astro_massmap import ShearCatalog
        >>> table = Table({"RA": [34.5, 34.6], "DEC": [-5.0, -5.1], "e1": [0.1, -0.2], "e2": [0.0, 0.3]},
        ...               units={"RA": "deg", "DEC": "deg"})
        >>> ShearCatalog.from_table(table, axes="north-east", columns={"weight": None}).columns
        {'ra': 'RA', 'dec': 'DEC', 'g1': 'e1', 'g2': 'e2'}
        """
        check_axes_name(axes)
        if not isinstance(table, Table):
            raise TypeError(
                f"table: needs an astropy table, got {type(table).__name__}; read files by ShearCatalog.read"
            )
        if len(table) == 0:
            raise ValueError("table: needs at least one galaxy, got none")
        chosen = np.ones(len(table), dtype=bool) if select is None else selected(select, table)
        table = table if select is None else table[chosen]
        names = find_columns(table, columns)
        instead = {*kwargs} | ({*_C} if "c_bias" in kwargs else set())
        instead |= {*RESPONSE} if {"response", "responsivity"} & instead else set()
        names = {key: name for key, name in names.items() if key not in instead}
        ours = is_own(table)
        notes = {k.lower(): v for k, v in table.meta.items()} if ours else {}
        written = notes.get("axes")
        if isinstance(written, str) and written in AXES and not same_axes(written, axes):
            warn(f"axes: the header of the table contains {written!r}; the argument {axes!r} is used instead")
        found: dict[str, Any] = {key: table[name] for key, name in names.items() if key not in ("ra", "dec")}
        if "redshift" in found and not is_redshift(found["redshift"]):
            del found["redshift"], names["redshift"]
        if "tomo" in found and not (columns or {}).get("tomo") and not is_bin_number(found["tomo"]):
            del found["tomo"], names["tomo"]
        if names.get("tomo", "").lower() in WITHOUT_BIN_0:
            number = bin_numbers(found["tomo"], len(table))
            found["tomo"] = np.where(number > 0, number, -1)
        warn_of_unused(table, {*names} | {*kwargs} | {*(columns or ())})
        response_of_columns(found, kwargs, table.colnames, columns)
        if "c1" in found or "c2" in found:
            found["c_bias"] = (found.pop("c1", 0), found.pop("c2", 0))
        if "shape_noise" not in kwargs and isinstance(notes.get(_SHAPE_NOISE), float):
            found |= _written_shape_noise(notes[_SHAPE_NOISE], names)
        if isinstance(notes.get("n_z"), dict) and {"z", "n"} <= notes["n_z"].keys():
            found["n_z"] = (notes["n_z"]["z"], notes["n_z"]["n"])
        own = ("axes", "creator", "n_z", _SHAPE_NOISE) if ours else ()
        found["meta"] = {k: v for k, v in table.meta.items() if k.lower() not in own}
        coords = positions(table[names["ra"]], table[names["dec"]], drop=True)
        new = cls(coords, found.pop("g1"), found.pop("g2"), axes=axes, **(found | kwargs))
        new.columns, new.rows, new._n_rows = names, np.flatnonzero(chosen)[new.rows], len(chosen)
        return new

    @classmethod
    def read(
        cls,
        file: File,
        *,
        axes: Axes,
        columns: Mapping[str, str | None] | None = None,
        select: Select | None = None,
        **kwargs: Any,
    ) -> Self:
        """
        Read a catalogue from a table in any format that astropy reads except HDF5, whose library crashes on damage.

        Parameters
        ----------
        file : str or path-like
            File (FITS, ECSV, CSV, Parquet, ...), or folder of Parquet files. Text is UTF-8, with or without a byte
            order mark, or else Latin-1, with a warning. Of a FITS file with several tables the first is read that has
            the columns, or the objects of the LDAC format. OSError if the file does not exist, is damaged, or contains
            no table.
        axes, columns, select
            Arguments of `from_table`, with their errors.
        **kwargs
            Arguments of `~astro_massmap.ShearCatalog`, for instance ``shape_noise=0.26`` or ``n_z=(z, n)``, which
            replace columns, and of `astropy.table.Table.read`, for instance ``format="ascii"`` or ``hdu=1``.

        Examples
        --------
        >>> from astro_massmap import ShearCatalog, datasets
        >>> datasets.demo()[:1000].write("galaxies.fits")
        >>> ShearCatalog.read("galaxies.fits", axes="west-north", select="weight > 0 & ra > 34.5")
        <ShearCatalog: 542 galaxies, axes 'west-north', shape noise 0.257>
        """
        check_axes_name(axes)
        own = {key: kwargs.pop(key) for key in inspect.signature(cls).parameters.keys() & kwargs.keys()}
        given = {key: value for key, value in own.items() if value is not None}
        table = read_table(file, "file", galaxies=columns or {}, **kwargs)
        return cls.from_table(table, axes=axes, columns=columns, select=select, **given)

    @classmethod
    def pieces(
        cls,
        file: File,
        *,
        axes: Axes,
        rows: int = 1_000_000,
        hdu: int | str | None = None,
        columns: Mapping[str, str | None] | None = None,
        select: Select | None = None,
        **kwargs: Any,
    ) -> Iterator[Self]:
        """
        Read a large FITS or Parquet table as catalogues of some rows each, for `~astro_massmap.SkyFields`.

        Parameters
        ----------
        file : str or path-like
            FITS file, or a Parquet file or a folder of these (such as the partitions of HATS), which pyarrow reads;
            OSError if it does not exist, is damaged, or contains no table.
        rows : int
            Number of rows that are read at a time. Pieces of which ``select`` selects no galaxy are left out, as are
            those without valid galaxies, with a warning.
        hdu : int or str, optional
            Number or name of the table in a FITS file; by default the first that has the columns.
        axes, columns, select, **kwargs
            As for `from_table`, with its errors when the first piece is read; ``select`` needs to be a condition.

        Examples
        --------
        >>> from astro_massmap import ShearCatalog, datasets
        >>> datasets.demo()[:1000].write("galaxies.fits", overwrite=True)
        >>> [len(piece) for piece in ShearCatalog.pieces("galaxies.fits", axes="west-north", rows=400)]
        [400, 400, 200]
        """
        check_axes_name(axes)
        check_integer(rows, "rows", 1)
        where = file, "file", rows
        for table in parquet_pieces(*where) if is_parquet(file) else table_pieces(*where, hdu, columns):
            try:
                piece = cls.from_table(table, axes=axes, columns=columns, select=select, **kwargs)
            except NothingSelected:
                continue
            except NoValidGalaxy as error:
                warn(f"file: a piece of {len(table)} rows is left out; {error}")
                continue
            yield piece

    def to_table(self) -> QTable:
        """
        Return the catalogue as a table that `from_table` accepts.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``ra``, ``dec`` (ICRS), ``g1``, ``g2`` (rotated to ICRS if necessary) and ``weight``, and if present
            ``redshift``, ``tomo``, ``m_bias``, ``c1``, ``c2``, and ``response`` or ``R11`` to ``R22``. Axes, and shape
            noise and n(z) if given, are in ``meta``. ValueError for a catalogue of `for_lens`.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo().to_table().colnames
        ['ra', 'dec', 'g1', 'g2', 'weight']
        """
        if self.efficiency is not None:
            raise ValueError("for_lens: a catalogue scaled to a reference source cannot be a table; use the first one")
        table = ResultTable(meta={**self.meta, "CREATOR": CREATOR, "axes": self.axes})
        icrs, shear = self.coords.icrs, self.g1 + 1j * self.g2
        bias, response = self.c_bias[0] + 1j * self.c_bias[1], cast("Any", self.response)
        if self.coords.frame.name != "icrs":
            shear, bias = (
                to_west_north(shear_to_icrs(self.coords, to_west_north(e, self.axes)), self.axes) for e in (shear, bias)
            )
            response = seen_along(response, self.axes, self.axes, shear_to_icrs(self.coords, np.ones(len(self))))
        table["ra"], table["dec"] = icrs.ra.to(u.deg), icrs.dec.to(u.deg)
        table["g1"], table["g2"], table["weight"] = shear.real, shear.imag, self.weight
        if self.redshift is not None:
            table["redshift"] = self.redshift
        if self.tomo is not None:
            table["tomo"] = self.tomo
        if self.m_bias is not None:
            table["m_bias"] = np.broadcast_to(self.m_bias, len(self))
        if np.any(bias):
            table["c1"], table["c2"] = np.broadcast_to(bias.real, len(self)), np.broadcast_to(bias.imag, len(self))
        table.update(response_to_table(response, len(self)))
        if self._given_shape_noise is not None:
            table.meta[_SHAPE_NOISE] = self._given_shape_noise
        if self._given_n_z is not None:
            table.meta["n_z"] = {key: column.tolist() for key, column in zip("zn", self._given_n_z, strict=True)}
        return printed(table, ".6g")

    def write(self, file: File, *, overwrite: bool = False, **kwargs: Any) -> None:
        """
        Write the table of `to_table` atomically; CSV files have no units and metadata, with a warning.

        FITS files have a given n(z) in a second table, N_Z.

        Parameters
        ----------
        file : str or path-like
            File to write, in the format of its extension.
        overwrite : bool
            Replace an existing file, which is an OSError otherwise.
        **kwargs
            Arguments of `astropy.table.Table.write`, for instance ``format="fits"``.

        Examples
        --------
        >>> from astro_massmap import ShearCatalog, datasets
        >>> datasets.demo()[::8].write("galaxies.ecsv")
        >>> len(ShearCatalog.read("galaxies.ecsv", axes="west-north"))
        8209
        """
        if str(file).lower().endswith(".csv"):
            warn("file: a CSV file stores no units, meta, axes, shape noise and n(z); write an ECSV file to keep them")
        table = self.to_table()
        is_fits = kwargs.get("format", "fits" if _FITS.search(str(file)) else None) == "fits"
        n_z = table.meta.pop("n_z", None) if is_fits else None
        with atomic_path(file, overwrite=overwrite) as temporary:
            if n_z is None:
                table.write(temporary, **kwargs)
                return
            tables = fits.table_to_hdu(table), n_z_hdu((n_z["z"], n_z["n"]))
            fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(temporary)


def _written_shape_noise(value: float, names: Mapping[str, str]) -> dict[str, float]:
    """Return the shape noise in the header of a table, if it belongs to the columns that are used."""
    used = [names.get(key) for key in ("g1", "g2", "weight")]
    if used[2] == "weight" and set(used[:2]) == {"g1", "g2"}:
        return {"shape_noise": value}
    warn(
        f"shape_noise: {value:g} in the header of the table belongs to the columns g1, g2 and weight, but {used} are "
        "used; it is measured instead",
        stacklevel=4,
    )
    return {}
