"""
Priors of the convergence: the score of the prior convolved with white noise, at every noise level.

A prior has a Gaussian component, given by its power spectrum, and a residual: the score minus that of the Gaussian
component. Samplers integrate the Gaussian component exactly and evaluate only the residual.
"""

from .base import Prior, PriorOnGrid
from .correction import Correction, CorrectionTable
from .denoiser import CONDITIONS, FieldStatistics, HybridDenoiser
from .function import ScoreFunction
from .gaussian import GaussianPrior
from .posterior_denoiser import NoisyPair, PosteriorDenoiser, posterior_unet
from .posterior_network import PosteriorNetwork
from .score import ScorePrior
from .unet import UNet

__all__ = [
    "CONDITIONS",
    "Correction",
    "CorrectionTable",
    "FieldStatistics",
    "GaussianPrior",
    "HybridDenoiser",
    "NoisyPair",
    "PosteriorDenoiser",
    "PosteriorNetwork",
    "Prior",
    "PriorOnGrid",
    "ScoreFunction",
    "ScorePrior",
    "UNet",
    "posterior_unet",
]
