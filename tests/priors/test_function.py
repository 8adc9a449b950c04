"""Priors from functions: exact scores and denoisers give the samples of the same prior, and errors name the cause."""

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import AnnealedHMC, GaussianPrior, PowerSpectrum, ScoreFunction, ShearMap
from astro_massmap.inference import FourierGrid, posterior_shape
from astro_massmap.priors import PriorOnGrid

from helpers import problems, small_priors
from helpers.analytic_priors import MixturePrior
from helpers.cases import each_case
from helpers.chains import FAST, observation, white_score
from helpers.skies import tan_wcs

SPECTRUM, PIXEL, SIDE = problems.spectrum(), problems.PIXEL, 16
BOX = posterior_shape((SIDE, SIDE), 2.0)
OPTIONS = {"n_samples": 2, "n_jobs": 1, **FAST}


def exact_score(maps, sigma, spectrum=SPECTRUM, periodic=False, denoised=False):
    """Score of a Gaussian field: on a part of the box by its dense covariance, or of a periodic box."""
    z, (ny, nx) = maps.double(), maps.shape[-2:]
    grid = FourierGrid((ny, nx), PIXEL, (ny, nx) if periodic else BOX, dtype=torch.float64)
    variance = grid.mode_variance(spectrum) + sigma**2
    if periodic:
        score = -grid.to_field(grid.to_modes(z) / variance)
    else:
        unit = torch.eye(ny * nx, dtype=torch.float64).reshape(-1, ny, nx)
        covariance = grid.to_field(variance * grid.to_modes(unit)).reshape(ny * nx, -1)
        score = -torch.linalg.solve(covariance, z.flatten(1).T).T.reshape(z.shape)
    return (z + sigma**2 * score if denoised else score).to(maps.dtype)


class Network(torch.nn.Module):
    """Denoiser of images of one channel with noise levels ``(n,)``, exact for white noise of variance 0.01."""

    def __init__(self):
        super().__init__()
        self.variance = torch.nn.Parameter(torch.tensor(0.01, dtype=torch.float64))
        self.seen = []

    def forward(self, images, sigma):
        self.seen.append((tuple(images.shape), images.dtype, tuple(sigma.shape), self.training))
        return images * (self.variance / (self.variance + sigma**2))[:, None, None, None]


class NoResidual:
    """The Gaussian prior, with the schedule of a prior with a function."""

    pixel_size = None

    def on(self, grid):
        on_grid = PriorOnGrid(grid, SPECTRUM)
        on_grid.gaussian, on_grid.max_step, on_grid.log_ratio = False, 0.3, lambda modes, sigma: None
        return on_grid


def white(level):
    return PowerSpectrum([10, 1e5], [level * PIXEL**2] * 2)


def gaussian(returns, domain, **options):
    f = partial(exact_score, periodic=domain == "box", denoised=returns == "denoised")
    return ScoreFunction(f, SPECTRUM, returns=returns, domain=domain, **options)


# ---- known answers


@pytest.mark.parametrize("domain", ["field", "box"])
@pytest.mark.parametrize("returns", ["score", "denoised"])
def test_an_exact_gaussian_function_gives_the_samples_of_the_gaussian_prior(returns, domain):
    data = observation(SIDE)
    expected = AnnealedHMC(NoResidual(), **OPTIONS).solve(data).samples
    found = AnnealedHMC(gaussian(returns, domain), **OPTIONS).solve(data)
    assert np.abs(found.samples - expected).max() < 1e-3 * expected.std()
    assert found.diagnostics["acceptance"] == [1.0] and found.diagnostics["score_evaluations"] > 3


