"""
Maps of dark matter from weak gravitational lensing.

Galaxies of a `ShearCatalog` are binned on a grid as a `ShearMap`, from which a `ConvergenceMap` is reconstructed: the
projected matter with its WCS, its uncertainty and posterior samples.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._utils.version import __version__

if TYPE_CHECKING:
    from .inference import Schedule
    from .maps.catalog import ShearCatalog
    from .maps.convergence_map import ConvergenceMap
    from .maps.fields import reconstruct_fields, write_fields
    from .maps.shear_map import ShearMap
    from .methods import (
        AnnealedHMC,
        InferredSpectrum,
        KaiserSquires,
        PosteriorDiffusion,
        PosteriorMean,
        Sparse,
        Wiener,
    )
    from .priors import GaussianPrior, ScoreFunction, ScorePrior
    from .survey.fields import SkyFields
    from .survey.maps import SkyMaps
    from .theory.spectrum import PowerSpectrum

# The public names and the modules they live in. They are imported on first use, so that
# ``import astro_massmap`` stays light: no torch, no matplotlib, no astropy.
_HOMES = {
    "AnnealedHMC": "methods",
    "ConvergenceMap": "maps.convergence_map",
    "GaussianPrior": "priors",
    "InferredSpectrum": "methods",
    "KaiserSquires": "methods",
    "PosteriorDiffusion": "methods",
    "PosteriorMean": "methods",
    "PowerSpectrum": "theory.spectrum",
    "Schedule": "inference",
    "ScoreFunction": "priors",
    "ScorePrior": "priors",
    "ShearCatalog": "maps.catalog",
    "ShearMap": "maps.shear_map",
    "SkyFields": "survey.fields",
    "SkyMaps": "survey.maps",
    "Sparse": "methods",
    "Wiener": "methods",
    "reconstruct_fields": "maps.fields",
    "write_fields": "maps.fields",
}

__all__ = [
    "AnnealedHMC",
    "ConvergenceMap",
    "GaussianPrior",
    "InferredSpectrum",
    "KaiserSquires",
    "PosteriorDiffusion",
    "PosteriorMean",
    "PowerSpectrum",
    "Schedule",
    "ScoreFunction",
    "ScorePrior",
    "ShearCatalog",
    "ShearMap",
    "SkyFields",
    "SkyMaps",
    "Sparse",
    "Wiener",
    "__version__",
    "reconstruct_fields",
    "write_fields",
]


if not TYPE_CHECKING:  # otherwise type checkers would accept any name

    def __getattr__(name):
        if name in _HOMES:
            return getattr(import_module(f".{_HOMES[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
