"""Posterior-mean network: inputs, outputs and file."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file

import astro_massmap
from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.priors import MeanNetwork, MomentDenoiser, UNet
from astro_massmap.priors.denoiser import waves
from astro_massmap.priors.mean_network import noise_level, noise_share
from astro_massmap.priors.weights_file import checksum
from astro_massmap.simulation import declared_spectrum

from helpers import small_priors
from helpers.cases import each_case
from helpers.small_priors import PIXEL, THEORY, WIDTHS

CARD = {"maps": "boxes", "plan": {"steps": 3}}


def network(seed=0, gain=0.3, **options):
    denoiser = MomentDenoiser(small_priors.network(seed, gain, outputs=2, conditions=9), THEORY, PIXEL)
    return MeanNetwork(denoiser, THEORY, (0.05, 0.3), **{"margin": 8} | options)


def data(shape=(24, 20), noise=0.1):
    generator = torch.Generator().manual_seed(0)
    noise_std = noise * (0.5 + torch.rand(shape, generator=generator))
    noise_std[3:9, 5:] = torch.inf
    return 0.02 * torch.randn(shape, generator=generator), noise_std


# ---- inputs and outputs


def test_noise_level_and_q():
    noise_std = torch.tensor([[0.1, 0.3, torch.inf], [0.2, torch.inf, torch.inf]])
    assert noise_level(noise_std) == pytest.approx(0.2)
    share = noise_share(noise_std, 0.2)
    assert torch.allclose(share, torch.tensor([[1.6, 8 / 13, 0.0], [1.0, 0.0, 0.0]]))
    assert noise_share(torch.zeros(1), 0.2) == 2
    assert noise_level(torch.full((2, 2), torch.inf)) == float("inf")


def test_an_untrained_network_is_the_wiener_filter_with_its_mean_error():
    denoiser = MomentDenoiser(UNet(WIDTHS, outputs=2, conditions=9), THEORY, PIXEL)
    wiener, noise_std = data()
    mean, std = MeanNetwork(denoiser, THEORY, (0.05, 0.3)).moments(wiener, noise_std)
    assert torch.equal(mean, wiener)
    s, n = denoiser.field.modes[0], noise_level(noise_std) ** 2
    assert torch.allclose(std, ((s * n / (s + n)) @ denoiser.field.share).sqrt().float(), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_formula(dtype):
    made, (wiener, noise_std) = network(), (t.to(dtype) for t in data())
    mean, std = made.moments(wiener, noise_std)
    assert mean.dtype == std.dtype == dtype
    sigma = torch.tensor([noise_level(noise_std)])
    _, filtered, posterior = made.denoiser.spreads(sigma)
    seen = torch.stack([wiener.float() / filtered[0], noise_share(noise_std, float(sigma)).float()])[None]
    output = made.denoiser.network(seen, waves(torch.log10(sigma / 0.03) / 1.5, 4))[0]
    assert torch.allclose((mean - wiener).float(), posterior[0] * output[0], atol=1e-6)
    assert torch.allclose(std.float(), posterior[0] * torch.exp(output[1] / 2), rtol=1e-4)
    assert output.std() > 0.1


def test_a_standard_deviation_stays_finite():
    _, std = network(gain=1e6).moments(*data())
    assert torch.isfinite(std).all() and (std > 0).all()


@each_case("noise", [0.03, 0.5, float("inf")])
def test_noise_outside_the_range_of_the_training(noise):
    with pytest.raises(ValueError, match=r"noise_std: the network was trained at a noise of 0\.05 to 0\.3"):
        network().moments(torch.zeros(8, 8), torch.full((8, 8), noise))


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_the_range_includes_its_ends(noise):
    # in single precision 0.3 is larger than the double 0.3
    assert torch.isfinite(network().moments(torch.zeros(8, 8), torch.full((8, 8), noise))[0]).all()


@each_case("margin", [-1, 1.5])
def test_invalid_margins(margin):
    with pytest.raises(ValueError, match="margin: needs a non-negative integer"):
        network(margin=margin)


# ---- file


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Bytes of a file, and the offset of its tensors."""
    file = tmp_path_factory.mktemp("network") / "m.safetensors"
    network(card=CARD).save(file)
    content = file.read_bytes()
    return content, 8 + struct.unpack("<Q", content[:8])[0]


