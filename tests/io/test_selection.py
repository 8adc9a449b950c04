"""Flags and conditions select the same rows as numpy, and no rows with missing values."""

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from hypothesis import given, settings, strategies as st

from astro_massmap import ShearCatalog
from astro_massmap._io.flags import flags
from astro_massmap._io.selection import selected

from helpers.cases import each_case

QUICK = settings(deadline=None, max_examples=80)
TABLE = Table(
    {
        "z": [0.3, 0.5, 0.7, np.nan],
        "mag": MaskedColumn([22.0, 25.0, 23.0, 21.0], mask=[False, False, True, False]),
        "tomo": [1, 2, 1, 3],
        "id": [2**53, 2**53 + 1, 2**53 + 2, -5],
        "star": ["True", "no", " F", "y"],
        "survey": ["DES", "KiDS", "DES ", "N/A"],
        "good one": [True, False, True, True],
        "e1:corr": [0.1, 0.2, -0.1, 0.0],
        "class": np.array([1, 0, 0, 1], dtype=np.uint8),
        "2mass": [1, 3, 4, 2],
        "open": np.array([True, False, True, None], dtype=object),
        "size": np.array([0.6, 1.2, 0.7, 2.0], dtype=np.float32),
    }
)


def rows(condition, table=TABLE):
    return np.flatnonzero(selected(condition, table)).tolist()


@each_case(
    ("condition", "expected"),
    [
        ("tomo == 1", [0, 2]),
        ("tomo==1|tomo==3", [0, 2, 3]),
        ("tomo != 1 & id < 0", [3]),
        ("1 == tomo", [0, 2]),
        ("1 < tomo <= 3", [1, 3]),
        ("tomo in (1, 3) and not class", [2]),
        ("tomo not in [2, 3]", [0, 2]),
        ("not tomo == 1", [1, 3]),
        ("~(tomo == 1)", [1, 3]),
        ("~class & tomo == 1", [2]),
        ("!class", [1, 2]),
        ("class", [0, 3]),
        ("(tomo == 1) & (size > 0.65)", [2]),
        ("tomo == 1 AND size > 0.65", [2]),
        ("tomo == 3 or tomo == 1 and size > 0.65", [2, 3]),
        ("(tomo == 3 || tomo == 1) && size > 0.65", [2, 3]),
        (f"id == {2**53 + 1}", [1]),  # integers are not rounded
        ("id < -4.5", [3]),
        ("id == -5", [3]),
        ("id > +1e3", [0, 1, 2]),
        ("star", [0, 3]),
        ("not star", [1, 2]),
        ("star == True", [0, 3]),
        ("star != true & tomo == 1", [2]),
        ("good one", [0, 2, 3]),
        ("not `good one`", [1]),
        ('~"good one"', [1]),
        ("`e1:corr` > 0.05", [0, 1]),
        ("'e1:corr' > 0.05", [0, 1]),
        ("`e1:corr` - size < -0.55 & tomo < 3", [1, 2]),
        ("survey == 'DES'", [0, 2]),
        ('"DES" == survey', [0, 2]),
        ("survey in ('KiDS', 'N/A')", [1, 3]),
        ("tomo == '2'", [1]),
        ("-tomo < -1", [1, 3]),
        ("-class == -1", [0, 3]),  # unsigned
        ("-size >= -.6", [0]),  # in single precision
        ("+`e1:corr` > 0.05", [0, 1]),
        ("-(tomo - 1) == -2", [3]),
        ("`good one` == 'T'", [0, 2, 3]),
        ("`good one` in ('no')", [1]),
        ("survey in ('KiDS')", [1]),
        ("survey not in ( 'KiDS' )", [0, 2, 3]),
        ("tomo in (3) or id in (-5)", [3]),
        ("`2mass` > 2", [1, 2]),
        ("size >= .6", [0, 1, 2, 3]),  # in single precision, as written
    ],
)
def test_conditions(condition, expected):
    assert rows(condition) == expected


