"""
Convergence power spectrum in the Limber approximation.

With comoving distance chi, transverse comoving distance f_K and a = 1 / (1 + z),

    C_ell = int dchi (q / f_K)^2 P_delta(k = (ell + 1/2) / f_K, z),
    q = (3/2) Om0 (H0 / c)^2 (f_K / a) int dz' n(z') f_K(chi' - chi) / f_K(chi')

(Bartelmann & Schneider 2001, section 6.2; Kilbinger 2015). Only flat universes are supported, where f_K is chi.
"""

import numpy as np

from .background import HUBBLE_LENGTH
from .matter_power import Z_MAX

_STEPS = 600


def lensed(sources, name):
    """Return redshifts and weights of `Sources` for `limber_spectrum`; ValueError that begins with ``name``."""
    z, weight = sources.few()
    if not z.size:
        raise ValueError(f"{name}: needs sources at redshifts larger than 0, got none")
    if z.max() > Z_MAX:
        raise ValueError(f"{name}: needs sources at redshifts up to {Z_MAX:g}, got {z.max():.3g}")
    return z, weight


def limber_spectrum(ell, z_source, weight, matter):
    """Return C_ell at the multipoles ``ell`` for sources at ``z_source``, in the universe of a `MatterPower`."""
    z = z_source.max() * np.linspace(0, 1, _STEPS + 1)[1:] ** 2  # small steps where the distance is small
    chi, chi_source = matter.distance(z), matter.distance(z_source)
    efficiency = np.clip(1 - chi[:, None] / chi_source, 0, None) @ weight
    kernel = 1.5 * matter.omega_m_h2 / HUBBLE_LENGTH**2 * (1 + z) * efficiency  # q / chi
    integrand = kernel**2 * matter(z, (np.asarray(ell)[:, None] + 0.5) / chi)
    return np.trapezoid(np.pad(integrand, ((0, 0), (1, 0))), np.append(0, chi), axis=1)
