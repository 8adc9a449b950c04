"""
Inpainting of the shear: pixels without data are filled so that the convergence is sparse (Pires et al. 2009, 2020).

The convergence of a complete field has few large coefficients in a discrete cosine transform (DCT), while gaps spread
it over many. Each iteration sets the coefficients of the E and the B mode below a threshold to zero, computes the shear
of what is left, and restores the data. The threshold decreases exponentially from the largest coefficient to nearly
zero. In the gaps, the variance of the E mode at each scale of a starlet transform is made equal to that in pixels with
data, as a sparse map would be too smooth there, and the B mode is zero.
"""

import itertools
import math

import numpy as np
import torch
from scipy.fft import dctn, idctn

from .grid import FourierGrid
from .operator import FourierOperator
from .starlet import spline_beams

_LAST = 1e-3  # last threshold, in units of the first
_COARSEST = 8  # width of the coarsest wavelet, as a fraction of the shorter side of the box


def inpainted_shear(operator, shear, observed, iterations):
    """
    Fill the pixels without data, and the rest of the periodic box, with shear of a sparse convergence.

    Parameters
    ----------
    operator : `~astro_massmap.inference.FourierOperator`
        Operator from the convergence to the data, on the grid of the field and its box.
    shear, observed : `torch.Tensor`
        Both components ``(2, *field_shape)``, and pixels with data, bool ``(*field_shape)``.
    iterations : int
        Number of iterations.

    Returns
    -------
    `torch.Tensor`
        Both components ``(2, *box_shape)``; those of pixels with data are unchanged.

    Notes
    -----
    The iterations run on a CPU in single precision.

    References
    ----------
    Pires, S., et al. 2009, MNRAS, 395, 1265; Pires, S., et al. 2020, A&A, 638, A141.

    Examples
    --------
    A wave of the convergence is recovered in a hole:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap.inference import FourierGrid, LensingOperator, inpainted_shear
    >>> grid = FourierGrid((32, 32), 1.2e-4)
    >>> wave = torch.cos(2 * np.pi * 3 * torch.arange(32) / 32).repeat(32, 1)
    >>> operator = LensingOperator(grid)
    >>> shear = operator.forward(grid.to_modes(wave))
    >>> observed = torch.ones(32, 32, dtype=torch.bool)
    >>> observed[10:16, 12:20] = False
    >>> filled = inpainted_shear(operator, observed * shear, observed, 30)
    >>> bool((filled - shear).abs().max() < 0.1)
    True
    """
    grid, (rows, columns) = operator.grid, operator.grid.field_shape
    data = shear.new_zeros(2, *grid.box_shape)
    data[:, :rows, :columns] = shear
    gap = torch.ones(grid.box_shape, dtype=torch.bool, device=shear.device)
    gap[:rows, :columns] = ~observed
    if not gap.any():
        return data
    filled = _iterated(operator, data.float().cpu(), gap.cpu(), iterations)
    return torch.where(gap, filled.to(data), data)


def _iterated(operator, data, gap, iterations):
    box = FourierGrid(operator.grid.box_shape, operator.grid.pixel_size, dtype=torch.float32, device="cpu")
    operator, wavelets = FourierOperator(box, operator.p1, operator.p2), _wavelets(box)
    filled, largest = data, None
    for step in range(iterations):
        coefficients = [_cosines(box.to_field(modes)) for modes in operator.e_and_b_modes(filled)]
        largest = largest or max(float(np.abs(c).max()) for c in coefficients)
        threshold = largest * _LAST ** (step / max(iterations - 1, 1))
        e_mode, b_mode = (_without_small(c, threshold) for c in coefficients)
        e_mode = box.to_modes(_with_equal_variance(box, wavelets, e_mode, gap))
        b_mode = box.to_modes(torch.where(gap, 0.0, b_mode))
        p1, p2 = operator.p1, operator.p2
        shear = box.to_field(torch.stack([p1 * e_mode - p2 * b_mode, p2 * e_mode + p1 * b_mode]))
        filled = torch.where(gap, shear, data)
    return filled


def _cosines(field):
    return dctn(field.numpy(), norm="ortho")


def _without_small(coefficients, threshold):
    return torch.from_numpy(idctn(np.where(np.abs(coefficients) < threshold, 0, coefficients), norm="ortho"))


def _with_equal_variance(box, wavelets, field, gap):
    """Multiply each wavelet scale in the gaps by the ratio of its standard deviations in pixels with data and gaps."""
    modes, n_gap = box.to_modes(field), int(gap.sum())
    gap = gap.to(field)
    for wavelet in wavelets:
        part = box.to_field(wavelet * modes)
        in_gap = gap * part
        inside = float(torch.vdot(in_gap.flatten(), in_gap.flatten())) / n_gap
        outside = (float(torch.vdot(part.flatten(), part.flatten())) - inside * n_gap) / (gap.numel() - n_gap)
        if inside > 0:
            field = field.add(in_gap, alpha=math.sqrt(max(outside, 0) / inside) - 1)
    return field


def _wavelets(box):
    """Return the transfer functions ``(scales, ny, nx // 2 + 1)`` of a starlet transform but for its coarsest map."""
    scales = max(int(math.log2(min(box.box_shape) / _COARSEST)), 1)
    smooth = [torch.ones((), dtype=box.dtype, device=box.device), *spline_beams(box, scales)]
    return torch.stack([a - b for a, b in itertools.pairwise(smooth)])
