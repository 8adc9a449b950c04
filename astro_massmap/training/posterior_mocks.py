"""
Data and noisy maps drawn during the training of a `~astro_massmap.priors.PosteriorDenoiser`.

Each map has sources, pixels and a cosmology of its own, and is a random field or one with a halo. Its data lie in a
random rectangle with the holes and the noise of `random_holes` and `random_noise`; the level of the noise is
log-uniform between 0.8 and 60 times the standard deviation of a pixel. With footprints of a survey, half of the maps
have pieces of them for holes. One map of six comes without a noisy map: there
the denoiser is the mean of the posterior.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch

from ..inference import GaussianPosterior, Observation
from ..priors.denoiser import FieldStatistics, log_levels
from ..priors.posterior_denoiser import NoisyPair, smoothed, typical_noise
from .footprints import holes_of_survey, random_holes, random_noise
from .maps import Tensors, check_pieces, piece, symmetry

NOISE = (0.8, 60.0)  # noise of the data in units of the standard deviation of a pixel
_ALONE = 6  # one map of so many has no noisy map
_SMALLEST = 0.4  # shortest side of the data, in sides of the map
_TOLERANCE = 2e-3  # relative residual of the Gaussian mean, sufficient for the training


@dataclass
class PosteriorBatch:
    """
    Truth x, the parts of a `~astro_massmap.priors.NoisyPair`, and the statistics of the fields.

    Maps are ``(n, size, size)``, numbers ``(n,)``.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import FieldStatistics
    >>> from astro_massmap.training import PosteriorBatch
    >>> maps, numbers = [torch.ones(2, 16, 16)] * 5, [torch.ones(2)] * 3
    >>> batch = PosteriorBatch(*maps, *numbers, FieldStatistics(PowerSpectrum.default(), 1.2e-4))
    >>> batch.pair.level.shape
    torch.Size([2])
    """

    x: torch.Tensor
    b: torch.Tensor
    mean: torch.Tensor
    weight: torch.Tensor
    smooth: torch.Tensor
    sigma: torch.Tensor
    level: torch.Tensor
    kind: torch.Tensor
    field: FieldStatistics

    to = Tensors.to

    @property
    def pair(self):
        """The `~astro_massmap.priors.NoisyPair`."""
        return NoisyPair(*(getattr(self, f.name) for f in fields(NoisyPair)))


class PosteriorMocks:
    """
    Pieces of maps with their data and noisy maps.

    Parameters
    ----------
    sources : pair of `~astro_massmap.simulation.SurveyMaps` or alike
        Random fields, and fields with a halo.
    targeted : float
        Fraction of fields with a halo.
    footprints : list of ndarray
        Masks of a survey on pixels of the maps, True with data, ``(ny, nx)``, whose pieces are the holes of half of
        the maps; by default none.
    size, margin, pieces, device
        See `Noiser`.

    Raises
    ------
    ValueError
        If such pieces do not fit into the maps, or a footprint has no data.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, OneSurvey, PosteriorMocks
    >>> source = OneSurvey(MapBank(np.zeros((4, 48, 48)), 1.2e-4), PowerSpectrum.default())
    >>> mocks = PosteriorMocks((source, source), size=32, margin=8)
    >>> batch = mocks.batch(2, 0.5, 8.0, np.random.default_rng(0), torch.Generator())
    >>> batch.mean.shape, batch.field.modes.shape[0]
    (torch.Size([2, 32, 32]), 2)
    """

    def __init__(self, sources, *, targeted=0.3, footprints=(), size=96, margin=32, pieces=1, device="cpu"):
        check_pieces(sources[0], size, margin)
        self.footprints = [np.array(footprint, dtype=bool) for footprint in footprints]
        if not all(footprint.ndim == 2 and footprint.any() for footprint in self.footprints):
            raise ValueError("footprints: needs masks (ny, nx), True with data, of at least one pixel with data")
        self.sources, self.targeted, self.shape = sources, targeted, tuple(sources[0].shape)
        self.size, self.margin, self.pieces, self.device = size, margin, pieces, torch.device(device)

    def batch(self, n, low, high, choices, generator):
        """Draw a `PosteriorBatch` as `Noiser.batch`, with noise levels s in units of the standard deviation."""
        order = torch.Generator("cpu").manual_seed(int(choices.integers(2**62)))
        ratios = log_levels(low, high, n, order)[choices.permutation(n)].tolist()
        rows, statistics = [], []
        for ratio in ratios:
            kind = int(choices.uniform() < self.targeted)
            survey = self.sources[kind].survey(choices)
            field = FieldStatistics(survey.spectrum, survey.pixel_size)
            signal = float(field.variance.sqrt())
            sigma = float("inf") if choices.integers(_ALONE) == 0 else ratio * signal
            noise_std = self.noise(signal, choices)
            truth = symmetry(self.sources[kind].draw(survey, choices).to(self.device)[None], choices)[0]
            maps, level = self.looks(truth, survey, noise_std, sigma, signal, generator)
            for _ in range(self.pieces):
                place = piece(self.shape, self.size, self.margin, choices)
                numbers = (torch.tensor(v, dtype=torch.float32, device=self.device) for v in (sigma, level, kind))
                rows.append([*(m[place] for m in maps), *numbers])
                statistics.append(field)
        parts = (torch.stack(part) for part in zip(*rows, strict=True))
        return PosteriorBatch(*parts, FieldStatistics.of_batch(statistics).to(self.device))

    def noise(self, signal, choices):
        """Draw the noise of the pixels of a map, infinite without data, for pixels of standard deviation ``signal``."""
        level = signal * float(np.exp(choices.uniform(*np.log(NOISE))))
        sides = [int(choices.integers(int(_SMALLEST * side), side + 1)) for side in self.shape]
        corner = [int(choices.integers(side - own + 1)) for side, own in zip(self.shape, sides, strict=True)]
        noise_std = np.full(self.shape, np.inf)
        place = tuple(slice(start, start + own) for start, own in zip(corner, sides, strict=True))
        own = self.footprints and choices.integers(2)
        holes = holes_of_survey(self.footprints, sides, choices) if own else random_holes(sides, choices)
        noise_std[place] = random_noise(holes, level, choices)
        return noise_std

    def looks(self, truth, survey, noise_std, sigma, signal, generator):
        """Return x, b, m, 1/N and its mean over some pixels for a whole map, which is periodic, and its noise level."""

        def white(*shape):
            drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device=generator.device)
            return drawn.to(self.device)

        noise_std = torch.as_tensor(noise_std, dtype=torch.float32, device=self.device)
        observation = Observation(
            torch.zeros((2, *self.shape), dtype=torch.float32, device=self.device), noise_std, survey.pixel_size
        )
        posterior = GaussianPosterior(observation, survey.spectrum, tolerance=_TOLERANCE, device=self.device)
        grid, precision = posterior.grid, sigma**-2
        if precision:
            variance = posterior.prior_variance
            posterior = posterior.given(posterior.weight, variance / (1 + variance * precision))
        shear = posterior.operator.forward(grid.to_modes(truth))
        data = posterior.weight * shear + posterior.weight.sqrt() * white(2, *self.shape)
        modes = posterior.operator.adjoint(data)
        if precision:
            modes = modes + grid.to_modes(truth * precision + white(*self.shape) * precision**0.5)
        b, mean = (grid.to_field(m) for m in (modes, posterior.solve(modes[None])[0]))
        smooth = smoothed(posterior.weight[None])[0]
        level = typical_noise(posterior.weight, smooth, sigma, signal)
        return (truth, b, mean, posterior.weight, smooth), float(level)
