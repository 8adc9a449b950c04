"""What a survey has measured, as plain tensors."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Observation:
    """
    Shear and its noise on a flat grid of square pixels.

    Attributes
    ----------
    shear : `torch.Tensor`
        Both components, ``(2, ny, nx)``, along the pixel axes (x right, y up); zero without data.
    noise_std : `torch.Tensor`
        Standard deviation ``(ny, nx)`` of the noise of a component; infinite without data.
    pixel_size : float
        Side of a pixel in radians.
    """

    shear: torch.Tensor
    noise_std: torch.Tensor
    pixel_size: float

    @classmethod
    def from_arrays(cls, shear, noise_std, pixel_size):
        """Copy from numpy arrays, whatever their byte order, in double precision."""
        shear, noise_std = (torch.from_numpy(np.array(x, dtype=np.float64)) for x in (shear, noise_std))
        shear = torch.where(torch.isinf(noise_std), torch.zeros((), dtype=shear.dtype), shear)
        return cls(shear, noise_std, float(pixel_size))

    @property
    def shape(self):
        """Rows and columns of the field."""
        return tuple(self.noise_std.shape)

    @property
    def observed(self):
        """Bool ``(ny, nx)``: where there is data."""
        return torch.isfinite(self.noise_std)

    @property
    def weight(self):
        """Inverse noise variance ``(ny, nx)``; zero without data."""
        return self.noise_std**-2
