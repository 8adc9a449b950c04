"""
Convergence maps from snapshots of a periodic cube.

The line of sight is cut into slabs as thick as the cube. At the distance of each slab the particles are projected
along the three axes of the cube, which gives three lens planes. In the Born approximation the convergence is

    kappa = sum_i delta_i(chi_i theta) int_slab q dchi,
    q = 3/2 Om (H0 / c)^2 (chi / a) int dchi' n(chi') (1 - chi / chi'),

where each map uses for each slab a plane of a random cube and axis, shifted, rotated and mirrored at random.
"""

import copy
import json
import math
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from .._utils.files import atomic_path
from .._utils.untrusted import parsing, read_tensors
from ..theory.background import HUBBLE_LENGTH
from ..theory.source_redshifts import one_of
from .mesh import Mesh

_FORMAT = "astro_massmap lens planes 1"


def slab_distances(cosmology, thickness, z_max):
    """Return the distances in Mpc/h to the middles of the slabs; a last quarter of a slab is omitted."""
    n = max(1, math.ceil(float(cosmology.distance(z_max)) / thickness - 0.25))
    return (np.arange(n) + 0.5) * thickness


@dataclass(frozen=True)
class LensPlanes:
    """
    Lens planes of one cube.

    Attributes
    ----------
    overdensity : `torch.Tensor`
        Projected ``rho / mean - 1``, periodic: ``(slabs, axes, cells, cells)``, the nearest slab first.
    box_size, omega_m : float
        Side of the cube and thickness of a slab in Mpc/h; matter density today in units of the critical density.
    distance, scale_factor : ndarray
        Comoving distance in Mpc/h and scale factor of the middle of each slab, ``(slabs,)``.
    meta : dict
        Settings of the simulation: plain numbers and strings.

    Examples
    --------
    >>> from astro_massmap.simulation import LensPlanes, NBody
    >>> LensPlanes.simulate(NBody(16, 64.0), seed=1, cells=32, z_max=0.1).save("box.safetensors")
    >>> planes = LensPlanes.load("box.safetensors")
    >>> planes.overdensity.shape, planes.distance.tolist(), planes.meta["seed"]
    (torch.Size([5, 3, 32, 32]), [32.0, 96.0, 160.0, 224.0, 288.0], 1)
    """

    overdensity: torch.Tensor
    box_size: float
    omega_m: float
    distance: np.ndarray
    scale_factor: np.ndarray
    meta: dict

    @classmethod
    def simulate(cls, simulation, seed, *, cells=1024, z_max=1.0, on_step=lambda a: None):
        """
        Run a simulation and project the particles at the distance of each slab.

        Parameters
        ----------
        simulation, seed, on_step
            Simulation, an `NBody`, and arguments of `NBody.run`.
        cells, z_max
            Cells on a side of a plane, and redshift of the farthest sources.

        Raises
        ------
        ValueError
            If the simulation starts after the light passed the farthest slab.
        """
        cosmology = simulation.cosmology
        distance = slab_distances(cosmology, simulation.box_size, z_max)
        scale_factor = cosmology.scale_factor(distance)
        mesh, planes = Mesh(cells, simulation.device), []
        for _, positions in simulation.run(seed, scale_factor[::-1], on_step=on_step):
            x = positions.mul_(cells)
            planes.append(torch.stack([mesh.overdensity(x[list(axes)]) for axes in ((1, 2), (2, 0), (0, 1))]).half())
        overdensity = torch.stack(planes[::-1]).cpu()
        return cls(
            overdensity, simulation.box_size, cosmology.omega_m, distance, scale_factor, simulation.describe(seed)
        )

    def save(self, file, *, overwrite=False):
        """Write a safetensors file atomically; OSError if it exists and ``overwrite`` is False."""
        notes = {
            "format": _FORMAT,
            "box_size": self.box_size,
            "omega_m": self.omega_m,
            "distance": self.distance.tolist(),
            "scale_factor": self.scale_factor.tolist(),
            "meta": self.meta,
        }
        with atomic_path(file, overwrite=overwrite) as temporary:
            save_file({"overdensity": self.overdensity.contiguous()}, temporary, {"planes": json.dumps(notes)})

    @classmethod
    def load(cls, file):
        """Read a file of `save`; OSError if it does not exist, is damaged, or contains something else."""
        fault = f"file: {str(file)!r} is damaged, or contains no lens planes"
        try:
            with parsing(fault):
                notes, tensors = read_tensors(file, "planes")
        except FileNotFoundError as error:
            raise OSError(f"file: {str(file)!r} does not exist") from error
        try:
            return cls(**_planes(notes, tensors))
        except KeyError as error:
            raise OSError(f"{fault}: it has no {error}") from error
        except (OverflowError, TypeError, ValueError) as error:
            raise OSError(f"{fault}: {error}") from error


