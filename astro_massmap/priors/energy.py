"""
A denoiser whose residual is a gradient: a network that tells a density, and not only a score.

The residual ``r = D - D_G`` of `~astro_massmap.priors.HybridDenoiser` is a field that a network draws. Nothing makes
it the gradient of anything, so that there is no density behind it, and the work that it does between two maps depends
on the path. Here the network tells a scalar, the energy of a noisy map z (Salimans & Ho 2021),

    phi(z) = sp sum_i (sw w_i f1_i(a, w) + sz a_i f2_i(a, w)),      a = z / sz,  w = D_G / sw,  D_G = W z,

with W the Wiener filter, sz, sw the standard deviations of z and of D_G, and sp that of x given z, all under the
Gaussian half. The residual is its gradient, through both arguments,

    r = d phi / d z + W (d phi / d D_G),        log p_sigma(z) = log p_Gauss(z) + phi(z) / sigma^2 + const.
"""

import torch

from .denoiser import HybridDenoiser, wiener_filter


class EnergyDenoiser(HybridDenoiser):
    """
    The gradient of an energy, around a Gaussian half.

    Parameters
    ----------
    network : `~astro_massmap.priors.UNet`
        From two channels to two.
    spectrum : callable
        C_ell of the Gaussian half.
    pixel_size : float
        Side of a pixel in radians.

    Raises
    ------
    ValueError
        If the network has another number of outputs.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import EnergyDenoiser, UNet
    >>> spectrum = PowerSpectrum([10, 1e5], [1e-9, 1e-11])
    >>> denoiser = EnergyDenoiser(UNet((8, 8, 8), outputs=2), spectrum, 1e-4)
    >>> z, sigma = torch.randn(3, 32, 40), torch.full((3,), 0.1)
    >>> denoiser(z, denoiser.wiener(z, sigma), sigma).shape
    torch.Size([3, 32, 40])
    """

    def __init__(self, network, spectrum, pixel_size):
        super().__init__(network, spectrum, pixel_size)
        if network.settings["outputs"] != 2:
            raise ValueError(f"network: needs two outputs, got {network.settings['outputs']}")
        self.spectrum, self._variances = spectrum, {}

    def wiener(self, maps, sigma):
        """``W`` of periodic maps ``(n, ny, nx)``."""
        from ..inference.grid import FourierGrid

        kind = tuple(maps.shape[-2:]), maps.dtype, maps.device
        if kind not in self._variances:
            grid = FourierGrid(kind[0], self.pixel_size, dtype=maps.dtype, device=maps.device)
            self._variances[kind] = grid.mode_variance(self.spectrum)
        return wiener_filter(maps, self._variances[kind], sigma)

    def energy(self, z, wiener, sigma, window=1.0):
        """
        The scalar phi.

        Parameters
        ----------
        z, wiener, sigma : `torch.Tensor`
            As for `forward`.
        window : `torch.Tensor`, optional
            Weights ``(ny, nx)`` of the pixels in the sum.

        Returns
        -------
        `torch.Tensor`
            ``(n,)``, in double precision.
        """
        observed, filtered, posterior = self.spreads(sigma)
        said = self.network(torch.stack([z / observed, wiener / filtered], dim=1), sigma).to(z.dtype)
        return (posterior * window * (said[:, 0] * wiener + said[:, 1] * z)).sum(dim=(1, 2), dtype=torch.float64)

    def slopes(self, z, wiener, sigma, window=1.0):
        """
        The energy and its derivatives with respect to both arguments.

        They remember how they came about, for a training, where torch would record that of a plain network.

        Returns
        -------
        energy : `torch.Tensor`
            ``(n,)``.
        by_z, by_wiener : `torch.Tensor`
            ``(n, ny, nx)``.
        """
        recorded = torch.is_grad_enabled() and any(t.requires_grad for t in (z, wiener, *self.parameters()))
        with torch.enable_grad():
            # views, so that what D_G owes to z is not counted here, where both are variables of their own
            z, wiener = (t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in (z, wiener))
            energy = self.energy(z, wiener, sigma, window)
            slopes = torch.autograd.grad(energy.sum(), (z, wiener), create_graph=recorded)
        return (energy if recorded else energy.detach()), *slopes

    def forward(self, z, wiener, sigma, smooth=None):
        """
        What the energy adds to the Wiener filter: ``D - D_G``.

        Parameters
        ----------
        z, wiener : `torch.Tensor`
            Noisy maps and their Wiener filter, ``(n, ny, nx)``.
        sigma : `torch.Tensor`
            Noise levels ``(n,)``.
        smooth : callable, optional
            W for the maps that these are pieces of; by default they are periodic maps, whole.

        Returns
        -------
        `torch.Tensor`
            ``(n, ny, nx)``.
        """
        _, by_z, by_wiener = self.slopes(z, wiener, sigma)
        return by_z + (self.wiener(by_wiener, sigma) if smooth is None else smooth(by_wiener))