def written(content):
    file = Path("m.safetensors")
    file.write_bytes(content)
    return file


def test_round_trip_is_exact():
    made = network(card=CARD)
    made.save("m.safetensors")
    back = MeanNetwork.load("m.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(made.moments(*data()), back.moments(*data()), strict=True))
    assert back.sigma_range == (0.05, 0.3) and back.margin == 8 and back.card == CARD and back.pixel_size == PIXEL
    assert back.spectrum.name == THEORY.name and np.array_equal(back.spectrum.cl, THEORY.cl)
    assert not any(p.requires_grad for p in back.denoiser.parameters())
    assert repr(back) == repr(made) and "trained on boxes" in repr(back)
    back.save("again.safetensors")
    assert Path("again.safetensors").read_bytes() == Path("m.safetensors").read_bytes()


def test_an_existing_file_is_kept():
    written(b"precious")
    with pytest.raises(OSError, match=r"exists; give overwrite=True"):
        network().save("m.safetensors")
    assert Path("m.safetensors").read_bytes() == b"precious"
    network().save("m.safetensors", overwrite=True)
    assert MeanNetwork.load("m.safetensors").margin == 8


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_tensor_is_found(content, place, bit):
    content, start = content
    damaged = bytearray(content)
    damaged[start + int(place * (len(content) - start))] ^= 1 << bit
    with pytest.raises(OSError, match=r"m\.safetensors' is damaged"):
        MeanNetwork.load(written(damaged))


@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_found(content, keep):
    with pytest.raises(OSError, match=r"m\.safetensors' is damaged"):
        MeanNetwork.load(written(content[0][: int(keep * len(content[0]))]))


def test_a_missing_file():
    with pytest.raises(OSError, match=r"'none\.safetensors' does not exist"):
        MeanNetwork.load("none.safetensors")


def test_score_prior_and_posterior_mean_network_are_not_interchangeable():
    small_priors.prior().save("p.safetensors")
    network().save("m.safetensors")
    with pytest.raises(OSError, match="its format is 'astro_massmap score prior 2'"):
        MeanNetwork.load("p.safetensors")
    with pytest.raises(OSError, match="its format is 'astro_massmap posterior mean 1'"):
        ScorePrior.load("m.safetensors")


@pytest.mark.parametrize(
    "key, value",
    [("margin", -4), ("sigma_range", [0.1]), ("sigma_range", None), ("pixel_size", "small"), ("card", ...)],
)
def test_invalid_headers(content, key, value):
    content, start = content
    header = json.loads(json.loads(content[8:start])["__metadata__"]["prior"])
    tensors = load_file(written(content))
    if value is ...:
        header.pop(key)
    else:
        header[key] = value
    save_file(tensors, "m.safetensors", {"prior": json.dumps(header)})
    with pytest.raises(OSError, match=r"m\.safetensors' is damaged"):
        MeanNetwork.load("m.safetensors")


def test_a_network_with_one_output_is_refused(content):
    content, start = content
    header = json.loads(json.loads(content[8:start])["__metadata__"]["prior"])
    tables = {k: v for k, v in load_file(written(content)).items() if not k.startswith("network.")}
    unet = UNet(WIDTHS)
    tensors = tables | {f"network.{k}": v for k, v in unet.state_dict().items()}
    header |= {"network": unet.settings, "sha256": checksum(tensors)}
    save_file(tensors, "m.safetensors", {"prior": json.dumps(header)})
    with pytest.raises(OSError, match="two inputs and two outputs"):
        MeanNetwork.load("m.safetensors")


def test_size_and_metadata_of_the_shipped_network():
    file = Path(astro_massmap.__file__).parent / "priors" / "weights" / "posterior_mean.safetensors"
    assert file.stat().st_size < 20e6
    shipped = MeanNetwork.load("default")
    assert shipped.pixel_scale.to_value("arcmin") == pytest.approx(0.4, rel=1e-3)
    assert shipped.card["source_redshift"] == 1.0 and shipped.sigma_range == (0.05, 0.3)
    ell = np.array([300.0, 3e3, 3e4])
    assert np.allclose(shipped.spectrum(ell), declared_spectrum(PowerSpectrum.default())(ell))
    assert set(shipped.card["error_ratio"]) == {"0.080", "0.080 in gaps", "0.150", "0.150 in gaps"}
    assert max(shipped.card["error_ratio"].values()) < 1
