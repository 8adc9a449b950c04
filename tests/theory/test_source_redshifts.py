"""Redshifts of the sources: all forms of input give the same mean over the sources."""

import os
import sys
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.constants import G, c
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM, Planck18
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings, strategies as st

from astro_massmap import PowerSpectrum, ShearCatalog
from astro_massmap.analysis.mass import critical_surface_density, lensing_efficiency
from astro_massmap.simulation import NFWHalo, inject_halo
from astro_massmap.simulation.map_layouts import plane_weights
from astro_massmap.theory.source_redshifts import read_n_z

from helpers.cases import each_case

FLAT = FlatLambdaCDM(70, 0.3)
Z = np.linspace(0, 3, 61)
N = Z**2 * np.exp(-Z / 0.3)
REAL = os.environ.get("MASSMAP_DATA", "")


def by_integration(z_lens, z, n, cosmology):
    """Return the critical surface density of a piecewise linear n(z) by astropy and numpy alone."""
    x = np.union1d(np.linspace(z_lens, z[-1], 6001), z[z > z_lens])
    chi, near = cosmology.comoving_distance(x), cosmology.comoving_distance(z_lens)  # in a flat universe
    mean = np.trapezoid(np.interp(x, z, n) * (1 - near / chi), x) / np.trapezoid(n, z)
    return (c**2 / (4 * np.pi * G * cosmology.angular_diameter_distance(z_lens) * mean)).to("Msun / kpc2").value


@pytest.mark.parametrize("cosmology", [FLAT, Planck18])
@pytest.mark.parametrize("z_lens", [0.05, 0.33, 0.8])
def test_the_critical_surface_density_over_a_distribution(z_lens, cosmology):
    found = critical_surface_density(z_lens, (Z, N), cosmology).value
    assert np.isclose(found, by_integration(z_lens, Z, N, cosmology), rtol=2e-5)


@pytest.mark.skipif(not REAL, reason="MASSMAP_DATA is not set")
@pytest.mark.parametrize(
    ("file", "column"), [("cosmos/nz_faint", None), ("surveys/desy3_nz", "bin1"), ("surveys/desy3_nz", "bin3")]
)
@pytest.mark.filterwarnings("ignore:z_source. 12 negative densities, 0.04% of the sum")
def test_distributions_of_surveys(file, column):
    path = os.path.join(REAL, f"{file}.ecsv")
    table = Table.read(path)
    z, n = np.array(table["z"]), np.maximum(table[column or "n"], 0)  # some of DES are slightly negative
    whole = critical_surface_density(0.3, read_n_z(path, "z_source", column=column), FLAT)
    assert np.isclose(whole.value, by_integration(0.3, z, n, FLAT), rtol=2e-5)
    assert critical_surface_density(0.3, (z, n), FLAT) == whole
    if column is None:
        assert critical_surface_density(0.3, path, FLAT) == whole
        # the points of the table as galaxies with weights
        assert np.isclose(critical_surface_density(0.3, z, FLAT, weight=n) / whole, 1, rtol=1e-3)
    else:
        assert critical_surface_density(0.3, table["z", column], FLAT) == whole
        with pytest.raises(ValueError, match=r"z_source: .* several distributions, bin1, bin2, bin3, bin4; choose one"):
            critical_surface_density(0.3, path, FLAT)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(0.01, 0.6), min_size=1, max_size=8),
    st.lists(st.floats(0, 5), min_size=9, max_size=9),
    st.lists(st.floats(0, 1), max_size=6),
    st.floats(0, 0.5),
)
def test_interpolated_points_of_a_distribution_change_nothing(steps, densities, places, start):
    z, n = start + np.cumsum([0, *steps]), np.array(densities[: len(steps) + 1])
    n[-1] += 1
    more = np.unique(np.concatenate([z, z[0] + np.array(places) * (z[-1] - z[0])]))
    coarse, fine = read_n_z((z, n)), read_n_z((more, np.interp(more, z, n)))
    for power in (0, 1, 2):
        assert np.isclose((coarse.weight * coarse.z**power).sum(), (fine.weight * fine.z**power).sum(), rtol=1e-9)
    z_lens = max((z[0] + z[-1]) / 2, 0.01)
    means = [lensing_efficiency(z_lens, sources, FLAT) for sources in (coarse, fine)]
    assert np.isclose(*means, rtol=1e-4, atol=1e-7)
    assert coarse.farthest == fine.farthest
    scaled = read_n_z((z, 7 * n))
    assert np.allclose(scaled.weight, coarse.weight)


