"""Training maps, and the noisy pieces of them that are the input of a network."""

from dataclasses import dataclass

import numpy as np
import torch

from ..inference.grid import FourierGrid
from ..priors.denoiser import FieldStatistics, log_levels, wiener_filter


class MapBank:
    """
    Precomputed maps in memory.

    Parameters
    ----------
    maps, pixel_size : array-like, float
        Maps ``(n, ny, nx)``, stored in single precision, and side of a pixel in radians.

    Raises
    ------
    ValueError
        If there are no maps, or they are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.training import MapBank
    >>> MapBank(np.zeros((4, 24, 32)), 1.2e-4).draw(4, np.random.default_rng(0)).shape
    torch.Size([4, 24, 32])
    """

    def __init__(self, maps, pixel_size):
        self.maps = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))
        if self.maps.ndim != 3 or not len(self.maps) or not torch.isfinite(self.maps).all():
            raise ValueError(f"maps: need finite maps (n, ny, nx), got shape {tuple(self.maps.shape)}")
        self.pixel_size = float(pixel_size)

    def __len__(self):
        return len(self.maps)

    @property
    def shape(self):
        """Rows and columns of a map."""
        return tuple(self.maps.shape[1:])

    def draw(self, n, generator):
        """Draw ``n`` random maps ``(n, ny, nx)`` with a `numpy.random.Generator`."""
        return self.maps[generator.choice(len(self.maps), n, replace=n > len(self.maps))]


class LightConeMaps:
    """
    Maps drawn from lens planes during the training; no map is used twice.

    Parameters
    ----------
    light_cone : `~astro_massmap.simulation.LightCone`
        Lens planes and lensing weights.
    shape, pixel_size : tuple of int, float
        Rows and columns of the maps, and side of a pixel in radians.
    transfer : `~astro_massmap.simulation.Transfer`, optional
        Calibration of the maps.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import LensPlanes, LightCone, NBody, lensing_weights
    >>> from astro_massmap.training import LightConeMaps
    >>> simulation = NBody(particles=16, box_size=64.0, mesh_factor=1, longest_step=0.2)
    >>> planes = LensPlanes.simulate(simulation, 1, cells=32, z_max=0.1)
    >>> weights = lensing_weights(simulation.cosmology, planes.distance, planes.box_size, redshift=0.1)
    >>> LightConeMaps(LightCone([planes], weights), (24, 32), 6e-4).draw(2, np.random.default_rng(0)).shape
    torch.Size([2, 24, 32])
    """

    def __init__(self, light_cone, shape, pixel_size, transfer=None):
        self.light_cone, self.shape, self.pixel_size = light_cone, tuple(shape), float(pixel_size)
        self.transfer = transfer

    def draw(self, n, generator):
        """Draw ``n`` new maps ``(n, *shape)`` with a `numpy.random.Generator`."""
        if self.transfer is None:
            return self.light_cone.draw(n, self.shape, self.pixel_size, generator)
        return self.transfer.draw(self.light_cone, n, self.shape, self.pixel_size, generator)


class OneSurvey:
    """
    Maps of one survey, with the interface of `~astro_massmap.simulation.SurveyMaps`.

    Parameters
    ----------
    maps : MapBank or LightConeMaps
        Source of the maps.
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the maps.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, OneSurvey
    >>> source = OneSurvey(MapBank(np.zeros((4, 24, 32)), 1e-4), PowerSpectrum.default())
    >>> choices = np.random.default_rng(0)
    >>> source.draw(source.survey(choices), choices).shape
    torch.Size([24, 32])
    """

    def __init__(self, maps, spectrum):
        self.maps, self.spectrum, self.shape, self.pixel_size = maps, spectrum, maps.shape, maps.pixel_size

    def survey(self, choices):
        """Return the survey, an object with ``spectrum`` and ``pixel_size``."""
        return self

    def draw(self, survey, choices):
        """Draw a map ``(ny, nx)`` with a `numpy.random.Generator`."""
        return self.maps.draw(1, choices)[0]


class Tensors:
    """A dataclass of tensors."""

    def to(self, device):
        """Copy all tensors to a device."""
        return type(self)(*(t.to(device, non_blocking=True) for t in vars(self).values()))


@dataclass
class Batch(Tensors):
    """
    Pieces of maps: truth x, noisy z and Wiener filter of z, ``(n, size, size)``, and noise levels ``(n,)``.

    ``field`` are the statistics of the Gaussian component, `~astro_massmap.priors.FieldStatistics` of one or n rows.
    """

    x: torch.Tensor
    z: torch.Tensor
    wiener: torch.Tensor
    sigma: torch.Tensor
    field: FieldStatistics


