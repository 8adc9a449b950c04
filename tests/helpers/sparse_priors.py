"""
Sparse priors with exact denoisers, and their exact posteriors by a collapsed Gibbs sampler or by enumeration.

The convergence is ``B c`` with an orthonormal basis B, for example the pixels themselves or Haar wavelets, and
independent coefficients c, each a mixture of centred normal distributions. White noise of the convergence is white
noise of the coefficients, so that the mean given a noisy map is known in closed form. Given the component of each
coefficient, the posterior of linear data is Gaussian; only the components need sampling.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr
from scipy.stats import chi2, expon

from astro_massmap import PowerSpectrum, ScoreFunction
from astro_massmap.inference import FourierGrid


@dataclass(frozen=True)
class SparsePrior:
    """
    Independent coefficients of an orthonormal basis, each a mixture of centred normal distributions.

    Parameters
    ----------
    weights, variances : ndarray
        Probabilities and variances of the components of each coefficient, ``(n, k)``.
    basis : ndarray
        Maps of the coefficients as columns, ``(ny * nx, n)``.
    shape, pixel_size
        Rows and columns of the periodic field, and side of a pixel in radians.
    """

    weights: np.ndarray
    variances: np.ndarray
    basis: np.ndarray
    shape: tuple
    pixel_size: float

    def draw(self, rng, n):
        """Draw maps ``(n, ny, nx)``."""
        edges = np.cumsum(self.weights, axis=1)
        component = (rng.random((n, len(edges), 1)) > edges[:, :-1]).sum(axis=-1)
        std = np.sqrt(self.variances[np.arange(len(edges)), component])
        return (rng.normal(size=std.shape) * std @ self.basis.T).reshape(n, *self.shape)

    def posterior_weights(self, c, sigma=0.0):
        """Return the probabilities ``(..., n, k)`` of the components of coefficients ``(..., n)`` with white noise."""
        total = self.variances + sigma**2
        log = np.log(self.weights) - np.log(total) / 2 - c[..., None] ** 2 / (2 * total)
        log -= log.max(axis=-1, keepdims=True)
        weights = np.exp(log)
        return weights / weights.sum(axis=-1, keepdims=True)

    def denoised(self, maps, sigma):
        """Return the mean of the convergence given maps ``(n, ny, nx)`` with white noise."""
        c = maps.double().numpy().reshape(len(maps), -1) @ self.basis
        response = (self.posterior_weights(c, sigma) * (self.variances / (self.variances + sigma**2))).sum(axis=-1)
        return torch.from_numpy((response * c @ self.basis.T).reshape(maps.shape)).to(maps.dtype)

    def spectrum(self):
        """Return the power spectrum, averaged over modes of about the same ell."""
        grid = FourierGrid(self.shape, self.pixel_size, dtype=torch.float64)
        modes = grid.to_modes(torch.from_numpy(self.basis.T.reshape(-1, *self.shape).copy())).abs().square()
        variance = torch.einsum("n,nyx->yx", torch.from_numpy((self.weights * self.variances).sum(axis=1)), modes)
        ell, variance = (x.flatten()[1:] for x in (grid.ell, variance))
        bands = np.array_split(np.argsort(ell.numpy(), kind="stable"), min(6, len(ell)))
        rows = [(float(ell[band].mean()), float(variance[band].mean()) * self.pixel_size**2) for band in bands]
        rows = [row for i, row in enumerate(rows) if i == 0 or row[0] > rows[i - 1][0]]
        return PowerSpectrum(*np.array(rows).T)

    def as_score(self):
        """Return the prior of the package."""
        return ScoreFunction(
            self.denoised, self.spectrum(), returns="denoised", domain="box", pixel_scale=self.pixel_size
        )


def spikes(shape, pixel_size, *, fraction=0.1, spike=0.15, rest=0.01):
    """Pixels of a standard deviation ``rest``, a ``fraction`` of them with a larger one, ``spike``."""
    n = math.prod(shape)
    weights, variances = np.tile([1 - fraction, fraction], (n, 1)), np.tile([rest**2, spike**2], (n, 1))
    return SparsePrior(weights, variances, np.eye(n), shape, pixel_size)


def heavy_tails(shape, pixel_size, *, kind, scale, components=8):
    """Student pixels with 3 degrees of freedom, or Laplace pixels, as mixtures of equally probable variances."""
    n, p = math.prod(shape), (np.arange(components) + 0.5) / components
    variance = scale**2 * (3 / chi2.ppf(p, 3) if kind == "student" else 2 * expon.ppf(p))
    weights = np.full((n, components), 1 / components)
    return SparsePrior(weights, np.tile(variance, (n, 1)), np.eye(n), shape, pixel_size)


def haar(side):
    """Return the orthonormal Haar wavelets of ``side`` pixels as columns, and the width of each in pixels."""
    columns, widths = [np.full(side, side**-0.5)], [side]
    width = side
    while width > 1:
        for start in range(0, side, width):
            column = np.zeros(side)
            column[start : start + width // 2], column[start + width // 2 : start + width] = 1, -1
            columns.append(column / math.sqrt(width))
            widths.append(width)
        width //= 2
    return np.stack(columns, axis=1), np.array(widths)


def jumps(side, pixel_size, *, fraction=0.15, scale=0.04, contrast=0.1):
    """Piecewise constant maps: Haar coefficients, a ``fraction`` large, the others smaller by ``contrast``."""
    line, widths = haar(side)
    std = scale * np.sqrt(np.outer(widths, widths).ravel() / 2) ** 0.6
    variances = np.stack([(contrast * std) ** 2, std**2], axis=1)
    weights = np.tile([1 - fraction, fraction], (side**2, 1))
    return SparsePrior(weights, variances, np.kron(line, line), (side, side), pixel_size)


def linear_problem(prior, observation):
    """Return ``B' P' N^-1 P B`` and ``B' P' N^-1 y`` for data in a periodic field, as dense matrices."""
    grid = FourierGrid(prior.shape, prior.pixel_size, dtype=torch.float64)
    maps = torch.from_numpy(prior.basis.T.reshape(-1, *prior.shape).copy())
    shear = type(observation).operator(grid).forward(grid.to_modes(maps)).reshape(len(maps), 2, -1).numpy()
    weight = observation.weight.reshape(-1).numpy()
    weighted = (shear * weight).reshape(len(maps), -1)
    return weighted @ shear.reshape(len(maps), -1).T, weighted @ observation.shear.reshape(-1).numpy()


@dataclass
class Exact:
    """
    Posterior as a mixture of Gaussian distributions of the pixels.

    Attributes
    ----------
    means, stds, weights : ndarray
        Means and standard deviations of each pixel ``(m, ny * nx)``, and weights of the ``m`` components.
    large : ndarray
        Probability of each coefficient to be of the last component, ``(n,)``.
    """

    means: np.ndarray
    stds: np.ndarray
    weights: np.ndarray
    large: np.ndarray

    @property
    def mean(self):
        return self.weights @ self.means

    def __or__(self, other):
        """Return the mean of two posteriors, for two chains of the same length."""
        means, stds = (np.concatenate([getattr(e, name) for e in (self, other)]) for name in ("means", "stds"))
        weights = np.concatenate([self.weights, other.weights]) / 2
        return Exact(means, stds, weights, (self.large + other.large) / 2)

    @property
    def variance(self):
        return self.weights @ (self.stds**2 + self.means**2) - self.mean**2

    def cdf(self, maps):
        """Return the posterior probabilities ``(n, ny * nx)`` of values below those of maps ``(n, ny, nx)``."""
        maps = maps.reshape(len(maps), -1)
        parts = zip(self.means, self.stds, self.weights, strict=True)
        return sum(weight * ndtr((maps - mean) / std) for mean, std, weight in parts)


def enumerated(prior, observation):
    """Return the `Exact` posterior by a sum over all components of all coefficients: for few coefficients."""
    precision, linear = linear_problem(prior, observation)
    (n, k), chosen = prior.weights.shape, []
    components = np.array(list(itertools.product(range(k), repeat=n)))
    log_weights, means, variances = [], [], []
    for part in np.array_split(components, max(len(components) // 4096, 1)):
        variance = prior.variances[np.arange(n), part]
        covariance = np.linalg.inv(precision + np.einsum("mi,ij->mij", 1 / variance, np.eye(n)))
        mean = covariance @ linear
        log = np.log(prior.weights[np.arange(n), part]).sum(axis=1) - np.log(variance).sum(axis=1) / 2
        log_weights.append(log + np.linalg.slogdet(covariance)[1] / 2 + mean @ linear / 2)
        means.append(mean @ prior.basis.T)
        variances.append(np.einsum("pi,mij,pj->mp", prior.basis, covariance, prior.basis, optimize=True))
        chosen.append(part == k - 1)
    log_weights = np.concatenate(log_weights)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return Exact(np.concatenate(means), np.sqrt(np.concatenate(variances)), weights, weights @ np.concatenate(chosen))


def gibbs(prior, observation, sweeps, seed, *, first=0, burn_in=100, keep=1000):
    """
    Return the `Exact` posterior by a collapsed Gibbs sampler of the components, with the coefficients integrated out.

    Parameters
    ----------
    prior, observation
        `SparsePrior`, and data of its periodic field.
    sweeps, seed, first, burn_in : int
        Number of sweeps over all coefficients, seed, component of all coefficients at the start, and number of
        sweeps that are left out.
    keep : int
        Number of sweeps whose Gaussian distributions are kept, in equal steps.
    """
    precision, linear = linear_problem(prior, observation)
    rng, (n, k) = np.random.default_rng(seed), prior.weights.shape
    log_prior = np.log(prior.weights) - np.log(prior.variances) / 2
    chosen, large, means, stds = np.full(n, first), np.zeros(n), [], []
    step = max((sweeps - burn_in) // keep, 1)
    for sweep in range(sweeps):
        if sweep % 50 == 0:  # against rounding errors of the updates
            covariance = np.linalg.inv(precision + np.diag(1 / prior.variances[np.arange(n), chosen]))
            mean = covariance @ linear
        for i, uniform in zip(rng.permutation(n), rng.random(n), strict=True):
            change = 1 / prior.variances[i] - 1 / prior.variances[i, chosen[i]]
            grown = 1 + change * covariance[i, i]
            log = log_prior[i] - np.log(grown) / 2 - change * mean[i] ** 2 / (2 * grown)
            weights = np.exp(log - log.max())
            weights /= weights.sum()
            if sweep >= burn_in:
                large[i] += weights[-1]
            new = min(int((np.cumsum(weights) < uniform).sum()), k - 1)
            if new != chosen[i]:
                scale = change[new] / grown[new]
                column = covariance[:, i].copy()
                mean = mean - scale * mean[i] * column
                covariance -= scale * np.outer(column, column)
                chosen[i] = new
        if sweep >= burn_in and (sweep - burn_in) % step == 0:
            means.append(prior.basis @ mean)
            stds.append(np.sqrt(np.einsum("pi,pi->p", prior.basis @ covariance, prior.basis)))
    return Exact(np.array(means), np.array(stds), np.full(len(means), 1 / len(means)), large / (sweeps - burn_in))
