"""
Hamiltonian Monte Carlo with a reference Gaussian that is rotated exactly.

The target is a reference Gaussian N(m, C) times a factor with the gradient r. With u = x - m and a
velocity v ~ N(0, C), the flow of the reference is a rotation in the (u, v) plane of every mode, whatever
its variance; only the factor has to be integrated, by kicks ``v += (e / 2) C r``. A step of length e is
kick, rotation by e, kick. Rotations conserve the energy of the reference and a kick changes it by

    (e / 2) <r, v> + (e^2 / 8) <r, C r>,

so that C need not be inverted. The change of the log factor along the path is either known, or is the
integral of r along it, by Simpson's rule along the parabola through every three positions: fourth order, and
no evaluation more. (The velocity v is not the slope of the path, from which it differs by e^2: with <r, v> the
integral would be off by as much as the energy itself.)
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch


class Target(Protocol):
    """A reference Gaussian and the factor that makes the target of it, on modes ``(n, ny, nx // 2 + 1)``."""

    mean: torch.Tensor
    sigma: float

    def draw_velocity(self, streams) -> torch.Tensor:
        """Velocities from the reference covariance."""

    def covariance(self, modes) -> torch.Tensor:
        """The reference covariance applied to modes."""

    def flow(self, u, v, angle) -> tuple:
        """Position and velocity after the flow of the reference."""

    def force(self, modes) -> torch.Tensor:
        """Gradient r of the log of the factor."""

    def log_factor(self, modes) -> torch.Tensor | None:
        """What is known of the log of the factor, ``(n,)``; None for nothing."""

    def unknown_force(self, force, modes) -> torch.Tensor | None:
        """The part of the force whose potential is not known; None for none."""


@dataclass(frozen=True)
class Trajectory:
    """
    How a step of Hamiltonian Monte Carlo moves.

    Attributes
    ----------
    length : float
        Angle of rotation; a quarter turn forgets the start, a half turn only mirrors it. For plain leapfrog
        steps, time.
    jitter : float
        Relative half width of the random spread of the length, without which some modes return.
    leapfrogs : int
        Kicks and rotations; even, for Simpson's rule.
    metropolis : bool
        Accept or reject by the change of energy.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from astro_massmap import Schedule
    >>> from astro_massmap.inference import Trajectory
    >>> Schedule(trajectory=Trajectory(length=1.2)).trajectory.length
    1.2
    >>> Trajectory(leapfrogs=3)
    Traceback (most recent call last):
    ...
    ValueError: leapfrogs: needs an even number of at least 2, got 3
    """

    length: float = math.pi / 2
    jitter: float = 0.4
    leapfrogs: int = 2
    metropolis: bool = True

    def __post_init__(self):
        if not (isinstance(self.leapfrogs, int) and self.leapfrogs >= 2 and self.leapfrogs % 2 == 0):
            raise ValueError(f"leapfrogs: needs an even number of at least 2, got {self.leapfrogs!r}")
        if not 0 < self.length < math.inf:
            raise ValueError(f"length: needs to be positive, got {self.length!r}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter: needs to be between 0 and 1, got {self.jitter!r}")


@dataclass
class State:
    """Chains: their modes, the force and the kick ``C r`` there, and what became of the last step."""

    modes: torch.Tensor
    force: torch.Tensor
    kick: torch.Tensor
    evaluations: int = 0
    accepted: torch.Tensor | None = None
    energy_error: torch.Tensor | None = None


class ScoreError(ValueError):
    """
    The score of a prior is not a number where the map is one.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, ScoreError, SplitPlan, Streams, run_chains
    >>> from astro_massmap.priors import PriorOnGrid
    >>> class Broken(PriorOnGrid):
    ...     gaussian = False
    ...     def residual(self, modes, sigma):
    ...         return modes / 0
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.fast(), (16, 16))
    >>> plan.targets[0].prior = Broken(plan.grid, plan.prior.variance)
    >>> try:
    ...     run_chains(plan, Streams(0, [7]))
    ... except ScoreError as error:
    ...     print(error)
    prior: its score is not finite at the noise level 0.09 in chain 7
    """


def start(target, modes, streams):
    """The state of chains at the given modes; costs an evaluation of the force."""
    force = _force(target, modes, streams)
    return State(modes, force, target.covariance(force), evaluations=1)


def _force(target, modes, streams):
    """The force, which must be a number wherever the map is one."""
    force = target.force(modes)
    bad = ~_finite(force) & _finite(modes)
    if bad.any():
        chain = streams.indices[int(bad.nonzero()[0])]
        raise ScoreError(f"prior: its score is not finite at the noise level {target.sigma:.4g} in chain {chain}")
    return force


def _finite(modes):
    """Which maps of a batch are finite."""
    return torch.isfinite(torch.view_as_real(modes)).flatten(1).all(dim=1)


def split_step(target, state, trajectory, streams, inner, *, always=False):
    """
    One step of split Hamiltonian Monte Carlo.

    Parameters
    ----------
    target : Target
        Reference Gaussian and factor.
    state : State
        Chains.
    trajectory : Trajectory
        How to move.
    streams : `~astro_massmap.inference.Streams`
        Random numbers.
    inner : callable
        Inner product ``(n,)`` of modes, in double precision.
    always : bool
        Move chains that would be rejected too, while ``accepted`` tells that they would be.

    Returns
    -------
    State
        Chains that were rejected stay. A path that left the numbers is rejected too.

    Raises
    ------
    ScoreError
        If the force is not finite where a map is.
    ConvergenceError
        If a linear system of the target cannot be solved to the tolerance.

    Examples
    --------
    Without a force the energy does not change, and the step is accepted:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, Streams, Trajectory, split_step
    >>> from astro_massmap.inference.hmc import start
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.fast(), (16, 16))
    >>> target, streams = plan.targets[0], Streams(0, range(3))
    >>> state = start(target, plan.start(streams), streams)
    >>> state = split_step(target, state, Trajectory(), streams, plan.grid.inner)
    >>> state.energy_error.tolist(), state.accepted.tolist()
    ([0.0, 0.0, 0.0], [True, True, True])
    """
    u, v, r, c_r = state.modes - target.mean, target.draw_velocity(streams), state.force, state.kick
    angle = trajectory.length * (1 + trajectory.jitter * (2 * streams.uniform() - 1)) / trajectory.leapfrogs
    e = angle.to(u.real.dtype)[:, None, None]
    energy, path = torch.zeros_like(angle), _Path(inner)
    path.add(state.modes, target.unknown_force(r, state.modes))
    for _ in range(trajectory.leapfrogs):
        energy = energy + angle / 2 * inner(r, v) + angle**2 / 8 * inner(r, c_r)
        v = v + e / 2 * c_r
        c_r = None  # on large boxes whatever is not needed while the target is asked is worth its memory
        u, v = target.flow(u, v, e)
        modes = target.mean + u
        r = _force(target, modes, streams)
        path.add(modes, target.unknown_force(r, modes))
        c_r = target.covariance(r)
        energy = energy + angle / 2 * inner(r, v) + angle**2 / 8 * inner(r, c_r)
        v = v + e / 2 * c_r
    new = State(modes, r, c_r, state.evaluations + trajectory.leapfrogs)
    return _accept(state, new, energy - _gain(target, state.modes, modes, path), trajectory, streams, always)


def _gain(target, before, after, path):
    """Change of the log factor along a path: what is known of it, and the work of the force that is not."""
    known = target.log_factor(after)
    gain = 0.0 if known is None else known - target.log_factor(before)
    return gain + path.work


class _Path:
    """The work of a force along a path. Of the path no more is kept than Simpson's rule needs."""

    def __init__(self, inner):
        self.inner, self.points, self.work = inner, [], 0.0

    def add(self, modes, force):
        """The next position, and the force there; none where there is no work to tell."""
        if force is None:
            return
        self.points.append((modes, force))
        if len(self.points) == 3:
            self.work = self.work + _work(self.points, self.inner)
            del self.points[:2]


def _work(path, inner):
    """Simpson's rule for the integral of r along the parabola through three positions."""
    (x_0, r_0), (x_1, r_1), (x_2, r_2) = path
    ends = inner(r_0, (4 * x_1 - 3 * x_0 - x_2) / 2), inner(r_2, (x_0 - 4 * x_1 + 3 * x_2) / 2)
    return (ends[0] + 4 * inner(r_1, (x_2 - x_0) / 2) + ends[1]) / 3


def _accept(old, new, energy_error, trajectory, streams, always):
    """The new state where the chain accepts it. Without Metropolis only what is not finite is rejected."""
    uniform = streams.uniform()
    finite = torch.isfinite(energy_error) & _finite(new.modes)
    accepted = finite & (torch.log(uniform) < -energy_error) if trajectory.metropolis else finite
    moves = (finite if always else accepted)[:, None, None]
    return State(
        torch.where(moves, new.modes, old.modes),
        torch.where(moves, new.force, old.force),
        torch.where(moves, new.kick, old.kick),
        new.evaluations,
        accepted,
        energy_error,
    )
