"""The direct inversion of Kaiser & Squires (1993), smoothed."""

import math
from dataclasses import KW_ONLY, dataclass

import astropy.units as u
import torch

from ..inference import FourierGrid, LensingOperator, padded_shape, pick_device
from .base import Estimate, check_padding


@dataclass(frozen=True)
class KaiserSquires:
    """
    Invert the shear in Fourier space and smooth with a Gaussian.

    Pixels without galaxies are set to zero shear, which biases the map in and around them; nothing is
    known of the matter beforehand. The E mode is the convergence, the B mode a test: lensing makes
    none. The error map propagates the noise of the pixels.

    Parameters
    ----------
    smoothing : `~astropy.units.Quantity`
        Standard deviation of the Gaussian.
    padding : float
        Side of the periodic box, in sides of the field; the rest of it has zero shear.
    device : str
        ``"auto"``, or what torch calls a device.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an option is out of range.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import KaiserSquires, datasets
    >>> kappa = datasets.demo().reconstruct(KaiserSquires(smoothing=1.5 * u.arcmin))
    >>> signal_to_noise = kappa.data / kappa.uncertainty.array
    >>> bool(signal_to_noise.max() > 4)
    True
    """

    smoothing: u.Quantity = 1 * u.arcmin
    _: KW_ONLY
    padding: float = 2.0
    device: str = "auto"

    def __post_init__(self):
        smoothing = u.Quantity(self.smoothing)
        if not smoothing.unit.is_equivalent(u.rad):
            raise u.UnitsError(f"smoothing: needs an angle such as 1 * u.arcmin, got {self.smoothing!r}")
        if not (smoothing.isscalar and 0 <= smoothing.value < math.inf):
            raise ValueError(f"smoothing: needs one angle, not negative, got {self.smoothing!r}")
        check_padding(self.padding)
        pick_device(self.device)

    def solve(self, observation, *, progress=False):
        """
        Map one observation.

        Parameters
        ----------
        observation : `~astro_massmap.inference.Observation`
            Shear and noise.
        progress : bool
            Without meaning here: it takes no time.

        Returns
        -------
        Estimate
            Without samples.
        """
        device = pick_device(self.device)
        box = padded_shape(observation.shape, self.padding)
        grid = FourierGrid(observation.shape, observation.pixel_size, box, dtype=torch.float64, device=device)
        operator = LensingOperator(grid)
        smoothing = u.Quantity(self.smoothing).to_value(u.rad)
        window = grid.real(torch.exp(-0.5 * (smoothing * grid.ell) ** 2))
        modes = operator.e_and_b_modes(grid.real(observation.shear))
        e_mode, b_mode = (grid.to_field(window * m).cpu().numpy() for m in modes)
        std = _propagated_noise(operator, window, observation).cpu().numpy()
        diagnostics = {"device": str(device), "box": list(box), "filled_with_zero": int((~observation.observed).sum())}
        return Estimate(e_mode, std, b_mode=b_mode, b_std=std, diagnostics=diagnostics)


def _propagated_noise(operator, window, observation):
    """
    Standard deviation of the map: the noise variance convolved with the squared kernels of both components.

    It is the same for the E and the B mode, whose kernels are those of E with the components swapped.
    """
    grid = operator.grid
    variance = torch.where(observation.observed, observation.noise_std**2, 0.0)
    ny, nx = grid.box_shape
    # The kernel from a pixel of the shear to a pixel of the map, anywhere in the box.
    kernels = (torch.fft.irfft2(window * p, s=(ny, nx)) for p in (operator.p1, operator.p2))
    squared = torch.fft.rfft2(sum(k**2 for k in kernels))
    convolved = torch.fft.irfft2(squared * torch.fft.rfft2(grid.real(variance), s=(ny, nx)), s=(ny, nx))
    rows, columns = grid.field_shape
    return convolved[:rows, :columns].clamp(min=0).sqrt()
