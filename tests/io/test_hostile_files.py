"""
Damaged and malicious files are read, or rejected with a clear error; see benchmarks/hostile_files.py for 10^5 files.
"""

import ast
import bz2
import gzip
import io
import json
import lzma
import resource
import struct
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings, strategies as st
from regions import CircleSkyRegion
from safetensors.torch import load_file, save_file
from yaml import YAMLError

import astro_massmap
from astro_massmap import ConvergenceMap, PowerSpectrum, ScorePrior, ShearCatalog
from astro_massmap._io import hcompress as _hcompress
from astro_massmap._io.fits_headers import open_fits
from astro_massmap._io.yaml_text import load_yaml
from astro_massmap._sky.regions import as_regions
from astro_massmap._utils import untrusted as _untrusted
from astro_massmap.plotting.report import write_report
from astro_massmap.priors.weights_file import checksum
from astro_massmap.simulation import MapSet

from helpers import mutations
from helpers.cases import each_case
from helpers.hostile_files import READERS, SHAPE, files_of, grid, hostile, judged

SOURCES = sorted(Path(astro_massmap.__file__).parent.rglob("*.py"))
LITTLE = 64 * 2**20  # bytes of memory for any of these files
deterministic = settings(derandomize=True, database=None, deadline=None, max_examples=25)


def read(name, content, end=".fits"):
    """Return the result of a reader for a file of these bytes."""
    path = Path(f"h{end}").absolute()
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return READERS[name][1](path)


def refused(name, content, reason, end=".fits"):
    """Assert that a reader rejects a file with this reason, within 5 s and little memory."""
    begin = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match=rf"(?s)h{end}'.*{reason}"):
            read(name, content, end)
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 5


def first(name, end=".fits", number=0):
    return files_of(name)[end][number]


def with_cards(content, **values):
    """Return the bytes with other values of cards in all headers."""
    for key, value in values.items():
        text = f"{key.replace('_', '-'):8}= {value:>20}".encode()[:80].ljust(80)
        found = [at for at in range(0, len(content), 80) if content[at : at + 10] == text[:10]]
        assert found, key
        for at in found:
            content = content[:at] + text + content[at + 80 :]
    return content


# ---- no code of files is run


def test_the_package_has_no_calls_that_run_code_from_files():
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "unsafe_load", "full_load"}
    builtin = {"eval", "exec", "compile", "__import__"}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [name for alias in node.names for name in alias.name.split(".")]
            elif isinstance(node, ast.ImportFrom):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in builtin, f"{source}:{node.lineno}"
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert node.value.value is False, f"{source}:{node.value.lineno}"
            assert not forbidden & set(names), f"{source}:{node.lineno}"


def test_numpy_load_is_explicit_and_torch_load_is_absent():
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
                owner = ast.unparse(node.func.value)
                assert owner not in ("torch", "pickle", "joblib"), f"{source}:{node.lineno}"
                if owner in ("np", "numpy"):
                    assert "allow_pickle" in {keyword.arg for keyword in node.keywords}
                if owner == "yaml":
                    assert "Loader=AstropyLoader" in ast.unparse(node)


HARMLESS = (
    "SerializedColumn",
    "SkyCoord",
    "EarthLocation",
    "!!set",
    "2001",
    "!!float",
    "1:59",
    "9999",
    "'\\ud",
    "!!binary",
    "Time {",
)


@pytest.mark.slow
@each_case("payload", mutations.YAML)
def test_malicious_yaml_is_harmless(payload, tmp_path):
    kappa, ecsv = first("ConvergenceMap.read", number=1), first("ShearCatalog.read", ".ecsv").decode()
    with fits.open(io.BytesIO(kappa)) as hdus:
        table = Table.read(hdus["NOTES"])
        texts = [str(text) for text in table["content"]]
        table["content"] = [f"{{x: {payload}}}" if "\n" not in payload else payload, *texts[1:]]
        hdus["NOTES"] = fits.table_to_hdu(table)
        hdus.writeto(tmp_path / "made.fits", overwrite=True)
    head = "".join(f"# {line}\n" for line in (f"meta: {payload}" if "\n" not in payload else payload).splitlines())
    ecsv = ecsv.replace("# schema", f"{head}# schema", 1)
    with fits.open(io.BytesIO(first("ShearCatalog.read"))) as hdus:
        mutations._serialized(hdus[1].header, payload)
        hdus.writeto(tmp_path / "comments.fits", overwrite=True)
    files = {"ConvergenceMap.read": "made.fits", "ShearCatalog.read": "comments.fits"}
    contents = [(name, Path(file).read_bytes(), ".fits") for name, file in files.items()]
    for name, content, end in [*contents, ("ShearCatalog.read", ecsv.encode(), ".ecsv")]:
        begin = time.process_time()
        path = Path(f"h{end}").absolute()
        path.write_bytes(content)
        outcome = judged(READERS[name][1], path)
        assert not outcome.startswith("!"), (name, outcome)
        assert time.process_time() - begin < 5
    assert {path.name for path in tmp_path.iterdir()} == {"made.fits", "comments.fits", "h.fits", "h.ecsv"}


