"""
Hamiltonian Monte Carlo with a Gaussian reference, whose flow is an exact rotation.

The target is a reference Gaussian N(m, C) times a factor with the gradient r. With u = x - m and a
velocity v ~ N(0, C), the flow of the reference is a rotation in the (u, v) plane of every mode,
for any variance; only the factor has to be integrated, by kicks ``v += (e / 2) C r``. A step of length e is
kick, rotation by e, kick. Rotations conserve the energy of the reference and a kick changes it by

    (e / 2) <r, v> + (e^2 / 8) <r, C r>,

so that C need not be inverted. The change of the log factor along the path is either known, or the integral of r along
the path, by Simpson's rule on the parabola through each three positions: fourth order, without further evaluations.
(The velocity v differs from the derivative of the path by e^2: with <r, v> the error of the integral would be as large
as the energy error itself.)
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch


class Target(Protocol):
    """Target density: a Gaussian reference times a factor, on modes ``(n, ny, nx // 2 + 1)``."""

    mean: torch.Tensor
    sigma: float

    def draw_velocity(self, streams) -> torch.Tensor:
        """Draw velocities from the reference covariance."""

    def covariance(self, modes) -> torch.Tensor:
        """Apply the reference covariance to modes."""

    def flow(self, u, v, angle) -> tuple:
        """Return position and velocity after the flow of the reference."""

    def force(self, modes) -> torch.Tensor:
        """Return the gradient r of the log of the factor."""

    def log_factor(self, modes) -> torch.Tensor | None:
        """Return the known part of the log of the factor, ``(n,)``, or None."""

    def unknown_force(self, force, modes) -> torch.Tensor | None:
        """Return the part of the force without a known potential, or None."""


@dataclass(frozen=True)
class Trajectory:
    """
    Length and number of kicks of a step of Hamiltonian Monte Carlo.

    Attributes
    ----------
    length : float
        Angle of rotation in radians; after pi / 2 the position is independent of the start, after pi it is mirrored.
        Time, for targets with plain leapfrog steps.
    jitter : float
        Relative half width of the random distribution of the length, without which some modes return to the start.
    leapfrogs : int
        Number of kicks and rotations; even, for Simpson's rule.
    metropolis : bool
        Metropolis rule; False to accept all finite steps.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from astro_massmap.inference import Trajectory
    >>> Trajectory(length=1.2)
    Trajectory(length=1.2, jitter=0.4, leapfrogs=2, metropolis=True)
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
    """State of chains: modes, force and kick ``C r``, and the result of the last step."""

    modes: torch.Tensor
    force: torch.Tensor
    kick: torch.Tensor
    evaluations: int = 0
    accepted: torch.Tensor | None = None
    energy_error: torch.Tensor | None = None


class ScoreError(ValueError):
    """
    Error of a prior whose score is not finite for a finite map.

    Examples
    --------
    >>> from astro_massmap.inference import ScoreError
    >>> issubclass(ScoreError, ValueError)
    True
    """


def start(target, modes, streams):
    """Return the state of chains at the given modes, with one evaluation of the force."""
    force = _force(target, modes, streams)
    return State(modes, force, target.covariance(force), evaluations=1)


def _force(target, modes, streams):
    """Return the force; ScoreError if it is not finite for a finite map."""
    force = target.force(modes)
    bad = ~_finite(force) & _finite(modes)
    if bad.any():
        chain = streams.indices[int(bad.nonzero()[0])]
        raise ScoreError(f"prior: the score is not finite at the noise level {target.sigma:.4g} in chain {chain}")
    return force


def _finite(modes):
    return torch.isfinite(torch.view_as_real(modes)).flatten(1).all(dim=1)


def split_step(target, state, trajectory, streams, inner, *, always=False):
    """
    Make one step of split Hamiltonian Monte Carlo, and return the new state.

    Rejected chains stay. Trajectories with non-finite values are rejected.

    Parameters
    ----------
    target, state, trajectory : Target, State, Trajectory
        Gaussian reference and factor, state of the chains, length and kicks of the step.
    streams, inner
        `~astro_massmap.inference.Streams`, and the inner product ``(n,)`` of modes, in double precision.
    always : bool
        Move rejected chains, too; ``accepted`` is still False for them.

    Raises
    ------
    ScoreError
        If the force is not finite for a finite map.
    SolverError
        If a linear system of the target cannot be solved to the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, Streams, Trajectory, split_step
    >>> from astro_massmap.inference.hmc import start
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.fast(), (16, 16))
    >>> target, streams = plan.targets[0], Streams(0, range(3))
    >>> state = split_step(target, start(target, plan.start(streams), streams), Trajectory(), streams, plan.grid.inner)
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
        c_r = None  # free memory before the force is evaluated
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
    """Return the change of the log factor along a path: its known part, and the work of the other force."""
    known = target.log_factor(after)
    gain = 0.0 if known is None else known - target.log_factor(before)
    return gain + path.work


class _Path:
    """Work of a force along a path, of which only the last positions are kept, for Simpson's rule."""

    def __init__(self, inner):
        self.inner, self.points, self.work = inner, [], 0.0

    def add(self, modes, force):
        """Add the next position and its force; None has no effect."""
        if force is None:
            return
        self.points.append((modes, force))
        if len(self.points) == 3:
            self.work = self.work + _work(self.points, self.inner)
            del self.points[:2]


def _work(path, inner):
    """Return the integral of r along the parabola through three positions, by Simpson's rule."""
    (x_0, r_0), (x_1, r_1), (x_2, r_2) = path
    ends = inner(r_0, (4 * x_1 - 3 * x_0 - x_2) / 2), inner(r_2, (x_0 - 4 * x_1 + 3 * x_2) / 2)
    return (ends[0] + 4 * inner(r_1, (x_2 - x_0) / 2) + ends[1]) / 3


def _accept(old, new, energy_error, trajectory, streams, always):
    """Return the new state for accepted chains. Without Metropolis rule all finite states are accepted."""
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