def same(source, **options):
    found, expected = read_n_z(source, "z_source", **options), read_n_z((Z, N))
    assert np.allclose(found.z, expected.z, rtol=1e-6)
    assert np.allclose(found.weight, expected.weight, rtol=1e-5, atol=1e-9)
    return found


@pytest.mark.parametrize(
    ("z", "n"),
    [("z", "n"), ("Z_MID", "BIN1"), ("z_mid", "nz"), ("redshift", "n_z"), ("Z", "dndz"), ("zmid", "bin_3")],
)
def test_usual_names_of_columns(z, n):
    assert same(Table({n: N, z: Z})).label == f"columns {z} and {n}"
    with_edges = Table({"Z_LOW": Z - 0.01, z: Z, "Z_HIGH": Z + 0.01, n: N})
    same(with_edges)
    same(QTable({z: Z * u.one, n: MaskedColumn(N)}))
    same({z: Z, n: N})
    same(Table({z: Z, n: N}).as_array())
    same(fits.BinTableHDU(Table({z: Z, n: N})).data)


def test_arrays():
    same([Z, N])
    same(np.array([Z, N]))
    same((list(Z), list(N)))
    same(read_n_z((Z, N)))


@each_case("name", ["nz.ecsv", "nz.fits", "nz.csv", "nz.txt", "nz.vot", "nz.fits.gz"])
def test_files(name, tmp_path):
    formats = {"txt": "ascii.basic", "vot": "votable", "csv": "ascii.csv", "ecsv": "ascii.ecsv"}
    Table({"z": Z, "n": N}).write(tmp_path / name, format=formats.get(name.partition(".")[2], "fits"))
    assert same(tmp_path / name).label == f"{name}, columns z and n"
    same(str(tmp_path / name))


@pytest.mark.parametrize("header", ["", "z nz", "the distribution of the sources, without tomography"])
def test_texts_of_two_columns(header, tmp_path):
    np.savetxt(tmp_path / "nz.txt", np.transpose([Z, N]), header=header)
    same(tmp_path / "nz.txt")


@each_case("name", ["nz.txt", "nz.csv", "nz.dat", "nz.tsv"])
@each_case("separator", [" ", "\t", ",", ";"])
@each_case("head", ["", "# LSST\n# z n\n", "# two lines\n# of comments on it\n"])
def test_separators_of_two_columns(name, separator, head, tmp_path):
    rows = [f"{z:.17g}{separator}{n:.17g}\n" for z, n in zip(Z, N, strict=True)]
    (tmp_path / name).write_text(head + "".join(rows))
    same(tmp_path / name)