@pytest.mark.parametrize(
    ("condition", "expected", "missing"),
    [
        ("z > 0.4", [1, 2], 1),
        ("not z > 0.4", [0], 1),
        ("z > 0.4 & mag > 22", [1], 1),  # no magnitude in the third row; the fourth is too bright for any z
        ("z > 0.4 | mag < 22", [1, 2, 3], 0),
        ("z < 0.4 | mag < 22", [0, 3], 1),
        ("mag - z > 21.6", [0, 1], 2),
        ("mag != 22", [1, 3], 1),
        ("z < mag", [0, 1], 2),
        ("z in (0.3, 0.5)", [0, 1], 1),
        ("z not in (0.3, 0.5)", [2], 1),
        ("-z > -0.6", [0, 1], 1),
        ("open == 'T'", [0, 2], 1),
        ("open != 'yes'", [1], 1),
        ("'f' == open", [1], 1),
    ],
)
def test_rows_without_a_value_are_not_selected_and_counted(condition, expected, missing, recwarn):
    assert rows(condition) == expected
    counts = [str(w.message) for w in recwarn]
    assert len(counts) == bool(missing)
    assert all(f"{missing} of 4 rows" in text and repr(condition) in text for text in counts)
    assert all(issubclass(w.category, AstropyUserWarning) for w in recwarn)


@each_case(
    ("condition", "message"),
    [
        ("nope", "no column 'nope'"),
        ("nope > 3", "no column 'nope'"),
        ("z", "column 'z': needs flags .* got 0.3, 0.5"),
        ("survey", "column 'survey': needs flags .* 'DES'"),
        ("survey > 3", "column 'survey': needs numbers"),
        ("survey > 'DES'", "by == and !="),
        ("tomo == 'one'", "'one' is compared with numbers"),
        ("tomo = 1", "write == for equality"),
        ("tomo & 4 == 0", "neither a comparison nor a column of flags|column 'tomo': needs flags"),
        ("(tomo & 2) == 0", "only columns, numbers"),
        ("tomo >", "malformed"),
        ("", "1 to 2000 characters"),
        ("tomo in 1", "needs a list"),
        ("tomo in ()", "list is empty"),
        ("1 < 2", "needs a column"),
        ("3", "neither"),
        ("z + 1", "neither"),
        ("tomo > 7", "selects no row"),
        ("__import__('os').system('true')", "no column '__import__'"),
        ("tomo.real > 0", "not understood"),
        ("tomo[0] == 1", "only columns, numbers|malformed"),
        ("z(1) > 0", "only columns, numbers|malformed"),
        ("tomo ** 99 > 0", "malformed|only"),
        ("lambda: 0", "no column 'lambda'"),
        ("tomo == 1 if tomo else z", "no column 'if'"),
        ("(" * 900 + "class" + ")" * 900, "malformed"),
        ("tomo == 1 #", "not understood"),
        ("tomo == 1; z", "not understood"),
        ("'good one' == 'e1:corr'", "backticks"),
        ("tomo == 1abc", "not understood"),
        ("zz > 0.6", r"no column 'zz' among \[.*\]$"),
        ("2mass > 1", "'2mass > 1' is not understood; write the column as `2mass`, in backticks"),
        ("tomo == 1 & good one", "no column 'good' among .*; write the column as `good one`, in backticks"),
        ("`good one` == 'perhaps'", "a column of bools is compared with 'perhaps'; write == True or == False"),
        ("`good one` < 'T'", "by == and !="),
        ("survey in 'DES'", r"needs a list such as \(1, 2\) or \('a',\)"),
    ],
)
def test_conditions_that_cannot_be_read(condition, message):
    with pytest.raises((TypeError, ValueError), match=f"^select: .*({message})"):
        selected(condition, TABLE)


