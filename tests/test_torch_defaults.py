"""What a user sets as the defaults of torch changes no number: every tensor names its type and its device."""

import ast
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import torch

import astro_massmap
from astro_massmap import (
    AnnealedHMC,
    GaussianPrior,
    KaiserSquires,
    PosteriorDiffusion,
    PosteriorMean,
    PowerSpectrum,
    ScorePrior,
    Sparse,
    Wiener,
    datasets,
)
from astro_massmap.priors import PosteriorNetwork, UNet, posterior_network, score
from astro_massmap.simulation import NBody, band_power, lognormal_maps
from astro_massmap.training import MapBank, TrainingPlan, train_posterior, train_prior

from helpers.cases import each_case

PIXEL = 1.2e-4
# makes a tensor of the default type or on the default device
MAKERS = {
    *(
        "arange",
        "asarray",
        "as_tensor",
        "empty",
        "eye",
        "fftfreq",
        "full",
        "hann_window",
        "linspace",
        "logspace",
        "normal",
    ),
    *("ones", "rand", "randint", "randn", "randperm", "range", "rfftfreq", "scalar_tensor", "tensor", "zeros"),
    *("tril_indices", "triu_indices", "Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "Embedding"),
    *("BatchNorm2d", "GroupNorm", "LayerNorm", "InstanceNorm2d"),
}


def unnamed(source):
    """Line and text of calls that make a tensor, or mentions of what makes one, without a type and a device."""
    tree = ast.parse(source)
    named = set()
    for call in ast.walk(tree):
        if isinstance(call, ast.ClassDef):  # derived modules: their parameters are seen where they are run, below
            named |= {id(base) for base in call.bases}
        elif isinstance(call, ast.Call) and {"dtype", "device"} <= {k.arg for k in call.keywords}:
            named |= {id(maker) for maker in (call.func, *call.args)}  # arguments: of functools.partial
    return [
        (node.lineno, ast.unparse(node))
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in MAKERS
        and ast.unparse(node).split(".")[0] in ("torch", "nn")
        and id(node) not in named
    ]


@pytest.fixture(params=["float64", "meta"])
def defaults(request):
    """Sets a default when it is called; networks that were read before are forgotten."""
    dtype = torch.get_default_dtype()

    def set_defaults():
        score._default.cache_clear()
        posterior_network._default.cache_clear()
        if request.param == "meta":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(torch.float64)

    yield set_defaults
    torch.set_default_device(None)
    torch.set_default_dtype(dtype)


def same(before, after):
    """Whether two maps have the same pixels, bit by bit."""
    pairs = [(before.data, after.data), (before.uncertainty.array, after.uncertainty.array)]
    if before.samples is not None:
        pairs.append((before.samples, after.samples))
    return all(a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True) for a, b in pairs)


# ---- by reading the code


@each_case(
    ("source", "found"),
    [
        ("torch.zeros(3)", True),
        ("torch.zeros(3, dtype=torch.float32)", True),
        ("torch.fft.fftfreq(3, device='cpu')", True),
        ("nn.Linear(3, 4, device=device)", True),
        ("grid.of_ell(torch.ones)", True),
        ("partial(torch.zeros, dtype=torch.float64)", True),
        ("torch.zeros(3, dtype=torch.float32, device='cpu')", False),
        ("partial(torch.zeros, dtype=torch.float64, device='cpu')", False),
        ("torch.zeros_like(x) + x.new_zeros(3) + np.zeros(3)", False),
    ],
)
def test_the_search_finds_what_names_nothing(source, found):
    assert bool(unnamed(source)) == found


def test_every_tensor_names_its_type_and_its_device():
    files = sorted(Path(astro_massmap.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    assert {str(file): lines for file in files if (lines := unnamed(file.read_text(encoding="utf-8")))} == {}


# ---- by running it


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        KaiserSquires(),
        Wiener(n_samples=2),
        PosteriorMean(),
        Sparse(n_noise=2),
        PosteriorDiffusion(n_samples=2, steps=3, n_check=2),
        AnnealedHMC(n_samples=2, n_check=2),
        AnnealedHMC(GaussianPrior(), n_samples=1, schedule="tempered"),
    ],
    ids=["kaiser_squires", "wiener", "posterior_mean", "sparse", "posterior_diffusion", "annealed_hmc", "tempered"],
)
def test_defaults_change_no_map(defaults, method):
    shear = datasets.demo().to_map(shape=(16, 16), pixel_scale=0.4 * u.arcmin)
    before = shear.reconstruct(method, progress=False)
    defaults()
    assert same(before, shear.reconstruct(method, progress=False))


def test_networks_are_in_single_precision_on_the_cpu(defaults):
    defaults()
    for module in (UNet((4, 4, 4)), ScorePrior.load().denoiser.network, PosteriorNetwork.load().denoiser.network):
        assert {(p.dtype, p.device.type) for p in module.parameters()} == {(torch.float32, "cpu")}


@pytest.mark.slow
@pytest.mark.parametrize("train", [train_prior, train_posterior])
def test_defaults_change_no_training(defaults, train, tmp_path):
    spectrum = PowerSpectrum.default()
    plan = TrainingPlan(steps=2, size=16, margin=8, sigma=(0.05, 60), validation_maps=1, validate_every=1)
    options = {"widths": (4, 4, 4), "progress": False}

    def trained(name, plan=plan):
        maps = lognormal_maps(spectrum, 4, (32, 32), PIXEL)
        banks = MapBank(maps[:2], PIXEL), MapBank(maps[2:], PIXEL)
        made, history = train(*banks, spectrum, plan, checkpoint=tmp_path / name, **options)
        return history, [p.detach().clone() for p in made.denoiser.parameters()]

    (history, weights) = trained("before")
    defaults()
    assert trained("before")[0] == history  # goes on from the checkpoint of the other default, to the same end
    (again, others) = trained("after")
    assert again == history
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


def test_defaults_change_no_simulation(defaults):
    def made():
        ((_, positions),) = NBody(particles=8, box_size=32.0, longest_step=0.5).run(1, [1.0])
        maps = lognormal_maps(PowerSpectrum.default(), 2, (32, 32), PIXEL)
        return positions.numpy(), maps.numpy(), band_power(maps, PIXEL, [1000.0, 5000.0, 20000.0])

    before = made()
    defaults()
    assert all(np.array_equal(a, b) for a, b in zip(before, made(), strict=True))
