"""
Response of ellipticities to shear: distortions, and response matrices of metacalibration and metadetection.

The ellipticity of a galaxy with response R, multiplicative bias m and additive bias c is

    e = R ((1 + m) g + c) + noise.

The shear estimate is ``<R>^-1 e - c``, where ``<R> = sum(w R) / sum(w)`` is the weighted mean over the catalogue. The
response of a single galaxy, or of the few in a pixel, is as noisy as the ellipticity, may be zero or negative, and is
never inverted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._io.quantities import column, floats
from .._sky.binning import normalised
from .._utils.progress import warn
from .axes import AXES, to_west_north

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import Table
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Axes, Response

MATRIX = ("R11", "R12", "R21", "R22")  # columns of a table
RESPONSE = ("response", "rms_e", *MATRIX)
_WEIGHT = re.compile(r"(?!.*(flux|prior|phot)).*weight", re.IGNORECASE)
_M_BIAS = re.compile(r"(?i:m_?bias|m_?corr|.*shear_bias_m)|m")  # M is a mass or a magnitude


def check_response(response: ArrayLike | None, responsivity: ArrayLike | None, n: int) -> Response | None:
    """Return the response as a number, ``(n,)``, ``(2, 2)`` or ``(n, 2, 2)``; None for a response of one."""
    if responsivity is not None:
        if response is not None:
            raise ValueError("response, responsivity: give one of them; the response is twice the responsivity")
        values = column(responsivity, "responsivity", n, scalar=True)
        if np.any(np.less_equal(values, 0) | np.greater(values, 1)):
            raise ValueError(
                "responsivity: needs to be larger than 0 and at most 1, as 1 - e_rms^2, "
                f"got {np.nanmin(values):g} to {np.nanmax(values):g}; give 2 R, or another response, as response"
            )
        return 2 * values
    if response is None:
        return None
    array = floats(response, "response")
    if array.shape not in ((), (n,), (2, 2), (n, 2, 2)):
        raise ValueError(
            f"response: needs one number, one for each of {n} galaxies, or matrices 2 x 2; got the shape {array.shape}"
        )
    return float(array) if array.ndim == 0 else array


def response_of_columns(
    found: dict[str, Any], given: Mapping[str, Any], names: list[str], columns: Mapping[str, str | None] | None
) -> None:
    """Replace response columns in ``found`` by their argument; warn if one seems to be needed but unused."""
    matrix = {key: found.pop(key) for key in MATRIX if key in found}
    rms = found.pop("rms_e", None)
    used = matrix or rms is not None or "response" in found
    if not used and not {"response", "responsivity"} & {*given} and not {*RESPONSE} & {*(columns or ())}:
        _doubt(str(found["g1"].info.name), names)
    if sum(("response" in found, bool(matrix), rms is not None)) > 1:
        raise ValueError("columns: give only one of response, R11 to R22, and rms_e, which all define the response")
    n = len(found["g1"])
    if rms is not None:
        rms = column(rms, "rms_e", n)
        if np.any(np.abs(rms) >= 1):
            raise ValueError(
                f"rms_e: needs the rms distortion per component, which is below 1; got up to {np.nanmax(np.abs(rms)):g}"
            )
        found["responsivity"] = 1 - rms**2
    if matrix:
        if not {"R11", "R22"} <= matrix.keys():
            raise ValueError(f"columns: a matrix of the response needs R11 and R22, got {', '.join(matrix)}")
        rows = [column(matrix[key], key, n) if key in matrix else np.zeros(n) for key in MATRIX]
        found["response"] = np.stack(rows, axis=-1).reshape(n, 2, 2)


def _doubt(g1: str, names: list[str]) -> None:
    """Warn if the names of the columns suggest a response to shear other than one."""
    unused = [name for name in names if name.lower().replace("_", "") in ("r11", "rg11")]
    if "regauss" in g1.lower():
        fault = f"{g1!r} seems to be a distortion, about 1.7 times the shear: give responsivity or the column rms_e"
    elif unused:
        fault = f"the response in {unused[0]!r} is not used: name the columns R11, R12, R21, R22, or give response"
    else:
        return
    warn(f"columns: {fault}; or response=1 if the shear is calibrated", 5)


def warn_of_unused(table: Table, used: set[str]) -> None:
    """Warn of columns that are named as weights or multiplicative biases, of which none is used or declined."""
    for key, pattern, none in (("weight", _WEIGHT, "equal weights"), ("m_bias", _M_BIAS, "calibrated shear")):
        names = [name for name in table.colnames if pattern.fullmatch(name) and key not in used]
        if key == "m_bias":
            names = [name for name in names if _is_small(table[name])]
        if names:
            warn(
                f"columns: {names[0]!r} is not used as {key}: give columns={ {key: names[0]} }, or "
                f"columns={ {key: None} } for {none}",
                4,
            )


def _is_small(values: Any) -> bool:
    """Return whether a column contains numbers of which most are below 1, as biases are and magnitudes are not."""
    array = np.ma.asarray(getattr(values, "value", values))
    return array.dtype.kind in "fiu" and bool(np.mean(np.abs(array.filled(0)) < 1) > 0.5)


def response_to_table(response: Any, n: int) -> dict[str, NDArray[np.float64]]:
    if response is None:
        return {}
    if np.ndim(response) < 2:
        return {"response": np.broadcast_to(response, n)}
    return dict(zip(MATRIX, np.broadcast_to(response, (n, 2, 2)).reshape(-1, 4).T, strict=True))


def mean_response(response: Response | None, weight: NDArray[np.float64]) -> Response:
    """Return the weighted mean of the response over the galaxies, one number or ``(2, 2)``."""
    mean: Any = 1.0 if response is None else response
    if np.shape(mean) not in ((), (2, 2)):
        w = normalised(weight)
        mean = np.tensordot(w, mean, 1) / w.sum()
    determinant, trace = (mean, mean) if np.ndim(mean) == 0 else (np.linalg.det(mean), np.trace(mean))
    if not (determinant > 0 and trace > 0 and np.isfinite(trace)):
        raise ValueError(
            f"response: needs a positive mean over the {len(weight)} galaxies, got {np.array(mean).tolist()}; "
            "give the mean response of a larger sample"
        )
    return mean if np.ndim(mean) else float(mean)


def complex_parts(matrix: Any) -> tuple[Any, Any]:
    """Return a and b such that matrices ``(..., 2, 2)`` applied to ``g = g1 + i g2`` give ``a g + b conj(g)``."""
    (r11, r12), (r21, r22) = np.moveaxis(matrix, (-2, -1), (0, 1))
    return ((r11 + r22) + 1j * (r21 - r12)) / 2, ((r11 - r22) + 1j * (r21 + r12)) / 2


def real_matrix(a: Any, b: Any) -> NDArray[np.float64]:
    rows = (a + b).real, (b - a).imag, (a + b).imag, (a - b).real
    return np.stack(np.broadcast_arrays(*rows), axis=-1).reshape(*np.shape(a + b), 2, 2)


def times(response: Any, shear: Any) -> Any:
    if np.ndim(response) < 2:
        return response * shear
    a, b = complex_parts(response)
    return a * shear + b * np.conj(shear)


def seen_along(response: Response | None, axes: Axes, other: Axes, phase: Any = 1.0) -> Response | None:
    """Convert a response to other axes; ``phase`` is the factor that converts west-north shear to another frame."""
    if response is None or np.ndim(response) < 2:
        return response
    a, b = complex_parts(response)
    if AXES[axes][0]:
        a, b = np.conj(a), np.conj(b)
    b = b * phase**2
    return real_matrix(np.conj(a), np.conj(b)) if AXES[other][0] else real_matrix(a, b)


class Calibration:
    """Methods of `~astro_massmap.ShearCatalog` that convert ellipticities to shear and back."""

    if TYPE_CHECKING:  # attributes of a catalogue

        def __getitem__(self, item: slice) -> Self: ...

        axes: Axes
        g1: NDArray[np.float64]
        g2: NDArray[np.float64]
        weight: NDArray[np.float64]
        m_bias: float | NDArray[np.float64] | None
        c_bias: tuple[float | NDArray[np.float64], ...]
        response: Response | None
        _given_shape_noise: float | None

    @property
    def shape_noise(self) -> float:
        """Standard deviation of a component of the shear estimates of single galaxies, given or measured."""
        if self._given_shape_noise is not None:
            return self._given_shape_noise
        square, shear = normalised(self.weight) ** 2, self._shear
        return float(np.sqrt((square * (shear.real**2 + shear.imag**2)).sum() / (2 * square.sum())))

    @property
    def _mean_response(self) -> Response:
        return mean_response(self.response, self.weight)

    @property
    def _shear(self) -> NDArray[np.complex128]:
        """Complex shear estimates without additive bias, along the axes of the catalogue."""
        e = self.g1 + 1j * self.g2
        if self.response is not None:
            mean = self._mean_response
            e = times(1 / mean if np.ndim(mean) == 0 else np.linalg.inv(mean), e)
        return e - (self.c_bias[0] + 1j * np.asarray(self.c_bias[1]))

    @property
    def west_north(self) -> NDArray[np.complex128]:
        """Complex shear estimates ``(n,)`` without additive bias, with x to the west and y to the north."""
        return to_west_north(self._shear, self.axes)

    def with_shear(self, west_north: NDArray[np.complex128]) -> Self:
        """Return the catalogue with other shear estimates ``(n,)``, in the form of `west_north`."""
        new = self[:]
        e = times(self._mean_response, to_west_north(west_north, self.axes))
        new.g1, new.g2, new.c_bias = e.real.copy(), e.imag.copy(), (0.0, 0.0)
        return new

    def _bias_of(self, shear: NDArray[np.complex128]) -> Any:
        """Return the bias ``<R>^-1 R (1 + m) g - g`` of estimates of this shear (west-north)."""
        m = 0.0 if self.m_bias is None else self.m_bias
        response: Any = self.response
        if np.shape(response) in ((), (2, 2)):
            return m * shear
        mean: Any = self._mean_response
        relative = response / mean if np.ndim(mean) == 0 else np.linalg.solve(mean, response)
        relative = seen_along(relative, self.axes, "west-north")
        return times(relative, (1 + m) * shear) - shear