@pytest.mark.parametrize(("sign", "inner"), [("not ", "class"), ("-", "id < 0"), ("~", "class"), ("(", "class")])
def test_deep_conditions_are_read_or_rejected(sign, inner):
    text = sign * (1900 // len(sign)) + inner
    try:
        assert selected(text, TABLE).any()
    except ValueError as error:
        assert str(error).startswith("select: ")


def test_tables_of_quantities_and_of_bytes():
    table = QTable({"r": [1.0, 2.0, 3.0], "band": np.array([b"g ", b"r", b"g"])}, units={"r": "arcsec"})
    assert rows("r > 1.5", table) == [1, 2]
    assert rows("band == 'g'", table) == [0, 2]
    table["r"] = Masked([1.0, 2.0, 3.0], mask=[True, False, False]) * table["r"].unit
    with pytest.warns(AstropyUserWarning, match="1 of 3 rows"):
        assert rows("r < 2.5", table) == [1]


FORMS = st.sampled_from(["True", "t", "YES", " y", "1", "1.0 ", True, "False", "F", "no", "N", "0", "0.0", False])


def true(form):
    return str(form).strip().lower() in ("true", "t", "yes", "y", "1", "1.0")


@QUICK
@given(
    st.lists(st.tuples(FORMS, st.booleans()), min_size=1, max_size=20), st.sampled_from(["masked", "blank", "bytes"])
)
def test_flags_as_text(values, kind):
    texts = np.array([str(form) for form, _ in values])
    mask = np.array([masked for _, masked in values])
    if kind == "blank":
        column = np.where(mask, np.resize(["", " nan", "--", "N/A"], len(mask)), texts)
    else:
        column = MaskedColumn(texts.astype("S") if kind == "bytes" else texts, mask=mask)
    found = flags(column, "good")
    assert found.true.tolist() == [true(form) and not masked for form, masked in values]
    assert found.missing.tolist() == mask.tolist()


@QUICK
@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20),
    st.sampled_from(["?", "i2", "u1", ">i4", "f4", ">f8", "O"]),
)
def test_flags_as_bools_and_numbers(values, dtype):
    data, mask = np.array(values).T
    for column in (
        np.ma.array(data.astype(dtype), mask=mask),
        MaskedColumn(data.astype(dtype), mask=mask),
        Masked(data.astype(dtype if dtype != "O" else bool), mask=mask),
    ):
        assert flags(column, "good").true.tolist() == (data & ~mask).tolist()
    if "f" in dtype:
        assert flags(np.where(mask, np.nan, data), "good").true.tolist() == (data & ~mask).tolist()
    assert flags(Column(data.astype(dtype)), "good").true.tolist() == data.tolist()


@each_case(
    "values",
    [[0, 2], [0.5, 1], [-1, 0], ["maybe", "yes"], ["2", "1"], [np.inf, 1.0], [1j, 0], [[True], [False]], ["on", "off"]],
)
def test_other_values_are_not_flags(values):
    with pytest.raises(ValueError, match=r"^column 'good': needs"):
        flags(np.array(values), "column 'good'")


# ---- conditions against numpy

X = np.array([-1.0, 0.0, 0.5, np.nan, 2.0, 1.0])
N = np.ma.array([0, 1, 2, 3, 4, 5], mask=[0, 0, 1, 0, 0, 0])
F = np.array([True, False, True, False, False, True])
NUMPY = Table({"x": X, "n": MaskedColumn(N), "f": F})

_known = {"x": ~np.isnan(X), "n": ~N.mask}
_data = {"x": X, "n": N.data}
_operators = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal}
_operators["!="] = np.not_equal


def _comparison(name, op, value):
    true, known = _operators[op](_data[name], value), _known[name]
    return f"{name} {op} {value}", true & known, ~true & known


leaves = st.one_of(
    st.builds(_comparison, st.sampled_from("xn"), st.sampled_from(list(_operators)), st.sampled_from([-1, 0, 0.5, 2])),
    st.just(("f", F, ~F)),
)


def _joined(a, b, word):
    (left, left_true, left_false), (right, right_true, right_false) = a, b
    text = f"({left}) {word} ({right})" if word in ("and", "or") else f"{left} {word} {right}"
    if word in ("and", "&"):
        return text, left_true & right_true, left_false | right_false
    return text, left_true | right_true, left_false & right_false


def _inverted(a, word):
    return f"{word}({a[0]})", a[2], a[1]


def _in_parentheses(a):
    return f"({a[0]})", a[1], a[2]


conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(_joined, inner, inner, st.sampled_from(["and", "or"])),
        st.builds(_joined, leaves, leaves, st.sampled_from("&|")).map(_in_parentheses),
        st.builds(_inverted, inner, st.sampled_from(["not ", "~", "!"])),
    ),
    max_leaves=8,
)


