"""Files of priors: exact round trips, and errors for damaged files."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import FourierGrid, Streams
from astro_massmap.priors.weights_file import checksum

from helpers import small_priors
from helpers.cases import each_case
from helpers.small_priors import PIXEL, THEORY

CARD = {"maps": "boxes", "resolution": [5200.0, 2.2], "plan": {"steps": 3}, "theory": None}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Bytes of a file, and the offset of its tensors."""
    file = tmp_path_factory.mktemp("prior") / "p.safetensors"
    small_priors.prior(card=CARD).save(file)
    content = file.read_bytes()
    return content, 8 + struct.unpack("<Q", content[:8])[0]


def written(content):
    """Write the bytes to a file in the folder of the test."""
    file = Path("p.safetensors")
    file.write_bytes(content)
    return file


def edited(change, file="p.safetensors"):
    """Write a file with changed tensors and header, and a valid checksum."""
    small_priors.prior().save(file, overwrite=True)
    tensors = load_file(file)
    header = json.loads(_metadata(file)["prior"])
    change(header, tensors)
    if header.get("sha256"):
        header["sha256"] = checksum(tensors)
    save_file(tensors, file, {"prior": json.dumps(header)})
    return file


def _metadata(file):
    content = Path(file).read_bytes()
    return json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]


def residual(prior, sigma=0.08):
    grid = FourierGrid((20, 24), PIXEL, (40, 48))
    return prior.on(grid).residual(grid.to_modes(0.1 * Streams(0, range(2)).normal(40, 48)), sigma)


# ---- round trips


def test_round_trip_is_exact():
    prior = small_priors.prior(card=CARD, margin=5)
    prior.save("p.safetensors")
    back = ScorePrior.load("p.safetensors")
    assert torch.equal(residual(back), residual(prior))
    assert back.sigma_range == prior.sigma_range and back.margin == 5 and back.card == CARD
    assert back.pixel_size == PIXEL and back.spectrum is None
    assert back.trained_spectrum.name == THEORY.name and np.array_equal(back.trained_spectrum.cl, THEORY.cl)
    assert np.array_equal(back.correction.variance, prior.correction.variance)
    assert not any(p.requires_grad for p in back.denoiser.parameters())
    assert repr(back) == repr(prior)
    back.save("again.safetensors")
    assert Path("again.safetensors").read_bytes() == Path("p.safetensors").read_bytes()


def test_round_trip_of_a_scaled_prior():
    prior = small_priors.prior().scaled(PowerSpectrum(THEORY.ell, 1.4 * THEORY.cl, name="deeper"))
    prior.save("p.safetensors")
    back = ScorePrior.load("p.safetensors")
    assert torch.equal(residual(back), residual(prior))
    assert back.theory.name == "deeper" and back.trained_spectrum.name == THEORY.name
    assert ScorePrior.load("p.safetensors", spectrum=THEORY).amplitude == 1


def test_loading_with_a_spectrum_scales():
    small_priors.prior().save("p.safetensors")
    spectrum = PowerSpectrum(THEORY.ell, 1.4 * THEORY.cl)
    loaded, scaled = ScorePrior.load("p.safetensors", spectrum), small_priors.prior().scaled(spectrum)
    assert torch.equal(residual(loaded), residual(scaled))


def test_the_file_is_safetensors_and_no_pickle(content):
    content, start = content
    header = json.loads(content[8:start])
    prior = json.loads(header.pop("__metadata__")["prior"])
    assert {entry["dtype"] for entry in header.values()} == {"F32", "F64"}
    assert prior["format"] == "astro_massmap score prior 2" and prior["card"] == CARD
    assert not content.startswith((b"PK", b"\x80"))


def test_an_existing_file_is_kept():
    Path("p.safetensors").write_bytes(b"precious")
    with pytest.raises(OSError, match=r"exists; give overwrite=True"):
        small_priors.prior().save("p.safetensors")
    assert Path("p.safetensors").read_bytes() == b"precious"
    small_priors.prior().save("p.safetensors", overwrite=True)
    assert ScorePrior.load("p.safetensors").margin == 8


def test_a_missing_folder():
    with pytest.raises(OSError, match="folder"):
        small_priors.prior().save("no/such/p.safetensors")


