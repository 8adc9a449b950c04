"""
Credible regions of a position on the sky from samples of it.

The density of positions is the mean of Gaussian kernels at the samples. The kernels are circles, or ellipses with the
shape of the covariance, and their width is a multiple of that of Scott (1992). Both maximise the likelihood of each
sample under the kernels of the others. The region of a level contains the positions whose density exceeds that of the
sample at rank (1 - level) (n + 1), in the order of the densities that the other samples have at each sample (conformal
regions; Lei, Robins & Wasserman 2013). It may have several parts, and holes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from contourpy import FillType, contour_generator
from regions import PolygonSkyRegion, RegionMeta, Regions
from scipy.spatial.distance import cdist

from .probability import need_samples
from .quantiles import quantiles

if TYPE_CHECKING:
    from astropy.coordinates import SkyOffsetFrame

    from .._utils.typing import Floats

__all__ = ["CredibleRegion"]

_WIDTHS = np.geomspace(0.25, 1.75, 8)  # of the kernels, in units of that of Scott
_CELLS = 150  # along the side of the grid of a contour
_AT_ONCE = 2**22  # pairs of positions in memory at a time


class Kernels:
    """
    Density of positions, a mean of Gaussian kernels.

    Parameters
    ----------
    positions : ndarray
        Offsets ``(2, n)``, at least three that are not on a line; ValueError for others.

    Attributes
    ----------
    log_left_out : ndarray
        Logarithm of the density that the others have at each position ``(n,)``.
    """

    def __init__(self, positions: Floats) -> None:
        n = positions.shape[1]
        covariance = np.cov(positions) if n > 2 else np.zeros((2, 2))
        if not np.linalg.cond(covariance) < 1e12:
            raise ValueError("positions: a region needs at least three samples whose peaks are not on a line")
        self._positions, best = positions, -np.inf
        ellipses, circles = np.linalg.inv(np.linalg.cholesky(covariance)), np.eye(2) / np.sqrt(np.trace(covariance) / 2)
        for white in (ellipses, circles):
            squares = cdist(*[(white @ positions).T] * 2, "sqeuclidean")
            np.fill_diagonal(squares, np.inf)
            for width in n ** (-1 / 6) * _WIDTHS:
                scaled, log_top = white / width, np.linalg.slogdet(white / width)[1] - np.log(2 * np.pi)
                left_out = _log_sum(squares / width**2) + log_top - np.log(n - 1)
                if left_out.sum() > best:
                    best, self.log_left_out, self._to_kernel, self._log_top = left_out.sum(), left_out, scaled, log_top

    def log_density(self, positions: Floats) -> Floats:
        """Return the logarithm of the density at offsets ``(2, m)``."""
        here, samples = (self._to_kernel @ positions).T, (self._to_kernel @ self._positions).T
        parts = np.array_split(here, -(-len(here) * len(samples) // _AT_ONCE))
        found = [_log_sum(cdist(part, samples, "sqeuclidean")) for part in parts]
        return np.concatenate(found) + self._log_top - np.log(len(samples))

    def circle(self, log_least: float) -> tuple[Floats, float]:
        """Return centre and radius of a circle outside of which the density is below a number."""
        reach = np.sqrt(2 * max(self._log_top - log_least, 0)) * np.linalg.norm(np.linalg.inv(self._to_kernel), axis=1)
        low, high = self._positions.min(axis=1) - reach, self._positions.max(axis=1) + reach
        return (low + high) / 2, float(np.hypot(*(high - low)) / 2)


def _log_sum(squares):
    """Return the logarithm of the sum of Gaussians over the last axis."""
    nearest = squares.min(axis=-1, keepdims=True)
    return np.log(np.exp((nearest - squares) / 2).sum(axis=-1)) - nearest[..., 0] / 2


def rank_of(positions: Floats, here: Floats) -> int:
    """
    Return the number of samples ``(2, n)`` with a density of at most that of a position ``(2,)``.

    All n + 1 positions are treated equally, so that the rank of one more draw is exactly uniform.
    """
    left_out = Kernels(np.concatenate([positions, here[:, None]], axis=1)).log_left_out
    return int((left_out[:-1] <= left_out[-1]).sum())


@dataclass(frozen=True, eq=False, repr=False)
class CredibleRegion:
    """
    Region of the sky that contains a position with a given probability.

    It is returned by `~astro_massmap.analysis.positions.PeakOffset.credible_region`.

    Attributes
    ----------
    level : float
        Posterior probability of the region.
    area : `~astropy.units.Quantity`
        Area in arcmin2.
    contours : `~regions.Regions`
        Polygons, for ``kappa.plot(regions=...)``, measurements and files. Holes are marked as excluded.
    density : ndarray
        Posterior probability per arcmin2 on a grid ``(ny, nx)`` around the region.
    wcs : `~astropy.wcs.WCS`
        WCS of ``density``.
    n_samples : int
        Number of samples.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap.analysis.positions import PeakOffset
    >>> reference = SkyCoord(150 * u.deg, 2 * u.deg)
    >>> east, north = np.random.default_rng(1).normal(scale=[[8], [2]], size=(2, 200)) * u.arcsec
    >>> positions = SkyCoord(east, north, frame=reference.skyoffset_frame())
    >>> region = PeakOffset(reference, positions, 200).credible_region(0.68)
    >>> region
    <CredibleRegion: 0.025 arcmin2 with probability 0.68, 1 contour, 200 samples>
    >>> region.contains(reference)
    True
    """

    level: float
    area: u.Quantity
    contours: Regions
    density: Floats
    wcs: WCS
    n_samples: int
    _kernels: Kernels
    _log_least: float
    _frame: SkyOffsetFrame

    def contains(self, position: SkyCoord) -> bool:
        """Return whether one position is in the region."""
        here = in_arcsec(position, self._frame).reshape(2, 1)
        return bool(self._kernels.log_density(here)[0] >= self._log_least)

    def __repr__(self) -> str:
        n = len(self.contours)
        return (
            f"<CredibleRegion: {self.area.value:.2g} arcmin2 with probability {self.level:g}, {n} "
            f"contour{'s' * (n > 1)}, {self.n_samples} samples>"
        )


def credible_region(positions: SkyCoord, level: float) -> CredibleRegion:
    """Return the region of a level from positions ``(n,)`` in the `~astropy.coordinates.SkyOffsetFrame` of one."""
    frame = positions.frame.replicate_without_data()
    n = len(positions)
    need_samples(n, level)
    kernels = Kernels(in_arcsec(positions, frame))
    log_least = float(quantiles(kernels.log_left_out, 1 - level))
    center, radius = kernels.circle(log_least)
    wcs = _grid(SkyCoord(*(center * u.arcsec), frame=frame), 2 * radius / _CELLS)
    x, y = np.meshgrid(*map(np.arange, wcs.pixel_shape))
    here = in_arcsec(wcs.pixel_to_world(x, y), frame)
    log_density = kernels.log_density(here.reshape(2, -1)).reshape(x.shape)
    lines = contour_generator(z=log_density, fill_type=FillType.OuterOffset)
    contours, area = [], 0.0
    for points, offsets in zip(*lines.filled(log_least, max(log_density.max(), log_least) + 1), strict=True):
        for i, (start, stop) in enumerate(itertools.pairwise(offsets)):  # the first is around the others
            ring = points[start : stop - 1]
            area += (-1 if i else 1) * _area(ring)
            meta = RegionMeta({"include": 0} if i else {})
            contours.append(PolygonSkyRegion(wcs.pixel_to_world(*ring.T), meta=meta))
    area *= (wcs.wcs.cdelt[1] * 60) ** 2
    density = np.exp(log_density) * 3600
    return CredibleRegion(level, area * u.arcmin**2, Regions(contours), density, wcs, n, kernels, log_least, frame)


def _grid(center, step):
    """Return a WCS around a position with pixels of ``step`` arcsec."""
    galactic = center.frame.name == "galactic" or getattr(center.frame, "origin", center.frame).name == "galactic"
    here = (center.galactic if galactic else center.icrs).spherical
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"] if galactic else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.cunit = [here.lon.deg, here.lat.deg], ["deg", "deg"]
    wcs.wcs.cdelt, wcs.wcs.crpix = np.array([-1, 1]) * step / 3600, [(_CELLS + 4) / 2] * 2
    if not galactic:
        wcs.wcs.radesys = "ICRS"
    wcs.array_shape = (_CELLS + 3, _CELLS + 3)
    return wcs


def _area(ring):
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def in_arcsec(positions: SkyCoord, frame: SkyOffsetFrame) -> Floats:
    """Return offsets to the East and North in arcsec ``(2, ...)`` in a `~astropy.coordinates.SkyOffsetFrame`."""
    places = positions.transform_to(frame).spherical
    return np.stack([places.lon.wrap_at(180 * u.deg).to_value(u.arcsec), places.lat.to_value(u.arcsec)])


def squares(positions: Floats, here: Floats) -> Floats:
    """Return squared distances of points ``(2, m)`` from the mean of samples ``(2, n)``, in units of the covariance."""
    covariance = np.cov(positions) if positions.shape[1] > 1 else np.zeros((2, 2))
    if positions.shape[1] < 4 or not np.linalg.cond(covariance) < 1e12:  # two are on a line
        raise ValueError("positions: an ellipse needs at least four samples whose peaks are not on a line")
    apart = here - positions.mean(axis=1)[:, None]
    return (apart * np.linalg.solve(covariance, apart)).sum(axis=0)


def left_out_squares(positions: Floats) -> Floats:
    """Return squared distances ``(n,)`` of each sample from the mean of the others, in units of their covariance."""
    n, inside = positions.shape[1], squares(positions, positions)  # in closed form (Sherman & Morrison 1950)
    with np.errstate(divide="ignore"):
        return n * (n - 2) / (n - 1) ** 2 * inside / np.maximum(1 - n * inside / (n - 1) ** 2, 0)
