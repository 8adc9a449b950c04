"""Columns of tables, as surveys and archives write them."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from hypothesis import given, settings, strategies as st

from astro_massmap._input import numbers

FEW = settings(max_examples=30, deadline=None)

# ---- numbers

WAYS = {  # from values (nan where one is missing) to a column of arcsec
    "plain": lambda v, bad: v,
    "list": lambda v, bad: [None if b else x for x, b in zip(v, bad, strict=True)],
    "column": lambda v, bad: Column(v, unit="arcsec"),
    "masked column": lambda v, bad: MaskedColumn(np.where(bad, 999999.0, v), mask=bad, unit="arcsec"),
    "masked integers": lambda v, bad: MaskedColumn(np.where(bad, 999999, v).astype(">i4"), mask=bad, unit="arcsec"),
    "masked array": lambda v, bad: np.ma.array(np.where(bad, 0, v), mask=bad),
    "Masked": lambda v, bad: Masked(np.where(bad, 7.0, v), mask=bad),
    "Masked integers": lambda v, bad: Masked(np.where(bad, 7, v).astype(int), mask=bad),
    "masked quantity": lambda v, bad: Masked(np.where(bad, 7.0, v) * u.arcsec, mask=bad),
    "quantity": lambda v, bad: (v * u.arcsec).to(u.arcmin),
    "text": lambda v, bad: Column(["" if b else f" {x:.1f}" for x, b in zip(v, bad, strict=True)], unit="arcsec"),
    "bytes": lambda v, bad: Column([b"--" if b else b"%.1f" % x for x, b in zip(v, bad, strict=True)]),
    "masked text": lambda v, bad: MaskedColumn(
        ["N/A" if b else str(x) for x, b in zip(v, bad, strict=True)], mask=bad, unit="arcsec"
    ),
    "objects": lambda v, bad: np.array([None if b else x for x, b in zip(v, bad, strict=True)], dtype=object),
}


@FEW
@given(st.lists(st.none() | st.integers(-1000, 1000), min_size=1, max_size=6), st.sampled_from(list(WAYS)))
def test_numbers_of_any_column(given_values, way):
    bad = np.array([x is None for x in given_values])
    values = np.array([np.nan if x is None else x for x in given_values], dtype=float)
    with np.errstate(invalid="ignore"):
        column = WAYS[way](values, bad)
    before = np.array(np.ma.getdata(column)) if way != "list" else None
    found, missing = numbers(column, "size", unit=u.arcsec)
    assert type(found) is np.ndarray and found.dtype == np.dtype(float) and missing.dtype == bool
    assert np.array_equal(missing, bad)
    assert np.allclose(found, values, equal_nan=True, rtol=1e-12)
    in_degrees, _ = numbers(column, "size", unit="deg")
    if getattr(column, "unit", None) is not None:
        assert np.allclose(in_degrees, values / 3600, equal_nan=True, rtol=1e-12)
    if before is not None and before.dtype.kind == "f":  # it was a copy
        found[:] = -5
        assert np.array_equal(np.array(np.ma.getdata(column)), before, equal_nan=True)


def test_integers_with_tnull_of_a_fits_table():
    table = Table({"a": MaskedColumn([3, 999999, 5], mask=[0, 1, 0], unit="arcmin")})
    table.write("t.fits")
    for kind in (Table, QTable):
        found, missing = numbers(kind.read("t.fits")["a"], "a", unit=u.arcsec)
        assert missing.tolist() == [False, True, False] and found[~missing].tolist() == [180, 300]


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (Column(["0.1", "bright"]), TypeError, "size: needs numbers .*'bright'"),
        (Column(["0.1", "1_000"]), TypeError, "size: needs numbers .*1_000"),
        (Column([1 + 1j]), TypeError, "size: needs numbers .*complex"),
        (Time(["2020-01-01"]), TypeError, "size: needs numbers"),
        (np.array(["2020-01-01"], dtype="M8[D]"), TypeError, "size: needs numbers"),
        (Column([1.0], unit="mag"), u.UnitsError, "size: needs to be dimensionless, got the unit mag"),
        ([1] * u.dex(u.dimensionless_unscaled), u.UnitsError, "size: needs to be dimensionless"),
        (Column([1.0], unit="furlongs"), u.UnitsError, "size: the unit 'furlongs' is unknown"),
    ],
)
def test_columns_without_numbers_are_named(column, error, message):
    with pytest.raises(error, match=message):
        numbers(column, "size")


# ---- units


@FEW
@given(
    st.sampled_from([("deg", 1), ("degree", 1), ("degrees", 1), ("radians", 180 / np.pi), ("rad", 180 / np.pi)]),
    st.sampled_from(["{}", "[{}]", "'{}'", " {} ", "({})", "{} (J2000)", "decimal {}"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_units_as_archives_write_them(unit, frame, case):
    if unit[0].startswith("rad") and "decimal" in frame:
        return
    text = case(frame.format(unit[0]))
    column = Column([2.0])
    column.unit = u.Unit(text, parse_strict="silent")
    if isinstance(column.unit, u.UnrecognizedUnit):
        with pytest.warns(AstropyUserWarning, match="size: the unit .* standard spelling"):
            found, _ = numbers(column, "size", unit=u.deg)
    else:
        found, _ = numbers(column, "size", unit=u.deg)
    assert np.isclose(found[0], 2 * unit[1])


@pytest.mark.parametrize("text", ["none", "None", "---", "-", "unitless", "UNITLESS", "dimensionless", "n/a", "[]"])
def test_no_unit_in_words(text):
    column = Column([0.2])
    column.unit = u.Unit(text, parse_strict="silent")
    with pytest.warns(AstropyUserWarning, match="e1: the unit .*no unit is assumed"):
        assert numbers(column, "e1")[0].tolist() == [0.2]


@pytest.mark.parametrize("text", ["", "1"])
def test_no_unit_in_standard_spellings(text):
    for unit in (u.Unit(text), u.UnrecognizedUnit(text)):
        column = Column([0.2])
        column.unit = unit
        assert numbers(column, "e1")[0].tolist() == [0.2]
