"""
Convergence as a sparse sum of B-splines, with or without a Gaussian random field.

The map is ``kappa = g + sum_j H_1 ... H_j a_j``, with the B-splines of `starlet` and coefficients ``a_j`` in the pixels
of the field. With the noise covariance N and the covariance S of the Gaussian field g, the solution minimises

    ``|N^-1/2 (y - P kappa)|^2 / 2 + g' S^-1 g / 2 + sum_j sum_x lambda_j(x) |a_j(x)|``,

a convex problem: the Wiener filter and the sparse coefficients determine each other (Starck et al. 2021, A&A 649, A99).
A coefficient is zero while the inner product of its B-spline and ``P' N^-1 (y - P kappa)`` is below lambda, which is k
times the standard deviation of this product for data without a sparse component. It comes from the noise map in closed
form; the Gaussian field changes it by a factor for each scale, measured on mock data.

Accelerated proximal gradients (FISTA, Beck & Teboulle 2009) with restarts change both components together. The metric
is ``S^-1 + w`` for the modes of g and ``w`` for coefficients, with the largest weight w of a pixel: B-splines of sum 1
need no further scaling. Any residual gives a lower limit of the minimum, the dual objective, and so a duality gap.
"""

from typing import NamedTuple

import torch

from .residuals import filtered_noise_variance
from .starlet import spline_beams, spline_products, spline_sum

_NORM_ITERATIONS, _MARGIN = 20, 1.05  # of the power method, and factor for its error
_CHECK = 10  # number of iterations between two duality gaps
_COARSE = 1e-2  # relative residual of the linear systems of mock data and of the start


class SparseFit(NamedTuple):
    """
    Result of `SparseModel.fit` for n data sets.

    ``coefficients`` of the B-splines ``(n, n_scales, ny, nx)``; ``modes`` of the Gaussian component; ``objective`` and
    ``gap``, duality gap divided by the objective, every ten iterations, each ``(n,)``; ``iterations``.
    """

    coefficients: torch.Tensor
    modes: torch.Tensor
    objective: list
    gap: list
    iterations: int


