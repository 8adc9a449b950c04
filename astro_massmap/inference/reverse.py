"""
Reverse diffusion of the prior, from a noisy map to a map without noise.

Given z = x + a * white, x is drawn in steps of decreasing noise. In a step from a to b < a, a guess of x is drawn, with
the mean given by the score (Tweedie's formula) and the mean covariance C of x given z,

    x0 = z + a^2 score(z, a) + C(a)^1/2 white,        C = S a^2 / (S + a^2) for the Gaussian component,

and the next map follows from a Brownian bridge between the two:

    z' = x0 + (z - x0) (b / a)^2 + b (1 - (b / a)^2)^1/2 white.

With a Gaussian prior this is exact for any number of steps, the last one to b = 0 included. With another prior the mean
<z'> given z is exact, but the mean D(z, a) = z + a^2 score of x is taken to follow the noise of the step by its mean
response, C / b^2. The response is larger where a structure may form and smaller elsewhere. Along an exact path D is a
martingale; its unexpected change in the step is added with the weight of the trapezoidal rule:

    z' + (1 - (b / a)^2) / 2 [D(z', b) - D(z, a) - C(b) / b^2 (z' - <z'>)].

The next step uses the residual of the score at z', before this term, so that each level needs one evaluation.

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
    residual = _residual(prior, modes, sigmas[0])
    for a, b in itertools.pairwise(sigmas):
        mean, new = reverse_step(prior, modes, residual, a, b, streams)
        if residual is not None:
            residual = _residual(prior, new, b)
            new = _corrected(prior, new, residual, modes, mean, a, b)
        modes = new
    return _guess(prior, _mean(prior, modes, residual, sigmas[-1]), sigmas[-1], _white(prior.grid, streams))


def reverse_step(prior, modes, residual, a, b, streams):
    """Return the mean D of x given modes with noise a, of this residual of the prior, and draw modes with noise b."""
    mean = _mean(prior, modes, residual, a)
    guess = _guess(prior, mean, a, _white(prior.grid, streams))
    return mean, _between(prior.grid, guess, modes, a, b, _white(prior.grid, streams))


def _white(grid, streams):
    return grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))


def _residual(prior, modes, sigma):
    return None if prior.gaussian else prior.residual(modes, sigma)


def _mean(prior, modes, residual, sigma):
    """Return the mean D of x given z."""
    if residual is None:
        return prior.grid.pointwise(lambda s, z: s / (s + sigma**2) * z, prior.variance, modes)
    return prior.grid.pointwise(lambda s, z, r: s / (s + sigma**2) * z + sigma**2 * r, prior.variance, modes, residual)


def _guess(prior, mean, sigma, white):
    """Draw x given z, with the mean covariance."""
    return prior.grid.pointwise(lambda c, x, w: x + c.sqrt() * w, prior.conditional_variance(sigma), mean, white)


def _between(grid, guess, modes, a, b, white):
    """Draw the map with noise b, given that with noise a and the guess without noise."""
    share = (b / a) ** 2
    return grid.pointwise(lambda x, z, w: x + share * (z - x) + b * (1 - share) ** 0.5 * w, guess, modes, white)


def _corrected(prior, new, residual, modes, mean, a, b):
    """Add the unexpected change of D in the step from a to b."""
    share = (b / a) ** 2

    def formula(s, c, z, r, old, d):
        change = s / (s + b**2) * z + b**2 * r - d
        return z + (1 - share) / 2 * (change - c / b**2 * (z - d - share * (old - d)))

    return prior.grid.pointwise(formula, prior.variance, prior.conditional_variance(b), new, residual, modes, mean)