def _planes(notes, tensors):
    if notes["format"] != _FORMAT:
        raise ValueError(f"its format is {notes['format']!r}")
    overdensity = tensors["overdensity"]
    sizes = {key: np.array(notes[key], dtype=float) for key in ("distance", "scale_factor", "box_size", "omega_m")}
    if overdensity.ndim != 4 or not len(sizes["distance"]) == len(sizes["scale_factor"]) == len(overdensity):
        raise ValueError(f"{sizes['distance'].size} distances do not match planes of shape {tuple(overdensity.shape)}")
    for key, value in sizes.items():
        if value.ndim != (key in ("distance", "scale_factor")) or not np.all((value > 0) & np.isfinite(value)):
            raise ValueError(f"{key}: needs positive numbers, got {str(notes[key])[:40]}")
    if not overdensity.is_floating_point() or not isinstance(notes["meta"], dict):
        raise ValueError(f"overdensity, meta: got {overdensity.dtype} and a {type(notes['meta']).__name__}")
    sizes |= {key: float(sizes[key]) for key in ("box_size", "omega_m")}
    return sizes | {"overdensity": overdensity, "meta": notes["meta"]}


def lensing_weights(cosmology, distance, thickness, *, redshift=None, n_z=None):
    """
    Integrate q over each slab.

    Parameters
    ----------
    cosmology : Cosmology
        Background.
    distance, thickness : ndarray, float
        Distances of the middles of the slabs, ``(slabs,)``, increasing, and thickness of a slab, in Mpc/h.
    redshift, n_z
        Redshift of a source plane or distribution of sources, as for `~astro_massmap.PowerSpectrum.from_cosmology`.

    Returns
    -------
    ndarray
        Weights ``(slabs,)``; the convergence is the weighted sum of the overdensities of the slabs.

    Raises
    ------
    ValueError
        If ``redshift`` or ``n_z`` is not valid, not exactly one is given, or sources lie beyond the last slab.

    Examples
    --------
    In a flat universe of matter alone the integral of q up to a source at redshift 3 is 18 ln(2) - 12:

    >>> import numpy as np
    >>> from astro_massmap.simulation import Cosmology, lensing_weights
    >>> cosmology = Cosmology(1.0, k=[0.1, 1.0], power=[1.0, 1.0])
    >>> middles, thickness = np.linspace(0, cosmology.distance(3.0), 41)[1::2], cosmology.distance(3.0) / 20
    >>> print(f"{lensing_weights(cosmology, middles, thickness, redshift=3.0).sum():.3f} {18 * np.log(2) - 12:.3f}")
    0.477 0.477
    """
    z, fraction = one_of(redshift, n_z).few()
    source = cosmology.distance(z)
    reach = distance[-1] + thickness / 2
    if (fraction * np.clip(source - reach - thickness, 0, None)).sum() > 0:
        raise ValueError(
            f"redshift, n_z: the sources extend to {source.max():.0f} Mpc/h, the lens planes to {reach:.0f} Mpc/h; "
            "simulate with a larger z_max"
        )
    chi = distance[:, None] + thickness * (np.arange(16) + 0.5 - 8) / 16
    efficiency = (fraction * np.clip(1 - chi[..., None] / source, 0, None)).sum(axis=-1)
    q = 1.5 * cosmology.omega_m / HUBBLE_LENGTH**2 * chi / cosmology.scale_factor(chi) * efficiency
    return q.mean(axis=1) * thickness


