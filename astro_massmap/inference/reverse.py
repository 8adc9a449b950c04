"""
Reverse diffusion of the prior, from a noisy map to a map without noise.

Given z = x + a * white, x is drawn in steps of decreasing noise. In a step from a to b < a, a guess of x is drawn, with
the mean given by the score (Tweedie's formula) and the mean covariance C of x given z,

    x0 = z + a^2 score(z, a) + C(a)^1/2 white,        C = S a^2 / (S + a^2) for the Gaussian component,

and the next map follows from a Brownian bridge between the two:

    z' = x0 + (z - x0) (b / a)^2 + b (1 - (b / a)^2)^1/2 white.

With a Gaussian prior this is exact for any number of steps, the last one to b = 0 included. With another prior the mean
of z' is exact, but D(z) = z + a^2 score, the mean of x given z, is assumed to follow the noise of the step as that of
the Gaussian component does. Along an exact path D is a martingale, and so is ``(S + a^2) r`` with the residual
``r = score + z / (S + a^2)``. Its change in the step is therefore added, with the weight of the trapezoidal rule:

    z' + b^2 / 2 (1 - (b / a)^2) [r(z', b) - (S + a^2) / (S + b^2) r(z, a)].

It raises the variance where structures may form and lowers it elsewhere. The next step uses r(z', b), before the
correction, so that each level needs one evaluation of the residual.

The steps need to be random: a deterministic flow leads from the noisy *prior* to the prior, not from z to the posterior
of x.
"""

import itertools


def reverse_diffusion(prior, modes, sigmas, streams):
    """
    Draw x given z = x + white noise, modes ``(n, ny, nx // 2 + 1)``, by reverse diffusion.

    Parameters
    ----------
    prior, streams
        `~astro_massmap.priors.PriorOnGrid`, whose residual is evaluated once at each level, and
        `~astro_massmap.inference.Streams`.
    modes : `torch.Tensor`
        Modes of z, ``(n, ny, nx // 2 + 1)``.
    sigmas : sequence of float
        Decreasing noise levels in units of kappa, beginning with that of z; zero noise follows the last one.

    Raises
    ------
    ValueError
        If a noise level is outside the range of the prior.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import GaussianPrior
    >>> from astro_massmap.inference import FourierGrid, Streams, reverse_diffusion
    >>> prior = GaussianPrior().on(FourierGrid((16, 16), 4e-4))
    >>> z = prior.grid.to_modes(0.1 * Streams(1, [0]).normal(16, 16))
    >>> reverse_diffusion(prior, z, [0.1, 0.05], Streams(0, [0])).shape
    torch.Size([1, 16, 9])
    """
    grid = prior.grid

    def white():
        return grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))

    residual = _residual(prior, modes, sigmas[0])
    for a, b in itertools.pairwise(sigmas):
        guess = _guess(prior, modes, residual, a, white())
        modes = _between(grid, guess, modes, a, b, white())
        if residual is not None:
            former, residual = residual, _residual(prior, modes, b)
            modes = _corrected(prior, modes, former, residual, a, b)
    return _guess(prior, modes, residual, sigmas[-1], white())


def _residual(prior, modes, sigma):
    return None if prior.gaussian else prior.residual(modes, sigma)


def _guess(prior, modes, residual, sigma, white):
    """Draw x given z, with the mean given by the score and the mean covariance."""
    guess = prior.grid.pointwise(
        lambda s, c, z, w: s / (s + sigma**2) * z + c.sqrt() * w,
        prior.variance,
        prior.conditional_variance(sigma),
        modes,
        white,
    )
    if residual is None:
        return guess
    return prior.grid.pointwise(lambda x, r: x + sigma**2 * r, guess, residual)


def _between(grid, guess, modes, a, b, white):
    """Draw the map with noise b, given that with noise a and the guess without noise."""
    share = (b / a) ** 2
    return grid.pointwise(lambda x, z, w: x + share * (z - x) + b * (1 - share) ** 0.5 * w, guess, modes, white)


def _corrected(prior, modes, former, residual, a, b):
    """Add the unexpected change of the residual in the step from a to b."""
    weight = b**2 / 2 * (1 - (b / a) ** 2)
    return prior.grid.pointwise(
        lambda s, z, old, new: z + weight * (new - (s + a**2) / (s + b**2) * old),
        prior.variance,
        modes,
        former,
        residual,
    )
