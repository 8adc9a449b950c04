"""
Numerical core: tensors on a flat grid, without units or sky coordinates.

An `Observation` holds the data of a survey. A `FourierGrid` embeds its field in a periodic box, a `LensingOperator`
computes the shear of a convergence there (a `DirectOperator` is for maps of the convergence itself), and a
`GaussianPosterior` conditions a Gaussian random field on the data exactly.
"""

from .annealing import Plan, Run, SplitPlan, TemperedPlan, run_chains
from .bands import Bands
from .conjugate_gradients import SolverError, conjugate_gradients
from .device import pick_device
from .diffusion import DiffusedStartPlan, DiffusionPlan, posterior_diffusion
from .fit import model_fit, reduced_shear_log_weight, residual_power
from .gaussian import GaussianPosterior
from .grid import FourierGrid, padded_shape, posterior_shape
from .hmc import ScoreError, Trajectory, split_step
from .inpainting import inpainted_shear
from .observation import ConvergenceObservation, Observation
from .operator import DirectOperator, FourierOperator, LensingOperator
from .parallel import available_cores, one_thread, side_by_side, thread_pool
from .random import Streams
from .residuals import residual_peak
from .reverse import reverse_diffusion
from .sampler_checks import diverged, gaussian_check, power_over_prior, stationarity_check
from .schedule import Schedule
from .sparse import SparseModel
from .spectrum_gibbs import GibbsState, SpectrumGibbs
from .split import SplitPosterior
from .starlet import starlet
from .targets import SplitTarget, TemperedTarget

__all__ = [
    "Bands",
    "ConvergenceObservation",
    "DiffusedStartPlan",
    "DiffusionPlan",
    "DirectOperator",
    "FourierGrid",
    "FourierOperator",
    "GaussianPosterior",
    "GibbsState",
    "LensingOperator",
    "Observation",
    "Plan",
    "Run",
    "Schedule",
    "ScoreError",
    "SolverError",
    "SparseModel",
    "SpectrumGibbs",
    "SplitPlan",
    "SplitPosterior",
    "SplitTarget",
    "Streams",
    "TemperedPlan",
    "TemperedTarget",
    "Trajectory",
    "available_cores",
    "conjugate_gradients",
    "diverged",
    "gaussian_check",
    "inpainted_shear",
    "model_fit",
    "one_thread",
    "padded_shape",
    "pick_device",
    "posterior_diffusion",
    "posterior_shape",
    "power_over_prior",
    "reduced_shear_log_weight",
    "residual_peak",
    "residual_power",
    "reverse_diffusion",
    "run_chains",
    "side_by_side",
    "split_step",
    "starlet",
    "stationarity_check",
    "thread_pool",
]
