"""
Maps of random surveys: every map has sources, a pixel scale and a cosmology of its own.

Sources are a plane, a broad distribution ``n(z) ~ z^2 exp(-(z / z_0)^1.5)`` (Smail et al. 1995), or a tomographic bin,
a Gaussian with a few per cent of outliers at other redshifts. Maps are drawn from calibrated lens planes; those of
coarse pixels are drawn on finer ones and limited to the modes of the coarse pixels. Where a map is wider than the box
of the simulation it repeats: with 192 pixels of 2 arcmin, from redshift 1 in boxes of 256 Mpc/h.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..theory.spectrum import PowerSpectrum
from .light_cone import lensing_weights

_FARTHEST = 3.0  # redshift of sources
_FINE = math.radians(0.7 / 60)  # maps of larger pixels are drawn on pixels of half their size


@dataclass(frozen=True)
class Survey:
    """
    Sources, cosmology and pixels of a map, as returned by `SurveyMaps.survey`.

    Attributes
    ----------
    cosmology : int
        Number of the cosmology.
    weights : ndarray
        Lensing weights of the slabs, ``(slabs,)``.
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the maps.
    pixel_size : float
        Side of a pixel in radians.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import Survey
    >>> Survey(0, np.ones(2), PowerSpectrum.default(), pixel_size=1.2e-4).spectrum
    <PowerSpectrum 'default: z_s = 1': 128 points, ell 10 to 100000>
    """

    cosmology: int
    weights: np.ndarray
    spectrum: PowerSpectrum
    pixel_size: float


class SurveyMaps:
    """
    Maps of random surveys, drawn from the calibrated lens planes of one or more cosmologies.

    Parameters
    ----------
    cones : list of LightCone
        Calibrated lens planes, one light cone for each cosmology; their own weights are not used.
    cosmologies : list of Cosmology
        Backgrounds.
    powers : list of callable
        Nonlinear matter power of each cosmology, as for `PlaneFilter.fit`.
    filters : PlaneFilter
        Filters of the planes.
    shape : tuple of int
        Rows and columns of the maps.
    pixel_sizes, redshifts : tuple of float
        Ranges of the sides of a pixel in radians and of the mean redshifts of the sources, both log-uniform.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import Cosmology, LensPlanes, LightCone, NBody, PlaneFilter, SurveyMaps
    >>> cosmology, power = Cosmology.default(), lambda z, k: Cosmology.default().linear_power(k) / (1 + z) ** 2
    >>> planes = LensPlanes.simulate(NBody(16, 256.0, longest_step=0.2), 1, cells=64, z_max=3.0)
    >>> filters = PlaneFilter.fit([([planes], power)])
    >>> cone = LightCone([filters.apply(planes)], np.ones(len(planes.distance)))
    >>> maps = SurveyMaps([cone], [cosmology], [power], filters, (32, 32), redshifts=(0.5, 0.6))
    >>> survey = maps.survey(np.random.default_rng(0))
    >>> maps.draw(survey, np.random.default_rng(1)).shape
    torch.Size([32, 32])
    """

    def __init__(self, cones, cosmologies, powers, filters, shape, *, pixel_sizes=None, redshifts=(0.3, 2.5)):
        self.cones, self.cosmologies, self.powers, self.filters = cones, cosmologies, powers, filters
        self.shape, self.redshifts = tuple(shape), redshifts
        self.pixel_sizes = tuple(np.radians([0.25 / 60, 2 / 60])) if pixel_sizes is None else pixel_sizes

    def survey(self, generator, *, cosmology=None, redshift=None, n_z=None, pixel_size=None):
        """Return a `Survey`; what is not given is drawn with a `numpy.random.Generator`."""
        if cosmology is None:
            cosmology = int(generator.integers(len(self.cones)))
        if redshift is None and n_z is None:
            n_z = random_n_z(self.redshifts, generator)
        if pixel_size is None:
            pixel_size = _log_uniform(self.pixel_sizes, generator)
        filters = self.filters
        weights = lensing_weights(
            self.cosmologies[cosmology], filters.distance, filters.thickness, redshift=redshift, n_z=n_z
        )
        return Survey(cosmology, weights, filters.spectrum(weights, self.powers[cosmology]), float(pixel_size))

    def draw(self, survey, generator):
        """Draw a map ``(ny, nx)``, a `torch.Tensor`, with a `numpy.random.Generator`."""
        fine = 2 if survey.pixel_size > _FINE else 1
        cone = self.cones[survey.cosmology].weighted(survey.weights)
        shape = tuple(fine * side for side in self.shape)
        image = cone.draw(1, shape, survey.pixel_size / fine, generator)[0]
        return image if fine == 1 else band_limited(image, self.shape)


def random_n_z(redshifts, generator):
    """Draw a distribution of sources, ``(z, n)``, with a mean redshift in a range."""
    middle = _log_uniform(redshifts, generator)
    kind = generator.integers(4)
    if kind < 2:
        z = middle * np.array([0.995, 1.0, 1.005])
        return z, np.array([0.0, 1.0, 0.0])
    z = np.linspace(0, _FARTHEST, 301)
    if kind == 2:
        z_0 = middle / 1.412  # the mean redshift is 1.412 z_0
        return z, z**2 * np.exp(-((z / z_0) ** 1.5))
    width, outliers = generator.uniform(0.03, 0.12) * (1 + middle), generator.uniform(0, 0.05)
    bins = np.exp(-(((z - middle) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    return z, (1 - outliers) * bins + outliers / _FARTHEST


def band_limited(image, shape):
    """Return a map ``(ny, nx)`` on fewer pixels, with the modes that these resolve; ``shape`` needs even sides."""
    (ny, nx), modes = shape, torch.fft.rfft2(image, norm="forward")
    rows = torch.cat([modes[: ny // 2], modes[-(ny // 2) :]])[:, : nx // 2 + 1]
    return torch.fft.irfft2(rows, s=shape, norm="forward")


def _log_uniform(limits, generator):
    low, high = limits
    return float(low * (high / low) ** generator.uniform())
