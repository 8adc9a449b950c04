"""
Reverse diffusion of the prior, from a noisy map to a map without noise.

Given z = x + a * white, x is drawn in steps of decreasing noise. In a step from a to b < a, a guess of x is drawn, with
the mean given by the score (Tweedie's formula) and the mean covariance C of x given z,

    x0 = z + a^2 score(z, a) + C(a)^1/2 white,        C = S a^2 / (S + a^2) for the Gaussian component,

and the next map follows from a Brownian bridge between the two:

    z' = x0 + (z - x0) (b / a)^2 + b (1 - (b / a)^2)^1/2 white.

With a Gaussian prior this is exact for any number of steps, the last one to b = 0 included. The steps need to be
random: a deterministic flow leads from the noisy *prior* to the prior, not from z to the posterior of x.
"""


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

    for a, b in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
        guess = _guess(prior, modes, a, white())
        if b == 0:
            return guess
        modes = _between(grid, guess, modes, a, b, white())
    return modes


def _guess(prior, modes, sigma, white):
    """Draw x given z, with the mean given by the score and the mean covariance."""
    guess = prior.grid.pointwise(
        lambda s, c, z, w: s / (s + sigma**2) * z + c.sqrt() * w,
        prior.variance,
        prior.conditional_variance(sigma),
        modes,
        white,
    )
    if prior.gaussian:
        return guess
    return prior.grid.pointwise(lambda x, r: x + sigma**2 * r, guess, prior.residual(modes, sigma))


def _between(grid, guess, modes, a, b, white):
    """Draw the map with noise b, given that with noise a and the guess without noise."""
    share = (b / a) ** 2
    return grid.pointwise(lambda x, z, w: x + share * (z - x) + b * (1 - share) ** 0.5 * w, guess, modes, white)
