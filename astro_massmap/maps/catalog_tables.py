"""A catalogue of galaxies as a table, and in files of tables."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self, cast

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

from .._io.columns import CREATOR, find_columns, is_own, read_table
from .._io.positions import positions
from .._io.quantities import numbers
from .._io.selection import selected
from .._sky.geometry import shear_to_icrs
from .._utils.files import atomic_path
from .._utils.progress import warn
from .axes import AXES, check_axes_name, same_axes, to_west_north
from .calibration import RESPONSE, response_of_columns, response_to_table, seen_along

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.coordinates import SkyCoord
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Axes, File, Response, Select

_SHAPE_NOISE = "sigma_e"  # its keyword in the header of a table, which FITS limits to eight letters
_C = ("c1", "c2")
_LARGEST_REDSHIFT = 10  # larger medians are those of magnitudes


class CatalogTables:
    """Methods of `~astro_massmap.ShearCatalog` that read and write tables."""

    if TYPE_CHECKING:  # what a catalogue has

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
        A catalogue from the columns of a table.

        Parameters
        ----------
        table : `~astropy.table.Table`
            Positions in any unit of angle. Numbers without a unit are degrees, and sexagesimal text is hours and
            degrees; a warning states what was assumed. Masked values, NaN and blank text are missing values.
        axes : str
            See `~astro_massmap.ShearCatalog`.
        columns : dict, optional
            Names of the columns by what they contain, for instance ``{"g1": "e1", "g2": "e2"}``; keys are
            ``ra``, ``dec``, ``g1``, ``g2``, ``weight``, ``redshift``; of the calibration ``m_bias``, ``c1``,
            ``c2``, and ``response``, or ``R11``, ``R12``, ``R21``, ``R22`` (metacalibration), or ``rms_e``
            (distortions, whose responsivity is ``1 - rms_e^2``), which are used only where they are named.
            Others that are not given are found by their usual names. None: do not use one, for instance
            ``{"redshift": None}``.
        select : str or array-like, optional
            Galaxies to use: a condition, such as ``"tomo == 1"``, ``"z > 0.6 & mag < 24"`` or ``"not star"``, or flags
            ``(n,)``. Conditions compare columns with numbers and quoted texts by ``==``, ``!=``, ``<``, ``<=``, ``>``,
            ``>=`` and ``in (1, 2)``, or are names of columns of flags (bools, 0 and 1, or text such as true and
            false); they are joined by ``and`` or ``&``, ``or`` or ``|``, ``not`` or ``~``, and parentheses. Numbers
            are in the unit of the column. Names with other characters than letters, digits and underscores are
            written in backticks. Galaxies whose value is missing (masked or NaN) are not selected, with a warning.
        **kwargs
            Further arguments of `~astro_massmap.ShearCatalog`.

        Returns
        -------
        ShearCatalog
            Its attribute ``columns`` contains the names of the columns that were used.

        Raises
        ------
        TypeError
            If ``table`` is none, or a column that needs numbers holds none.
        ValueError
            If the table is empty, ``axes`` or a key of ``columns`` is unknown, a column is not there, or what it
            holds is out of range.
        `~astropy.units.UnitsError`
            If a column has a unit that does not fit.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If positions have no unit, look like radians or hours, or are sexagesimal text without a unit; a unit is
            not in a standard spelling; the names of two columns are of different conventions (``e1`` with
            ``gamma2``), or of ellipticities that need a response and none is given; a redshift column does not look
            like redshifts, and is not used; galaxies are dropped; the header of the table contains other axes, or the
            shape noise of other columns.

        Examples
        --------
        >>> from astropy.table import Table
        >>> from astro_massmap import ShearCatalog
        >>> table = Table({"RA": [34.5, 34.6], "DEC": [-5.0, -5.1], "e1": [0.1, -0.2], "e2": [0.0, 0.3]},
        ...               units={"RA": "deg", "DEC": "deg"})
        >>> catalog = ShearCatalog.from_table(table, axes="north-east", columns={"weight": None})
        >>> catalog.g1.tolist(), catalog.weight.tolist()
        ([0.1, -0.2], [1.0, 1.0])
        >>> catalog.columns
        {'ra': 'RA', 'dec': 'DEC', 'g1': 'e1', 'g2': 'e2'}
        """
        check_axes_name(axes)
        if not isinstance(table, Table):
            raise TypeError(
                f"table: needs an astropy table, got {type(table).__name__}; files are for ShearCatalog.read"
            )
        if len(table) == 0:
            raise ValueError("table: the catalogue is empty")
        if select is not None:
            table = table[selected(select, table)]
        names = find_columns(table, columns)
        instead = {*kwargs} | ({*_C} if "c_bias" in kwargs else set())
        instead |= {*RESPONSE} if {"response", "responsivity"} & instead else set()
        names = {key: name for key, name in names.items() if key not in instead}
        ours = is_own(table)
        notes = {k.lower(): v for k, v in table.meta.items()} if ours else {}
        written = notes.get("axes")
        if isinstance(written, str) and written in AXES and not same_axes(written, axes):
            warnings.warn(
                f"axes: the table says {written!r}, the argument {axes!r}; the argument is used",
                AstropyUserWarning,
                stacklevel=2,
            )
        found: dict[str, Any] = {key: table[name] for key, name in names.items() if key not in ("ra", "dec")}
        if "redshift" in found and not _is_redshift(found["redshift"]):
            del found["redshift"], names["redshift"]
        response_of_columns(found, kwargs, table.colnames, columns)
        if "c1" in found or "c2" in found:
            found["c_bias"] = (found.pop("c1", 0), found.pop("c2", 0))
        if "shape_noise" not in kwargs and isinstance(notes.get(_SHAPE_NOISE), float):
            found |= _written_shape_noise(notes[_SHAPE_NOISE], names)
        own = ("axes", "creator", _SHAPE_NOISE) if ours else ()
        found["meta"] = {k: v for k, v in table.meta.items() if k.lower() not in own}
        coords = positions(table[names["ra"]], table[names["dec"]], drop=True)
        new = cls(coords, found.pop("g1"), found.pop("g2"), axes=axes, **(found | kwargs))
        new.columns = names
        return new

    @classmethod
    def read(
        cls,
        file: File,
        *,
        axes: Axes,
        columns: Mapping[str, str | None] | None = None,
        select: Select | None = None,
        responsivity: float | None = None,
        response: ArrayLike | None = None,
        **kwargs: Any,
    ) -> Self:
        """
        Read a catalogue from a file of a table: FITS, ECSV, CSV, or any other that astropy reads, but HDF5.

        HDF5 is left out: damaged files break its library, and with it the program.

        Parameters
        ----------
        file : str or path-like
            The file. Text is UTF-8, with or without a byte order mark, or else Latin-1, of which a warning is
            given. Of a FITS file in the LDAC format the table of objects is read.
        axes, columns, select
            See `from_table`.
        responsivity, response
            See `~astro_massmap.ShearCatalog`.
        **kwargs
            Passed to `astropy.table.Table.read`, for instance ``format="ascii"`` or ``hdu=1``.

        Returns
        -------
        ShearCatalog

        Raises
        ------
        OSError
            If the file is not there, is damaged, or holds no table.
        TypeError, ValueError, `~astropy.units.UnitsError`
            As `from_table` does.

        Examples
        --------
        >>> from astro_massmap import ShearCatalog, datasets
        >>> datasets.demo()[:1000].write("galaxies.fits")
        >>> ShearCatalog.read("galaxies.fits", axes="west-north")
        <ShearCatalog: 1000 galaxies, axes 'west-north', shape noise 0.265>
        >>> ShearCatalog.read("galaxies.fits", axes="west-north", select="weight > 0 & ra > 34.5")
        <ShearCatalog: 542 galaxies, axes 'west-north', shape noise 0.257>
        """
        check_axes_name(axes)
        table = read_table(file, "file", **kwargs)
        given = {"responsivity": responsivity, "response": response}
        given = {key: value for key, value in given.items() if value is not None}  # they go before columns
        return cls.from_table(table, axes=axes, columns=columns, select=select, **given)

    def to_table(self) -> QTable:
        """
        The catalogue as a table that `from_table` takes back.

        Positions are those of ICRS, into whose axes the shear is turned if the catalogue has another
        frame.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``ra``, ``dec``, ``g1``, ``g2`` and ``weight``, and of ``redshift``, ``m_bias``, ``c1``, ``c2``, and
            ``response`` or ``R11`` to ``R22`` those that the catalogue has. ``meta`` holds the axes, and the shape
            noise if it was given.

        Examples
        --------
        >>> from astro_massmap import ShearCatalog, datasets
        >>> table = datasets.demo().to_table()
        >>> table.colnames, table.meta["axes"]
        (['ra', 'dec', 'g1', 'g2', 'weight'], 'west-north')
        >>> ShearCatalog.from_table(table, axes="west-north")
        <ShearCatalog: 65666 galaxies, axes 'west-north', shape noise 0.260>
        """
        table = QTable(meta={**self.meta, "CREATOR": CREATOR, "axes": self.axes})
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
        if self.m_bias is not None:
            table["m_bias"] = np.broadcast_to(self.m_bias, len(self))
        if np.any(bias):
            table["c1"], table["c2"] = np.broadcast_to(bias.real, len(self)), np.broadcast_to(bias.imag, len(self))
        table.update(response_to_table(response, len(self)))
        if self._given_shape_noise is not None:
            table.meta[_SHAPE_NOISE] = self._given_shape_noise
        return table

    def write(self, file: File, *, overwrite: bool = False, **kwargs: Any) -> None:
        """
        Write the table of `to_table`, in the format that the name of the file tells.

        Parameters
        ----------
        file : str or path-like
            Written whole or not at all.
        overwrite : bool
            Replace an existing file.
        **kwargs
            Passed to `astropy.table.Table.write`, for instance ``format="fits"``.

        Raises
        ------
        OSError
            If the file exists and ``overwrite`` is False, or it cannot be written.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            Of what a CSV file does not keep.

        Examples
        --------
        >>> from astro_massmap import ShearCatalog, datasets
        >>> datasets.demo()[::8].write("galaxies.ecsv")
        >>> len(ShearCatalog.read("galaxies.ecsv", axes="west-north"))
        8209
        """
        if str(file).lower().endswith(".csv"):
            warnings.warn(
                "a CSV file keeps neither units nor meta, nor the axes and a given shape noise; ECSV does",
                AstropyUserWarning,
                stacklevel=2,
            )
        with atomic_path(file, overwrite=overwrite) as temporary:
            self.to_table().write(temporary, **kwargs)


