"""Preconditioned conjugate gradients for a batch of symmetric positive systems."""

from typing import NamedTuple

import torch


class SolverError(ValueError):
    """
    Error of a linear solver that does not reach its tolerance.

    Examples
    --------
    >>> from astro_massmap.inference import SolverError
    >>> issubclass(SolverError, ValueError)
    True
    """


class Solution(NamedTuple):
    """Result of `conjugate_gradients`: the solution, the number of iterations, and the relative residual."""

    x: torch.Tensor
    iterations: int
    residual: float


def conjugate_gradients(apply, b, *, precondition, inner, tolerance, max_iterations, measure=None):
    """
    Solve ``apply(x) = b`` for a batch of right-hand sides, and return the solution x, iterations and residual.

    The relative residual is ``sqrt(r M r / b M b)`` with the preconditioner M. The recurrence that updates it drifts in
    single precision, so that the true residual is computed before a solution is accepted, and the iteration starts
    again from there while it is too large.

    Parameters
    ----------
    apply, precondition : callable
        Operator and an approximation of its inverse, both on a batch ``(n, ...)``.
    b : `torch.Tensor`
        Right-hand sides ``(n, ...)``.
    inner, measure : callable
        Inner product ``(n,)`` of two batches, in double precision if the device has it; for the relative residual,
        ``measure`` if given.
    tolerance, max_iterations : float, int
        Relative residual to reach in every system, and the largest number of applications of the operator.

    Raises
    ------
    SolverError
        If ``max_iterations`` do not suffice, or a value is not finite.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import conjugate_gradients
    >>> matrix = torch.tensor([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]], dtype=torch.float64)
    >>> x, iterations, residual = conjugate_gradients(
    ...     lambda x: x @ matrix, torch.ones(1, 3, dtype=torch.float64), precondition=lambda r: r / matrix.diag(),
    ...     inner=lambda a, b: (a * b).sum(dim=1), tolerance=1e-10, max_iterations=20,
    ... )
    >>> torch.allclose(x @ matrix, torch.ones(3, dtype=torch.float64)), residual < 1e-10
    (True, True)
    """
    measure = inner if measure is None else measure
    norm = measure(b, precondition(b))
    norm, tiny = torch.where(norm > 0, norm, torch.ones_like(norm)), torch.finfo(norm.dtype).tiny
    x, iterations = torch.zeros_like(b), 0
    while True:
        r = b - apply(x) if iterations else b.clone()
        z = precondition(r)
        residual = float((measure(r, z) / norm).max().clamp(min=0).sqrt())
        if residual <= tolerance:
            return Solution(x, iterations, residual)
        if not residual < float("inf"):
            raise SolverError(
                f"conjugate gradients: the residual is not finite after {iterations} iterations: the data or the prior "
                f"contain values that are not finite, or overflow in {str(b.dtype).removeprefix('torch.')}"
            )
        if iterations >= max_iterations:
            raise SolverError(
                f"conjugate gradients reached a relative residual of {residual:.2g} after {iterations} "
                f"iterations, the tolerance is {tolerance:.2g}: raise max_iterations or the tolerance, "
                "or use dtype='float64'"
            )
        p, rz = z.clone(), inner(r, z)
        while iterations < max_iterations:
            iterations += 1
            q = apply(p)
            alpha = _per_system(rz / inner(p, q).clamp(min=tiny), b)
            # in place, and freed early: vectors of large boxes take much memory
            x += alpha * p
            r -= alpha * q
            q = z = None
            z = precondition(r)
            rz, previous = inner(r, z), rz
            if not bool((measure(r, z) > norm * tolerance**2).any()):
                break
            p *= _per_system(rz / previous.clamp(min=tiny), b)
            p += z
            z = None
        r = z = p = None


def _per_system(values, like):
    return values.to(like.real.dtype).reshape(-1, *[1] * (like.ndim - 1))
