"""
Axes of the shear components of a catalogue, and a test of the axes with the data.

Inside the package shear is complex, ``g1 + i g2`` with x to the West and y to the North. A mirror image (East for West)
conjugates it and mixes E and B modes; axes rotated by 90 degrees change its sign, so that clusters appear as voids;
axes rotated by 180 degrees change nothing. The eight pairs of perpendicular directions thus make four conventions.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import Angle
from astropy.utils.exceptions import AstropyUserWarning

if TYPE_CHECKING:
    import astropy.units as u
    from numpy.typing import NDArray

    from .._utils.typing import Axes
    from .catalog import ShearCatalog

# name: (whether to conjugate, sign) to convert from these axes to west-north, and back
AXES: dict[Axes, tuple[bool, int]] = {
    "west-north": (False, 1),
    "east-north": (True, 1),
    "north-east": (False, -1),
    "south-east": (True, -1),
    # the same four, rotated by 180 degrees; `check_axes` suggests the names above
    "east-south": (False, 1),
    "west-south": (True, 1),
    "south-west": (False, -1),
    "north-west": (True, -1),
}
_SIGNIFICANT = 4  # standard deviations
_N_NOISE = 64
_GALAXIES_PER_PIXEL = 40  # of the coarse grid
_SMOOTHING = 1.5  # pixels


def check_axes_name(axes: Axes) -> Axes:
    """Return ``axes``; ValueError for an unknown name."""
    if not isinstance(axes, str) or axes not in AXES:
        raise ValueError(f"axes: needs one of {', '.join(map(repr, AXES))}, got {axes!r}")
    return axes


def to_west_north(shear: Any, axes: Axes) -> Any:
    """Convert complex shear along ``axes`` to west-north; the inverse is the same function."""
    mirror, sign = AXES[axes]
    return sign * (np.conj(shear) if mirror else shear)


def same_axes(one: Axes, other: Axes) -> bool:
    return AXES[one] == AXES[other]


@dataclass(frozen=True)
class AxesReport:
    """
    Result of the test of the axes of a catalogue with its data.

    Attributes
    ----------
    axes : str
        Axes of the catalogue.
    e_minus_b, e_minus_b_mirrored : float
        Power of the E mode minus that of the B mode, in standard deviations of the noise, as it is and with West and
        East swapped. Gravitational lensing makes E modes only.
    skewness : float
        Third moment of the E mode, positive because of clusters, in standard deviations of the noise, or of Gaussian
        fields with the same power if larger.
    suggested : str or None
        Axes that fit significantly better, one of ``'west-north'``, ``'east-north'``, ``'north-east'`` and
        ``'south-east'``; equal to ``axes`` if the data do not contradict them, None if no axes fit.
    """

    axes: Axes
    e_minus_b: float
    e_minus_b_mirrored: float
    skewness: float
    suggested: Axes | None

    @property
    def ok(self) -> bool:
        """True if the data do not contradict the axes."""
        return self.suggested == self.axes

    def __str__(self) -> str:
        verdict = "consistent with the data" if self.ok else f"{self.suggested!r} fit significantly better"
        if self.ok and not min(self.e_minus_b, self.skewness) > _SIGNIFICANT:
            verdict += ", but the galaxies are too few to exclude other axes"
        if self.suggested is None:
            verdict = "the B mode exceeds the E mode; the axes may be those of another frame than coords, or rotated"
        return (
            f"axes {self.axes!r}: {verdict}. E - B power {self.e_minus_b:.1f} sigma "
            f"({self.e_minus_b_mirrored:.1f} with West and East swapped), E-mode skewness {self.skewness:.1f} sigma"
        )


def report_of(catalog: ShearCatalog) -> AxesReport:
    """Return the `AxesReport` of a catalogue, without its redshifts; warn when other axes fit clearly better."""
    axes, catalog.redshift = catalog.axes, None
    scale, swapped = _coarse_scale(catalog), catalog.with_shear(np.conj(catalog.west_north))
    right, mirrored = _powers(_weighted_shear(catalog, scale)), _powers(_weighted_shear(swapped, scale))
    swap = mirrored.contrast - right.contrast > _SIGNIFICANT and mirrored.contrast > _SIGNIFICANT
    skewness = (mirrored if swap else right).skewness
    mirror, sign = AXES[axes]
    wanted = (mirror != swap, -sign if skewness < -_SIGNIFICANT else sign)
    suggested: Axes | None = next(name for name in (axes, *AXES) if AXES[name] == wanted)
    if right.contrast < -_SIGNIFICANT and not swap:  # B modes that swapped axes do not explain
        suggested = None
    report = AxesReport(axes, right.contrast, mirrored.contrast, right.skewness, suggested)
    if not report.ok:
        warnings.warn(str(report), AstropyUserWarning, stacklevel=3)
    return report


def _coarse_scale(catalog: ShearCatalog) -> u.Quantity:
    """Return the pixel scale of a grid with some tens of galaxies per pixel."""
    diameter = max(2 * catalog.coords.separation(catalog.coords[0]).max(), Angle("1 arcsec"))
    spread = catalog.to_map(pixel_scale=diameter / 64)
    n_pixels = np.clip(len(catalog) / _GALAXIES_PER_PIXEL, 16**2, 512**2)
    return spread.pixel_scale * np.sqrt((~spread.mask).sum() / n_pixels)


def _weighted_shear(catalog: ShearCatalog, scale: u.Quantity) -> NDArray[np.complex128]:
    """Return the weighted shear (complex, pixel axes) on a grid."""
    shear = catalog.to_map(pixel_scale=scale)
    weight = shear.noise_std**-2.0  # zero without data
    return (shear.data[0] + 1j * shear.data[1]) * weight / weight.max()


@dataclass(frozen=True)
class _Powers:
    contrast: float
    skewness: float


def _powers(gamma: NDArray[np.complex128]) -> _Powers:
    """
    Return the E - B power of the smoothed map and the third moment of its E mode, in standard deviations of the noise.

    The noise is that of randomly rotated pixels; for the third moment, that of Gaussian fields of this power if larger.
    """
    rng = np.random.default_rng(0)
    kappa = _smoothed(gamma)
    noise = [_smoothed(gamma * np.exp(2j * np.pi * rng.random(gamma.shape))) for _ in range(_N_NOISE)]
    gaussian = [_with_random_phases(kappa.real, rng) for _ in range(_N_NOISE)]
    contrasts = np.array([(k.real**2 - k.imag**2).mean() for k in (kappa, *noise)])
    third = np.array([(k.real**3).mean() for k in (kappa, *noise)])
    scatter = max(third[1:].std(ddof=1), np.std([(k**3).mean() for k in gaussian], ddof=1))
    contrast = (contrasts[0] - contrasts[1:].mean()) / contrasts[1:].std(ddof=1)
    return _Powers(float(contrast), float((third[0] - third[1:].mean()) / scatter))


def _smoothed(gamma: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the smoothed Kaiser-Squires map, with the E mode as real and the B mode as imaginary part."""
    ny, nx = gamma.shape
    ly, lx = np.fft.fftfreq(2 * ny)[:, None], np.fft.fftfreq(2 * nx)[None, :]
    square = lx**2 + ly**2
    square[0, 0] = 1
    kernel = (lx - 1j * ly) ** 2 / square * np.exp(-2 * (np.pi * _SMOOTHING) ** 2 * square)
    return np.fft.ifft2(kernel * np.fft.fft2(gamma, s=(2 * ny, 2 * nx)))[:ny, :nx]


def _with_random_phases(image: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    white = np.fft.fft2(rng.normal(size=image.shape))
    return np.fft.ifft2(np.fft.fft2(image) * white / np.abs(white)).real
