"""Write the spectrum that the package ships: ``python tools/make_spectrum.py`` (needs camb)."""

from pathlib import Path

from astropy.cosmology import FlatLambdaCDM

from astro_massmap import PowerSpectrum

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)
TARGET = Path(__file__).parents[1] / "astro_massmap" / "data" / "default_spectrum.ecsv"

spectrum = PowerSpectrum.from_cosmology(COSMOLOGY, redshift=1, As=2.1e-9, n_s=0.97)
table = spectrum.to_table()
table.meta = {
    "name": "default: z_s = 1",
    "cosmology": "flat LambdaCDM, Om0 0.3, Ob0 0.05, h 0.7, n_s 0.97, As 2.1e-9, massless neutrinos",
    "model": "Limber integral over the HMcode 2020 matter power spectrum (camb)",
}
table["ell"].format = table["cl"].format = ".8e"
table.write(TARGET, overwrite=True)
