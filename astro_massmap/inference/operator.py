"""
From convergence to shear and back (Kaiser & Squires 1993), on the modes of a flat periodic box.

With l along the pixel axes, ``gamma = F^-1 P F kappa`` and ``P(l) = (l1^2 - l2^2 + 2i l1 l2) / l^2``,
that is two real multipliers, P1 for the first component of the shear and P2 for the second.
``P(0) = 0``: a constant sheet of mass does not shear. P2 vanishes on the Nyquist rows, where the sign
of the wave number is not defined. Everywhere else ``P1^2 + P2^2 = 1`` and the adjoint is the inverse.
"""

import torch


class LensingOperator:
    """
    The shear that convergence causes, as a linear operator and its adjoint.

    Parameters
    ----------
    grid : `~astro_massmap.inference.FourierGrid`
        The box and the field within it.

    Attributes
    ----------
    p1, p2 : `torch.Tensor`
        The two multipliers, one value a mode.
    """

    def __init__(self, grid):
        self.grid = grid
        square = grid.ell**2
        square[0, 0] = 1
        p1 = (grid.lx**2 - grid.ly**2) / square
        p2 = 2 * grid.lx * grid.ly / square
        ny, nx = grid.box_shape
        if ny % 2 == 0:
            p2[ny // 2] = 0
        if nx % 2 == 0:
            p2[:, nx // 2] = 0
        self.p1, self.p2 = grid.real(p1), grid.real(p2)
        self.power = self.p1**2 + self.p2**2
        self._p = torch.stack([self.p1, self.p2])

    def forward(self, modes):
        """Shear ``(..., 2, *field_shape)`` in the field from the modes of the convergence in the box."""
        return self.grid.to_field(self._p * modes.unsqueeze(-3))

    def adjoint(self, shear):
        """Modes of ``P' shear``: the E-mode convergence wherever ``P1^2 + P2^2 = 1``."""
        return (self._p * self.grid.to_modes(shear)).sum(dim=-3)

    def e_and_b_modes(self, shear):
        """Modes of the E-mode convergence (as `adjoint`) and of the B mode, that of the shear turned by 45 deg."""
        g1, g2 = self.grid.to_modes(shear).unbind(dim=-3)
        return self.p1 * g1 + self.p2 * g2, self.p1 * g2 - self.p2 * g1
