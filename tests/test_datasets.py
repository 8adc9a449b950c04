import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from astro_massmap import datasets


def test_the_map_of_the_demo_matches_its_truth():
    catalog, truth = datasets.demo(), datasets.demo_truth()
    assert truth.shape == (128, 128)
    assert u.isclose(truth.pixel_scale, 0.4 * u.arcmin)
    kappa = catalog.reconstruct("wiener", wcs=truth.wcs, n_samples=16, progress=False)
    assert 0.1 < kappa.mask.mean() < 0.3
    seen = ~kappa.mask
    correlation = np.corrcoef(kappa.data[seen], truth.data[seen])[0, 1]
    assert correlation > 0.5
    # the errors are approximately right, although the truth is not a Gaussian field like the prior
    z = (kappa.data - truth.data + truth.data.mean() - kappa.data.mean())[seen] / kappa.uncertainty.array[seen]
    assert 0.6 < z.std() < 1.3


def test_each_demo_is_a_copy():
    changed, expected = datasets.demo(), datasets.demo().coords.ra.deg[0]
    for column in (changed.g1, changed.g2, changed.weight, changed.coords.data.lon):
        column[0] = column[1]
    changed.meta["n"] = changed.columns["n"] = "changed"
    again = datasets.demo()
    assert again.coords.ra.deg[0] == expected != again.coords.ra.deg[1]
    assert again.g1[0] != again.g1[1] and again.g2[0] != again.g2[1]
    assert "n" not in again.meta and "n" not in again.columns


def test_the_clusters_of_the_demo_are_peaks_of_its_truth():
    truth = datasets.demo_truth()
    clusters = datasets.demo_clusters()
    x, y = truth.wcs.world_to_pixel(SkyCoord(clusters["ra"], clusters["dec"]))
    heights = truth.data[np.rint(y).astype(int), np.rint(x).astype(int)]
    assert len(clusters) == 5
    assert heights.min() > np.quantile(truth.data, 0.99)


# ---- COSMOS: the published files, made from a table of the same numbers


@pytest.fixture
def mirror(massmap_data, tmp_path, monkeypatch):
    """Provide a folder of files identical to the published ones, and their table, instead of the download."""
    table = Table.read(massmap_data / "cosmos" / "cosmos_shear.fits.gz")
    (tmp_path / "COSMOS").mkdir()
    for name, column in {"ra": "ra", "dec": "dec", "e1": "e1", "e2": "e2", "nhweight_int": "weight"}.items():
        values = np.asarray(table[column])
        # the shapes were published with the digits of single precision
        exact = values if values.dtype == float else np.array([float(str(v)) for v in values])
        fits.PrimaryHDU(exact.astype(float)).writeto(tmp_path / "COSMOS" / f"{name}.fits")
    monkeypatch.setattr(datasets, "COSMOS_URL", tmp_path.as_uri() + "/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from astropy.utils.data import clear_download_cache

    yield table
    for name in datasets.COSMOS_SHA256:
        clear_download_cache(datasets.COSMOS_URL + name, pkgname="astro_massmap")


@pytest.mark.slow
def test_cosmos_by_checksum(mirror):
    catalog = datasets.cosmos()
    assert len(catalog) == 417117
    assert np.allclose(catalog.g1, mirror["e1"], atol=1e-7)
    assert len(datasets.cosmos("bright")) == mirror["bright"].sum()
    assert len(datasets.cosmos("faint")) + 165159 == 417117


def test_a_file_with_a_wrong_checksum_is_rejected(tmp_path, monkeypatch):
    (tmp_path / "COSMOS").mkdir()
    fits.PrimaryHDU(np.zeros(4)).writeto(tmp_path / "COSMOS" / "ra.fits")
    monkeypatch.setattr(datasets, "COSMOS_URL", tmp_path.as_uri() + "/")
    with pytest.raises(OSError, match="checksum"):
        datasets.cosmos()


def test_unknown_cosmos_sample():
    with pytest.raises(ValueError, match="'bright'"):
        datasets.cosmos("best")


def test_the_table_of_clusters(tmp_path, monkeypatch):
    import hashlib

    line = "145 149.39739 2.5748 2.5 20.42 0.46 0.37 26.47 0.54 144.9 3.3 3.98 0.04 0\n"
    (tmp_path / "xray.txt").write_text(line + line.replace("145", "146", 1))
    monkeypatch.setattr(datasets, "COSMOS_URL", tmp_path.as_uri() + "/")
    monkeypatch.setitem(
        datasets.COSMOS_SHA256, "xray.txt", hashlib.sha256((tmp_path / "xray.txt").read_bytes()).hexdigest()
    )
    clusters = datasets.cosmos_clusters()
    assert clusters["id"].tolist() == [145, 146]
    assert clusters["r500"][0] == 2.5 * u.arcmin
    assert clusters["redshift"][0] == 0.37
    assert u.isclose(clusters["m500"][0], 26.47e13 * u.Msun)


# ---- the Bullet Cluster: the published columns, written in the format of the file


@pytest.fixture
def bullet_file(massmap_data, tmp_path, monkeypatch):
    table = Table.read(massmap_data / "clusters" / "bullet_shear.fits")
    hours = np.round(np.asarray(table["ra"]) / 15, 7)
    names = "dec", "e1", "e2", "weight", "inv_sigma_cr", "rg", "z"
    columns = [hours, *(table[name] for name in names), np.full(len(table), 11111)]
    file = tmp_path / "1e0657.release1.shear.dat"
    np.savetxt(file, np.stack(columns, axis=1), fmt="%15.8g", header="ra dec g_final[0] g_final[1] w_final ...")
    monkeypatch.setattr(datasets, "BULLET_URL", file.as_uri())
    yield file
    from astropy.utils.data import clear_download_cache

    clear_download_cache(file.as_uri(), pkgname="astro_massmap")


def test_the_bullet_cluster_by_checksum(bullet_file, massmap_data):
    catalog = datasets.bullet()
    table = Table.read(massmap_data / "clusters" / "bullet_shear.fits")
    table = table[np.hypot(table["e1"], table["e2"]) < 2]
    assert len(catalog) == len(table) == 2837
    assert np.allclose(catalog.coords.ra.deg, table["ra"], rtol=0, atol=1e-10)
    assert np.array_equal(catalog.g1, table["e1"]) and np.array_equal(catalog.redshift, table["z"])
    assert np.array_equal(catalog.weight, table["weight"])
    # tangential about the brightest galaxy; its sign shows that axes and components are right
    center = SkyCoord("6h58m35.3s -55d56m56.3s")
    tangential = catalog.west_north * np.exp(-2j * catalog.coords.position_angle(center).rad)
    assert 0.05 < np.average(tangential.real, weights=catalog.weight) < 0.09


@pytest.mark.parametrize("text", ["1 2 3 4 5 6 7 8 9\n", "not numbers\n", "<html>\n"])
def test_another_file_than_that_of_the_bullet_cluster_is_rejected(tmp_path, monkeypatch, text):
    (tmp_path / "b.dat").write_text(text)
    monkeypatch.setattr(datasets, "BULLET_URL", (tmp_path / "b.dat").as_uri())
    with pytest.raises(OSError, match=r"b\.dat: the downloaded file (has numbers with the checksum|cannot be read)"):
        datasets.bullet()


@pytest.mark.remote_data
def test_cosmos_is_downloaded():
    assert len(datasets.cosmos()) == 417117
    assert len(datasets.cosmos_clusters()) == 72
    assert len(datasets.bullet()) == 2837
