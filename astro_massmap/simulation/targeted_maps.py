"""
Maps of random surveys with a halo near the middle: fields that were chosen for a cluster.

M200c is flat in its logarithm and the redshift of the halo is uniform between 0.1 and 0.9, below that at which the
lensing efficiency D_ls / D_s falls to 0.2. Concentrations scatter by 0.18 dex about those of Duffy et al. (2008). A
third of the halos has elliptical isodensity contours, with axis ratios of 0.4 to 1; a third has a companion of 0.1 to 1
times its mass within 4 arcmin. A tenth of the maps has no halo. The profile is that of Navarro, Frenk & White, averaged
over the pixels near its centre; the field around the halo is that of the lens planes, with their resolution.

Lengths are in Mpc/h and masses in solar masses / h, so that no Hubble constant is needed.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..inference.grid import FourierGrid
from ..priors.correction import taper
from ..theory.nfw import mass_in_units, mean_concentration, mean_profile, profile
from ..theory.source_redshifts import one_of
from ..theory.spectrum import PowerSpectrum
from .survey_maps import Survey, random_n_z

ARCMIN = math.radians(1 / 60)
_CRITICAL = 2.775366e11  # critical density today, in solar masses / h in (Mpc/h)^3
_FOUR_PI_G = 6.01369e-19  # 4 pi G / c^2 in Mpc per solar mass
_WEAKEST = 0.2  # smallest lensing efficiency
_NEAR, _SUBPIXELS = 6, 8  # pixels around a centre that are averages, over this number of points on a side
_FIELD = 15 * ARCMIN  # side of the field over which the power of halos is averaged
_BANDS, _TAPER = np.geomspace(200, 1e5, 25), 500.0


@dataclass(frozen=True)
class Halo:
    """
    Halo with an NFW profile and elliptical isodensity contours.

    Attributes
    ----------
    mass : float
        M200c in solar masses / h.
    redshift, concentration : float
        Redshift, and radius r200c over the scale radius.
    center : tuple of float
        Position relative to the middle of the map, x and y in radians.
    axis_ratio, angle : float
        Minor over major axis, and angle of the major axis from the x axis in radians.

    Examples
    --------
    >>> from astro_massmap.simulation.targeted_maps import Halo
    >>> Halo(7e14, 0.3, 4.0).axis_ratio
    1.0
    """

    mass: float
    redshift: float
    concentration: float
    center: tuple[float, float] = (0.0, 0.0)
    axis_ratio: float = 1.0
    angle: float = 0.0

    @classmethod
    def average(cls, mass, redshift, **shape):
        """Return a halo with the mean concentration of Duffy et al. (2008), all halos; ``shape`` as for `Halo`."""
        return cls(mass, redshift, float(mean_concentration(mass, redshift, 1.0)), **shape)

    def convergence(self, shape, pixel_size, cosmology, sources):
        """
        Return the mean convergence of pixels ``(ny, nx)``.

        ``sources`` are the comoving distances of the sources in Mpc/h and their weights, of sum one; those in front of
        the halo are not lensed.
        """
        theta_s, strength = self._scales(cosmology, sources)
        y, x = (
            pixel_size * (np.arange(side) - (side - 1) / 2) - at
            for side, at in zip(shape, self.center[::-1], strict=True)
        )
        x, y = x[None, :], y[:, None]
        kappa = profile(self._radius(x, y) / theta_s)
        near = np.hypot(x, y) < _NEAR * pixel_size
        points = ((np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5) * pixel_size
        x, y = (np.broadcast_to(a, shape)[near][:, None, None] for a in (x, y))
        kappa[near] = profile(self._radius(x + points, y + points[:, None]) / theta_s).mean(axis=(1, 2))
        return 2 * strength * kappa

    def mean_convergence(self, theta, cosmology, sources):
        """Return the mean convergence within circles of the radii ``theta``, of a halo with round contours."""
        theta_s, strength = self._scales(cosmology, sources)
        return 4 * strength * mean_profile(np.asarray(theta, dtype=float) / theta_s)

    def _radius(self, x, y):
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        along, across = cos * x + sin * y, cos * y - sin * x
        return np.maximum(np.hypot(along * self.axis_ratio**0.5, across / self.axis_ratio**0.5), 1e-12)

    def _scales(self, cosmology, sources):
        """Return the angular scale radius, and ``rho_s r_s / Sigma_crit`` as a mean over the sources."""
        density = 200 * _CRITICAL * cosmology.expansion(1 / (1 + self.redshift)) ** 2
        r_s = (3 * self.mass / (4 * math.pi * density)) ** (1 / 3) / self.concentration
        c, distance = self.concentration, float(cosmology.distance(self.redshift)) / (1 + self.redshift)
        scale_density = self.mass / (4 * math.pi * r_s**2 * mass_in_units(c))
        return r_s / distance, scale_density * _FOUR_PI_G * distance * efficiency(cosmology, self.redshift, sources)


def efficiency(cosmology, redshift, sources):
    """
    Return the mean of ``D_ls / D_s`` over the sources for lenses at a redshift or at an array of redshifts.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import Cosmology
    >>> from astro_massmap.simulation.targeted_maps import efficiency
    >>> cosmology = Cosmology.default()
    >>> sources = np.array([cosmology.distance(1.0)]), np.ones(1)
    >>> print(efficiency(cosmology, [0.3, 2.0], sources).round(3))
    [0.638 0.   ]
    """
    distance, weight = sources
    lens = np.asarray(cosmology.distance(redshift))
    return (weight * np.clip(1 - lens[..., None] / distance, 0, None)).sum(axis=-1)


@dataclass(frozen=True)
class TargetedSurvey(Survey):
    """
    A `Survey` with the comoving distances of its sources in Mpc/h and their weights, of sum one.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation.targeted_maps import TargetedSurvey
    >>> TargetedSurvey(0, np.ones(2), PowerSpectrum.default(), 1.2e-4, (np.ones(1), np.ones(1))).cosmology
    0
    """

    sources: tuple


class TargetedMaps:
    """
    Maps of random surveys with a halo near the middle.

    Parameters
    ----------
    source : SurveyMaps
        Source of the random fields around the halos.
    factor : `~astro_massmap.PowerSpectrum`, optional
        Power of the maps over that of the random fields, a function of ell, see `power_factor`; by default 1.
    masses : tuple of float
        Range of M200c in solar masses / h; the default is 1e14 to 3e15 solar masses for h = 0.7.
    redshifts, pixel_sizes : tuple of float
        Ranges of the mean redshifts of the sources and of the sides of a pixel in radians, both log-uniform.
    scatter : float
        Standard deviation of the position of a halo along each axis in radians.
    empty : float
        Fraction of the maps without a halo.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import (
    ...     Cosmology, LensPlanes, LightCone, NBody, PlaneFilter, SurveyMaps, TargetedMaps
    ... )
    >>> cosmology, power = Cosmology.default(), lambda z, k: Cosmology.default().linear_power(k) / (1 + z) ** 2
    >>> planes = LensPlanes.simulate(NBody(16, 256.0, longest_step=0.2), 1, cells=64, z_max=3.0)
    >>> filters = PlaneFilter.fit([([planes], power)])
    >>> cone = LightCone([filters.apply(planes)], np.ones(len(planes.distance)))
    >>> maps = TargetedMaps(SurveyMaps([cone], [cosmology], [power], filters, (32, 32)), empty=0)
    >>> survey = maps.survey(np.random.default_rng(0))
    >>> bool(maps.draw(survey, np.random.default_rng(1)).max() > 0.01)
    True
    """

    def __init__(
        self,
        source,
        factor=None,
        *,
        masses=(7e13, 2.1e15),
        redshifts=(0.5, 2.5),
        pixel_sizes=(0.1 * ARCMIN, 0.6 * ARCMIN),
        scatter=1.5 * ARCMIN,
        empty=0.1,
    ):
        self.source, self.factor, self.masses, self.redshifts = source, factor, masses, redshifts
        self.pixel_sizes, self.scatter, self.empty = pixel_sizes, scatter, empty
        self.shape, self.cosmologies = source.shape, source.cosmologies

    def survey(self, generator, *, cosmology=None, redshift=None, n_z=None, pixel_size=None):
        """Return a `TargetedSurvey`; what is not given is drawn with a `numpy.random.Generator`."""
        if redshift is None and n_z is None:
            n_z = random_n_z(self.redshifts, generator)
        if pixel_size is None:
            low, high = self.pixel_sizes
            pixel_size = low * (high / low) ** generator.uniform()
        field = self.source.survey(generator, cosmology=cosmology, redshift=redshift, n_z=n_z, pixel_size=pixel_size)
        spectrum = field.spectrum if self.factor is None else field.spectrum.times(self.factor)
        z, weight = one_of(redshift, n_z).few()
        sources = self.cosmologies[field.cosmology].distance(z), weight
        return TargetedSurvey(field.cosmology, field.weights, spectrum, field.pixel_size, sources)

    def draw(self, survey, generator):
        """Draw a map ``(ny, nx)``, a `torch.Tensor`, with a `numpy.random.Generator`."""
        field = self.source.draw(survey, generator)
        return field + torch.from_numpy(self.halos(survey, generator)).to(field)

    def halos(self, survey, generator):
        """Draw the convergence ``(ny, nx)`` of the halos of a map alone, with a `numpy.random.Generator`."""
        kappa = np.zeros(self.shape)
        if generator.uniform() < self.empty:
            return kappa
        cosmology = self.cosmologies[survey.cosmology]
        for halo in self._halos(cosmology, survey.sources, generator):
            kappa += halo.convergence(self.shape, survey.pixel_size, cosmology, survey.sources)
        return kappa

    def _halos(self, cosmology, sources, generator):
        """Draw a halo, and for a third of them a companion at the same redshift."""
        z = np.linspace(0.1, 0.9, 81)
        visible = efficiency(cosmology, z, sources) > _WEAKEST
        redshift = generator.uniform(0.1, max(float(z[visible].max(initial=0.1)), 0.11))
        low, high = self.masses
        mass = low * (high / low) ** generator.uniform()
        center = generator.normal(scale=self.scatter, size=2)
        halos = [self._halo(mass, redshift, center, generator)]
        if generator.uniform() < 1 / 3:
            distance, angle = generator.uniform(0.3, 4) * ARCMIN, generator.uniform(0, 2 * math.pi)
            there = center + distance * np.array([math.cos(angle), math.sin(angle)])
            halos.append(self._halo(generator.uniform(0.1, 1) * mass, redshift, there, generator))
        return halos

    @staticmethod
    def _halo(mass, redshift, center, generator):
        scatter = 10 ** generator.normal(scale=0.18)
        ratio = generator.uniform(0.4, 1) if generator.uniform() < 1 / 3 else 1.0
        angle = generator.uniform(0, math.pi)
        halo = Halo.average(mass, redshift, center=tuple(center), axis_ratio=ratio, angle=angle)
        return replace(halo, concentration=halo.concentration * scatter)


def power_factor(maps, n, generator):
    """
    Return the power of targeted maps over that of the random fields in them, a function of ell.

    The halos have the power ``|kappa_ell|^2 / A`` in a field of A = 15 x 15 arcmin. The factor is the geometric mean
    of ``1 + |kappa_ell|^2 / A C_ell`` over maps, a smooth function of ell. Below ell = 500, where the power of such
    fields is not known from their halos alone, it falls to 1.

    Parameters
    ----------
    maps : TargetedMaps
        Source of the maps, without a factor.
    n, generator : int, `numpy.random.Generator`
        Number of maps, and random numbers.

    Returns
    -------
    `~astro_massmap.PowerSpectrum`
        Factor as a function of ell, called "targeted".

    Examples
    --------
    Without halos the factor is 1:

    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import power_factor
    >>> survey = SimpleNamespace(spectrum=PowerSpectrum.default(), pixel_size=1e-4)
    >>> empty = SimpleNamespace(
    ...     survey=lambda choices: survey, halos=lambda survey, choices: np.zeros((64, 64)), shape=(64, 64)
    ... )
    >>> print(power_factor(empty, 3, np.random.default_rng(0))(2000).round(6))
    1.0
    """
    total, count = np.zeros((2, len(_BANDS) - 1))
    for _ in range(n):
        survey = maps.survey(generator)
        power = np.abs(np.fft.rfft2(maps.halos(survey, generator))) ** 2 * survey.pixel_size**4 / _FIELD**2
        ell = FourierGrid(maps.shape, survey.pixel_size, dtype=torch.float64).ell.numpy().copy()
        ell[0, 0] = 1.0  # below the bands
        band = np.searchsorted(_BANDS, ell.ravel()) - 1
        inside = (band >= 0) & (band < len(count))
        ratio, modes = (
            np.bincount(band[inside], weights=weights[inside], minlength=len(count))
            for weights in ((power / survey.spectrum(ell)).ravel(), np.ones(ell.size))
        )
        seen = modes > 0
        total[seen] += np.log1p(ratio[seen] / modes[seen])
        count += seen
    seen = count > 0
    middles = np.sqrt(_BANDS[1:] * _BANDS[:-1])[seen]
    curve = np.polynomial.Polynomial.fit(np.log(middles), total[seen] / count[seen], 4, w=np.sqrt(count[seen]))
    ell = np.geomspace(10, 1e5, 80)
    log_factor = curve(np.log(np.clip(ell, middles[0], middles[-1])))
    factor = 1 + (np.exp(log_factor) - 1) * taper(ell, _TAPER)
    factor[-1] = factor[-2]  # constant beyond the table
    return PowerSpectrum(ell, factor, name="targeted")
