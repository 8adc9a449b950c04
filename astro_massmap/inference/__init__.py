"""
The numerical core: float tensors on a flat grid, no units and no sky.

An `Observation` is what a survey has measured. A `FourierGrid` embeds its field in a periodic box,
a `LensingOperator` turns convergence into shear there (a `DirectOperator` leaves it as it is), and a
`GaussianPosterior` conditions a Gaussian random field on the data exactly.
"""

from .annealing import Plan, Run, SplitPlan, TemperedPlan, run_chains
from .conjugate_gradients import ConvergenceError, conjugate_gradients
from .device import pick_device
from .diagnostics import gaussian_check, runaways, stationarity_check
from .gaussian import GaussianPosterior
from .grid import FourierGrid, padded_shape
from .hmc import ScoreError, Trajectory, split_step
from .observation import ConvergenceObservation, Observation
from .operator import DirectOperator, FourierOperator, LensingOperator
from .random import Streams
from .reverse import reverse_diffusion
from .schedule import Schedule
from .split import SplitPosterior
from .targets import LeapfrogTarget, SplitTarget, TemperedTarget

__all__ = [
    "ConvergenceError",
    "ConvergenceObservation",
    "DirectOperator",
    "FourierGrid",
    "FourierOperator",
    "GaussianPosterior",
    "LeapfrogTarget",
    "LensingOperator",
    "Observation",
    "Plan",
    "Run",
    "Schedule",
    "ScoreError",
    "SplitPlan",
    "SplitPosterior",
    "SplitTarget",
    "Streams",
    "TemperedPlan",
    "TemperedTarget",
    "Trajectory",
    "conjugate_gradients",
    "gaussian_check",
    "padded_shape",
    "pick_device",
    "reverse_diffusion",
    "run_chains",
    "runaways",
    "split_step",
    "stationarity_check",
]
