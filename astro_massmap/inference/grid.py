"""
Field embedded in a larger periodic box, and the Fourier modes of the box.

Fourier transforms are orthonormal and real: the modes ``(..., ny, nx // 2 + 1)`` of white noise of unit variance have
unit variance, and a field with angular power spectrum C_ell has modes of variance ``S(ell) = C_ell / pixel_size**2``.

The field is in the first rows and columns of the box. The rest of the box is unobserved, so that structure does not
wrap around from one edge of the field to the other.

On large boxes all operations work on pieces, some rows or columns of modes that fit into the cache of a processor: only
the result is then in memory, and transforms take half as long. The values do not depend on the pieces.
"""

import math
from functools import cached_property, reduce
from operator import add

import torch
from scipy.fft import next_fast_len

# number of modes in a piece: one mebibyte on a CPU, for the cache of a core, and enough work for a GPU elsewhere
_PIECE_ON_CPU, _PIECE = 2**17, 2**22
_LEAST_SIDE = 64  # smallest side of the box of a posterior, in pixels


def padded_shape(shape, padding):
    """
    Return the shape of a periodic box ``padding`` times larger than the field, rounded up for the FFT.

    Parameters
    ----------
    shape, padding : tuple of int, float
        Rows and columns of the field, and smallest sides of the box in sides of the field.

    Examples
    --------
    >>> from astro_massmap.inference import padded_shape
    >>> padded_shape((101, 67), 1), padded_shape((101, 67), 2)
    ((108, 72), (216, 135))
    """
    return tuple(next_fast_len(math.ceil(side * padding), real=True) for side in shape)


def posterior_shape(shape, padding):
    """
    Return the shape of the periodic box of a posterior: as `padded_shape`, and at least 64 pixels.

    The standard deviations of a small field, or of a narrow strip, are wrong in a box without larger scales. With
    ``padding=1`` the field itself is periodic, of any size.

    Examples
    --------
    >>> from astro_massmap.inference import posterior_shape
    >>> posterior_shape((101, 67), 2), posterior_shape((16, 1), 2), posterior_shape((16, 1), 1)
    ((216, 135), (64, 64), (16, 1))
    """
    if padding == 1:
        return padded_shape(shape, padding)
    return padded_shape([max(side, _LEAST_SIDE / padding) for side in shape], padding)


