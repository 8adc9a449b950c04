"""Direct inversion of the shear (Kaiser & Squires 1993), smoothed."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from .._utils.checks import check_integer
from .._utils.progress import progress_bar
from ..inference import (
    FourierGrid,
    FourierOperator,
    LensingOperator,
    Observation,
    available_cores,
    inpainted_shear,
    padded_shape,
    pick_device,
    side_by_side,
)
from .base import Estimate, check_padding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import astropy.units as u

_NOISE_MAPS, _SEED = 8, 0  # maps of noise for the standard deviation of inpainted maps


def _one_arcmin() -> u.Quantity:
    import astropy.units as u

    return 1 * u.arcmin


@dataclass(frozen=True)
class KaiserSquires:
    """
    Inversion of the shear in Fourier space, smoothed with a Gaussian.

    The weight of a pixel is its inverse noise variance, relative to that of its surroundings. Pixels without galaxies
    are set to zero shear, which biases the map in and around larger holes and at the edge, or are inpainted; there is
    no prior. The E mode is the convergence, the B mode a test, because lensing has none. The error map propagates the
    noise of the pixels.

    The edges of the field lower the amplitude, because the shear beyond them is missing. The slope of a map without
    noise against the truth is 0.79, 0.86 and 0.90 in fields of 0.5, 1 and 2 degrees, and 0.93, 0.96 and 0.98 if
    inpainted; at 10 arcmin and more from the edges it is 0.96 to 0.99 (``benchmarks/inpainting.py --edges``, errors of
    0.01 to 0.02). Include a margin around the region of interest, or use a method with a prior.

    With ``inpaint=100`` the method is KS+ (Pires et al. 2020): the shear in gaps, and beyond the edges, is that of a
    convergence that is sparse in a discrete cosine transform and has no B mode in the gaps. Without noise the map is
    better than with zero shear; where noise dominates it is worse, because gaps are filled with structure of the
    variance of the data, most of which is noise.

    Parameters
    ----------
    smoothing : `~astropy.units.Quantity`
        Standard deviation of the Gaussian; by default 1 arcmin.
    inpaint : int
        Number of iterations of the inpainting, 100 in the papers; 0 for zero shear in pixels without data.
    padding : float
        Side of the periodic box, in sides of the field; outside of the field the shear is zero, or inpainted.
    device : str
        Name of the device, see `~astro_massmap.inference.pick_device`.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an option is out of range.

    Notes
    -----
    With l along the pixel axes, s the smoothing, and g1 and g2 the modes of the shear times the weights of its
    pixels, the modes of both maps are

    ``E(l) = exp(-s^2 l^2 / 2) ((l1^2 - l2^2) g1 + 2 l1 l2 g2) / l^2``,
    ``B(l) = exp(-s^2 l^2 / 2) ((l1^2 - l2^2) g2 - 2 l1 l2 g1) / l^2``,

    and zero for l = 0: shear does not measure the mean.

    In an iteration of the inpainting, the coefficients of the cosine transform of E and B below a threshold are set to
    zero, in the gaps the variance of E at each scale of a starlet transform is made equal to that in pixels with data,
    and B is set to zero; the data then replace the shear of these modes where there are any. The threshold decreases
    exponentially from the largest coefficient to a thousandth of it.

    Inpainting is not linear. Its error map is therefore the scatter of 8 inpainted maps of noise, smoothed by a
    Gaussian of twice the width of that of the map, with an error of about 8 %. It contains the noise of the data, also
    that which is carried into the gaps, but not the difference between the true convergence in the gaps and the sparse
    one.

    References
    ----------
    Kaiser, N., & Squires, G. 1993, ApJ, 404, 441; Pires, S., et al. 2009, MNRAS, 395, 1265; Pires, S., et al. 2020,
    A&A, 638, A141.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import KaiserSquires, datasets
    >>> kappa = datasets.demo().reconstruct(KaiserSquires(smoothing=1.5 * u.arcmin))
    >>> bool((kappa.data / kappa.uncertainty.array).max() > 3)
    True
    """

    smoothing: u.Quantity = field(default_factory=_one_arcmin)
    _: KW_ONLY
    inpaint: int = 0
    padding: float = 2.0
    device: str = "auto"

    def __post_init__(self) -> None:
        from .._sky.geometry import to_angle  # loads astropy

        to_angle(self.smoothing, "smoothing", zero=True)
        check_integer(self.inpaint, "inpaint", 0)
        check_padding(self.padding)
        pick_device(self.device)

    def solve(self, observation: Observation, *, progress: bool = False) -> Estimate:
        """Map one observation, see `Method.solve <astro_massmap.methods.Method.solve>`."""
        from .._sky.geometry import to_angle  # loads astropy

        device, smoothing = pick_device(self.device), to_angle(self.smoothing, "smoothing", zero=True).to_value("rad")
        inversion = _Inversion(observation, smoothing, self.padding, device, self.inpaint)
        e_mode, b_mode = inversion.maps(observation.shear).cpu().numpy()
        if inversion.has_gaps:
            std, b_std = _scatter(inversion, smoothing, progress)
        else:
            std = b_std = inversion.propagated_noise().cpu().numpy()
        filled = "inpainted" if self.inpaint else "filled_with_zero"
        empty = int((~observation.observed).sum())
        diagnostics = {"device": str(device), "box": list(inversion.grid.box_shape), filled: empty}
        if not isinstance(inversion.operator, LensingOperator):  # a map of the convergence has no B mode
            return Estimate(e_mode, std, diagnostics=diagnostics)
        return Estimate(e_mode, std, b_mode=b_mode, b_std=b_std, diagnostics=diagnostics)


def smoothed_inversion(
    observation: Observation, smoothing: float, padding: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the E mode ``(ny, nx)`` and its standard deviation, with zero shear in gaps; smoothing in radians."""
    inversion = _Inversion(observation, smoothing, padding, device)
    return inversion.maps(observation.shear)[0], inversion.propagated_noise()


