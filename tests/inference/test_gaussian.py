"""Exact Gaussian posterior compared with dense linear algebra in data space."""

import numpy as np
import pytest
import torch

from astro_massmap.inference import (
    ConvergenceObservation,
    GaussianPosterior,
    Observation,
    SolverError,
    Streams,
)

from helpers.cases import each_case
from helpers.skies import dense_problem

FIELD, BOX, PIXEL = (10, 11), (16, 15), 1.2e-4


def spectrum(ell):
    return 1e-9 * (ell / 1000) ** -1.1


@pytest.fixture(scope="module", params=["shear", "convergence", "uniform shear"])
def problem(request):
    """Return an observation with a hole and inhomogeneous noise, its dense posterior, and if uniform shear is free."""
    uniform, of_convergence = request.param == "uniform shear", request.param == "convergence"
    rng = np.random.default_rng(5)
    noise_std = rng.uniform(0.05, 0.12, FIELD)
    noise_std[3:6, 4:8] = np.inf
    noise_std[0] = np.inf
    prior, shear, noise, in_field, seen = dense_problem(FIELD, BOX, PIXEL, spectrum, noise_std)
    if of_convergence:  # second component without data
        n = len(prior)
        shear = np.concatenate([np.eye(n)[seen], np.zeros((seen.sum(), n))])
    kappa = np.linalg.cholesky(prior) @ rng.normal(size=len(prior))
    y = shear @ kappa + np.sqrt(noise) * rng.normal(size=len(noise))
    noise = np.diag(noise)
    if uniform:  # with a prior much wider than the noise and the shear
        of_components = np.kron(np.eye(2), np.ones((len(y) // 2, 1)))
        noise, y = noise + 200**2 * of_components @ of_components.T, y + of_components @ [0.1, -0.06]
    gain = prior @ shear.T @ np.linalg.inv(shear @ prior @ shear.T + noise)
    data = np.zeros((2, len(prior)))
    data[:, seen] = y.reshape(2, -1)
    data = data.reshape(2, *BOX)[:, : FIELD[0], : FIELD[1]]
    covariance = (prior - gain @ shear @ prior)[np.ix_(in_field, in_field)]
    of_data = ConvergenceObservation.from_arrays if of_convergence else Observation.from_arrays
    observation = of_data(data[0] if of_convergence else data, noise_std, PIXEL)
    return observation, (gain @ y)[in_field].reshape(FIELD), covariance, uniform


def posterior(problem, **options):
    options = {"dtype": torch.float64, "tolerance": 1e-11, "uniform_shear": problem[3]} | options
    return GaussianPosterior(problem[0], spectrum, BOX, **options)


def test_mean_is_the_dense_solution(problem):
    p = posterior(problem)
    mean = p.grid.to_field(p.mean_modes()).numpy()
    assert np.abs(mean - problem[1]).max() < 1e-8 * np.abs(problem[1]).max()
    assert 0 < p.iterations < 60
    assert p.residual < 1e-11


def test_single_precision_reaches_its_tolerance(problem):
    p = posterior(problem, dtype=torch.float32, tolerance=1e-5)
    mean = p.grid.to_field(p.mean_modes()).numpy()
    std = np.sqrt(np.diag(problem[2])).reshape(FIELD)
    assert np.abs((mean - problem[1]) / std).max() < 1e-3


@pytest.fixture(scope="module")
def draws(problem):
    p = posterior(problem, tolerance=1e-8)
    modes, shifts = p.draw(Streams(7, range(512)))
    return p, p.grid.to_field(modes).numpy().reshape(512, -1), shifts


def test_draws_have_the_dense_variance_everywhere(problem, draws):
    # 110 chi-square variables of 512 degrees of freedom, normal to good accuracy: a false alarm at 5 sigma
    # has a chance of about 1e-4.
    ratio = (draws[1] ** 2).mean(axis=0) / np.diag(problem[2])
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / 512)


def test_draws_have_the_dense_covariance_in_every_direction(problem, draws):
    # Along the eigenvectors, from the largest scales to the smallest, and in total (false alarm 1e-4 and 1e-5).
    values, vectors = np.linalg.eigh(problem[2])
    projected = (draws[1] @ vectors) ** 2 / values
    assert np.abs(projected.mean(axis=0) - 1).max() < 5 * np.sqrt(2 / 512)
    assert abs(projected.mean() - 1) < 4.5 * np.sqrt(2 / projected.size)


def test_variance_needs_few_draws(problem, draws):
    # 32 draws give a variance to 25 %; with the part known in closed form, to 11 %
    p, _, shifts = draws
    truth = np.diag(problem[2]).reshape(FIELD)
    error = np.stack([p.variance(s.square().mean(dim=0)).numpy() for s in shifts.reshape(16, 32, *FIELD)]) / truth - 1
    assert np.sqrt((error**2).mean()) < 0.14
    # no bias: pixel by pixel, with 512 draws of a part that is less than 0.6 of the variance (false alarm 1e-4)
    assert np.abs(error.mean(axis=0)).max() < 5 * 0.6 * np.sqrt(2 / 512)
    # and over the field: 512 draws of 110 correlated pixels, 1.6 % measured with other seeds (false alarm 1e-4)
    assert abs(error.mean()) < 4 * 0.016


def test_a_draw_depends_on_its_number_alone(problem):
    p = posterior(problem, tolerance=1e-9)
    together, _ = p.draw(Streams(3, [0, 1, 2]))
    alone, _ = p.draw(Streams(3, [2]))
    assert torch.allclose(together[2], alone[0], atol=1e-9)
    assert not torch.allclose(together[1], alone[0], atol=1e-2)


def test_with_negligible_noise_the_mean_is_the_inversion():
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.normal(scale=0.02, size=(9, 9)))
    truth -= truth.mean()
    empty = Observation.from_arrays(np.zeros((2, 9, 9)), np.full((9, 9), 1e-4), PIXEL)
    p = GaussianPosterior(empty, spectrum, dtype=torch.float64, tolerance=1e-10)
    shear = p.operator.forward(p.grid.to_modes(truth))
    p = GaussianPosterior(Observation(shear, empty.noise_std, PIXEL), spectrum, dtype=torch.float64)
    assert torch.allclose(p.grid.to_field(p.mean_modes()), truth, atol=1e-4)


@each_case("options", [{"max_iterations": 2}, {"dtype": torch.float32, "tolerance": 1e-12}])
def test_a_solve_that_does_not_converge_is_an_error(problem, options):
    with pytest.raises(SolverError, match="tolerance"):
        posterior(problem, **options).mean_modes()


def test_a_right_hand_side_of_zero_is_solved_by_zero(problem):
    p = posterior(problem)
    modes = torch.zeros(1, 16, 8, dtype=torch.complex128)
    assert not p.solve(modes).any()


def test_non_finite_values_are_an_error(problem):
    observation = problem[0]
    broken = Observation(observation.shear * float("nan"), observation.noise_std, PIXEL)
    with pytest.raises(SolverError, match="the residual is not finite"):
        GaussianPosterior(broken, spectrum).mean_modes()
