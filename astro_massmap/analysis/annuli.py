"""Mean convergence in annuli around a position, of samples, models and Gaussian fields."""

import astropy.units as u
import numpy as np
from regions import CirclePixelRegion, PixCoord
from scipy.sparse import csr_array
from scipy.special import j1

from .overlap import weights_of

_SUBPIXELS = 8  # points on a side of a pixel at which a model is averaged
_BINS = 12  # of the radius, per pixel
_ANNULI = 6


class Annuli:
    """Profiles of samples around a position, and the pixels behind them as a function of the radius."""

    def __init__(self, samples, mask, position, edges, ring, scale):
        if edges is None:
            inner = 2 / scale
            outer = ring[0].to_value(u.rad)
            if not inner < outer / 1.5:
                raise ValueError(f"background: needs an inner radius of more than three pixels, got {ring[0]:g}")
            edges = np.geomspace(inner, outer, _ANNULI + 1) * u.rad
        self.edges = edges.to_value(u.rad)
        r = np.concatenate([self.edges, [a.to_value(u.rad) for a in ring]]) * scale
        circles = weights_of([CirclePixelRegion(PixCoord(*position), a) if a else None for a in r], mask.shape)
        overlap = circles.overlap.tocsc()
        used = np.flatnonzero(np.diff(overlap.indptr))
        maps = samples.reshape(len(samples), -1)[:, used].astype(float)
        finite = np.isfinite(maps).all(axis=0)
        used, maps = used[finite], maps[:, finite]
        weights = np.diff(overlap[:, used].toarray(), axis=0)
        weights = np.maximum(np.delete(weights, len(edges) - 1, axis=0), 0)  # not from the last annulus to the ring
        self.area = weights.sum(axis=1)
        if not self.area.all():
            name = "background" if self.area[:-1].all() else "radii"
            raise ValueError(f"{name}: needs annuli with pixels on the map, but one has none; use smaller radii")
        weights /= self.area[:, None]
        self.area, means = self.area[:-1], maps @ weights.T
        self.profile = means[:, :-1] - means[:, -1:]
        whole = circles.area[len(edges) - 1]
        self.data_fraction = min(float((circles.overlap[[len(edges) - 1]] @ (~mask).ravel())[0]) / whole, 1)
        self.radius, self.kernel = _kernel(weights, used, mask.shape[1], position)
        self.radius = self.radius / scale

    def of(self, model):
        """Return the profile of a model in bins of ``radius``, ``(n, n_bins)``."""
        means = model @ self.kernel.T
        return means[:, :-1] - means[:, -1:]


def _kernel(weights, used, nx, position):
    """Return edges of radial bins in pixels, and the fraction of each annulus in each bin ``(n_annuli, n_bins)``."""
    step = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    dx, dy = (used % nx) - position[0], used // nx - position[1]
    r = np.hypot(dx[:, None, None] + step, dy[:, None, None] + step[:, None]).reshape(len(used), -1)
    index = (r * _BINS).astype(int)
    pixel = np.repeat(np.arange(len(used)), index.shape[1])
    shape = len(used), index.max() + 1
    fraction = csr_array((np.full(index.size, 1 / index.shape[1]), (pixel, index.ravel())), shape=shape)
    return np.arange(shape[1] + 1) / _BINS, weights @ fraction


def structure_covariance(spectrum, edges, ring):
    """
    Return the covariance of the means of a Gaussian field in annuli minus that in a ring, ``(n, n)``.

    It is the integral of ``ell C_ell W_i W_j / (2 pi)`` over ell, with the windows W of annuli. Radii are in radians.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.analysis.annuli import structure_covariance
    >>> radii = np.radians(np.array([1, 2, 4, 7]) / 60)
    >>> np.sqrt(np.diag(structure_covariance(PowerSpectrum.default(), radii[:3], radii[2:]))).round(4)
    array([0.0108, 0.0065])
    """
    ell = np.geomspace(10, 1e5, 4000)

    def discs(radii):
        x = np.maximum(np.outer(radii, ell), 1e-9)
        return np.asarray(radii)[:, None] ** 2 * 2 * j1(x) / x

    windows, (outer,) = (np.diff(discs(r), axis=0) / np.diff(np.square(r))[:, None] for r in (edges, ring))
    windows = windows - outer
    return (windows * (ell * np.asarray(spectrum(ell)) * np.gradient(ell) / (2 * np.pi))) @ windows.T


def checked_radii(radii, name, *, at_least=1, zero=False):
    """Return radii ``(n,)`` , increasing and positive (with ``zero`` also 0); errors name the argument."""
    if not isinstance(radii, u.Quantity) or not radii.unit.is_equivalent(u.rad):
        raise u.UnitsError(f"{name}: needs angles such as [1, 2, 4] * u.arcmin, got {radii!r}")
    radii = np.atleast_1d(radii)
    values = radii.value
    lowest = values.min(initial=np.inf) >= 0 if zero else values.min(initial=np.inf) > 0
    if not (radii.ndim == 1 and len(radii) >= at_least and lowest and (np.diff(values) > 0).all()):
        raise ValueError(f"{name}: needs at least {at_least} increasing, positive angles, got {radii}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: needs finite angles, got {radii}")
    return radii


def checked_ring(background):
    """Return the two radii of a ring, or raise an error."""
    radii = checked_radii(background, "background", at_least=2)
    if len(radii) != 2:
        raise ValueError(f"background: needs two angles, the radii of a ring, got {radii}")
    return radii