class _Inversion:
    """Inversion and smoothing of the shear of one observation; smoothing in radians."""

    def __init__(
        self, observation: Observation, smoothing: float, padding: float, device: torch.device, inpaint: int = 0
    ) -> None:
        box = padded_shape(observation.shape, padding)
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.grid = FourierGrid(observation.shape, observation.pixel_size, box, dtype=dtype, device=device)
        self.observation, self.inpaint = observation, inpaint
        self.operator = observation.operator(self.grid)
        self.window = _window(self.grid, smoothing)
        self.weight = _relative_weight(
            self.grid, self.window, self.grid.real(observation.weight), gaps_filled=bool(inpaint)
        )

    @property
    def has_gaps(self) -> bool:
        """Whether pixels are inpainted, in the field or in the rest of the box."""
        complete = bool(self.observation.observed.all()) and self.grid.box_shape == self.grid.field_shape
        return self.inpaint > 0 and not complete

    def maps(self, shear: torch.Tensor) -> torch.Tensor:
        """Return E and B mode, ``(2, ny, nx)``, of shear ``(2, ny, nx)``."""
        operator, window = self.operator, self.window
        shear = self.weight * self.grid.real(shear)
        if self.has_gaps:
            shear = inpainted_shear(operator, shear, self.observation.observed.to(shear.device), self.inpaint)

        def e_and_b_modes(modes: torch.Tensor, columns: slice) -> Iterable[torch.Tensor]:
            g1, g2 = torch.view_as_real(modes)
            p1, p2 = ((window(columns) * p[:, columns])[..., None] for p in (operator.p1, operator.p2))
            e, b = (p1 * g1).addcmul_(p2, g2), (p1 * g2).addcmul_(p2, g1, value=-1)
            return (torch.view_as_complex(mode) for mode in (e, b))

        return _filtered(self.grid, shear, e_and_b_modes)

    def noise(self) -> torch.Tensor:
        """Return the standard deviation of the noise ``(ny, nx)``, zero without data."""
        return torch.where(self.observation.observed, self.observation.noise_std, 0.0)

    def propagated_noise(self) -> torch.Tensor:
        """Return the standard deviation ``(ny, nx)`` of E and B mode with zero shear in gaps."""
        return _propagated_noise(self.operator, self.window, self.weight * self.grid.real(self.noise()))


