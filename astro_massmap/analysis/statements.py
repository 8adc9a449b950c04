"""Statements about a map for warnings, reports and the terminal: fit of the model, effect of a Gaussian prior."""

import math
from numbers import Real

_ALARM, _P_VALUE = 4.0, 6.3e-5  # standard deviations, and the corresponding p-value
_FACTOR = 2.0  # ratio of powers below which fields of a non-Gaussian prior may differ by chance
PEAK = 5.5  # peak of the residuals in standard deviations that is not by chance
_KNOWN = 0.05  # relative error of the noise variance below which a difference has no consequence

LOW_PEAKS = (
    "a Gaussian prior, which biases high peaks towards zero: measured masses of halos of 1e14 to 1e15 Msun are about "
    "half of the true masses, too low by many stated standard deviations, and their detection probabilities are too low"
)


def fit_statements(fit):
    """
    Return statements about data that prior and noise do not explain, pairs of a few words and a sentence.

    ``fit`` is a result of `~astro_massmap.inference.model_fit` or None. The list is empty unless something differs by
    more than 4 standard deviations, variances of the noise by more than 5 % (in large surveys even errors of 1 % are
    significant), and power by a factor of 2 in a band if the prior is not Gaussian; or for residuals with a peak of
    more than 5.5 standard deviations.
    """
    if not _is_complete(fit):
        return []
    found = []
    by_b_mode = fit["b_mode_chi2"] is not None
    ratio, sigma = (fit["b_mode_chi2"], fit["b_mode_sigma"]) if by_b_mode else (fit["chi2"], fit["chi2_sigma"])
    wrong_noise = _differs(ratio, sigma)
    if wrong_noise:
        factor = f"{fit['noise_factor']:.3g}"
        found.append(
            (
                f"noise {factor} times the stated value",
                f"the noise seems {factor} +- {fit['noise_factor_error']:.2g} times as large as stated "
                f"({abs(sigma):.0f} standard deviations): check noise_std, shape_noise and the weights",
            )
        )
    elif _differs(fit["chi2"], fit["chi2_sigma"]):
        found.append(
            (
                f"residuals {fit['chi2']:.3g} times the noise",
                f"the residuals of the samples have {fit['chi2']:.3g} times the power of the noise "
                f"({abs(fit['chi2_sigma']):.0f} standard deviations), but their B mode agrees with it: under this "
                "prior the maps fit the data too closely or not closely enough",
            )
        )
    p_value = fit["power_p_value"]
    band = _worst_band(fit)
    differs = fit["gaussian"] or not 1 / _FACTOR < fit["power_ratio"][band] < _FACTOR
    if not wrong_noise and p_value is not None and p_value < _P_VALUE and differs:  # wrong noise also changes the power
        found.append(
            (
                f"unlike its prior (p = {p_value:.1g})",
                f"the power of the data is {fit['power_ratio'][band]:.3g} times that of prior and noise at ell = "
                f"{fit['ell'][band]:.0f} (p = {p_value:.1g}): the field is unlike those that the prior was made "
                "for, and the convergence of its structures may be biased low",
            )
        )
    peak = fit.get("residual_peak")
    if not fit["gaussian"] and isinstance(peak, Real) and peak > PEAK:
        found.append(
            (
                f"a structure is missing (residuals of {peak:.1f} sigma)",
                f"the residuals of the samples have a peak of {peak:.1f} standard deviations (at most {PEAK:g} by "
                "chance): the data contain a structure that the map lacks, or has too low",
            )
        )
    return found


def fit_verdict(fit):
    """Return the few words of the statements about a fit; if there are none, that it agrees, and how closely."""
    found = "; ".join(short for short, _ in fit_statements(fit))
    if found or fit["power_p_value"] is None or fit["power_p_value"] >= _P_VALUE:
        return found or "the data agree with the noise and the prior"
    band = _worst_band(fit)
    return (
        f"the data agree with the noise; their power is {fit['power_ratio'][band]:.3g} times that of prior and noise "
        f"at ell = {fit['ell'][band]:.0f}, within the factor of {_FACTOR:g} that is accepted for a prior that is not "
        "Gaussian, because its fields scatter more than the Gaussian fields to which p refers"
    )


def fit_summary(fit):
    """Return one line with the numbers of a fit; empty without a fit."""
    if not _is_complete(fit):
        return ""
    b_mode = "" if fit["b_mode_chi2"] is None else f", of their B mode {fit['b_mode_chi2']:.3f}"
    power = fit["power_p_value"]
    p_value = "" if power is None else f"; power of the data compared with prior and noise: p = {power:.2g}"
    if isinstance(fit.get("amplitude"), Real) and isinstance(fit.get("amplitude_error"), Real):
        p_value += f"; best amplitude of the prior spectrum {fit['amplitude']:.2f} +- {fit['amplitude_error']:.2f}"
    return (
        f"chi^2 of the residuals over its expectation {fit['chi2']:.3f}{b_mode}; noise {fit['noise_factor']:.3f} +- "
        f"{fit['noise_factor_error']:.3f} times the stated value{p_value}"
    )


def _is_complete(fit):
    """Return whether this is a complete result of a fit (it may come from a file)."""
    numbers = ("chi2", "chi2_sigma", "noise_factor", "noise_factor_error")
    optional, lists = ("b_mode_chi2", "b_mode_sigma", "power_p_value"), ("ell", "power_ratio", "power_error")
    return (
        isinstance(fit, dict)
        and all(isinstance(fit.get(key), Real) for key in numbers)
        and all(key in fit and (fit[key] is None or isinstance(fit[key], Real)) for key in optional)
        and (fit["b_mode_chi2"] is None) == (fit["b_mode_sigma"] is None)
        and all(isinstance(fit.get(key), list) and all(isinstance(x, Real) for x in fit[key]) for key in lists)
        and isinstance(fit.get("gaussian"), bool)
        and all(math.isfinite(x) for key in lists for x in fit[key])
        and all(error > 0 for error in fit["power_error"])
        and 0 < len(fit["ell"]) == len(fit["power_ratio"]) == len(fit["power_error"])
    )


def _differs(ratio, sigma):
    return abs(ratio - 1) > _KNOWN and abs(sigma) > _ALARM


def _worst_band(fit):
    off = [abs(math.log(max(r, 1e-9))) / e for r, e in zip(fit["power_ratio"], fit["power_error"], strict=True)]
    return off.index(max(off))


def gaussian_prior(meta, diagnostics):
    """Return whether a map was made with a Gaussian prior, from its record, or from the name of its method."""
    made = meta.get("provenance")
    made = made if isinstance(made, dict) and made else diagnostics
    prior = made.get("prior")
    return made.get("method") == "Wiener" or (isinstance(prior, dict) and prior.get("gaussian") is True)
