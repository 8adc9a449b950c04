"""Is the sampler right? Checks whose answer is known without knowing the posterior."""

import torch

from .annealing import run_chains
from .random import Streams

N_BANDS = 8
# A chain whose power exceeds that of the prior by this factor, beyond what chance allows, has run away.
_RUNAWAY = 2.0


def runaways(plan, modes):
    """
    Which chains are not finite, or have more than twice the power of the prior in a band.

    Parameters
    ----------
    plan : `~astro_massmap.inference.Plan`
        Of the run.
    modes : `torch.Tensor`
        Where its chains are, ``(n, ny, nx // 2 + 1)``.

    Returns
    -------
    `torch.Tensor`
        Bool ``(n,)``.

    Examples
    --------
    A draw from the prior, one that is ten times as high, and one that is not a number:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, Streams, runaways
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.fast(), (32, 32))
    >>> white = plan.grid.to_modes(Streams(0, [0]).normal(32, 32))
    >>> draw = plan.prior.variance.sqrt() * white
    >>> runaways(plan, torch.cat([draw, 10 * draw, float("nan") * draw])).tolist()
    [False, True, True]
    """
    power = plan.band_power(modes, 0.0, N_BANDS)
    chance = 6 * (2 / plan.modes_in_bands(N_BANDS)).sqrt()
    return ~torch.isfinite(power).all(dim=1) | (power > _RUNAWAY + chance).any(dim=1)


def gaussian_check(plan, seed, n):
    """
    The same run without the residual of the prior, against the exact Gaussian posterior.

    Parameters
    ----------
    plan : `~astro_massmap.inference.SplitPlan`
        The run.
    seed : int
        Of the chains and of the exact draws they are compared with.
    n : int
        Chains, and exact draws.

    Returns
    -------
    dict
        ``ell``, ``power_ratio`` and ``power_error`` by band: power of the deviations from the exact mean,
        over that of exact draws, with its standard error; ``std_data`` and ``std_holes``: the same for the
        standard deviation of the pixels with and without data, None where there are no such pixels; ``worst``: the
        largest deviation from 1 of the power, in standard errors; ``n``.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, gaussian_check
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.fast(), (16, 16))
    >>> check = gaussian_check(plan, seed=0, n=4)
    >>> check["worst"] < 4, check["std_holes"] is None
    (True, True)
    """
    half = plan.gaussian_half()
    exact = plan.posterior()
    mean = exact.mean_modes()
    streams = [Streams(seed, [i], device=plan.grid.device) for i in range(2 * n)]
    chains = _told(plan, (run_chains(half, s).modes - mean for s in streams[:n]))
    draws = _told(plan, (exact.fluctuations(s) for s in streams[n:]))
    power, reference = chains[0], draws[0]
    ratio = power.mean(dim=0) / reference.mean(dim=0)
    # Counting modes tells the least scatter. In the lowest bands there is more from draw to draw: there the
    # posterior leaves few directions free.
    counted = (2 / plan.modes_in_bands(N_BANDS)).sqrt()
    scatter = torch.cat([power / power.mean(dim=0), reference / reference.mean(dim=0)]).std(dim=0)
    error = torch.maximum(counted, scatter) * (2 / n) ** 0.5
    observed = plan.observation.observed.to(plan.grid.device)
    fields = [square for _, square in (chains, draws)]
    std = [
        float((fields[0][where].mean() / fields[1][where].mean()).sqrt()) if where.any() else None
        for where in (observed, ~observed)
    ]
    ell, bands = plan.grid.ell, plan.bands(N_BANDS).cpu()
    edges = torch.stack([ell[bands == b].mean() for b in range(N_BANDS)])
    return {
        "ell": edges.tolist(),
        "power_ratio": ratio.tolist(),
        "power_error": error.tolist(),
        "std_data": std[0],
        "std_holes": std[1],
        "worst": float(((ratio - 1).abs() / error).max()),
        "n": n,
    }


def _told(plan, deviations):
    """Power in bands of each deviation, and the mean of their squares in the field; one of them in memory at a time."""
    powers, squares = [], []
    for modes in deviations:
        powers.append(plan.band_power(modes, 0.0, N_BANDS))
        squares.append(plan.grid.to_field(modes).square())
        del modes
    return torch.cat(powers), torch.cat(squares).mean(dim=0)


def stationarity_check(make_plan, observation, truths, seed):
    """
    Draw sky and data together, start the chain at the sky, and see whether the sky's statistics move.

    If x is drawn from the prior and y given x, then x is a draw from the posterior given y, and so is where a
    chain that starts there ends. This needs no posterior to compare with, only simulations.

    Parameters
    ----------
    make_plan : callable
        The `~astro_massmap.inference.SplitPlan`, of one level, for an observation.
    observation : `~astro_massmap.inference.Observation`
        Its noise is that of the data to draw.
    truths : `torch.Tensor`
        Maps ``(n, *box_shape)`` from the prior.
    seed : int
        Of the noise and the chains.

    Returns
    -------
    dict
        ``power_ratio`` after over before, by band of the box; ``std_ratio`` and ``skewness`` (before, after)
        of the pixels of the box; ``maps``, before and after, ``(2, n, *box_shape)``.

    Raises
    ------
    ValueError
        If the schedule has more than one level.

    Examples
    --------
    Skies from the prior have its standard deviation before and after:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, Streams, stationarity_check
    >>> def make_plan(observation):
    ...     return SplitPlan(observation, GaussianPrior(), Schedule(trajectories=2), (16, 16))
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = make_plan(observation)
    >>> modes = plan.prior.variance.sqrt() * plan.grid.to_modes(Streams(0, range(8)).normal(16, 16))
    >>> check = stationarity_check(make_plan, observation, plan.grid.to_field(modes), seed=1)
    >>> abs(check["std_ratio"] - 1) < 0.1, tuple(check["maps"].shape)
    (True, (2, 8, 16, 16))
    """
    plan = make_plan(observation)
    if len(plan.targets) != 1:
        raise ValueError("make_plan: needs a schedule of one level, such as Schedule.fast()")
    grid, operator = plan.grid, plan.targets[0].split.posterior.operator
    noise_std = torch.where(observation.observed, observation.noise_std, 0.0).to(grid.device)
    before, after = [], []
    for i, truth in enumerate(truths):
        streams = Streams(seed, [i], device=grid.device)
        modes = grid.to_modes(grid.real(truth))[None]
        noise = noise_std * streams.normal(2, *grid.field_shape, dtype=torch.float64)
        shear = (operator.forward(modes) + noise)[0]
        plan = make_plan(type(observation)(shear, observation.noise_std, observation.pixel_size))
        split = plan.targets[0].split
        start = split.lift(modes, split.posterior.shear, streams)
        before.append(modes)
        after.append(run_chains(plan, streams, modes=start).modes)
    before, after = torch.cat(before), torch.cat(after)
    power = [plan.band_power(m, 0.0, N_BANDS).mean(dim=0) for m in (before, after)]
    pixels = [torch.fft.irfft2(m, s=grid.box_shape, norm="ortho") for m in (before, after)]
    return {
        "power_ratio": (power[1] / power[0]).tolist(),
        "std_ratio": float(pixels[1].std() / pixels[0].std()),
        "skewness": [float(((p - p.mean()) ** 3).mean() / p.std() ** 3) for p in pixels],
        "maps": torch.stack(pixels).cpu(),
    }
