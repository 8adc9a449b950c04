"""Diagnostics of a run, computed from the records of its chains."""

import numpy as np

from .._utils.progress import warn
from ..inference import ScoreError, SolverError, gaussian_check, model_fit, power_over_prior
from ..priors import ScoreFunction
from .base import warn_of_fit

_ALARM = 5.0  # standard errors of the Gaussian check
_MUCH = 2.0  # ratio of the power of samples and prior in a band beyond which the prior does not describe the field
_MUCH_TARGETED = 10.0  # of a prior of halos of 1e14 to 3e15 solar masses, whose powers differ more


def run_diagnostics(plan, observation, records):
    """
    Return the diagnostics of a finished run, from the ``records`` of its chains; warn of a misfit.

    The noise of ``observation`` is that before noise is added to the pixels with the lowest noise.
    """
    good = [record for record in records if not record["failure"]]
    power = power_over_prior(plan, [record["power"] for record in good])
    targeted = plan.prior.targeted
    if power > (_MUCH_TARGETED if targeted else _MUCH):
        part = "PosteriorNetwork" if hasattr(plan.prior, "network") else "ScorePrior"
        remedy = "" if targeted else f'; {part}.load("default", field="targeted") is for such fields'
        reason = (
            f"it was not made for fields {'with such halos' if targeted else 'that were chosen for a cluster'}, and "
            f"masses may come out too low{remedy}"
        )
        if isinstance(getattr(plan.prior, "prior", None), ScoreFunction):
            reason = "its function, its spectrum and the data do not agree"
        warn(
            f"prior: the samples have up to {power:.1f} times the power of the prior in a band of ell; {reason}",
            stacklevel=4,
        )
    chi2 = zip(*[record["chi2"] for record in good], strict=True)
    fit = model_fit(plan.posterior(), plan.observation, *chi2, gaussian=plan.prior.gaussian)
    if targeted:  # the power of such fields differs from that of the Gaussian component by far more than by chance
        fit["power_p_value"] = None
    peaks = [record["residual_peak"] for record in good if "residual_peak" in record]
    # noise that is larger than stated has higher peaks
    fit["residual_peak"] = float(np.median(peaks)) / max(fit["noise_factor"], 1.0) if peaks else None
    warn_of_fit(fit)
    log_weights = [record["log_weight"] for record in good if "log_weight" in record]
    scatter = {"sd_log_weight": float(np.std(log_weights, ddof=1))} if len(log_weights) > 1 else {}
    return {
        "device": str(plan.grid.device),
        "box": list(plan.grid.box_shape),
        "levels": [float(target.sigma) for target in plan.targets],
        "acceptance": _over_chains(good, "acceptance"),
        "energy_error": _over_chains(good, "energy_error"),
        "score_evaluations": max(record["evaluations"] for record in records),
        "restarts": sum(record["restarts"] for record in records),
        "failed": len(records) - len(good),
        "power_over_prior": power,
        "fit": fit,
        "information_kept": plan.observation.information_kept(observation),
        "gaussian_check": None,
        **scatter,
        **rank_diagnostics([record["trace"] for record in good]),
    }


def self_check(plan, seed, n, n_jobs):
    """Make the Gaussian check of a run; warn if it deviates, and return None, with a warning, if it fails."""
    try:
        check = gaussian_check(plan, seed, n, n_jobs)
    except (SolverError, ScoreError) as error:  # the samples are kept
        warn(f"the Gaussian self-check failed: {error}", stacklevel=4)
        return None
    if check["worst"] > _ALARM:
        warn(
            f"the Gaussian self-check is off by {check['worst']:.1f} standard errors in a band; see "
            "diagnostics['gaussian_check']",
            stacklevel=4,
        )
    return check


def _over_chains(records, key):
    """Return the mean over the chains at each level; None at levels without steps."""
    values = np.array([record[key] for record in records])
    return [None if np.isnan(v).all() else float(np.nanmean(v)) for v in values.T]


def rank_diagnostics(traces):
    """
    Return nested R-hat (Margossian et al. 2024; chains in four groups) and bulk effective sample size.

    ``traces`` are summaries of each chain, ``(steps, summaries)``; the worst one counts. Both values are None without
    arviz-stats (``pip install "astro_massmap[diagnostics]"``) or with too few chains or steps.
    """
    traces = np.array(traces, dtype=float)
    nothing = {"nested_r_hat": None, "ess": None}
    if traces.ndim != 3 or traces.shape[0] < 8 or traces.shape[1] < 4:
        return nothing
    try:
        from arviz_stats.base import array_stats
    except ImportError:
        return nothing
    n = len(traces) // 4 * 4
    groups = np.repeat(np.arange(4), n // 4)
    summaries = np.moveaxis(traces[:n], -1, 0)
    return {
        "nested_r_hat": float(max(array_stats.rhat_nested(s, groups) for s in summaries)),
        "ess": float(min(array_stats.ess(s) for s in summaries)),
    }
