"""
The numerical core: float tensors on a flat grid, no units and no sky.

An `Observation` is what a survey has measured. A `FourierGrid` embeds its field in a periodic box,
a `LensingOperator` turns convergence into shear there, and a `GaussianPosterior` conditions a
Gaussian random field on the data exactly.
"""

from .conjugate_gradients import ConvergenceError, conjugate_gradients
from .device import pick_device
from .gaussian import GaussianPosterior
from .grid import FourierGrid, padded_shape
from .observation import Observation
from .operator import LensingOperator
from .random import Streams

__all__ = [
    "ConvergenceError",
    "FourierGrid",
    "GaussianPosterior",
    "LensingOperator",
    "Observation",
    "Streams",
    "conjugate_gradients",
    "padded_shape",
    "pick_device",
]
