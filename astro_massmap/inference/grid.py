"""
A field embedded in a larger periodic box, and the Fourier modes of that box.

Fourier transforms are orthonormal and real: the modes ``(..., ny, nx // 2 + 1)`` of white noise of
unit variance have unit variance themselves, and a field with angular power spectrum C_ell has modes
of variance ``S(ell) = C_ell / pixel_size**2``.

The field sits in the first rows and columns of the box. What lies outside it is unobserved, so that
structure cannot reach across the period of the box from one edge of the field to the other.
"""

import math

import torch
from scipy.fft import next_fast_len


def padded_shape(shape, padding):
    """Sides of the periodic box for a field of ``shape``: ``padding`` times larger, good for the FFT."""
    return tuple(next_fast_len(math.ceil(side * padding), real=True) for side in shape)


class FourierGrid:
    """
    The Fourier modes of a periodic box that holds a field in its first corner.

    Parameters
    ----------
    field_shape : tuple of int
        Rows and columns of the field.
    pixel_size : float
        Side of a pixel in radians.
    box_shape : tuple of int, optional
        Rows and columns of the box; by default the field is itself periodic.
    dtype : `torch.dtype`
        Real type of the fields.
    device : `torch.device` or str
        Where the tensors live.

    Attributes
    ----------
    lx, ly, ell : `torch.Tensor`
        Wave numbers along x (the last axis) and y, and their length, in radian\\ :sup:`-1`.
    """

    def __init__(self, field_shape, pixel_size, box_shape=None, *, dtype=torch.float32, device="cpu"):
        self.field_shape = tuple(field_shape)
        self.box_shape = self.field_shape if box_shape is None else tuple(box_shape)
        if any(box < field for box, field in zip(self.box_shape, self.field_shape, strict=True)):
            raise ValueError(f"box_shape {self.box_shape} is smaller than field_shape {self.field_shape}")
        self.pixel_size = float(pixel_size)
        self.dtype, self.device = dtype, torch.device(device)
        self.sum_dtype = torch.float32 if self.device.type == "mps" else torch.float64  # which has no doubles
        ny, nx = self.box_shape
        ly = 2 * math.pi * torch.fft.fftfreq(ny, self.pixel_size, dtype=torch.float64)
        lx = 2 * math.pi * torch.fft.rfftfreq(nx, self.pixel_size, dtype=torch.float64)
        self.ly, self.lx = (x.contiguous() for x in torch.meshgrid(ly, lx, indexing="ij"))
        self.ell = torch.hypot(self.lx, self.ly)
        # A real field is told by half its modes: an inner column stands for itself and its mirror.
        multiplicity = torch.full((nx // 2 + 1,), 2.0, dtype=torch.float64)
        multiplicity[0] = 1
        if nx % 2 == 0:
            multiplicity[-1] = 1
        self.multiplicity = self.real(multiplicity)
        longest = self.ell.flatten()[1:].min() if self.ell.numel() > 1 else torch.tensor(1.0)
        self._balance = self.real(multiplicity * (longest / self.ell.clamp(min=longest)) ** 2)

    def real(self, tensor):
        """``tensor`` in the real type and on the device of this grid."""
        return tensor.to(self.dtype).to(self.device)

    def to_modes(self, field):
        """Modes of a field (or of anything smaller than the box), zero outside: ``(..., ny, nx // 2 + 1)``."""
        ny, nx = self.box_shape
        rows = torch.fft.rfft(field, n=nx, dim=-1, norm="ortho")
        return torch.fft.fft(rows, n=ny, dim=-2, norm="ortho")

    def to_field(self, modes):
        """The field ``(..., *field_shape)`` of the modes of the box; the adjoint of `to_modes`."""
        (ny, nx), rows = self.field_shape, torch.fft.ifft(modes, dim=-2, norm="ortho")
        return torch.fft.irfft(rows[..., :ny, :], n=self.box_shape[1], dim=-1, norm="ortho")[..., :nx]

    def inner(self, a, b):
        """Inner product ``(...)`` of two real fields told by their modes, summed in double precision."""
        product = (a.real * b.real + a.imag * b.imag) * self.multiplicity
        return product.sum(dim=(-2, -1), dtype=self.sum_dtype)

    def balanced(self, a, b):
        """
        Inner product as `inner`, in which every octave of scales counts alike.

        There are ten thousand times more short waves than long ones; in the plain norm of a residual the
        long ones, which are the last to be solved, would drown.
        """
        return ((a.real * b.real + a.imag * b.imag) * self._balance).sum(dim=(-2, -1), dtype=self.sum_dtype)

    def pixel_variance(self, mode_variance):
        """Variance of a pixel of a stationary field with the given variance of its modes."""
        ny, nx = self.box_shape
        return float((mode_variance * self.multiplicity).sum(dtype=self.sum_dtype)) / (ny * nx)

    def mode_variance(self, spectrum):
        """
        Variance ``S(ell)`` of the modes of a field with the angular power spectrum C_ell.

        Shear does not measure the mean of the convergence; its variance S(0) is that of the longest
        wave in the box, so that the prior keeps it finite.
        """
        ell = self.ell.clone()
        ell[0, 0] = ell.flatten()[1:].min() if ell.numel() > 1 else 1 / self.pixel_size
        c_ell = torch.as_tensor(spectrum(ell.numpy()), dtype=torch.float64)
        return self.real(c_ell / self.pixel_size**2)
