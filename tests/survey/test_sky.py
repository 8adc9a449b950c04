"""Maps of wide surveys on overlapping fields, compared with one field, the exact truth, and HEALPix of astropy."""

import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from astropy_healpix import HEALPix, boundaries_lonlat, healpix_to_lonlat
from regions import PolygonSkyRegion
from scipy.ndimage import map_coordinates

from astro_massmap import AnnealedHMC, ConvergenceMap, KaiserSquires, ShearCatalog, SkyFields, SkyMaps, datasets
from astro_massmap._sky.healpix import cells_of, fine_nside
from astro_massmap.maps.n_z import mean_redshift
from astro_massmap.survey.bins import fields_of_bins
from astro_massmap.survey.cells import centres, default_nside, field_wcs, near_cells, reach, vectors
from astro_massmap.survey.maps import field_file
from astro_massmap.survey.peaks import listed_once, near_cell
from astro_massmap.survey.sums import Sums

from helpers.skies import SphericalSky

QUIET = {"progress": False}
COARSE = {"nside": 64, "pixel_scale": 1.6 * u.arcmin}


@pytest.fixture(scope="module")
def catalog():
    return datasets.demo()[::3]


def galaxies(sky, density, seed, noise=0.0, width=None):
    """Return a catalogue of a `SphericalSky`: ``density`` per square arcminute, ``noise`` of each component."""
    rng = np.random.default_rng(seed)
    width = sky.side if width is None else width
    n = int(density * width**2)
    x, y = rng.uniform(-width / 2, width / 2, (2, n))
    coords, shear = sky.observe(x, y)
    e = shear + noise * (rng.normal(size=n) + 1j * rng.normal(size=n))
    return ShearCatalog(coords, e.real, e.imag, axes="west-north", shape_noise=noise or 0.26)


# ---- cells


def test_grids_contain_their_cells_with_the_margin():
    margin, scale = 0.5 * u.deg, 3 * u.arcmin
    for nside, cell in [(16, 0), (16, 255), (16, 1300), (16, 3071), (64, 4095), (64, 20000)]:
        wcs = field_wcs(cell, nside, scale, margin)
        lon, lat = HEALPix(nside, order="nested").boundaries_lonlat([cell], 40)
        x, y = wcs.world_to_pixel(SkyCoord(lon[0], lat[0]))
        ny, nx = wcs.array_shape
        inside = np.array([x.min(), y.min(), nx - 1 - x.max(), ny - 1 - y.max()])
        assert inside.min() > 8.5 and inside.max() < 11.5  # ten pixels, less half a pixel and the curvature of edges
        corners = wcs.pixel_to_world([-0.5, nx - 0.5, -0.5, nx - 0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5])
        galaxies = vectors(corners.ra.rad, corners.dec.rad)  # none of the grid is left out
        assert (galaxies @ Sums(wcs).centre > Sums(wcs).cosine).all()


