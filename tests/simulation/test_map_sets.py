import gzip
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st
from scipy.integrate import trapezoid

from astro_massmap.simulation.map_files import Layout
from astro_massmap.simulation.map_layouts import KAPPATNG_REDSHIFTS, KINDS, Entry, plane_weights
from astro_massmap.simulation.map_sets import MapSet
from astro_massmap.simulation.resampling import resample

from helpers.cases import each_case

N = 16
ARCMIN = np.pi / 10800
SCALE = 0.4 * ARCMIN


def a_map(*seed, shape=(N, N)):
    return np.random.default_rng(seed).normal(scale=0.02, size=shape).astype(np.float32)


def write_fits(path, data, **header):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(data, fits.Header(header)).writeto(path, overwrite=True)


def cdelt(scale, unit="deg"):
    return {"CDELT1": -scale, "CDELT2": scale, "CUNIT1": unit, "CUNIT2": unit}


def truncate(path, keep=0.5):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * keep)])


# ---- MassiveNuS


@pytest.fixture
def massivenus():
    for box in range(2):
        for i in range(1, 6):
            folder = Path("nus", f"mnv{box}", "Maps10")
            write_fits(folder / f"WLconv_z1.00_{i:04d}r.fits", a_map(box, i), ANGLE=3.5, ITYPE="ConvergenceMap")
    Path("nus/notes.txt").write_text("not a map")
    return Path("nus")


def test_massivenus(massivenus):
    maps = MapSet.open(massivenus)
    assert maps.kind == "massivenus"
    assert len(maps) == 10
    assert maps.shape == (N, N)
    assert np.isclose(maps.pixel_size, np.radians(3.5 / N))
    assert maps.boxes == ["mnv0"] * 5 + ["mnv1"] * 5
    for number, seed in enumerate((box, i) for box in range(2) for i in range(1, 6)):
        assert np.array_equal(maps[number], a_map(*seed))
    assert maps[-1].dtype == np.float32
    assert maps[-1].dtype.isnative
    assert maps[-1].flags.c_contiguous
    assert repr(maps) == "<MapSet: 10 maps of 16 x 16 pixels of 13.12 arcmin from 2 boxes, massivenus>"


@pytest.mark.parametrize("part", ["mnv0", "mnv0/Maps10"])
def test_massivenus_of_one_cosmology_is_one_box(massivenus, part):
    maps = MapSet.open(massivenus / part)
    assert set(maps.boxes) == {"mnv0"}
    with pytest.raises(ValueError, match="one box: mnv0; by='realisation'"):
        maps.split()
    with pytest.warns(AstropyUserWarning, match="one box"):
        training, validation = maps.split(0.4, by="realisation")
    assert [e.realisation for e in training.entries] == [1, 2, 3]
    assert [e.realisation for e in validation.entries] == [4, 5]


def test_the_current_folder_names_the_box(massivenus, monkeypatch):
    monkeypatch.chdir(massivenus / "mnv1")
    assert set(MapSet.open(".").boxes) == {"mnv1"}


def test_massivenus_source_planes(massivenus):
    write_fits(massivenus / "mnv0/Maps20/WLconv_z2.00_0001r.fits", a_map(7))
    with pytest.raises(ValueError, match="redshift: needed, one of those of the maps in the folder: 1, 2"):
        MapSet.open(massivenus)
    assert len(MapSet.open(massivenus, redshift=1.03)) == 10
    assert np.array_equal(MapSet.open(massivenus, redshift=2)[0], a_map(7))
    with pytest.raises(ValueError, match=r"redshift: .* nearest one is at 1"):
        MapSet.open(massivenus, redshift=1.2)


def test_massivenus_of_another_side(massivenus):
    write_fits("other/WLconv_z1.00_0001r.fits", a_map(0), ANGLE=2.0, ITYPE="ConvergenceMap")
    with pytest.raises(ValueError, match=r"WLconv_z1.00_0001r.fits' has pixels of 7.5 arcmin, needs 13.12 arcmin"):
        MapSet.open("other")
    with pytest.raises(ValueError, match=r"0001r.fits' has pixels of 13.12 arcmin, needs 13.5 arcmin"):
        MapSet.open(massivenus, pixel_scale=13.5 * u.arcmin)
    assert MapSet.open(massivenus, pixel_scale=13.15 * u.arcmin).pixel_size == np.radians(3.5 / N)


