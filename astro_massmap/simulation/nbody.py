"""
N-body simulation of a periodic cube from Gaussian initial conditions.

The initial conditions are second-order Lagrangian perturbation theory (2LPT), ``x = q + D psi1 + D2 psi2`` with
``div psi1 = -delta`` and ``D2 = -3/7 D^2 Om^-1/143`` (Bouchet et al. 1995). Steps are leapfrogs whose kick and
drift factors follow the linear growth exactly (FastPM: Feng et al. 2016),

    drift  x += p [D(a1) - D(a0)] / G(ac),       kick  p += f [G(a1) - G(a0)] / (3/2 Om D(ac)),

with ``G = a^3 E dD/da`` and ``f = -3/2 Om grad phi``, so that few steps give the correct growth on large scales.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from .cosmology import Cosmology
from .mesh import Mesh


@dataclass(frozen=True)
class NBody:
    """
    Particle-mesh simulation of a periodic cube.

    Parameters
    ----------
    particles, box_size : int, float
        Particles on a side of the cube, an even number, and side of the cube in Mpc/h.
    cosmology : Cosmology
        Background and initial power.
    mesh_factor : int
        Cells of the force mesh per particle, on a side.
    a_start : float
        Scale factor of the initial conditions.
    longest_step : float
        Longest step in the scale factor; the steps between two outputs are of equal length. With 0.025 the power at
        z = 1 agrees to 6 % with that of half this length up to k = 2 h/Mpc; with steps of equal ratio the late steps
        are too long and a quarter of that power is lost.
    device : str
        Torch device.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from astro_massmap.simulation import NBody
    >>> [(a, positions.shape) for a, positions in NBody(16, 64.0).run(1, [0.5, 1.0])]
    [(0.5, torch.Size([3, 4096])), (1.0, torch.Size([3, 4096]))]
    """

    particles: int = 192
    box_size: float = 128.0
    cosmology: Cosmology | None = None
    mesh_factor: int = 2
    a_start: float = 0.1
    longest_step: float = 0.025
    device: str = "cpu"

    def __post_init__(self):
        if self.cosmology is None:
            object.__setattr__(self, "cosmology", Cosmology.default())
        if not (isinstance(self.particles, int) and self.particles >= 2 and self.particles % 2 == 0):
            raise ValueError(f"particles: needs an even number on a side, got {self.particles!r}")
        if not 0 < self.box_size < math.inf:
            raise ValueError(f"box_size: needs a positive length in Mpc/h, got {self.box_size!r}")
        if not (isinstance(self.mesh_factor, int) and self.mesh_factor >= 1):
            raise ValueError(f"mesh_factor: needs a positive integer, got {self.mesh_factor!r}")
        if not 0 < self.a_start < 1:
            raise ValueError(f"a_start: needs to be between 0 and 1, got {self.a_start!r}")
        if not 0 < self.longest_step < 1:
            raise ValueError(f"longest_step: needs to be between 0 and 1, got {self.longest_step!r}")

    @property
    def cells(self):
        """Number of cells of the force mesh on a side."""
        return self.particles * self.mesh_factor

    @property
    def memory(self):
        """Peak memory of the tensors in bytes: six meshes, and eight numbers for each particle."""
        return 4 * (6 * self.cells**3 + 8 * self.particles**3)

    def scale_factors(self, outputs):
        """Return the scale factors between steps, from ``a_start`` to the last of ``outputs``, which are included."""
        steps = [self.a_start]
        for after in outputs:
            n = math.ceil((after - steps[-1]) / self.longest_step - 1e-9)
            steps.extend(np.linspace(steps[-1], after, n + 1)[1:-1].tolist())
            steps.append(float(after))
        return steps

    def describe(self, seed):
        """Return the settings of a run, with the seed of its initial field, as a dict of numbers and text."""
        return {
            "seed": seed,
            "particles": self.particles,
            "mesh_factor": self.mesh_factor,
            "a_start": self.a_start,
            "longest_step": self.longest_step,
            "forces": "cic, deconvolved, fading beyond the lattice",
            "cosmology": self.cosmology.name,
        }

    def displacements(self, seed):
        """Return first- and second-order displacements today in Mpc/h, psi1 and -3/7 psi2, ``(3, particles**3)``."""
        n, grid = self.particles, Mesh(self.particles, self.device)
        noise = torch.Generator("cpu").manual_seed(seed)
        white = torch.randn((n, n, n), generator=noise, dtype=torch.float32, device="cpu").to(self.device)
        k = [axis * (n / self.box_size) for axis in grid.axes()]
        square = sum(axis**2 for axis in k)
        power = self.cosmology.linear_power(square.sqrt().clamp(min=1e-5).cpu().numpy())
        amplitude = torch.from_numpy((power * (n / self.box_size) ** 3) ** 0.5).to(white)
        modes = torch.fft.rfftn(white) * amplitude
        square[0, 0, 0] = 1
        potential = -modes / square
        potential[0, 0, 0] = 0

        def real(of):
            return torch.fft.irfftn(of, s=(n, n, n))

        def gradient(of):
            cut = [torch.where(axis.abs() > math.pi * n / self.box_size * (1 - 1e-6), 0.0, axis) for axis in k]
            return torch.stack([real(1j * axis * of).flatten() for axis in cut])

        tidal = {(i, j): real(-k[i] * k[j] * potential) for i in range(3) for j in range(i, 3)}
        source = sum(tidal[i, i] * tidal[j, j] - tidal[i, j] ** 2 for i in range(3) for j in range(i + 1, 3))
        return -gradient(potential), -3 / 7 * gradient(-torch.fft.rfftn(source) / square)

    def run(self, seed, outputs, *, on_step=lambda a: None):
        """
        Run the simulation.

        Parameters
        ----------
        seed : int
            Seed of the initial field, which is the same on every device.
        outputs : sequence of float
            Scale factors of the outputs, increasing.
        on_step : callable
            Function of the scale factor, called after every step.

        Yields
        ------
        a, positions : float, `torch.Tensor`
            Scale factor of an output, and positions ``(3, particles**3)`` in units of the box, between 0 and 1. The
            tensor is reused.

        Raises
        ------
        ValueError
            If the outputs do not increase from after the start to at most today.
        """
        outputs = [float(a) for a in outputs]
        if not outputs or not self.a_start < outputs[0] or any(np.diff(outputs) <= 0) or outputs[-1] > 1:
            raise ValueError(f"outputs: need scale factors that increase from above {self.a_start} to at most 1")
        mesh, cosmology = Mesh(self.cells, self.device), self.cosmology
        steps = self.scale_factors(outputs)
        middles = [math.sqrt(a * b) for a, b in itertools.pairwise(steps)]
        x, p = self._start(seed, steps[0])
        kicked = steps[0]
        for a, middle, after in zip(steps[:-1], middles, steps[1:], strict=True):
            self._kick(mesh, x, p, kicked, a, middle)
            x += p * float((cosmology.growth(after) - cosmology.growth(a)) / cosmology.growth_momentum(middle))
            kicked = middle
            x.remainder_(self.cells)
            on_step(after)
            if after in outputs:
                yield after, x / self.cells

    def _start(self, seed, a):
        """Return initial positions and momenta in cells."""
        cosmology, n = self.cosmology, self.particles
        first, second = self.displacements(seed)
        growth, omega = cosmology.growth(a), cosmology.omega_m / (a**3 * cosmology.expansion(a) ** 2)
        second_growth = growth**2 * omega ** (-1 / 143)
        second_momentum = a**2 * cosmology.expansion(a) * 2 * omega ** (6 / 11) * second_growth
        to_cells = self.cells / self.box_size
        lattice = torch.arange(n, dtype=torch.float32, device=first.device) * self.mesh_factor
        x = torch.stack([g.flatten() for g in torch.meshgrid(lattice, lattice, lattice, indexing="ij")])
        x += to_cells * (float(growth) * first + float(second_growth) * second)
        p = to_cells * (float(cosmology.growth_momentum(a)) * first + float(second_momentum) * second)
        return x.remainder_(self.cells), p

    def _kick(self, mesh, x, p, before, at, after):
        cosmology = self.cosmology
        size = (cosmology.growth_momentum(after) - cosmology.growth_momentum(before)) / cosmology.growth(at)
        fade = math.pi / self.mesh_factor if self.mesh_factor > 1 else math.inf
        for piece, pull in mesh.pull(x, fade):  # 3/2 Om cancels between pull and size
            p[:, piece].add_(pull, alpha=float(size))