def test_a_fine_pixel_belongs_to_the_cell_of_its_number():
    pixels = np.random.default_rng(1).integers(12 * 1024**2, size=1000)
    lon, lat = HEALPix(1024, order="nested").healpix_to_lonlat(pixels)
    assert (cells_of(SkyCoord(lon, lat), 32) == pixels // 32**2).all()


@pytest.mark.slow
def test_near_cells_include_all_whose_grid_contains_a_point_of_the_cell():
    margin, nside = 1.5 * u.deg, 16
    for cell in (0, 255, 1023, 1500, 3000):
        lon, lat = HEALPix(nside, order="nested").boundaries_lonlat([cell], 4)
        near = set(near_cells(nside, margin)(np.array([cell])))
        angle = np.degrees(np.arccos(centres(nside) @ centres(nside, [cell])[0]))
        for other in np.flatnonzero(angle < 25):
            wcs = field_wcs(other, nside, 4 * u.arcmin, margin)
            x, y = wcs.world_to_pixel(SkyCoord(lon[0], lat[0]))
            on = (x > -0.5) & (y > -0.5) & (x < wcs.array_shape[1] - 0.5) & (y < wcs.array_shape[0] - 0.5)
            assert not on.any() or other in near


def test_defaults_follow_the_pixel_scale():
    assert [default_nside(scale * u.arcmin) for scale in (2, 0.4)] == [16, 64]
    assert [fine_nside(scale * u.arcmin) for scale in (2, 1.7178, 0.4)] == [2048, 2048, 16384]
    assert np.degrees(reach(16)) < 3.8  # the plane is then wrong by less than 0.5 %


# ---- the shear of fields


def test_fields_have_the_shear_of_a_catalogue_on_the_same_grid(catalog):
    fields = SkyFields(catalog, **COARSE)
    assert (fields.cells == np.unique(cells_of(catalog.coords, 64))).all()
    for cell in fields:
        shear = fields[cell]
        expected = catalog.to_map(wcs=shear.wcs)
        np.testing.assert_allclose(shear.data, expected.data, atol=1e-12)
        np.testing.assert_allclose(shear.noise_std, expected.noise_std)
        assert shear.meta["n_galaxies"] == expected.meta["n_galaxies"]
        assert shear.meta["shape_noise"] == pytest.approx(expected.meta["shape_noise"])


def test_pieces_give_the_same_fields(catalog):
    known = ShearCatalog(
        catalog.coords, catalog.g1, catalog.g2, axes=catalog.axes, shape_noise=0.26, redshift=0.5 + catalog.g1**2
    )
    whole = SkyFields(known, **COARSE)
    pieces = SkyFields((known[i : i + 4000] for i in range(0, len(known), 4000)), **COARSE)
    assert whole.cells.tolist() == pieces.cells.tolist() and whole.n_galaxies == pieces.n_galaxies
    assert mean_redshift(pieces.n_z) == pytest.approx(mean_redshift(whole.n_z), rel=1e-3)
    for cell in whole:
        np.testing.assert_allclose(pieces[cell].data, whole[cell].data, atol=1e-12)
        np.testing.assert_allclose(pieces[cell].noise_std, whole[cell].noise_std)


def test_a_file_is_read_in_pieces(catalog, tmp_path):
    catalog.write(tmp_path / "galaxies.fits")
    pieces = list(ShearCatalog.pieces(tmp_path / "galaxies.fits", axes="west-north", rows=10_000, select="ra > 34.5"))
    whole = ShearCatalog.read(tmp_path / "galaxies.fits", axes="west-north", select="ra > 34.5")
    none = ShearCatalog.pieces(tmp_path / "galaxies.fits", axes="west-north", rows=20_000, select="ra > 90")
    assert list(none) == []  # pieces without a selected galaxy are left out
    assert len(pieces) > 1
    assert np.concatenate([piece.g1 for piece in pieces]).tolist() == whole.g1.tolist()


def test_pieces_keep_n_z_and_leave_out_those_without_galaxies(catalog, tmp_path):
    known = ShearCatalog(catalog.coords, catalog.g1, catalog.g2, axes="west-north", n_z=([0.5, 0.8, 1.0], [0, 1, 0]))
    known[:60].write(tmp_path / "galaxies.fits")
    pieces = ShearCatalog.pieces(tmp_path / "galaxies.fits", axes="west-north", rows=20)
    pieces = list(pieces)
    assert [piece.n_z[0].tolist() for piece in pieces] == [[0.5, 0.8, 1.0]] * 3
    assert SkyFields(pieces, **COARSE).n_z[0].tolist() == [0.5, 0.8, 1.0]  # not a histogram of three redshifts
    table = known[:60].to_table()
    table["weight"][:20] = 0
    del table.meta["n_z"]
    table.write(tmp_path / "masked.fits")
    with pytest.warns(AstropyUserWarning, match="file: a piece of 20 rows is left out"):
        assert [len(piece) for piece in ShearCatalog.pieces(tmp_path / "masked.fits", axes="west-north", rows=20)] == [
            20,
            20,
        ]
    lists = fits.Column("lists", "PD()", array=np.array([np.arange(i % 4) for i in range(60)], dtype=object))
    hdu = fits.BinTableHDU.from_columns([lists])
    hdu.writeto(tmp_path / "lists.fits")
    with pytest.raises(OSError, match=r"file: .* its columns \['lists'\] of variable length"):
        next(ShearCatalog.pieces(tmp_path / "lists.fits", axes="west-north"))


def test_the_metadata_are_those_of_all_pieces(catalog):
    coords, g1, g2, more = catalog.coords, catalog.g1, catalog.g2, {"weight": catalog.weight}
    mirrored = ShearCatalog(coords, g1, -g2, axes="east-north", meta={"run": 1, "tile": 2}, **more)
    pieces = [mirrored[:9000], ShearCatalog(coords, g1, g2, axes="west-north", meta={"run": 1}, **more)[9000:]]
    mixed, expected = SkyFields(pieces, **COARSE), SkyFields(catalog, **COARSE)
    assert mixed.meta == {"run": 1, "shape_noise": pytest.approx(expected.meta["shape_noise"], rel=1e-3)}
    for cell in expected:
        np.testing.assert_allclose(mixed[cell].data, expected[cell].data, atol=1e-12)
    pieces[0].redshift = np.full(9000, 0.8)
    with pytest.warns(AstropyUserWarning, match="1 of 2 pieces have no redshifts"):
        assert SkyFields(pieces, **COARSE).n_z[0].tolist() == [0.8]


@pytest.mark.slow
def test_shear_of_a_sphere_across_the_origin_of_right_ascension_and_at_the_pole():
    """Kaiser-Squires maps of dense noise-free galaxies are the truth, to the resolution and the mean of a field."""
    for dec in (0, 88):
        sky = SphericalSky(SkyCoord(0, dec, unit="deg"), side=9 * 60, pixel=2.0, seed=3, beam=12)
        fields = SkyFields(galaxies(sky, 1.5, seed=1), pixel_scale=4 * u.arcmin, nside=16, margin=3 * u.deg)
        cell = cells_of(SkyCoord([0.3] * u.deg, [dec - 0.2] * u.deg), 16)[0]
        kappa = fields[cell].reconstruct("kaiser_squires", **QUIET)
        y, x = np.indices(kappa.shape)
        there = kappa.wcs.pixel_to_world(x, y)
        near = (there.separation(sky.center) < 1.2 * u.deg) & ~kappa.mask
        truth = sky.convergence(there[near])
        found = kappa.data[near]
        assert np.corrcoef(truth, found)[0, 1] > 0.97
        assert np.polyfit(truth - truth.mean(), found, 1)[0] == pytest.approx(1, abs=0.08)


# ---- maps


def test_a_run_continues_and_rejects_other_data(catalog, tmp_path):
    fields = SkyFields(catalog, **COARSE)
    maps = fields.reconstruct(tmp_path / "maps", "kaiser_squires", **QUIET)
    assert maps.cells.tolist() == fields.cells.tolist() and not maps.failures
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "maps").iterdir()}
    lost, damaged = (tmp_path / "maps" / name for name in sorted(kept)[:2])
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:5000])
    with pytest.warns(AstropyUserWarning, match=f"{damaged.name} is damaged"):
        again = fields.reconstruct(tmp_path / "maps", "kaiser_squires", **QUIET)
    new = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "maps").iterdir()}
    assert {name for name in kept if new[name] != kept[name]} == {lost.name, damaged.name}
    assert len(again) == len(maps)
    distant = SkyFields(catalog, **COARSE)
    distant.n_z = 2.0
    for other, method in (
        (fields, KaiserSquires(0 * u.arcmin)),
        (SkyFields(catalog[1:], **COARSE), None),
        (distant, None),
    ):
        with pytest.raises(OSError, match=r"folder: .* is a map of other data, cells or settings"):
            other.reconstruct(tmp_path / "maps", method or "kaiser_squires", **QUIET)
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "maps").iterdir()} == new


