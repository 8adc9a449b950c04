"""Objects of other packages, where these are installed, and Parquet files that are read in pieces."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable
from astropy.wcs import WCS
from astropy_healpix import healpix_to_lonlat

from astro_massmap import ShearCatalog, SkyFields, datasets
from astro_massmap.cli import main
from astro_massmap.survey.bridges import to_healsparse, to_moc, to_treecorr, to_xarray

from helpers.skies import SphericalSky, halo_shear

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
    return fields.reconstruct(tmp_path_factory.mktemp("maps"), "wiener", n_samples=4, **QUIET)


def test_treecorr_has_the_shear_in_its_own_axes():
    """Tangential shear of a halo is positive without a cross component, and the aperture mass has no B mode."""
    treecorr = pytest.importorskip("treecorr")
    rng, center = np.random.default_rng(1), SkyCoord(150, 40, unit="deg")
    coords = center.directional_offset_by(rng.uniform(0, 360, 4000) * u.deg, rng.uniform(2, 20, 4000) * u.arcmin)
    shear = halo_shear(coords, center)
    for axes, e in (("west-north", shear), ("east-north", np.conj(shear)), ("north-east", -shear)):
        catalog = ShearCatalog(coords, 1.1 * e.real, 1.1 * e.imag, axes=axes, m_bias=0.1)
        found = treecorr.NGCorrelation(min_sep=3, max_sep=18, nbins=4, sep_units="arcmin")
        lens = treecorr.Catalog(ra=[150], dec=[40], ra_units="deg", dec_units="deg")
        found.process(lens, to_treecorr(catalog))
        expected = np.abs(halo_shear(center.directional_offset_by(0 * u.deg, found.meanr * u.arcmin), center))
        np.testing.assert_allclose(found.xi, expected, rtol=0.15)  # the shear is not linear over a bin
        assert (np.abs(found.xi_im) < 2e-3 * found.xi).all()
    sky = SphericalSky(center, side=240, pixel=1.0, seed=2, beam=3)
    places, shear = sky.observe(*rng.uniform(-110, 110, (2, 40_000)))
    pole = SkyCoord(0, 90, unit="deg", frame="galactic")  # axes of another frame
    turned = shear * np.exp(-2j * places.icrs.position_angle(pole.icrs).rad)
    catalog = ShearCatalog(places.galactic, turned.real, turned.imag, axes="west-north")
    shear_2 = treecorr.GGCorrelation(min_sep=1, max_sep=100, nbins=30, bin_slop=0.5, sep_units="arcmin")
    shear_2.process(to_treecorr(catalog))
    e_mode, _, b_mode, _, _ = shear_2.calculateMapSq(R=np.array([8.0, 12.0]))
    assert (e_mode > 0).all() and (np.abs(b_mode) < 0.15 * e_mode).all()


def test_healsparse_and_moc_have_the_pixels_of_the_table(maps):
    pytest.importorskip("healsparse")
    table = maps.healpix(threshold=0.01)
    found = to_healsparse(maps, "probability", threshold=0.01)
    assert found.valid_pixels.tolist() == table["pixel"].tolist() and found.nside_sparse == table.meta["nside"]
    lon, lat = healpix_to_lonlat(np.asarray(table["pixel"]), table.meta["nside"], order="nested")
    np.testing.assert_allclose(found.get_values_pos(lon.deg, lat.deg), table["probability"], rtol=1e-6)
    with pytest.raises(KeyError):
        to_healsparse(maps, "median")
    pytest.importorskip("mocpy")
    moc, area = to_moc(maps), len(table) / (12 * table.meta["nside"] ** 2)
    assert moc.sky_fraction == pytest.approx(area, rel=1e-9)
    assert moc.contains_lonlat(lon, lat).all() and not moc.contains_lonlat([0] * u.deg, [80] * u.deg).any()


def test_xarray_has_the_samples_as_draws(maps):
    pytest.importorskip("xarray")
    kappa = maps[maps.cells[0]]
    found = to_xarray(kappa)
    assert found.samples.dims == ("chain", "draw", "y", "x") and found.samples.shape == (1, *kappa.samples.shape)
    np.testing.assert_allclose(found.samples.mean(("chain", "draw")), kappa.samples.mean(axis=0), atol=1e-6)
    assert (np.isnan(found.kappa) == kappa.mask).all() and "std" in found
    wcs = WCS(dict(found.attrs))
    assert wcs.pixel_to_world(3, 4).separation(kappa.wcs.pixel_to_world(3, 4)) < 1e-3 * u.arcsec


def test_arviz_reads_the_samples(maps):
    arviz = pytest.importorskip("arviz")
    pytest.importorskip("xarray")
    found = to_xarray(maps[maps.cells[0]])[["samples"]].isel(y=slice(40, 43), x=slice(40, 43))
    assert len(arviz.summary(found, kind="stats")) == 9


# ---- Parquet


@pytest.fixture
def table():
    catalog = datasets.demo()[::3]
    table = catalog.to_table()
    table = QTable({name: np.asarray(table[name]) for name in table.colnames})  # without units
    table["patch"] = np.where(np.arange(len(table)) % 2, "north", "south")
    table["depth"] = MaskedColumn(np.arange(len(table)), mask=np.arange(len(table)) % 7 == 0)
    return table


@pytest.mark.filterwarnings("ignore:(select. .* does not select|ra and dec have no unit)")
def test_parquet_files_and_folders_are_read_in_pieces(table, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {
        name: arrow.array(np.ma.getdata(table[name]), mask=np.array(np.ma.getmaskarray(np.ma.asarray(table[name]))))
        for name in table.colnames
    }
    columns["patch"] = columns["patch"].dictionary_encode()
    columns["lists"] = arrow.array([[1, 2]] * len(table))
    whole = arrow.table(columns)
    parquet.write_table(whole, tmp_path / "galaxies.parquet", row_group_size=3000)
    folder = tmp_path / "hats" / "Norder=0"
    folder.mkdir(parents=True)
    parquet.write_table(whole[:5000], folder / "Npix=1.parquet")
    parquet.write_table(whole[5000:], folder / "Npix=2.parquet")
    (tmp_path / "hats" / "partition_info.csv").write_text("Norder,Npix\n0,1\n")
    options = {"axes": "west-north", "rows": 4000, "select": "patch == 'north' & depth > 100"}
    chosen = (np.arange(len(table)) % 2 == 1) & (np.arange(len(table)) % 7 != 0) & (np.arange(len(table)) > 100)
    for file in (tmp_path / "galaxies.parquet", tmp_path / "hats"):
        pieces = list(ShearCatalog.pieces(file, **options))
        assert len(pieces) == -(-len(table) // 4000)
        assert np.concatenate([piece.g1 for piece in pieces]).tolist() == np.asarray(table["g1"])[chosen].tolist()
        assert (
            np.concatenate([piece.coords.ra.deg for piece in pieces]).tolist()
            == np.asarray(table["ra"])[chosen].tolist()
        )
    line = "survey --axes west-north --rows 9000 --fields 64 --method kaiser_squires --quiet -o"
    assert main([*line.split(), str(tmp_path / "maps"), str(tmp_path / "hats"), "--pixel-scale", "1.6 arcmin"]) == 0


def test_damaged_parquet_files_are_an_error(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "empty").mkdir()
    for name, error in (("no.parquet", "cannot read a table"), ("none.parquet", "none"), ("empty", "no Parquet")):
        with pytest.raises(OSError, match=error):
            next(ShearCatalog.pieces(tmp_path / name, axes="west-north"))


def test_packages_that_are_missing_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "treecorr", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match="treecorr is not installed: pip install treecorr"):
        to_treecorr(datasets.demo()[:9])
    with pytest.raises(ImportError, match="pyarrow is not installed"):
        next(ShearCatalog.pieces(tmp_path / "galaxies.parquet", axes="west-north"))