def _scatter(inversion: _Inversion, smoothing: float, progress: bool) -> np.ndarray:
    """
    Return the standard deviations ``(ny, nx)`` of E and B mode over maps of noise, each with inpainted gaps.

    The variance is smoothed by a Gaussian twice as wide as that of the map, among pixels with data and among gaps.
    """
    observation = inversion.observation

    def square(number: int) -> torch.Tensor:
        (white,) = observation.streams(_SEED, [number]).normal(2, *observation.shape, dtype=torch.float64)
        white[observation.components :] = 0
        return inversion.maps(inversion.noise() * white).square().cpu()

    with progress_bar(total=_NOISE_MAPS, desc="inpainted maps of noise", disable=not progress) as bar:
        total = torch.zeros(2, *observation.shape, dtype=torch.float64, device="cpu")
        for squares in side_by_side(square, range(_NOISE_MAPS), available_cores()):
            total += squares
            bar.update()
    width = 2 * max(smoothing / observation.pixel_size, 1)
    variance = np.zeros(total.shape)
    for part in (observation.observed.numpy(), ~observation.observed.numpy()):
        near = gaussian_filter(part.astype(float), width)
        for mode, result in zip(total.numpy() / _NOISE_MAPS, variance, strict=True):
            np.divide(gaussian_filter(mode * part, width), near, out=result, where=part)
    return np.sqrt(variance)


def _window(grid: FourierGrid, smoothing: float) -> Callable[[slice], torch.Tensor]:
    """Return the transfer function of the Gaussian, ``(ny, columns)``, as a function of a slice of columns."""
    along_y, along_x = (grid.real(torch.exp(-0.5 * (smoothing * ell) ** 2)) for ell in (grid.ly, grid.lx))
    return lambda columns: along_y * along_x[:, columns]


def _filtered(
    grid: FourierGrid, fields: torch.Tensor, function: Callable[[torch.Tensor, slice], Iterable[torch.Tensor]]
) -> torch.Tensor:
    """
    Apply ``function(modes, columns)`` to the modes of fields ``(k, *field_shape)``, a few columns at a time.

    The fields may be those of the whole box, ``(k, *box_shape)``.
    """
    (rows, columns), (ny, nx) = grid.field_shape, grid.box_shape
    half = torch.fft.rfft(fields, n=nx, dim=-1)
    for part in grid.pieces(-1):
        changed = function(torch.fft.fft(half[..., part], n=ny, dim=-2), part)
        for k, modes in enumerate(changed):
            half[k, :rows, part] = torch.fft.ifft(modes, dim=-2)[:rows]
    return torch.fft.irfft(half[..., :rows, :], n=nx, dim=-1)[..., :columns]


def _relative_weight(
    grid: FourierGrid, window: Callable[[slice], torch.Tensor], weight: torch.Tensor, *, gaps_filled: bool
) -> torch.Tensor:
    """
    Return the inverse noise variance divided by its smoothed map: about 1 in the mean, and 0 without data.

    The smoothed map is that of pixels with data alone if gaps are filled; else gaps count as pixels of weight 0.
    """

    def smoothed(image: torch.Tensor) -> torch.Tensor:
        return _filtered(grid, image[None], lambda modes, columns: modes.mul_(window(columns)))[0]

    around = smoothed(weight)
    if gaps_filled:
        around = around / smoothed((weight > 0).to(weight)).clamp(min=1e-3)
    return torch.where(weight > 0, weight / torch.maximum(around, 1e-3 * weight), 0.0)


def _propagated_noise(
    operator: FourierOperator, window: Callable[[slice], torch.Tensor], noise_std: torch.Tensor
) -> torch.Tensor:
    """
    Return the standard deviation of the map, E or B: the noise variance convolved with the sum of squared kernels.

    Like P1 and P2, the first kernel is even along both axes and the second odd: a quarter of the box has all values.
    """
    grid, (ny, nx) = operator.grid, operator.grid.box_shape
    quarter = window(slice(None))[: ny // 2 + 1]
    # kernel from a pixel of the shear to a pixel of the map
    first, second = (quarter * p[: ny // 2 + 1] for p in (operator.p1, operator.p2))
    first, second = _of_a_quarter(first, ny, nx), _of_a_quarter(1j * second, ny, nx, 1j)
    squared = _of_a_quarter(first.square_().addcmul_(second, second), ny, nx) * (ny * nx)
    squared = torch.cat([squared, squared[1 : (ny + 1) // 2].flip(0)])
    (variance,) = _filtered(grid, noise_std[None] ** 2, lambda modes, columns: modes.mul_(squared[:, columns]))
    return variance.clamp(min=0).sqrt()


def _of_a_quarter(modes: torch.Tensor, ny: int, nx: int, factor: complex = 1) -> torch.Tensor:
    """Return a quarter ``(ny // 2 + 1, nx // 2 + 1)`` of the transform of modes that are even or odd on each axis."""
    half = torch.fft.irfft(modes, n=ny, dim=0)[: ny // 2 + 1]
    return torch.fft.irfft(factor * half, n=nx, dim=1)[:, : nx // 2 + 1]
