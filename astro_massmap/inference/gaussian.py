"""
Exact posterior of a Gaussian random field, given masked shear with inhomogeneous noise.

The data are ``y = P kappa + n`` with noise covariance N, diagonal in pixels and infinite without
galaxies; the prior covariance S is diagonal in Fourier space. The posterior is Gaussian with

    precision  Lambda = S^-1 + P' N^-1 P,        mean  m = Lambda^-1 P' N^-1 y,

and a fluctuation about the mean solves ``Lambda d = S^-1/2 e0 + P' N^-1/2 e1`` with white e0, e1.
Both are solved on the Fourier modes of the padded box by conjugate gradients; with f the observed
fraction of the box, ``1 / (1/S + f P'P / <N>)`` is a good preconditioner (Wandelt et al. 2004).

A periodic box has no mean shear, but structure larger than the box shears the field almost uniformly. With a *uniform
shear* g in the data, of any size with equal probability, N^-1 becomes ``N^-1 - N^-1 U (U' N^-1 U)^-1 U' N^-1``, where
the two columns of U are 1 in one component: the weighted mean of both components is ignored.
"""

import copy
from operator import mul

import torch

from .conjugate_gradients import conjugate_gradients
from .grid import FourierGrid


class GaussianPosterior:
    """
    Mean, fluctuations and variance of the convergence under a Gaussian prior.

    Parameters
    ----------
    observation : `~astro_massmap.inference.Observation`
        Shear and noise.
    spectrum : callable or `torch.Tensor`
        Angular power spectrum of the convergence, ``spectrum(ell) -> C_ell`` on arrays; or the prior
        variance of the modes of the box.
    box_shape : tuple of int, optional
        Rows and columns of the periodic box; by default those of the field, which must fit into it (ValueError).
    tolerance, max_iterations : float, int
        Relative residual of the conjugate gradients, and the number of iterations beyond which `SolverError` is raised.
    uniform_shear : bool
        Marginalisation over a uniform shear of the field, with a flat prior.
    dtype, device
        Type and device of the tensors.

    Attributes
    ----------
    iterations, residual
        Largest number of iterations and largest residual of all solves so far.

    Examples
    --------
    The standard deviation is larger in a hole:

    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, Streams
    >>> noise_std = np.full((16, 16), 0.02)
    >>> noise_std[4:12, 4:12] = np.inf
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), noise_std, 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (32, 32))
    >>> modes, shifts = posterior.draw(Streams(0, range(8)))
    >>> std = posterior.variance(shifts.square().mean(dim=0)).sqrt()
    >>> bool(std[7:9, 7:9].mean() > 1.1 * std[:2].mean())
    True
    """

    def __init__(
        self,
        observation,
        spectrum,
        box_shape=None,
        *,
        tolerance=1e-5,
        max_iterations=500,
        uniform_shear=False,
        dtype=torch.float32,
        device="cpu",
    ):
        self.grid = FourierGrid(observation.shape, observation.pixel_size, box_shape, dtype=dtype, device=device)
        self.operator = observation.operator(self.grid)
        given = isinstance(spectrum, torch.Tensor)
        self.prior_variance = spectrum if given else self.grid.mode_variance(spectrum)
        self.weight = self.grid.real(observation.weight)
        self.shear = self.grid.real(observation.shear)
        self._inverse_prior = 1 / self.prior_variance
        self.on_box = self.operator.on(
            FourierGrid(self.grid.box_shape, self.grid.pixel_size, dtype=dtype, device=device)
        )
        self.tolerance, self.max_iterations, self._uniform = tolerance, max_iterations, uniform_shear
        self.iterations, self.residual = 0, 0.0

    def given(self, weight, prior_variance=None):
        """Return the posterior for other inverse noise variances ``(ny, nx)``, and optionally other prior variances."""
        other = copy.copy(self)
        other.weight = self.grid.real(weight)
        if prior_variance is not None:
            other.prior_variance, other._inverse_prior = prior_variance, 1 / prior_variance
        other.iterations, other.residual = 0, 0.0
        return other

    @property
    def reference(self):
        """Posterior variance of the modes for homogeneous noise with the mean weight; computed at each access."""
        ny, nx = self.grid.box_shape
        mean_weight = float(self.weight.sum(dtype=self.grid.sum_dtype) / (ny * nx))
        return self._stationary(lambda inverse, power: 1 / (inverse + power * mean_weight))

    def _stationary(self, function):
        """Evaluate a function of the inverse prior variance and of ``P1^2 + P2^2`` on the modes."""
        return self.grid.pointwise(
            lambda inverse, p1, p2: function(inverse, p1**2 + p2**2),
            self._inverse_prior,
            self.operator.p1,
            self.operator.p2,
        )

    def precision(self, modes):
        """Apply ``Lambda`` to modes ``(n, ny, nx // 2 + 1)``."""
        return self.grid.pointwise(
            lambda inverse, x, data: inverse * x + data, self._inverse_prior, modes, self.data_precision(modes)
        )

    def data_precision(self, modes):
        """Apply ``P' N^-1 P`` to modes."""
        return self.operator.adjoint(self.marginalised(self.weight * self.operator.forward(modes)))

    def marginalised(self, weighted):
        """Subtract from ``N^-1 shear``, ``(..., 2, ny, nx)``, the part of a uniform shear that is marginalised."""
        return weighted - self.weight * self.uniform_shear(weighted) if self._uniform else weighted

    def uniform_shear(self, weighted):
        """Compute the uniform shear that fits ``N^-1 shear`` best, ``(..., 2, 1, 1)``; zero if it is not free."""
        if not self._uniform:
            return weighted.new_zeros((*weighted.shape[:-2], 1, 1))
        total = weighted.sum(dim=(-2, -1), keepdim=True, dtype=self.grid.sum_dtype)
        return self.grid.real(total / self.weight.sum(dtype=self.grid.sum_dtype))

    def without_uniform_shear(self, modes, white):
        """Return the posterior for data from which a uniform shear, drawn given maps and data, is subtracted."""
        if not self._uniform:
            return self
        other = copy.copy(self)
        other.shear = self.shear - self._drawn_shear(self.shear - self.operator.forward(modes), white)
        return other

    def _drawn_shear(self, residual, white):
        """Draw the uniform shear given residuals ``(n, 2, ny, nx)``, from white noise ``(n, 2)``."""
        error = self.weight.sum(dtype=self.grid.sum_dtype).rsqrt()
        return self.uniform_shear(self.weight * residual) + white[..., None, None] * self.grid.real(error)

    def solve(self, right_hand_side, tolerance=None):
        """Apply ``Lambda^-1`` to modes ``(n, ny, nx // 2 + 1)``, with the tolerance of this object or another one."""
        reference = self.reference
        x, iterations, residual = conjugate_gradients(
            self.precision,
            right_hand_side,
            precondition=lambda modes: self.grid.pointwise(mul, reference, modes),
            inner=self.grid.inner,
            measure=self.grid.balanced,
            tolerance=self.tolerance if tolerance is None else tolerance,
            max_iterations=self.max_iterations,
        )
        self.iterations, self.residual = max(self.iterations, iterations), max(self.residual, residual)
        return x

    def mean_modes(self):
        """Compute the modes of the posterior mean, the Wiener filter of the data, ``(ny, nx // 2 + 1)``."""
        return self.solve(self.operator.adjoint(self.marginalised(self.weight * self.shear))[None])[0]

    def fluctuations(self, streams, tolerance=None):
        """Draw fluctuations of the posterior about its mean, modes ``(n, ny, nx // 2 + 1)``; see `draw`."""
        return self.solve(self.fluctuation_source(streams), tolerance)

    def fluctuation_source(self, streams):
        """Draw the right-hand sides ``Lambda d`` of fluctuations d, modes ``(n, ny, nx // 2 + 1)``."""
        grid = self.grid
        prior_noise = grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))
        noise = self.weight.sqrt() * streams.normal(2, *grid.field_shape, dtype=grid.dtype)
        data_noise = self.operator.adjoint(self.marginalised(noise))
        return grid.pointwise(
            lambda inverse, white, data: inverse.sqrt() * white + data, self._inverse_prior, prior_noise, data_noise
        )

    def draw(self, streams, tolerance=None):
        """
        Draw fluctuations of the posterior about its mean, modes ``(n, ny, nx // 2 + 1)``, and shifts for `variance`.

        The relative residual ``tolerance`` is by default that of this object; the shape of the shifts is
        ``(n, *field_shape)``.
        """
        modes = self.fluctuations(streams, tolerance)
        white = streams.normal(2, *self.grid.box_shape, dtype=self.grid.dtype)
        of_shear = streams.normal(2, dtype=self.grid.dtype) if self._uniform else None
        return modes, self._conditional_mean_shift(modes, white, of_shear)

    def variance(self, mean_square_shift):
        """
        Compute the posterior variance of the pixels from the mean square of the shifts of `draw`, both ``field_shape``.

        By the law of total variance: if every pixel of the box, also those without data, had the lowest noise tau of a
        pixel, the posterior would be stationary with a known variance. The draws estimate the variance of the *mean* of
        that problem, a small part of the total.
        """
        tau = self.best_noise
        conditional = self._stationary(lambda inverse, power: 1 / (inverse + power / tau))
        return self.grid.pixel_variance(conditional) + mean_square_shift

    @property
    def best_noise(self):
        """Lowest noise variance of a pixel, tau."""
        return float(1 / self.weight.max())

    def completed_data(self, modes, white, of_shear=None):
        """
        Draw completed data given a map and the data, ``(n, 2, *box_shape)``.

        Completed data have the lowest noise variance of a pixel, tau, in all pixels of the box; the data are completed
        data with more noise. Given the completed data, the map does not depend on the data.

        Parameters
        ----------
        modes : `torch.Tensor`
            Modes of the maps ``(n, ny, nx // 2 + 1)``.
        white : `torch.Tensor`
            White noise ``(n, 2, *box_shape)``.
        of_shear : `torch.Tensor`, optional
            White noise ``(n, 2)`` for a uniform shear that is free, of the whole box in the completed data.
        """
        tau, (rows, columns) = self.best_noise, self.grid.field_shape
        completed = self._completed(modes, white, tau, self.shear, of_shear)
        completed[..., :rows, :columns] += tau * self.weight * self.shear
        return completed

    def _conditional_mean_shift(self, modes, white, of_shear=None):
        """
        Return the fluctuation of E[kappa | completed data], with completed data drawn given ``kappa = m + d``.

        The completed data ``P kappa + sqrt(tau) w`` fill the box and share w with the noise n of the real
        data: given n, ``sqrt(tau) w`` has mean ``tau n / N`` and variance ``tau (1 - tau / N)``.
        """
        tau = self.best_noise
        gain = self._stationary(lambda inverse, power: 1 / (tau * inverse + power))
        completed = self._completed(modes, white, tau, torch.zeros_like(self.shear), of_shear)
        return self.grid.to_field(self.on_box.adjoint(completed), times=gain)

    def _completed(self, modes, white, tau, shear, of_shear):
        """Return completed data without the weighted data themselves; the data ``shear`` are for the uniform shear."""
        rows, columns = self.grid.field_shape
        unshared = torch.ones(self.grid.box_shape, dtype=self.grid.dtype, device=self.grid.device)
        unshared[:rows, :columns] -= tau * self.weight
        unshared.clamp_(min=0)
        completed = self.on_box.forward(modes)
        if self._uniform:
            completed += self._drawn_shear(shear - completed[..., :rows, :columns], of_shear)
        completed *= unshared
        completed += (tau * unshared).sqrt() * white
        return completed
