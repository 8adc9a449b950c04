"""Structures in the data that a map lacks: the highest peak of the residuals, in standard deviations of the noise."""

import torch

_WIDTHS = 1.0, 2.5  # standard deviations of the Gaussian in pixels
_LEAST = 0.3  # smallest sum of weights, in medians, of a pixel that counts
_ROUNDING = 1e-6  # smallest variance of the noise, in units of that of complete data


def residual_peak(posterior, modes):
    """
    Return the highest peak of the smoothed residuals ``P' N^-1 (y - P x)`` of maps x over their standard deviation.

    If data and map come from the model, residuals are distributed as the noise, for any prior: peaks in a field of 100
    to 300 pixels on a side are at most 4.5. A map that lacks a structure of the data has a higher peak there. The
    residuals are smoothed by Gaussians of 1 and 2.5 pixels, of which the higher peak counts; the peak is at least 0.

    Parameters
    ----------
    posterior, modes
        `~astro_massmap.inference.GaussianPosterior`, and modes of the maps, ``(n, ny, nx // 2 + 1)``.

    Returns
    -------
    `torch.Tensor`
        Peaks ``(n,)``, in the type of the modes.

    Examples
    --------
    A zero map lacks a structure of 20 standard deviations:

    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import ConvergenceObservation, GaussianPosterior, residual_peak
    >>> kappa = np.zeros((32, 32))
    >>> kappa[16, 16] = 2.0
    >>> observation = ConvergenceObservation.from_arrays(kappa, np.full((32, 32), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (64, 64))
    >>> bool(residual_peak(posterior, 0 * posterior.mean_modes()[None])[0] > 5)
    True
    """
    grid, operator = posterior.grid, posterior.operator
    residual = operator.adjoint(posterior.weight * (posterior.shear - operator.forward(modes)))
    peaks = []
    for width in _WIDTHS:
        beam = grid.of_ell(lambda ell, w=width: torch.exp(-((ell * w * grid.pixel_size) ** 2) / 2))
        variance = filtered_noise_variance(posterior, beam)
        seen = posterior.weight > 0
        seen &= variance > _LEAST * variance[seen].median()
        ratio = grid.to_field(residual * beam) / variance.sqrt()
        peaks.append(torch.where(seen, ratio, 0.0).amax(dim=(1, 2)))  # a lone pixel has no noise from around it
    return torch.stack(peaks).amax(dim=0)


def filtered_noise_variance(posterior, beam):
    """
    Compute the variance ``field_shape`` of the noise ``P' N^-1 n`` after convolution with a beam, 0 far from data.

    Parameters
    ----------
    posterior, beam
        `~astro_massmap.inference.GaussianPosterior`, and transfer function of the beam on the modes,
        ``(ny, nx // 2 + 1)``.
    """
    grid, operator = posterior.grid, posterior.operator
    (ny, nx), (rows, columns) = grid.box_shape, grid.field_shape
    # the noise in a pixel comes from both components of the shear around it
    square = sum(torch.fft.irfft2(beam * p, s=(ny, nx)).square() for p in (operator.p1, operator.p2))
    of_square = torch.fft.rfft2(posterior.weight, s=(ny, nx)) * torch.fft.rfft2(square)
    variance = torch.fft.irfft2(of_square, s=(ny, nx))[:rows, :columns]
    return torch.where(variance > _ROUNDING * posterior.weight.max() * square.sum(), variance, 0.0)