def test_an_executor_gives_the_same_maps(catalog, tmp_path):
    fields = SkyFields(catalog, **COARSE)
    alone = fields.reconstruct(tmp_path / "a", "kaiser_squires", **QUIET)
    with ThreadPoolExecutor(2) as executor:
        shared = fields.reconstruct(tmp_path / "b", "kaiser_squires", executor=executor, **QUIET)
    for cell in alone:
        assert (alone[cell].data == shared[cell].data).all()


def test_fields_that_fail_do_not_end_the_run(catalog, tmp_path):
    fields = SkyFields(catalog, **COARSE)
    bad = fields[fields.cells[1]].data.sum()

    def method(observation):
        if observation.shear.sum().item() == pytest.approx(bad, rel=1e-5):
            raise ValueError("no solution")
        return np.zeros(observation.shape)

    damaged = tmp_path / field_file(64, fields.cells[1])
    damaged.write_bytes(b"SIMPLE")
    with (
        pytest.warns(AstropyUserWarning, match="is damaged"),
        pytest.warns(AstropyUserWarning, match="1 of 4 fields failed .*ValueError: .*no solution"),
    ):
        maps = fields.reconstruct(tmp_path, method, **QUIET)
    assert list(maps.failures) == [fields.cells[1]] and len(maps) == 3 and not damaged.exists()
    with pytest.raises(ValueError, match="4 of 4 fields failed"):
        fields.reconstruct(tmp_path / "none", lambda observation: 1 / 0, **QUIET)


