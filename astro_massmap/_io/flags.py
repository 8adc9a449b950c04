"""Conversion of columns of flags to bools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.utils.masked import Masked

from .quantities import BLANK

if TYPE_CHECKING:
    from .._utils.typing import Bools

_FLAGS = {"true": True, "t": True, "yes": True, "y": True, "false": False, "f": False, "no": False, "n": False}


@dataclass(frozen=True)
class Answers:
    """Rows where a condition is true, and rows where it is undefined because a value is missing; both ``(n,)``."""

    true: Bools
    missing: Bools

    def __invert__(self) -> Answers:
        return Answers(~self.true & ~self.missing, self.missing)

    def __and__(self, other: Answers) -> Answers:
        true = self.true & other.true
        false = (~self).true | (~other).true
        return Answers(true, ~true & ~false)

    def __or__(self, other: Answers) -> Answers:
        return ~(~self & ~other)


def flags(values: Any, name: str) -> Answers:
    """
    Convert a column of flags, ``(n,)``, to `Answers`; masked, NaN and blank values are missing.

    Flags are bools, the numbers 0 and 1, or text: true and false, t and f, yes and no, y and n, 0 and 1, in any case.
    Other values raise a ValueError.
    """
    data, mask = unmasked(values, name)
    if data.dtype.kind == "b":
        return Answers(data & ~mask, mask)
    if data.dtype.kind in "iuf":
        missing = mask | (data != data)
        wrong = ~missing & (data != 0) & (data != 1)
        if wrong.any():
            raise _no_flags(data[wrong], name)
        return Answers((data == 1) & ~missing, missing)
    distinct, place = np.unique(texts(data, mask), return_inverse=True)
    found = [flag_of(text) for text in distinct.tolist()]
    if any(flag is NotImplemented for flag in found):
        raise _no_flags([t for t, flag in zip(distinct, found, strict=True) if flag is NotImplemented], name)
    missing = mask | np.array([flag is None for flag in found], dtype=bool)[place]
    return Answers(np.array([flag is True for flag in found], dtype=bool)[place] & ~missing, missing)


def flag_of(text: str) -> bool | None:
    """Return the flag in a text, None for blank text, NotImplemented for other text."""
    text = text.strip().lower()
    if text in BLANK:
        return None
    try:
        return {0.0: False, 1.0: True}.get(float(text), NotImplemented) if text not in _FLAGS else _FLAGS[text]
    except ValueError:
        return NotImplemented


def _no_flags(values: Any, name: str) -> ValueError:
    shown = ", ".join(repr(v.item() if isinstance(v, np.generic) else v) for v in list(dict.fromkeys(values))[:3])
    return ValueError(
        f"{name}: needs flags (bools, 0 and 1, or text such as true and false), got {shown}; to select by value, give "
        "a condition such as 'z > 0.6'"
    )


def unmasked(values: Any, name: str) -> tuple[Any, Bools]:
    """Return the values of a column in their own type and unit, and their mask; both ``(n,)``."""
    mask: Any = False
    if isinstance(values, Masked):
        mask, values = values.mask, values.unmasked
    masked = np.ma.asarray(getattr(values, "value", values))
    data, mask = np.asarray(np.ma.getdata(masked)), mask | np.ma.getmaskarray(masked)
    if data.ndim != 1:
        raise ValueError(f"{name}: needs one value for each row, got shape {data.shape}")
    if data.dtype.kind == "O" and any(isinstance(v, bool | np.bool_) for v in data.tolist()):
        data = np.array([str(v) for v in data.tolist()], dtype=str)
    if data.dtype.kind not in "biufSUO":
        raise ValueError(f"{name}: needs numbers or text, got {type(values).__name__} of {data.dtype}")
    return data, np.asarray(mask)


def texts(data: Any, mask: Bools) -> Any:
    texts = [v.decode("latin-1") if isinstance(v, bytes) else str(v) for v in data.tolist()]
    return np.where(mask, "", np.char.strip(np.array(texts, dtype=str)))
