"""Power spectrum of matter by camb."""

from numbers import Real

import numpy as np
from astropy.cosmology import LambdaCDM, w0waCDM, wCDM

from .._utils.optional import require
from .matter_power import KMAX, Z_MAX


def matter_power(cosmology, *, sigma8=None, As=None, n_s, z_max, nonlinear=True):
    """Return an interpolator of the matter power spectrum P(z, k) in Mpc units, and the results of camb."""
    camb = require("camb", "theory")
    if not isinstance(cosmology, (LambdaCDM, wCDM, w0waCDM)):
        raise ValueError(
            f"cosmology: needs a flat LambdaCDM, wCDM or w0waCDM of astropy, got {cosmology!r}; other models of dark "
            "energy are not supported"
        )
    for name, value, most in (("sigma8", sigma8, 10), ("As", As, 1e-7), ("n_s", n_s, 10)):
        if value is not None and not (isinstance(value, Real) and 0 < value < most):
            raise ValueError(f"{name}: needs a number between 0 and {most:g}, got {value!r}")
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
    if not 0 < z_max <= Z_MAX:
        raise ValueError(f"z_max: needs a redshift between 0 and {Z_MAX:g}, got {z_max!r}")
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
    parameters.set_matter_power(redshifts=output_redshifts(z_max)[::-1], kmax=KMAX)
    parameters.NonLinear = camb.model.NonLinear_both
    parameters.NonLinearModel.set_params(halofit_version="mead2020")
    return parameters


def output_redshifts(z_max):
    """Return the redshifts at which camb computes the power, from 0 to ``z_max``."""
    return np.linspace(0, z_max, np.clip(int(40 * z_max) + 2, 6, 150))


def _linear(camb, parameters):
    parameters.NonLinear = camb.model.NonLinear_none
    return parameters
