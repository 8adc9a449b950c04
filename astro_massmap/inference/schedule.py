"""The plan of a run: noise levels, steps at each, and the way back to zero."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .hmc import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Schedule:
    """
    Noise levels and how long a chain stays at each.

    With noise splitting (the default) the map takes a share s of the noise of the data, just below that of
    the best pixel, and chains move at levels that end there; the prior's reverse diffusion leads from s to
    zero. Without, the levels are noise that is added to the data, as in Remy et al. (2020), down to zero.

    Parameters
    ----------
    levels : sequence of float
        Decreasing. With splitting in units of s, the last is 1; without, noise in units of kappa.
    trajectories : int or sequence of int
        Steps of Hamiltonian Monte Carlo at each level.
    trajectory : `~astro_massmap.inference.Trajectory`
        What such a step is. Longer than a quarter turn, and with four kicks: for the same evaluations modes
        mix as well as with twice as many short ones, which need twice as many velocities.
    reverse_steps : int
        Steps of the reverse diffusion.
    sigma_end : float
        Its last noise level, in units of kappa, before it goes to zero.
    splitting : bool
        Whether the noise is split, or noise is added.
    share : float
        s in units of the noise of the best pixel. More brings distant modes closer together; all of it
        leaves that pixel no noise, and solves do not converge.

    Raises
    ------
    ValueError
        If levels do not decrease, or a number is out of range.

    Examples
    --------
    >>> from astro_massmap import Schedule
    >>> Schedule.fast().levels
    (1.0,)
    >>> Schedule(levels=(1, 2))
    Traceback (most recent call last):
    ...
    ValueError: levels: need to decrease, got (1.0, 2.0)
    """

    levels: Sequence[float] = (1.0,)
    trajectories: Sequence[int] | Any = (6,)  # one number becomes a sequence
    trajectory: Trajectory = field(default_factory=lambda: Trajectory(length=2.2, leapfrogs=4))
    reverse_steps: int = 10
    sigma_end: float = 0.005
    splitting: bool = True
    share: float = 0.9

    def __post_init__(self) -> None:
        levels = tuple(float(level) for level in np.atleast_1d(self.levels))
        trajectories = tuple(int(n) for n in np.atleast_1d(self.trajectories))
        if len(trajectories) == 1:
            trajectories *= len(levels)
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "trajectories", trajectories)
        if not levels or not all(np.isfinite(levels)) or not all(a > b for a, b in itertools.pairwise(levels)):
            raise ValueError(f"levels: need to decrease, got {levels}")
        if len(trajectories) != len(levels) or min(trajectories) < 0:
            raise ValueError(f"trajectories: need one number, not negative, for each of {len(levels)} levels")
        if self.splitting and levels[-1] != 1:
            raise ValueError(f"levels: with splitting the last is 1, the share of the noise itself; got {levels[-1]}")
        if not self.splitting and levels[-1] < 0:
            raise ValueError(f"levels: noise is not negative, got {levels[-1]}")
        if not 0 < self.share < 1:
            raise ValueError(f"share: needs to be between 0 and 1, got {self.share}")
        if self.reverse_steps < 1:
            raise ValueError(f"reverse_steps: needs to be at least 1, got {self.reverse_steps}")
        if not self.sigma_end > 0:
            raise ValueError(f"sigma_end: needs to be positive, got {self.sigma_end}")

    def within(self, highest: float, step: float) -> Self:
        """
        The same without levels above ``highest``, and with trajectories no longer than kicks of ``step`` allow.

        Parameters
        ----------
        highest : float
            Level.
        step : float
            Angle between two kicks.

        Returns
        -------
        Schedule

        Raises
        ------
        ValueError
            If no level is left.

        Examples
        --------
        >>> from astro_massmap import Schedule
        >>> schedule = Schedule.annealed().within(highest=1.7, step=0.3)
        >>> schedule.levels, round(schedule.trajectory.length, 3)
        ((1.6, 1.3, 1.0), 1.2)
        """
        kept = [i for i, level in enumerate(self.levels) if level <= highest]
        longest = self.trajectory.leapfrogs * step
        return replace(
            self,
            levels=tuple(self.levels[i] for i in kept),
            trajectories=tuple(self.trajectories[i] for i in kept),
            trajectory=replace(self.trajectory, length=min(self.trajectory.length, longest)),
        )

    def reverse_levels(self, sigma: float) -> list[float]:
        """
        Noise levels of the reverse diffusion, in equal ratios.

        Parameters
        ----------
        sigma : float
            Where it begins, in units of kappa.

        Returns
        -------
        list of float
            The last is ``sigma_end``, but at most half of ``sigma``.

        Examples
        --------
        >>> from astro_massmap import Schedule
        >>> [round(float(level), 3) for level in Schedule(reverse_steps=4, sigma_end=0.01).reverse_levels(0.08)]
        [0.08, 0.04, 0.02, 0.01]
        """
        if self.reverse_steps == 1:
            return [sigma]
        return list(np.geomspace(sigma, min(self.sigma_end, sigma / 2), self.reverse_steps))

    @classmethod
    def fast(cls) -> Self:
        """
        One level: right where modes of the posterior are less than some 6 standard deviations apart.

        Returns
        -------
        Schedule

        Examples
        --------
        >>> from astro_massmap import Schedule
        >>> Schedule.fast().levels, Schedule.fast().trajectories
        ((1.0,), (6,))
        """
        return cls()

    @classmethod
    def annealed(cls) -> Self:
        """
        The default: from a higher level, where distant modes have merged, down to the share of the noise.

        Returns
        -------
        Schedule

        Examples
        --------
        >>> from astro_massmap import Schedule
        >>> Schedule.annealed().levels, sum(Schedule.annealed().trajectories)
        ((2.5, 2.0, 1.6, 1.3, 1.0), 10)
        """
        return cls(levels=(2.5, 2.0, 1.6, 1.3, 1.0), trajectories=(2, 1, 1, 1, 5))

    @classmethod
    def tempered(cls) -> Self:
        """
        The scheme of Remy et al. (2020): noise added to the data, slowly withdrawn. For comparison.

        Returns
        -------
        Schedule

        Examples
        --------
        >>> from astro_massmap import Schedule
        >>> schedule = Schedule.tempered()
        >>> len(schedule.levels), float(schedule.levels[0]), schedule.levels[-1], schedule.splitting
        (44, 0.15, 0.0, False)
        """
        levels = (*np.geomspace(0.15, 0.03, 40), 0.015, 0.007, 0.003, 0.0)
        trajectory = Trajectory(leapfrogs=4)
        return cls(levels, (3,) * 40 + (4,) * 4, trajectory, splitting=False)