def test_a_full_disk_ends_the_run_with_the_number_of_finished_maps(catalog, tmp_path):
    """A limit of the size of files stands for the full disk: the second map is larger than the first."""
    resource = pytest.importorskip("resource")
    fields = SkyFields(catalog, **COARSE)
    fields.cells = np.array(sorted(fields, key=lambda cell: fields._sums[cell].counts.size))[[0, -1]]
    expected = fields.reconstruct(tmp_path / "a", "wiener", n_samples=16, **QUIET)
    small, large = (file.stat().st_size for file in (tmp_path / "a" / field_file(64, c) for c in fields.cells))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((small + large) // 2, before[1]))
    try:
        with (
            ThreadPoolExecutor(1) as executor,
            pytest.raises(
                OSError, match=r"folder: .* cannot be written .*; 1 of 2 maps are finished, and the same call"
            ),
        ):
            fields.reconstruct(tmp_path / "b", "wiener", n_samples=16, executor=executor, **QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = tmp_path / "b" / field_file(64, fields.cells[0])
    assert list((tmp_path / "b").iterdir()) == [kept]  # and no temporary file
    written = kept.stat().st_mtime_ns
    maps = fields.reconstruct(tmp_path / "b", "wiener", n_samples=16, **QUIET)
    assert kept.stat().st_mtime_ns == written
    for cell in expected:
        assert (maps[cell].samples == expected[cell].samples).all()


def test_maps_that_do_not_fit_on_the_disk_are_an_error_before_the_work(catalog, tmp_path, monkeypatch):
    fields = SkyFields(catalog, **COARSE)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**20))
    with pytest.raises(OSError, match=r"field_\*\.fits' needs .* MiB, but 1 MiB are free on its disk"):
        fields.reconstruct(tmp_path / "maps", "wiener", n_samples=1000, **QUIET)
    assert not list((tmp_path / "maps").iterdir())


def test_a_field_whose_workers_are_lost_each_time_does_not_end_the_run(catalog, tmp_path):
    """The executor of Dask gives such a task up with an error, and does the others."""
    fields = SkyFields(catalog, **COARSE)

    class GivesUp(ThreadPoolExecutor):
        def submit(self, function, task):
            if task.cell == fields.cells[1]:
                future = Future()
                future.set_exception(RuntimeError("four workers died"))
                return future
            return super().submit(function, task)

    with GivesUp(1) as executor, pytest.warns(AstropyUserWarning, match=r"1 of 4 fields .*RuntimeError: four workers"):
        maps = fields.reconstruct(tmp_path, "kaiser_squires", executor=executor, **QUIET)
    assert list(maps.failures) == [fields.cells[1]] and len(maps) == 3


