"""Network of the posterior: inputs, outputs, range of validity and file."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file

import astro_massmap
from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import GaussianPosterior, Observation
from astro_massmap.priors import FieldStatistics, HybridDenoiser, NoisyPair, PosteriorDenoiser, PosteriorNetwork, UNet
from astro_massmap.priors.posterior_denoiser import HIGHEST, posterior_share, smoothed, spreads_at, typical_noise
from astro_massmap.priors.weights_file import checksum
from astro_massmap.simulation import declared_spectrum

from helpers import small_priors
from helpers.cases import each_case
from helpers.small_priors import PIXEL, THEORY

CARD = {"maps": "boxes", "plan": {"steps": 3}}
SIGNAL = small_priors.signal()


class Recorder(torch.nn.Module):
    """A network that returns zeros and keeps its inputs."""

    def forward(self, inputs, conditions):
        self.inputs, self.conditions = inputs, conditions
        return torch.zeros(len(inputs), 2, *inputs.shape[2:])


def recorder():
    return PosteriorDenoiser(Recorder(), THEORY, PIXEL)


def known(n=2, shape=(24, 20), sigma=SIGNAL, noise=3 * SIGNAL):
    """Random b and m, with noise that varies by a factor of three and a hole; without a noisy map for sigma = inf."""
    generator = torch.Generator().manual_seed(0)
    weight = (noise * (0.5 + torch.rand(1, *shape, generator=generator))) ** -2
    weight[:, 3:9, 5:] = 0
    b, mean = torch.randn(2, n, *shape, generator=generator)
    sigma = torch.full((n,), sigma)
    smooth = smoothed(weight)
    level = typical_noise(weight, smooth, sigma, SIGNAL)
    b = b * (level**-2 * torch.hypot(level, torch.tensor(SIGNAL)))[:, None, None]
    return NoisyPair(b, 0.02 * mean, weight, smooth, sigma, level, torch.zeros(n))


# ---- inputs and outputs


def test_the_noise_around_a_pixel():
    weight = torch.zeros(1, 32, 32)
    weight[:, 16, 16] = 4.0
    blurred = smoothed(weight)
    assert blurred.sum() == pytest.approx(4.0) and blurred[0, 16, 16] == blurred.max() < 0.4
    assert smoothed(torch.ones(1, 32, 32))[0, 8:-8, 8:-8].sub(1).abs().max() < 1e-5
    assert smoothed(torch.ones(1, 32, 32))[0, 0, 0] < 0.5  # there are no data outside


def test_the_typical_noise():
    sigma, highest = torch.tensor([0.1, 0.2, torch.inf]), HIGHEST * SIGNAL
    weight, smooth = torch.tensor([[0.0, 25.0, 25.0, 25.0]]), torch.tensor([[1e6, 16.0, 25.0, 36.0]])
    expected = [(s**-2 + highest**-2 + 25.0) ** -0.5 for s in (0.1, 0.2, math.inf)]
    assert typical_noise(weight, smooth, sigma, SIGNAL).tolist() == pytest.approx(expected)
    expected = [(s**-2 + highest**-2) ** -0.5 for s in (0.1, 0.2, math.inf)]
    assert typical_noise(0 * weight, 0 * smooth, sigma, SIGNAL).tolist() == pytest.approx(expected)


def test_the_table_of_standard_deviations():
    fields = [FieldStatistics(THEORY, size) for size in (PIXEL, 3 * PIXEL)]
    both = FieldStatistics.of_batch(fields)
    signal = both.variance.sqrt().float()[:, None, None]
    ratios = torch.tensor([0.021, 0.3, 2.0, 30.0, 59.0])
    found = spreads_at(ratios[None, None] * signal, signal, posterior_share(both))
    for i, field in enumerate(fields):
        _, wiener, posterior = field.spreads(ratios * signal[i, 0, 0])
        assert torch.allclose(found[0][i, 0], wiener[:, 0, 0], rtol=5e-3)
        assert torch.allclose(found[1][i, 0], posterior[:, 0, 0], rtol=5e-3)


@pytest.mark.parametrize("sigma", [SIGNAL, math.inf])
def test_the_formula(sigma):
    pair, network = known(sigma=sigma), small_priors.posterior().denoiser
    added, std = network(pair)
    precision = sigma**-2 + (HIGHEST * SIGNAL) ** -2
    local = (precision + pair.smooth).rsqrt()
    _, wiener, posterior = (s.view(local.shape) for s in network.field.spreads(local.flatten()))
    channels = [
        pair.b * local**2 / (SIGNAL**2 + local**2).sqrt(),
        pair.mean / wiener,
        (torch.log10(local / SIGNAL / 1.8) / 1.5).expand_as(pair.b),
        (1 / (1 + precision / pair.weight)).expand_as(pair.b),
    ]
    conditions = torch.cat([network.field.conditions(pair.level), torch.zeros(2, 1)], dim=1)
    output = network.network(torch.stack(channels, dim=1), conditions)
    assert torch.allclose(added, posterior * output[:, 0], rtol=2e-2, atol=2e-2 * float(added.std()))
    assert torch.allclose(std, posterior * torch.exp(output[:, 1] / 2), rtol=2e-2)
    assert output[:, 0].std() > 0.05 and 0.1 < output[:, 1].abs().max() < 8


def test_an_untrained_network_adds_nothing_and_has_the_mean_error_of_the_gaussian_component():
    pair = known(noise=2 * SIGNAL, sigma=math.inf)
    pair.smooth = pair.weight = torch.full_like(pair.weight, (2 * SIGNAL) ** -2)
    network = small_priors.untrained_posterior().denoiser
    added, std = network(pair)
    s, n = network.field.modes[0], 1 / ((2 * SIGNAL) ** -2 + (HIGHEST * SIGNAL) ** -2)
    assert added.abs().max() == 0
    assert std.tolist() == pytest.approx(((s * n / (s + n)) @ network.field.share).sqrt().expand(std.shape), rel=3e-3)


def test_without_data_the_inputs_are_those_of_a_denoiser_of_a_noisy_map():
    pair, denoiser = known(sigma=2 * SIGNAL), recorder()
    z, wiener = pair.b * pair.sigma[0] ** 2, pair.mean
    pair.weight, pair.smooth = torch.zeros_like(pair.weight), torch.zeros_like(pair.smooth)
    pair.level = typical_noise(pair.weight[0], pair.smooth[0], pair.sigma, SIGNAL)
    denoiser(pair)
    other = HybridDenoiser(Recorder(), THEORY, PIXEL)
    other(z, wiener, pair.sigma)
    seen = denoiser.network.inputs
    assert torch.allclose(seen[:, :2], other.network.inputs, rtol=5e-3)
    assert torch.allclose(denoiser.network.conditions[:, :-1], other.network.conditions, atol=2e-3)
    assert (seen[:, 2] == seen[0, 2, 0, 0]).all() and (seen[:, 3] == 0).all()


def test_with_weak_noise_of_the_map_the_data_do_not_matter():
    denoiser = recorder()
    denoiser(known(sigma=0.02 * SIGNAL))
    assert denoiser.network.inputs[:, 3].max() < 0.01
    assert denoiser.network.inputs[:, 2].std() < 0.01


def test_the_kind_of_field_is_a_condition():
    denoiser, pair = recorder(), known()
    pair.kind = torch.tensor([0.0, 1.0])
    denoiser(pair)
    assert denoiser.network.conditions[:, -1].tolist() == [0, 1]


def test_a_standard_deviation_stays_finite():
    network = small_priors.posterior().denoiser
    network.network.leave.gain.fill_(1e6)
    _, std = network(known())
    assert torch.isfinite(std).all() and (std > 0).all()


# ---- on the grid of some data


def surveyed(network, noise=3 * SIGNAL, pixel=PIXEL, holes=True):
    noise_std = np.full((24, 20), noise)
    if holes:
        noise_std[3:9, 5:] = np.inf
    observation = Observation.from_arrays(np.random.default_rng(0).normal(size=(2, 24, 20)), noise_std, pixel)
    posterior = GaussianPosterior(observation, network.theory, (64, 64))
    return posterior.grid, network.on(posterior.grid, posterior.weight)


@pytest.mark.parametrize("sigma", [SIGNAL, 30 * SIGNAL, math.inf])
def test_the_contribution_is_that_of_field_and_margin(sigma):
    network = small_priors.posterior(margin=8)
    grid, on_grid = surveyed(network)
    maps = [
        scale * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(i))
        for i, scale in enumerate((100, 0.02))
    ]
    modes = [grid.to_modes(m) for m in maps]
    # the field begins at the first pixel of the periodic box
    around = [m.roll((8, 8), (1, 2))[:, :40, :36] for m in maps]
    weight = torch.zeros(1, 40, 36)
    weight[:, 8:32, 8:28] = (3 * SIGNAL) ** -2
    weight[:, 11:17, 13:28] = 0
    smooth, levels = smoothed(weight), torch.full((1,), sigma)
    level = typical_noise(weight, smooth, levels, SIGNAL)
    with torch.no_grad():
        added, std = network.denoiser(NoisyPair(*around, weight, smooth, levels, level, torch.zeros(1)))
    field = np.s_[:, 8:32, 8:28]
    if math.isinf(sigma):
        for found, expected in zip(on_grid.moments(*modes), (added[field][0], std[field][0]), strict=True):
            assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)
        return
    tapered = grid.to_field(on_grid.contribution(*modes, sigma), where=[torch.arange(64)] * 2)
    on_grid.taper = 1.0
    found = grid.to_field(on_grid.contribution(*modes, sigma), where=[torch.arange(64)] * 2)
    assert torch.allclose(found[:, :24, :20], added[field], rtol=1e-3, atol=1e-3 * float(added.std()))
    assert found[:, 32:-8].abs().max() < 1e-5 * found.std()  # zero beyond the margin
    # large scales are tapered: the mean goes, small scales stay
    assert abs(float(tapered.mean())) < 1e-3 * abs(float(found.mean()))
    assert (tapered - found).std() < 0.2 * found.std()


def test_a_network_for_other_sources_is_that_of_their_spectrum():
    fainter = PowerSpectrum(THEORY.ell, 0.64 * THEORY.cl, name="fainter")
    network = small_priors.posterior().scaled(fainter)
    assert network.theory is fainter and network.trained_spectrum is THEORY
    assert "theory 'fainter'" in repr(network)
    pair = known()
    _, on_grid = surveyed(network)
    assert float(on_grid.denoiser.field.variance) == pytest.approx(0.64 * SIGNAL**2, rel=1e-6)
    assert not torch.allclose(on_grid.denoiser(pair)[0], small_priors.posterior().denoiser(pair)[0], rtol=0.05)
    with pytest.raises(TypeError, match="spectrum: needs a PowerSpectrum, got float"):
        network.scaled(2.0)


def test_the_resolution_of_the_training_maps_multiplies_a_spectrum():
    made = small_priors.posterior(card={"resolution": [5000.0, 2.0]}).scaled(THEORY)
    assert np.allclose(made.theory(THEORY.ell), THEORY.resolved(5000.0, 2.0)(THEORY.ell))


def test_fields_chosen_for_a_cluster():
    small_priors.posterior().save("m.safetensors")
    random, targeted = (PosteriorNetwork.load("m.safetensors", field=kind) for kind in ("random", "targeted"))
    assert random.kind == "random" and targeted.kind == "targeted" and "targeted fields" in repr(targeted)
    ell = np.array([300.0, 3000.0])
    assert np.allclose(targeted.theory(ell), 4 * THEORY(ell)) and np.allclose(random.theory(ell), THEORY(ell))
    assert targeted.pixel_scale.to_value("rad") == pytest.approx(PIXEL * np.array([0.5, 1.0]))
    for network, kind in ((random, 0), (targeted, 1)):
        seen = []
        _, on_grid = surveyed(network, noise=6 * SIGNAL)
        hook = network.denoiser.network.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[1]))
        on_grid.contribution(torch.zeros(1, 64, 33) + 0j, torch.zeros(1, 64, 33) + 0j, SIGNAL)
        hook.remove()
        assert on_grid.targeted == bool(kind) and seen[0][:, -1].tolist() == [kind]


# ---- range of validity


@each_case(
    "pixel, noise, message",
    [
        (2.1 * PIXEL, 3 * SIGNAL, r"network: needs pixels of 0\.2 to 0\.8 arcmin, the map has 0\.84"),
        (0.4 * PIXEL, 3 * SIGNAL, r"needs pixels of 0\.2 to 0\.8 arcmin, the map has 0\.16"),
        (PIXEL, 0.7 * SIGNAL, r"was trained at a noise of 0\.025 to 1\.8 per pixel, the median of the data is 0\.0215"),
        (PIXEL, 70 * SIGNAL, r"trained at a noise of .* median of the data is 2\.15; use another method"),
    ],
)
def test_data_outside_of_the_training(pixel, noise, message):
    with pytest.raises(ValueError, match=message):
        surveyed(small_priors.untrained_posterior(), noise, pixel)


@each_case("factor", [0.5, 2.0])
def test_a_spectrum_outside_of_the_training(factor):
    other = PowerSpectrum(THEORY.ell, factor**2 * THEORY.cl, name="other")
    message = rf"standard deviation of kappa in pixels of .* the spectrum has {factor * SIGNAL:.2g}; use another method"
    with pytest.raises(ValueError, match=message):
        surveyed(small_priors.untrained_posterior().scaled(other))


@pytest.mark.parametrize("pixel, noise", [(0.5, 3.0), (2.0, 3.0), (1.0, 0.8), (1.0, 60.0)])
def test_the_range_includes_its_ends(pixel, noise):
    network = small_priors.untrained_posterior()
    grid, _ = surveyed(network, noise * small_priors.signal(pixel * PIXEL), pixel * PIXEL)
    network.on(grid, torch.zeros(24, 20))  # nor is there an error without data


@each_case(
    "options, message",
    [
        ({"margin": -1}, "margin: needs a non-negative integer"),
        ({"margin": 1.5}, "margin: needs a non-negative integer"),
        ({"kind": "lens"}, "field: needs 'random' or 'targeted', got 'lens'"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        small_priors.untrained_posterior(**options)


# ---- file


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Bytes of a file, and the offset of its tensors."""
    file = tmp_path_factory.mktemp("network") / "m.safetensors"
    small_priors.posterior(card=CARD).save(file)
    content = file.read_bytes()
    return content, 8 + struct.unpack("<Q", content[:8])[0]


