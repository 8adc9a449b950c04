"""Checks of the sampler whose result is known without knowing the posterior."""

import numpy as np
import torch

from .annealing import run_chains
from .fit import N_BANDS, residual_power
from .parallel import side_by_side

# chi^2 / n of a posterior draw with a signal-to-noise ratio s in every mode exceeds that of a zero map by
# s (1 - s) / (1 + s), at most 0.17; chance adds some hundredths
_WORSE, _BEYOND = 1.2, 20.0
_FEW = 200  # number of data below which the scatter of chi^2 is added


def diverged(plan, modes):
    """
    Find chains that diverged, bool ``(n,)``: not finite, worse than a zero map, or too large where there are no data.

    A map x is worse than a zero map if ``chi^2 = |N^-1/2 (y - P x)|^2`` exceeds 1.2 times that of x = 0, or 1.2 times
    the number n of data if that is larger; below 200 data, six standard deviations of the difference are added to the
    limit of chi^2 / n, ``12 (A / n)^1/2`` with ``A = |N^-1/2 P x|^2 / n``. The mean square may be at most 20 times the
    variance of the prior in the pixels of the box without data, or, if these are less than a quarter of the box, in the
    mean of the box, which shear does not measure. (For data that are a convergence, their mean square counts if it is
    larger than the variance of the prior.) The power of the prior in bands is no limit: the data may require more.

    Parameters
    ----------
    plan, modes
        `~astro_massmap.inference.Plan`, and modes of the last maps of the chains, ``(n, ny, nx // 2 + 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, diverged
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.fast(), (32, 32))
    >>> draw = plan.prior.variance.sqrt() * plan.grid.to_modes(plan.streams(0, [0]).normal(32, 32))
    >>> diverged(plan, torch.cat([draw, 10 * draw, float("nan") * draw])).tolist()
    [False, True, True]
    """
    posterior, grid = plan.posterior(), plan.grid
    n = int(plan.observation.observed.sum()) * plan.observation.components

    def norm(fields):
        return fields.square().sum(dim=(-3, -2, -1), dtype=grid.sum_dtype)

    scale = posterior.weight.sqrt()
    limit = _WORSE * norm(scale * posterior.shear).clamp(min=n)
    if n < _FEW:
        limit = limit + 12 * (norm(scale * posterior.operator.forward(modes))).sqrt()
    chi2 = residual_power(posterior, modes)[0]
    return ~(torch.isfinite(chi2) & (chi2 <= limit) & (_unmeasured(plan, posterior, modes) <= _BEYOND))


def _unmeasured(plan, posterior, modes):
    """Return the mean square of maps where there are no data, divided by the prior variance, ``(n,)``."""
    grid = plan.grid
    (rows, columns), variance = grid.field_shape, plan.prior.variance
    sees_mean = bool(posterior.operator.power[0, 0] > 0)  # data that are a convergence, with a mean of their own
    empty = torch.ones(grid.box_shape, dtype=torch.bool, device=grid.device)
    empty[:rows, :columns] = ~plan.observation.observed.to(grid.device)
    if 4 * int(empty.sum()) < empty.numel():
        return modes[:, 0, 0].real.square() / variance[0, 0] * (not sees_mean)
    maps, scale = torch.fft.irfft2(modes, s=grid.box_shape, norm="ortho"), grid.pixel_variance(variance)
    if sees_mean:
        scale = max(scale, float(posterior.shear[0, posterior.weight > 0].square().mean()))
    return maps[:, empty].square().mean(dim=1) / scale


def power_over_prior(plan, power):
    """
    Return the largest ratio of the power of maps to that of the prior in a band, minus six standard deviations.

    The ratio is that of the mean over the maps, the standard deviation that of one map.

    Parameters
    ----------
    plan, power
        `~astro_massmap.inference.Plan`, and ``plan.band_power(modes, 0, N_BANDS)``, ``(n, N_BANDS)``.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, power_over_prior
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.fast(), (32, 32))
    >>> draws = plan.prior.variance.sqrt() * plan.grid.to_modes(plan.streams(0, range(4)).normal(32, 32))
    >>> power_over_prior(plan, plan.band_power(draws, 0, 8)) < 1
    True
    """
    count = plan.bands(N_BANDS).count.cpu()
    chance = 6 * (2 / count[count > 0]).sqrt()
    mean = torch.as_tensor(power, dtype=torch.float64, device="cpu").mean(dim=0)
    return float((mean[count > 0] - chance).max())


