"""Parts common to all methods: the result, and checks of options."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch

from .._utils import checks
from .._utils.progress import warn
from ..analysis.statements import fit_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..inference import Observation


@dataclass
class Estimate:
    """
    Result of a method: plain arrays on the grid of the observation.

    Attributes
    ----------
    mean, std : ndarray
        Posterior mean, or another estimate of the convergence, and its standard deviation or None, ``(ny, nx)``.
    samples : ndarray or None
        Posterior samples ``(n_samples, ny, nx)``.
    b_mode, b_std : ndarray or None
        B mode and its standard deviation, ``(ny, nx)``.
    diagnostics : dict
        Results of checks, counts and times, as plain numbers and strings.
    provenance : dict or None
        Record of the run, which `run` adds (see ``astro_massmap.methods.provenance``).

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import KaiserSquires
    >>> from astro_massmap.inference import Observation
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> estimate = KaiserSquires().solve(observation)
    >>> estimate.mean.shape, estimate.b_mode.shape, estimate.samples is None
    ((16, 16), (16, 16), True)
    """

    mean: np.ndarray
    std: np.ndarray | None
    samples: np.ndarray | None = None
    b_mode: np.ndarray | None = None
    b_std: np.ndarray | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] | None = None


class Method(Protocol):
    """
    Protocol of a method: an object with ``solve``.

    Examples
    --------
    A method that ignores the data:

    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.methods import Estimate
    >>> class Zero:
    ...     def solve(self, observation, *, progress=False):
    ...         return Estimate(np.zeros(observation.shape), std=None)
    >>> datasets.demo().reconstruct(Zero()).diagnostics["method"]
    'Zero'
    """

    def solve(self, observation: Observation, *, progress: bool = False) -> Estimate:
        """
        Map one `~astro_massmap.inference.Observation`, and return an `Estimate`; ``progress`` shows a progress bar.

        Raises
        ------
        ValueError
            If the memory does not suffice, the prior has another pixel scale, or, as
            `~astro_massmap.inference.SolverError`, a linear system cannot be solved.
        """


MethodLike: TypeAlias = "str | Method | Callable[[Observation], Any] | None"


def warn_of_fit(fit: Mapping[str, Any] | None) -> None:
    """Warn of data that prior and noise do not explain."""
    for _, message in fit_statements(fit):
        warn(f"{message}; see diagnostics['fit']", stacklevel=4)


def mean_and_std(samples: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation ``(ny, nx)`` of samples, which are read one by one and may be a memory map."""
    mean = np.zeros(samples.shape[1:])
    square = np.zeros_like(mean)
    for n, sample in enumerate(samples, start=1):
        step = sample - mean
        mean += step / n
        square += step * (sample - mean)
    std = np.sqrt(square / max(len(samples) - 1, 1))
    return mean.astype(np.float32), std.astype(np.float32)


def check_tolerance(tolerance: float) -> None:
    """Raise ValueError unless ``tolerance`` is between 0 and 1."""
    if not (isinstance(tolerance, Real) and 0 < tolerance < 1):
        raise ValueError(f"tolerance: needs to be between 0 and 1, got {tolerance!r}")


def check_padding(padding: float) -> None:
    """Raise ValueError below 1; warn below 1.5, where the errors of large scales are too small."""
    checks.check_padding(padding)
    if padding < 1.5:
        warn(
            f"padding: with a box of {padding:g} times the field, structure wraps around its edges and the "
            "errors of large scales are too small; use at least 1.5",
            stacklevel=5,
        )


def check_dtype(dtype: str) -> torch.dtype:
    """Return the torch type of a name; ValueError unless it is 'float32' or 'float64'."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype: needs to be 'float32' or 'float64', got {dtype!r}")
    return getattr(torch, dtype)


def in_batches(
    function: Callable[[Any], object],
    indices: Sequence[int],
    batch: int,
    *,
    on_done: Callable[[int], object] = lambda count: None,
) -> None:
    """
    Call ``function`` on pieces of ``batch`` indices, and ``on_done`` with the length of each finished piece.

    When the memory of the device does not suffice, the batch is halved, with a warning, and the piece is repeated.
    """
    while indices:
        piece = indices[:batch]
        try:
            function(piece)
        except torch.OutOfMemoryError:
            if len(piece) == 1:
                raise
            batch = len(piece) // 2
            torch.cuda.empty_cache()
            warn(f"out of memory on the device: continuing with {batch} samples at a time")
            continue
        indices = indices[batch:]
        on_done(len(piece))
