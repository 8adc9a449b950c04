"""
Methods that map the convergence from the shear.

A method is a frozen object of options with one call, ``solve(observation) -> Estimate``. A string stands for a method
with its default options. A function of the observation is a method, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from .._utils.checks import is_object_with
from ._workers import shared_out
from .annealed_hmc import AnnealedHMC
from .base import Estimate, Method, MethodLike
from .function import FunctionMethod
from .inferred_spectrum import InferredSpectrum
from .kaiser_squires import KaiserSquires
from .posterior_diffusion import PosteriorDiffusion
from .posterior_mean import PosteriorMean
from .runs import run
from .sampled import SampledMethod
from .sparse import Sparse
from .wiener import Wiener

__all__ = [
    "METHODS",
    "AnnealedHMC",
    "Estimate",
    "InferredSpectrum",
    "KaiserSquires",
    "Method",
    "MethodLike",
    "PosteriorDiffusion",
    "PosteriorMean",
    "SampledMethod",
    "Sparse",
    "Wiener",
    "resolve",
    "run",
    "shared_out",
]

METHODS: dict[str, type[Any]] = {
    "annealed_hmc": AnnealedHMC,
    "kaiser_squires": KaiserSquires,
    "posterior_diffusion": PosteriorDiffusion,
    "posterior_mean": PosteriorMean,
    "sparse": Sparse,
    "wiener": Wiener,
}
DEFAULT = "annealed_hmc"


def resolve(method: MethodLike = None, options: Mapping[str, Any] | None = None) -> Method:
    """
    Return a method object, a `Method`, from a name and options, or from a function.

    Parameters
    ----------
    method : None, str, method object or callable
        Name or object of the method; None is the default, ``"annealed_hmc"``. A function of an
        `~astro_massmap.inference.Observation` returns the convergence ``(ny, nx)``, a pair of mean and standard
        deviation, or an `Estimate`.
    options : dict, optional
        Options of a method given by name.

    Raises
    ------
    ValueError
        If there is no method of this name, or an option is out of range.
    TypeError
        If the method has no such option, is an object or function and options are given, or is something else.

    Examples
    --------
    >>> from astro_massmap import Wiener
    >>> from astro_massmap.methods import resolve
    >>> resolve("wiener", {"n_samples": 4}) == Wiener(n_samples=4)
    True
    """
    options = options or {}
    if method is None or isinstance(method, str):
        name = DEFAULT if method is None else method
        if name not in METHODS:
            raise ValueError(f"method: {name!r} is unknown; known are {', '.join(map(repr, METHODS))}")
        known = [f.name for f in dataclasses.fields(METHODS[name]) if f.name != "_"]
        unknown = [option for option in options if option not in known]
        if unknown:
            raise TypeError(f"method {name!r} has no option {', '.join(unknown)}; it has {', '.join(known)}")
        return METHODS[name](**options)
    if not is_object_with(method, "solve"):
        return _of_function(method, options)
    if options:
        raise TypeError(
            f"method: {type(method).__name__} is an object, which contains its options; set {', '.join(options)} "
            "there, or give the name of the method"
        )
    return cast("Method", method)


def _of_function(function: Any, options: Mapping[str, Any]) -> Method:
    if not callable(function) or isinstance(function, type):
        raise TypeError(
            f"method: needs a name, an object such as Wiener(), or a function of the observation, got {function!r}"
        )
    if options:
        raise TypeError(
            f"method: a function has no options; bind {', '.join(options)} with functools.partial, or give the name of "
            "a method"
        )
    return FunctionMethod(function)
