"""
Convergence power spectrum in the Limber approximation, with camb.

With comoving distance chi, transverse comoving distance f_K and a = 1 / (1 + z),

    C_ell = int dchi (q / f_K)^2 P_delta(k = (ell + 1/2) / f_K, z),
    q = (3/2) Om0 (H0 / c)^2 (f_K / a) int dz' n(z') f_K(chi' - chi) / f_K(chi')

(Bartelmann & Schneider 2001, section 6.2; Kilbinger 2015). Only flat universes are supported, where f_K is chi.
"""

from numbers import Real

import numpy as np
from astropy.cosmology import LambdaCDM, w0waCDM, wCDM
from scipy.integrate import trapezoid

from .._utils.optional import require

KMAX = 30.0  # 1 / Mpc; at larger k the spectrum is continued as a power law


def limber_spectrum(ell, cosmology, sources, *, sigma8, As, n_s):
    """Return C_ell at the multipoles ``ell`` for `Sources`; see `PowerSpectrum.from_cosmology`."""
    z_source, weight = sources.few()
    if not z_source.size:
        raise ValueError("n_z: needs sources at redshifts larger than 0, got none")
    power, results = matter_power(cosmology, sigma8=sigma8, As=As, n_s=n_s, z_max=z_source.max())
    z = np.linspace(0, z_source.max(), 401)[1:]
    chi, chi_source = results.comoving_radial_distance(z), results.comoving_radial_distance(z_source)
    efficiency = (weight * np.clip(1 - chi[:, None] / chi_source, 0, None)).sum(axis=1)
    hubble_per_c = cosmology.H0.to_value("km / (s Mpc)") / 299792.458
    q = 1.5 * results.Params.omegam * hubble_per_c**2 * chi * (1 + z) * efficiency
    k = (np.asarray(ell)[:, None] + 0.5) / chi
    p = np.stack([_extended(power, z_i, k_i) for z_i, k_i in zip(z, k.T, strict=True)], axis=1)
    chi0 = np.concatenate([[0], chi])
    integrand = np.concatenate([np.zeros((len(k), 1)), (q / chi) ** 2 * p], axis=1)
    return trapezoid(integrand, chi0, axis=1)


def matter_power(cosmology, *, sigma8=None, As=None, n_s, z_max, nonlinear=True):
    """Return an interpolator of the matter power spectrum P(z, k) in Mpc units, and the results of camb."""
    camb = require("camb", "theory")
    if not isinstance(cosmology, (LambdaCDM, wCDM, w0waCDM)):
        raise ValueError(
            f"cosmology: needs a flat LambdaCDM, wCDM or w0waCDM of astropy, got {cosmology!r}; other models of dark "
            "energy are not supported"
        )
    for name, value in {"sigma8": sigma8, "As": As, "n_s": n_s}.items():
        if value is not None and not (isinstance(value, Real) and 0 < value < 10):
            raise ValueError(f"{name}: needs to be a positive number, got {value!r}")
    if (sigma8 is None) == (As is None):
        raise ValueError(
            "sigma8, As: give one of them, the amplitude of the fluctuations; astropy cosmologies do not contain it"
        )
    if not cosmology.Ob0:
        raise ValueError(
            f"cosmology: needs a baryon density, {cosmology.name or 'it'} has none; construct it with Ob0="
        )
    if abs(cosmology.Ok0) > 1e-4:
        raise ValueError(f"cosmology: needs to be flat, got Ok0 = {cosmology.Ok0:.3g}")
    if z_max > 10:
        raise ValueError(f"redshift: needs sources at redshifts up to 10, got {z_max:.3g}")
    parameters = _camb_parameters(camb, cosmology, n_s, 2.1e-9 if As is None else As, z_max)
    if sigma8 is not None:
        guess = camb.get_results(_linear(camb, parameters.copy())).get_sigma8_0()
        parameters.InitPower.set_params(As=2.1e-9 * (sigma8 / guess) ** 2, ns=n_s)
    results = camb.get_results(parameters if nonlinear else _linear(camb, parameters))
    power = results.get_matter_power_interpolator(nonlinear=nonlinear, hubble_units=False, k_hunit=False)
    return power, results


def _camb_parameters(camb, cosmology, n_s, amplitude, z_max):
    h = cosmology.H0.to_value("km / (s Mpc)") / 100
    masses = np.atleast_1d(cosmology.m_nu.to_value("eV")) if cosmology.has_massive_nu else np.zeros(1)
    parameters = camb.CAMBparams()
    parameters.set_cosmology(
        H0=100 * h,
        ombh2=cosmology.Ob0 * h**2,
        omch2=(cosmology.Om0 - cosmology.Ob0) * h**2,
        mnu=masses.sum(),
        num_massive_neutrinos=int((masses > 0).sum()),
        nnu=float(cosmology.Neff) if cosmology.Tcmb0.value > 0 else 3.046,
        TCMB=cosmology.Tcmb0.value or 2.7255,
        neutrino_hierarchy="degenerate",
    )
    w0, wa = getattr(cosmology, "w0", -1.0), getattr(cosmology, "wa", 0.0)
    if (w0, wa) != (-1.0, 0.0):
        parameters.set_dark_energy(w=w0, wa=wa, dark_energy_model="ppf")
    parameters.InitPower.set_params(As=amplitude, ns=n_s)
    redshifts = np.linspace(z_max, 0, min(150, int(40 * z_max) + 2))
    parameters.set_matter_power(redshifts=redshifts, kmax=KMAX)
    parameters.NonLinear = camb.model.NonLinear_both
    parameters.NonLinearModel.set_params(halofit_version="mead2020")
    return parameters


def _linear(camb, parameters):
    parameters.NonLinear = camb.model.NonLinear_none
    return parameters


def _extended(power, z, k):
    """Return P(z, k), continued as a power law beyond the largest k of the table."""
    k_top = KMAX * np.array([0.8, 0.9])
    p = power.P(z, np.minimum(k, k_top[1]))
    slope = np.diff(np.log(power.P(z, k_top))) / np.diff(np.log(k_top))
    return p * np.exp(slope * np.log(np.maximum(k / k_top[1], 1)))
