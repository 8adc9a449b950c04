"""Repeated binning of a catalogue on one grid, with galaxies rotated by random angles or left out."""

from __future__ import annotations

import astropy.units as u
import numpy as np

from .._sky.binning import bin_galaxies
from .._sky.geometry import pixel_scale, shear_in_pixels
from ..inference import Observation
from ..maps.convergence_map import ConvergenceMap

_STREAM = 19930404


class BinnedSurvey:
    """Catalogue on one grid: pixel coordinates and axes of the galaxies are computed once for all maps."""

    def __init__(self, catalog, **grid):
        self.shear = catalog.to_map(**grid)
        self.n_galaxies = self.shear.meta["n_galaxies"]
        self._catalog, wcs = catalog, self.shear.wcs
        _, self._mirrored = pixel_scale(wcs, self.shear.shape)
        self._x, self._y, self._axes = shear_in_pixels(catalog.coords, np.ones(len(catalog)), wcs, self._mirrored)

    def observation(self, phase=1.0, kept=slice(None)):
        """Return the binned shear of the kept galaxies, multiplied by a phase."""
        e = self._catalog.west_north * phase
        e = (np.conj(e) if self._mirrored else e) * self._axes
        m_bias = self._catalog.m_bias
        data, noise_std, _ = bin_galaxies(
            self._x[kept],
            self._y[kept],
            e[kept],
            weight=self._catalog.weight[kept],
            response=1.0 if m_bias is None else 1 + (m_bias if np.ndim(m_bias) == 0 else m_bias[kept]),
            shape_noise=self._catalog.shape_noise,
            shape=self.shear.shape,
        )
        return Observation.from_arrays(data, noise_std, self.shear.pixel_scale.to_value(u.rad))

    def rotated(self, seed, i):
        return self.observation(random_phase(len(self._catalog), [seed, i]))

    def noise_map(self, data, samples, diagnostics):
        """Return a map whose uncertainty is the standard deviation of the samples."""
        shear = self.shear
        return ConvergenceMap(
            data,
            wcs=shear.wcs,
            uncertainty=samples.std(axis=0, ddof=1),
            mask=shear.mask,
            samples=samples,
            meta=shear.meta,
            n_z=shear.n_z,
            diagnostics=diagnostics,
        )


def random_phase(n, seed):
    return np.exp(2j * np.pi * generator_of_angles(seed).random(n))


def generator_of_angles(seed):
    """Return a generator unlike `default_rng(seed)`, which may have made the galaxies of a mock survey."""
    return np.random.default_rng([*np.atleast_1d(seed), _STREAM])
