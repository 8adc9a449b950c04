"""
Axes along which a catalogue measures shear, and a test of them with the data.

Inside the package shear is complex, ``g1 + i g2`` with x to the West and y to the North. A mirror image
(East for West) conjugates it and mixes the E mode into the B mode; axes rotated by 90 degrees (position
angles from North) change its sign, which turns clusters into voids. Axes rotated by 180 degrees are the
same for shear, so that the eight pairs of perpendicular directions make four conventions.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._utils.typing import Axes

# name: (whether to conjugate, sign) that lead from these axes to west-north, and back
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
_SMOOTHING = 1.5  # pixels


def check_axes_name(axes: Axes) -> Axes:
    """Return ``axes`` if it is one of the known names, or raise a ValueError."""
    if not isinstance(axes, str) or axes not in AXES:
        raise ValueError(f"axes: got {axes!r}; known are {', '.join(map(repr, AXES))}")
    return axes


def to_west_north(shear: Any, axes: Axes) -> Any:
    """Complex shear measured along ``axes``, as seen along west-north; the same call leads back."""
    mirror, sign = AXES[axes]
    return sign * (np.conj(shear) if mirror else shear)


def same_axes(one: Axes, other: Axes) -> bool:
    """Return whether shear has the same components along both axes."""
    return AXES[one] == AXES[other]


@dataclass(frozen=True)
class AxesReport:
    """
    Result of the test of the axes of a catalogue with its data.

    Attributes
    ----------
    axes : str
        The axes of the catalogue.
    e_minus_b : float
        Power of the E mode minus that of the B mode, in standard deviations of the noise.
    e_minus_b_mirrored : float
        The same if West and East are swapped. Gravity makes E modes only.
    skewness : float
        Third moment of the E mode, in standard deviations of the noise, or of Gaussian fields of the same
        power if that is larger. Clusters make it positive.
    suggested : str or None
        The axes that fit clearly better, one of ``'west-north'``, ``'east-north'``, ``'north-east'`` and
        ``'south-east'``; equal to ``axes`` if there is no sign that they are wrong, None if none fits.
    """

    axes: Axes
    e_minus_b: float
    e_minus_b_mirrored: float
    skewness: float
    suggested: Axes | None

    @property
    def ok(self) -> bool:
        """Whether there is no clear sign that the axes are wrong."""
        return self.suggested == self.axes

    def __str__(self) -> str:
        verdict = "no sign that they are wrong" if self.ok else f"{self.suggested!r} fit clearly better"
        if self.ok and not min(self.e_minus_b, self.skewness) > _SIGNIFICANT:
            verdict += ", but these data are too few to be sure"
        if self.suggested is None:
            verdict = "the B mode exceeds the E mode; shapes may be along North of another frame than coords, or turned"
        return (
            f"axes {self.axes!r}: {verdict}. E - B power {self.e_minus_b:.1f} sigma "
            f"({self.e_minus_b_mirrored:.1f} with West and East swapped), E-mode skewness {self.skewness:.1f} sigma"
        )


def report_of(axes: Axes, shear: NDArray[np.complex128], mirrored_shear: NDArray[np.complex128]) -> AxesReport:
    """
    Return the `AxesReport` of a catalogue; warn when other axes fit clearly better.

    Parameters
    ----------
    axes : str
        Axes of the catalogue.
    shear, mirrored_shear : ndarray of complex
        Weighted shear on a coarse grid ``(ny, nx)``, along the pixel axes, as it is and with West and East swapped.
    """
    right, mirrored = _powers(shear), _powers(mirrored_shear)
    swap = mirrored.contrast - right.contrast > _SIGNIFICANT and mirrored.contrast > _SIGNIFICANT
    skewness = (mirrored if swap else right).skewness
    mirror, sign = AXES[axes]
    wanted = (mirror != swap, -sign if skewness < -_SIGNIFICANT else sign)
    suggested: Axes | None = next(name for name in (axes, *AXES) if AXES[name] == wanted)
    if right.contrast < -_SIGNIFICANT and not swap:  # a B mode that no swap of axes makes
        suggested = None
    report = AxesReport(axes, right.contrast, mirrored.contrast, right.skewness, suggested)
    if not report.ok:
        warnings.warn(str(report), AstropyUserWarning, stacklevel=3)
    return report


@dataclass(frozen=True)
class _Powers:
    contrast: float
    skewness: float


def _powers(gamma: NDArray[np.complex128]) -> _Powers:
    """
    E - B power of the smoothed map in standard deviations of the noise, and the third moment of its E mode.

    The noise is that of randomly rotated pixels. The third moment of a field without skewness scatters more than
    that of noise alone: its standard deviation is that of Gaussian fields with the power of the map, if larger.
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
    """Smoothed Kaiser-Squires map, the E mode real and the B mode imaginary."""
    ny, nx = gamma.shape
    ly, lx = np.fft.fftfreq(2 * ny)[:, None], np.fft.fftfreq(2 * nx)[None, :]
    square = lx**2 + ly**2
    square[0, 0] = 1
    kernel = (lx - 1j * ly) ** 2 / square * np.exp(-2 * (np.pi * _SMOOTHING) ** 2 * square)
    return np.fft.ifft2(kernel * np.fft.fft2(gamma, s=(2 * ny, 2 * nx)))[:ny, :nx]


def _with_random_phases(image: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian field with the power spectrum of an image."""
    white = np.fft.fft2(rng.normal(size=image.shape))
    return np.fft.ifft2(np.fft.fft2(image) * white / np.abs(white)).real
