"""Columns of tables in the formats of surveys and archives."""

import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from hypothesis import example, given, settings, strategies as st

from astro_massmap import ShearCatalog
from astro_massmap._io.positions import positions
from astro_massmap._io.quantities import numbers
from astro_massmap._sky.regions import as_regions

from helpers.cases import each_case

FEW = settings(max_examples=30, deadline=None)
N = 500
RNG = np.random.default_rng(5)
WHERE = SkyCoord(RNG.uniform(150, 150.5, N) * u.deg, RNG.uniform(-2.5, -2, N) * u.deg)
E1, E2 = RNG.normal(scale=0.2, size=(2, N))


def galaxies(ra=WHERE.ra, dec=WHERE.dec, **columns):
    """Return a table of galaxies, with columns replaced or added; those that are None are left out."""
    columns = {"ra": ra, "dec": dec, "e1": E1, "e2": E2} | columns
    return Table({name: column for name, column in columns.items() if column is not None})


def caught(call, *arguments, **options):
    """Return the result of a call and its warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = call(*arguments, **options)
    assert all(issubclass(w.category, AstropyUserWarning) for w in found)
    return result, [str(w.message) for w in found]


def read(table, **options):
    """Return the catalogue of a table and the warnings."""
    return caught(ShearCatalog.from_table, table, axes="west-north", **options)


# ---- numbers

WAYS = {  # to make a column in arcsec from values, NaN where missing
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
    if before is not None and before.dtype.kind == "f":  # the result is a copy
        found[:] = -5
        assert np.array_equal(np.array(np.ma.getdata(column)), before, equal_nan=True)


def test_integers_with_tnull_of_a_fits_table():
    table = Table({"a": MaskedColumn([3, 999999, 5], mask=[0, 1, 0], unit="arcmin")})
    table.write("t.fits")
    for kind in (Table, QTable):
        found, missing = numbers(kind.read("t.fits")["a"], "a", unit=u.arcsec)
        assert missing.tolist() == [False, True, False] and found[~missing].tolist() == [180, 300]


@each_case(
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
def test_nonstandard_spellings_of_units(unit, frame, case):
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


@each_case("text", ["none", "None", "---", "-", "unitless", "UNITLESS", "dimensionless", "n/a", "[]"])
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


def test_units_of_files():
    for name, kind in (("c.fits", "fits"), ("c.ecsv", "ascii.ecsv"), ("c.vot", "votable")):
        table = galaxies(WHERE.ra.deg, WHERE.dec.deg)
        if kind == "fits":
            hdu = fits.table_to_hdu(table)
            hdu.header.update(TUNIT1="DEGREES", TUNIT2="[deg]", TUNIT3="none", TUNIT4="1")
            hdu.writeto(name)
        else:
            for column, unit in zip(table.columns.values(), ("degrees", "degree", "none", ""), strict=True):
                column.unit = u.Unit(unit, parse_strict="silent")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                table.write(name, format=kind)
        catalog, texts = caught(ShearCatalog.read, name, axes="west-north", format=kind)
        assert catalog.coords.separation(WHERE).max() < 1e-6 * u.arcsec and np.allclose(catalog.g1, E1)
        named = {text.partition(":")[0] for text in texts} - {"g2"}  # astropy 6 also writes an empty unit to VOTables
        assert named == ({"ra", "dec", "g1"} if kind == "fits" else {"ra", "g1"})
        assert all("standard spelling" in text for text in texts)


def test_a_unit_is_warned_of_once_for_each_column():
    table = galaxies(z=np.full(N, 0.5))
    table["radius"] = np.ones(N)
    for name, unit in {"ra": "Degrees", "dec": "Degrees", "z": "None", "radius": "Arcmins"}.items():
        table[name] = np.array(table[name])
        table[name].unit = u.Unit(unit, parse_strict="silent")
    _, texts = read(table)
    assert [text.partition(":")[0] for text in texts] == ["ra", "dec", "redshift"]
    regions, texts = caught(as_regions, table["ra", "dec", "radius"])
    assert regions[0].radius == 1 * u.arcmin
    assert [text.partition(": the unit")[0] for text in texts] == ["ra", "dec", "regions: column 'radius'"]


def test_unknown_units_name_the_column():
    table = galaxies(WHERE.ra.deg, WHERE.dec.deg)
    table["ra"].unit = table["dec"].unit = u.Unit("furlongs", parse_strict="silent")
    with pytest.raises(u.UnitsError, match="ra: the unit 'furlongs' is unknown"):
        read(table)
    table = galaxies()
    table["e2"].unit = "pix"
    with pytest.raises(u.UnitsError, match="g2: needs to be dimensionless, got the unit pix"):
        read(table)


# ---- positions

FORMS = {  # options of to_string, and the number of warnings
    "colons": ({"sep": ":"}, 2),
    "blanks": ({"sep": " "}, 2),
    "letters": ({}, 0),
    "letters and blanks": ({"sep": ("h ", "m ", "s")}, 1),
    "marks": ({"format": "unicode"}, 0),
}


@FEW
@given(
    st.floats(0, 359.99),
    st.floats(-89.9, 89.9),
    st.sampled_from(list(FORMS)),
    st.booleans(),
    st.sampled_from([str, str.upper, lambda x: f" {x} "]),
)
@example(0.01, -0.003, "colons", True, str)  # the sign of -00:00:10.8 is kept
def test_sexagesimal_positions(ra, dec, form, sign, case):
    options, n = FORMS[form]
    where = SkyCoord([ra] * u.deg, [dec] * u.deg)
    lon = where.ra.to_string(u.hour, precision=6, pad=True, **options)
    lat_options = options | ({"sep": ":"} if form == "letters and blanks" else {})
    lat = where.dec.to_string(precision=5, alwayssign=sign, **lat_options)
    found, texts = caught(positions, *(Column([case(x) for x in text] + ["--"]) for text in (lon, lat)))
    assert found[0].separation(where[0]) < 1 * u.mas
    assert np.isnan(found[1].ra) and np.isnan(found[1].dec)
    assert len(texts) == n
    if n == 2:
        assert "ra: sexagesimal text has no unit; hours" in texts[0] and "degrees" in texts[1]


def test_sexagesimal_right_ascensions_in_degrees_are_refused():
    dec = Column(["2:12:00", "--"], unit="deg")
    for text in ("10:00:43", "10 00 43"):
        ra = Column([text, "--"], unit="deg")
        with pytest.raises(ValueError, match=f"ra: the column has the unit deg, .* such as '{text}' are in hours"):
            positions(ra, dec)
        for unit, right in (("hourangle", 15), ("d:m:s", 1)):  # the remedies in the message
            ra.unit = unit
            assert np.isclose(positions(ra, dec)[0].ra.deg, right * (10 + 43 / 3600), rtol=1e-12)
    assert np.isclose(positions(Column(["10d00m43s", "10d00m00s"], unit="deg"), dec)[0].ra.deg, 10 + 43 / 3600)


@pytest.mark.parametrize("unit", ["deg", "degrees", '"d:m:s"', "dms"])
def test_sexagesimal_positions_with_a_unit(unit):
    lon, lat = (Column(x.to_string(u.deg, sep=":", precision=4)) for x in (WHERE.ra, WHERE.dec))
    lon.unit = lat.unit = u.Unit(unit, parse_strict="silent")
    found, texts = caught(positions, lon, lat)
    assert found.separation(WHERE).max() < 1 * u.mas
    assert len(texts) == 2 * (unit == "degrees")


@each_case(
    ("ra", "message"),
    [
        ("150:06:00", "ra: hours need to be at most 24, got '150:06:00' in row 1"),
        ("10:61:00", "less than 60, got '10:61:00' in row 1"),
        ("north", "needs angles such as 10:00:24.0 in all rows, got 'north' in row 1"),
    ],
)
def test_sexagesimal_errors_name_the_row(ra, message):
    with pytest.raises(ValueError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        positions(Column(["10:00:00", ra]), Column(["1:0:0", "1:0:0"]))


def test_numbers_as_text_are_degrees():
    catalog, texts = read(galaxies(WHERE.ra.deg.astype(str), WHERE.dec.deg.astype(str)))
    assert catalog.coords.separation(WHERE).max() < 1 * u.mas
    assert texts == ["ra and dec have no unit; degrees are assumed"]


def test_hours_with_a_unit():
    for unit in ("hourangle", "h", "hours", "hr"):
        table = galaxies(WHERE.ra.hour)
        table["ra"].unit = u.Unit(unit, parse_strict="silent")
        catalog, texts = read(table)
        assert catalog.coords.separation(WHERE).max() < 1 * u.mas
        assert len(texts) == (unit != "hourangle")


def field(ra, dec, side, aspect, density, seed):
    """Return positions in degrees in a field of ``side`` by ``side * aspect`` degrees, ``density`` per arcmin^2."""
    rng = np.random.default_rng(seed)
    n = int(np.clip(3600 * side**2 * aspect * density, 10, 3000))
    lon = ra + rng.uniform(-0.5, 0.5, n) * side / np.cos(np.radians(dec))
    return np.mod(lon, 360), np.clip(dec + rng.uniform(-0.5, 0.5, n) * side * aspect, -89.9, 89.9)


@FEW
@given(
    st.floats(0, 360) | st.sampled_from([0.0, 1.0, 3.0, 359.9]),
    st.floats(-70, 70) | st.sampled_from([0.0, 0.5]),
    st.floats(0.05, 15),
    st.floats(0.2, 5),
    st.floats(0.5, 300),
    st.integers(0, 2**31),
)
def test_no_warning_for_degrees(ra, dec, side, aspect, density, seed):
    _, texts = caught(positions, *map(Column, field(ra, dec, side, aspect, density, seed)))
    assert texts == ["ra and dec have no unit; degrees are assumed"]


@FEW
@given(
    st.floats(0, 360) | st.sampled_from([0.0, 359.9]),
    st.floats(-70, 70),
    st.floats(0.05, 0.8),
    st.floats(0.6, 1.6),
    st.integers(0, 2**31),
)
def test_warning_for_radians_and_hours(ra, dec, side, aspect, seed):
    lon, lat = field(ra, dec, side, aspect, 30, seed)
    _, texts = caught(positions, Column(np.radians(lon)), Column(np.radians(lat)))
    assert any("they may be in radians" in text for text in texts)
    _, texts = caught(positions, Column(lon / 15), Column(lat))
    assert any("ra may be in hours" in text for text in texts)


def test_no_warning_for_lines_and_short_lists():
    _, texts = caught(positions, Column(np.linspace(0, 1, 20)), Column(np.zeros(20)))
    _, more = caught(positions, Column([1.0, 1.001]), Column([0.0, 0.001]))
    assert texts == more == ["ra and dec have no unit; degrees are assumed"]


# ---- invalid rows

FAULTS = {  # invalid values by column
    "ra": [np.nan, -999.0, 1e20, np.inf],
    "dec": [np.nan, -999.0, -99.0, 90.5],
    "e1": [np.nan, np.inf, -99.0],
    "weight": [np.nan, 0.0, -1.0],
    "m_bias": [np.nan, np.inf, -99.0, -1.0, 99.0],
    "c1": [np.nan, -np.inf, -99.0],
}


@FEW
@given(st.lists(st.tuples(st.integers(0, N - 1), st.sampled_from(list(FAULTS)), st.integers(0, 4)), max_size=8))
def test_bad_rows_are_dropped_and_counted(faults):
    table = galaxies(WHERE.ra.deg, WHERE.dec.deg, weight=np.ones(N), m_bias=np.full(N, 0.1), c1=np.full(N, 0.01))
    for row, name, i in faults:
        table[name][row] = FAULTS[name][i % len(FAULTS[name])]
    table["ra"].unit = table["dec"].unit = "deg"
    good = np.ones(N, dtype=bool)
    good[[row for row, _, _ in faults]] = False
    catalog, texts = read(table, columns={"m_bias": "m_bias", "c1": "c1"})
    assert np.array_equal(catalog.g1, E1[good])
    assert len(catalog.m_bias) == len(catalog.c_bias[0]) == good.sum()
    assert sum(int(text.split()[0]) for text in texts) == (~good).sum()
    assert all("galaxies dropped" in text for text in texts)


def test_masked_values_of_each_column_drop_the_row():
    for kind in (Table, QTable):
        table = Table(galaxies(weight=np.ones(N, int), m=np.zeros(N, int)), masked=True)
        for i, name in enumerate(("ra", "dec", "e2", "weight", "m")):
            table[name].mask[i] = True
        catalog, texts = read(kind(table), columns={"m_bias": "m"})
        assert np.array_equal(catalog.g1, E1[5:]) and len(texts) == 4


def test_all_positions_out_of_range_are_an_error():
    for ra, dec, name in ((WHERE.ra, WHERE.dec * 60, "dec"), (WHERE.ra * 60, WHERE.dec, "ra")):
        with pytest.raises(ValueError, match=f"{name}: 500 of 500 values are beyond .* check the unit of the column"):
            read(galaxies(ra.deg * u.deg, dec.deg * u.deg))


def test_one_bias_for_all_galaxies_needs_to_be_finite():
    for bias in ({"m_bias": np.nan}, {"m_bias": np.inf}, {"c_bias": (np.nan, 0)}):
        with pytest.raises(ValueError, match=next(iter(bias))):
            ShearCatalog(WHERE, E1, E2, axes="west-north", **bias)


# ---- names of columns


@pytest.mark.parametrize(
    ("names", "columns", "used"),
    [
        (("RAJ2000", "DEJ2000", "e1", "e2"), None, "RAJ2000 DEJ2000 e1 e2"),
        (("RA", "RAJ2000", "DEJ2000", "e1", "gamma1", "gamma2"), None, "RAJ2000 DEJ2000 gamma1 gamma2"),
        (("ra", "dec", "g1", "e_1", "e_2"), None, "ra dec e_1 e_2"),
        (("ra", "dec", "e1", "e2", "gamma1", "gamma2"), {"g1": "gamma1"}, "ra dec gamma1 gamma2"),
        (("ALPHA_J2000", "DELTA_J2000", "e1", "e2"), {"g1": "e2", "g2": "e1"}, "ALPHA_J2000 DELTA_J2000 e2 e1"),
        (("x", "y", "e1", "foo"), {"ra": "x", "dec": "y", "g1": "e1", "g2": "foo"}, "x y e1 foo"),
    ],
)
def test_pairs_of_columns(names, columns, used):
    values = [WHERE.dec if name.upper().startswith(("DE", "Y")) else WHERE.ra for name in names]
    values = [E1 if name[0] in "gef" else value for name, value in zip(names, values, strict=True)]
    catalog, texts = read(Table(values, names=names), columns=columns)
    assert catalog.columns == dict(zip(("ra", "dec", "g1", "g2"), used.split(), strict=True))
    assert catalog[:5].columns == catalog.columns
    assert texts == []


@pytest.mark.parametrize("pair", [("ra", "dec"), ("g1", "g2")])
def test_one_column_for_both_components_is_an_error(pair):
    with pytest.raises(ValueError, match=f"columns: {pair[0]} and {pair[1]} need two columns, got 'e1' for both"):
        read(galaxies(), columns=dict.fromkeys(pair, "e1"))


def test_a_warning_names_columns_among_which_one_was_chosen():
    more = {"g1": E1, "g2": E2, "w": np.ones(N), "z": np.full(N, 0.5), "z_b": np.full(N, 0.6)}
    catalog, texts = read(galaxies(**more))  # g1 and g2 of mock catalogues may be the true shear
    assert len(texts) == 2
    assert "columns: 'g1' is used as g1, not 'e1'; name one in columns={'g1': ...}" in texts[0]
    assert "columns: 'z' is used as redshift, not 'z_b'; name one in columns={'redshift': ...}" in texts[1]
    assert catalog.columns["g1"] == "g1"
    assert read(galaxies(**more), columns={"g1": "e1", "g2": "e2", "redshift": "z_b"})[1] == []


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        (("RAJ2000", "DE_ICRS", "e1", "e2"), None, "'RAJ2000' and 'DE_ICRS' are used as ra and dec"),
        (("ra", "DEJ2000", "e1", "e2"), None, "'ra' and 'DEJ2000'"),
        (("ra", "dec", "e1", "gamma2"), None, "'e1' and 'gamma2' are used as g1 and g2"),
        (("ra", "dec", "e2", "shear"), {"g1": "shear"}, "'shear' and 'e2'"),
    ],
)
def test_warning_for_mixed_conventions(names, columns, message):
    table = Table([WHERE.ra, WHERE.dec, E1, E2], names=names)
    catalog, texts = read(table, columns=columns)
    assert len(texts) == 1 and message in texts[0] and "different conventions" in texts[0]
    assert len(catalog) == N
    positions_only, texts = read(table, columns=catalog.columns)  # both are named
    assert texts == [] and positions_only.columns == catalog.columns


def test_arguments_override_columns():
    table = galaxies(weight=np.full(N, 2.0), c1=np.full(N, 0.1))
    catalog, _ = read(table, weight=np.ones(N), c_bias=(0, 0), columns={"c1": "c1"})
    assert sorted(catalog.columns) == ["dec", "g1", "g2", "ra"] and catalog.c_bias == (0, 0)
    assert ShearCatalog(WHERE, E1, E2, axes="west-north").columns == {}


@each_case(
    "column",
    [
        Column(np.linspace(0, 1, N), unit="mag"),
        Column(np.linspace(0, 1, N), unit="furlongs"),
        np.linspace(18, 26, N),
        np.where(np.arange(N) % 3, 99.0, 0.5),
        ["bright"] * N,
        [""] * N,
        np.full(N, np.nan),
        np.ones((N, 2)) * 20,
    ],
)
def test_columns_that_are_not_redshifts(column):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        table = galaxies(z=column)
    catalog, texts = read(table)
    assert catalog.redshift is None and "redshift" not in catalog.columns and len(catalog) == N
    assert len(texts) == 1 and "redshift: the column 'z' is not used" in texts[0]
    for nothing in (None, ""):
        catalog, texts = read(table, columns={"redshift": nothing})
        assert catalog.redshift is None and texts == []


def test_redshifts_are_used():
    z = np.where(np.arange(N) % 5, np.linspace(0.1, 3, N), 11.0)  # some are large
    for column in (z, MaskedColumn(z, mask=np.arange(N) == 3), Column(z, unit=u.dimensionless_unscaled), z.astype(str)):
        catalog, texts = read(galaxies(z=column))
        assert catalog.columns["redshift"] == "z" and texts == []
        assert np.allclose(np.delete(catalog.redshift, 3), np.delete(z, 3))


def test_the_shape_noise_of_the_header_is_used_with_its_columns_only():
    given = ShearCatalog(WHERE, E1, E2, axes="west-north", weight=np.linspace(1, 2, N), shape_noise=0.123)
    table = given.to_table()
    table["e1"], table["e2"], table["w"] = 2 * E1, 2 * E2, np.linspace(2, 1, N)
    for columns in (None, {"g1": "g2", "g2": "g1"}, {"weight": "weight"}):
        catalog, texts = read(table, columns=columns)
        assert catalog.shape_noise == 0.123 and texts == []
    for columns in ({"g1": "e1", "g2": "e2"}, {"weight": None}, {"weight": "w"}):
        catalog, texts = read(table, columns=columns)
        assert np.isclose(catalog.shape_noise, 0.4 if "g1" in columns else 0.2, rtol=0.1)
        assert len(texts) == 1 and "shape_noise: 0.123 in the header" in texts[0]
    assert read(table, columns={"g1": "e1", "g2": "e2"}, shape_noise=0.5)[0].shape_noise == 0.5
    catalog, texts = read(table, weight=np.ones(N))
    assert catalog.shape_noise != 0.123 and len(texts) == 1


# ---- files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("name", ["c.csv", "c.txt", "c.ecsv"])
def test_encodings_of_text(name, encoding):
    table = galaxies(Größe=["é"] * N)
    table.write("plain", format="ascii.ecsv" if name == "c.ecsv" else "ascii.csv")
    with open("plain", encoding="utf-8") as file, open(name, "w", encoding=encoding) as copy:
        copy.write(file.read())
    catalog, texts = caught(ShearCatalog.read, name, axes="west-north")
    assert len(catalog) == N and catalog.columns["ra"] == "ra"
    texts = [text for text in texts if "no unit" not in text]
    assert len(texts) == (encoding == "latin-1") and all("Latin-1 is assumed" in text for text in texts)
    assert len(caught(ShearCatalog.read, name, axes="west-north", encoding=encoding)[0]) == N


@pytest.mark.parametrize("name", ["c.csv", "c.txt", "c.tsv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_text_in_utf_16(name, encoding):
    galaxies(Größe=["é"] * N).write("plain", format="ascii.csv")
    with open("plain", encoding="utf-8") as file, open(name, "w", encoding=encoding) as copy:
        copy.write(file.read())
    catalog, _ = caught(ShearCatalog.read, name, axes="west-north", encoding=encoding)
    assert np.allclose(catalog.g1, E1)
    if encoding == "utf-16":
        assert np.array_equal(caught(ShearCatalog.read, name, axes="west-north")[0].g1, catalog.g1)
    else:
        with pytest.raises(OSError, match=rf"file: .*'{name}': .*give its encoding"):
            ShearCatalog.read(name, axes="west-north")


def test_a_byte_order_mark_of_another_encoding():
    with open("c.csv", "wb") as file:
        file.write(b"\xef\xbb\xbf" + "ra,dec,e1,e2,Größe\n150,2,0.1,0.2,1\n".encode("latin-1"))
    with pytest.raises(OSError, match=r"file: .*c\.csv': its byte order mark declares UTF-8.*encoding='latin-1'"):
        ShearCatalog.read("c.csv", axes="west-north")


@each_case("name", ["c.csv", "c.txt"])
@each_case("separator", [",", ";", "; ", "\t"])
@each_case("head", ["", "# made by a pipeline; in 2024\n\n# two lines\n", "#"])
def test_separators_and_comments_of_text(name, separator, head):
    lines = [separator.join(("ra", "dec", "e1", "e2"))]
    lines += [
        separator.join(map(repr, map(float, row))) for row in zip(WHERE.ra.deg, WHERE.dec.deg, E1, E2, strict=True)
    ]
    with open(name, "w", encoding="utf-8") as file:
        file.write(head + "\n".join(lines))
    catalog, texts = caught(ShearCatalog.read, name, axes="west-north")
    assert np.allclose(catalog.g1, E1) and np.allclose(catalog.coords.ra.deg, WHERE.ra.deg)
    assert texts == ["ra and dec have no unit; degrees are assumed"]


@pytest.mark.parametrize("name", ["c.csv", "c.txt"])
def test_text_without_names_of_columns(name):
    rows = "150 2 0.1 0.2\n151 2 0.3 0.4\n"
    with open(name, "w", encoding="utf-8") as file:
        file.write(rows)
    columns = dict(zip(("ra", "dec", "g1", "g2"), ("col1", "col2", "col3", "col4"), strict=True))
    assert caught(ShearCatalog.read, name, axes="west-north", columns=columns)[0].g1.tolist() == [0.1, 0.3]
    with open(name, "w", encoding="utf-8") as file:
        file.write("A catalogue\nra,dec,e1,e2\n150,2,0.1,0.2\n")
    with pytest.raises(OSError, match=r"file: .*Lines before the names .* need to begin with # .* header_start="):
        ShearCatalog.read(name, axes="west-north")
    assert len(caught(ShearCatalog.read, name, axes="west-north", format="csv", header_start=1)[0]) == 1


def test_a_name_without_a_format():
    with open("catalogue", "w", encoding="utf-8") as file:
        file.write("ra,dec,e1,e2\n150,2,0.1,0.2\n")
    with pytest.raises(
        OSError, match=r"file: .*'catalogue': its file extension is not that of a known format; give format="
    ):
        ShearCatalog.read("catalogue", axes="west-north")


@pytest.mark.parametrize("names", [("LDAC_IMHEAD", ""), ("LDAC_IMHEAD", "LDAC_OBJECTS"), ("FIELDS", "OBJECTS")])
def test_ldac_files(names):
    head = fits.BinTableHDU.from_columns([fits.Column("Field Header Card", "80A", array=["A = 1"])], name=names[0])
    hdus = [fits.PrimaryHDU(), head, fits.table_to_hdu(galaxies())]
    hdus[2].name = names[1]
    fits.HDUList(hdus).writeto("c.fits")
    catalog, texts = caught(ShearCatalog.read, "c.fits", axes="west-north")
    assert len(catalog) == N and texts == []
    fits.HDUList([*hdus, *(hdu.copy() for hdu in hdus[1:])]).writeto("chips.fits")
    catalog, texts = caught(ShearCatalog.read, "chips.fits", axes="west-north")
    assert len(catalog) == N and len(texts) == 1 and "HDU 2 is read" in texts[0]
    assert len(caught(ShearCatalog.read, "chips.fits", axes="west-north", hdu=4)[0]) == N


def rows_of(separator, *columns):
    return "".join(
        separator.join(map(str, row)) + "\n" for row in zip(WHERE.ra.deg, WHERE.dec.deg, *columns, strict=True)
    )


SEXTRACTOR = """#   1 ALPHA_J2000   Right ascension of barycenter (J2000)   [deg]
#   2 DELTA_J2000   Declination of barycenter (J2000)   [deg]
#   3 e1
#   4 e2            lensfit
"""
VIZIER = "#\n#Name: J/A+A/1/1/galaxies\n#Column\tRAJ2000\n\nRAJ2000\tDEJ2000\te1\te2\tName\ndeg\tdeg\t \t \t \n"
VIZIER += "---------\t---------\t---\t---\t--\n"


@each_case("name", ["c.txt", "c.cat", "c.tsv"])
def test_names_in_numbered_comments_of_sextractor(name):
    with open(name, "w", encoding="utf-8") as file:
        file.write(SEXTRACTOR + rows_of(" ", E1, E2))
    catalog, texts = caught(ShearCatalog.read, name, axes="west-north")
    assert np.allclose(catalog.g1, E1) and np.allclose(catalog.coords.ra.deg, WHERE.ra.deg) and texts == []


@each_case("name", ["c.tsv", "c.csv"])
@each_case("separator", ["\t", ";"])
def test_units_and_a_rule_below_the_names_of_vizier(name, separator):
    names = [f"G {i}" if i % 2 else " " for i in range(N)]
    with open(name, "w", encoding="utf-8") as file:
        file.write(VIZIER.replace("\t", separator) + rows_of(separator, E1, E2, names))
    catalog, texts = caught(ShearCatalog.read, name, axes="west-north")
    assert np.allclose(catalog.g2, E2) and np.allclose(catalog.coords.dec.deg, WHERE.dec.deg) and texts == []


@each_case("name", ["c.txt", "c.csv"])
@each_case("below", ["", "# deg,deg,-,-,-,-\n"])
def test_commented_names_above_rows_with_text(name, below):
    with open(name, "w", encoding="utf-8") as file:
        file.write(
            "# a query\n# ira,idec,e1,e2,e1_isnull,id\n" + below + rows_of(",", E1, E2, [False] * N, ["W1m0"] * N)
        )
    catalog, texts = caught(ShearCatalog.read, name, axes="west-north", columns={"ra": "ira", "dec": "idec"})
    assert len(catalog) == N and np.allclose(catalog.g1, E1)
    assert texts == ["ra and dec have no unit; degrees are assumed"]


def test_fits_files_with_the_extension_of_text():
    galaxies().write("c.fits")
    Path("c.fits").rename("c.cat")
    assert len(ShearCatalog.read("c.cat", axes="west-north")) == N


@each_case("names", [("_RAJ2000", "_DEJ2000"), ("_RA.icrs", "_DE.icrs"), ("_RA", "_DE")])
def test_positions_that_vizier_computes(names):
    table = Table([WHERE.ra, WHERE.dec, E1, E2], names=[*names, "e1", "e2"])
    catalog, texts = caught(ShearCatalog.from_table, table, axes="west-north")
    assert catalog.columns["ra"] == names[0] and texts == []


def test_missing_columns_are_suggested_by_the_ends_of_their_names():
    names = ["i_ra", "i_dec", "i_shape_e1", "i_shape_e1_isnull", "i_shape_e2", "i_shape_rms_e"]
    message = r"columns=\{'ra': 'i_ra', 'dec': 'i_dec', 'g1': 'i_shape_e1', 'g2': 'i_shape_e2'\}"
    with pytest.raises(ValueError, match=message):
        ShearCatalog.from_table(Table(rows=[[1.0] * len(names)], names=names), axes="west-north")
    with pytest.raises(ValueError, match=r"cannot find dec, g1, g2 .* columns=\{'dec': '\.\.\.', 'g1'"):
        ShearCatalog.from_table(Table(rows=[[1.0, 1.0]], names=["ra", "b"]), axes="west-north")


def test_the_first_table_with_the_columns_of_galaxies_is_read():
    degrees = {"units": {"ra": "deg", "dec": "deg"}}
    survey = Table({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "e1": [0.1, 0.2], "e2": [0.0, 0.1]}, **degrees)
    other = Table({"ra": [9.0], "dec": [9.0], "my_e1": [0.5], "my_e2": [0.5]}, **degrees)
    names = ("RUN", "STARS", "SHAPES", "OTHER")
    tables = Table({"key": ["a"], "value": [1.0]}), Table({"ra": [5.0], "dec": [6.0], "mag": [20.0]}), survey, other
    hdus = [fits.table_to_hdu(table) for table in tables]
    for hdu, name in zip(hdus, names, strict=True):
        hdu.name = name
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto("several.fits")
    with pytest.warns(AstropyUserWarning, match=r"HDU 3 \(SHAPES\) is read, the first table with positions and"):
        assert list(ShearCatalog.read("several.fits", axes="west-north").g1) == [0.1, 0.2]
    with pytest.warns(AstropyUserWarning, match=r"HDU 3 \(SHAPES\) is read"):
        assert [len(piece) for piece in ShearCatalog.pieces("several.fits", axes="west-north", rows=1)] == [1, 1]
    columns = {"g1": "my_e1", "g2": "my_e2"}
    with pytest.warns(AstropyUserWarning, match=r"HDU 4 \(OTHER\) is read"):
        assert list(ShearCatalog.read("several.fits", axes="west-north", columns=columns).g1) == [0.5]
    with (
        pytest.raises(ValueError, match="columns: no column 'none'"),
        pytest.warns(AstropyUserWarning, match="multiple"),
    ):
        ShearCatalog.read("several.fits", axes="west-north", columns={"g1": "none"})
    for hdu in (3, "SHAPES"):
        assert len(ShearCatalog.read("several.fits", axes="west-north", hdu=hdu)) == 2
