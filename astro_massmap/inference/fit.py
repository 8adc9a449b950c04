"""
Goodness of fit: statistics of the data whose expectation under the model is known.

*Residuals.* If the data come from the model, a posterior sample x and the truth have the same joint distribution with
the data, for any prior. The residuals ``y - P x`` of a sample are then distributed as the noise: with the whitened
residuals ``u = N^-1/2 (y - P x)``, chi^2 = |u|^2 has the mean n, the number of data, and the variance 2 n. The part of
u that is a B mode, which no convergence can explain, has the mean n <|P|^2>, averaged over the modes of the box, and at
most twice that as variance. The mean over several samples scatters less than one sample, so that significances are
lower limits.

*Power.* In bands of ell, the power of ``P' N^-1 y`` is compared with that of mock data drawn from the Gaussian
component of the prior and the noise, and all bands together by Hotelling's T^2 of the cube roots, which are nearly
normal. A field that was chosen for a cluster has more power than that.
"""

import numpy as np
import torch
from scipy.special import fdtrc

from .bands import Bands

N_BANDS = 8
_DRAWS = 32  # number of mock data sets
_MOCKS = 2**32 - 2  # attempt number of their streams, which no chain has


def residual_power(posterior, modes):
    """
    Compute chi^2 of the residuals of maps, in total and of their B mode.

    Parameters
    ----------
    posterior, modes
        `~astro_massmap.inference.GaussianPosterior`, and modes of the maps, ``(n, ny, nx // 2 + 1)``.

    Returns
    -------
    chi2, b_chi2 : `torch.Tensor`
        Values ``(n,)``, in double precision; ``b_chi2`` is NaN for data that are a convergence, without B mode.

    Examples
    --------
    For 512 data, the mean of chi^2 is 512:

    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, residual_power
    >>> shear = np.random.default_rng(0).normal(scale=0.1, size=(2, 16, 16))
    >>> observation = Observation.from_arrays(shear, np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (64, 64))
    >>> samples = posterior.mean_modes() + posterior.fluctuations(observation.streams(0, range(8)))
    >>> abs(float(residual_power(posterior, samples)[0].mean()) - 512) < 4 * 1024**0.5
    True
    """
    operator = posterior.operator
    white = posterior.weight.sqrt() * (posterior.shear - operator.forward(modes))
    chi2 = white.square().sum(dim=(-3, -2, -1), dtype=operator.grid.sum_dtype)
    if not _has_b_mode(posterior):
        return chi2, torch.full_like(chi2, torch.nan)
    b_mode = operator.e_and_b_modes(white)[1]
    return chi2, operator.grid.inner(b_mode, b_mode)


def reduced_shear_log_weight(posterior, observation, modes):
    """
    Compute the logarithm of the importance weights of maps, for the exact likelihood of the reduced shear.

    The maps are samples given shear and noise that `Observation.unreduced
    <astro_massmap.inference.Observation.unreduced>` multiplied by ``1 - k`` for a fixed convergence k. The exact model
    is ``gamma (1 - k) / (1 - kappa)`` instead of ``gamma``.

    Parameters
    ----------
    posterior, observation, modes
        As for `model_fit` and `residual_power`.

    Returns
    -------
    `torch.Tensor`
        Differences of the two log likelihoods, ``(n,)``.

    Examples
    --------
    The weights of maps of the convergence k itself are 1:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, reduced_shear_log_weight
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> observation = observation.unreduced(torch.zeros(16, 16))
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (32, 32))
    >>> float(reduced_shear_log_weight(posterior, observation, posterior.grid.to_modes(torch.zeros(1, 32, 32)))[0])
    0.0
    """
    shear, grid = posterior.operator.forward(modes), posterior.grid
    ratio = (1 - grid.real(observation.frozen)) / (1 - observation.reduction(grid.to_field(modes)))
    change = shear * (ratio.unsqueeze(-3) - 1)
    residual = 2 * (posterior.shear - shear) - change
    return (posterior.weight * change * residual).sum(dim=(-3, -2, -1), dtype=grid.sum_dtype) / 2


