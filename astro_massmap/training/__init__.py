"""
Learning a prior: denoising score matching on simulated maps.

A `Noiser` makes noisy pieces of maps from a `MapBank` or from `LightConeMaps`, a `Trainer` teaches a
`~astro_massmap.priors.HybridDenoiser` to clean them, `fit_correction` puts the power of the result right, and
`train_prior` does it all.
"""

from .curves import write_curves
from .maps import LightConeMaps, MapBank, Noiser
from .mocks import MockPieces
from .posterior_mean import MeanTrainer, fixed_mocks, mean_ratios, train_posterior_mean
from .recipe import train_prior
from .regression import fit_correction
from .trainer import LEVELS, Trainer, TrainingPlan, denoising_ratios, start_workers

__all__ = [
    "LEVELS",
    "LightConeMaps",
    "MapBank",
    "MeanTrainer",
    "MockPieces",
    "Noiser",
    "Trainer",
    "TrainingPlan",
    "denoising_ratios",
    "fit_correction",
    "fixed_mocks",
    "mean_ratios",
    "start_workers",
    "train_posterior_mean",
    "train_prior",
    "write_curves",
]
