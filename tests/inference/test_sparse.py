"""Sparse and Gaussian components compared with a generic solver of the same problem on dense matrices."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from astro_massmap.inference import ConvergenceObservation, GaussianPosterior, Observation, SparseModel, Streams
from astro_massmap.inference.starlet import spline_sum

from helpers.cases import each_case
from helpers.skies import dense_problem

FIELD, BOX, PIXEL, SCALES = (10, 11), (16, 15), 1.2e-4, 2
N = FIELD[0] * FIELD[1]


def spectrum(ell):
    return 1e-9 * (ell / 1000) ** -1.1


def dense(noise_std, kind=Observation):
    """Return the prior covariance of the box, the matrix to the data, their noise variance, and pixels with data."""
    prior, shear, noise, in_field, seen = dense_problem(FIELD, BOX, PIXEL, spectrum, noise_std)
    if kind is ConvergenceObservation:
        shear, noise = np.eye(len(prior))[seen], noise[: seen.sum()]
    return prior, shear, noise, in_field, seen


def noise_map():
    noise_std = np.random.default_rng(5).uniform(0.05, 0.12, FIELD)
    noise_std[3:6, 4:8] = np.inf
    return noise_std


def observed(kind):
    """Return an observation of two halos, and the data as a vector."""
    noise_std = noise_map()
    _, matrix, noise, in_field, seen = dense(noise_std, kind)
    y, x = np.mgrid[: FIELD[0], : FIELD[1]]
    kappa = np.zeros(len(in_field))
    kappa[in_field] = sum(0.5 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 4).ravel() for a, b in ((2, 2), (8, 7)))
    data = matrix @ kappa + np.sqrt(noise) * np.random.default_rng(6).normal(size=len(noise))
    maps = np.zeros((len(data) // seen.sum(), len(seen)))
    maps[:, seen] = data.reshape(len(maps), -1)
    maps = maps.reshape(-1, *BOX)[:, : FIELD[0], : FIELD[1]]
    return kind.from_arrays(maps[0] if kind is ConvergenceObservation else maps, noise_std, PIXEL), data


def model_of(observation, n_sigma=1.5, **options):
    posterior = GaussianPosterior(observation, spectrum, BOX, dtype=torch.float64, tolerance=1e-10)
    return SparseModel(posterior, SCALES, n_sigma, mocks=[Streams(0, range(8))], **options)


def dictionary():
    """Return the B-splines as columns of a matrix from coefficients to pixels of the field."""
    units = torch.eye(SCALES * N, dtype=torch.float64).reshape(-1, SCALES, *FIELD)
    return spline_sum(units).reshape(SCALES * N, N).numpy().T


@pytest.mark.parametrize(
    ("kind", "gaussian", "positive"),
    [
        (Observation, False, False),
        pytest.param(Observation, True, True, marks=pytest.mark.slow),
        pytest.param(ConvergenceObservation, False, True, marks=pytest.mark.slow),
    ],
)
def test_the_solution_is_that_of_a_generic_solver(kind, gaussian, positive):
    observation, data = observed(kind)
    model = model_of(observation, gaussian=gaussian, positive=positive)
    fit = model.fit(model.posterior.shear[None], tolerance=1e-6, max_iterations=3000)
    assert fit.gap[-1] <= 1e-6
    # the Gaussian component is noise of the sparse one: covariance N + P S P'
    prior, matrix, noise, in_field, _ = dense(noise_map(), kind)
    atoms = matrix[:, in_field] @ dictionary()
    covariance = np.diag(noise) + (matrix @ prior @ matrix.T if gaussian else 0)
    curvature, linear = atoms.T @ np.linalg.solve(covariance, atoms), atoms.T @ np.linalg.solve(covariance, data)
    levels, constant = model.levels.ravel().numpy(), data @ np.linalg.solve(covariance, data) / 2

    def objective(both):  # positive and negative parts
        a = both[: len(levels)] - (0 if positive else both[len(levels) :])
        gradient = curvature @ a - linear
        slopes = [levels + gradient] if positive else [levels + gradient, levels - gradient]
        value = constant + a @ (gradient - linear) / 2 + levels @ both.reshape(-1, len(levels)).sum(axis=0)
        return value, np.concatenate(slopes)

    size = len(levels) * (1 if positive else 2)
    best = minimize(
        objective,
        np.zeros(size),
        jac=True,
        bounds=[(0, None)] * size,
        method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-9},
    )
    assert 0 < np.count_nonzero(best.x > 1e-6) < size / 4
    assert float(fit.objective[-1]) == pytest.approx(best.fun, rel=2e-6)
    # a lower limit of the minimum, at every iteration
    for value, gap in zip(fit.objective, fit.gap, strict=True):
        assert float(value * (1 - gap)) <= best.fun * (1 + 1e-9) and float(value) >= best.fun * (1 - 1e-9)
    # the minimum is flat where splines overlap, but not in the data
    a = best.x[: len(levels)] - (0 if positive else best.x[len(levels) :])
    ours = atoms @ fit.coefficients[0].ravel().numpy()
    difference = ours - atoms @ a
    assert difference @ np.linalg.solve(covariance, difference) < 1e-4
    # optimality: products below the levels, and equal to them where coefficients are not zero
    c = fit.coefficients[0].ravel().numpy()
    products = (linear - curvature @ c) / levels
    assert products.max() < 1 + 1e-2 and (positive or products.min() > -1 - 1e-2)
    large = np.abs(c) > 0.1 * np.abs(c).max()
    assert np.allclose(products[large], np.sign(c[large]), atol=1e-2)


def test_the_step_is_safe():
    observation, _ = observed(Observation)
    model = model_of(observation, gaussian=False)
    _, matrix, noise, in_field, _ = dense(noise_map())
    atoms = matrix[:, in_field] @ dictionary()
    largest = np.linalg.eigvalsh(atoms.T @ (atoms / noise[:, None]))[-1]
    assert 1 <= model._norm * float(model.posterior.weight.max()) / largest < 1.1


def test_one_pixel_with_data():
    # One datum d with noise s: the spline with the smallest ratio of its level l to its value v there is used alone,
    # and leaves the residual s^2 l / v.
    noise_std = np.full(FIELD, np.inf)
    noise_std[5, 5] = 0.1
    kappa = np.zeros(FIELD)
    kappa[5, 5] = 0.9
    observation = ConvergenceObservation.from_arrays(kappa, noise_std, PIXEL)
    model = model_of(observation, gaussian=False)
    fit = model.fit(model.posterior.shear[None], tolerance=1e-7, max_iterations=1000)
    ratio = 1 / (dictionary()[5 * FIELD[1] + 5] / model.levels.ravel().numpy()).max()
    assert float(model.total_map(fit)[0, 5, 5]) == pytest.approx(0.9 - 0.01 * ratio, abs=1e-4)


@each_case("gaussian", [True, False])
def test_thresholds_are_multiples_of_the_scatter_of_the_products(gaussian):
    # the factor of 8 mocks of 98 pixels has an error of about 5 %
    observation, _ = observed(Observation)
    model = model_of(observation, n_sigma=2.0, gaussian=gaussian)
    prior, matrix, noise, in_field, seen = dense(noise_map())
    covariance = np.diag(noise) + (matrix @ prior @ matrix.T if gaussian else 0)
    atoms = (matrix[:, in_field] @ dictionary()).reshape(len(noise), SCALES, N)[:, 0]  # not cut at the edge of the box
    std = np.sqrt(np.diag(atoms.T @ np.linalg.solve(covariance, atoms))).reshape(FIELD)
    level = model.levels[0].numpy() / 2
    inner = np.zeros(FIELD, dtype=bool)
    inner[2:-2, 2:-2] = True
    inner &= (level > level.min()) & seen.reshape(BOX)[: FIELD[0], : FIELD[1]]
    assert inner.sum() > 10
    if gaussian:
        assert np.sqrt(np.mean((std / level)[inner] ** 2)) == pytest.approx(1, abs=0.15)
    else:
        assert np.allclose(level[inner], std[inner], rtol=1e-6)


def test_levels_are_not_lower_in_gaps():
    observation, _ = observed(Observation)
    model = model_of(observation, gaussian=False)
    hole = ~observation.observed
    median = model.levels[:, observation.observed].median(dim=1).values
    assert (model.levels[:, hole] >= 0.999 * median[:, None]).all()


def test_a_high_threshold_leaves_the_wiener_filter():
    observation, _ = observed(Observation)
    model = model_of(observation, n_sigma=99.0)
    fit = model.fit(model.posterior.shear[None], tolerance=1e-5, max_iterations=500)
    assert fit.iterations < 500 and not fit.coefficients.any()
    modes = model.wiener(model.posterior.shear[None], fit.coefficients)[0]
    assert torch.allclose(modes, model.posterior.mean_modes(), atol=1e-9)


def test_data_sets_are_solved_independently():
    observation, _ = observed(Observation)
    model = model_of(observation)
    shear = model.posterior.shear + 0.3 * model.noise(Streams(1, range(3)))
    options = {"tolerance": 1e-3, "max_iterations": 200}
    together = model.total_map(model.fit(shear, **options))
    for one, alone in zip(together, shear, strict=True):
        assert torch.allclose(model.total_map(model.fit(alone[None], **options))[0], one, atol=0.03)