def test_the_residual_of_a_gaussian_function_is_zero_at_all_levels():
    grid = FourierGrid((SIDE, SIDE - 4), PIXEL, BOX, dtype=torch.float64)
    draw = torch.randn(2, *BOX, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for sigma in (0.3, 0.05, 0.01):
        modes = (grid.mode_variance(SPECTRUM) + sigma**2).sqrt() * grid.to_modes(draw)
        for domain, returns, multiple in (("field", "score", 1), ("field", "denoised", 8), ("box", "score", 4)):
            prior = gaussian(returns, domain, multiple=multiple).on(grid)
            score = prior.score(torch.fft.irfft2(modes, s=BOX, norm="ortho"), sigma)
            assert prior.residual(modes, sigma).abs().max() < 1e-3 * score.abs().max()


@pytest.mark.slow
def test_moments_are_those_of_the_exact_posterior():
    # 256 and 1024 draws: the expected square of the deviation is 1 / 256 + 1 / 1024 of the variance
    data, n = observation(SIDE), 256
    options = OPTIONS | {"n_samples": n, "batch_size": 32}
    exact = AnnealedHMC(GaussianPrior(SPECTRUM), **options | {"seed": 5, "n_samples": 4 * n}).solve(data)
    found = AnnealedHMC(gaussian("denoised", "field"), **options).solve(data)
    z = (found.mean - exact.mean) / exact.std
    assert np.square(z).mean() < 2.5 * (1 / n + 1 / (4 * n))
    assert (found.std / exact.std).mean() == pytest.approx(1, abs=0.03)


def test_two_modes_are_those_of_the_exact_mixture():
    means = np.stack([np.zeros((SIDE, SIDE)), 0.3 * problems.cluster(SIDE)])
    exact = MixturePrior(SPECTRUM, means, (0.7, 0.3))
    known = exact.on(FourierGrid((SIDE, SIDE), PIXEL, BOX, dtype=torch.float32))

    def denoised(maps, sigma):
        return maps + sigma**2 * known.score(maps, sigma)

    class Unknown:  # without its density, so that the Metropolis rule integrates the score for both
        pixel_size = None

        def on(self, grid):
            on_grid = exact.on(grid)
            on_grid.log_ratio, on_grid.max_step = lambda modes, sigma: None, 0.3
            return on_grid

    prior = ScoreFunction(denoised, SPECTRUM, returns="denoised", domain="box")
    expected, found = (AnnealedHMC(p, **OPTIONS).solve(observation(SIDE)).samples for p in (Unknown(), prior))
    assert np.abs(found - expected).max() < 1e-3 * expected.std()


@pytest.mark.filterwarnings("ignore:padding")
def test_on_a_periodic_field_both_domains_agree():
    f = partial(exact_score, spectrum=PowerSpectrum(SPECTRUM.ell, 1.5 * SPECTRUM.cl), periodic=True)
    methods = [AnnealedHMC(ScoreFunction(f, SPECTRUM, domain=d), padding=1, **OPTIONS) for d in ("field", "box")]
    a, b = (method.solve(observation(SIDE)).samples for method in methods)
    assert np.abs(a - b).max() < 1e-3 * a.std()


def test_a_network_of_images():
    network = Network().train()
    prior = ScoreFunction(network, white(0.01), returns="denoised", channel=True, multiple=4)
    grid = FourierGrid((SIDE - 1, SIDE - 5), PIXEL, (64, 48))
    modes = grid.to_modes(torch.randn(3, 64, 48, generator=torch.Generator().manual_seed(0)))
    assert prior.on(grid).residual(modes, 0.1).abs().max() < 1e-3
    assert network.seen[-1] == ((3, 1, SIDE, SIDE - 4), torch.float64, (3,), False)


def test_a_function_may_compute_gradients():
    def score(maps, sigma):
        with torch.enable_grad():
            x = maps.requires_grad_()
            return torch.autograd.grad(-0.5 * x.square().sum() / (0.01 + sigma**2), x)[0]

    prior = ScoreFunction(score, white(0.01)).on(FourierGrid((8, 8), PIXEL))
    assert prior.residual(torch.ones(1, 8, 5, dtype=torch.complex64), 0.1).abs().max() < 1e-3


# ---- runs


def test_workers_and_checkpoints(tmp_path):
    data, prior = observation(SIDE), gaussian("score", "field")
    whole = AnnealedHMC(prior, **OPTIONS).solve(data)
    method = AnnealedHMC(prior, checkpoint=tmp_path / "c.fits", **OPTIONS)
    assert np.array_equal(method.solve(data).samples, whole.samples)
    assert np.array_equal(method.solve(data).samples, whole.samples)  # continued
    for other in (gaussian("denoised", "field"), ScoreFunction(partial(exact_score), SPECTRUM, max_sigma=5.0)):
        with pytest.raises(ValueError, match="holds samples of other data or other settings"):
            AnnealedHMC(other, checkpoint=tmp_path / "c.fits", **OPTIONS).solve(data)


@pytest.mark.slow
def test_other_processes():
    data, method = observation(SIDE), AnnealedHMC(ScoreFunction(white_score, white(0.01)), **OPTIONS)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as executor:
        assert np.array_equal(method.solve(data, executor=executor).samples, method.solve(data).samples)
        with pytest.raises(TypeError, match=r"executor: the method cannot be sent .* at the top of a module"):
            AnnealedHMC(ScoreFunction(lambda z, s: white_score(z, s), white(0.01)), **OPTIONS).solve(
                data, executor=executor
            )


def test_the_record_identifies_the_function():
    shear = np.random.default_rng(0).normal(scale=0.1, size=(2, SIDE, SIDE))
    shear = ShearMap(shear, wcs=tan_wcs((SIDE, SIDE), scale=0.4), noise_std=0.1)

    def made(prior):
        kappa = shear.reconstruct(AnnealedHMC(prior, **OPTIONS), progress=False)
        assert " at 0x" not in repr(kappa.diagnostics) + repr(kappa.meta)
        kappa.write("kappa.fits", overwrite=True)
        return type(kappa).read("kappa.fits").meta["provenance"]["prior"]

    records = [made(gaussian("score", "field")), made(gaussian("score", "field"))]
    assert records[0] == records[1] and records[0]["kind"] == "ScoreFunction" and not records[0]["gaussian"]
    assert records[0]["options"]["f"].endswith("test_function.exact_score(periodic=False, denoised=False)")
    other = made(ScoreFunction(exact_score, SPECTRUM))
    assert other["sha256"] != records[0]["sha256"] is not None


def test_a_function_that_cannot_be_identified_gives_a_warning():
    lines = (line for line in "ab")  # without a checksum
    prior = ScoreFunction(lambda maps, sigma: white_score(maps, sigma) if lines else None, white(0.01))
    shear = np.random.default_rng(0).normal(scale=0.1, size=(2, SIDE, SIDE))
    shear = ShearMap(shear, wcs=tan_wcs((SIDE, SIDE), scale=0.4), noise_std=0.1)
    with pytest.warns(AstropyUserWarning, match=r"f: .*<lambda> cannot be identified by its content; the record"):
        kappa = shear.reconstruct(AnnealedHMC(prior, **OPTIONS), progress=False)
    assert kappa.meta["provenance"]["prior"]["sha256"] is None


# ---- errors


@each_case(
    ("options", "error", "message"),
    [
        ({"f": 3}, TypeError, r"f: needs a function f\(maps, sigma\) of torch"),
        ({"f": Network}, TypeError, r"f: needs a function"),
        ({"spectrum": None}, TypeError, "spectrum: needed, the power spectrum of the maps that f describes"),
        ({"spectrum": 3}, TypeError, "spectrum: needs a PowerSpectrum"),
        ({"returns": "noise"}, ValueError, "returns: needs 'score' or 'denoised', got 'noise'"),
        ({"domain": "sky"}, ValueError, "domain: needs 'field' or 'box', got 'sky'"),
        ({"multiple": 0}, ValueError, "multiple: needs to be at least 1"),
        ({"max_sigma": -1}, ValueError, "max_sigma: needs to be positive"),
        ({"pixel_scale": 0}, ValueError, "pixel_scale: needs to be positive"),
        ({"pixel_scale": 1 * u.kpc}, u.UnitsError, "pixel_scale: needs an angle"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        ScoreFunction(**{"f": exact_score, "spectrum": SPECTRUM} | options)


@each_case(
    ("f", "error", "message"),
    [
        (lambda z, s: None, TypeError, "f: needs to return a tensor of floats, as its maps, got NoneType"),
        (lambda z, s: z.numpy(), TypeError, "got ndarray"),
        (lambda z, s: (z > 0).long(), TypeError, r"got torch.int64"),
        (lambda z, s: torch.complex(z, z), TypeError, r"got torch.complex64"),
        (lambda z, s: z[:, None], ValueError, r"f: needs to return the shape of its maps, \(1, 8, 8\), got \(1, 1, 8,"),
        (lambda z, s: z.mean(), ValueError, r"got \(\)"),
        (lambda z, s: z.to("meta"), ValueError, "f: needs to return a tensor on the device of its maps, cpu, got meta"),
        (lambda z, s: z / 0, ValueError, "f: returned values that are not finite at a noise level of 0.1, 64 of 64"),
        (
            lambda z, s: z / (1 + 100 * s**2),
            ValueError,
            "f returns a denoised map, not a score; give returns='denoised'",
        ),
    ],
)
def test_wrong_results(f, error, message):
    with pytest.raises(error, match=message):
        ScoreFunction(f, white(0.01)).on(FourierGrid((8, 8), PIXEL))


@each_case(
    ("bad", "error"),
    [
        (lambda maps, right: right * float("nan"), ValueError),
        (lambda maps, right: right / 0, ValueError),
        (lambda maps, right: None, TypeError),
    ],
)
@pytest.mark.parametrize("domain", ["field", "box"])
@pytest.mark.parametrize("returns", ["score", "denoised"])
def test_wrong_results_at_another_level_end_the_run_at_once(returns, domain, bad, error):
    called = []

    def f(maps, sigma):
        right = white_score(maps, sigma)
        right = maps + sigma**2 * right if returns == "denoised" else right
        if sigma > 0.09:  # the probe is at 0.1, the last levels of the reverse diffusion are lower
            return right
        called.append(sigma)
        return bad(maps, right)

    prior = ScoreFunction(f, white(0.01), returns=returns, domain=domain)
    with pytest.raises(
        error, match=r"f: (returned values that are not finite at a noise level of 0\.0|needs to return)"
    ):
        AnnealedHMC(prior, **OPTIONS).solve(observation(SIDE))
    assert len(called) == 1


def test_a_map_that_diverged_is_no_fault_of_the_function():
    on_grid = ScoreFunction(lambda z, s: white_score(z, s).where(z.abs() < 1e6, torch.nan), white(0.01)).on(
        FourierGrid((8, 8), PIXEL)
    )
    modes = torch.full((1, 8, 5), 1e9, dtype=torch.complex64)
    assert not torch.isfinite(on_grid.residual(modes, 0.1)).all()


@each_case(
    ("options", "advice"),
    [
        ({}, r"maps \(1, 8, 8\) of torch.float32 and sigma, a float; images need channel=True, U-Nets multiple=8$"),
        ({"channel": True, "multiple": 4}, r"maps \(1, 1, 8, 8\) of torch.float32 and sigma, a tensor \(1,\)$"),
    ],
)
def test_exceptions_in_the_function_have_a_note_with_its_arguments(options, advice):
    def f(maps, sigma):
        raise RuntimeError("sizes of tensors")

    with pytest.raises(RuntimeError, match=r"^sizes of tensors") as found:
        ScoreFunction(f, white(0.01), **options).on(FourierGrid((8, 8), PIXEL))
    assert re.search("^f was called with " + advice, found.value.__notes__[-1])


def test_a_score_instead_of_a_denoised_map():
    prior = ScoreFunction(white_score, white(0.01), returns="denoised")
    with pytest.raises(ValueError, match="f returns a score, not a denoised map; give returns='score'"):
        prior.on(FourierGrid((8, 8), PIXEL))


def test_a_function_that_adds_noise_gives_a_warning():
    prior = ScoreFunction(lambda z, s: -white_score(z, s), white(0.01))
    with pytest.warns(AstropyUserWarning, match=r"f: as a score it does not reduce the noise .* sign and sigma of f"):
        prior.on(FourierGrid((8, 8), PIXEL))


def test_limits_of_the_function():
    grid = FourierGrid((8, 8), PIXEL)
    prior = ScoreFunction(white_score, white(0.01), max_sigma=0.2).on(grid)
    with pytest.raises(ValueError, match=r"sigma: the prior is valid up to a noise of 0.2, got 0.5"):
        prior.residual(torch.ones(1, 8, 5, dtype=torch.complex64), 0.5)
    with pytest.raises(
        ValueError, match="multiple: the maps need sides that are multiples of 16, but the periodic box"
    ):
        gaussian("score", "field", multiple=16).on(grid)


def test_zero_noise_needs_a_score():
    # known before the first of 136 steps
    for prior in (gaussian("denoised", "field"), small_priors.prior()):
        with pytest.raises(ValueError, match=r"schedule: it ends at zero noise, .* where a denoiser has no score"):
            AnnealedHMC(prior, schedule="tempered").prepare(observation(SIDE))
    assert AnnealedHMC(gaussian("score", "field"), schedule="tempered").prepare(observation(SIDE)).prior.noiseless


def test_pixels_and_plain_functions():
    with pytest.raises(ValueError, match=r"prior: needs pixels of 0.6 arcmin, the map has 0.4"):
        AnnealedHMC(gaussian("score", "field", pixel_scale=0.6 * u.arcmin), **OPTIONS).solve(observation(SIDE))
    assert gaussian("score", "field", pixel_scale=PIXEL).pixel_size == PIXEL
    with pytest.raises(
        TypeError, match=r"prior: needs an object .*; for a function .* use ScoreFunction\(f, spectrum\)"
    ):
        AnnealedHMC(exact_score)


def test_the_repr_has_the_content_and_no_address():
    text = repr(ScoreFunction(lambda z, s: z, SPECTRUM, domain="box", pixel_scale=0.4 * u.arcmin))
    assert "SHA-256" in text and " at 0x" not in text and "on the box" in text and "0.4 arcmin" in text
    assert "'benchmark'" in text
