"""Check arguments without units, independent of astropy."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def check_integer(value: Any, name: str, minimum: int) -> None:
    """Raise TypeError or ValueError unless ``value`` is an integer of at least ``minimum``."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name}: needs an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name}: needs to be at least {minimum}, got {value}")


def check_padding(padding: float, of: str = "field") -> None:
    """Raise ValueError unless ``padding``, the side of a box in sides of the field, is between 1 and 16."""
    if not (isinstance(padding, Real) and 1 <= padding <= 16):
        raise ValueError(f"padding: needs to be between 1 and 16 times the side of the {of}, got {padding!r}")


def check_spectrum(spectrum: Any) -> None:
    """Raise TypeError unless ``spectrum`` is callable and neither a class nor a constructor."""
    of_a_class = isinstance(getattr(spectrum, "__self__", None), type)
    if not callable(spectrum) or isinstance(spectrum, type) or of_a_class:
        kind = getattr(spectrum, "__qualname__", type(spectrum).__name__)
        raise TypeError(f"spectrum: needs a PowerSpectrum, such as PowerSpectrum.default(), got {kind}")


def is_object_with(thing: Any, method: str) -> bool:
    """Return whether ``thing`` is an object, not a class, with a method of this name."""
    return callable(getattr(thing, method, None)) and not isinstance(thing, type)
