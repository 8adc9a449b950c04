"""A prior from a function: any score or denoiser of maps, with the power spectrum of its Gaussian component."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from .._utils.checks import check_integer, check_spectrum
from .._utils.content import description
from .._utils.progress import warn
from ..inference import FourierGrid, Streams, conjugate_gradients
from .base import PriorOnGrid

if TYPE_CHECKING:
    import astropy.units as u

    from ..theory.spectrum import PowerSpectrum

Returns = Literal["score", "denoised"]
Domain = Literal["field", "box"]

_TOLERANCE, _ITERATIONS = 1e-4, 200  # of the linear systems of the Gaussian component on the field
_DIVERGED = 1e3  # convergence, in standard deviations of a pixel, from which a chain has diverged
_DENOISED = 0.9  # mean square error, in units of that of the noisy map, below which a map is denoised


@dataclass(frozen=True, eq=False, repr=False)
class ScoreFunction:
    """
    A prior given by a function of noisy maps: its score, or the denoised map.

    The function is evaluated on the field. Outside of it the convergence is Gaussian, given that in the field: the
    density of noisy maps of the box is that of a Gaussian field with the power spectrum ``spectrum``, times the ratio
    of both densities in the field. The sampler integrates the Gaussian component exactly, so that ``f`` contributes the
    difference only.

    Parameters
    ----------
    f : callable
        Function ``f(maps, sigma)`` of torch, or a `torch.nn.Module`, that returns a tensor like ``maps``. The maps
        ``(n, ny, nx)`` are the convergence plus white noise, with a standard deviation per pixel of ``sigma``, a float.
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the convergence under this prior.
    returns : {'score', 'denoised'}
        Result of ``f``: the gradient of the log density of noisy maps, or the mean of the convergence given the noisy
        map, ``maps + sigma**2 * score``.
    domain : {'field', 'box'}
        Maps on which ``f`` is evaluated: the field, or the periodic box around it.
    channel : bool
        Maps with a channel axis, ``(n, 1, ny, nx)``, and ``sigma`` as a tensor ``(n,)``, for networks of images.
    multiple : int
        Number of which the sides of the maps are multiples, such as 8 for a U-Net with three downsamplings. The field
        is extended to the right and to the top.
    pixel_scale : `~astropy.units.Quantity` or float, optional
        Side of a pixel, a number in radians, if ``f`` is valid for one pixel scale only.
    max_sigma : float, optional
        Highest noise level at which ``f`` is valid.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an option is out of range. On any evaluation, if ``f`` returns something else than a finite tensor of floats
        of the shape and on the device of the maps, or if the maps have other pixels than ``pixel_scale``. Exceptions in
        ``f`` get a note with its arguments.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If ``f`` does not reduce the noise of a map with the power spectrum ``spectrum``.

    Notes
    -----
    A `torch.nn.Module` is moved to the device and set to evaluation mode; it is evaluated in the precision of its
    parameters, another function in that of the method. Gradients are disabled, and chains call ``f`` in several threads
    at a time. ``f`` has to be a function of a module, not a lambda, for chains in other processes. Memory estimates do
    not include that of ``f``.

    The noise levels are from about 2.5 times the lowest noise of a pixel down to 0.6 of the standard deviation of
    the convergence in a pixel, see :doc:`/your_own`. The reverse diffusion draws with the conditional variance of the
    Gaussian component, see :doc:`/samplers`. A prior with finer structure, such as few bright pixels among faint ones,
    needs a lower ``sigma_end`` of the `~astro_massmap.Schedule`.

    Examples
    --------
    A Gaussian field, for which the exact denoiser is the Wiener filter:

    >>> import torch
    >>> from astro_massmap import AnnealedHMC, PowerSpectrum, ScoreFunction, datasets
    >>> from astro_massmap.inference import FourierGrid
    >>> spectrum = PowerSpectrum.default()
    >>> def denoised(maps, sigma):
    ...     grid = FourierGrid(maps.shape[-2:], 2.3e-4, device=maps.device)
    ...     variance = grid.mode_variance(spectrum)
    ...     return grid.to_field(variance / (variance + sigma**2) * grid.to_modes(maps))
    >>> prior = ScoreFunction(denoised, spectrum, returns="denoised", domain="box", pixel_scale=2.3e-4)
    >>> method = AnnealedHMC(prior, n_samples=2, schedule="fast", n_check=0)
    >>> kappa = datasets.demo().reconstruct(method, progress=False)
    >>> kappa.samples.shape, kappa.diagnostics["acceptance"]
    ((2, 65, 65), [1.0])
    """

    f: Callable[..., Any] = field(metadata={"content": True})
    spectrum: PowerSpectrum | None = None
    _: KW_ONLY
    returns: Returns = "score"
    domain: Domain = "field"
    channel: bool = False
    multiple: int = 1
    pixel_scale: u.Quantity | float | None = None
    max_sigma: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.f) or isinstance(self.f, type):
            raise TypeError(f"f: needs a function f(maps, sigma) of torch, or a torch.nn.Module, got {self.f!r}")
        if self.spectrum is None:
            raise TypeError(
                "spectrum: needed, the power spectrum of the maps that f describes, such as PowerSpectrum.default(): "
                "the sampler integrates the Gaussian component and takes from f the difference"
            )
        check_spectrum(self.spectrum)
        for name, known in (("returns", Returns), ("domain", Domain)):
            if getattr(self, name) not in get_args(known):
                choices = " or ".join(map(repr, get_args(known)))
                raise ValueError(f"{name}: needs {choices}, got {getattr(self, name)!r}")
        check_integer(self.multiple, "multiple", 1)
        if self.max_sigma is not None and not (isinstance(self.max_sigma, Real) and self.max_sigma > 0):
            raise ValueError(f"max_sigma: needs to be positive, got {self.max_sigma!r}")
        if self.pixel_scale is not None and not self._pixel_size() > 0:
            raise ValueError(f"pixel_scale: needs to be positive, got {self.pixel_scale!r}")

    def __repr__(self) -> str:
        size = self.pixel_size
        pixels = "" if size is None else f", pixels of {math.degrees(size) * 60:.3g} arcmin"
        where = "" if self.domain == "field" else " on the box"
        name = getattr(self.spectrum, "name", None) or type(self.spectrum).__name__
        return f"<ScoreFunction: {self.returns} by {description(self.f)}{where}, spectrum {name!r}{pixels}>"

    def _pixel_size(self) -> float:
        if isinstance(self.pixel_scale, Real):
            return float(self.pixel_scale)
        from .._sky.geometry import to_angle  # loads astropy

        return float(to_angle(self.pixel_scale, "pixel_scale").to_value("rad"))

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel in radians, or None if the prior is valid at any pixel scale."""
        return None if self.pixel_scale is None else self._pixel_size()

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """
        Evaluate the prior on the modes of a grid; see `~astro_massmap.priors.Prior`.

        ``f`` is evaluated once, on a Gaussian map with noise; errors are those of the class.
        """
        on_grid = FunctionOnGrid(grid, self)
        on_grid.check()
        return on_grid