@each_case("shape", [(2, N, N), (N, N + 1)])
def test_massivenus_that_is_not_a_square_map(shape):
    write_fits("nus/WLconv_z1.00_0001r.fits", a_map(0, shape=shape))
    with pytest.raises(ValueError, match=r"WLconv_z1.00_0001r.fits' needs one square map"):
        MapSet.open("nus")


def test_faults_of_a_file_are_reported_when_it_is_read(massivenus):
    names = sorted(massivenus.rglob("*.fits"))
    truncate(names[1])
    names[2].write_bytes(b"not a FITS file")
    fits.PrimaryHDU(a_map(0, shape=(N, 2 * N))).writeto(names[4], overwrite=True)
    fits.PrimaryHDU(a_map(0), fits.Header(cdelt(1.0))).writeto(names[5], overwrite=True)
    bad = a_map(0)
    bad[3, 4:6] = np.nan
    fits.PrimaryHDU(bad).writeto(names[6], overwrite=True)
    fits.PrimaryHDU(np.full((N, N), 1e300)).writeto(names[7], overwrite=True)
    names[8].write_bytes(b"")
    fits.PrimaryHDU().writeto(names[9], overwrite=True)
    maps = MapSet.open(massivenus)
    names[3].unlink()
    assert np.array_equal(maps[0], a_map(0, 1))
    faults = {
        1: (OSError, "is damaged.*truncated"),
        2: (OSError, "damaged"),
        3: (OSError, "does not exist"),
        4: (ValueError, r"shape \(16, 16\), as in the first file, got \(16, 32\)"),
        5: (ValueError, "has pixels of 60 arcmin, needs 13.12 arcmin"),
        6: (ValueError, "map 0 has 2 pixels that are not finite"),
        7: (ValueError, "map 0 has 256 pixels that are not finite"),
        8: (OSError, "damaged"),
        9: (OSError, "no image"),
    }
    for number, (error, message) in faults.items():
        with pytest.raises(error, match=f"{names[number].name}' .*{message}"):
            maps[number]


# ---- kappaTNG


def tng_map(box, run, plane):
    return a_map(box, run, plane).astype(np.float64)


PLANES = (21, 22, 23, 24)


@pytest.fixture
def kappatng():
    h5py = pytest.importorskip("h5py")
    for box in (1, 2, 10):
        folder = Path(f"tng/LP{box:03d}")
        folder.mkdir(parents=True)
        for run in (1, 2):
            with h5py.File(folder / f"LP{box:03d}_run{run:03d}_maps.hdf5", "w") as file:
                for plane in PLANES:
                    file[f"z{plane:02d}/kappa"] = tng_map(box, run, plane)
    return Path("tng")


def test_kappatng(kappatng):
    maps = MapSet.open(kappatng, redshift=1.0)
    assert maps.kind == "kappatng"
    assert maps.boxes == ["LP001", "LP001", "LP002", "LP002", "LP010", "LP010"]
    assert np.isclose(maps.pixel_size, np.radians(5 / N))
    expected = [tng_map(box, run, 22) for box in (1, 2, 10) for run in (1, 2)]  # z22 is at 0.973
    assert np.array_equal(maps.stack(), np.float32(expected))
    assert np.array_equal(MapSet.open(kappatng, redshift=1.034)[3], np.float32(tng_map(2, 2, 23)))


def test_kappatng_dat_files_are_not_read():
    Path("old/LP001/run001").mkdir(parents=True)
    Path("old/LP001/run001/kappa23.dat").write_bytes(struct.pack("<i", N))
    with pytest.raises(OSError, match=r"folder: 'old' .* kappatng: LP\*_run\*_maps.hdf5 of the HDF5 release, not .dat"):
        MapSet.open("old")
    with pytest.raises(OSError, match=r"folder: 'old' has no files LP.* of the HDF5 release, not .dat files"):
        MapSet.open("old", kind="kappatng", redshift=1.0)


