"""Real clusters: maps with all defaults have the peaks at the known positions."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_massmap import ShearCatalog

CENTERS = {  # brightest galaxies of the Bullet cluster (Clowe et al. 2006), centres of the Frontier Fields
    "bullet_shear.fits": ["6h58m35.3s -55d56m56.3s", "6h58m16.0s -55d56m35.1s"],
    "abell370.fits": ["2h39m52.9s -1d34m36.5s"],
    "macs0416.fits": ["4h16m08.9s -24d04m28.7s"],
}


# smallest convergence of the highest peak; that of the Bullet cluster is 0.08 with the Wiener filter
KAPPA = {"bullet_shear.fits": 0.2, "abell370.fits": 0.15, "macs0416.fits": 0.08}


def catalog(file):
    table = Table.read(file)
    table["ra"].unit = table["dec"].unit = u.deg
    if "good" in table.colnames:
        table = table[np.asarray(table["good"], dtype=bool)]
        table["e1"], table["e2"] = table["q1"] / 2, table["q2"] / 2
    return ShearCatalog.from_table(table, axes="west-north", columns={"g1": "e1", "g2": "e2"})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
@pytest.mark.parametrize("name", CENTERS)
def test_a_cluster_is_mapped_with_default_settings(name, massmap_data):
    kappa = catalog(massmap_data / "clusters" / name).reconstruct(n_samples=6, n_check=0, seed=1, progress=False)
    assert kappa.diagnostics["failed"] == kappa.diagnostics["restarts"] == 0 and len(kappa.samples) == 6
    assert kappa.diagnostics["fit"]["power_p_value"] < 1e-4  # a field selected for a cluster
    peaks = kappa.peaks(0.05, radius=1 * u.arcmin)
    for peak, center in zip(peaks, SkyCoord(CENTERS[name]), strict=False):  # the highest ones, in this order
        assert peak["center"].separation(center) < 0.6 * u.arcmin
    assert peaks["kappa"][0] > KAPPA[name]