def test_healpix_maps_have_every_position_once_and_the_values_of_its_field(catalog, tmp_path):
    fields = SkyFields(catalog, **COARSE)
    maps = fields.reconstruct(tmp_path, "wiener", n_samples=8, **QUIET)
    table = maps.healpix(threshold=0.01)
    pixels, nside = np.asarray(table["pixel"]), table.meta["nside"]
    assert nside == 4096 and (np.diff(pixels) > 0).all()
    pixel_area = HEALPix(nside).pixel_area.to_value(u.arcmin**2)
    assert len(pixels) * pixel_area == pytest.approx(fields.area.to_value(u.arcmin**2), rel=0.03)
    lon, lat = HEALPix(nside, order="nested").healpix_to_lonlat(pixels)
    at = maps.at(SkyCoord(lon, lat), threshold=0.01)
    for name in at.colnames:
        np.testing.assert_array_equal(np.asarray(at[name]), np.asarray(table[name]))
    assert ((at["probability"] >= 0) & (at["probability"] <= 1)).all()
    maps.write_healpix(tmp_path / "sky.fits", threshold=0.01)
    header = fits.getheader(tmp_path / "sky.fits", 1)
    assert (header["ORDERING"], header["NSIDE"], header["INDXSCHM"]) == ("NESTED", 4096, "EXPLICIT")
    cell = max(maps, key=lambda cell: (~maps[cell].mask).sum())
    field = maps[cell]
    moved = ConvergenceMap.from_healpix(tmp_path / "sky.fits", wcs=field.wcs, shape=field.shape, field="MEAN")
    both = ~moved.mask & ~field.mask & (cells_of(field.wcs.pixel_to_world(*np.indices(field.shape)[::-1]), 64) == cell)
    assert np.corrcoef(moved.data[both], field.data[both])[0, 1] > 0.99


def test_catalogues_in_galactic_coordinates_and_positions_off_the_maps(catalog, tmp_path):
    pole = SkyCoord(0, 90, unit="deg", frame="galactic")
    shear = catalog.west_north * np.exp(-2j * catalog.coords.position_angle(pole.icrs).rad)
    options = {"axes": "west-north", "weight": catalog.weight}
    galactic = ShearCatalog(catalog.coords.galactic, shear.real, shear.imag, **options)
    fields, expected = SkyFields(galactic, **COARSE), SkyFields(catalog, **COARSE)
    for cell in expected:
        np.testing.assert_allclose(fields[cell].data, expected[cell].data, atol=3e-4)
    maps = fields.reconstruct(tmp_path, "kaiser_squires", **QUIET)
    far = SkyCoord([10, 200] * u.deg, [80, -80] * u.deg)
    assert np.isnan(maps.at(far)["mean"]).all() and len(maps.at(far[0])) == 1
    assert np.isfinite(maps.at(catalog.coords[0])["mean"]).all()
    lost = SkyCoord([np.nan] * 2, [0, np.nan], unit="deg")
    assert np.isnan(maps.at(lost)["mean"]).all()
    assert maps.at(lost[:0]).colnames == maps.at(far).colnames == maps.at(catalog.coords[:9]).colnames
    assert len(maps.healpix(nside=np.int64(2048))) > 0


def test_peaks_are_listed_once(catalog, tmp_path):
    maps = SkyFields(catalog, **COARSE).reconstruct(tmp_path, "kaiser_squires", smoothing=2 * u.arcmin, **QUIET)
    found = maps.peaks(0.02)
    assert len(found) > 2 and (np.diff(found["kappa"]) <= 0).all()
    for cell in maps:
        assert near_cell(found["center"][found["cell"] == cell], cell, 64, 2.4 * u.arcmin).all()
    apart = found["center"][:, None].separation(found["center"]).arcmin
    assert apart[~np.eye(len(found), dtype=bool)].min() > 3.2  # two pixels


def test_a_peak_on_the_edge_of_two_cells_is_listed_once():
    pixel, step = 1 * u.arcmin, 20 * u.arcsec
    lon, lat = boundaries_lonlat([1000], 4, 64, order="nested")
    edge = SkyCoord(lon[0, 2], lat[0, 2])  # on the upper right edge
    outwards = SkyCoord(*healpix_to_lonlat(1000, 64, order="nested")).position_angle(edge)
    inside, outside = (edge.directional_offset_by(outwards, sign * step) for sign in (-1, 1))
    cell, other = (int(cells_of(place.reshape(1), 64)[0]) for place in (inside, outside))
    assert cell == 1000 != other
    far = edge.directional_offset_by(outwards, 1 * u.deg)

    def listed(*peaks):
        places = SkyCoord([place for place, _, _ in peaks])
        kept = np.concatenate([near_cell(places[i : i + 1], peak[2], 64, 1.5 * pixel) for i, peak in enumerate(peaks)])
        table = QTable({"center": places, "kappa": [p[1] for p in peaks], "cell": [p[2] for p in peaks]})[kept]
        found = listed_once(table, 64, 1.5 * pixel)
        return list(zip(found["kappa"].tolist(), found["cell"].tolist(), strict=True))

    assert listed((inside, 0.1, cell), (outside, 0.2, other)) == [(0.2, other)]  # both maps have it in their cells
    assert listed((outside, 0.1, cell), (inside, 0.2, other)) == [(0.2, other)]  # each has it in the other cell
    assert listed((inside, 0.1, cell), (inside, 0.2, other)) == [(0.1, cell)]
    assert listed((inside, 0.1, cell), (far, 0.2, cell)) == [(0.1, cell)]
    apart = inside.directional_offset_by(outwards, -2 * pixel)
    assert listed((inside, 0.1, cell), (apart, 0.2, cell)) == [(0.2, cell), (0.1, cell)]  # two peaks of one map