class Noiser:
    """
    Noisy pieces of maps: noise is added to whole maps, which are filtered before pieces are cut.

    The filter assumes a periodic map: pieces are cut at least ``margin`` pixels from the edge of the map.

    Parameters
    ----------
    source : MapBank or LightConeMaps
        Source of the maps.
    spectrum : callable
        Angular power spectrum C_ell of the Gaussian component, a function of ``ell > 0``.
    size, margin, pieces : int
        Side of a piece and its distance from the edge of the map, in pixels; number of pieces per map.
    device : `torch.device` or str
        Device on which maps are filtered and cut.

    Raises
    ------
    ValueError
        If such pieces do not fit into the maps.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, Noiser
    >>> bank = MapBank(np.zeros((8, 48, 48)), 1.2e-4)
    >>> noiser = Noiser(bank, PowerSpectrum.default(), size=32, margin=8, pieces=2)
    >>> noiser.batch(8, 0.05, 0.2, np.random.default_rng(0), torch.Generator()).z.shape
    torch.Size([16, 32, 32])
    """

    def __init__(self, source, spectrum, *, size=96, margin=48, pieces=2, device="cpu"):
        check_pieces(source, size, margin)
        self.source, self.size, self.margin, self.pieces = source, size, margin, pieces
        self.device = torch.device(device)
        grid = FourierGrid(source.shape, source.pixel_size, dtype=torch.float32, device=device)
        self.variance = grid.mode_variance(spectrum)
        self.field = FieldStatistics(spectrum, source.pixel_size)

    def noisy(self, maps, sigma, generator):
        """Return z and its Wiener filter for whole maps ``(n, ny, nx)`` at noise levels ``sigma`` ``(n,)``."""
        white = torch.randn(maps.shape, generator=generator, dtype=torch.float32, device=generator.device)
        z = maps + sigma[:, None, None] * white.to(maps.device)
        return z, wiener_filter(z, self.variance, sigma)

    def batch(self, n, low, high, choices, generator):
        """
        Draw a ``Batch`` of pieces ``(n * pieces, size, size)`` from ``n`` maps, with log-uniform noise levels.

        ``choices``, a `numpy.random.Generator`, draws maps, symmetries and positions; ``generator``, a
        `torch.Generator`, draws the noise.
        """
        maps = symmetry(self.source.draw(n, choices).to(self.device), choices)
        order = torch.Generator("cpu").manual_seed(int(choices.integers(2**62)))
        sigma = log_levels(low, high, n, order, self.device)
        z, wiener = self.noisy(maps, sigma, generator)
        places = [piece(self.source.shape, self.size, self.margin, choices) for _ in range(n * self.pieces)]
        cut = [(i // self.pieces, *place) for i, place in enumerate(places)]
        pieces = (torch.stack([image[place] for place in cut]) for image in (maps, z, wiener))
        return Batch(*pieces, sigma.repeat_interleave(self.pieces), self.field)


class SurveyNoiser:
    """
    Noisy pieces of maps of random surveys, each with a spectrum, pixels and a noise level of its own.

    Parameters
    ----------
    source : `~astro_massmap.simulation.SurveyMaps`
        Source of the maps.
    size, margin, pieces, device
        See `Noiser`.

    Raises
    ------
    ValueError
        If such pieces do not fit into the maps.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, OneSurvey, SurveyNoiser
    >>> source = OneSurvey(MapBank(np.zeros((4, 48, 48)), 1.2e-4), PowerSpectrum.default())
    >>> batch = SurveyNoiser(source, size=32, margin=8).batch(2, 0.5, 8.0, np.random.default_rng(0), torch.Generator())
    >>> batch.z.shape, batch.field.modes.shape[0]
    (torch.Size([4, 32, 32]), 4)
    """

    def __init__(self, source, *, size=96, margin=48, pieces=2, device="cpu"):
        check_pieces(source, size, margin)
        self.source, self.size, self.margin, self.pieces = source, size, margin, pieces
        self.device = torch.device(device)

    def batch(self, n, low, high, choices, generator):
        """Draw a ``Batch`` as `Noiser.batch`, with noise levels in units of the standard deviation of a pixel."""
        surveys = [self.source.survey(choices) for _ in range(n)]
        order = torch.Generator("cpu").manual_seed(int(choices.integers(2**62)))
        ratios = log_levels(low, high, n, order)[choices.permutation(n)]
        x, z, wiener, sigma, fields = [], [], [], [], []
        for survey, ratio in zip(surveys, ratios.tolist(), strict=True):
            truth = symmetry(self.source.draw(survey, choices).to(self.device)[None], choices)
            grid = FourierGrid(self.source.shape, survey.pixel_size, dtype=torch.float32, device=self.device)
            field = FieldStatistics(survey.spectrum, survey.pixel_size)
            level = torch.full((1,), ratio * float(field.variance.sqrt()), dtype=torch.float32, device=self.device)
            white = torch.randn(truth.shape, generator=generator, dtype=torch.float32, device=generator.device)
            noisy = truth + level[:, None, None] * white.to(self.device)
            filtered = wiener_filter(noisy, grid.mode_variance(survey.spectrum), level)
            for _ in range(self.pieces):
                place = (0, *piece(self.source.shape, self.size, self.margin, choices))
                for parts, image in ((x, truth), (z, noisy), (wiener, filtered)):
                    parts.append(image[place])
                sigma.append(level)
                fields.append(field)
        return Batch(
            *(torch.stack(part) for part in (x, z, wiener)), torch.cat(sigma), FieldStatistics.of_batch(fields)
        )


def check_pieces(source, size, margin):
    """Raise a ValueError if pieces of ``size`` pixels, ``margin`` from the edge, do not fit into the maps."""
    if min(source.shape) < size + 2 * margin:
        raise ValueError(
            f"size, margin: pieces of {size} pixels with a margin of {margin} do not fit into maps of "
            f"{source.shape[0]} x {source.shape[1]}; use larger maps, or a smaller size or margin"
        )


def piece(shape, size, margin, choices):
    """Return rows and columns of a random piece of a map, two slices."""
    corner = (choices.integers(margin, side - margin - size + 1) for side in shape)
    return tuple(slice(start, start + size) for start in corner)


def symmetry(maps, choices):
    """Apply one random symmetry of the square (of the rectangle, for oblong maps) to all maps."""
    if choices.integers(2):
        maps = maps.flip(-1)
    if choices.integers(2):
        maps = maps.flip(-2)
    if maps.shape[-1] == maps.shape[-2] and choices.integers(2):
        maps = maps.transpose(-1, -2)
    return maps