@each_case(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("\n# z n\n", "it is empty, or contains only comments"),
        ("0.1 0\n0.2 0\n", "needs densities n of which some are positive; all 2 are zero"),
        ("0.1 0 1\n0.2 1 1\n", "needs a table with columns such as z and n"),
    ],
)
@each_case("name", ["nz.txt", "nz.csv"])
def test_texts_without_a_distribution(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises((OSError, ValueError), match=f"^z_source: .*{message}"):
        read_n_z(tmp_path / name, "z_source")


def test_a_number_is_a_plane():
    for source in (0.8, "0.8", np.float32(0.8), u.Quantity(0.8), ([0.8], [3.0])):
        sources = read_n_z(source)
        assert np.allclose(sources.z, [0.8])
        assert sources.label == "z_s = 0.8"
        assert np.isclose(sources.farthest, 0.8)
    plane = critical_surface_density(0.3, 0.8, FLAT)
    narrow = critical_surface_density(0.3, ([0.7999, 0.8, 0.8001], [0, 1, 0]), FLAT)
    assert np.isclose(plane / narrow, 1, rtol=1e-6)


def several(tmp_path):
    """Return a file in the format of 2point: covariance, then distributions of lenses and sources."""
    bins = {"Z_LOW": Z - 0.025, "Z_MID": Z, "Z_HIGH": Z + 0.025, "BIN1": N[::-1], "BIN2": N}
    tables = {"COVMAT": Table({"COVMAT": [1.0]}), "NZ_LENS": Table(bins), "nz_source": Table(bins)}
    hdus = [fits.BinTableHDU(table, name=name) for name, table in tables.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "2pt.fits")
    return tmp_path / "2pt.fits"


def test_files_of_several_tables(tmp_path):
    same(several(tmp_path), column="BIN2")
    with pytest.raises(ValueError, match="several distributions, BIN1, BIN2; choose one"):
        read_n_z(several_again := tmp_path / "2pt.fits", "z_source")
    with pytest.raises(ValueError, match="no column 'BIN7' in the table"):
        read_n_z(several_again, column="BIN7")


def test_tracers_of_sacc(tmp_path):
    tracers = {"lens_0": SimpleNamespace(), "source_0": SimpleNamespace(z=Z, nz=N)}
    assert same(SimpleNamespace(tracers=tracers)).label == "tracer source_0"
    tracers["source_1"] = SimpleNamespace(z=Z, nz=N[::-1])
    with pytest.raises(ValueError, match=r"z_source: needs one tracer .* got source_0, source_1 of lens_0"):
        read_n_z(SimpleNamespace(tracers=tracers), "z_source")
    same(SimpleNamespace(tracers=tracers), column="source_0")
    # FITS of sacc: one table for each tracer
    hdus = [fits.BinTableHDU(Table({"z": Z, "nz": n}), name=f"tracer:NZ:{k}") for k, n in (("a", N), ("b", N[::-1]))]
    for hdu in hdus:
        hdu.header["SACCNAME"] = hdu.name[-1].lower()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "sacc.fits")
    same(tmp_path / "sacc.fits", column="a")
    with pytest.raises(ValueError, match="has 2 tables with columns such as z and n, TRACER:NZ:A, TRACER:NZ:B"):
        read_n_z(tmp_path / "sacc.fits")


def test_files_of_sacc_itself(tmp_path):
    sacc = pytest.importorskip("sacc")
    made = sacc.Sacc()
    made.add_tracer("NZ", "source_0", Z, N)
    made.add_tracer("NZ", "source_1", Z, N[::-1])
    made.add_data_point("galaxy_shear_cl_ee", ("source_0", "source_1"), 1e-9, ell=100)
    same(made, column="source_0")
    made.save_fits(str(tmp_path / "one.sacc"))
    made.save_hdf5(str(tmp_path / "two.hdf5"))
    same(tmp_path / "one.sacc", column="source_0")
    same(tmp_path / "two.hdf5", column="source_0")


