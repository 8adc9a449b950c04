"""Schedule of a run: noise levels, steps at each level, and the reverse diffusion."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._utils.checks import check_integer
from .hmc import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Schedule:
    """
    Noise levels, and the number of steps of a chain at each.

    With noise splitting (the default) the last level is s, just below the lowest noise of a pixel, and reverse
    diffusion of the prior leads from s to zero (see `~astro_massmap.inference.SplitPosterior`). Without splitting the
    levels are noise that is added to the data, as in Remy et al. (2020), down to zero.

    Parameters
    ----------
    levels : sequence of float
        Decreasing noise levels: with splitting in units of s, the last is 1; without, in units of kappa.
    trajectories : int or sequence of int
        Number of steps of Hamiltonian Monte Carlo at each level.
    trajectory : `~astro_massmap.inference.Trajectory`
        Length and kicks of a step. By default it is longer than a quarter turn and has four kicks: for the same number
        of evaluations modes mix as well as with twice as many short steps, which need twice as many velocities.
    reverse_steps, sigma_end : int, float
        Number of steps of the reverse diffusion, and its last noise level before zero, in units of the standard
        deviation of a pixel under the prior. From there on a step is Gaussian.
    splitting : bool
        Noise splitting; False to add noise to the data.
    share : float
        Noise level s in units of the lowest noise of a pixel. With a larger s the modes of the posterior are less
        distant; with 1 that pixel has no noise left, and linear solves do not converge.

    Raises
    ------
    TypeError, ValueError
        If the levels do not decrease, or a number is out of range or no integer where it needs to be one.

    Examples
    --------
    >>> from astro_massmap import Schedule
    >>> Schedule.annealed().levels, Schedule.annealed().trajectories
    ((2.5, 2.0, 1.6, 1.3, 1.0), (2, 1, 1, 1, 5))
    """

    levels: Sequence[float] = (1.0,)
    trajectories: Sequence[int] | Any = (6,)  # one number becomes a sequence
    trajectory: Trajectory = field(default_factory=lambda: Trajectory(length=2.2, leapfrogs=4))
    reverse_steps: int = 30
    sigma_end: float = 0.6
    splitting: bool = True
    share: float = 0.9

    def __post_init__(self) -> None:
        levels = tuple(float(level) for level in np.atleast_1d(self.levels))
        trajectories = tuple(self.trajectories) if np.ndim(self.trajectories) else (self.trajectories,)
        for n in trajectories:
            check_integer(n, "trajectories", 0)
        trajectories = tuple(map(int, trajectories))
        if len(trajectories) == 1:
            trajectories *= len(levels)
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "trajectories", trajectories)
        if not levels or not all(np.isfinite(levels)) or not all(a > b for a, b in itertools.pairwise(levels)):
            raise ValueError(f"levels: need to decrease, got {levels}")
        if len(trajectories) != len(levels):
            raise ValueError(f"trajectories: need one number for each of {len(levels)} levels, got {trajectories}")
        if self.splitting and levels[-1] != 1:
            raise ValueError(f"levels: with splitting the last needs to be 1, got {levels[-1]}")
        if not self.splitting and levels[-1] < 0:
            raise ValueError(f"levels: need to be at least 0, got {levels[-1]}")
        if not 0 < self.share < 1:
            raise ValueError(f"share: needs to be between 0 and 1, got {self.share}")
        check_integer(self.reverse_steps, "reverse_steps", 1)
        if not self.sigma_end > 0:
            raise ValueError(f"sigma_end: needs to be positive, got {self.sigma_end}")

    def within(self, highest: float, step: float) -> Self:
        """Return the schedule with levels up to ``highest`` (ValueError if none) and angles of kicks up to ``step``."""
        kept = [i for i, level in enumerate(self.levels) if level <= highest]
        longest = self.trajectory.leapfrogs * step
        return replace(
            self,
            levels=tuple(self.levels[i] for i in kept),
            trajectories=tuple(self.trajectories[i] for i in kept),
            trajectory=replace(self.trajectory, length=min(self.trajectory.length, longest)),
        )

    def reverse_levels(self, sigma: float, signal: float) -> list[float]:
        """
        Return the noise levels of the reverse diffusion, in equal ratios, in units of kappa.

        The levels begin with ``sigma`` and end with ``sigma_end`` times ``signal``, the standard deviation of a pixel
        under the prior, or with half of ``sigma`` if that is lower.
        """
        if self.reverse_steps == 1:
            return [sigma]
        return list(np.geomspace(sigma, min(self.sigma_end * signal, sigma / 2), self.reverse_steps))

    @classmethod
    def fast(cls) -> Self:
        """Return a schedule of one level, for posteriors with modes less than some 6 standard deviations apart."""
        return cls()

    @classmethod
    def annealed(cls) -> Self:
        """Return the default schedule, from a higher level, where distant modes have merged, down to s."""
        return cls(levels=(2.5, 2.0, 1.6, 1.3, 1.0), trajectories=(2, 1, 1, 1, 5))

    @classmethod
    def short(cls) -> Self:
        """Return the schedule of chains that start from a diffusion: 23 evaluations, after 12 of the diffusion."""
        return cls(trajectories=(2,), reverse_steps=14)

    @classmethod
    def tempered(cls) -> Self:
        """Return the scheme of Remy et al. (2020), for comparison: noise is added to the data and slowly reduced."""
        levels = (*np.geomspace(0.15, 0.03, 40), 0.015, 0.007, 0.003, 0.0)
        trajectory = Trajectory(leapfrogs=4)
        return cls(levels, (3,) * 40 + (4,) * 4, trajectory, splitting=False)