@QUICK
@given(conditions)
@pytest.mark.filterwarnings("ignore:select. .* does not select")
def test_conditions_agree_with_numpy(condition):
    text, true, _ = condition
    if true.any():
        assert selected(text, NUMPY).tolist() == true.tolist()
    else:
        with pytest.raises(ValueError, match="selects no row"):
            selected(text, NUMPY)


@QUICK
@given(st.text(alphabet="xnf0 1.5<>=!&|~()'`\"[],andoritk_-+*/", max_size=30))
@pytest.mark.filterwarnings("ignore:select. .* does not select")
def test_any_text_is_a_condition_or_a_clear_error(text):
    try:
        found = selected(text, NUMPY)
    except (ValueError, TypeError) as error:
        assert str(error).startswith("select: ")
    else:
        assert found.shape == (6,) and found.any()


# ---- catalogues

N_GALAXIES = 40


def galaxies(**more):
    rng = np.random.default_rng(4)
    table = Table({"ra": rng.uniform(10, 11, N_GALAXIES), "dec": rng.uniform(0, 1, N_GALAXIES)}, units=["deg", "deg"])
    table["e1"], table["e2"] = rng.normal(scale=0.2, size=(2, N_GALAXIES))
    for name, values in more.items():
        table[name] = values
    return table


KEEP = np.arange(N_GALAXIES) % 2 == 0


@pytest.mark.parametrize("form", ["text.csv", "nan.fits", "tnull.fits", "bool.fits", "bytes.fits", "quoted.ecsv"])
def test_flags_in_files(form):
    good = {
        "text": np.where(KEEP, "True", "False"),
        "nan": np.where(KEEP, 1.0, np.nan),
        "tnull": MaskedColumn(np.ones(N_GALAXIES, int), mask=~KEEP),
        "bool": KEEP,
        "bytes": np.where(KEEP, b"T", b"F"),
        "quoted": MaskedColumn(np.where(KEEP, "yes", "no"), mask=np.arange(N_GALAXIES) == 1),
    }[form.partition(".")[0]]
    table = galaxies(good=good)
    table.write(form)
    with pytest.warns(AstropyUserWarning) as caught:
        catalog = ShearCatalog.read(form, axes="west-north", select="good")
        assert np.array_equal(catalog.g1, table["e1"][KEEP])
        ShearCatalog(catalog.coords[:2], [0.1, np.nan], [0.1, 0.1], axes="west-north")  # raises a warning for all forms
    counted = [str(w.message) for w in caught if "does not select" in str(w.message)]
    assert len(counted) == (form.partition(".")[0] in ("nan", "tnull", "quoted"))


def test_conditions_and_arrays_for_catalogues():
    table = galaxies(tomo=np.arange(N_GALAXIES) % 4, z=np.linspace(0, 1, N_GALAXIES))
    by_text = ShearCatalog.from_table(table, axes="west-north", select="tomo in (0, 2) & z > 0.3")
    rows = KEEP & (table["z"] > 0.3)
    for select in (rows, np.asarray(rows), rows.astype(int), [str(row) for row in rows]):
        assert np.array_equal(ShearCatalog.from_table(table, axes="west-north", select=select).g1, by_text.g1)
    with pytest.raises(ValueError, match=r"^select: has 3 values for a table of 40 rows"):
        ShearCatalog.from_table(table, axes="west-north", select=[True, False, True])
    with pytest.raises(ValueError, match=r"^select: needs flags"):
        ShearCatalog.from_table(table, axes="west-north", select=np.arange(N_GALAXIES))


@pytest.mark.parametrize("flag", [KEEP.astype(int), np.where(KEEP, "yes", "no"), KEEP])
def test_columns_of_flags_select_galaxies(flag):
    catalog = ShearCatalog.from_table(galaxies(), axes="west-north")
    assert np.array_equal(catalog[Column(flag)].g1, catalog.g1[KEEP])
    masked = np.ma.array(np.ones(N_GALAXIES, bool), mask=~KEEP)
    with pytest.warns(AstropyUserWarning, match="20 of 40"):
        assert np.array_equal(catalog[masked].g1, catalog.g1[KEEP])


def test_quoted_integers_are_exact():
    table = Table({"id": [2**53 + 1, 2**53, 3]})
    for condition in (f"id == '{2**53 + 1}'", f"id == {2**53 + 1}"):
        assert selected(condition, table).tolist() == [True, False, False]
