"""
Learning a prior: denoising score matching on simulated maps.

A `Noiser` makes noisy pieces of maps from a `MapBank` or from `LightConeMaps`, a `Trainer` teaches a
`~astro_massmap.priors.HybridDenoiser` to clean them, `fit_correction` puts the power of the result right, and
`train_prior` does it all.
"""

from .curves import write_curves
from .maps import LightConeMaps, MapBank, Noiser
from .recipe import train_prior
from .regression import fit_correction
from .trainer import LEVELS, Trainer, TrainingPlan, denoising_ratios, start_workers

__all__ = [
    "LEVELS",
    "LightConeMaps",
    "MapBank",
    "Noiser",
    "Trainer",
    "TrainingPlan",
    "denoising_ratios",
    "fit_correction",
    "start_workers",
    "train_prior",
    "write_curves",
]
