"""
What is believed of the convergence before the data: a score at every noise level.

A prior is an object with a Gaussian half, told by its power spectrum, and a residual, which is what the
Gaussian misses. Samplers integrate the first exactly and evaluate only the second.
"""

from .base import Prior, PriorOnGrid
from .correction import Correction
from .denoiser import HybridDenoiser
from .gaussian import GaussianPrior
from .mean_network import MeanNetwork, MomentDenoiser
from .score import ScorePrior
from .unet import UNet

__all__ = [
    "Correction",
    "GaussianPrior",
    "HybridDenoiser",
    "MeanNetwork",
    "MomentDenoiser",
    "Prior",
    "PriorOnGrid",
    "ScorePrior",
    "UNet",
]
