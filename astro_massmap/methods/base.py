"""What methods share: their result, how they are run, and checks of their options."""

import dataclasses
import time
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from numbers import Integral, Real

import numpy as np
import torch
from astropy.utils.exceptions import AstropyUserWarning


@dataclass
class Estimate:
    """
    What a method finds out: plain arrays on the grid of the observation.

    Attributes
    ----------
    mean, std : ndarray
        Posterior mean (or the estimate) and standard deviation, ``(ny, nx)``.
    samples : ndarray or None
        Posterior samples ``(n_samples, ny, nx)``.
    b_mode, b_std : ndarray or None
        The B mode and its standard deviation, ``(ny, nx)``.
    diagnostics : dict
        How it went, in plain numbers and strings.
    """

    mean: np.ndarray
    std: np.ndarray
    samples: np.ndarray | None = None
    b_mode: np.ndarray | None = None
    b_std: np.ndarray | None = None
    diagnostics: dict = field(default_factory=dict)


def run(method, observation, *, progress=True):
    """Solve, and add to the diagnostics what every method has: its name and settings, versions, wall time."""
    start = time.perf_counter()
    estimate = method.solve(observation, progress=progress)
    estimate.diagnostics |= {
        "method": type(method).__name__,
        "settings": {f.name: _plain(getattr(method, f.name)) for f in dataclasses.fields(method)},
        "versions": {name: metadata.version(name) for name in ("astro_massmap", "astropy", "numpy", "torch")},
        "wall_time": time.perf_counter() - start,
    }
    return estimate


def _plain(value):
    return value if value is None or isinstance(value, str | bool | Real) else str(value)


def check_integer(value, name, minimum):
    """ValueError or TypeError unless ``value`` is an integer of at least ``minimum``."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name}: needs an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name}: needs to be at least {minimum}, got {value}")


def check_tolerance(tolerance):
    """ValueError unless ``tolerance`` is a relative residual."""
    if not (isinstance(tolerance, Real) and 0 < tolerance < 1):
        raise ValueError(f"tolerance: needs to be between 0 and 1, got {tolerance!r}")


def check_padding(padding):
    """ValueError below 1; a warning below 1.5, where the errors of large scales come out too small."""
    if not (isinstance(padding, Real) and 1 <= padding <= 16):
        raise ValueError(f"padding: needs to be between 1 and 16 times the side of the field, got {padding!r}")
    if padding < 1.5:
        warnings.warn(
            f"padding: with a box of {padding:g} times the field, structure wraps around its edges and the "
            "errors of large scales come out too small; use at least 1.5",
            AstropyUserWarning,
            stacklevel=4,
        )


def check_dtype(dtype):
    """The torch type of a name, ValueError if it is not one of the two."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype: needs to be 'float32' or 'float64', got {dtype!r}")
    return getattr(torch, dtype)


def in_batches(function, indices, batch, *, on_done=lambda count: None):
    """
    Call ``function`` on consecutive pieces of ``indices``, ``batch`` of them at a time.

    When the memory of a device does not suffice, the batch is halved, with a warning, and the work
    goes on where it was.

    Parameters
    ----------
    function : callable
        Takes some of the sample numbers.
    indices : range or list
        All of them.
    batch : int
        How many at once.
    on_done : callable
        Told how many more are done.

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
            warnings.warn(
                f"out of memory on the device: going on with {batch} samples at once",
                AstropyUserWarning,
                stacklevel=2,
            )
            continue
        indices = indices[batch:]
        on_done(len(piece))