@each_case("payload", [p for p in mutations.YAML if not any(word in p for word in HARMLESS)])
def test_malicious_yaml_is_rejected(payload):
    if payload.startswith("{__serialized_columns__"):  # has a meaning in tables only
        assert isinstance(load_yaml(payload), dict)
        return
    with pytest.raises((ValueError, YAMLError, RecursionError)):
        load_yaml(payload)


@each_case(
    ("text", "reason"),
    [
        (mutations._BOMB, "the limits are 1000000 and 64"),
        (mutations._MERGE, "the limits are 1000000 and 64"),
        ("&a [*a]", "contains itself"),
        ("x: " + "[" * 70 + "]" * 70, "in 6. levels"),
        ("!numpy.ndarray {buffer: QUFBQUFBQUE=, dtype: O, shape: [1]}", "array of Python objects"),
        ("!numpy.ndarray {buffer: QUFBQUFBQUE=, dtype: [[a, O]], shape: [1]}", "array of Python objects"),
        ("!numpy.void {buffer: QUFBQUFBQUE=, dtype: [[a, 'f4,O']]}", "array of Python objects"),
        ("!numpy.ndarray {buffer: '', dtype: f8, shape: [9], strides: [0]}", "an array with 'strides'"),
        ("- &u '10**999999999 m'\n- !astropy.units.Unit {unit: *u}", "is not a unit"),
        ("{unit: 10**999999999 m}", "is not a unit"),
        ("!astropy.units.Quantity {value: 10⁹⁹⁹⁹⁹⁹⁹⁹⁹ m}", "is not a unit"),
    ],
)
def test_reasons_to_reject_yaml(text, reason):
    with pytest.raises(ValueError, match=reason):
        load_yaml(text)


def test_valid_yaml():
    shared = [1.5, "10**9999999 as a text"]
    array, unit = np.arange(6.0).reshape(2, 3), u.km / u.s
    from astropy.io.misc import yaml

    back = load_yaml(yaml.dump({"a": shared, "b": shared, "array": array, "unit": unit, "angle": 3 * u.arcmin}))
    assert back["a"] == back["b"] == shared and back["unit"] == unit and back["angle"] == 3 * u.arcmin
    assert np.array_equal(back["array"], array)
    assert load_yaml("") is None


# ---- random damage


@pytest.mark.slow
@pytest.mark.parametrize("name", list(READERS))
@given(number=st.integers(0, 2**40))
@deterministic
def test_mutated_files(name, number):
    end, content = hostile(files_of(name), 1, number)
    path = Path(f"h{end}").absolute()
    path.write_bytes(content)
    outcome = judged(READERS[name][1], path)
    path.unlink()
    assert not outcome.startswith("!"), outcome
    assert not list(Path().iterdir())


@pytest.mark.slow
@given(content=st.binary(max_size=400), name=st.sampled_from(list(READERS)), data=st.data())
@deterministic
def test_random_bytes(content, name, data):
    end = data.draw(st.sampled_from(list(files_of(name))))
    head = data.draw(st.sampled_from([0, 10, 80, 400, 2880]))
    path = Path(f"h{end}").absolute()
    path.write_bytes(first(name, end)[:head] + content)
    outcome = judged(READERS[name][1], path)
    path.unlink()
    assert not outcome.startswith("!"), outcome


STRUCTURE = st.sampled_from([key for key in mutations._STRUCTURE if not key.startswith("DATE")])
VALUES = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(lambda x: f"{x:.6g}"),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-*/()., ", max_size=16).map(lambda text: f"'{text}'"),
    st.sampled_from(["T", "F", "", "'", "(1,2)"]),
)


@pytest.mark.slow
@given(key=STRUCTURE, value=VALUES, at=st.integers(0, 10**6))
@deterministic
def test_any_value_of_a_card(key, value, at):
    for name in ("ConvergenceMap.read", "ShearCatalog.read", "from_healpix"):
        content = first(name)
        cards = [i for i in range(0, len(content), 80) if content[i + 8 : i + 10] == b"= "]
        own = [i for i in cards if content[i : i + 8].strip() == key.encode()]
        place = (own or cards)[at % len(own or cards)]
        card = f"{key:8}= {value:>20}"[:80].ljust(80).encode()
        path = Path("h.fits").absolute()
        path.write_bytes(content[:place] + card + content[place + 80 :])
        outcome = judged(READERS[name][1], path)
        assert not outcome.startswith("!"), (name, outcome)


