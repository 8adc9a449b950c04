"""Probabilities and p-values that are counts of samples, with their uncertainty due to the number of samples."""

from __future__ import annotations

import math
from typing import Self

from .._io.quantities import checked_level
from .quantiles import probability_interval

__all__ = ["PValue", "Probability"]


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
    >>> from astro_massmap.analysis.probability import Probability
    >>> p = Probability(38, 40)
    >>> print(f"{p} ({p.lower:.2f} to {p.upper:.2f})")
    0.95 (0.90 to 0.97)
    """

    lower: float
    upper: float
    n_samples: int

    def __new__(cls, count: int, n_samples: int, level: float = 0.68) -> Self:
        """Divide the numbers."""
        found = super().__new__(cls, cls._value(count, n_samples))
        lower, upper = map(float, probability_interval(count, n_samples, checked_level(level)))
        found.n_samples, found.lower, found.upper = n_samples, min(lower, float(found)), max(upper, float(found))
        return found

    @staticmethod
    def _value(count: int, n_samples: int) -> float:
        return count / n_samples


class PValue(Probability):
    """
    Rank of a tested value among n samples, ``(count + 1) / (n + 1)``, where ``count`` samples are at least as extreme.

    The probability of a result of at most p is at most p if the tested value is one more draw from the distribution of
    the samples, for any distribution and any number of samples, because all ranks are then equally likely. The smallest
    possible p-value is 1 / (n + 1). ``lower`` and ``upper`` are the Wilson interval of the p-value that infinitely many
    samples would give; parameters are those of `Probability`.

    Examples
    --------
    >>> from astro_massmap.analysis.probability import PValue
    >>> p = PValue(0, 199)
    >>> print(f"{p} ({p.lower:.3f} to {p.upper:.3f})")
    0.005 (0.000 to 0.005)
    """

    @staticmethod
    def _value(count: int, n_samples: int) -> float:
        return (count + 1) / (n_samples + 1)


def need_samples(n: int, level: float) -> None:
    """Raise a ValueError unless n samples determine a region of this level: (n + 1) (1 - level) of at least 1."""
    needed = math.ceil(1 / (1 - level) - 1e-9) - 1
    if n < needed:
        raise ValueError(f"level: a region of {level:g} needs at least {needed} samples, got {n}")
