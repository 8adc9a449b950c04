"""Columns of FITS tables that are scaled, unsigned, or have a value for missing numbers."""

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings, strategies as st

from astro_massmap import ShearCatalog
from astro_massmap._io.columns import read_table

N = 5
KINDS = {"B": "u1", "I": "i2", "J": "i4", "K": "i8"}


def stored(**columns):
    """Return a file of stored integers: format, values and cards (TSCAL, TZERO, TNULL) by column."""
    listed = [fits.Column(name, form, array=values) for name, (form, values, _) in columns.items()]
    hdu = fits.BinTableHDU.from_columns(listed)
    for number, (_, _, cards) in enumerate(columns.values(), 1):
        for key, value in cards.items():
            hdu.header[f"Y{key[1:]}{number}"] = value  # astropy would convert the numbers by the cards
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    content = buffer.getvalue()
    for key in ("SCAL", "ZERO", "NULL"):
        content = content.replace(b"Y" + key.encode(), b"T" + key.encode())
    return content


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(list(KINDS)))
def test_values_follow_the_fits_standard(data, form):
    """Physical value = TZERO + TSCAL x stored value, masked where the stored value is TNULL."""
    info = np.iinfo(KINDS[form])
    integers = st.integers(int(info.min), int(info.max)) | st.integers(0, 9)
    values = np.array(data.draw(st.lists(integers, min_size=N, max_size=N)), KINDS[form])
    unsigned = {"B": -128, "I": 2**15, "J": 2**31, "K": 2**63}[form]
    scale = data.draw(st.sampled_from([1, 0.5, -2, 1e-4] if form != "K" else [1]))
    # astropy raises errors for TSCAL of unsigned integers, and for other TZERO of K
    zero = data.draw(st.sampled_from([0, unsigned] if form == "K" else [0, 1, -7.5, *([unsigned] * (scale == 1))]))
    all_cards = {"TSCAL": scale, "TZERO": zero, "TNULL": int(values[0])}
    cards = {key: all_cards[key] for key in data.draw(st.sets(st.sampled_from(sorted(all_cards))))}
    with open("table.fits", "wb") as file:
        file.write(stored(x=(form, values, cards)))
    ours = read_table("table.fits", "file")["x"]
    missing = values == cards["TNULL"] if "TNULL" in cards else np.zeros(N, bool)
    right = [int(v) * cards.get("TSCAL", 1) + cards.get("TZERO", 0) for v in values[~missing]]
    assert np.array_equal(np.ma.getmaskarray(ours), missing)
    assert np.allclose(np.ma.getdata(ours)[~missing].astype(np.longdouble), np.array(right, np.longdouble), rtol=1e-14)
    if "TNULL" not in cards:
        theirs = Table.read("table.fits")["x"]
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def test_a_catalogue_of_scaled_columns():
    shapes = np.array([[1000, -2000, 500, 20, -1], [7, 30, -700, 2500, 1]], "i2")
    places = np.array([0, 1000, 2000, 3000, 4000], "i4")
    weights = np.array([-32768 + w for w in (1, 2, 40000, 65535, 9)], "i2")
    columns = {
        "ra": ("J", places, {"TSCAL": 1e-4, "TZERO": 150.0}),
        "dec": ("J", places, {"TSCAL": -1e-4, "TZERO": 2.0}),
        "g1": ("I", shapes[0], {"TSCAL": 1e-4}),
        "g2": ("I", shapes[1], {"TSCAL": 1e-4, "TZERO": 0.01}),
        "weight": ("I", weights, {"TZERO": 2**15}),
    }
    with open("table.fits", "wb") as file:
        file.write(stored(**columns))
    with pytest.warns(UserWarning, match="no unit"):
        catalog = ShearCatalog.read("table.fits", axes="west-north")
    np.testing.assert_allclose(catalog.coords.ra.deg, 150 + 1e-4 * places)
    np.testing.assert_allclose(catalog.coords.dec.deg, 2 - 1e-4 * places)
    np.testing.assert_allclose(catalog.g1, 1e-4 * shapes[0], rtol=1e-6)
    np.testing.assert_allclose(catalog.g2, 0.01 + 1e-4 * shapes[1], rtol=1e-6)
    assert catalog.weight.tolist() == [1, 2, 40000, 65535, 9]


def test_a_shape_that_is_null_is_dropped():
    shapes = np.array([10, 20, -9999, 40, 50], "i2")
    columns = {name: ("E", np.linspace(at, at + 0.1, N), {}) for name, at in {"ra": 150, "dec": 2, "g2": 0}.items()}
    with open("table.fits", "wb") as file:
        file.write(stored(**columns, g1=("I", shapes, {"TSCAL": 0.001, "TNULL": -9999})))
    with pytest.warns(UserWarning) as caught:
        catalog = ShearCatalog.read("table.fits", axes="west-north")
    assert any("1 of 5 galaxies dropped: shear not finite" in str(w.message) for w in caught)
    np.testing.assert_allclose(catalog.g1, [0.01, 0.02, 0.04, 0.05], rtol=1e-6)