def _is_redshift(column: Any) -> bool:
    """Whether a column contains redshifts; a warning gives the reason if it does not."""
    try:
        with warnings.catch_warnings():  # the catalogue warns when it reads the column
            warnings.filterwarnings("ignore", message=".*not in a standard spelling")
            values, missing = numbers(column, "redshift")
        reason = "it contains no numbers" if missing.all() else ""
        if not reason and np.median(values[~missing]) > _LARGEST_REDSHIFT:
            reason = f"more than half of its values are larger than {_LARGEST_REDSHIFT}"
    except (TypeError, ValueError, u.UnitsError) as error:
        reason = str(error).removeprefix("redshift: ")
    if reason:
        warn(
            f"redshift: the column {column.info.name!r} is not used, for it does not look like redshifts: {reason}. "
            "Give the name of another one, or None, by columns={'redshift': ...}",
            stacklevel=4,
        )
    return not reason


def _written_shape_noise(value: float, names: Mapping[str, str]) -> dict[str, float]:
    """The shape noise in the header of a table, if it is that of the columns that are used."""
    used = [names.get(key) for key in ("g1", "g2", "weight")]
    if used[2] == "weight" and set(used[:2]) == {"g1", "g2"}:
        return {"shape_noise": value}
    warn(
        f"shape_noise: {value:g} in the header of the table is that of the columns g1, g2 and weight, but {used} are "
        "used; it is measured instead",
        stacklevel=4,
    )
    return {}