def model_fit(posterior, observation, chi2, b_chi2, *, gaussian=True):
    """
    Compare the data with prior and noise.

    Parameters
    ----------
    posterior, observation
        `~astro_massmap.inference.GaussianPosterior` and `~astro_massmap.inference.Observation` with the same data.
    chi2, b_chi2 : array-like
        `residual_power` of posterior samples.
    gaussian : bool
        True for a Gaussian prior. With another prior the power of the data scatters more than that of the mock data, so
        that ``power_p_value`` is a lower limit.

    Returns
    -------
    dict
        ``n_data``; ``gaussian``; ``chi2`` and ``b_mode_chi2``, means over the samples divided by their expectations,
        with their deviations from 1 in standard deviations, ``chi2_sigma`` and ``b_mode_sigma``; ``noise_factor``, the
        ratio of the standard deviations of the measured and the stated noise (from the B mode if there is one), with
        ``noise_factor_error``; by band of ``ell``, ``power_ratio``, the power of the data divided by that of prior and
        noise, with ``power_error``; ``power_p_value`` of all bands together, for a field of the Gaussian prior;
        ``amplitude``, the factor of the prior spectrum that fits the power of the data best, with ``amplitude_error``.
        None for quantities that cannot be measured.

    Examples
    --------
    Noise three times as large as stated:

    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, model_fit, residual_power
    >>> shear = np.random.default_rng(0).normal(scale=0.3, size=(2, 16, 16))
    >>> observation = Observation.from_arrays(shear, np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (64, 64))
    >>> samples = posterior.mean_modes() + posterior.fluctuations(observation.streams(0, range(8)))
    >>> fit = model_fit(posterior, observation, *residual_power(posterior, samples))
    >>> abs(fit["noise_factor"] - 3) < 4 * fit["noise_factor_error"], fit["b_mode_sigma"] > 50
    (True, True)
    """
    n = int(observation.observed.sum()) * observation.components
    expected = n / observation.components * posterior.grid.pixel_variance(posterior.operator.power)
    ratio, sigma = _compare(chi2, n)
    b_ratio, b_sigma = _compare(b_chi2, expected) if _has_b_mode(posterior) else (None, None)
    factor = np.sqrt(ratio if b_ratio is None else b_ratio)
    return {
        "n_data": n,
        "gaussian": gaussian,
        "chi2": ratio,
        "chi2_sigma": sigma,
        "b_mode_chi2": b_ratio,
        "b_mode_sigma": b_sigma,
        "noise_factor": float(factor),
        "noise_factor_error": float(factor * np.sqrt(0.5 / (n if b_ratio is None else expected))),
    } | _data_power(posterior, observation)


def _has_b_mode(posterior):
    return bool(posterior.operator.p2.any())


def _compare(values, expected):
    """Return the mean of chi^2 divided by its expectation, and the deviation from 1 in standard deviations."""
    ratio = float(torch.as_tensor(values, dtype=torch.float64, device="cpu").mean()) / expected
    return ratio, float((ratio - 1) * np.sqrt(expected / 2))


def _data_power(posterior, observation):
    """Compare the power of the data in bands of ell with that of mock data."""
    grid, operator = posterior.grid, posterior.operator
    bands = Bands(grid, N_BANDS)

    def power(modes):
        return bands.mean_square(modes)[0].cpu().numpy()

    def adjoint(weighted):
        return operator.adjoint(posterior.marginalised(weighted))

    data = power(adjoint(posterior.weight * posterior.shear)[None])
    mocks, signal = [], []
    for i in range(_DRAWS):
        streams = observation.streams(0, [i], attempt=_MOCKS, device=grid.device)
        sky = posterior.prior_variance.sqrt() * grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))
        noise = posterior.weight.sqrt() * streams.normal(2, *grid.field_shape, dtype=grid.dtype)
        of_sky, of_noise = adjoint(posterior.weight * operator.forward(sky)), adjoint(noise)
        mocks.append(power(of_sky + of_noise))
        signal.append(power(of_sky))
    used = np.nan_to_num(np.mean(mocks, axis=0)) > 0  # bands whose modes the data constrain
    data, mocks, signal = data[used], np.array(mocks)[:, used], np.mean(signal, axis=0)[used]
    ratio = data / mocks.mean(axis=0)
    amplitude, error = _amplitude(data, mocks, signal)
    return {
        "ell": bands.ell.cpu().numpy()[used].tolist(),
        "power_ratio": ratio.tolist(),
        "power_error": (mocks.std(axis=0, ddof=1) / mocks.mean(axis=0)).tolist(),
        "power_p_value": _p_value(np.cbrt(data), np.cbrt(mocks)),
        "amplitude": amplitude,
        "amplitude_error": error,
    }


def _amplitude(data, mocks, signal):
    """Return the factor of the signal in the power of the data, and its standard deviation; None without a signal."""
    weight = signal / mocks.var(axis=0, ddof=1)
    total = np.sum(weight * signal)
    if not total > 0:
        return None, None
    of_mocks = mocks @ weight / total
    error = of_mocks.std(ddof=1) * np.sqrt(1 + 1 / len(mocks))
    return float(1 + data @ weight / total - of_mocks.mean()), float(error)


def _p_value(data, mocks):
    """Return the p-value of Hotelling's T^2 of a vector ``(k,)`` given others ``(n, k)`` of the same distribution."""
    n = len(mocks)
    if not len(data):
        return None
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(mocks, rowvar=False)))
    good = values > 1e-8 * values.max()  # in the smallest fields some bands are the same
    k = int(good.sum())
    t2 = np.sum((vectors.T @ (data - mocks.mean(axis=0)))[good] ** 2 / values[good]) / (1 + 1 / n)
    return float(fdtrc(k, n - k, t2 * (n - k) / (k * (n - 1))))