def test_missing_sacc_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacc", None)
    (tmp_path / "nz.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ImportError, match=r"n_z: sacc is needed to read .*nz.hdf5'.*pip install sacc"):
        read_n_z(tmp_path / "nz.hdf5")


def galaxies(n=3000, **columns):
    rng = np.random.default_rng(1)
    coords = SkyCoord(rng.uniform(10, 11, n), rng.uniform(0, 1, n), unit="deg")
    return ShearCatalog(coords, 0.1 * np.ones(n), np.zeros(n), axes="west-north", **columns)


def test_catalogues():
    rng = np.random.default_rng(2)
    z, weight = rng.gamma(3, 0.3, 3000).clip(0.001, 5), rng.uniform(0.5, 2, 3000)
    expected = critical_surface_density(0.3, z, FLAT, weight=weight)
    assert critical_surface_density(0.3, galaxies(redshift=z, weight=weight), FLAT) == expected
    for table in (
        Table({"redshift": z, "weight": weight}),
        Table({"ra": z, "dec": z, "z": z, "n": 0 * z, "w": weight}),  # n is the Sersic index
    ):
        assert np.isclose(critical_surface_density(0.3, table, FLAT) / expected, 1, rtol=1e-12)
    missing = Table({"z": MaskedColumn(np.append(z, [99.0, 0.7]), mask=[False] * 3000 + [True, False])})
    missing["w"] = np.append(weight, [1.0, np.nan])
    with pytest.warns(AstropyUserWarning, match="z_source: 2 of 3002 galaxies dropped: redshift or weight missing"):
        assert np.isclose(critical_surface_density(0.3, missing, FLAT) / expected, 1, rtol=1e-12)
    with pytest.raises(ValueError, match="z_source: the catalogue has no redshifts"):
        critical_surface_density(0.3, galaxies(), FLAT)
    n_z = np.linspace(0.4, 1.6, 30), np.hanning(30)
    expected = critical_surface_density(0.3, n_z, FLAT)  # a given n(z) replaces the redshifts, as in maps
    for columns in ({}, {"redshift": z}):
        assert critical_surface_density(0.3, galaxies(n_z=n_z, **columns), FLAT) == expected


def test_grouped_redshifts_keep_their_mean():
    z = np.random.default_rng(3).gamma(3, 0.3, 30000)
    sources = read_n_z(z)
    few, weight = sources.few()
    assert len(few) <= 2000
    assert np.isclose((few * weight).sum(), z.mean(), rtol=1e-12)
    exact = (sources.weight * lensing_efficiency(0.3, z, FLAT)).sum()
    assert np.isclose((weight * lensing_efficiency(0.3, few, FLAT)).sum(), exact, rtol=1e-5)


def test_slightly_negative_densities_are_set_to_zero():
    noisy = np.where(Z > 2.5, -1e-4, N)
    with pytest.warns(AstropyUserWarning, match=r"z_source: 10 negative densities, 0.\d\d% of the sum, are set to 0"):
        found = critical_surface_density(0.3, (Z, noisy), FLAT)
    assert found == critical_surface_density(0.3, (Z, np.where(Z > 2.5, 0, N)), FLAT)


def test_warning_for_magnitudes():
    with pytest.warns(
        AstropyUserWarning, match="z_source: 2 of 3 redshifts are larger than 10; they may be magnitudes"
    ):
        read_n_z([0.5, 22.1, 23.0], "z_source")


@each_case(
    ("source", "message"),
    [
        (([0, 0.5, 0.4], [1, 1, 1]), "needs increasing redshifts z; that of index 2 is not larger"),
        (([0, 0.5, 0.5], [1, 1, 1]), "needs increasing redshifts"),
        (([0, 0.5, 0.6], [1, -1, 1]), "needs densities n that are not negative; 1 of 3 are"),
        (([0, 0.5, 0.6], [0, 0, 0]), "needs densities n of which some are positive; all 3 are zero"),
        (([-0.1, 0.5, 0.6], [1, 1, 1]), "needs redshifts z from 0 to 1100, got -0.1 to 0.6"),
        (([0, 3e5, 6e5], [1, 1, 1]), "needs redshifts z from 0 to 1100, got 0 to 600000"),  # in km/s: 3 GiB of nodes
        (([0, 0.5, np.inf], [1, 1, 1]), "needs finite redshifts and densities; 1 are not"),
        (([0, 0.5, 0.6], [1, np.nan, 1]), "needs finite"),
        ((Z, N[1:]), "60 for 61; if the redshifts are edges of bins, give the centres"),
        ((Z, N[2:]), "got the shapes"),
        (np.transpose([Z, N]), r"a pair \(z, n\), got an array of shape"),
        (Table({"Z_LOW": Z, "Z_HIGH": Z, "BIN1": N}), "Z_LOW, Z_HIGH are edges of bins: add a column z_mid"),
        (Table({"x": Z, "n": N}), "needs a table with columns such as z and n"),
        (Table({"z": Z, "flux": N}), r"no density such as n, nz or BIN1 among \['z', 'flux'\]"),
        (
            Table({"z": Z, "bin1": N, "bin2": N}),
            r"several distributions, bin1, bin2; .* table\['z', 'bin1'\]",
        ),
        (0.0, "needs positive, finite redshifts; 1 of 1"),
        ([], "needs positive, finite redshifts; 0 of 0"),
    ],
)
def test_invalid_distributions(source, message):
    with pytest.raises(ValueError, match=f"^z_source: .*{message}"):
        critical_surface_density(0.3, source, FLAT)


def test_sources_in_front_and_units():
    with pytest.raises(ValueError, match=r"z_source: needs sources behind z_lens = 0.5, the farthest is at 0.4"):
        critical_surface_density(0.5, ([0, 0.2, 0.4, 0.6], [1, 1, 0, 0]), FLAT)
    with pytest.raises(u.UnitsError, match="z_source, the redshifts: needs to be dimensionless, got the unit Mpc"):
        critical_surface_density(0.5, (Z * u.Mpc, N), FLAT)
    with pytest.raises(ValueError, match="weight: needs one redshift for each galaxy in z_source"):
        critical_surface_density(0.3, (Z, N), FLAT, weight=N)


def test_halos_and_injection():
    halo = NFWHalo(8e14 * u.Msun, redshift=0.3, cosmology=FLAT)
    theta = [1, 3] * u.arcmin
    mean = lensing_efficiency(0.3, (Z, N), FLAT)
    one = lensing_efficiency(0.3, 1.0, FLAT)
    assert np.allclose(halo.shear(theta, (Z, N)), halo.shear(theta, 1.0) * mean / one, rtol=1e-12)
    survey, center = galaxies(200), SkyCoord(10.5, 0.5, unit="deg")
    # a plane of the same mean efficiency
    z = np.linspace(0.31, 1.5, 20001)
    plane = float(np.interp(mean, lensing_efficiency(0.3, z, FLAT), z))
    added = [inject_halo(survey, halo, center, z_source=s) for s in ((Z, N), Table({"z": Z, "n": N}), plane)]
    assert np.array_equal(added[0].g1, added[1].g1)
    assert np.allclose(added[0].g1, added[2].g1, atol=1e-7)
    assert np.abs(added[0].g1 - survey.g1).max() > 1e-3
    with pytest.raises(ValueError, match=r"z_source: needs to be larger than the redshift 0.3 of a halo, got 0.2"):
        inject_halo(survey, halo, center, z_source=([0, 0.1, 0.2], [0, 1, 0]))


def test_maps_accept_distributions(tmp_path):
    from astro_massmap import datasets

    truth = datasets.demo_truth()
    Table({"z": Z, "n": N}).write(tmp_path / "nz.ecsv")
    sigma = truth.surface_density(0.3, tmp_path / "nz.ecsv", FLAT)
    assert np.allclose(sigma.data / truth.data, critical_surface_density(0.3, (Z, N), FLAT).value, rtol=1e-5)


def test_planes_of_simulations_are_weighted_consistently():
    planes = np.linspace(0.1, 3, 30)
    weights = plane_weights((Z, N), planes)
    assert np.allclose(plane_weights(Table({"z_mid": Z, "nz": N}), planes), weights)
    galaxies_of_it = read_n_z(read_n_z((Z, N)).z, weight=read_n_z((Z, N)).weight)
    assert np.allclose(plane_weights(galaxies_of_it, planes), weights, atol=1e-5)


@pytest.mark.slow
def test_spectra_accept_distributions(tmp_path):
    pytest.importorskip("camb")
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)
    options = {"As": 2.1e-9, "n_s": 0.97, "ell": [100, 1000]}
    near = Z[Z < 0.4], N[Z < 0.4]
    Table(near, names=["Z_MID", "BIN1"]).write(tmp_path / "nz.fits")
    spectra = [PowerSpectrum.from_cosmology(cosmology, n_z=n_z, **options) for n_z in (near, tmp_path / "nz.fits")]
    assert np.array_equal(spectra[0].cl, spectra[1].cl)
    assert spectra[1].name == "FlatLambdaCDM, nz.fits, columns Z_MID and BIN1"
