"""
Mock surveys drawn during the training: shear with noise and holes, and its Wiener filter.

New mocks in every step avoid overfitting. Every piece, cut from the shear of a whole map, has a noise level s of its
own. In half of the pieces galaxies are Poisson distributed: a pixel with k galaxies has the noise
``s sqrt(k_mean / k)``, and one without galaxies has no data. Stars, edges and corners are masked in most pieces, where
the network learns to predict the convergence, too.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..inference import FourierGrid, GaussianPosterior, LensingOperator, Observation, padded_shape
from ..priors.denoiser import log_levels
from ..priors.mean_network import noise_level, noise_share
from .maps import Tensors, check_pieces, piece, symmetry

_PADDING = 1.5  # side of the box of the Wiener filter, in sides of a piece
_TOLERANCE = 1e-3  # relative residual of the Wiener filter, sufficient for the training
_LEAST = 0.4  # smallest fraction of a piece with data


@dataclass
class MockBatch(Tensors):
    """Truth, Wiener filter, q and mask (1 with data, else 0), ``(n, size, size)``, and noise levels ``(n,)``."""

    x: torch.Tensor
    wiener: torch.Tensor
    share: torch.Tensor
    observed: torch.Tensor
    sigma: torch.Tensor


class MockPieces:
    """
    Mock surveys of pieces of periodic maps; parameters and errors are those of `Noiser`.

    Examples
    --------
    q is zero where there are no data:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, MockPieces
    >>> bank = MapBank(np.zeros((4, 48, 48)), 1.2e-4)
    >>> surveys = MockPieces(bank, PowerSpectrum.default(), size=32, margin=8, pieces=2)
    >>> batch = surveys.batch(4, 0.1, 0.3, np.random.default_rng(0), torch.Generator())
    >>> batch.wiener.shape, torch.equal(batch.share > 0, batch.observed > 0)
    (torch.Size([8, 32, 32]), True)
    """

    def __init__(self, source, spectrum, *, size=128, margin=48, pieces=2, device="cpu"):
        check_pieces(source, size, margin)
        self.source, self.size, self.margin, self.pieces = source, size, margin, pieces
        self.device = torch.device(device)
        self.operator = LensingOperator(FourierGrid(source.shape, source.pixel_size, device=device))
        self.box = padded_shape((size, size), _PADDING)
        self.variance = FourierGrid(self.box, source.pixel_size, device=device).mode_variance(spectrum)

    def shear(self, maps):
        """Return the shear ``(n, 2, ny, nx)`` of whole maps."""
        return self.operator.forward(self.operator.grid.to_modes(maps))

    def batch(self, n, low, high, choices, generator):
        """Draw a ``MockBatch`` of ``n * pieces`` pieces, as `Noiser.batch`; ``choices`` also draws noise and holes."""
        maps = symmetry(self.source.draw(n, choices).to(self.device), choices)
        shear = self.shear(maps)
        order = torch.Generator("cpu").manual_seed(int(choices.integers(2**62)))
        levels = log_levels(low, high, n * self.pieces, order).tolist()
        mocks = []
        for i, level in enumerate(levels):
            place = (i // self.pieces, ..., *piece(self.source.shape, self.size, self.margin, choices))
            noise_std = random_noise(random_holes((self.size, self.size), choices), level, choices)
            mocks.append(self.mock(maps[place], shear[place], noise_std, generator))
        return MockBatch(*(torch.stack(parts) for parts in zip(*mocks, strict=True)))

    def mock(self, truth, shear, noise_std, generator):
        """Return the fields of a ``MockBatch`` for one piece, with new noise."""
        noise_std = torch.as_tensor(noise_std, dtype=torch.float32, device=self.device)
        white = torch.randn(shear.shape, generator=generator, dtype=torch.float32, device=generator.device)
        observed = torch.isfinite(noise_std)
        data = torch.where(observed, shear + noise_std.where(observed, 0.0) * white.to(self.device), 0.0)
        posterior = GaussianPosterior(
            Observation(data, noise_std, self.source.pixel_size),
            self.variance,
            self.box,
            tolerance=_TOLERANCE,
            device=self.device,
        )
        wiener = posterior.grid.to_field(posterior.mean_modes())
        sigma = noise_level(noise_std)
        level = torch.tensor(sigma, dtype=torch.float32, device=self.device)
        return truth, wiener, noise_share(noise_std, sigma), observed.float(), level


def random_noise(holes, level, choices):
    """
    Draw the noise of the pixels of a survey, infinite in its holes (bool, ``(ny, nx)``), in half of the cases uniform.

    Else galaxies are Poisson distributed with a mean of 1 to 30 per pixel, whose noise is ``level``.
    """
    noise_std = np.full(holes.shape, float(level))
    if choices.integers(2):
        mean = math.exp(choices.uniform(0, math.log(30)))
        with np.errstate(divide="ignore"):
            noise_std *= np.sqrt(mean / choices.poisson(mean, holes.shape))
    noise_std[holes] = np.inf
    return noise_std


def random_holes(shape, choices):
    """Draw the holes of a survey, True without data; at least a fifth of the surveys have none."""
    while choices.integers(5):
        holes = _stars(shape, choices)
        if choices.integers(2):
            holes |= _edges(shape, choices)
        if choices.integers(3) == 0:
            holes |= _corner(shape, choices)
        if holes.mean() <= 1 - _LEAST:
            return holes
    return np.zeros(shape, dtype=bool)


def _stars(shape, choices):
    """Discs with radii of 1 to 10 pixels that cover 0 to 40 % of the survey."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    holes, aim = np.zeros(shape, dtype=bool), choices.uniform(0, 0.4)
    typical = math.exp(choices.uniform(0, math.log(6)))
    while holes.mean() < aim:
        radius = min(typical * math.exp(0.5 * choices.normal()), 10.0)
        row, column = choices.uniform(-radius, np.array(shape) + radius)
        holes |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return holes


def _edges(shape, choices):
    """Strips along some of the four edges."""
    holes = np.zeros(shape, dtype=bool)
    for view in (holes, holes[::-1], holes.T, holes.T[::-1]):
        if choices.integers(2):
            view[: choices.integers(1, len(view) // 4 + 1)] = True
    return holes


def _corner(shape, choices):
    """Pixels on one side of a random line across the survey."""
    angle, (ny, nx) = choices.uniform(0, 2 * math.pi), shape
    y, x = np.mgrid[:ny, :nx]
    distance = (x - nx / 2) * math.cos(angle) + (y - ny / 2) * math.sin(angle)
    return distance > choices.uniform(0.15, 0.6) * min(shape)
