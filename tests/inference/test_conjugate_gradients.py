import pytest
import torch

from astro_massmap.inference import SolverError, conjugate_gradients


def _solve(matrix, b, **options):
    return conjugate_gradients(
        lambda x: x @ matrix,
        b,
        precondition=lambda x: x / matrix.diagonal(),
        **{"tolerance": 1e-10, "max_iterations": 200, "inner": lambda a, b: (a * b).sum(dim=-1, dtype=torch.float64)}
        | options,
    )


@pytest.fixture
def matrix():
    a = torch.randn(30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return a @ a.T + torch.diag(torch.logspace(0, 3, 30, dtype=torch.float64))


def test_a_batch_is_solved(matrix):
    b = torch.randn(4, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x, iterations, residual = _solve(matrix, b)
    assert torch.allclose(x, torch.linalg.solve(matrix, b.T).T, rtol=1e-7, atol=1e-12)
    assert residual <= 1e-10
    assert iterations <= 200


def test_the_returned_residual_is_the_true_one(matrix):
    b = torch.ones(1, 30)
    x, _, residual = _solve(matrix.float(), b, tolerance=1e-5)
    r = b - x @ matrix.float()
    true = ((r * r / matrix.diagonal()).sum() / (b * b / matrix.diagonal()).sum()).sqrt()
    assert abs(float(true) - residual) < 1e-7


def test_a_right_hand_side_of_zeros_is_solved_also_by_sums_in_single_precision(matrix):
    # the smallest number in double precision is 0 in single precision: 0 / 0
    b = torch.ones(2, 30, dtype=torch.float64)
    b[1] = 0
    x, _, _ = _solve(matrix, b, inner=lambda a, b: (a * b).sum(dim=-1).float(), tolerance=1e-3)
    assert torch.equal(x[1], b[1]) and bool((x[0] != 0).all())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["data", "operator"])
def test_values_that_are_not_finite_are_named(matrix, place, value):
    b = torch.ones(2, 30, dtype=torch.float64)
    if place == "data":
        b[1, 3] = value
    else:
        matrix[3, 4] = value
    with pytest.raises(SolverError, match="the data or the prior contain values that are not finite") as found:
        _solve(matrix, b)
    assert "max_iterations" not in str(found.value)


def test_too_few_iterations_are_an_error_with_the_residual(matrix):
    with pytest.raises(SolverError, match="after 3 iterations"):
        _solve(matrix, torch.ones(1, 30, dtype=torch.float64), max_iterations=3)
