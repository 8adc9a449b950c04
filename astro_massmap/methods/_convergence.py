"""R-hat and effective sample size of the chains, by arviz-stats where it is installed."""

import numpy as np


def rank_diagnostics(traces):
    """
    Nested R-hat and bulk effective sample size of summaries of the chains.

    Parameters
    ----------
    traces : list
        Of every chain, ``(steps, summaries)``: values after each step of the last level.

    Returns
    -------
    dict
        ``nested_r_hat`` (Margossian et al. 2024; chains in four groups) and ``ess`` of the worst summary;
        None without arviz-stats (``pip install "astro_massmap[diagnostics]"``) or with too few chains or steps.
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