def test_a_failed_write_leaves_the_old_file(monkeypatch, tmp_path):
    small_priors.prior().save("p.safetensors")
    before = Path("p.safetensors").read_bytes()

    def half(tensors, file, metadata):
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("astro_massmap.priors.weights_file.save_file", half)
    with pytest.raises(OSError, match="disk full"):
        small_priors.prior(seed=1).save("p.safetensors", overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["p.safetensors"]
    assert Path("p.safetensors").read_bytes() == before


# ---- damage


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_tensor_is_found(content, place, bit):
    content, start = content
    damaged = bytearray(content)
    damaged[start + int(place * (len(content) - start))] ^= 1 << bit
    with pytest.raises(OSError, match=r"p\.safetensors' is damaged"):
        ScorePrior.load(written(damaged))


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_header_gives_an_error_or_a_prior(content, place, bit):
    # a flip within the settings of the header may stay undetected: they are not in the checksum
    content, start = content
    damaged = bytearray(content)
    damaged[int(place * start)] ^= 1 << bit
    try:
        assert isinstance(ScorePrior.load(written(damaged)), ScorePrior)
    except OSError as error:
        assert "p.safetensors" in str(error)


@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_found(content, keep):
    content, _ = content
    with pytest.raises(OSError, match=r"p\.safetensors' is damaged"):
        ScorePrior.load(written(content[: int(keep * len(content))]))


def test_added_bytes_are_found(content):
    with pytest.raises(OSError, match="damaged"):
        ScorePrior.load(written(content[0] + b"\0\0\0\0"))


# ---- other contents


@each_case("what", [b"", b"\x80\x04K\x01.", b"# a text\n" * 100, b"\xff" * 64, b"SIMPLE  =  T" * 300])
def test_other_files(what):
    with pytest.raises(OSError, match=r"p\.safetensors' is damaged, or contains no prior"):
        ScorePrior.load(written(what))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(OSError, match=r"'none\.safetensors' does not exist"):
        ScorePrior.load("none.safetensors")
    with pytest.raises(OSError):
        ScorePrior.load(tmp_path)


@each_case("metadata", [None, {"format": "pt"}, {"prior": "{"}, {"prior": "[1]"}, {"prior": "null"}])
def test_safetensors_of_something_else(metadata):
    save_file({"weight": torch.zeros(3)}, "p.safetensors", metadata)
    with pytest.raises(OSError, match=r"p\.safetensors' is damaged, or contains no prior"):
        ScorePrior.load("p.safetensors")


def replaced(*path, by):
    def change(header, tensors):
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = by

    return change


def without_key(key):
    return lambda header, tensors: header.pop(key)


def tensor(key, value):
    return lambda header, tensors: tensors.update({key: torch.tensor(value, dtype=torch.float64)})


def without_tensor(key):
    return lambda header, tensors: tensors.pop(key)


@each_case(
    "change",
    [
        replaced("format", by="astro_massmap score prior 1"),
        without_key("format"),
        without_key("sha256"),
        without_key("network"),
        without_key("pixel_size"),
        without_key("card"),
        replaced("network", "widths", by=[4, 8, 10**9]),
        replaced("network", "widths", by=[4, 8, 0]),
        replaced("network", "widths", by=[4, 8]),
        replaced("network", "widths", by=[4, 8, 9]),
        replaced("network", "widths", by="wide"),
        replaced("network", "blocks", by=10**6),
        replaced("network", "embedding", by=10**9),
        replaced("network", "inputs", by=-1),
        replaced("network", "layers", by=3),
        replaced("pixel_size", by="small"),
        replaced("margin", by=-4),
        replaced("margin", by=1e3),
        replaced("sigma_range", by=None),
        tensor("spectrum.cl", [1.0, -1.0]),
        tensor("spectrum.cl", [float("nan")] * 400),
        without_tensor("spectrum.ell"),
        without_tensor("correction.network"),
        without_tensor("network.leave.gain"),
        tensor("network.more", [1.0]),
    ],
)
def test_invalid_headers(change):
    file = edited(change)
    with pytest.raises(OSError, match=r"p\.safetensors' is damaged, or contains no prior"):
        ScorePrior.load(file)


def test_a_network_with_two_outputs_is_refused():
    def change(header, tensors):
        network = small_priors.network(outputs=2)
        tensors.update({f"network.{k}": v for k, v in network.state_dict().items()})
        header["network"] = network.settings

    with pytest.raises(OSError, match="two inputs, one output and 15 conditions"):
        ScorePrior.load(edited(change))


def test_a_valid_edit_is_read():
    assert ScorePrior.load(edited(replaced("margin", by=4))).margin == 4


def test_the_checksum_depends_on_names_and_shapes():
    one = {"a": torch.arange(6.0), "b": torch.zeros(2)}
    assert checksum(one) == checksum(dict(reversed(one.items())))
    for other in ({"a": torch.arange(6.0).reshape(2, 3)}, {"c": one["a"]}):
        assert checksum(one) != checksum({"b": one["b"]} | other)
