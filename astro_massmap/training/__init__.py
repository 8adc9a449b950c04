"""
Training of a prior by denoising score matching on simulated maps.

A `Noiser` cuts noisy pieces from maps, a `Trainer` trains a `~astro_massmap.priors.HybridDenoiser` on them, and
`train_prior` does all of it. `train_posterior` trains a `~astro_massmap.priors.PosteriorNetwork` on mock surveys.
"""

from .curves import write_curves
from .maps import LightConeMaps, MapBank, Noiser, OneSurvey, SurveyNoiser
from .posterior import PosteriorTrainer, fixed_pairs, posterior_ratios, train_posterior
from .posterior_mocks import PosteriorBatch, PosteriorMocks
from .recipe import train_prior
from .regression import fit_correction
from .survey_prior import train_survey_prior
from .trainer import LEVELS, Trainer, TrainingPlan, denoising_ratios, start_workers

__all__ = [
    "LEVELS",
    "LightConeMaps",
    "MapBank",
    "Noiser",
    "OneSurvey",
    "PosteriorBatch",
    "PosteriorMocks",
    "PosteriorTrainer",
    "SurveyNoiser",
    "Trainer",
    "TrainingPlan",
    "denoising_ratios",
    "fit_correction",
    "fixed_pairs",
    "posterior_ratios",
    "start_workers",
    "train_posterior",
    "train_prior",
    "train_survey_prior",
    "write_curves",
]