# ---- memory


MAPS, TABLES = ("ConvergenceMap.read", "ShearMap.read", "--wcs"), ("ShearCatalog.read", "PowerSpectrum.read")


@each_case(
    ("cards", "reason"),
    [
        ({"NAXIS1": 10**6, "NAXIS2": 10**6}, "truncated"),
        ({"NAXIS1": 2**40}, "truncated"),
        ({"NAXIS2": -1}, "NAXIS2 = '-1'"),
        ({"NAXIS": 10**9}, "NAXIS = '1000000000'"),
        ({"BITPIX": -128}, "BITPIX"),
        ({"BITPIX": 7}, "BITPIX"),
    ],
)
@each_case("name", ["ConvergenceMap.read", "ShearMap.read"])
def test_images_larger_than_their_file(name, cards, reason):
    refused(name, with_cards(first(name), **cards), reason)


def test_a_header_without_end():
    head = first("--wcs")[:2880].replace(b"END ", b"ENDS")
    refused("--wcs", head + b" " * 2880 * 1100, "header of more than 2880000 bytes")
    refused("ConvergenceMap.read", gzip.compress(head + bytes(2880 * 1100)), "header of more", ".fits.gz")


@pytest.mark.parametrize("key", ["WCSAXES", "A_ORDER"])
def test_a_wcs_larger_than_memory(key):
    content = first("--wcs")
    card = f"{key:8}= {10**5:>20}".ljust(80).encode()
    for name in ("ConvergenceMap.read", "--wcs"):
        refused(name, content.replace(content[5 * 80 : 6 * 80], card, 1), f"{key} = '100000'")


@each_case(
    ("cards", "reason"),
    [
        ({"NAXIS1": 2**40}, "rows of 1099511627776 bytes"),
        ({"NAXIS2": 2**40}, "truncated"),
        ({"NAXIS1": 0, "NAXIS2": 2**40}, "rows of 0 bytes"),
        ({"PCOUNT": -2880}, "PCOUNT = '-2880'"),
        ({"PCOUNT": 2**62}, "truncated"),
        ({"GCOUNT": 2**40}, "does not consist of rows"),
        ({"TFIELDS": 10**9}, "TFIELDS"),
        ({"TFORM1": "'1000000000D'"}, "columns of 80000000"),
        ({"TFORM1": "'99999999999999999999D'"}, "TFORM1"),
        ({"TFORM1": "'1Z      '"}, "TFORM1"),
        ({"TUNIT1": "'10**9999999999 m'"}, "is not a unit"),
    ],
)
@each_case("name", TABLES)
def test_tables_larger_than_their_file(name, cards, reason):
    content = first(name)
    if "TUNIT1" not in content.decode("latin-1"):
        cards = {("TTYPE1" if key == "TUNIT1" else key): value for key, value in cards.items()}
        content = content.replace(b"TTYPE2  =", b"TUNIT1  =") if "TTYPE1" in cards else content
        cards = {("TUNIT1" if key == "TTYPE1" else key): value for key, value in cards.items()}
    primary, table = content[:2880], content[2880:]
    refused(name, primary + with_cards(table, **cards), reason)


def test_two_values_of_a_keyword():
    content = first("ConvergenceMap.read")
    card = f"{'NAXIS':8}= {9 * 10**40:>20}".ljust(80).encode()
    at = content.index(b"BUNIT")
    refused("ConvergenceMap.read", content[:at] + card + content[at + 80 :], "two values of NAXIS")