def test_cutouts_are_written_by_the_names_of_clusters(catalog, tmp_path):
    maps = SkyFields(catalog, **COARSE).reconstruct(tmp_path / "maps", "kaiser_squires", **QUIET)
    clusters = datasets.demo_clusters()
    clusters["ra"][0] += 20 * u.deg
    with pytest.warns(AstropyUserWarning, match="1 are outside of the cells"):
        names = maps.write_cutouts(clusters, 16 * u.arcmin, tmp_path / "clusters")
    assert names == [f"cluster_{name}.fits" for name in clusters["name"][1:]]
    clusters["name"] = ["a/b"] * len(clusters)
    with pytest.warns(AstropyUserWarning, match="1 are outside of the cells"):
        assert maps.write_cutouts(clusters, 16 * u.arcmin, tmp_path / "same")[:2] == [
            "cluster_a_b.fits",
            "cluster_a_b_3.fits",
        ]
    inside = datasets.demo_clusters()[1:4]
    inside["name"] = ["a_3", "a", "a"]
    names_of_three = maps.write_cutouts(inside, 16 * u.arcmin, tmp_path / "three")
    assert names_of_three == ["cluster_a_3.fits", "cluster_a.fits", "cluster_a_3_3.fits"]
    (tmp_path / "three" / names_of_three[0]).unlink()
    with pytest.raises(OSError, match=r"cluster_a\.fits' exists"):
        maps.write_cutouts(inside, 16 * u.arcmin, tmp_path / "three")
    assert not (tmp_path / "three" / names_of_three[0]).exists()  # nothing is written if one file exists
    kappa = ConvergenceMap.read(tmp_path / "clusters" / names[0], format="fits")
    center = SkyCoord(clusters["ra"][1], clusters["dec"][1], unit="deg")
    assert np.hypot(*(np.array(kappa.wcs.world_to_pixel(center)) - 4.5)) < 1


