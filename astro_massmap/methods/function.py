"""A method given by a function of the observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._utils.content import description, name_of
from .base import Estimate

if TYPE_CHECKING:
    from ..inference import Observation

_WANTED = "an array or tensor (ny, nx), a pair of them (mean and standard deviation), or an Estimate"


@dataclass(frozen=True, eq=False, repr=False)
class FunctionMethod:
    """
    Method of a function ``f(observation)``, which `astro_massmap.methods.resolve` makes of it.

    Parameters
    ----------
    f : callable
        Function of an `~astro_massmap.inference.Observation`. Its result is the convergence, an array or tensor
        ``(ny, nx)``; a pair of these, mean and standard deviation; or an `Estimate`.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.inference import Observation
    >>> from astro_massmap.methods.function import FunctionMethod
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> FunctionMethod(lambda observation: observation.shear[0]).solve(observation).mean.shape
    (16, 16)
    """

    f: Callable[[Observation], Any] = field(metadata={"content": True})

    def __repr__(self) -> str:
        return f"<method: {description(self.f)}>"

    @property
    def name(self) -> str:
        """Name of the function without its module, with the arguments of a partial function."""
        name, bracket, bound = name_of(self.f).partition("(")
        return getattr(self.f, "__name__", None) or name.rpartition(".")[2] + bracket + bound

    def solve(self, observation: Observation, *, progress: bool = False) -> Estimate:
        """
        Map one observation, see `Method.solve <astro_massmap.methods.Method.solve>`; ``progress`` has no effect.

        Raises
        ------
        TypeError, ValueError
            If the result of the function is of another type or shape, or not finite.
        """
        result = self.f(observation)
        if not isinstance(result, Estimate):
            mean, std = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
            result = Estimate(mean, std)
        shape, whose = observation.shape, f"method: {self.name}"
        return Estimate(
            _image(result.mean, shape, f"{whose} needs to return {_WANTED}"),
            _std(result.std, shape, f"{whose}: its standard deviation"),
            samples=_samples(result.samples, shape, f"{whose}: its samples"),
            b_mode=_image(result.b_mode, shape, f"{whose}: its B mode", optional=True),
            b_std=_std(result.b_std, shape, f"{whose}: the standard deviation of its B mode"),
            diagnostics=dict(result.diagnostics),
        )


def method_name(method: Any) -> str:
    """Return the name of a method for diagnostics and messages: that of its class or function."""
    return method.name if isinstance(method, FunctionMethod) else type(method).__name__


def _image(value: Any, shape: tuple[int, ...], what: str, optional: bool = False) -> Any:
    """Return a finite array of floats ``shape``; errors begin with ``what``."""
    if value is None and optional:
        return None
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray) or hasattr(value, "unit"):
        raise TypeError(f"{what}, got a {type(value).__name__}")
    if value.dtype.kind not in "fiu":
        raise TypeError(f"{what}: needs real numbers, got the type {value.dtype}")
    if value.shape != tuple(shape):
        raise ValueError(f"{what}: needs the shape {tuple(shape)}, got {value.shape}")
    wrong = int((~np.isfinite(value)).sum())
    if wrong:
        raise ValueError(f"{what}: needs to be finite, also in pixels without data, but {wrong} of the pixels are not")
    return value if value.dtype.kind == "f" else value.astype(np.float64)


def _std(value: Any, shape: tuple[int, ...], what: str) -> Any:
    value = _image(value, shape, what, optional=True)
    if value is not None and (value < 0).any():
        raise ValueError(f"{what}: needs to be at least 0, got {value.min():.3g}")
    return value


def _samples(value: Any, shape: tuple[int, ...], what: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, np.ndarray | torch.Tensor):
        raise TypeError(f"{what}: need an array (n_samples, ny, nx), got a {type(value).__name__}")
    return _image(value, (len(value), *shape), what)
