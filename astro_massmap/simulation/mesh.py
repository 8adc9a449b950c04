"""
Particles and a periodic mesh: cloud-in-cell in both directions, and gravity by Fourier transforms.

Positions are in units of mesh cells, one axis a row: ``(3, n)``. Particles are taken some at a time, which
keeps their indices and weights in the cache of a CPU and bounds the memory on a GPU.
"""

import itertools
import math

import torch


class Mesh:
    """
    A periodic cube of cells.

    Parameters
    ----------
    cells : int
        Cells on a side, even.
    device : `torch.device` or str
        Where its tensors live.
    """

    def __init__(self, cells, device="cpu"):
        self.cells, self.device = cells, torch.device(device)
        self.chunk = 2**17 if self.device.type == "cpu" else 2**24
        self.k = 2 * math.pi * torch.fft.fftfreq(cells, dtype=torch.float32, device=self.device)
        self.k_half = 2 * math.pi * torch.fft.rfftfreq(cells, dtype=torch.float32, device=self.device)

    def axes(self):
        """Wave numbers along the three axes in radian per cell, shaped to broadcast over the modes."""
        return self.k[:, None, None], self.k[None, :, None], self.k_half[None, None, :]

    def window(self):
        """The three factors of the Fourier transform of a cell's cloud; their product is that of cloud-in-cell."""
        return tuple(torch.sinc(k / (2 * math.pi)) ** 2 for k in self.axes())

    def _clouds(self, x, n_axes):
        """Cells that the clouds of the particles touch, and their shares: pairs ``(flat index, weight)``."""
        low = torch.floor(x)
        share = x - low
        near = low.long() % self.cells
        far = (near + 1) % self.cells
        for corner in itertools.product((0, 1), repeat=n_axes):
            index, weight = 0, 1
            for axis, side in enumerate(corner):
                index = index * self.cells + (far if side else near)[axis]
                weight = weight * (share[axis] if side else 1 - share[axis])
            yield index, weight

    def paint(self, x):
        """
        Particles per cell, by cloud-in-cell.

        Parameters
        ----------
        x : `torch.Tensor`
            Positions in cells ``(d, n)``, whatever d: two for a projection.

        Returns
        -------
        `torch.Tensor`
            ``(cells,) * d``.
        """
        counts = torch.zeros(self.cells ** len(x), dtype=torch.float32, device=self.device)
        for piece in x.split(self.chunk, dim=1):
            for index, weight in self._clouds(piece, len(x)):
                counts.scatter_add_(0, index, weight)
        return counts.view((self.cells,) * len(x))

    def overdensity(self, x):
        """``rho / mean - 1`` of the particles at ``x``, ``(cells,) * d``."""
        return self.paint(x).mul_(self.cells ** len(x) / x.shape[1]).sub_(1)

    def pull(self, x, fade=math.inf):
        """
        The gravity of the particles at themselves, ``-grad phi`` with ``laplace phi = delta``, lengths in cells.

        The blurring by the clouds, of density and of force, is divided out.

        Parameters
        ----------
        x : `torch.Tensor`
            Positions ``(3, n)``.
        fade : float
            Wave number along an axis, in radian per cell, from which on forces fade; at 1.5 times it they are gone.
            The Nyquist frequency of a lattice of particles: while they are cold, waves beyond it are copies of the
            longer ones by the lattice, which the division would lift.

        Yields
        ------
        piece : slice
            Of the particles.
        pull : `torch.Tensor`
            ``(3, len)``.
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
            k = torch.where(k.abs() > math.pi * (1 - 1e-6), 0.0, k)  # a derivative has no Nyquist mode
            forces.append(torch.fft.irfftn(modes * (1j * k), s=(self.cells,) * 3).flatten())
        for start in range(0, x.shape[1], self.chunk):
            piece = slice(start, start + self.chunk)
            pull = torch.zeros_like(x[:, piece])
            for index, weight in self._clouds(x[:, piece], 3):
                for force, component in zip(forces, pull, strict=True):
                    component.addcmul_(force.index_select(0, index), weight)
            yield piece, pull