class FunctionOnGrid(PriorOnGrid):
    """A `ScoreFunction` on the modes of a box."""

    gaussian = False
    max_step = 0.3  # as for the network of the package

    def __init__(self, grid, prior):
        super().__init__(grid, prior.spectrum)
        self.prior, self._dtype, self.noiseless = prior, grid.dtype, prior.returns == "score"
        self.max_sigma = math.inf if prior.max_sigma is None else float(prior.max_sigma)
        shape = grid.box_shape
        if prior.domain == "field":
            shape = tuple(-(-side // prior.multiple) * prior.multiple for side in grid.field_shape)
        if any(a > b or a % prior.multiple for a, b in zip(shape, grid.box_shape, strict=True)):
            raise ValueError(
                f"multiple: the maps need sides that are multiples of {prior.multiple}, but the periodic box has "
                f"{grid.box_shape[0]} x {grid.box_shape[1]} pixels; use another padding or shape of the map"
            )
        self._region = FourierGrid(shape, grid.pixel_size, grid.box_shape, dtype=grid.dtype, device=grid.device)
        if isinstance(prior.f, torch.nn.Module):
            prior.f.to(grid.device).eval()
            self._dtype = next((p.dtype for p in prior.f.parameters() if p.is_floating_point()), grid.dtype)

    def log_ratio(self, modes, sigma):
        return None

    @torch.no_grad()
    def residual(self, modes, sigma):
        if sigma > self.max_sigma * (1 + 1e-6):
            raise ValueError(f"sigma: the prior is valid up to a noise of {self.max_sigma:.3g}, got {sigma:.3g}")
        z = self._region.to_field(modes)
        if self.prior.domain == "field":
            return self._region.to_modes(self._score(z, sigma) + self._gaussian(z, sigma))
        return self.grid.pointwise(
            lambda score, z, s: score + z / (s + sigma**2),
            self._region.to_modes(self._score(z, sigma)),
            modes,
            self.variance,
        )

    def _score(self, z, sigma):
        """Return the score by the function, for maps ``(n, ny, nx)`` of the region."""
        if self.prior.returns == "score":
            return self._evaluated(z, sigma)
        return (self._evaluated(z, sigma) - z) / sigma**2

    def _evaluated(self, z, sigma):
        """Return the result of the function for maps ``(n, ny, nx)``, after checking it."""
        given, level = z.to(self._dtype), float(sigma)
        if self.prior.channel:
            given, level = given[:, None], torch.full((len(z),), level, dtype=self._dtype, device=z.device)
        try:
            result = self.prior.f(given, level)
        except Exception as error:  # of any type, in code of the user
            error.add_note(self._call(given, level))
            raise
        if not isinstance(result, torch.Tensor) or not result.is_floating_point():
            kind = result.dtype if isinstance(result, torch.Tensor) else type(result).__name__
            raise TypeError(f"f: needs to return a tensor of floats, as its maps, got {kind}")
        if result.shape != given.shape:
            raise ValueError(
                f"f: needs to return the shape of its maps, {tuple(given.shape)}, got {tuple(result.shape)}"
            )
        if result.device != given.device:
            raise ValueError(f"f: needs to return a tensor on the device of its maps, {z.device}, got {result.device}")
        result = result.detach().reshape(z.shape).to(z.dtype)
        self._check_finite(result, z, sigma)
        return result

    def _check_finite(self, result, z, sigma):
        """Raise ValueError if the result is not finite, except for maps of a chain that diverged."""
        wrong = ~torch.isfinite(result)
        if wrong.any():
            highest = _DIVERGED * math.sqrt(self.grid.pixel_variance(self.variance) + sigma**2)
            wrong &= z.abs().amax(dim=(-2, -1), keepdim=True) < highest  # False for maps that are not finite
        if wrong.any():
            raise ValueError(
                f"f: returned values that are not finite at a noise level of {sigma:.3g}, {int(wrong.sum())} of "
                f"{wrong.numel()}; it needs to return finite values at all levels of the schedule"
            )

    def _call(self, given, level):
        """Return the note of an exception in the function: its arguments, and the options that networks need."""
        kind = "a float" if isinstance(level, float) else f"a tensor {tuple(level.shape)}"
        note = f"f was called with maps {tuple(given.shape)} of {given.dtype} and sigma, {kind}"
        advice = [] if self.prior.channel else ["images need channel=True"]
        advice += ["U-Nets multiple=8"] if self.prior.multiple == 1 else []
        return note + "; " * bool(advice) + ", ".join(advice)

    def _gaussian(self, z, sigma):
        """Return the negative score of the Gaussian component on the region: its inverse covariance times z."""
        region, variance = self._region, self.variance + sigma**2

        def filtered(maps, function):
            modes = region.to_modes(maps)
            return region.to_field(region.pointwise(function, modes, variance))

        solution = conjugate_gradients(
            lambda x: filtered(x, torch.mul),
            z,
            precondition=lambda x: filtered(x, torch.div),
            inner=lambda a, b: (a * b).sum(dim=(-2, -1), dtype=region.sum_dtype),
            tolerance=_TOLERANCE,
            max_iterations=_ITERATIONS,
        )
        return solution.x

    @torch.no_grad()
    def check(self):
        """
        Denoise a Gaussian map with noise as high as its signal.

        Raise an error if the result is not finite or that of the other value of ``returns``; warn if it contains more
        noise than before.
        """
        grid, streams = self.grid, Streams(0, [0])
        white = [grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype).to(grid.device)) for _ in range(2)]
        sigma = min(math.sqrt(grid.pixel_variance(self.variance)), self.max_sigma)
        x, noise = self._region.to_field(self.variance.sqrt() * white[0]), self._region.to_field(sigma * white[1])
        result = self._evaluated(x + noise, sigma)
        errors = {"score": noise + sigma**2 * result, "denoised": result - x}
        errors = {name: float(error.square().mean() / noise.square().mean()) for name, error in errors.items()}
        given = self.prior.returns
        other = "denoised" if given == "score" else "score"
        if errors[given] < _DENOISED:
            return
        if errors[other] < _DENOISED:
            raise ValueError(f"returns: f returns a {_NAMES[other]}, not a {_NAMES[given]}; give returns={other!r}")
        warn(
            f"f: as a {_NAMES[given]} it does not reduce the noise of a map with the spectrum: at a noise of "
            f"{sigma:.3g}, equal to the signal, the mean square error changes by a factor of {errors[given]:.3g}; "
            "check units, sign and sigma of f, and the spectrum"
        )


_NAMES = {"score": "score", "denoised": "denoised map"}
