"""Summary of the posterior of a power spectrum in plain arrays, and the mixing of its chains."""

import numpy as np
import torch

from .._utils.progress import warn

LEVEL = 0.68  # of the intervals
_FEW = 8.0  # effective samples of a band below which there is a warning
_AT_LIMIT = 0.8  # fraction of the highest amplitude that the interval of an unconstrained band exceeds
_WINDOW = 5.0  # autocorrelation times over which the autocorrelation is summed (Sokal 1989)


def summary(bands, posterior, theory, amplitudes):
    """
    Return the posterior of C_ell in bands for diagnostics.

    It contains the edges ``low`` and ``high`` and the mean ``ell`` of the bands, and the number of their ``modes``; the
    mean C_ell of the ``reference`` over their modes, and the samples of its ``amplitudes`` ``(n_samples, bands)``, with
    the median ``amplitude``; median ``cl`` and interval ``lower`` to ``upper`` of C_ell; and the table of ``theory``.
    """
    edges, reference = _edges(bands), _mean_cl(bands, posterior)
    lower, amplitude, upper = np.quantile(amplitudes, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=0, method="weibull")
    return {
        "low": edges[:-1].tolist(),
        "high": edges[1:].tolist(),
        "ell": bands.ell.cpu().tolist(),
        "modes": bands.count.int().tolist(),
        "reference": reference.tolist(),
        "amplitudes": amplitudes,
        "amplitude": amplitude.tolist(),
        "cl": (amplitude * reference).tolist(),
        "lower": (lower * reference).tolist(),
        "upper": (upper * reference).tolist(),
        "level": LEVEL,
        "theory": _table(theory),
    }


def mixing(chains):
    """
    Return autocorrelation time, effective number of samples and R-hat of each band.

    ``chains`` are arrays ``(steps, bands)``. The autocovariance is the mean over the chains, about the common mean; it
    is summed over a window of five autocorrelation times. R-hat is that of Gelman & Rubin (1992), of halved chains. Of
    chains with fewer than four steps one sample each counts.
    """
    n, total = min(map(len, chains)), sum(map(len, chains))
    bands = chains[0].shape[1]
    if n < 4:  # chains are independent of each other, but steps of one may be the same
        nothing = [float("nan")] * bands
        return {"autocorrelation_time": nothing, "effective_samples": [float(len(chains))] * bands, "r_hat": nothing}
    equal = np.stack([chain[:n] for chain in chains])
    centred = equal - equal.mean(axis=(0, 1))
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, axis=1)[:, :n].mean(axis=0) / np.arange(n, 0, -1)[:, None]
    times = [_autocorrelation_time(c) for c in covariance.T]
    halves = np.concatenate([equal[:, : n // 2], equal[:, n - n // 2 :]])
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    return {
        "autocorrelation_time": times,
        "effective_samples": [min(total / time, float(total)) for time in times],
        "r_hat": np.sqrt((n // 2 - 1) / (n // 2) + between / within).tolist(),
    }


def _autocorrelation_time(covariance):
    times = 2 * np.cumsum(covariance / covariance[0]) - 1
    enough = np.arange(len(times)) >= _WINDOW * times
    return max(float(times[np.argmax(enough) if enough.any() else -1]), 1.0)


def warn_of_spectrum(found):
    """Warn of few effective samples, and of bands that the data do not constrain."""
    few = min(found["effective_samples"])
    if few < _FEW:
        warn(
            f"spectrum: the samples of the band powers are worth {few:.0f} independent ones in one of the bands; use a "
            "larger n_samples for their intervals, such as 500",
            stacklevel=5,
        )
    high = found["limits"][1]
    wide = [i for i, upper in enumerate(found["upper"]) if upper > _AT_LIMIT * high * found["reference"][i]]
    if wide:
        bands = ", ".join(f"{found['low'][i]:.0f} to {found['high'][i]:.0f}" for i in wide)
        warn(
            f"spectrum: the power at ell = {bands} reaches the highest amplitude of the prior, {high:g}: the data do "
            "not constrain it; use fewer or wider bands, or edges in ell that leave these scales out",
            stacklevel=5,
        )


def _edges(bands):
    """Return the edges within the multipoles of the box."""
    grid = bands.grid
    highest = float(torch.hypot(grid.lx.abs().max(), grid.ly.abs().max()))
    return np.clip(bands.edges.numpy(), float(grid.longest), highest)


def _mean_cl(bands, posterior):
    """Return the mean C_ell of the reference over the modes of each band."""
    root = posterior.prior_variance.sqrt()
    power = bands.mean_square(torch.complex(root, torch.zeros_like(root))[None])[0]
    return power.cpu().numpy() * bands.grid.pixel_size**2


def _table(spectrum):
    ell = np.array(spectrum.ell) if hasattr(spectrum, "ell") else np.geomspace(10, 1e5, 128)
    return {"name": str(getattr(spectrum, "name", "function")), "ell": ell, "cl": np.array(spectrum(ell), dtype=float)}
