"""
Starlets: isotropic undecimated wavelets of the cubic B-spline (Starck, Fadili & Murtagh 2007, IEEE TIP 16, 297).

With ``H_j`` the convolution along both axes with (1, 4, 6, 4, 1) / 16 at a spacing of ``2^(j-1)`` pixels, a map c_0 has
the smoothed maps ``c_j = H_j c_(j-1)`` and, in the second generation of the transform, the coefficients
``w_j = c_(j-1) - H_j c_j``. The map is ``w_1 + H_1 (w_2 + H_2 (... + H_J c_J))``: a sum of B-splines
``H_1 ... H_j``, which are positive, compact and nearly isotropic. Outside of the map all values are zero, so that each
``H_j`` is a symmetric matrix.
"""

import torch

_CENTRE, _TAPS = 6 / 16, (4 / 16, 1 / 16)


def smooth(field, scale):
    """
    Apply ``H_scale``, the B-spline filter with a spacing of ``2**(scale - 1)`` pixels, to fields ``(..., ny, nx)``.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference.starlet import smooth
    >>> (16 * smooth(torch.eye(5)[2:3], 1)[0]).tolist()
    [0.375, 1.5, 2.25, 1.5, 0.375]
    """
    for axis in (-1, -2):
        smoothed, length = _CENTRE * field, field.shape[axis]
        for tap, factor in enumerate(_TAPS, start=1):
            step = tap * 2 ** (scale - 1)
            if step < length:
                n = length - step
                smoothed.narrow(axis, step, n).add_(field.narrow(axis, 0, n), alpha=factor)
                smoothed.narrow(axis, 0, n).add_(field.narrow(axis, step, n), alpha=factor)
        field = smoothed
    return field


def starlet(field, n_scales):
    """
    Compute the second-generation starlet transform of fields ``(..., ny, nx)``.

    Parameters
    ----------
    field, n_scales : `torch.Tensor`, int
        Fields, and the number of wavelet scales.

    Returns
    -------
    `torch.Tensor`
        Coefficients ``(..., n_scales + 1, ny, nx)``: w_1 to w_J, and c_J.

    Examples
    --------
    The transform is exact:

    >>> import torch
    >>> from astro_massmap.inference import starlet
    >>> from astro_massmap.inference.starlet import spline_sum
    >>> field = torch.randn(32, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> coefficients = starlet(field, 3)
    >>> torch.allclose(coefficients[0] + spline_sum(coefficients[1:]), field)
    True
    """
    coefficients = []
    for scale in range(1, n_scales + 1):
        coarse = smooth(field, scale)
        coefficients.append(field - smooth(coarse, scale))
        field = coarse
    return torch.stack([*coefficients, field], dim=-3)


def spline_sum(coefficients):
    """
    Add the B-splines ``H_1 ... H_j``, j = 1 to J, times their coefficients ``(..., J, ny, nx)``.

    It is the inverse of `starlet` without the finest scale, w_1, whose atoms are single pixels.
    """
    total = torch.zeros_like(coefficients[..., 0, :, :])
    for scale in range(coefficients.shape[-3], 0, -1):
        total = smooth(total + coefficients[..., scale - 1, :, :], scale)
    return total


def spline_products(field, n_scales):
    """Compute the inner products ``(..., n_scales, ny, nx)`` of fields and B-splines; the adjoint of `spline_sum`."""
    products = []
    for scale in range(1, n_scales + 1):
        field = smooth(field, scale)
        products.append(field)
    return torch.stack(products, dim=-3)


def spline_beams(grid, n_scales):
    """Yield the transfer functions of the B-splines on the modes of a `~astro_massmap.inference.FourierGrid`."""
    beam = torch.ones((), dtype=torch.float64, device="cpu")
    for scale in range(1, n_scales + 1):
        along_y, along_x = (torch.cos(ell * grid.pixel_size * 2 ** (scale - 2)) ** 4 for ell in (grid.ly, grid.lx))
        beam = beam * along_y * along_x
        yield grid.real(beam)