def written(content):
    file = Path("m.safetensors")
    file.write_bytes(content)
    return file


def test_round_trip_is_exact():
    made = small_priors.posterior(card=CARD)
    made.save("m.safetensors")
    back = PosteriorNetwork.load("m.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(made.denoiser(known()), back.denoiser(known()), strict=True))
    assert back.sigma_range == (0.8, 60.0) and back.margin == 8 and back.card == CARD and back.spectrum is None
    assert np.array_equal(back.pixel_sizes, made.pixel_sizes) and np.array_equal(back.signals, made.signals)
    for ours, theirs in ((made.theory, back.theory), (made.factor, back.factor)):
        assert ours.name == theirs.name and np.array_equal(ours.cl, theirs.cl)
    assert not any(p.requires_grad for p in back.denoiser.parameters())
    assert repr(back) == repr(made) and "trained on boxes" in repr(back)
    back.save("again.safetensors")
    assert Path("again.safetensors").read_bytes() == Path("m.safetensors").read_bytes()


def test_spectrum_and_kind_of_field_are_kept():
    fainter = PowerSpectrum(THEORY.ell, 0.64 * THEORY.cl, name="fainter")
    made = small_priors.posterior(kind="targeted").scaled(fainter)
    made.save("m.safetensors")
    back = PosteriorNetwork.load("m.safetensors")
    assert back.kind == "targeted" and back.theory.name == "fainter, fourfold"
    assert np.array_equal(back.theory.cl, made.theory.cl)
    random = PosteriorNetwork.load("m.safetensors", field="random")
    assert random.kind == "random" and random.theory.name == THEORY.name


def test_an_existing_file_is_kept():
    written(b"precious")
    with pytest.raises(OSError, match=r"exists; give overwrite=True"):
        small_priors.posterior().save("m.safetensors")
    assert Path("m.safetensors").read_bytes() == b"precious"
    small_priors.posterior().save("m.safetensors", overwrite=True)
    assert PosteriorNetwork.load("m.safetensors").margin == 8


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_tensor_is_found(content, place, bit):
    content, start = content
    damaged = bytearray(content)
    damaged[start + int(place * (len(content) - start))] ^= 1 << bit
    with pytest.raises(OSError, match=r"m\.safetensors' is damaged"):
        PosteriorNetwork.load(written(damaged))


@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_found(content, keep):
    with pytest.raises(OSError, match=r"m\.safetensors' is damaged"):
        PosteriorNetwork.load(written(content[0][: int(keep * len(content[0]))]))


def test_a_missing_file():
    with pytest.raises(OSError, match=r"'none\.safetensors' does not exist"):
        PosteriorNetwork.load("none.safetensors")


def test_score_prior_and_network_of_the_posterior_are_not_interchangeable():
    small_priors.prior().save("p.safetensors")
    small_priors.posterior().save("m.safetensors")
    with pytest.raises(OSError, match="its format is 'astro_massmap score prior 2'"):
        PosteriorNetwork.load("p.safetensors")
    with pytest.raises(OSError, match="its format is 'astro_massmap posterior 1'"):
        ScorePrior.load("m.safetensors")


def changed(content, tensors=None, **changes):
    """Write a file with other entries of the header, without those that are ..., and other tensors."""
    content, start = content
    header = json.loads(json.loads(content[8:start])["__metadata__"]["prior"])
    tensors = load_file(written(content)) | (tensors or {})
    header |= {"sha256": checksum(tensors)} | changes
    header = {key: value for key, value in header.items() if value is not ...}
    save_file(tensors, "m.safetensors", {"prior": json.dumps(header)})


@pytest.mark.parametrize(
    "key, value",
    [
        ("margin", -4),
        ("sigma_range", [0.1]),
        ("sigma_range", None),
        ("pixel_size", "small"),
        ("kind", "lens"),
        ("card", ...),
    ],
)
def test_invalid_headers(content, key, value):
    changed(content, **{key: value})
    with pytest.raises(OSError, match=r"m\.safetensors' is damaged"):
        PosteriorNetwork.load("m.safetensors")


@each_case("name, shape, value", [("signals", (2, 2, 2), -1.0), ("signals", (2, 2), 1.0), ("pixel_sizes", (2,), 1.0)])
def test_invalid_tables(content, name, shape, value):
    changed(content, {name: torch.full(shape, value, dtype=torch.float64)})
    with pytest.raises(OSError, match="pixel_sizes, signals: need positive numbers"):
        PosteriorNetwork.load("m.safetensors")


def test_a_kind_of_field_without_training(content):
    sizes = torch.tensor([[PIXEL, PIXEL], [math.inf, math.inf]], dtype=torch.float64)
    changed(content, {"pixel_sizes": sizes})
    assert PosteriorNetwork.load("m.safetensors").kind == "random"
    with pytest.raises(ValueError, match="field: the network has not been trained on targeted fields"):
        PosteriorNetwork.load("m.safetensors", field="targeted")


def test_a_network_of_another_size_is_refused(content):
    content, start = content
    header = json.loads(json.loads(content[8:start])["__metadata__"]["prior"])
    tables = {k: v for k, v in load_file(written(content)).items() if not k.startswith("network.")}
    unet = UNet(small_priors.WIDTHS)
    tensors = tables | {f"network.{k}": v for k, v in unet.state_dict().items()}
    header |= {"network": unet.settings, "sha256": checksum(tensors)}
    save_file(tensors, "m.safetensors", {"prior": json.dumps(header)})
    with pytest.raises(OSError, match="4 inputs, 2 outputs and 16 conditions"):
        PosteriorNetwork.load("m.safetensors")


def test_size_and_metadata_of_the_shipped_network():
    file = Path(astro_massmap.__file__).parent / "priors" / "weights" / "posterior.safetensors"
    assert file.stat().st_size < 20e6
    for field, limits in (("random", [0.25, 2.0]), ("targeted", [0.1, 0.4])):
        shipped = PosteriorNetwork.load("default", field=field)
        assert shipped.pixel_scale.to_value("arcmin") == pytest.approx(limits)
        assert shipped.kind == field and shipped.sigma_range == (0.8, 60.0)
        assert shipped.fault(math.radians(0.4 / 60), 0.2) is None
    ell = np.array([300.0, 3e3, 3e4])
    declared = declared_spectrum(PowerSpectrum.default())
    assert np.allclose(PosteriorNetwork.load().theory(ell), declared(ell))
    assert np.allclose(shipped.theory(ell), declared(ell) * shipped.factor(ell))
