"""Data of a survey, as plain tensors."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from .operator import DirectOperator, LensingOperator
from .random import Streams

_ADDED_NOISE = 2**32 - 1  # attempt number of its stream, which no chain has
_LARGEST_PIXEL = 0.05  # radians, nearly 3 degrees: larger numbers are arcminutes or degrees
REDUCED = (-1.0, 0.8)  # limits of the convergence in the reduced shear: a fixed point may diverge near 1


def _checked_pixel_size(pixel_size):
    if getattr(pixel_size, "unit", None) is not None:
        raise TypeError(f"pixel_size: needs a number of radians, got {pixel_size}; use pixel_size.to_value('rad')")
    size = float(pixel_size)
    if not 0 < size < _LARGEST_PIXEL:
        raise ValueError(
            f"pixel_size: needs to be the side of a pixel in radians, positive and below {_LARGEST_PIXEL}, got {size:g}"
        )
    return size


def _check_plain(*arrays):
    if any(np.ma.isMaskedArray(x) for x in arrays):  # the copy would contain the values under the mask
        raise TypeError("shear, noise_std: need arrays without a mask; the noise is infinite in pixels without data")


@dataclass(frozen=True, repr=False)
class Observation:
    """
    Shear and its noise on a flat grid of square pixels.

    Attributes
    ----------
    shear : `torch.Tensor`
        Shear components along the pixel axes (x right, y up), ``(2, ny, nx)``; zero without data.
    noise_std : `torch.Tensor`
        Standard deviation of the noise of a component, ``(ny, nx)``; infinite without data.
    pixel_size : float
        Side of a pixel in radians.
    efficiency : `torch.Tensor`, optional
        Mean f and variance v of the efficiency of the sources in a pixel relative to those of kappa, ``(2, ny, nx)``,
        by default 1 and 0; the reduced shear is ``gamma / (1 - r)`` with r as in `reduction`.
    frozen : `torch.Tensor`, optional
        Value of r for which `unreduced` multiplied shear and noise by ``1 - r``.
    origin : Observation, optional
        Data as they were measured, to which checksum and random numbers belong, see `unreduced`.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.inference import Observation
    >>> observation = Observation.from_arrays(np.ones((2, 1, 2)), np.array([[0.1, np.inf]]), pixel_size=1.2e-4)
    >>> observation.observed.tolist(), observation.shear[0].tolist(), float(observation.weight[0, 1])
    ([[True, False]], [[1.0, 0.0]], 0.0)
    """

    operator: ClassVar = LensingOperator  # from the convergence to the data
    components: ClassVar = 2  # number of components with data

    shear: torch.Tensor
    noise_std: torch.Tensor
    pixel_size: float
    efficiency: torch.Tensor | None = None
    frozen: torch.Tensor | None = None
    origin: "Observation | None" = None

    @classmethod
    def from_arrays(cls, shear, noise_std, pixel_size, efficiency=None):
        """
        Copy from numpy arrays of any byte order, in double precision.

        Parameters
        ----------
        shear, noise_std, efficiency : array-like
            Values as for the attributes, dimensionless; the noise is positive, the shear is ignored without data.
        pixel_size : float
            Side of a pixel in radians.

        Raises
        ------
        TypeError, ValueError
            If an array has a mask, the shapes are not those of one grid, the noise is not positive or infinite
            everywhere, the shear is not finite where it is measured, or the pixel size is not positive or not in
            radians.
        """
        pixel_size = _checked_pixel_size(pixel_size)
        _check_plain(shear, noise_std, efficiency)
        shear, noise_std = (torch.from_numpy(np.array(x, dtype=np.float64)) for x in (shear, noise_std))
        if noise_std.ndim != 2 or shear.shape != (2, *noise_std.shape):
            raise ValueError(
                "shear, noise_std: need the shapes (2, ny, nx) and (ny, nx) of one grid, got "
                f"{tuple(shear.shape)} and {tuple(noise_std.shape)}"
            )
        if not (noise_std > 0).all():
            raise ValueError("noise_std: needs to be positive, and infinite without data")
        if torch.isinf(noise_std).all():
            raise ValueError("noise_std: needs pixels with data, but it is infinite everywhere")
        shear = torch.where(torch.isinf(noise_std), 0.0, shear)
        if not torch.isfinite(shear).all():
            raise ValueError("shear: needs finite values wherever noise_std is finite")
        if efficiency is not None:
            mean, variance = efficiency if np.ndim(efficiency) == 3 else (efficiency, 0.0)
            parts = (np.broadcast_to(np.asarray(x, dtype=np.float64), noise_std.shape) for x in (mean, variance))
            efficiency = torch.from_numpy(np.stack([*parts]))
        return cls(shear, noise_std, pixel_size, efficiency)

    def __repr__(self):
        ny, nx = self.shape
        side = math.degrees(self.pixel_size) * 60
        return f"<{type(self).__name__}: {ny} x {nx} pixels of {side:.3g} arcmin, {int(self.observed.sum())} with data>"

    @property
    def shape(self):
        """Rows and columns of the field."""
        return tuple(self.noise_std.shape)

    @property
    def observed(self):
        """Pixels with data, bool ``(ny, nx)``."""
        return torch.isfinite(self.noise_std)

    @property
    def weight(self):
        """Inverse noise variance ``(ny, nx)``; zero without data."""
        return self.noise_std**-2

    @cached_property
    def sha256(self):
        """Checksum of the data as measured, their noise and the pixel size, as hexadecimal digits."""
        if self.origin is not None:
            return self.origin.sha256
        digest = hashlib.sha256(
            json.dumps({"kind": type(self).__name__, "shape": list(self.shape)}, sort_keys=True).encode()
        )
        for tensor in (self.shear, self.noise_std):
            digest.update(tensor.numpy().tobytes())
        digest.update(repr(self.pixel_size).encode())
        if self.efficiency is not None:
            digest.update(self.efficiency.numpy().tobytes())
        return digest.hexdigest()

    def streams(self, seed, indices, *, attempt=0, device="cpu"):
        """Return `Streams` with the given parameters and, as key, the first 128 bits of the checksum of the data."""
        key = tuple(int(self.sha256[i : i + 8], 16) for i in range(0, 32, 8))
        return Streams(seed, indices, key=key, attempt=attempt, device=device)

    def with_noise_floor(self, information, seed):
        """
        Return the observation with a noise floor: noise is added to the pixels with the lowest noise.

        With s at most the lowest noise of a pixel, a few pixels with many galaxies would limit noise splitting. The
        posterior stays calibrated, as noise (of this ``seed``) is added to the data, too. ``information`` is the
        fraction of the sum of 1 / N that is kept; 1 changes nothing.
        """
        weight = self.weight[self.observed]
        if information == 1:
            return self
        ordered, _ = weight.sort()
        # information that is kept if all larger weights are reduced to the k-th
        n = len(ordered)
        rank = torch.arange(n, 0, -1, dtype=ordered.dtype, device=ordered.device)
        kept = (ordered.cumsum(0) - ordered + ordered * rank) / ordered.sum()
        k = int(torch.searchsorted(kept, information))
        floor = 1 / math.sqrt(float(ordered[min(k, n - 1)]))
        noise_std = self.noise_std.clamp(min=floor)
        missing = torch.where(self.observed, noise_std**2 - self.noise_std**2, 0.0).clamp(min=0).sqrt()
        (white,) = self.streams(seed, [0], attempt=_ADDED_NOISE).normal(*self.shear.shape, dtype=torch.float64)
        white[self.components :] = 0
        origin = None if self.origin is None else self.origin.with_noise_floor(information, seed)
        return dataclasses.replace(self, shear=self.shear + missing * white, noise_std=noise_std, origin=origin)

    def unreduced(self, kappa, blank=None):
        """
        Return the observation in which shear and noise are multiplied by ``1 - r``, see `reduction`.

        Data that are reduced shear become shear, for this convergence. Checksum and random numbers remain those of the
        original data.

        Parameters
        ----------
        kappa : `torch.Tensor`
            Convergence ``(ny, nx)``.
        blank : `torch.Tensor` of bool, optional
            Pixels whose data are left out.

        Examples
        --------
        >>> import numpy as np
        >>> import torch
        >>> from astro_massmap.inference import Observation
        >>> observation = Observation.from_arrays(np.full((2, 1, 1), 0.5), [[0.1]], pixel_size=1.2e-4)
        >>> changed = observation.unreduced(torch.full((1, 1), 0.25))
        >>> changed.shear.ravel().tolist(), round(float(changed.noise_std), 3), changed.sha256 == observation.sha256
        ([0.375, 0.375], 0.075, True)
        """
        origin = self if self.origin is None else self.origin
        frozen = self.reduction(kappa.to(origin.shear))
        shear, noise_std = origin.shear * (1 - frozen), origin.noise_std * (1 - frozen)
        if blank is not None:
            shear, noise_std = torch.where(blank, 0.0, shear), torch.where(blank, torch.inf, noise_std)
        return dataclasses.replace(self, shear=shear, noise_std=noise_std, frozen=frozen, origin=origin)

    def reduction(self, kappa):
        """
        Return r, with which the reduced shear is ``gamma / (1 - r)``, for convergences ``(..., ny, nx)``.

        It is kappa, or ``r = f kappa + v kappa^2 / (1 - f kappa)`` for sources of several efficiencies, the first terms
        of the continued fraction of the mean of ``1 / (1 - beta kappa)`` over efficiencies beta of mean f and variance
        v. It is limited to -1 to 0.8.
        """
        if self.efficiency is None:
            return kappa.clamp(*REDUCED)
        mean, variance = self.efficiency.to(kappa)
        first = (mean * kappa).clamp(*REDUCED)
        return (first + variance * kappa**2 / (1 - first)).clamp(*REDUCED)

    def information_kept(self, original):
        """Return the sum of 1 / N of this observation, divided by that of the original."""
        return float(self.weight.sum() / original.weight.sum())


class ConvergenceObservation(Observation):
    """
    Noisy map of the convergence itself: ``shear[0]`` is the map, ``shear[1]`` is zero.

    The noise needs to be white: independent from pixel to pixel, as it is before any smoothing. The attributes are
    those of `Observation`.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.inference import ConvergenceObservation
    >>> ConvergenceObservation.from_arrays([[0.1, 0.2]], [[0.1, np.inf]], 1.2e-4).shear.tolist()
    [[[0.1, 0.0]], [[0.0, 0.0]]]
    """

    operator: ClassVar = DirectOperator  # type: ignore[assignment]
    components: ClassVar = 1

    @classmethod
    def from_arrays(cls, kappa, noise_std, pixel_size):  # type: ignore[override]
        """Copy a noisy map ``(ny, nx)``, dimensionless; see `Observation.from_arrays`."""
        _check_plain(kappa)
        return super().from_arrays(np.stack([kappa, np.zeros_like(kappa)]), noise_std, pixel_size)

    def unreduced(self, kappa, blank=None):
        """Raise ValueError: the data are the convergence itself."""
        raise ValueError(
            "reduced_shear: needs shear, but the data are a map of the convergence, which does not contain the factor "
            "1 / (1 - kappa); use reduced_shear=False, and correct the map when it is made from shear"
        )