def test_there_are_forty_planes_as_published():
    assert len(KAPPATNG_REDSHIFTS) == 40
    assert np.all(np.diff(KAPPATNG_REDSHIFTS) > 0.03)
    assert (KAPPATNG_REDSHIFTS[0], KAPPATNG_REDSHIFTS[22], KAPPATNG_REDSHIFTS[39]) == (0.034467, 1.034093, 2.568175)


def test_planes_are_combined(kappatng):
    z = np.array(KAPPATNG_REDSHIFTS[21:23])
    middle = z.mean()
    # a narrow top hat in the middle of z22 and z23 is the mean of both
    maps = MapSet.open(kappatng, n_z=([middle - 0.01, middle + 0.01], [1, 1]))
    half = (tng_map(1, 1, 22) + tng_map(1, 1, 23)) / 2
    assert np.allclose(maps[0], half, atol=1e-8)
    # a triangle from z22 to z24 with its tip at z23: the integrals of its product with the triangles
    z = np.array(KAPPATNG_REDSHIFTS[21:24])
    left, right = np.diff(z)
    weights = np.array([left / 6, (left + right) / 3, right / 6]) / ((left + right) / 2)
    maps = MapSet.open(kappatng, n_z=Table({"z": z, "n": [0.0, 1.0, 0.0]}))
    expected = sum(w * tng_map(1, 2, plane) for w, plane in zip(weights, (22, 23, 24), strict=True))
    assert np.allclose(maps[1], expected, atol=1e-8)


@given(st.floats(0.1, 2.4), st.floats(0.01, 0.1))
def test_weights_keep_what_is_linear_in_redshift(mean, width):
    z = np.linspace(max(mean - 5 * width, 0), min(mean + 5 * width, 2.568), 500)
    n = np.exp(-(((z - mean) / width) ** 2) / 2)
    weights = plane_weights((z, n), KAPPATNG_REDSHIFTS)
    assert np.all(weights >= 0)
    assert np.isclose(weights @ KAPPATNG_REDSHIFTS, trapezoid(z * n, z) / trapezoid(n, z), rtol=1e-3)


def test_sources_before_and_beyond_the_planes():
    # of uniform sources from 0 to 1, those before the plane at 1/2 contribute 1/4 to it, those beyond 3/8
    assert np.allclose(plane_weights(([0, 1], [1, 1]), [0.5, 1.5]), [0.625, 0.125])
    with pytest.warns(AstropyUserWarning, match=r"n_z: 50% of the sources lie beyond the last source plane, 1.5"):
        weights = plane_weights(([1, 2], [1, 1]), [0.5, 1.5])
    assert np.allclose(weights, [0.125, 0.875])


@each_case(
    "n_z",
    [
        ([1, 0.5], [1, 1]),
        ([0.5, 1], [1, 1, 1]),
        ([0.5, 1], [1, -1]),
        ([0.5, 1], [0, 0]),
        ([-0.5, 1], [1, 1]),
        ([0.5, np.inf], [1, 1]),
        ([0.5, 1], [1, np.nan]),
        ([[0.5, 1]], [[1, 1]]),
        ("a", "b"),
        Table({"distance": [0, 1], "n": [1, 1]}),
    ],
)
def test_bad_distributions_are_named(n_z):
    with pytest.raises((TypeError, ValueError), match=r"^n_z[:,].* needs"):
        plane_weights(n_z, KAPPATNG_REDSHIFTS)


def test_missing_planes_are_an_error_of_open(kappatng):
    with pytest.raises(OSError, match=r"LP001_run001_maps.hdf5' .*no dataset 'z13/kappa'; it contains z21, z22"):
        MapSet.open(kappatng, redshift=0.5)
    with pytest.raises(ValueError, match=r"redshift: .* from 0.034467 to 2.56818"):
        MapSet.open(kappatng, redshift=3.0)
    with pytest.raises(TypeError, match="redshift: needs a number"):
        MapSet.open(kappatng, redshift="one")


