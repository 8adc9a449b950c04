"""Posterior of the position of a peak relative to a reference, such as a galaxy or the centroid of the X-ray gas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from regions import EllipseSkyRegion

from .._io.quantities import checked_level
from .._sky.geometry import pixel_scale, to_angle
from .._utils.progress import warn
from .local_maxima import local_maxima, subpixel
from .quantiles import probability_interval, quantiles, warn_of_few
from .region_means import checked_maps
from .smoothing import smoother

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from .._utils.typing import Bools, Floats

__all__ = ["PeakOffset", "Probability", "peak_offset"]


class Probability(float):
    """
    Fraction of samples, a float with the attributes ``n_samples``, ``lower`` and ``upper``.

    Parameters
    ----------
    count, n_samples : int
        Number of samples with a property, and of all samples.
    level : float
        Level of the Wilson interval ``lower`` to ``upper``, for samples taken as independent.

    Examples
    --------
    >>> from astro_massmap.analysis.offsets import Probability
    >>> p = Probability(38, 40)
    >>> print(f"{p} ({p.lower:.2f} to {p.upper:.2f})")
    0.95 (0.90 to 0.97)
    """

    lower: float
    upper: float
    n_samples: int

    def __new__(cls, count: int, n_samples: int, level: float = 0.68) -> Self:
        """Divide the numbers."""
        found = super().__new__(cls, count / n_samples)
        found.n_samples = n_samples
        found.lower, found.upper = map(float, probability_interval(count, n_samples, checked_level(level)))
        return found


@dataclass(frozen=True, eq=False, repr=False)
class PeakOffset:
    """
    Posterior of the position of a peak relative to a reference, as `peak_offset` returns it.

    Attributes
    ----------
    reference : `~astropy.coordinates.SkyCoord`
        Position of the reference.
    positions : `~astropy.coordinates.SkyCoord`
        Positions of the peak in the samples that have it ``(n,)``, in the `~astropy.coordinates.SkyOffsetFrame` of the
        reference: longitude to the East, latitude to the North.
    n_samples : int
        Number of all samples.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap.analysis.offsets import PeakOffset
    >>> galaxy, gas = SkyCoord([104.65, 104.66] * u.deg, [-55.95, -55.95] * u.deg)
    >>> samples = SkyCoord([3, -2, 4, -4, 1, 5] * u.arcsec, [2, 3, -3, 0, -4, 1] * u.arcsec,
    ...                    frame=galaxy.skyoffset_frame())
    >>> offset = PeakOffset(galaxy, samples, n_samples=6)
    >>> print(offset.mean.lon.to("arcsec").round(2), offset.mean.lat.to("arcsec").round(2))
    1.17 arcsec -0.17 arcsec
    >>> offset.probability_nearer(galaxy, gas)
    1.0
    """

    reference: SkyCoord
    positions: SkyCoord
    n_samples: int

    @property
    def fraction(self) -> Probability:
        """Fraction of the samples that have a peak within the search radius."""
        return Probability(len(self.positions), self.n_samples)

    @property
    def mean(self) -> SkyCoord:
        """Mean position."""
        return self._at(self._arcsec.mean(axis=1))

    @property
    def median(self) -> SkyCoord:
        """Medians of the two coordinates."""
        return self._at(quantiles(self._arcsec, 0.5, axis=1))

    @property
    def covariance(self) -> u.Quantity:
        """Covariance ``(2, 2)`` of the offsets to the East and North, in arcsec2; ValueError for fewer than two."""
        if len(self.positions) < 2:
            raise ValueError(f"covariance: needs at least two samples with a peak, got {len(self.positions)}")
        return np.cov(self._arcsec) * u.arcsec**2

    def ellipse(self, level: float = 0.68) -> EllipseSkyRegion:
        """
        Return the credible contour: the ellipse around the mean that contains a fraction ``level`` of the samples.

        Its shape is that of the covariance, its size that of the samples (at rank ``level`` times n + 1), so that the
        posterior need not be Gaussian. A warning states if there are too few samples for the level.

        Parameters
        ----------
        level : float
            Posterior probability within the ellipse.

        Returns
        -------
        `~regions.EllipseSkyRegion`
            Ellipse in the frame of the reference.

        Raises
        ------
        ValueError
            If the level is not between 0 and 1, or the positions of the samples lie on a line.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap.analysis.offsets import PeakOffset
        >>> reference = SkyCoord(150 * u.deg, 2 * u.deg)
        >>> east, north = np.random.default_rng(1).normal(scale=[[8], [2]], size=(2, 200)) * u.arcsec
        >>> positions = SkyCoord(east, north, frame=reference.skyoffset_frame())
        >>> contour = PeakOffset(reference, positions, 200).ellipse(0.95)
        >>> print(contour.width.round(1), contour.height.round(1))
        37.2 arcsec 9.0 arcsec
        """
        level = checked_level(level)
        size = np.sqrt(quantiles(self._square(self._arcsec), level))
        warn_of_few(len(self.positions), 1 - level, f"level={level:g}")
        variance, axes = np.linalg.eigh(self.covariance.to_value(u.arcsec**2))
        width, height = 2 * size * np.sqrt(variance[::-1]) * u.arcsec
        east, north = axes[:, 1]
        center = self.mean.transform_to(self.reference.frame.replicate_without_data())
        # angles of regions are from West through North, as those on an image with North up
        return EllipseSkyRegion(center, width, height, np.arctan2(north, -east) % np.pi * u.rad)

    def level_at(self, position: SkyCoord | None = None, *, level: float = 0.68) -> Probability:
        """
        Compute the level of the `ellipse` through a position, by default the reference.

        One minus the result is the posterior probability that the peak is farther from its mean position (in units of
        the ellipse) than this position: a reference at 0.99 is outside of the contour of 95 %.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord`, optional
            One position.
        level : float
            Level of the interval of the result due to the number of samples.

        Returns
        -------
        Probability

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or the positions of the samples lie on a line.
        """
        here = self._to_arcsec(self.reference if position is None else _one(position, "position"))
        inside = self._square(self._arcsec) < self._square(here[:, None])
        return Probability(int(inside.sum()), inside.size, level)

    def probability_nearer(self, a: SkyCoord, b: SkyCoord, *, level: float = 0.68) -> Probability:
        """
        Compute the posterior probability that the peak is nearer to one position than to another.

        Parameters
        ----------
        a, b : `~astropy.coordinates.SkyCoord`
            Positions, for example of galaxies and of gas.
        level : float
            Level of the interval of the result due to the number of samples.

        Returns
        -------
        Probability
            Fraction of the samples with the peak that are nearer to ``a`` than to ``b``.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        frame = self.positions.frame.replicate_without_data()
        to_a, to_b = (self.positions.separation(_one(c, n).transform_to(frame)) for c, n in ((a, "a"), (b, "b")))
        return Probability(int((to_a < to_b).sum()), len(self.positions), level)

    def __repr__(self) -> str:
        east, north = self._arcsec.mean(axis=1)
        errors = self._arcsec.std(axis=1, ddof=1) if len(self.positions) > 1 else (np.nan, np.nan)
        return (
            f"<PeakOffset: {east:.1f} +- {errors[0]:.1f} arcsec East, {north:.1f} +- {errors[1]:.1f} arcsec North, "
            f"{len(self.positions)} of {self.n_samples} samples>"
        )

    @property
    def _arcsec(self) -> Floats:
        return self._to_arcsec(self.positions)

    def _to_arcsec(self, positions):
        places = positions.transform_to(self.positions.frame.replicate_without_data()).spherical
        return np.stack([places.lon.wrap_at(180 * u.deg).to_value(u.arcsec), places.lat.to_value(u.arcsec)])

    def _at(self, arcsec):
        return SkyCoord(*(arcsec * u.arcsec), frame=self.positions.frame.replicate_without_data())

    def _square(self, arcsec):
        """Return squared distances from the mean, in units of the covariance."""
        covariance = self.covariance.to_value(u.arcsec**2)
        if not np.linalg.cond(covariance) < 1e12:
            raise ValueError("positions: an ellipse needs at least three samples whose peaks are not on a line")
        apart = arcsec - self._arcsec.mean(axis=1)[:, None]
        return (apart * np.linalg.solve(covariance, apart)).sum(axis=0)


def peak_offset(
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    center: SkyCoord,
    reference: SkyCoord,
    *,
    radius: u.Quantity = 1 * u.arcmin,
    smoothing: u.Quantity | None = None,
) -> PeakOffset:
    """
    Compute the posterior of the position of a peak relative to a reference.

    In each sample the peak is the highest local maximum within ``radius`` of ``center``, at the maximum of a parabola
    through the neighbouring pixels along each axis.

    Parameters
    ----------
    samples : ndarray
        Equally likely maps ``(n_samples, ny, nx)``, at least two.
    wcs, mask
        WCS of the maps, and pixels without data ``(ny, nx)``.
    center : `~astropy.coordinates.SkyCoord`
        Position around which the peak is searched for.
    reference : `~astropy.coordinates.SkyCoord`
        Position relative to which offsets are given, such as that of a galaxy or of the X-ray gas.
    radius : `~astropy.units.Quantity`
        Radius of the search. Exclude other peaks of the cluster, and include all plausible positions: offsets beyond it
        are not found.
    smoothing : `~astropy.units.Quantity`, optional
        Standard deviation of a Gaussian by which the samples are smoothed first.

    Returns
    -------
    PeakOffset
        Positions of the samples with their mean, median, covariance, credible contour and probabilities.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, ``center`` is not on the map, or fewer than two samples have a maximum
        within ``radius``. If only some samples have none, or there are no data at ``center``, a warning.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.offsets import peak_offset
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data + np.random.default_rng(1).normal(scale=0.02, size=(40, 128, 128))
    >>> center, gas = truth.wcs.pixel_to_world(40, 87), truth.wcs.pixel_to_world(42, 87)
    >>> offset = peak_offset(samples, truth.wcs, truth.mask, center, gas, smoothing=0.4 * u.arcmin)
    >>> offset.probability_nearer(center, gas)
    1.0
    """
    center, reference = _one(center, "center"), _one(reference, "reference")
    radius = to_angle(radius, "radius")
    _, samples, mask = checked_maps(np.zeros(np.shape(mask)), samples, mask, at_least=2)
    scale, _ = pixel_scale(wcs, mask.shape)
    x, y = (float(a) for a in wcs.world_to_pixel(center))
    ny, nx = mask.shape
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        raise ValueError(f"center: needs a position on the map, got {center.to_string('hmsdms')}")
    if mask[min(round(y), ny - 1), min(round(x), nx - 1)]:
        warn("center: the map has no data there; the position of the peak comes from the prior", 3)
    pixels = None if smoothing is None else (to_angle(smoothing, "smoothing") / scale).to_value(u.one)
    found = [_highest(sample, x, y, (radius / scale).to_value(u.one), pixels) for sample in samples]
    peaks = np.array([peak for peak in found if peak is not None]).reshape(-1, 2)
    if len(peaks) < 2:
        raise ValueError(
            f"radius: {len(peaks)} of {len(samples)} samples have a maximum within {radius:g} of center, at least two "
            "are needed; use a larger radius, or the position of a peak of the map as center"
        )
    if len(peaks) < len(samples):
        warn(
            f"center: {len(samples) - len(peaks)} of {len(samples)} samples have no maximum within {radius:g}; the "
            "result is that of the others",
            3,
        )
    positions = wcs.pixel_to_world(peaks[:, 1], peaks[:, 0]).transform_to(reference.skyoffset_frame())
    return PeakOffset(reference, positions, len(samples))


def _highest(sample, x, y, radius, smoothing):
    """Return y, x of the highest maximum within ``radius`` pixels of a position, or None."""
    sample = np.asarray(sample, dtype=float)
    if smoothing is not None:
        sample = smoother(np.isfinite(sample), smoothing)(sample)
    rows, columns = np.nonzero(local_maxima(sample))
    near = np.hypot(rows - y, columns - x) <= radius
    if not near.any():
        return None
    rows, columns = rows[near], columns[near]
    top = [np.argmax(sample[rows, columns])]
    return subpixel(sample, rows[top], columns[top])[0]


def _one(position, name):
    if not isinstance(position, SkyCoord):
        raise TypeError(f"{name}: needs a SkyCoord, got {type(position).__name__}")
    if not position.isscalar or not np.isfinite(position.spherical.lon.deg + position.spherical.lat.deg):
        raise ValueError(f"{name}: needs one finite position, got {position}")
    return position