class FourierGrid:
    """
    Fourier modes of a periodic box with a field in its first corner.

    Parameters
    ----------
    field_shape : tuple of int
        Rows and columns of the field.
    pixel_size : float
        Side of a pixel in radians.
    box_shape : tuple of int, optional
        Rows and columns of the box; by default those of the field, which is then periodic.
    dtype, device : `torch.dtype`, `torch.device` or str
        Real type and device of the tensors.

    Attributes
    ----------
    lx, ly : `torch.Tensor`
        Wave numbers along x (the last axis) and y, in radian\\ :sup:`-1`: a row and a column.

    Raises
    ------
    ValueError
        If the box is smaller than the field.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import FourierGrid
    >>> grid = FourierGrid((16, 16), 1.2e-4, (30, 32), dtype=torch.float64)
    >>> field = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> modes = grid.to_modes(field)
    >>> modes.shape, torch.allclose(grid.to_field(modes), field)
    (torch.Size([30, 17]), True)
    """

    def __init__(self, field_shape, pixel_size, box_shape=None, *, dtype=torch.float32, device="cpu"):
        self.field_shape = tuple(field_shape)
        self.box_shape = self.field_shape if box_shape is None else tuple(box_shape)
        if any(box < field for box, field in zip(self.box_shape, self.field_shape, strict=True)):
            raise ValueError(f"box_shape: needs to be at least field_shape {self.field_shape}, got {self.box_shape}")
        self.pixel_size = float(pixel_size)
        self.dtype, self.device = dtype, torch.device(device)
        self.sum_dtype = torch.float32 if self.device.type == "mps" else torch.float64  # no double precision on mps
        ny, nx = self.box_shape
        self.ly = 2 * math.pi * torch.fft.fftfreq(ny, self.pixel_size, dtype=torch.float64, device="cpu")[:, None]
        self.lx = 2 * math.pi * torch.fft.rfftfreq(nx, self.pixel_size, dtype=torch.float64, device="cpu")[None]
        # half of the modes determine a real field: an inner column represents itself and its complex conjugate
        self._multiplicity = torch.full((nx // 2 + 1,), 2.0, dtype=torch.float64, device="cpu")
        self._multiplicity[0] = 1
        if nx % 2 == 0:
            self._multiplicity[-1] = 1
        self.multiplicity = self.real(self._multiplicity)

    def real(self, tensor):
        """Convert a tensor to the real type and the device of this grid."""
        return tensor.to(self.dtype).to(self.device)

    @property
    def ell(self):
        """Length of the wave numbers ``(ny, nx // 2 + 1)``, in double precision; computed at each access."""
        return torch.hypot(self.lx, self.ly)

    @cached_property
    def longest(self):
        """Lowest ell of a mode of the box, without ell = 0; of a box of one pixel, ``1 / pixel_size``."""
        ell = torch.cat(
            [torch.hypot(self.lx[:, 1:], self.ly[:1]).flatten(), torch.hypot(self.lx[:, 0], self.ly[1:, 0])]
        )
        return ell.min() if len(ell) else torch.tensor(1 / self.pixel_size, dtype=torch.float64, device="cpu")

    def of_ell(self, function):
        """Evaluate a function of ell on the modes; its argument is ell of some rows, in double precision on the CPU."""
        return self.pointwise(lambda ly: self.real(function(torch.hypot(self.lx, ly))), self.ly)

    def pointwise(self, function, *tensors):
        """Evaluate a formula for modes ``(..., ny, nx // 2 + 1)`` or rows ``(..., ny, 1)``, some rows at a time."""
        if len(self.pieces()) == 1:
            return function(*tensors)
        return self._in_pieces(lambda rows: function(*(t[..., rows, :] for t in tensors)), -2)

    def pieces(self, axis=-2, length=None):
        """Return slices of the rows (-2) or columns (-1) of modes, or of an axis of another length."""
        ny, columns = self.box_shape[0], self.box_shape[1] // 2 + 1
        step = max((_PIECE_ON_CPU if self.device.type == "cpu" else _PIECE) // (columns if axis == -2 else ny), 1)
        length = (ny if axis == -2 else columns) if length is None else length
        if step >= length:
            return [slice(None)]
        return [slice(start, min(start + step, length)) for start in range(0, length, step)]

    def _in_pieces(self, function, axis, length=None):
        pieces, whole = self.pieces(axis, length), None
        for piece in pieces:
            part = function(piece)
            if len(pieces) == 1:
                return part
            if whole is None:
                shape = list(part.shape)
                shape[axis] = pieces[-1].stop
                whole = part.new_empty(shape)
            whole.narrow(axis, piece.start, part.shape[axis]).copy_(part)
        return whole

    def to_modes(self, field, times=None, where=None):
        """
        Compute the modes ``(..., ny, nx // 2 + 1)`` of a field that is zero outside.

        Parameters
        ----------
        field : `torch.Tensor`
            Field ``(..., rows, columns)``, not larger than the box.
        times : `torch.Tensor`, optional
            Factors ``(k, ny, nx // 2 + 1)`` for k components of the field ``(..., k, rows, columns)``, which are added.
        where : tuple of two `torch.Tensor`, optional
            Rows and columns of the field in the box; by default the first ones.
        """
        (ny, nx), (rows, columns) = self.box_shape, where or (None, None)

        def along_x(part):
            return torch.fft.rfft(_placed(field[..., part, :], columns, nx, -1), n=nx, dim=-1, norm="ortho")

        def along_y(part):
            modes = torch.fft.fft(_placed(half[..., part], rows, ny, -2), n=ny, dim=-2, norm="ortho")
            return modes if times is None else (times[..., part] * modes).sum(dim=-3)

        half = self._in_pieces(along_x, -2, field.shape[-2])
        return self._in_pieces(along_y, -1)

    def to_field(self, modes, times=None, where=None):
        """
        Compute the field ``(..., *field_shape)`` from modes ``(..., ny, nx // 2 + 1)``; the adjoint of `to_modes`.

        The factors ``times`` are as in `to_modes`; ``where`` are rows and columns to return, by default those of the
        field.
        """
        rows, columns = where or (slice(self.field_shape[0]), slice(self.field_shape[1]))

        def along_y(part):
            factors = modes[..., part] if times is None else times[..., part] * modes[..., part]
            return torch.fft.ifft(factors, dim=-2, norm="ortho")[..., rows, :]

        def along_x(part):
            return torch.fft.irfft(half[..., part, :], n=self.box_shape[1], dim=-1, norm="ortho")[..., columns]

        half = self._in_pieces(along_y, -1)
        return self._in_pieces(along_x, -2, half.shape[-2])

    def inner(self, a, b):
        """Compute the inner product ``(...)`` of two real fields from their modes, summed in double precision."""
        return self._sum(lambda a, b: (a.real * b.real + a.imag * b.imag) * self.multiplicity, a, b)

    def balanced(self, a, b):
        """Compute the inner product with equal weight for each octave of scales, so that large scales count, too."""
        return self._sum(lambda a, b, w: (a.real * b.real + a.imag * b.imag) * w, a, b, self._balance)

    @cached_property
    def _balance(self):
        longest = self.longest
        return self.of_ell(lambda ell: self._multiplicity * (longest / ell.clamp(min=longest)) ** 2)

    def _sum(self, function, *tensors):
        sums = (
            function(*(t[..., rows, :] for t in tensors)).sum(dim=(-2, -1), dtype=self.sum_dtype)
            for rows in self.pieces()
        )
        return reduce(add, sums)

    def pixel_variance(self, mode_variance):
        """Compute the variance of a pixel of a stationary field from the variance of its modes."""
        ny, nx = self.box_shape
        return float(self._sum(lambda variance: variance * self.multiplicity, mode_variance)) / (ny * nx)

    def mode_variance(self, spectrum):
        """
        Compute the variance ``S(ell)`` of the modes of a field with the angular power spectrum ``spectrum(ell)``.

        Shear does not measure the mean of the convergence; S(0) is set to the variance at the lowest ell of the box, so
        that the prior keeps the mean finite.
        """

        def variance(ell):
            c_ell = spectrum(torch.where(ell > 0, ell, self.longest).numpy())
            return torch.as_tensor(c_ell, dtype=torch.float64, device="cpu") / self.pixel_size**2

        return self.of_ell(variance)


def _placed(tensor, where, length, axis):
    """Place a tensor at positions of a longer axis, zero elsewhere; by default at its beginning, as the FFT does."""
    if where is None:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = length
    return tensor.new_zeros(shape).index_copy_(axis, where, tensor)
