"""
Scatter of summary statistics of posterior samples, compared with the truths.

The summaries of a map are its power in bands, its peak counts and the moments of its one-point distribution. If a truth
and n samples are drawn from the same posterior, then

- the covariance over mocks of the summaries of one sample of each mock is that of the truths. Both are divided by the
  same variances, and compared by their Frobenius norms, which include all correlations and have the same noise;
- the variance of the summaries over the samples of a mock is, on average over mocks, the squared difference of the
  summary of the truth from the mean of those of the samples, divided by 1 + 1 / n.
"""

import numpy as np

LABELS = {
    "covariance of bands": ["covariance over mocks / truth, band power"],
    "covariance of peaks": ["covariance over mocks / truth, peak counts"],
    "covariance of moments": ["covariance over mocks / truth, moments"],
    "posterior variance of bands": ["posterior variance / squared error, band power"],
    "posterior variance of peaks": ["posterior variance / squared error, peak counts"],
    "posterior variance of moments": ["posterior variance / squared error, moments"],
}
KINDS = "bands", "peaks", "moments"
_LEAST = 1e-9  # variance over the truths, in units of that of the samples, below which it is rounding


def moments_of_each(maps):
    """Return variance, skewness and excess kurtosis of the pixels of maps ``(..., ny, nx)``, ``(..., 3)``."""
    off = maps - maps.mean(axis=(-2, -1), keepdims=True)
    square = off * off  # products: powers of 3 and 4 take five times as long
    variance, third, fourth = (part.mean(axis=(-2, -1)) for part in (square, square * off, square * square))
    return np.stack([variance, third / variance**1.5, fourth / variance**2 - 3], axis=-1)


def summary_sums(kind, samples, truth):
    """
    Return sums of each mock by name, for the ratios, of summaries ``(n_mocks, n, k)`` of samples and of truths.

    Summaries that are not finite in a mock are left out of all.
    """
    known = np.isfinite(samples).all(axis=(0, 1)) & np.isfinite(truth).all(axis=0)
    samples, truth = samples[..., known], truth[:, known]
    n, middle, scale = samples.shape[1], samples.mean(axis=(0, 1)), samples.std(axis=(0, 1))
    scale = np.where(scale > 0, scale, 1)
    samples, truth = (samples - middle) / scale, (truth - middle) / scale  # only against rounding
    return {
        f"{kind} mocks": np.ones(len(truth)),
        f"{kind} of truth": truth,
        f"{kind} of samples": samples,
        f"{kind} squared, truth": truth[:, :, None] * truth[:, None, :],
        f"{kind} squared, samples": samples[..., :, None] * samples[..., None, :],
        f"{kind} variance": samples.var(axis=1, ddof=1),
        f"{kind} error": (truth - samples.mean(axis=1)) ** 2 / (1 + 1 / n),
    }


def covariance_ratio(kind, s):
    """Return the ratio of the covariances of samples and truths from sums over mocks; NaN for truths that are equal."""
    n = s[f"{kind} mocks"]
    of_truth = _covariance(s[f"{kind} squared, truth"], s[f"{kind} of truth"], n)
    of_samples = _covariance(s[f"{kind} squared, samples"], s[f"{kind} of samples"], n)
    variance = _diagonal(of_truth) + _diagonal(of_samples).mean(axis=0)
    used = _diagonal(of_truth) > _LEAST
    scale = np.sqrt(np.outer(variance[used], variance[used]))
    norm = [np.square(c[..., used, :][..., used] / scale).sum(axis=(-2, -1)).mean() for c in (of_samples, of_truth)]
    return np.sqrt(norm[0] / norm[1])


def variance_ratio(kind, s):
    """Return the ratio of the variance of samples and the squared error of their mean, the same weight for each."""
    variance, error = s[f"{kind} variance"], s[f"{kind} error"]
    scale = variance + error
    used = scale > 0
    return (variance[used] / scale[used]).sum() / (error[used] / scale[used]).sum()


def _covariance(squares, values, n):
    mean = values / n
    return squares / n - mean[..., :, None] * mean[..., None, :]


def _diagonal(matrices):
    return np.diagonal(matrices, axis1=-2, axis2=-1)