def test_errors_name_the_argument(catalog, tmp_path):
    fields = SkyFields(catalog, **COARSE)
    (tmp_path / "file").write_text("")
    maps = fields.reconstruct(tmp_path / "maps", "kaiser_squires", **QUIET)
    polygon = PolygonSkyRegion(catalog.coords[:3])
    cases = [
        (lambda: SkyFields(catalog, nside=20), ValueError, "nside: needs one of"),
        (lambda: SkyFields(catalog, nside=64.0), ValueError, "nside: needs one of"),
        (lambda: SkyFields(catalog, nside=1024, pixel_scale=8 * u.arcmin), ValueError, "nside: needs cells of at"),
        (lambda: fields.area_of(0), KeyError, "cell: 0 contains no galaxies"),
        (lambda: maps.at(3), TypeError, "coords: needs a SkyCoord"),
        (lambda: maps.at(SkyCoord(0, 0, unit="deg"), threshold=0.1), ValueError, "threshold: .* needs maps with"),
        (lambda: maps.cutout(catalog.coords[:3], 1 * u.deg), TypeError, "center: needs a SkyCoord of one"),
        (lambda: maps.write_cutouts(polygon, 1 * u.deg, tmp_path), TypeError, "clusters: needs regions with a centre"),
        (lambda: maps.write_cutouts(catalog.coords[:1], 3, tmp_path / "cut"), u.UnitsError, "size: needs an angle"),
        (lambda: SkyFields(3), TypeError, "catalog: needs a ShearCatalog"),
        (lambda: SkyFields([3]), TypeError, "catalog: needs ShearCatalogs as pieces, got int"),
        (lambda: SkyFields([]), ValueError, "catalog: needs at least one galaxy"),
        (lambda: fields_of_bins(iter([])), ValueError, "got none; pieces are read once, call pieces\\(\\) again"),
        (lambda: SkyFields(catalog, margin=3), u.UnitsError, "margin: needs an angle"),
        (lambda: fields[0], KeyError, "cell: 0 contains no galaxies"),
        (lambda: fields.reconstruct(tmp_path / "file", "wiener"), OSError, "folder: .* is not a folder"),
        (lambda: fields.reconstruct(tmp_path, AnnealedHMC(checkpoint="x")), ValueError, "checkpoint"),
        (lambda: SkyMaps.read(tmp_path), OSError, "folder: .* no such file"),
        (lambda: maps[0], KeyError, "cell: there is no map of cell 0"),
        (lambda: maps.healpix(nside=32), ValueError, "nside: needs a power of two of at least 64"),
        (lambda: maps.healpix(threshold=0.1), ValueError, "threshold: .* needs maps with samples"),
        (lambda: maps.cutout(SkyCoord(0, 0, unit="deg"), 1 * u.deg), ValueError, "center: .* there is no map"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    assert not (tmp_path / "cut").exists()


@pytest.mark.slow
def test_stitched_wiener_maps_agree_with_one_field(tmp_path):
    """
    The margin removes the differences between fields, except for those of galaxies binned on other pixels.

    The latter are 0.1 to 0.15 standard deviations for pixels of 2 arcmin, and average to less along an edge.
    """
    center = SkyCoord(*HEALPix(64, order="nested").boundaries_lonlat([20000], 1))[0, 0]
    sky = SphericalSky(center, side=4 * 60, pixel=1.0, seed=5)
    catalog = galaxies(sky, 5, seed=2, noise=0.26, width=3 * 60)
    whole = catalog.reconstruct("wiener", pixel_scale=2 * u.arcmin, n_samples=8, **QUIET)
    inside = center.directional_offset_by(np.arange(0, 360, 5) * u.deg, 0.5 * u.deg)
    x, y = whole.wcs.world_to_pixel(inside)
    one, std = (map_coordinates(image, [y, x], order=3) for image in (whole.data, whole.uncertainty.array))
    found = []
    for margin in (4 * u.arcmin, 1.2 * u.deg):
        fields = SkyFields(catalog, pixel_scale=2 * u.arcmin, nside=64, margin=margin)
        fields.cells = fields.cells[[(cells_of(inside, 64) == cell).any() for cell in fields]]
        maps = fields.reconstruct(tmp_path / f"{margin.value:g}", "wiener", n_samples=8, **QUIET)
        seams = maps.seams()
        edges = np.sqrt(np.average(np.asarray(seams["mean"]) ** 2, weights=seams["n_pixels"]))
        found.append((edges, np.sqrt(np.mean(((np.asarray(maps.at(inside)["mean"]) - one) / std) ** 2))))
    (narrow_edges, narrow), (edges, difference) = found
    assert edges < 0.05 and difference < 0.15
    assert narrow_edges > 2 * edges and narrow > 1.2 * difference


@pytest.mark.slow
def test_a_worker_of_dask_that_was_killed_in_the_middle(catalog, tmp_path):
    distributed = pytest.importorskip("distributed")
    fields = SkyFields(catalog, nside=128, pixel_scale=0.8 * u.arcmin)
    expected = fields.reconstruct(tmp_path / "alone", "kaiser_squires", **QUIET)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(torch.set_num_threads, 1)
        victims = client.run(os.getpid)

        def kill_one():
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not list((tmp_path / "shared").glob("field_*.fits")):
                time.sleep(0.01)
            os.kill(min(victims.values()), signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        maps = fields.reconstruct(tmp_path / "shared", "kaiser_squires", executor=client.get_executor(), **QUIET)
        killer.join()
    assert len(fields) > 6 and maps.cells.tolist() == expected.cells.tolist() and not maps.failures
    for cell in expected:
        np.testing.assert_allclose(maps[cell].data, expected[cell].data, atol=3e-4)
