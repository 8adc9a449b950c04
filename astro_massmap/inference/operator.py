"""
Linear operators from the convergence to the data, on the modes of a flat periodic box (Kaiser & Squires 1993).

With l along the pixel axes, ``gamma = F^-1 P F kappa`` and ``P(l) = (l1^2 - l2^2 + 2i l1 l2) / l^2``,
that is two real multipliers, P1 for the first component of the shear and P2 for the second.
``P(0) = 0``: a constant mass sheet causes no shear. P2 vanishes on the Nyquist rows, where the sign of the wave number
is not defined. Everywhere else ``P1^2 + P2^2 = 1`` and the adjoint is the inverse.

For a noisy map of the convergence itself ``P1 = 1`` and ``P2 = 0``; the second component is then noise alone.
"""

import copy

import torch


class FourierOperator:
    """
    Linear operator with two components, each a real multiplier of Fourier modes, and its adjoint.

    Parameters
    ----------
    grid : `~astro_massmap.inference.FourierGrid`
        Periodic box, and the field within it.
    p1, p2 : `torch.Tensor`
        Multipliers of the modes, even functions of l, ``(ny, nx // 2 + 1)``.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import FourierGrid, FourierOperator
    >>> grid = FourierGrid((16, 16), 1.2e-4, (32, 32))
    >>> beams = (torch.exp(-0.5 * (grid.ell * width) ** 2) for width in (1e-4, 3e-4))
    >>> FourierOperator(grid, *beams).forward(grid.to_modes(torch.ones(32, 32))).shape
    torch.Size([2, 16, 16])
    """

    def __init__(self, grid, p1, p2):
        self.grid, self._p = grid, torch.stack([grid.real(p1), grid.real(p2)])
        self.p1, self.p2 = self._p

    @property
    def power(self):
        """``P1^2 + P2^2`` for each mode; computed at each access."""
        return self.p1**2 + self.p2**2

    def on(self, grid):
        """Return the operator for another field: a `FourierGrid` with the same box and pixels."""
        other = copy.copy(self)
        other.grid = grid
        return other

    def forward(self, modes):
        """Compute the components ``(..., 2, *field_shape)`` in the field from modes of the convergence."""
        return self.grid.to_field(modes.unsqueeze(-3), times=self._p)

    def adjoint(self, shear):
        """Compute the modes of ``P' shear``: the E-mode convergence wherever ``P1^2 + P2^2 = 1``."""
        return self.grid.to_modes(shear, times=self._p)

    def e_and_b_modes(self, shear):
        """Compute the modes of the E mode (as `adjoint`) and of the B mode, that of the shear rotated by 45 deg."""
        g1, g2 = self.grid.to_modes(shear).unbind(dim=-3)
        return self.p1 * g1 + self.p2 * g2, self.p1 * g2 - self.p2 * g1


class LensingOperator(FourierOperator):
    """
    Operator from the convergence to the shear on a `~astro_massmap.inference.FourierGrid`.

    Examples
    --------
    In a periodic field with odd sides, the shear contains the convergence except its mean:

    >>> import torch
    >>> from astro_massmap.inference import FourierGrid, LensingOperator
    >>> grid = FourierGrid((15, 15), 1.2e-4, dtype=torch.float64)
    >>> kappa = torch.randn(15, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> operator, modes = LensingOperator(grid), grid.to_modes(kappa)
    >>> torch.allclose(grid.to_field(operator.adjoint(operator.forward(modes))), kappa - kappa.mean())
    True
    """

    def __init__(self, grid):
        lx, (ny, nx) = grid.lx, grid.box_shape

        def square(ly):
            ell = torch.hypot(lx, ly)
            return torch.where(ell > 0, ell, 1) ** 2

        p1 = grid.pointwise(lambda ly: grid.real((lx**2 - ly**2) / square(ly)), grid.ly)
        p2 = grid.pointwise(lambda ly: grid.real(2 * lx * ly / square(ly)), grid.ly)
        if ny % 2 == 0:
            p2[ny // 2] = 0
        if nx % 2 == 0:
            p2[:, nx // 2] = 0
        super().__init__(grid, p1, p2)


class DirectOperator(FourierOperator):
    """
    Operator for data that are the convergence itself, on a `~astro_massmap.inference.FourierGrid`.

    Examples
    --------
    The first component is the convergence, the second is zero:

    >>> import torch
    >>> from astro_massmap.inference import DirectOperator, FourierGrid
    >>> grid = FourierGrid((16, 16), 1.2e-4, (32, 32))
    >>> first, second = DirectOperator(grid).forward(grid.to_modes(torch.ones(16, 16)))
    >>> torch.allclose(first, torch.ones(16, 16), atol=1e-6), float(second.abs().max())
    (True, 0.0)
    """

    def __init__(self, grid):
        p1 = grid.of_ell(torch.ones_like)
        super().__init__(grid, p1, torch.zeros_like(p1))
