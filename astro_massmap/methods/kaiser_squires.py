"""Direct inversion of the shear (Kaiser & Squires 1993), smoothed."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

import torch

from .._utils.checks import check_integer
from ..inference import (
    FourierGrid,
    FourierOperator,
    LensingOperator,
    Observation,
    inpainted_shear,
    padded_shape,
    pick_device,
)
from .base import Estimate, check_padding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import astropy.units as u


def _one_arcmin() -> u.Quantity:
    import astropy.units as u

    return 1 * u.arcmin


@dataclass(frozen=True)
class KaiserSquires:
    """
    Inversion of the shear in Fourier space, smoothed with a Gaussian.

    The weight of a pixel is its inverse noise variance, relative to that of its surroundings. Pixels without galaxies
    are set to zero shear, which biases the map in and around larger holes and at the edge; there is no prior. The E
    mode is the convergence, the B mode a test, because lensing has none. The error map propagates the noise of the
    pixels.

    Parameters
    ----------
    smoothing : `~astropy.units.Quantity`
        Standard deviation of the Gaussian; by default 1 arcmin.
    padding : float
        Side of the periodic box, in sides of the field; outside of the field the shear is zero.
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

    References
    ----------
    Kaiser, N., & Squires, G. 1993, ApJ, 404, 441.

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
        """Map one observation, see `Method.solve <astro_massmap.methods.Method.solve>`; ``progress`` has no effect."""
        from .._sky.geometry import to_angle  # loads astropy

        device, smoothing = pick_device(self.device), to_angle(self.smoothing, "smoothing", zero=True).to_value("rad")
        grid, operator, *images = smoothed_inversion(observation, smoothing, self.padding, device, self.inpaint)
        e_mode, b_mode, std = (image.cpu().numpy() for image in images)
        empty = int((~observation.observed).sum())
        filled = "inpainted" if self.inpaint else "filled_with_zero"
        diagnostics = {"device": str(device), "box": list(grid.box_shape), filled: empty}
        if not isinstance(operator, LensingOperator):  # a map of the convergence has no B mode
            return Estimate(e_mode, std, diagnostics=diagnostics)
        return Estimate(e_mode, std, b_mode=b_mode, b_std=std, diagnostics=diagnostics)


def smoothed_inversion(
    observation: Observation, smoothing: float, padding: float, device: torch.device, inpaint: int = 0
) -> tuple[FourierGrid, FourierOperator, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return grid and operator, E and B mode ``(ny, nx)``, and the standard deviation of both; smoothing in radians."""
    box = padded_shape(observation.shape, padding)
    dtype = torch.float32 if device.type == "mps" else torch.float64
    grid = FourierGrid(observation.shape, observation.pixel_size, box, dtype=dtype, device=device)
    operator = observation.operator(grid)
    window = _window(grid, smoothing)
    weight = _relative_weight(grid, window, grid.real(observation.weight), gaps_filled=bool(inpaint))
    shear = weight * grid.real(observation.shear)
    if inpaint:
        shear = inpainted_shear(operator, shear, observation.observed.to(device), inpaint)

    def e_and_b_modes(modes: torch.Tensor, columns: slice) -> Iterable[torch.Tensor]:
        g1, g2 = torch.view_as_real(modes)
        p1, p2 = ((window(columns) * p[:, columns])[..., None] for p in (operator.p1, operator.p2))
        e, b = (p1 * g1).addcmul_(p2, g2), (p1 * g2).addcmul_(p2, g1, value=-1)
        return (torch.view_as_complex(mode) for mode in (e, b))

    e_mode, b_mode = _filtered(grid, shear, e_and_b_modes)
    noise = torch.where(observation.observed, observation.noise_std, 0.0)
    return grid, operator, e_mode, b_mode, _propagated_noise(operator, window, weight * grid.real(noise))


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
