"""Write the linear power that simulations start from: ``python tools/make_linear_power.py`` (needs camb)."""

from pathlib import Path

from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table

from astro_massmap.simulation import Cosmology

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)
TARGET = Path(__file__).parents[1] / "astro_massmap" / "data" / "default_linear_power.ecsv"

made = Cosmology.from_astropy(COSMOLOGY, As=2.1e-9, n_s=0.97)
table = Table({"k": made.k, "power": made.power})
table["k"].unit, table["power"].unit = "littleh / Mpc", "Mpc3 / littleh3"
table.meta = {"cosmology": "flat LambdaCDM, Om0 0.3, Ob0 0.05, h 0.7, n_s 0.97, As 2.1e-9, massless neutrinos"}
table["k"].format = table["power"].format = ".8e"
table.write(TARGET, overwrite=True)