class SparseModel:
    """
    Sparse component of the convergence, and optionally a Gaussian one.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        Data, noise, and prior of the Gaussian component.
    n_scales, n_sigma : int, float
        Number of B-splines, with standard deviations of about 1, 2.2, 4.6, ... pixels, and threshold of their
        coefficients in standard deviations.
    gaussian, positive : bool
        With a Gaussian component; coefficients that are not negative.
    mocks : list of `~astro_massmap.inference.Streams`, optional
        Random numbers of the mock data for the thresholds, needed with a Gaussian component; those of one element are
        in memory at a time.

    Attributes
    ----------
    levels : `torch.Tensor`
        Thresholds lambda ``(n_scales, ny, nx)``. Where there are few data or none they are those of the median pixel
        with data: a lower threshold would favour mass in gaps, where nothing constrains it.
    noise_ratio : `torch.Tensor`
        Standard deviation of the products for the residuals of the Gaussian component, divided by that of noise alone,
        ``(n_scales,)``.

    Raises
    ------
    ValueError
        If one pixel alone has shear.

    Examples
    --------
    A halo of 10 standard deviations is found, and nothing else:

    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import ConvergenceObservation, GaussianPosterior, SparseModel
    >>> kappa = np.zeros((32, 32))
    >>> kappa[16, 16] = 4.0
    >>> observation = ConvergenceObservation.from_arrays(kappa, np.full((32, 32), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (64, 64))
    >>> model = SparseModel(posterior, n_scales=2, n_sigma=4.0, gaussian=False)
    >>> fit = model.fit(posterior.shear[None], tolerance=1e-4, max_iterations=200)
    >>> int(model.sparse_map(fit).argmax()) == 16 * 32 + 16, bool(fit.gap[-1] < 1e-4)
    (True, True)
    """

    def __init__(self, posterior, n_scales, n_sigma, *, gaussian=True, positive=True, mocks=None):
        self.posterior, self.n_scales, self.gaussian, self.positive = posterior, n_scales, gaussian, positive
        grid, seen = posterior.grid, posterior.weight > 0
        std = torch.stack([filtered_noise_variance(posterior, b).sqrt() for b in spline_beams(grid, n_scales)])
        typical = std[:, seen].median(dim=1).values
        if not (typical > 0).all():
            raise ValueError("noise_std: needs several pixels with data, the shear of one does not measure kappa there")
        std = std.clamp(min=typical[:, None, None])
        self.noise_ratio = torch.ones(n_scales, dtype=grid.dtype, device=grid.device)
        if gaussian:
            self.noise_ratio = self._ratio(std, seen, mocks)
        self.levels = n_sigma * self.noise_ratio[:, None, None] * std
        self._weight = float(posterior.weight.max())
        self._metric = posterior.grid.pointwise(lambda inverse: inverse + self._weight, posterior._inverse_prior)
        self._norm = _MARGIN * self._largest_eigenvalue()

    def _ratio(self, std, seen, mocks):
        """Return the ratio, by scale, of the standard deviation of products for mock residuals and for noise."""
        posterior, grid, square = self.posterior, self.posterior.grid, []
        for streams in mocks:
            sky = posterior.prior_variance.sqrt() * grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))
            shear = posterior.operator.forward(sky) + self.noise(streams)
            wiener = posterior.solve(posterior.operator.adjoint(posterior.weight * shear), _COARSE)
            products = self._products(wiener * posterior._inverse_prior) / std  # P' N^-1 of residuals is S^-1 g
            square.append(products[..., seen].square().mean(dim=2))
        return torch.cat(square).mean(dim=0).sqrt()

    def noise(self, streams):
        """Draw the noise of the data, ``(n, 2, ny, nx)``; zero without data."""
        grid, weight = self.posterior.grid, self.posterior.weight
        std = torch.where(weight > 0, weight, torch.inf).rsqrt()
        return std * streams.normal(2, *grid.field_shape, dtype=grid.dtype)

    # ---- maps and their adjoints

    def _sum(self, coefficients):
        """Return the modes of the sparse component."""
        return self.posterior.grid.to_modes(spline_sum(coefficients))

    def _products(self, modes):
        return spline_products(self.posterior.grid.to_field(modes), self.n_scales)

    def sparse_map(self, fit):
        """Return the sparse component ``(n, ny, nx)``."""
        return spline_sum(fit.coefficients)

    def total_map(self, fit):
        """Return the sum of both components ``(n, ny, nx)``."""
        return self.sparse_map(fit) + self.posterior.grid.to_field(fit.modes)

    def wiener(self, shear, coefficients=None, tolerance=None):
        """Return the modes of the Wiener filter of data ``(n, 2, ny, nx)``, after subtracting the sparse component."""
        posterior = self.posterior
        if coefficients is not None:
            shear = shear - posterior.operator.forward(self._sum(coefficients))
        source = posterior.operator.adjoint(posterior.weight * shear)
        return posterior.solve(source, tolerance) if self.gaussian else torch.zeros_like(source)

    def _largest_eigenvalue(self):
        """Return the largest eigenvalue of the second derivatives, in units of the metric, by the power method."""
        grid, value = self.posterior.grid, 1.0
        generator = torch.Generator("cpu").manual_seed(0)
        a = grid.real(torch.rand((1, *self.levels.shape), generator=generator, dtype=torch.float64, device="cpu"))
        m = grid.to_modes(spline_sum(a)) * self.gaussian
        for _ in range(_NORM_ITERATIONS):
            curvature = self.posterior.data_precision(self._sum(a) + m)
            a = self._products(curvature) / self._weight
            if self.gaussian:
                m = (curvature + self.posterior._inverse_prior * m) / self._metric
            square = self._weight * (a.square().sum(dtype=grid.sum_dtype)) + grid.inner(m, self._metric * m).sum()
            length = float(square.sqrt())
            a, m, value = a / length, m / length, length
        return value

    # ---- solution

    def fit(self, shear, *, tolerance, max_iterations):
        """
        Solve for data ``(n, 2, ny, nx)``, and return a ``SparseFit``.

        It stops when the duality gap of every data set is at most ``tolerance`` times its objective. The coefficients
        start from 0, and the Gaussian component from the Wiener filter.
        """
        posterior, grid = self.posterior, self.posterior.grid
        data = posterior.operator.adjoint(posterior.weight * shear)
        a = torch.zeros((len(shear), *self.levels.shape), dtype=grid.dtype, device=grid.device)
        m = self.wiener(shear, None, _COARSE)
        ahead_a, ahead_m, t = a, m, torch.ones(len(shear), dtype=grid.dtype, device=grid.device)
        step, objective, gap = 1 / self._norm, [], []
        for iteration in range(max_iterations + 1):
            if iteration % _CHECK == 0 or iteration == max_iterations:
                values = self._objective_and_gap(shear, a, m)
                objective.append(values[0])
                gap.append(values[1])
                if bool((gap[-1] <= tolerance).all()) or iteration == max_iterations:
                    return SparseFit(a, m, objective, gap, iteration)
            residual = data - posterior.data_precision(self._sum(ahead_a) + ahead_m)
            new_a = self._shrunk(ahead_a + step / self._weight * self._products(residual), step / self._weight)
            new_m = ahead_m
            if self.gaussian:
                new_m = ahead_m + step * (residual - posterior._inverse_prior * ahead_m) / self._metric
            t = torch.where(self._turns(ahead_a - new_a, new_a - a, ahead_m - new_m, new_m - m) > 0, 1.0, t)
            following = (1 + (1 + 4 * t * t).sqrt()) / 2
            inertia = ((t - 1) / following).reshape(-1, 1, 1)
            ahead_a = new_a + inertia.unsqueeze(-1) * (new_a - a)
            ahead_m = new_m + inertia * (new_m - m)
            a, m, t = new_a, new_m, following

    def _shrunk(self, values, step):
        if self.positive:
            return (values - step * self.levels).clamp(min=0)
        return values - torch.minimum(torch.maximum(values, -step * self.levels), step * self.levels)

    def _turns(self, gradient_a, change_a, gradient_m, change_m):
        """Return the product ``(n,)`` of gradient and change, positive if the objective increases (O'Donoghue 2015)."""
        product = self._weight * (gradient_a * change_a).sum(dim=(1, 2, 3))
        if self.gaussian:
            product = product + self.posterior.grid.inner(self._metric * gradient_m, change_m)
        return product

    def _objective_and_gap(self, shear, a, m):
        """
        Return the objective ``(n,)``, and the duality gap divided by it.

        For any ``u`` with ``products(P' u) <= lambda``, the minimum is at least
        ``u' y - u' N u / 2 - u' P S P' u / 2``; u is the weighted residual times the best factor.
        """
        posterior, grid = self.posterior, self.posterior.grid
        residual = shear - posterior.operator.forward(self._sum(a) + m)
        u = posterior.weight * residual
        modes = posterior.operator.adjoint(u)
        products = self._products(modes)
        excess = ((products if self.positive else products.abs()) / self.levels).amax(dim=(1, 2, 3))
        chi2, linear = (_total(u * other, grid) for other in (residual, shear))
        objective = chi2 / 2 + _total(self.levels * a.abs(), grid)
        quadratic = chi2
        if self.gaussian:
            objective = objective + grid.inner(m, posterior._inverse_prior * m) / 2
            quadratic = chi2 + grid.inner(modes, posterior.prior_variance * modes)
        tiny = torch.finfo(grid.dtype).tiny
        factor = torch.minimum(linear / quadratic.clamp(min=tiny), 1 / excess.clamp(min=tiny).to(linear.dtype))
        dual = factor * linear - factor**2 * quadratic / 2
        return objective, (objective - dual) / objective.clamp(min=tiny)


def _total(tensor, grid):
    return tensor.sum(dim=(1, 2, 3), dtype=grid.sum_dtype)
