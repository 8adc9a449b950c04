"""Write the matter power spectrum of the default cosmology: ``python tools/make_matter_power.py`` (needs camb)."""

from pathlib import Path

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table

from astro_massmap.theory.camb_power import matter_power
from astro_massmap.theory.matter_power import KMAX, KMIN, Z_MAX

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)
TARGET = Path(__file__).parents[1] / "astro_massmap" / "data" / "default_matter_power.ecsv"

camb, _ = matter_power(COSMOLOGY, As=2.1e-9, n_s=0.97, z_max=Z_MAX)
k = np.geomspace(KMIN, KMAX, 300).round(10)
z = np.expm1(np.linspace(0, np.log1p(Z_MAX), 24)).round(4)
power = np.array([[float(f"{p:.6g}") for p in camb.P(z_i, k)] for z_i in z])
table = Table({"k": k, **{f"z={z_i:g}": p for z_i, p in zip(z, power, strict=True)}})
table["k"].unit = "1 / Mpc"
for name in table.colnames[1:]:
    table[name].unit = "Mpc3"
table.meta = {
    "cosmology": "flat LambdaCDM, Om0 0.3, Ob0 0.05, h 0.7, n_s 0.97, As 2.1e-9, massless neutrinos",
    "model": "HMcode 2020 matter power spectrum (camb) at redshifts z",
}
table.write(TARGET, overwrite=True)