class LightCone:
    """
    Convergence maps from the lens planes of some cubes.

    Parameters
    ----------
    cubes : list of LensPlanes
        Lens planes with the same slabs and cells.
    weights : array-like
        Weights of the slabs, ``(slabs,)``, see `lensing_weights`.
    device : `torch.device` or str
        Device of the computation.

    Raises
    ------
    ValueError
        If the cubes differ in slabs or cells, or there is not one weight for each slab.

    Examples
    --------
    One slab of twice the mean density, of weight 0.1, has the convergence 0.1:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap.simulation import LensPlanes, LightCone
    >>> planes = LensPlanes(torch.ones(1, 3, 8, 8), 100.0, 0.3, np.array([50.0]), np.array([0.98]), meta={})
    >>> maps = LightCone([planes], weights=[0.1]).draw(4, (24, 32), 1e-3, np.random.default_rng(0))
    >>> maps.shape, round(float(maps.min()), 3), round(float(maps.max()), 3)
    (torch.Size([4, 24, 32]), 0.1, 0.1)
    """

    def __init__(self, cubes, weights, device="cpu"):
        first = cubes[0]
        for other in cubes[1:]:
            if other.overdensity.shape != first.overdensity.shape or other.box_size != first.box_size:
                raise ValueError("cubes: need the same slabs, box size and cells in all of them")
        if len(weights) != len(first.distance):
            raise ValueError(f"weights: need one for each of {len(first.distance)} slabs, got {len(weights)}")
        self.device, self.weights = torch.device(device), np.asarray(weights, dtype=float)
        self.distance, self.box_size = first.distance, first.box_size
        stacked = torch.stack([cube.overdensity for cube in cubes], dim=1).to(self.device)
        self.cells = stacked.shape[-1]
        # the planes of each slab, with a copy of the first row and column at the end
        if self.device.type == "cpu":  # no arithmetic in half precision
            stacked = stacked.float()
        self.planes = F.pad(stacked.flatten(1, 2), (0, 1, 0, 1), mode="circular")

    def weighted(self, weights):
        """Return a light cone of the same planes with other weights ``(slabs,)``."""
        new = copy.copy(self)
        new.weights = np.asarray(weights, dtype=float)
        return new

    def draw(self, n, shape, pixel_size, generator):
        """Draw maps ``(n, *shape)`` of pixels of ``pixel_size`` radians at random, with a `numpy.random.Generator`."""
        return torch.stack([self._map(shape, pixel_size, generator) for _ in range(n)])

    def _map(self, shape, pixel_size, generator):
        y, x = (torch.arange(side, dtype=torch.float32, device=self.device) - (side - 1) / 2 for side in shape)
        kappa = torch.zeros(shape, dtype=torch.float32, device=self.device)
        for planes, distance, weight in zip(self.planes, self.distance, self.weights, strict=True):
            if weight == 0:
                continue
            plane = planes[generator.integers(len(planes))]
            angle, flip, shift = generator.uniform(0, 2 * math.pi), generator.choice([-1, 1]), generator.uniform(size=2)
            step = distance * pixel_size * self.cells / self.box_size
            cos, sin = step * math.cos(angle), step * math.sin(angle)
            u = cos * flip * x[None, :] - sin * y[:, None] + shift[0] * self.cells
            v = sin * flip * x[None, :] + cos * y[:, None] + shift[1] * self.cells
            kappa.add_(self._interpolate(plane, u, v), alpha=float(weight))
        return kappa

    def _interpolate(self, plane, u, v):
        """Interpolate a periodic plane bilinearly at positions in cells."""
        # coordinates of grid_sample: -1 is the first cell, 1 the last, a copy of the first
        at = torch.stack([u, v], dim=-1).remainder_(self.cells).mul_(2 / self.cells).sub_(1)
        return F.grid_sample(plane[None, None].float(), at[None], mode="bilinear", align_corners=True)[0, 0]
