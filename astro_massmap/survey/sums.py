"""Sums over the galaxies in the pixels of a field."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .._sky.binning import pixel_numbers
from .._sky.geometry import shear_in_pixels
from ..maps.shear_map import ShearMap
from .cells import vectors

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from ..maps.catalog import ShearCatalog
    from ..maps.n_z import NZ

_ROUNDING = 1e-9  # radians


class Sums:
    """Sums over the galaxies in the pixels of a field."""

    def __init__(self, wcs: WCS) -> None:
        self.wcs, self.shape = wcs, wcs.array_shape
        before = wcs.wcs.crpix - 0.5  # pixels from the edges of the grid to the centre of the cell
        corner = np.radians(wcs.wcs.cdelt[1]) * np.hypot(*np.maximum(before, self.shape[::-1] - before))
        self.centre, self.cosine = vectors(*np.radians(wcs.wcs.crval)), np.cos(2 * np.arctan(corner / 2) + _ROUNDING)
        n = self.shape[0] * self.shape[1]
        self.shear, self.variance, self.response = np.zeros(n, np.complex128), np.zeros(n), np.zeros(n)
        self.counts = np.zeros(n, np.int64)

    def located(self, coords: SkyCoord, places: NDArray, shear: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """
        Return the numbers of the galaxies on the grid, their pixels, and their shear along its axes.

        ``places`` are the unit vectors to the galaxies ``(n, 3)``, and ``shear`` is that to West and North ``(n,)``.
        """
        near = np.flatnonzero(places @ self.centre > self.cosine)
        x, y, shear = shear_in_pixels(coords[near], shear[near], self.wcs, False)
        on_grid, pixel = pixel_numbers(x, y, self.shape)
        return near[on_grid], pixel, shear[on_grid]

    def add(self, piece: ShearCatalog, places: NDArray, shear: NDArray, shape_noise: float) -> bool:
        """Add the galaxies of a piece, see `located`; return whether one is on the grid."""
        here, pixel, g = self.located(piece.coords, places, shear)
        if not pixel.size:
            return False
        w, m, n = piece.weight[here], piece.m_bias, self.counts.size
        factor = 1.0 if m is None else 1 + (m[here] if isinstance(m, np.ndarray) else m)
        self.shear += np.bincount(pixel, w * g.real, n) + 1j * np.bincount(pixel, w * g.imag, n)
        self.variance += shape_noise**2 * np.bincount(pixel, w**2, n)
        self.response += np.bincount(pixel, w * factor, n)
        self.counts += np.bincount(pixel, minlength=n)
        return True

    def shear_map(self, meta: dict[str, Any], n_z: NZ | None) -> ShearMap:
        seen = self.response > 0
        response = np.where(seen, self.response, 1)
        mean = self.shear / response
        noise = np.where(seen, np.sqrt(self.variance) / response, np.inf)
        data, noise = np.stack([mean.real, mean.imag]).reshape(2, *self.shape), noise.reshape(self.shape)
        meta |= {"n_galaxies": int(self.counts.sum())}
        return ShearMap(data, wcs=self.wcs, noise_std=noise, meta=meta, n_z=n_z)

    def checksum(self, mark: str) -> str:
        """Return the SHA-256 of the data and of the settings ``mark``."""
        content = hashlib.sha256(f"{mark} {self.wcs.to_header_string()}".encode())
        for array in (self.shear, self.variance, self.response):
            content.update(array.tobytes())
        return content.hexdigest()
