"""Objects of other packages, where these are installed, and Parquet files that are read in pieces."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from astropy_healpix import HEALPix, healpix_to_lonlat
from scipy.ndimage import map_coordinates
from scipy.special import jv
from scipy.stats import f as f_distribution

from astro_massmap import ConvergenceMap, PowerSpectrum, ShearCatalog, SkyFields, datasets
from astro_massmap.analysis.sacc_data import bands_to_sacc
from astro_massmap.analysis.spectrum_posterior import SpectrumPosterior
from astro_massmap.cli import main

from helpers.skies import SphericalSky, halo_shear, tan_wcs

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
        found.process(lens, catalog.to_treecorr())
        expected = np.abs(halo_shear(center.directional_offset_by(0 * u.deg, found.meanr * u.arcmin), center))
        np.testing.assert_allclose(found.xi, expected, rtol=0.15)  # the shear is not linear over a bin
        assert (np.abs(found.xi_im) < 2e-3 * found.xi).all()
    sky = SphericalSky(center, side=240, pixel=1.0, seed=2, beam=3)
    places, shear = sky.observe(*rng.uniform(-110, 110, (2, 40_000)))
    pole = SkyCoord(0, 90, unit="deg", frame="galactic")  # axes of another frame
    turned = shear * np.exp(-2j * places.icrs.position_angle(pole.icrs).rad)
    catalog = ShearCatalog(places.galactic, turned.real, turned.imag, axes="west-north")
    shear_2 = treecorr.GGCorrelation(min_sep=1, max_sep=100, nbins=30, bin_slop=0.5, sep_units="arcmin")
    shear_2.process(catalog.to_treecorr())
    e_mode, _, b_mode, _, _ = shear_2.calculateMapSq(R=np.array([8.0, 12.0]))
    assert (e_mode > 0).all() and (np.abs(b_mode) < 0.15 * e_mode).all()


def test_correlation_functions_of_treecorr_are_the_transform_of_the_spectrum():
    """
    xi_+ and xi_- of 24 skies with a known spectrum: false alarm in 0.1 % of seeds (T^2 of Hotelling).

    The expectation is the Hankel transform of the spectrum, as a sum over the modes of the periodic sky. With shear
    that is wrong by 10 %, or mirrored, p is below 1e-6; with 200 skies, it is 0.6.
    """
    treecorr = pytest.importorskip("treecorr")
    center, side, edges, found = SkyCoord(150, 40, unit="deg"), 360, np.geomspace(8, 60, 5), []
    pole = SkyCoord(0, 90, unit="deg", frame="galactic")  # axes of another frame than that of TreeCorr
    for seed in range(24):
        sky, rng = SphericalSky(center, side=side, pixel=3, seed=seed, beam=4), np.random.default_rng(seed)
        coords, shear = sky.observe(*rng.uniform(-170, 170, (2, 4000)))
        e = 1.1 * shear * np.exp(-2j * coords.position_angle(pole.icrs).rad)
        catalog = ShearCatalog(coords.galactic, e.real, e.imag, axes="west-north", m_bias=0.1)
        xi = treecorr.GGCorrelation(min_sep=8, max_sep=60, nbins=4, sep_units="arcmin", bin_slop=0.3)
        xi.process(catalog.to_treecorr())
        found.append(np.concatenate([xi.xip, xi.xim]))
    k = 2 * np.pi * np.fft.fftfreq(side // 3, np.radians(3 / 60))
    ell = np.hypot(k, k[:, None]).ravel()[1:]
    power = PowerSpectrum.default()(ell) * np.exp(-((ell * np.radians(4 / 60)) ** 2)) / np.radians(side / 60) ** 2
    theta = np.linspace(edges[:-1], edges[1:], 9)  # pairs are as frequent as theta
    transform = [[power @ jv(order, ell * np.radians(t / 60)) for t in theta.ravel()] for order in (0, 4)]
    expected = (np.reshape(transform, (2, *theta.shape)) * theta / theta.sum(axis=0)).sum(axis=1).ravel()
    n, p = np.shape(found)
    apart, covariance = np.mean(found, axis=0) - expected, np.cov(np.transpose(found)) / n
    t_square = apart @ np.linalg.solve(covariance, apart)
    assert f_distribution.sf(t_square * (n - p) / (p * (n - 1)), p, n - p) > 1e-3


def test_healsparse_and_moc_have_the_pixels_of_the_table(maps):
    pytest.importorskip("healsparse")
    table = maps.healpix(threshold=0.01)
    found = maps.to_healsparse("probability", threshold=0.01)
    assert found.valid_pixels.tolist() == table["pixel"].tolist() and found.nside_sparse == table.meta["nside"]
    lon, lat = healpix_to_lonlat(np.asarray(table["pixel"]), table.meta["nside"], order="nested")
    np.testing.assert_allclose(found.get_values_pos(lon.deg, lat.deg), table["probability"], rtol=1e-6)
    with pytest.raises(KeyError):
        maps.to_healsparse("median")
    pytest.importorskip("mocpy")
    moc, area = maps.to_moc(), len(table) / (12 * table.meta["nside"] ** 2)
    assert moc.sky_fraction == pytest.approx(area, rel=1e-9)
    assert moc.contains_lonlat(lon, lat).all() and not moc.contains_lonlat([0] * u.deg, [80] * u.deg).any()


def test_a_map_has_the_healpix_pixels_whose_centres_are_in_its_pixels_with_data(tmp_path):
    """Against all pixels of a region, with holes, a pole, the edge of a base cell and right ascension 0."""
    rng = np.random.default_rng(3)
    for lon, lat, rotation, nside in ((0.02, 41.8, 31, None), (10, 89.9, 5, None), (45, 2, 60, 1024), (9, 9, 1, 1)):
        shape = (21, 33)
        wcs = tan_wcs(shape, scale=2.0, center=(lon, lat), rotation=rotation)
        kappa = ConvergenceMap(rng.normal(size=shape), wcs=wcs, mask=rng.uniform(size=shape) < 0.3)
        table = kappa.healpix(nside=nside)
        fine = table.meta["nside"]
        assert fine == (nside or 2048)
        if fine > 1:
            pixels = HEALPix(fine, "nested").cone_search_lonlat(lon * u.deg, lat * u.deg, 1 * u.deg)
            x, y = wcs.world_to_pixel(SkyCoord(*healpix_to_lonlat(pixels, fine, order="nested")))
            inside = (x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5)
            inside[inside] = ~kappa.mask[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)]
            assert table["pixel"].tolist() == sorted(pixels[inside].tolist())
            expected = map_coordinates(kappa.data, [y[inside], x[inside]], order=3, mode="nearest")
            np.testing.assert_allclose(table["mean"], expected[np.argsort(pixels[inside])], rtol=1e-9)
        else:
            assert len(table) == 0
    with pytest.raises(ValueError, match="nside: needs a power of two of at least 1, got 100"):
        kappa.healpix(nside=100)
    smooth = datasets.demo_truth()
    smooth.write_healpix(tmp_path / "kappa.fits", nside=65536)
    again = ConvergenceMap.from_healpix(tmp_path / "kappa.fits", wcs=smooth.wcs, field="MEAN")
    assert np.std((again.data - smooth.data)[~again.mask]) < 0.01 * smooth.data.std() and again.mask.mean() < 0.1
    pytest.importorskip("healsparse")
    found = smooth.to_healsparse()
    assert found.valid_pixels.tolist() == smooth.healpix()["pixel"].tolist() and found.nside_sparse == 16384


def test_xarray_has_the_samples_as_draws(maps):
    pytest.importorskip("xarray")
    kappa = maps[maps.cells[0]]
    found = kappa.to_xarray()
    assert found.samples.dims == ("chain", "draw", "y", "x") and found.samples.shape == (1, *kappa.samples.shape)
    np.testing.assert_allclose(found.samples.mean(("chain", "draw")), kappa.samples.mean(axis=0), atol=1e-6)
    assert (np.isnan(found.kappa) == kappa.mask).all() and "std" in found
    wcs = WCS(dict(found.attrs))
    assert wcs.pixel_to_world(3, 4).separation(kappa.wcs.pixel_to_world(3, 4)) < 1e-3 * u.arcsec


def test_arviz_reads_the_samples(maps):
    arviz = pytest.importorskip("arviz")
    pytest.importorskip("xarray")
    found = maps[maps.cells[0]].to_xarray()[["samples"]].isel(y=slice(40, 43), x=slice(40, 43))
    assert len(arviz.summary(found, kind="stats")) == 9


# ---- SACC


def test_n_z_of_sacc_files_are_those_of_the_bins(tmp_path, monkeypatch):
    """The tracers of the type NZ are the bins, in both formats, and with the sources alone if there are lenses."""
    sacc = pytest.importorskip("sacc")
    z, made = np.linspace(0.1, 2, 20), sacc.Sacc()
    n_z = {k: np.exp(-((z - 0.4 * k) ** 2) / 0.02) for k in (1, 2)}
    for k, n in n_z.items():
        made.add_tracer("NZ", f"lens_{k}", z, n[::-1])
        made.add_tracer("NZ", f"source_{k}", z, n)
    made.add_tracer("Misc", "cmb_1")
    made.add_data_point("galaxy_shear_cl_ee", ("source_1", "source_2"), 1e-9, ell=100)
    made.save_fits(str(tmp_path / "n_z.sacc"))
    made.save_hdf5(str(tmp_path / "n_z.hdf5"))
    catalog = datasets.demo()[::40]
    tomo = 1 + np.arange(len(catalog)) % 2
    for source in (made, tmp_path / "n_z.sacc", tmp_path / "n_z.hdf5"):
        for key, part in catalog.bins(tomo, n_z=source).items():
            np.testing.assert_array_equal(part.n_z, (z, n_z[key]))
        with pytest.raises(ValueError, match=r"n_z: needs one tracer with .*source_1.*source_2 of"):
            catalog.n_z = source
    table = catalog.to_table()
    table["tomo"] = tomo
    table.write(tmp_path / "galaxies.fits")
    line = "survey --axes west-north --bins tomo --fields 64 --method kaiser_squires --quiet -o maps --pixel-scale"
    files = [str(tmp_path / "galaxies.fits"), "--n-z", str(tmp_path / "n_z.sacc")]
    monkeypatch.chdir(tmp_path)
    assert main([*line.split(), "1.6 arcmin", *files]) == 0
    (file, *_) = sorted((tmp_path / "maps" / "bin_2").glob("field_*.fits"))
    np.testing.assert_allclose(ConvergenceMap.read(file).n_z, (z, n_z[2]))


def test_band_powers_are_the_data_of_sacc_files(maps, tmp_path):
    """Mean, covariance, windows and n(z) come back from a file, and the windows give the mean of a spectrum."""
    sacc = pytest.importorskip("sacc")
    z = np.linspace(0.2, 2, 9)
    kappa = ConvergenceMap(**{name: getattr(maps[maps.cells[0]], name) for name in ("data", "wcs", "samples")})
    kappa.n_z = z, np.hanning(9)
    edges = [300, 700, 1500]
    kappa.to_sacc(edges).save_fits(str(tmp_path / "bands.sacc"))
    found = sacc.Sacc.load_fits(str(tmp_path / "bands.sacc"))
    table, name = kappa.power_spectrum(edges, level=0.5), ("galaxy_shear_cl_ee", "source_0", "source_0")
    ell, mean, covariance = found.get_ell_cl(*name, return_cov=True)
    np.testing.assert_allclose(mean, table["cl_samples"], rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), table["std"], rtol=1e-9)
    window = found.get_bandpower_windows(found.indices(*name[:1], name[1:]))
    assert window.nell == 1200 and window.nv == 2
    np.testing.assert_allclose(window.values @ window.weight, ell)
    np.testing.assert_allclose(ell[1], np.average(np.arange(700, 1500), weights=2 * np.arange(700, 1500) + 1))
    np.testing.assert_allclose((found.tracers["source_0"].z, found.tracers["source_0"].nz), kappa.n_z)
    with pytest.warns(AstropyUserWarning, match="samples: the covariance of 4 bands is singular, .* only 4 samples"):
        kappa.to_sacc([300, 500, 700, 900, 1100])
    with pytest.raises(ValueError, match="samples: the map has none"):
        datasets.demo_truth().to_sacc()


def test_inferred_band_powers_are_the_data_of_sacc():
    pytest.importorskip("sacc")
    theory, rng = PowerSpectrum.default(), np.random.default_rng(1)
    amplitudes = rng.lognormal(0, 0.1, (60, 3)) * [1, 2, 1]
    edges = np.array([100, 300, 1000, 3000])
    found = SpectrumPosterior(edges[:-1], edges[1:], [200, 600, 2000], theory([200, 600, 2000]), amplitudes, theory)
    data = found.to_sacc(tracer="bin1")
    np.testing.assert_allclose(data.mean, found.samples.mean(axis=0))
    np.testing.assert_allclose(data.covariance.covmat, np.cov(found.samples.T))
    assert data.tracers["bin1"].tracer_type == "Misc"
    with pytest.raises(ValueError, match="samples: needs at least two for a covariance, got 1"):
        bands_to_sacc([100], [200], [[1e-9]])


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
        at_once = ShearCatalog.read(file, axes="west-north", select=options["select"])
        assert at_once.g1.tolist() == np.asarray(table["g1"])[chosen].tolist()
    datasets.demo()[::9].to_table().write(tmp_path / "astropy.parquet")  # with units
    assert len(ShearCatalog.read(tmp_path / "astropy.parquet", axes="west-north")) == len(datasets.demo()[::9])
    line = "survey --axes west-north --rows 9000 --fields 64 --method kaiser_squires --quiet -o"
    assert main([*line.split(), str(tmp_path / "maps"), str(tmp_path / "hats"), "--pixel-scale", "1.6 arcmin"]) == 0


def test_damaged_parquet_files_are_an_error(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "empty").mkdir()
    for name, error in (("no.parquet", "cannot read a table"), ("none.parquet", "none"), ("empty", "no Parquet")):
        with pytest.raises(OSError, match=error):
            next(ShearCatalog.pieces(tmp_path / name, axes="west-north"))
        with pytest.raises(OSError, match="none" if name == "none.parquet" else error):
            ShearCatalog.read(tmp_path / name, axes="west-north")


def test_packages_that_are_missing_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "treecorr", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match="treecorr is not installed: pip install treecorr"):
        datasets.demo()[:9].to_treecorr()
    with pytest.raises(ImportError, match="pyarrow is not installed"):
        next(ShearCatalog.pieces(tmp_path / "galaxies.parquet", axes="west-north"))