def test_damage_to_kappatng(kappatng):
    h5py = pytest.importorskip("h5py")
    maps = MapSet.open(kappatng, redshift=1.034)
    names = sorted(kappatng.rglob("*.hdf5"))
    truncate(names[1])
    with h5py.File(names[2], "a") as file:
        file["z23/kappa"][0, 0] = np.inf
    names[3].write_bytes(b"not HDF5")
    with h5py.File(names[4], "a") as file:
        del file["z23/kappa"]
        file.create_group("z23/kappa")
    for number, error in {1: OSError, 2: ValueError, 3: OSError, 4: OSError}.items():
        with pytest.raises(error, match=names[number].name):
            maps[number]


def test_without_h5py_the_extra_is_named(kappatng, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"astro_massmap\[hdf5\]"):
        MapSet.open(kappatng, redshift=1.0)


# ---- any folder


def test_a_folder_of_cubes():
    for box in range(3):
        write_fits(f"sim/box{box}.fits", a_map(box, shape=(4, N, N + 2)), **cdelt(0.4 / 60))
    Path("sim/.box3.fits.part.fits").write_bytes(b"still being written")
    Path("sim/readme.txt").write_text("not a map")
    maps = MapSet.open("sim")
    assert maps.kind == "folder"
    assert maps.shape == (N, N + 2)
    assert np.isclose(maps.pixel_size, SCALE)
    assert maps.boxes == [f"box{box}.fits" for box in range(3) for _ in range(4)]
    assert np.array_equal(maps[5], a_map(1, shape=(4, N, N + 2))[1])
    assert np.array_equal(maps.stack([5, -1]), [maps[5], maps[11]])
    training, validation = maps.split(0.5)
    assert {len(training), len(validation)} == {4, 8}


def test_every_format_gives_the_same():
    h5py = pytest.importorskip("h5py")
    Path("sim").mkdir()
    kappa = a_map(1, shape=(2, N, N))
    np.save("sim/a.npy", kappa)
    np.save("sim/b.npy", np.asfortranarray(kappa.astype(">f8")))
    with h5py.File("sim/c.h5", "w") as file:
        file["maps/k"] = kappa
    write_fits("sim/d.fits.gz", kappa)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(kappa)]).writeto("sim/e.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(kappa, compression_type="GZIP_1", quantize_level=0)]).writeto(
        "sim/f.fits"
    )
    with open("sim/g.npy", "wb") as file:
        np.lib.format.write_array(file, kappa, version=(2, 0))
    maps = MapSet.open("sim", pixel_scale=SCALE, dataset="maps/k")
    assert len(maps) == 14
    assert np.array_equal(maps.stack().reshape(7, 2, N, N), np.broadcast_to(kappa, (7, 2, N, N)))
    assert all(kappa.dtype.isnative and type(kappa) is np.ndarray for kappa in maps)


def test_single_maps_and_integers():
    Path("sim").mkdir()
    np.save("sim/a.npy", a_map(1))
    np.save("sim/b.npy", np.arange(N * N).reshape(N, N))
    maps = MapSet.open("sim", pixel_scale=0.4 * u.arcmin)
    assert np.array_equal(maps.stack(), [a_map(1), np.arange(N * N).reshape(N, N)])