def gaussian_check(plan, seed, n, workers=1):
    """
    Compare chains without the residual of the prior with exact draws from the Gaussian posterior.

    Parameters
    ----------
    plan : `~astro_massmap.inference.SplitPlan`
        Plan of the run.
    seed, n, workers : int
        Seed and number of chains, and of exact draws; number of chains at a time, with one thread each.

    Returns
    -------
    dict
        ``ell``, ``power_ratio`` and ``power_error`` by band with modes: power of the deviations from the exact mean,
        divided by that of exact draws, with its standard error; ``std_data`` and ``std_holes``, the same for the
        standard deviation of the pixels with and without data, None without such pixels; ``worst``, the largest
        deviation of ``power_ratio`` from 1 in standard errors; ``n``.

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

    def deviations(i):
        streams = plan.streams(seed, [i])
        modes = run_chains(half, streams).modes - mean if i < n else exact.fluctuations(streams)
        return plan.band_power(modes, 0.0, N_BANDS), plan.grid.to_field(modes).square()

    bands = plan.bands(N_BANDS)
    count, ell = (values.cpu().numpy() for values in (bands.count, bands.ell))
    filled = count > 0  # in a small box some bands have no modes
    powers, squares = zip(*side_by_side(deviations, range(2 * n), workers), strict=True)
    power, reference = (torch.cat(part).cpu().numpy()[:, filled] for part in (powers[:n], powers[n:]))
    ratio = power.mean(axis=0) / reference.mean(axis=0)
    # the number of modes gives the least scatter; in the lowest bands the posterior leaves few modes free, and draws
    # scatter more
    scatter = np.concatenate([part / part.mean(axis=0) for part in (power, reference)]).std(axis=0, ddof=1)
    error = np.maximum(np.sqrt(2 / count[filled]), scatter) * np.sqrt(2 / n)
    observed = plan.observation.observed.to(plan.grid.device)
    fields = [torch.cat(part).mean(dim=0) for part in (squares[:n], squares[n:])]
    std = [
        float((fields[0][where].mean() / fields[1][where].mean()).sqrt()) if where.any() else None
        for where in (observed, ~observed)
    ]
    return {
        "ell": ell[filled].tolist(),
        "power_ratio": ratio.tolist(),
        "power_error": error.tolist(),
        "std_data": std[0],
        "std_holes": std[1],
        "worst": float((np.abs(ratio - 1) / error).max()),
        "n": n,
    }


def stationarity_check(make_plan, observation, truths, seed):
    """
    Compare the statistics of skies from the prior before and after chains that start at them.

    If x is drawn from the prior and y given x, then x is a draw from the posterior given y, and so is the end of a
    chain that starts at x. The check requires simulations alone, and no reference posterior.

    Parameters
    ----------
    make_plan : callable
        Function of an observation that returns a `~astro_massmap.inference.SplitPlan` with one level.
    observation : `~astro_massmap.inference.Observation`
        Observation with the noise of the data to draw.
    truths, seed : `torch.Tensor`, int
        Maps from the prior, ``(n, *box_shape)``, and seed of the noise and the chains.

    Returns
    -------
    dict
        ``power_ratio`` by band of the box, after divided by before; ``std_ratio`` of the pixels of the box;
        ``skewness`` and ``maps``, ``(2, n, *box_shape)``, before and after.

    Raises
    ------
    ValueError
        If the schedule has more than one level.

    Examples
    --------
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
        raise ValueError(
            f"make_plan: needs a schedule of one level, such as Schedule.fast(), got one of {len(plan.targets)} levels"
        )
    grid, operator = plan.grid, plan.targets[0].split.posterior.operator
    noise_std = torch.where(observation.observed, observation.noise_std, 0.0).to(grid.device)
    before, after = [], []
    for i, truth in enumerate(truths):
        streams = observation.streams(seed, [i], device=grid.device)
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
