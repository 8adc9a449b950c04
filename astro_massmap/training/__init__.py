"""
Training of a prior by denoising score matching on simulated maps.

A `Noiser` cuts noisy pieces from maps, a `Trainer` trains a `~astro_massmap.priors.HybridDenoiser` on them, and
`train_prior` does all of it. `train_posterior_mean` trains a posterior-mean network on mock surveys.
"""

from .curves import write_curves
from .maps import LightConeMaps, MapBank, Noiser, SurveyNoiser
from .mocks import MockPieces
from .posterior import PosteriorTrainer, fixed_pairs, posterior_ratios
from .posterior_mean import MeanTrainer, fixed_mocks, mean_ratios, train_posterior_mean
from .posterior_mocks import PosteriorBatch, PosteriorMocks
from .recipe import train_prior
from .regression import fit_correction
from .survey_prior import train_survey_prior
from .trainer import LEVELS, Trainer, TrainingPlan, denoising_ratios, start_workers

__all__ = [
    "LEVELS",
    "LightConeMaps",
    "MapBank",
    "MeanTrainer",
    "MockPieces",
    "Noiser",
    "PosteriorBatch",
    "PosteriorMocks",
    "PosteriorTrainer",
    "SurveyNoiser",
    "Trainer",
    "TrainingPlan",
    "denoising_ratios",
    "fit_correction",
    "fixed_mocks",
    "fixed_pairs",
    "mean_ratios",
    "posterior_ratios",
    "start_workers",
    "train_posterior_mean",
    "train_prior",
    "train_survey_prior",
    "write_curves",
]
