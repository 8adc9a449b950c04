"""Tomographic bins of a survey in one reading."""

import astropy.units as u
import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import ShearCatalog, SkyFields, datasets
from astro_massmap.maps.n_z import mean_redshift
from astro_massmap.survey.bins import fields_of_bins

GRID = {"nside": 64, "pixel_scale": 1.6 * u.arcmin}


@pytest.fixture
def catalog():
    demo = datasets.demo()[::4]
    catalog = ShearCatalog(demo.coords, demo.g1, demo.g2, axes=demo.axes, shape_noise=0.3)
    catalog.redshift = np.random.default_rng(1).uniform(0.1, 1.5, len(catalog))
    catalog.tomo = np.searchsorted([0.2, 0.7, 1.2], catalog.redshift) - 1  # -1 for none, 0, 1, 2
    return catalog


def equal(a, b):
    assert a.cells.tolist() == b.cells.tolist() and a.n_galaxies == b.n_galaxies
    for cell in a:
        for name in ("data", "noise_std", "mask"):
            np.testing.assert_allclose(getattr(a[cell], name), getattr(b[cell], name), rtol=1e-10, atol=1e-14)


def test_bins_are_the_surveys_of_the_galaxies_of_each_bin(catalog):
    pieces = [catalog[:5000], catalog[5000:5100], catalog[5100:]]
    pieces[1] = pieces[1][pieces[1].tomo == 2]  # a piece without most bins
    everything = np.concatenate([piece.redshift for piece in pieces])
    kept = catalog[np.isin(catalog.redshift, everything)]
    with pytest.warns(AstropyUserWarning, match=f"bins: {(kept.tomo < 0).sum()} of {len(kept)} galaxies are in no bin"):
        bins = fields_of_bins(iter(pieces), total=True, **GRID)
    with pytest.warns(AstropyUserWarning, match="in no bin"):
        parts = kept.bins(total=True)
    assert list(bins) == list(parts) == [0, 1, 2, "all"]
    for key, part in parts.items():
        alone = SkyFields(part, **GRID)
        equal(bins[key], alone)
        assert mean_redshift(bins[key].n_z) == pytest.approx(mean_redshift(alone.n_z), abs=1e-3)  # rebinned
        assert bins[key].meta["bin"] == bins[key][bins[key].cells[0]].meta["bin"] == key


def test_grids_are_common_to_the_bins(catalog):
    bins = fields_of_bins(catalog, edges=[0.1, 0.2, 1.5])
    assert bins[1].pixel_scale == bins[2].pixel_scale and bins[1].nside == bins[2].nside
    cell = np.intersect1d(bins[1].cells, bins[2].cells)[0]
    assert bins[1][cell].wcs.wcs == bins[2][cell].wcs.wcs and bins[1][cell].shape == bins[2][cell].shape


def test_n_z_of_bins_and_of_their_sum(catalog):
    z = np.array([0.3, 0.9])
    catalog.redshift = None
    n_z = {0: (z, [1.0, 0.0]), 1: (z, [1.0, 1.0]), 2: (z, [0.0, 1.0])}
    with pytest.warns(AstropyUserWarning, match="in no bin"):
        bins = fields_of_bins(catalog, n_z=n_z, total=True, **GRID)
    with pytest.warns(AstropyUserWarning, match="in no bin"):
        parts = catalog.bins(n_z=n_z, total=True)
    for key, part in parts.items():
        np.testing.assert_allclose(bins[key].n_z, part.n_z)
    with pytest.warns(AstropyUserWarning) as caught:
        assert fields_of_bins(catalog, **GRID)[1].n_z is None
    assert "n_z: there is none for the bins" in str([warning.message for warning in caught])


def test_errors_name_the_argument(catalog):
    with pytest.raises(ValueError, match=r"edges: no galaxy between the redshifts 1\.6 and 1\.8"):
        fields_of_bins(catalog, edges=[0.1, 1.6, 1.8], **GRID)
    catalog.tomo = np.full(len(catalog), -1)
    with pytest.raises(ValueError, match="tomo: needs bin numbers of 0 or larger"):
        fields_of_bins(catalog, **GRID)
    with pytest.raises(TypeError, match="catalog: needs ShearCatalogs as pieces"):
        fields_of_bins([3])