def _appended(content, *cards):
    """Return the bytes of a FITS file with more cards in each header."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        for hdu in hdus:
            for card in cards:
                hdu.header.append(fits.Card(*card), end=True)
        buffer = io.BytesIO()
        hdus.writeto(buffer, output_verify="ignore")
    return buffer.getvalue()


@pytest.mark.parametrize("cards", [[("ZPT", 25.0)], [("ZEROPT", 25.0)], [("ZP", 1), ("ZP", 2)], [("SEEING", 0.8)]])
def test_other_keywords_may_be_repeated(cards):
    for name in ("ConvergenceMap.read", "ShearCatalog.read", "--wcs", "from_healpix"):
        read(name, _appended(first(name), *cards, *cards))


@pytest.mark.parametrize("number", [0, 1])
def test_repeated_keywords_of_fpack(number):
    content = first("ConvergenceMap.read", ".fits.fz", number)
    repeated = [("ZQUANTIZ", "NO_DITHER"), ("ZQUANTIZ", "NO_DITHER"), ("ZEROPT", 25.0), ("ZEROPT", 25.0)]
    repeated += [("ZDITHER0", 1), ("ZDITHER0", 1)]
    right, got = (read("ConvergenceMap.read", c, ".fits.fz") for c in (content, _appended(content, *repeated)))
    assert np.array_equal(right.data, got.data)
    other = _appended(content, ("ZTILE1", 10**6))
    refused("ConvergenceMap.read", other, "two values of ZTILE1", ".fits.fz")


@pytest.mark.parametrize("order", [3, 3.0, "3", "none"])
def test_orders_of_distortions_that_are_not_integers(order):
    for name in ("ShearCatalog.read", "from_healpix"):
        read(name, _appended(first(name), ("A_ORDER", order), ("WCSAXES", 2)))


@each_case("unit", ["degrees", "DEGREE", "[deg]", "---", "none", "unitless", "1", "log10(M_sun)", ""])
def test_nonstandard_units_are_accepted(unit):
    for name in ("ConvergenceMap.read", "--wcs", "from_healpix"):
        read(name, _appended(first(name), ("TUNIT1", unit), ("ZUNIT", unit), ("XUNITS", unit)))
    header = grid().to_header()
    header["CUNIT1"] = header["CUNIT2"] = "degrees"
    header["BUNIT"] = unit
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.zeros(SHAPE), header).writeto(buffer)
    place = read("--wcs", buffer.getvalue()).pixel_to_world(3, 4)
    assert place.separation(grid().pixel_to_world(3, 4)) < 1e-9 * u.deg


def test_arrays_of_variable_length():
    content = bytearray(first("ShearCatalog.read", number=2))
    with fits.open(io.BytesIO(content)) as hdus:
        begin, header = hdus[1].fileinfo()["datLoc"], hdus[1].header
        assert header["TFORM6"] == "PE(12)"
        place = begin + 5 * 8
    assert len(read("ShearCatalog.read", bytes(content))) == 12
    for count, offset in ((2**30, 0), (1, 2**30), (-1, 0), (1, -4)):
        changed = bytearray(content)
        changed[place : place + 8] = struct.pack(">ii", count, offset)
        refused("ShearCatalog.read", bytes(changed), "extend beyond its heap")
    refused("ShearCatalog.read", with_cards(bytes(content), PCOUNT=2**33), "truncated")


def test_rows_with_pointers_to_one_long_array(monkeypatch):
    monkeypatch.setattr(_untrusted, "_SPARE", 2**20)
    monkeypatch.setattr(_untrusted, "_BEST_PACKING", 10)
    n, long = 2000, 50_000
    pointers = np.tile(np.array([long, 0], ">i4"), (n, 1))
    columns = [fits.Column(name, "E", array=np.ones(n)) for name in ("ra", "dec", "g1", "g2")]
    columns.append(fits.Column("pdf", "2J", array=pointers))
    buffer = io.BytesIO()
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.writeto(buffer)
    content = buffer.getvalue().replace(b"'2J      '", b"'1PE(1)  '")
    content = with_cards(content, PCOUNT=4 * long)
    refused("ShearCatalog.read", content[: 5760 + n * 24] + bytes(4 * long + 2880), "arrays of variable length")


@pytest.mark.parametrize("number", [0, 1])
def test_tiles(number):
    content = first("ConvergenceMap.read", ".fits.fz", number)
    assert read("ConvergenceMap.read", content, ".fits.fz").shape == SHAPE
    for cards, reason in (
        ({"ZNAXIS1": 10**6, "ZNAXIS2": 10**6}, "tiles, but its image has another number"),
        ({"ZNAXIS1": 10**12, "ZTILE1": 10**12}, "exceeds the limit"),
        ({"ZBITPIX": 1}, "ZBITPIX"),
        ({"ZTILE1": 0}, "ZTILE1"),
        ({"ZCMPTYPE": "'MAGIC'"}, "compressed by 'MAGIC'"),
    ):
        refused("ConvergenceMap.read", with_cards(content, **cards), reason, ".fits.fz")


def test_images_compressed_by_plio_are_refused():
    content = first("ConvergenceMap.read", ".fits.fz", 3)
    refused("ConvergenceMap.read", content, "compressed by .*decompress it first", ".fits.fz")
    assert read("--wcs", content, ".fits.fz").array_shape == SHAPE  # reads the header only


IMAGES = np.random.default_rng(0).normal(scale=100, size=(3, *SHAPE))


def hcompressed(pixels, **header):
    """Return the bytes of a FITS file with one image compressed by HCOMPRESS_1."""
    tile = (1,) * (pixels.ndim - 2) + pixels.shape[-2:]
    image = fits.CompImageHDU(pixels, fits.Header(header), compression_type="HCOMPRESS_1", tile_shape=tile)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer)
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixels", "header"),
    [
        (IMAGES[0].astype("f4"), {}),
        (IMAGES.astype("i2"), {}),
        (np.abs(99 * IMAGES[0]).astype("u2"), {}),
        (IMAGES[0].astype("i4"), {"BLANK": -5}),
    ],
)
def test_hcompress_is_decoded_as_astropy_decodes_it(pixels, header):
    content = hcompressed(pixels, **header)
    with fits.open(io.BytesIO(content)) as hdus:
        right = hdus[1].data
    for packed in (content, gzip.compress(content)):
        with open_fits(io.BytesIO(packed)) as hdus:
            assert hdus[1].shape == pixels.shape
            assert hdus[1].data.dtype == right.dtype and np.array_equal(hdus[1].data, right, equal_nan=True)
            assert np.array_equal(hdus[1].section[1], right[1], equal_nan=True)


@pytest.mark.slow
def test_maps_compressed_by_hcompress_are_read():
    content = first("ConvergenceMap.read", ".fits.fz", 2)
    with fits.open(io.BytesIO(content)) as hdus:
        right = hdus["KAPPA"].data
    assert np.array_equal(read("ConvergenceMap.read", content, ".fits.fz").data, right)
    assert np.array_equal(read("MapSet.open", hcompressed(IMAGES[0].astype("f4")), ".fits.fz").shape, SHAPE)


@pytest.mark.slow
def test_damaged_streams_of_hcompress():
    """Damage the magic number DD99 of the stream, the sizes of the image behind it, or the data."""
    content = first("ConvergenceMap.read", ".fits.fz", 2)
    begin = content.index(b"\xdd\x99")
    for at, new in ((0, b"\0\0"), (2, b"\0\0\x7f\xff\0\0\x7f\xff"), (2, b"\xff" * 8), (24, b"\xff" * 16)):
        damaged = content[: begin + at] + new + content[begin + at + len(new) :]
        refused("ConvergenceMap.read", damaged, "compressed by HCOMPRESS_1 cannot be decoded", ".fits.fz")


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", ["import os; os.kill(os.getpid(), 11)", "print('x' * 99)", "import time; time.sleep(9)"]
)
def test_a_decoder_that_crashes_or_hangs(code, monkeypatch, tmp_path):
    (tmp_path / "decoder.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_hcompress, "__name__", "decoder")
    monkeypatch.setattr(_hcompress, "_SECONDS", 2)
    reason = "not decoded after 2" if "sleep" in code else "cannot be decoded"
    refused("ConvergenceMap.read", first("ConvergenceMap.read", ".fits.fz", 2), reason, ".fits.fz")


@pytest.mark.slow
def test_compressed_files_above_the_allowance(monkeypatch):
    monkeypatch.setattr(_untrusted, "_SPARE", 2**20)
    beginning = first("ShearCatalog.read")
    for packed in (bz2.compress(beginning + bytes(2**25)), gzip.compress(gzip.compress(beginning + bytes(2**25)))):
        reason = "decompresses to more than" if packed.startswith(b"BZ") else "does not begin with SIMPLE"
        refused("--wcs", packed, reason, ".fits.gz")
    for name, end in (("ShearCatalog.read", ".csv"), ("as_regions", ".reg"), ("from_healpix", ".fits")):
        refused(name, bz2.compress(beginning + bytes(2**25)), "decompresses to more than", end)
    assert len(read("ShearCatalog.read", bz2.compress(beginning), ".fits.bz2")) == 12


@pytest.mark.slow
@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress])
def test_headers_are_checked_before_the_data_are_decompressed(packed, monkeypatch):
    # 128 MiB of zeros, within the allowance, are not decompressed unless a header declares them
    monkeypatch.setattr(_untrusted, "physical_memory", lambda: 2**33)
    monkeypatch.setattr(_untrusted, "_SPARE", 2**28)
    table, image, zeros = first("ShearCatalog.read"), first("ConvergenceMap.read"), bytes(2**27)
    declared = with_cards(image, NAXIS1=2**14, NAXIS2=2**14)
    cases = [
        ("ShearCatalog.read", table + zeros, "a header of more than 2880000 bytes"),
        ("ConvergenceMap.read", image + zeros, "a header of more than 2880000 bytes"),
        ("ConvergenceMap.read", zeros, "does not begin with SIMPLE"),
        ("ConvergenceMap.read", image[:80] + zeros, "a header of more than 2880000 bytes"),
        ("ConvergenceMap.read", declared + zeros, r"declare 2.05e.03 MiB, more than the limit of \d+ MiB"),
    ]
    for name, content, reason in cases:
        bomb = packed(content)
        tracemalloc.start()
        with pytest.raises(OSError, match=rf"(?s){reason}"):
            read(name, bomb, ".fits.gz")
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()
    assert len(read("ShearCatalog.read", packed(table), ".fits.gz")) == 12
    with pytest.raises(OSError, match="truncated"):
        read("ShearCatalog.read", packed(table[:-2700]), ".fits.gz")


def test_unknown_compressions():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("c.fits", first("ShearCatalog.read"))
    for end in (".fits", ".ecsv"):
        for content in (
            lzma.compress(first("ShearCatalog.read", end)),
            archive.getvalue(),
            b"\x1f\x9d\x90" + bytes(99),
        ):
            refused("ShearCatalog.read", content, "decompress it first", end)
    refused("as_regions", lzma.compress(first("as_regions", ".reg")), "decompress it first", ".reg")
    refused("--wcs", archive.getvalue(), "decompress it first")


def test_the_allowance_is_a_fraction_of_the_memory(monkeypatch):
    monkeypatch.setattr(_untrusted, "physical_memory", lambda: 2**33)
    assert _untrusted.allowance(0) == 2**27
    assert _untrusted.allowance(10**5) == 2**27 + 1100 * 10**5
    assert _untrusted.allowance(10**9) == 2**30


def test_headers_of_healpix_files():
    content = first("from_healpix", number=1)
    for nside, reason in (
        (2**30, "NSIDE = 1073741824"),
        (100, "NSIDE = 100"),
        (0, "NSIDE"),
        (4, "needs pixel numbers from 0 to"),
    ):
        refused("from_healpix", with_cards(content, NSIDE=nside), reason)
    with pytest.raises(ValueError, match="power of two"):
        ConvergenceMap.from_healpix(np.ones(12 * 9), wcs=grid())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("datatype: float64", "datatype: U1000000000", "datatype: U1000000000"),
        ("datatype: float64", "datatype: (1000000000,)f8", "datatype: "),
        ("datatype: float64", "datatype: string, subtype: 'float64[1000000,1000000]'", "arrays of the shape"),
        ("datatype: float64", "datatype: string, subtype: 'float64[-1]'", "arrays of the shape"),
        ("unit: deg", "unit: 10**9999999999 m", "is not a unit"),
    ],
)
def test_ecsv_heads(old, new, reason):
    content = first("ShearCatalog.read", ".ecsv").decode()
    assert old in content
    refused("ShearCatalog.read", content.replace(old, new, 1).encode(), reason, ".ecsv")


def test_ecsv_heads_in_other_encodings():
    content = first("ShearCatalog.read", ".ecsv").decode()
    bomb = content.replace("unit: deg", "unit: 10**9999999999 m", 1)
    refused("ShearCatalog.read", bomb.encode("utf-8-sig"), "is not a unit", ".ecsv")
    refused("ShearCatalog.read", (bomb + "# é").encode("latin-1"), "is not a unit", ".ecsv")
    # \x85 is a line break in Latin-1 and invalid in UTF-8: without it the second line would be a comment
    hidden = content.replace("# datatype:", "# # a\x85# b: {unit: 10**9999999999 m}\n# datatype:", 1)
    assert hidden != content
    refused("ShearCatalog.read", hidden.encode("latin-1"), "is not a unit", ".ecsv")
    assert len(read("ShearCatalog.read", content.encode("utf-8-sig"), ".ecsv")) == 12


@each_case(
    ("old", "new", "reason"),
    [
        ("<TABLE", '<STREAM href="file:///etc/passwd"/><TABLE', "STREAM href"),
        ("<TABLE", '<v:STREAM\n actuate="a>b" HREF = "file:///etc/passwd"/><TABLE', "STREAM href"),
        ("<VOTABLE", '<!DOCTYPE x [<!ATTLIST STREAM href CDATA "file:///etc/passwd">]>\n<VOTABLE', "attributes"),
        ("<VOTABLE", '<!DOCTYPE x [<!ENTITY a "aaaa">]>\n<VOTABLE', "entities"),
        ('datatype="double"', 'datatype="double" arraysize="1000000000"', "arraysize"),
        ('unit="deg"', 'unit="10**9999999999m"', "is not a unit"),
    ],
)
def test_votables(old, new, reason):
    content = first("ShearCatalog.read", ".vot").decode()
    assert old in content
    assert len(read("ShearCatalog.read", content.encode(), ".vot")) == 12
    refused("ShearCatalog.read", content.replace(old, new, 1).encode(), reason, ".vot")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('unit="deg"/>', 'unit="deg"><LINK href="http://example.org/?id=${recno}"/></FIELD>'),
        ("<TABLE", '<INFO name="a" value="b" href="http://example.org"/><TABLE'),
        ("<VOTABLE", '<!DOCTYPE VOTABLE SYSTEM "http://example.org/VOTable.dtd">\n<VOTABLE'),
        ("<VOTABLE", '<?xml-stylesheet type="text/xsl" href="http://example.org/a.xsl"?>\n<VOTABLE'),
        ("<VOTABLE", "<!-- ENTITY, STREAM and href -->\n<VOTABLE"),
    ],
)
def test_votables_as_archives_write_them(old, new):
    content = first("ShearCatalog.read", ".vot").decode()
    assert old in content
    assert len(read("ShearCatalog.read", content.replace(old, new, 1).encode(), ".vot")) == 12


@pytest.mark.parametrize("end", [".html", ".vot", ".xml"])
def test_elements_in_elements(end):
    kind = "html" if end == ".html" else "VOTABLE"
    content = f"<{kind}>" + "<td>" * 5000 + "</td>" * 5000
    refused("ShearCatalog.read", content.encode(), "nested in 5001 levels", end)


def test_networks_with_wrong_sizes():
    save_file({"weight": torch.zeros(3)}, "h.safetensors")
    content = first("ScorePrior.load", ".safetensors")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for sizes in ({"widths": [1024] * 3, "blocks": 32}, {"embedding": 1024}, {"widths": [2, 2, True]}, {"blocks": 33}):
        Path("p.safetensors").write_bytes(content)
        weights = load_file("p.safetensors")
        header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]["prior"]
        header = json.loads(header)
        header["network"] |= sizes
        header["sha256"] = checksum(weights)
        save_file(weights, "p.safetensors", {"prior": json.dumps(header)})
        with pytest.raises(OSError, match=r"p\.safetensors' is damaged.*sizes"):
            ScorePrior.load("p.safetensors")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < 2**29


def test_a_prior_does_not_change_with_its_file():
    Path("p.safetensors").write_bytes(first("ScorePrior.load", ".safetensors"))
    prior = ScorePrior.load("p.safetensors")
    before = [parameter.clone() for parameter in prior.denoiser.parameters()]
    with open("p.safetensors", "r+b") as stream:
        stream.write(b"\xff" * Path("p.safetensors").stat().st_size)
    assert all(map(torch.equal, before, prior.denoiser.parameters()))


def test_hdf5_with_large_or_external_data():
    h5py = pytest.importorskip("h5py")
    Path("maps").mkdir()
    with h5py.File("maps/a.h5", "w") as file:
        file.create_dataset("kappa", (2, 2**14, 2**14), "f8", chunks=(1, 64, 64), compression="gzip")
    with pytest.raises(OSError, match=r"a\.h5'.*exceeds the limit"):
        MapSet.open("maps", pixel_scale=1e-4)[0]
    with h5py.File("elsewhere", "w") as file:
        file["kappa"] = np.ones((4, 4))
    Path("raw").write_bytes(bytes(128))
    layout = h5py.VirtualLayout((4, 4), "f8")
    layout[...] = h5py.VirtualSource("elsewhere", "kappa", (4, 4))
    for how in ("link", "external", "virtual"):
        with h5py.File("maps/a.h5", "w") as file:
            if how == "link":
                file["kappa"] = h5py.ExternalLink(str(Path("elsewhere").absolute()), "kappa")
            elif how == "external":
                file.create_dataset("kappa", (4, 4), "f8", external=[(str(Path("raw").absolute()), 0, 128)])
            else:
                file.create_virtual_dataset("kappa", layout)
        with pytest.raises(OSError, match=r"a\.h5'.*lies in another file"):
            MapSet.open("maps", pixel_scale=1e-4)


def test_tables_in_hdf5_are_not_read():
    # HDF5 2.0 with h5py 3.16 writes out of bounds for some damaged tables of several columns
    h5py = pytest.importorskip("h5py")
    with h5py.File("h.h5", "w") as file:
        file["table"] = np.zeros(3, dtype=[("ra", "f8"), ("dec", "f8")])
    for end in (".h5", ".hdf5", ".fits", ".csv"):
        refused("ShearCatalog.read", Path("h.h5").read_bytes(), "convert it to FITS or ECSV", end)


def test_votables_in_utf_16_and_links_in_html():
    votable = first("ShearCatalog.read", ".vot").decode()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        refused("ShearCatalog.read", votable.encode(encoding), "UTF-16", ".vot")
    pytest.importorskip("bs4")
    rows = "<tr><td>150</td><td>2</td><td>0.1</td><td>0.2</td></tr>" * 3
    head = "".join(f"<th>{name}</th>" for name in ("ra", "dec", "g1", "g2"))
    html = f"<!DOCTYPE html><html><a href='x'>y</a><table><tr>{head}</tr>{rows}</table></html>"
    assert len(read("ShearCatalog.read", html.encode(), ".html")) == 3


# ---- time


@pytest.mark.parametrize("content", ["a" * 10**6, ",".join("a" * 30_000), "\n\n" + " ".join("abc" * 9000)])
def test_long_lines_of_names(content):
    for end in (".csv", ".txt"):
        refused("ShearCatalog.read", content.encode(), "does not name columns", end)
    head = first("ShearCatalog.read", ".ecsv").decode().partition("\nra ")[0]
    refused("ShearCatalog.read", f"{head}\n{content.strip()}".encode(), "does not name columns", ".ecsv")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "end"),
    [
        ('fk5\ncircle(1,2,3") # ' + "a" * 10**5, ".reg"),
        ('fk5\ncircle(1,2,3") # ' + "a={" * 10**5, ".reg"),
        ("#CRTFv0\ncircle[[1deg,2deg],3deg], " + "a" * 10**5, ".crtf"),
        ("#CRTFv0\ncircle[[1deg,2deg],3deg], a=" + " " * 10**5, ".crtf"),
        ("#CRTFv0\n" + "[" * 10**5, ".crtf"),
        ("#CRTFv0\n" + "[]" * 10**5, ".crtf"),
    ],
)
def test_lines_that_slow_down_regular_expressions(content, end):
    refused("as_regions", content.encode(), "does not describe a region", end)


def test_long_polygons_are_read():
    n = 800
    x, y = 150 + np.cos(np.arange(n)), 2 + np.sin(np.arange(n))
    ds9 = ",".join(f"{a:.6f},{b:.6f}" for a, b in zip(x, y, strict=True))
    Path("h.reg").write_text(f"icrs\npolygon({ds9}) # text={{a b}}\n")
    crtf = ", ".join(f"[{a:.6f}deg, {b:.6f}deg]" for a, b in zip(x, y, strict=True))
    Path("h.crtf").write_text(f"#CRTFv0\npoly[{crtf}] coord=ICRS, label='a b'\n")
    for file in ("h.reg", "h.crtf"):
        (polygon,) = as_regions(file)
        assert len(polygon.vertices) == n


# ---- only the output file is written


@pytest.mark.slow
def test_names_are_not_used_as_paths_or_markup(tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    rng, evil = (
        np.random.default_rng(0),
        ["../../x", "<script>alert(1)</script>", "$\\frac$", "'\"><img src=x>", "a\x00b"],
    )
    meta = {name: {"in": [name] * 4, name: name} for name in evil} | {"survey": evil}
    kappa = ConvergenceMap(
        rng.normal(size=SHAPE), wcs=grid(), uncertainty=np.ones(SHAPE), samples=rng.normal(size=(8, *SHAPE)), meta=meta,
        diagnostics={"method": evil[1], "prior": evil[0], "settings": meta},
    )  # fmt: skip
    place = SkyCoord(150, 2.2, unit="deg")
    regions = [CircleSkyRegion(place, 2 * u.arcmin, meta={"text": name}) for name in evil]
    kappa.write(folder / "k.fits")
    back = ConvergenceMap.read(folder / "k.fits")
    assert back.meta == meta
    back.write(folder / "again.fits")
    write_report(folder / "r.html", back, regions=regions, title=evil[1])
    text = (folder / "r.html").read_text(encoding="utf-8")
    assert "<script" not in text and "<img src=x" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "../../x" in text
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        "a/b/again.fits", "a/b/k.fits", "a/b/r.html",
    ]  # fmt: skip


def test_names_of_spectra_and_catalogues_are_not_used_as_paths(tmp_path):
    table = PowerSpectrum([100, 1000], [1e-8, 1e-9], name="../../x").to_table()
    table.write("s.ecsv")
    assert PowerSpectrum.read("s.ecsv").name == "../../x"
    coords = SkyCoord([150, 150.1] * u.deg, [2, 2.1] * u.deg)
    ShearCatalog(coords, [0.1, 0.2], [0.1, 0.2], axes="west-north", meta={"file": "../../x"}).write("c.ecsv")
    assert ShearCatalog.read("c.ecsv", axes="west-north").meta["file"] == "../../x"
    assert {path.name for path in tmp_path.iterdir()} == {"s.ecsv", "c.ecsv"}
