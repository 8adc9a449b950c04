"""Method around the exact posterior, whose mathematics is tested in inference."""

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import PowerSpectrum, Wiener
from astro_massmap.inference import (
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    Observation,
    SolverError,
    Streams,
    posterior_shape,
)

from helpers.cases import each_case

SHAPE, PIXEL = (48, 40), 0.4 / 60 * np.pi / 180


def sky(seed, box=(128, 128), noise=0.1):
    """Return a Gaussian truth cut from a larger periodic sky, and its observation with a hole."""
    rng = np.random.default_rng(seed)
    grid = FourierGrid(box, PIXEL, dtype=torch.float64)
    white = torch.from_numpy(rng.normal(size=box))
    modes = grid.to_modes(white) * grid.mode_variance(PowerSpectrum.default()).sqrt()
    field = np.s_[..., : SHAPE[0], : SHAPE[1]]
    kappa, shear = grid.to_field(modes)[field].numpy(), LensingOperator(grid).forward(modes)[field].numpy()
    noise_std = np.full(SHAPE, noise)
    noise_std[15:25, 10:22] = np.inf
    shear = shear + rng.normal(scale=noise, size=shear.shape)
    return kappa, Observation.from_arrays(shear, noise_std, PIXEL)


@pytest.mark.slow
def test_the_posterior_is_calibrated():
    # Truths drawn from the prior: (truth - mean) / std has unit variance in the field and in the hole, and
    # its large-scale average has the standard deviation of the samples. The scatter of these figures over sets of 24
    # skies, measured with other seeds, is 0.02, 0.10 and 0.15: a false alarm at 4 sigma has a chance of 1e-4.
    z, block = [], []
    for seed in range(24):
        truth, observation = sky(seed)
        estimate = Wiener(n_samples=32, seed=seed).solve(observation)
        z.append((truth - estimate.mean) / estimate.std)
        block.append((truth - estimate.mean).mean() / estimate.samples.mean(axis=(1, 2)).std(ddof=1))
    hole = ~observation.observed.numpy()
    square = np.square(z)
    assert abs(square[:, ~hole].mean() - 1) < 0.08
    assert abs(square[:, hole].mean() - 1) < 0.4
    assert abs(np.sqrt(np.mean(np.square(block))) - 1) < 0.6


@pytest.mark.slow
def test_samples_scatter_by_the_standard_deviation():
    _, observation = sky(0)
    estimate = Wiener(n_samples=200).solve(observation)
    ratio = estimate.samples.std(axis=0, ddof=1) / estimate.std
    # 5 % of noise per pixel, strongly correlated: the mean of the ratio is correct to 1 % (false alarm 1e-4)
    assert abs(ratio.mean() - 1) < 0.02
    assert abs(estimate.samples.mean() - estimate.mean.mean()) < 5 * estimate.samples.mean(axis=(1, 2)).std() / 200**0.5


@pytest.mark.slow
def test_without_samples_there_is_still_a_standard_deviation():
    _, observation = sky(1)
    point, many = (Wiener(n_samples=n).solve(observation) for n in (0, 256))
    assert point.samples is None
    assert np.allclose(point.mean, many.mean)
    error = point.std / many.std - 1
    assert np.sqrt(np.mean(error**2)) < 0.08
    assert point.diagnostics["uncertainty_draws"] == 16


def test_samples_do_not_depend_on_their_number():
    _, observation = sky(2)
    few, many = (Wiener(n_samples=n, seed=5).solve(observation).samples for n in (2, 6))
    assert np.array_equal(few, many[:2])
    assert not np.allclose(few, Wiener(n_samples=2, seed=6).solve(observation).samples, atol=1e-3)


def test_double_precision():
    _, observation = sky(3)
    single, double = (Wiener(n_samples=1, dtype=d, tolerance=t) for d, t in (("float32", 1e-5), ("float64", 1e-10)))
    single, double = single.solve(observation), double.solve(observation)
    assert double.mean.dtype == np.float64 and single.mean.dtype == np.float32
    assert np.abs((single.mean - double.mean) / double.std).max() < 1e-3
    assert double.diagnostics["residual"] < 1e-10


def test_little_padding_gives_a_warning():
    with pytest.warns(AstropyUserWarning, match="padding"):
        Wiener(padding=1.2)


@each_case(
    ("options", "error", "message"),
    [
        ({"n_samples": -1}, ValueError, "n_samples"),
        ({"n_samples": 2.5}, TypeError, "n_samples"),
        ({"seed": -1}, ValueError, "seed"),
        ({"padding": 0.5}, ValueError, "padding"),
        ({"padding": "a lot"}, ValueError, "padding"),
        ({"tolerance": 0}, ValueError, "tolerance"),
        ({"max_iterations": 0}, ValueError, "max_iterations"),
        ({"dtype": "float16"}, ValueError, "dtype"),
        ({"device": "cuda:99"}, ValueError, "device"),
        ({"spectrum": "flat"}, TypeError, "spectrum"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        Wiener(**options)


def test_a_method_is_frozen():
    with pytest.raises(AttributeError):
        Wiener().n_samples = 3


def test_a_solve_that_does_not_converge_is_an_error():
    _, observation = sky(4)
    with pytest.raises(SolverError, match="max_iterations"):
        Wiener(max_iterations=2).solve(observation)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 4), (1, 64), (3, 20)])
def test_small_fields_and_strips_have_the_standard_deviation_of_a_large_box(shape):
    # ratio to a large box, in a box of twice the side: 0.79 for the first shape, 1.58 for the second
    data = Observation.from_arrays(np.zeros((2, *shape)), np.full(shape, 0.1), PIXEL)
    std = []
    for box in (posterior_shape(shape, 2.0), (256, 256)):
        posterior = GaussianPosterior(data, PowerSpectrum.default(), box)
        shifts = posterior.draw(Streams(0, range(60)))[1].square().mean(dim=0)
        std.append(posterior.variance(shifts).sqrt())
    assert abs(float(std[0].mean() / std[1].mean()) - 1) < 0.06


def test_the_mean_alone_needs_one_system(monkeypatch):
    data, solves = sky(0)[1], []
    right = GaussianPosterior.solve
    monkeypatch.setattr(GaussianPosterior, "solve", lambda *a: solves.append(1) or right(*a))
    alone = Wiener(n_samples=0, uncertainty=False).solve(data)
    assert len(solves) == 1 and alone.std is None and alone.samples is None
    assert np.array_equal(alone.mean, Wiener(n_samples=0).solve(data).mean)
    with pytest.raises(ValueError, match="uncertainty: False needs n_samples=0, got 64"):
        Wiener(uncertainty=False)
    with pytest.raises(TypeError, match="uncertainty"):
        Wiener(n_samples=0, uncertainty=0)
