"""Where training maps come from, and the noisy pieces of them that a network is shown."""

from dataclasses import dataclass

import numpy as np
import torch

from ..inference.grid import FourierGrid
from ..priors.denoiser import log_levels, wiener_filter


class MapBank:
    """
    Maps that were made before, kept in memory.

    Parameters
    ----------
    maps : array-like
        ``(n, ny, nx)``; kept in single precision.
    pixel_size : float
        Side of a pixel in radians.

    Raises
    ------
    ValueError
        If a map is not finite or there is none.

    Examples
    --------
    As long as there are enough of them, no map is drawn twice at once:

    >>> import numpy as np
    >>> from astro_massmap.training import MapBank
    >>> bank = MapBank(np.arange(4.0)[:, None, None] + np.zeros((4, 24, 32)), 1.2e-4)
    >>> drawn = bank.draw(4, np.random.default_rng(0))
    >>> drawn.shape, sorted(drawn[:, 0, 0].tolist())
    (torch.Size([4, 24, 32]), [0.0, 1.0, 2.0, 3.0])
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
        """``n`` maps at random, by a `numpy.random.Generator`: ``(n, ny, nx)``."""
        return self.maps[generator.choice(len(self.maps), n, replace=n > len(self.maps))]


class LightConeMaps:
    """
    Maps drawn on the fly from lens planes: no map is seen twice.

    Parameters
    ----------
    light_cone : `~astro_massmap.simulation.LightCone`
        The planes.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Side of a pixel in radians.
    transfer : `~astro_massmap.simulation.Transfer`, optional
        Calibration to apply.

    Examples
    --------
    Two drawings are two pieces of the sky, not the same one again:

    >>> import numpy as np
    >>> from astro_massmap.simulation import LensPlanes, LightCone, NBody, lensing_weights
    >>> from astro_massmap.training import LightConeMaps
    >>> simulation = NBody(particles=16, box_size=64.0, mesh_factor=1, early_steps=4)
    >>> planes = LensPlanes.simulate(simulation, 1, cells=32, z_max=0.1)
    >>> weights = lensing_weights(simulation.cosmology, planes.distance, planes.box_size, redshift=0.1)
    >>> maps, choices = LightConeMaps(LightCone([planes], weights), (24, 32), 6e-4), np.random.default_rng(0)
    >>> first, second = maps.draw(2, choices), maps.draw(2, choices)
    >>> first.shape, bool((first == second).any())
    (torch.Size([2, 24, 32]), False)
    """

    def __init__(self, light_cone, shape, pixel_size, transfer=None):
        self.light_cone, self.shape, self.pixel_size = light_cone, tuple(shape), float(pixel_size)
        self.transfer = transfer

    def draw(self, n, generator):
        """``n`` new maps by a `numpy.random.Generator`: ``(n, *shape)``."""
        if self.transfer is None:
            return self.light_cone.draw(n, self.shape, self.pixel_size, generator)
        return self.transfer.draw(self.light_cone, n, self.shape, self.pixel_size, generator)


class Tensors:
    """A dataclass of tensors."""

    def to(self, device):
        """The same on a device."""
        return type(self)(*(t.to(device, non_blocking=True) for t in vars(self).values()))


@dataclass
class Batch(Tensors):
    """Pieces of maps: the truth x, z with noise, the Wiener filter of z, all ``(n, size, size)``, and noise levels."""

    x: torch.Tensor
    z: torch.Tensor
    wiener: torch.Tensor
    sigma: torch.Tensor


class Noiser:
    """
    Adds noise to whole maps, filters them whole, and only then cuts pieces.

    The Wiener filter of a piece by itself would take its edges for structure. Pieces are cut ``margin`` pixels from
    the edge of the map, which the filter takes for periodic.

    Parameters
    ----------
    source : MapBank or LightConeMaps
        Of the maps.
    spectrum : callable
        C_ell of the Gaussian half, at an array of ``ell > 0``.
    size, margin : int
        Of the pieces, in pixels.
    pieces : int
        From a map.
    device : `torch.device` or str
        Where maps are filtered and cut.

    Raises
    ------
    ValueError
        If such pieces do not fit into the maps.

    Examples
    --------
    Two pieces of each map; what theory makes of them is closer to the truth than what was seen:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, Noiser
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 8, (48, 48), pixel), pixel)
    >>> noiser = Noiser(bank, spectrum, size=32, margin=8, pieces=2)
    >>> batch = noiser.batch(8, 0.05, 0.2, np.random.default_rng(0), torch.Generator().manual_seed(0))
    >>> batch.z.shape
    torch.Size([16, 32, 32])
    >>> bool((batch.wiener - batch.x).square().mean() < 0.2 * (batch.z - batch.x).square().mean())
    True
    """

    def __init__(self, source, spectrum, *, size=96, margin=48, pieces=2, device="cpu"):
        check_pieces(source, size, margin)
        self.source, self.size, self.margin, self.pieces = source, size, margin, pieces
        self.device = torch.device(device)
        grid = FourierGrid(source.shape, source.pixel_size, dtype=torch.float32, device=device)
        self.variance = grid.mode_variance(spectrum)

    def noisy(self, maps, sigma, generator):
        """z and its Wiener filter for whole maps ``(n, ny, nx)``, with noise levels ``sigma`` ``(n,)``."""
        white = torch.randn(maps.shape, generator=generator, dtype=torch.float32, device=generator.device)
        z = maps + sigma[:, None, None] * white.to(maps.device)
        return z, wiener_filter(z, self.variance, sigma)

    def batch(self, n, low, high, choices, generator):
        """
        Pieces of ``n`` maps.

        Parameters
        ----------
        n : int
            Maps; each gives ``pieces`` pieces of one noise level.
        low, high : float
            Range of the noise levels, log-uniform.
        choices : `numpy.random.Generator`
            Of maps, symmetries and places.
        generator : `torch.Generator`
            Of the noise.

        Returns
        -------
        Batch
            With ``x``, ``z`` and ``wiener``, ``(n * pieces, size, size)``, and ``sigma``, ``(n * pieces,)``.
        """
        maps = symmetry(self.source.draw(n, choices).to(self.device), choices)
        order = torch.Generator("cpu").manual_seed(int(choices.integers(2**62)))
        sigma = log_levels(low, high, n, order, self.device)
        z, wiener = self.noisy(maps, sigma, generator)
        places = [piece(self.source.shape, self.size, self.margin, choices) for _ in range(n * self.pieces)]
        cut = [(i // self.pieces, *place) for i, place in enumerate(places)]
        pieces = (torch.stack([image[place] for place in cut]) for image in (maps, z, wiener))
        return Batch(*pieces, sigma.repeat_interleave(self.pieces))


def check_pieces(source, size, margin):
    """ValueError if pieces of ``size`` pixels do not fit into its maps, ``margin`` from the edge."""
    if min(source.shape) < size + 2 * margin:
        raise ValueError(
            f"size, margin: pieces of {size} pixels, {margin} from the edge, do not fit into maps of "
            f"{source.shape[0]} x {source.shape[1]}"
        )


def piece(shape, size, margin, choices):
    """Rows and columns of a random piece of a map, two slices."""
    corner = (choices.integers(margin, side - margin - size + 1) for side in shape)
    return tuple(slice(start, start + size) for start in corner)


def symmetry(maps, choices):
    """One of the eight symmetries of the square for all maps (of four, if they are oblong)."""
    if choices.integers(2):
        maps = maps.flip(-1)
    if choices.integers(2):
        maps = maps.flip(-2)
    if maps.shape[-1] == maps.shape[-2] and choices.integers(2):
        maps = maps.transpose(-1, -2)
    return maps
