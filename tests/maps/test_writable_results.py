"""Results that cannot be written are detected before sampling."""

import io
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings, strategies as st

from astro_massmap import ConvergenceMap, ShearCatalog, ShearMap, Wiener
from astro_massmap._io.fits import unwritable
from astro_massmap.cli import dry_run, main
from astro_massmap.cli.dry_run import check_result
from astro_massmap.maps.files import read_map, write_map

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = (8, 10)


def shear(**meta):
    noise = np.random.default_rng(0).normal(scale=0.1, size=(2, *SHAPE))
    return ShearMap(noise, wcs=tan_wcs(SHAPE), noise_std=0.1, meta=meta)


def through_a_file(meta):
    """Return the meta of a map after writing and reading."""
    ConvergenceMap(np.zeros(SHAPE), wcs=tan_wcs(SHAPE), meta=meta).write("meta.fits", overwrite=True)
    return ConvergenceMap.read("meta.fits").meta


def survey(cards=()):
    rng = np.random.default_rng(0)
    table = Table({"ra": rng.uniform(150, 150.2, 500), "dec": rng.uniform(2, 2.2, 500)})
    table["ra"].unit = table["dec"].unit = "deg"
    table["e1"], table["e2"] = rng.normal(scale=0.2, size=(2, 500))
    hdu = fits.table_to_hdu(table)
    for card in cards:
        hdu.header.append(card)
    hdu.writeto("survey.fits")
    return "survey.fits"


COMMAND = ["reconstruct", "survey.fits", "--axes", "west-north", "--method", "wiener", "--n-samples", "2", "--quiet"]


def never(*args, **kwargs):
    raise AssertionError("sampling has begun")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (fits.card.UNDEFINED, None),
        (np.ma.masked, None),
        (np.ma.array([1.5, 2.0], mask=[False, True]), [1.5, None]),
        (Path("a", "b.fits"), str(Path("a", "b.fits"))),
        ({"deep": [fits.card.UNDEFINED, Path("c")]}, {"deep": [None, "c"]}),
    ],
)
def test_meta_of_headers_and_tables_is_written(value, read):
    assert through_a_file({"key": value}) == {"key": read}


def test_a_card_without_a_value():
    catalog = ShearCatalog.read(
        survey([("AIRMASS", fits.card.UNDEFINED), ("HISTORY", "a"), ("HISTORY", "b")]), axes="west-north"
    )
    kappa = catalog.reconstruct("wiener", n_samples=2, progress=False)
    kappa.write("kappa.fits")
    assert ConvergenceMap.read("kappa.fits").meta["AIRMASS"] is None
    assert main([*COMMAND, "-o", "shell.fits"]) == 0
    assert ConvergenceMap.read("shell.fits").meta["AIRMASS"] is None


@each_case("value", [object(), Table({"a": [1]}), {1.5: [len]}, np.array([None, "a"], dtype=object)])
def test_unwritable_meta_is_named_before_sampling(value, monkeypatch):
    monkeypatch.setattr(Wiener, "solve", never)
    kind = type(value).__name__
    for data in (
        shear(good=1, strange=value),
        ConvergenceMap(np.ones(SHAPE), uncertainty=np.ones(SHAPE), wcs=tan_wcs(SHAPE), meta={"strange": value}),
    ):
        with (
            pytest.warns(AstropyUserWarning, match=f"meta: 'strange', a {kind}, cannot be written"),
            pytest.raises(AssertionError),
        ):
            data.reconstruct("wiener", progress=False)
        with pytest.warns(
            AstropyUserWarning, match=f"meta: 'strange', a {kind}, cannot be written to a file and is left"
        ):
            check_result("out.fits", data, 2, {})
        assert "strange" not in data.meta


def test_lists_that_contain_themselves_are_named():
    loop = [1]
    loop.append(loop)
    with pytest.warns(AstropyUserWarning, match="'loop', a list"):
        check_result("out.fits", shear(loop=loop), 2, {})


KEYS = st.text(max_size=8) | st.integers()
VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([fits.card.UNDEFINED, np.ma.masked, Path("a"), object()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_a_map_can_be_written_if_and_only_if_no_entry_is_named(meta):
    kappa = ConvergenceMap(np.zeros(SHAPE), wcs=tan_wcs(SHAPE), meta=meta)
    named = unwritable(kappa.meta)
    if named:
        with pytest.raises(ValueError, match="cannot be written"):
            write_map(kappa, io.BytesIO(), overwrite=False, samples=True)
    for key in named:
        del kappa.meta[key]
    memory = io.BytesIO()
    write_map(kappa, memory, overwrite=False, samples=True)
    memory.seek(0)
    assert read_map(memory)["meta"].keys() == kappa.meta.keys()


def test_a_full_disk_is_detected_before_sampling(monkeypatch, capsys):
    survey()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 10**6 - 100, 100))
    monkeypatch.setattr(Wiener, "solve", never)
    assert main([*COMMAND, "-o", "kappa.fits"]) != 0
    assert "file: 'kappa.fits' needs" in capsys.readouterr().err
    assert not Path("kappa.fits").exists()


def test_the_predicted_size_is_that_of_the_file(monkeypatch):
    found = []
    monkeypatch.setattr(dry_run, "check_space", lambda file, needed: found.append(needed))
    check_result("kappa.fits", shear(), 40, {})
    kappa = shear().reconstruct("wiener", n_samples=40, progress=False)
    kappa.write("kappa.fits")
    assert found[0] == pytest.approx(Path("kappa.fits").stat().st_size, rel=0.25)
