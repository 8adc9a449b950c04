"""Posterior of the position of a peak relative to a reference, such as a galaxy or the centroid of the X-ray gas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from .._io.positions import one_position
from .._sky.geometry import pixel_scale, to_angle
from .._utils.progress import warn
from .local_maxima import local_maxima, subpixel
from .positions import PeakOffset
from .region_means import checked_maps
from .smoothing import smoother

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    from .._utils.typing import Bools, Floats

__all__ = ["peak_offset"]


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
    `~astro_massmap.analysis.positions.PeakOffset`
        Positions of the samples with their mean, median, covariance, credible regions, p-values and probabilities.

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
    center, reference = one_position(center, "center"), one_position(reference, "reference")
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
