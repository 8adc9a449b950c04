"""
Periodic mesh of particles: cloud-in-cell assignment and interpolation, and gravity by Fourier transforms.

Positions are in units of mesh cells, one axis a row: ``(3, n)``. Particles are processed in pieces, which keeps their
indices and weights in the cache of a CPU and limits the memory on a GPU.
"""

import itertools
import math

import torch


class Mesh:
    """Periodic cube of ``cells`` on a side, an even number."""

    def __init__(self, cells, device="cpu"):
        self.cells, self.device = cells, torch.device(device)
        self.chunk = 2**17 if self.device.type == "cpu" else 2**24
        self.k = 2 * math.pi * torch.fft.fftfreq(cells, dtype=torch.float32, device=self.device)
        self.k_half = 2 * math.pi * torch.fft.rfftfreq(cells, dtype=torch.float32, device=self.device)

    def axes(self):
        """Return the wave numbers along the three axes in radian per cell, shaped to broadcast over the modes."""
        return self.k[:, None, None], self.k[None, :, None], self.k_half[None, None, :]

    def window(self):
        """Return the three factors of the cloud-in-cell window in Fourier space."""
        return tuple(torch.sinc(k / (2 * math.pi)) ** 2 for k in self.axes())

    def _clouds(self, x, n_axes):
        """Yield the cells of the particle clouds and their fractions: pairs ``(flat index, weight)``."""
        low = torch.floor(x)
        fraction = x - low
        near = low.long() % self.cells
        far = (near + 1) % self.cells
        for corner in itertools.product((0, 1), repeat=n_axes):
            index, weight = 0, 1
            for axis, side in enumerate(corner):
                index = index * self.cells + (far if side else near)[axis]
                weight = weight * (fraction[axis] if side else 1 - fraction[axis])
            yield index, weight

    def paint(self, x):
        """Return particles per cell, ``(cells,) * d``, by cloud-in-cell from positions in cells ``(d, n)``."""
        counts = torch.zeros(self.cells ** len(x), dtype=torch.float32, device=self.device)
        for piece in x.split(self.chunk, dim=1):
            for index, weight in self._clouds(piece, len(x)):
                counts.scatter_add_(0, index, weight)
        return counts.view((self.cells,) * len(x))

    def overdensity(self, x):
        """Return ``rho / mean - 1``, ``(cells,) * d``, of particles at positions ``(d, n)``."""
        return self.paint(x).mul_(self.cells ** len(x) / x.shape[1]).sub_(1)

    def pull(self, x, fade=math.inf):
        """
        Yield slices of the particles ``(3, n)`` and the gravity at them.

        The gravity is ``-grad phi`` with ``laplace phi = delta``, lengths in cells. Both cloud-in-cell windows, of
        density and of force, are divided out. Forces are reduced above the wave number ``fade`` along an axis, in
        radian per cell, and vanish at 1.5 times it. Use the Nyquist frequency of the initial lattice: beyond it a cold
        lattice has only aliases of larger scales, which the division by the window would amplify.
        """
        modes = torch.fft.rfftn(self.overdensity(x))
        square = sum(k**2 for k in self.axes())
        square[0, 0, 0] = 1
        modes /= square
        for window, k in zip(self.window(), self.axes(), strict=True):
            rest = ((k.abs() / fade - 1) / 0.5).clamp(0, 1)
            modes *= torch.cos(math.pi / 2 * rest) ** 2 / window**2
        modes[0, 0, 0] = 0
        forces = []
        for k in self.axes():
            k = torch.where(k.abs() > math.pi * (1 - 1e-6), 0.0, k)  # the derivative of the Nyquist mode vanishes
            forces.append(torch.fft.irfftn(modes * (1j * k), s=(self.cells,) * 3).flatten())
        for start in range(0, x.shape[1], self.chunk):
            piece = slice(start, start + self.chunk)
            pull = torch.zeros_like(x[:, piece])
            for index, weight in self._clouds(x[:, piece], 3):
                for force, component in zip(forces, pull, strict=True):
                    component.addcmul_(force.index_select(0, index), weight)
            yield piece, pull