HEADERS = {
    "cdelt": cdelt(0.4 / 60),
    "cdelt in arcmin": cdelt(0.4, "arcmin"),
    "cdelt without a unit": {"CDELT1": -0.4 / 60, "CDELT2": 0.4 / 60},
    "celestial": {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", **cdelt(0.4 / 60)},
    "a rotated CD matrix": {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CD1_1": -0.32 / 60,
        "CD1_2": 0.24 / 60,
        "CD2_1": 0.24 / 60,
        "CD2_2": 0.32 / 60,
    },
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("shape", [(N, N), (2, N, N)])
def test_scales_in_headers(header, shape):
    write_fits("sim/a.fits", a_map(1, shape=shape), **header)
    assert np.isclose(MapSet.open("sim").pixel_size, SCALE)
    assert MapSet.open("sim", pixel_scale=0.402 * u.arcmin).pixel_size == 0.402 * ARCMIN
    with pytest.raises(ValueError, match=r"file: 'sim/a.fits' has pixels of 0.4 arcmin, needs 0.5 arcmin"):
        MapSet.open("sim", pixel_scale=0.5 * u.arcmin)


@each_case("header", [{}, {"CDELT1": 1.0, "CDELT2": 1.0}, cdelt(0.3, "Mpc"), {"ANGLE": 45.0}])
def test_headers_without_a_scale(header):
    write_fits("sim/a.fits", a_map(1), **header)
    with pytest.raises(ValueError, match=r"pixel_scale: needed, the file 'sim/a.fits'"):
        MapSet.open("sim")
    assert MapSet.open("sim", pixel_scale=SCALE).pixel_size == SCALE


def test_files_of_a_folder_that_differ():
    write_fits("sim/a.fits", a_map(1), **cdelt(0.4 / 60))
    write_fits("sim/b.fits", a_map(1), **cdelt(0.41 / 60))
    with pytest.raises(ValueError, match=r"sim/b.fits' has pixels of 0.41 arcmin, needs 0.4 arcmin"):
        MapSet.open("sim")
    Path("sim/b.fits").unlink()
    write_fits("sim/c.fits", a_map(1, shape=(N, 2 * N)), **cdelt(0.4 / 60))
    with pytest.raises(ValueError, match=r"sim/c.fits' has maps of shape \(16, 32\)"):
        MapSet.open("sim")


def test_pixels_need_to_be_square():
    write_fits("sim/a.fits", a_map(1), CDELT1=0.01, CDELT2=0.011)
    with pytest.raises(ValueError, match=r"sim/a.fits' needs square pixels"):
        MapSet.open("sim")


@each_case(
    ("array", "message"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((1, 2, 3, 4)), "shape"),
        (np.zeros((0, 3, 3)), "shape"),
        (np.zeros((3, 3), dtype=complex), "real numbers"),
        (np.zeros((3, 3), dtype="U3"), "real numbers"),
        (np.array([[None]], dtype=object), "real numbers"),
    ],
)
def test_arrays_that_are_not_maps(array, message):
    Path("sim").mkdir(exist_ok=True)
    np.save("sim/a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=f"file: 'sim/a.npy' needs maps of .*{message}"):
        MapSet.open("sim", pixel_scale=SCALE)


def npy_head(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.encode()


@pytest.mark.parametrize("shape", [(10**9, 10**9), (10**12, N, N)])
def test_declared_sizes_are_limited(shape):
    h5py = pytest.importorskip("h5py")
    for folder in ("npy", "hdf5", "fits"):
        Path(folder).mkdir()
    Path("npy/a.npy").write_bytes(npy_head(shape))
    with h5py.File("hdf5/a.h5", "w") as file:
        file.create_dataset("kappa", shape, "f4", chunks=(1, *(N, N)[-len(shape) + 1 :]))
    head = fits.PrimaryHDU(np.zeros((1,) * len(shape))).header
    for axis, side in enumerate(reversed(shape), 1):
        head[f"NAXIS{axis}"] = side
    Path("fits/a.fits").write_bytes(head.tostring().encode())
    for folder in ("npy", "hdf5"):
        with pytest.raises(ValueError, match=r"/a\..* declares .* above the limits"):
            MapSet.open(folder, pixel_scale=SCALE)
    with pytest.raises((OSError, ValueError), match=r"fits/a\.fits'"):
        MapSet.open("fits", pixel_scale=SCALE)


def test_a_large_header_of_a_small_file():
    Path("sim").mkdir()
    Path("sim/a.npy").write_bytes(npy_head((1000, 512, 512)))
    head = fits.PrimaryHDU(np.zeros((1, 512, 512), dtype=np.float32)).header
    head["NAXIS3"] = 1000
    Path("sim/b.fits").write_bytes(head.tostring().encode())
    maps = MapSet.open("sim", pixel_scale=SCALE)
    for number, name in ((7, "a.npy"), (1007, "b.fits")):
        with pytest.raises(OSError, match=name):
            maps[number]


def test_truncated_files_are_reported_when_they_are_read():
    h5py = pytest.importorskip("h5py")
    Path("sim").mkdir()
    np.save("sim/a.npy", a_map(1, shape=(2, N, N)))
    with h5py.File("sim/b.h5", "w") as file:
        file["kappa"] = a_map(1)
    write_fits("sim/c.fits", a_map(1, shape=(20, N, N)))
    maps = MapSet.open("sim", pixel_scale=SCALE)
    for name in ("a.npy", "b.h5", "c.fits"):
        truncate(f"sim/{name}", 0.8)
    for number, name in ((0, "a.npy"), (2, "b.h5"), (3, "c.fits")):
        with pytest.raises(OSError, match=name):
            maps[number]
    Path("sim/b.h5").unlink()  # HDF5 fails when it is opened, the others when a map is read
    assert len(MapSet.open("sim", pixel_scale=SCALE)) == 22


@pytest.mark.parametrize("name", ["a.npy", "a.fits", "a.h5", "a.fits.gz"])
@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(3000), gzip.compress(b"")])
def test_files_with_a_wrong_extension(name, content):
    pytest.importorskip("h5py")
    Path("sim").mkdir()
    Path("sim", name).write_bytes(content)
    with pytest.raises(OSError, match=f"file: 'sim/{name}' is damaged"):
        MapSet.open("sim", pixel_scale=SCALE)


def test_pickles_are_not_opened():
    Path("sim").mkdir()
    Path("sim/a.npy").write_bytes(pickle.dumps(a_map(1)))
    with pytest.raises(OSError, match=r"sim/a.npy' is damaged"):
        MapSet.open("sim", pixel_scale=SCALE)


def test_a_file_that_changed_its_scale(massivenus):
    write_fits("sim/a.fits", a_map(1), **cdelt(0.4 / 60))
    maps = MapSet.open("sim")
    fits.setval("sim/a.fits", "CDELT1", value=-0.5 / 60)
    with pytest.raises(ValueError, match=r"sim/a.fits' needs square pixels"):
        maps[0]


# ---- arguments


def test_bad_arguments_are_named(massivenus):
    Path("empty").mkdir()
    Path("empty/file.txt").write_text("")
    with pytest.raises(OSError, match="folder: 'nowhere' does not exist"):
        MapSet.open("nowhere")
    with pytest.raises(OSError, match="not a folder"):
        MapSet.open("empty/file.txt")
    with pytest.raises(
        OSError, match=r"folder: 'empty' contains no maps of a known kind \(massivenus: .*kappatng: .*folder"
    ):
        MapSet.open("empty")
    for kind in KINDS:
        options = {"redshift": 1.0} if kind == "kappatng" else {}
        with pytest.raises(OSError, match=f"folder: 'empty' has no files .* needed for the kind '{kind}'"):
            MapSet.open("empty", kind=kind, **options)
    with pytest.raises(
        ValueError, match="kind: needs to be one of 'massivenus', 'kappatng', 'folder', got 'illustris'"
    ):
        MapSet.open(massivenus, kind="illustris")
    with pytest.raises(ValueError, match="dataset: not used by maps of the kind 'massivenus'"):
        MapSet.open(massivenus, dataset="kappa")
    with pytest.raises(TypeError, match="dataset: needs a name"):
        MapSet.open(massivenus, dataset=3)
    with pytest.raises(ValueError, match="n_z: not used by"):
        MapSet.open(massivenus, n_z=([0, 1], [1, 1]))
    with pytest.raises(ValueError, match=r"pixel_scale: .* 0.4 radians = 1375 arcmin"):
        MapSet.open(massivenus, pixel_scale=0.4)
    with pytest.raises(ValueError, match="n_z: needs sources at redshifts above 0"):
        MapSet.open("empty", kind="kappatng", n_z=([0, 1e-12], [1, 1]))
    for options in ({}, {"redshift": 1.0, "n_z": ([0, 1], [1, 1])}):
        with pytest.raises(ValueError, match="redshift, n_z: kappaTNG needs one of them"):
            MapSet.open("empty", kind="kappatng", **options)


# ---- parts


def a_set(boxes):
    """A set without files; a split uses only the labels."""
    entries = [Entry((), i, f"box{box}", i) for box, n in enumerate(boxes) for i in range(n)]
    return MapSet("folder", tuple(entries), (), Layout(1, (N, N), SCALE))


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_has_no_common_box_and_all_maps(boxes, validation, seed):
    maps = a_set(boxes)
    training, held = maps.split(validation, seed=seed)
    assert not set(training.boxes) & set(held.boxes)
    assert sorted(training.entries + held.entries, key=maps.entries.index) == list(maps.entries)
    assert list(held.entries) == [entry for entry in maps.entries if entry in held.entries]
    assert abs(len(set(held.boxes)) - min(max(validation * len(boxes), 1), len(boxes) - 1)) <= 0.5
    assert maps.split(validation, seed=seed)[1].entries == held.entries


def test_the_seed_chooses_the_boxes():
    maps = a_set([1] * 10)
    assert len({tuple(maps.split(seed=seed)[1].boxes) for seed in range(10)}) > 5


def test_bad_splits():
    with pytest.raises(ValueError, match="validation: needs a fraction"):
        a_set([1, 1]).split(1.0)
    with pytest.raises(ValueError, match=r"by: needs to be 'box' or 'realisation', got 'map'"):
        a_set([1, 1]).split(by="map")
    with pytest.raises(ValueError, match=r"got maps of one realisation: 0$"):
        a_set([1, 1]).split(by="realisation")
    with pytest.raises(ValueError, match="a split needs two"):
        a_set([1, 1]).select([]).split()


def test_select():
    maps = a_set([3, 2])
    assert [e.index for e in maps.select([4, 0, -2]).entries] == [1, 0, 0]
    assert maps.select(slice(1, 3)).entries == maps.entries[1:3]
    assert maps.select(np.array(maps.boxes) == "box1").boxes == ["box1", "box1"]
    assert maps.select([]).stack().shape == (0, N, N)
    with pytest.raises(IndexError):
        maps.select([5])
    with pytest.raises(IndexError, match="one bool for each"):
        maps.select([True, False])
    for bad in (1, [0.5], [[0]], "a"):
        with pytest.raises(TypeError, match="indices: needs"):
            maps.select(bad)
    with pytest.raises(TypeError):
        maps[0:2]
    with pytest.raises(IndexError):
        maps[5]


def test_resampled_sets():
    Path("sim").mkdir()
    np.save("sim/a.npy", a_map(1, shape=(2, 24, 32)))
    maps = MapSet.open("sim", pixel_scale=SCALE)
    coarse = maps.resampled(2 * u.arcmin / 3)
    assert coarse.shape == (14, 19)
    assert np.isclose(coarse.pixel_size, 2 / 3 * ARCMIN)
    assert np.array_equal(coarse[1], resample(maps[1], coarse.pixel_size / SCALE))
    assert coarse[1].flags.c_contiguous
    assert coarse[1].dtype == np.float32
    assert coarse.stack().shape == (2, 14, 19)
    assert coarse.resampled(1 * u.arcmin).shape == (9, 12)
    assert coarse.select([1]).shape == coarse.shape
    assert maps.shape == (24, 32)
    with pytest.raises(ValueError, match="pixel_scale: a map of 24 x 32 pixels"):
        maps.resampled(20 * u.arcmin)
    with pytest.raises(u.UnitsError, match="pixel_scale"):
        maps.resampled(1 * u.m)


def test_sets_can_be_pickled():
    Path("sim").mkdir()
    np.save("sim/a.npy", a_map(1))
    maps = pickle.loads(pickle.dumps(MapSet.open("sim", pixel_scale=SCALE)))
    assert np.array_equal(maps[0], a_map(1))


@pytest.mark.slow
def test_neither_astropy_nor_h5py_is_needed():
    Path("sim").mkdir()
    for i in range(2):
        np.save(f"sim/{i}.npy", a_map(i))
    code = """
import sys
for name in ("astropy", "h5py", "regions", "reproject", "tqdm", "matplotlib"):
    sys.modules[name] = None
import warnings
from astro_massmap._utils.progress import warn
from astro_massmap.simulation.map_sets import MapSet
maps = MapSet.open("sim", pixel_scale=1e-4).resampled(2e-4)
assert maps.split()[0].stack().shape == (1, 8, 8)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warn("text")
assert caught[0].category is UserWarning
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
