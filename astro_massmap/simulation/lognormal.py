"""
Shifted lognormal convergence maps (Coles & Jones 1991; Xavier, Abdalla & Joachimi 2016).

    kappa = lambda [exp(g - v / 2) - 1],

with a Gaussian field g of mean 0 and variance v. The mean of kappa is 0 and its minimum is ``-lambda``, the shift.
With ``xi`` the covariance of kappa and ``xi_g`` that of g,

    xi = lambda^2 [exp(xi_g) - 1],    xi_g = ln(1 + xi / lambda^2),    v = xi_g(0),

so that kappa has exactly the power spectrum of xi. With ``y^2 = xi(0) / lambda^2`` its skewness is ``y^3 + 3 y``. For
very smooth and skewed fields no lognormal field exists: the Fourier transform of xi_g, the power of g, has negative
values. They are set to zero, and the resulting power is compared with the given spectrum.
"""

import math
from numbers import Integral, Real

import numpy as np
import torch

from .._utils.checks import check_integer, check_padding, check_spectrum
from .._utils.progress import warn
from ..inference import FourierGrid, Streams, padded_shape

_TOLERANCE = 0.01  # relative error of the power in an octave of ell
_FLOOR = 0.01  # smallest denominator of that error, in units of the power of the strongest octave


def lognormal_maps(
    spectrum,
    n,
    shape,
    pixel_size,
    *,
    shift=0.03,
    padding=1,
    seed=0,
    start=0,
    dtype=torch.float32,
    device="cpu",
):
    """
    Draw lognormal maps with a given power spectrum, on a flat sky.

    Parameters
    ----------
    spectrum : callable
        Angular power spectrum C_ell of the maps at an array of ``ell > 0``, such as a `~astro_massmap.PowerSpectrum`.
        The mean of a map has the variance of the largest scale in the box.
    n, shape, pixel_size
        Number of maps, rows and columns, and side of a pixel in radians.
    shift : float
        Minus the minimum of the convergence, which is about that of an empty line of sight.
    padding : float
        Side of the periodic box divided by that of the map, which is cut from its corner; with 1 the maps are periodic.
    seed, start : int
        Seed, and number of the first map; map i depends on the seed and on i alone.
    dtype, device
        Type of the maps, and device of the computation. Random numbers differ between devices.

    Returns
    -------
    `torch.Tensor`
        Maps ``(n, *shape)``.

    Raises
    ------
    ValueError
        If a number is out of range, or the shift is too small for a lognormal field with this spectrum. A warning is
        given if the power of the maps differs from the spectrum by more than 1 % in an octave.

    Examples
    --------
    >>> from astro_massmap.simulation import lognormal_maps
    >>> maps = lognormal_maps(lambda ell: 4e-10 * (ell / 1000) ** -1.2, 4, (32, 48), 1.2e-4)
    >>> maps.shape, bool((maps >= -0.03).all())
    (torch.Size([4, 32, 48]), True)
    """
    shape = _check(spectrum, n, shape, pixel_size, shift, padding, seed, start)
    box = shape if padding == 1 else padded_shape(shape, padding)
    variance, v = gaussian_variance(FourierGrid(box, pixel_size, dtype=torch.float64), spectrum, shift)
    grid = FourierGrid(shape, pixel_size, box, dtype=dtype, device=device)
    amplitude = grid.real(variance.sqrt())

    def draw(i):
        (white,) = Streams(seed, [i], device=device).normal(*box, dtype=dtype)
        return shift * torch.expm1(grid.to_field(amplitude * grid.to_modes(white)) - v / 2)

    return torch.stack([draw(i) for i in range(start, start + n)])


def gaussian_variance(box, spectrum, shift):
    """Return the variance of each mode and of a pixel of g, on the `FourierGrid` of a box in double precision."""
    wanted = box.mode_variance(spectrum)
    if not (torch.isfinite(wanted).all() and (wanted >= 0).all() and wanted.sum() > 0):
        raise ValueError("spectrum: needs C_ell that are finite and not negative, nor all zero")
    root = math.sqrt(math.prod(box.box_shape))  # of the orthonormal Fourier transform
    ratio = box.to_field(wanted / shift**2 + 0j) / root
    if ratio.min() <= -1:
        least = shift * math.sqrt(-float(ratio.min()))
        raise ValueError(
            f"shift: needs to be larger than {least:.3g} for this spectrum, whose covariance falls to "
            f"{-(least**2):.3g}, got {shift:g}"
        )
    modes = (box.to_modes(torch.log1p(ratio)).real * root).clamp(min=0)
    possible = box.to_modes(torch.expm1(box.to_field(modes + 0j) / root)).real * root * shift**2
    _compare(box, possible, wanted, shift)
    return modes, box.pixel_variance(modes)


def _compare(box, possible, wanted, shift):
    """Warn if no lognormal field has the given power spectrum."""
    longest = box.ell.flatten()[1:].min() if box.ell.numel() > 1 else 1.0
    octave = torch.log2((box.ell / longest).clamp(min=1)).long().flatten()
    error, power = (torch.bincount(octave, (x * box.multiplicity).flatten()) for x in (possible - wanted, wanted))
    error = error.abs() / power.clamp(min=_FLOOR * float(power.max()))
    worst = int(error.argmax())
    if error[worst] > _TOLERANCE:
        warn(
            f"spectrum, shift: no lognormal field with the shift {shift:g} has this spectrum; around ell = "
            f"{float(longest) * 2 ** (worst + 0.5):.3g} the power of the maps is wrong by {float(error[worst]):.1%}. "
            "Use a larger shift or a less steep spectrum",
            stacklevel=5,
        )


def _check(spectrum, n, shape, pixel_size, shift, padding, seed, start):
    check_spectrum(spectrum)
    for value, name, least in ((n, "n", 1), (seed, "seed", 0), (start, "start", 0)):
        check_integer(value, name, least)
    if not (np.iterable(shape) and len(shape) == 2 and all(isinstance(n, Integral) and n >= 1 for n in shape)):
        raise ValueError(f"shape: needs two positive integers (ny, nx), got {shape!r}")
    if not (isinstance(pixel_size, Real) and 0 < pixel_size < math.pi):
        raise ValueError(f"pixel_size: needs the side of a pixel in radians, a plain number; got {pixel_size!r}")
    if not (isinstance(shift, Real) and 0 < shift < math.inf):
        raise ValueError(f"shift: needs to be positive, got {shift!r}")
    check_padding(padding, "map")
    return tuple(int(side) for side in shape)
