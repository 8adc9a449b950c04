"""Matter power and distances of the shipped table against camb, pyccl, astropy and closed forms."""

import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table

import astro_massmap
from astro_massmap.simulation import Cosmology
from astro_massmap.theory.matter_power import MatterPower

from helpers.cases import each_case

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)
Z, K = np.linspace(0, 9, 10), np.geomspace(0.01, 10, 31)


@pytest.fixture(scope="module")
def matter():
    return MatterPower.default()


@pytest.mark.slow
def test_the_shipped_table_is_that_of_camb(matter):
    pytest.importorskip("camb")
    computed = MatterPower.from_cosmology(COSMOLOGY, As=2.1e-9, n_s=0.97, z_max=3.7)  # at other redshifts
    z, k = np.linspace(0, 3.7, 41)[:, None], np.geomspace(1e-5, 300, 400)
    error = np.abs(matter(z, k) / computed(z, k) - 1)
    assert error[:, k < 30].max() < 5e-4 and error.max() < 2e-3
    assert np.sqrt((error[:, k < 30] ** 2).mean()) < 5e-5
    assert np.allclose(matter.distance(z[1:]), computed.distance(z[1:]), rtol=5e-5)
    assert np.isclose(matter.omega_m_h2, computed.omega_m_h2, rtol=1e-6)


@pytest.mark.slow
def test_the_power_of_an_independent_code(matter):
    ccl = pytest.importorskip("pyccl")
    power = {"transfer_function": "boltzmann_camb", "matter_power_spectrum": "camb", "T_CMB": 2.7255, "Neff": 3.046}
    hmcode = {"camb": {"halofit_version": "mead2020", "kmax": 50.0}}
    cosmology = ccl.Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=0.97, A_s=2.1e-9, **power, extra_parameters=hmcode)
    k = np.geomspace(1e-3, 27, 100)
    for z in (0, 0.5, 1, 2, 3):
        assert np.abs(matter(z, k) / cosmology.nonlin_matter_power(k, 1 / (1 + z)) - 1).max() < 2e-3
        assert np.isclose(matter.distance(z), cosmology.comoving_radial_distance(1 / (1 + z)), rtol=1e-4, atol=1e-6)


def test_distances_are_those_of_astropy(matter):
    z = np.array([0.001, 0.03, 0.3, 1.0, 3.0, 10.0])
    assert np.allclose(matter.distance(z), COSMOLOGY.comoving_distance(z).to_value(u.Mpc), rtol=5e-5)
    assert matter.distance(0) == 0


def test_large_scales_grow_linearly(matter):
    linear = Cosmology.default()
    k = np.geomspace(1e-4, 5e-3, 20)
    for z in (0, 1, 5):
        expected = linear.linear_power(k / 0.7) * linear.growth(1 / (1 + z)) ** 2 / 0.7**3
        assert np.abs(matter(z, k) / expected - 1).max() < 0.01


def test_small_scales_are_a_power_law(matter):
    slope = np.log(matter(1, 27.0) / matter(1, 24.0)) / np.log(27 / 24)
    assert np.allclose(matter(1, [50, 1e3, 1e6]), matter(1, 27.0) * (np.array([50, 1e3, 1e6]) / 27) ** slope, rtol=1e-9)
    primordial = np.log(matter(0, 2e-6) / matter(0, 1e-6)) / np.log(2)
    assert abs(primordial - 0.97) < 0.01


def power_law(z, k):
    return 1e4 * (1 + np.asarray(z)) ** -2 * np.asarray(k) ** -1.5


def test_a_power_law_is_interpolated_and_continued_everywhere():
    matter = MatterPower(Z, K, power_law(Z[:, None], K), distance=100 * np.log1p(Z), omega_m_h2=0.15)
    z, k = np.linspace(0, 9, 7)[:, None], np.geomspace(1e-6, 1e6, 41)
    assert np.allclose(matter(z, k), power_law(z, k), rtol=1e-9)
    assert matter(z, k).shape == (7, 41) and np.isscalar(matter(1.0, 2.0)) and matter(1.0, k).shape == (41,)
    assert np.allclose(matter.distance(z), 100 * np.log1p(z), rtol=1e-12)
    assert np.array_equal(pickle.loads(pickle.dumps(matter))(z, k), matter(z, k))


def test_the_file_is_a_table_of_astropy(matter):
    path = astro_massmap.__path__[0] + "/data/default_matter_power.ecsv"
    table = Table.read(path)
    assert str(table["k"].unit) == "1 / Mpc" and str(table["z=10"].unit) == "Mpc3"
    assert np.allclose(matter(10, table["k"][:-10]), table["z=10"][:-10], rtol=1e-9)


@each_case(
    ("change", "message"),
    [
        ({"z": Z[:5]}, "z: needs one dimension of at least 6"),
        ({"z": Z[::-1]}, "z: needs"),
        ({"z": Z + 1}, "z, k: need redshifts from 0"),
        ({"k": K[:, None]}, "k: needs one dimension"),
        ({"k": K - 0.01}, "z, k: need"),
        ({"power": np.ones((10, 30))}, r"power: needs positive values of the shape \(10, 31\), got \(10, 30\)"),
        ({"power": -power_law(Z[:, None], K)}, "power: needs positive"),
        ({"distance": Z[::-1]}, "distance: needs increasing values from 0"),
        ({"distance": Z[1:]}, r"distance: needs increasing values from 0 of the shape \(10,\), got \(9,\)"),
        ({"omega_m_h2": 0}, "omega_m_h2: needs a positive number, got 0"),
    ],
)
def test_invalid_tables(change, message):
    table = {"z": Z, "k": K, "power": power_law(Z[:, None], K), "distance": Z, "omega_m_h2": 0.15}
    with pytest.raises(ValueError, match=f"^{message}"):
        MatterPower(**table | change)


@each_case(
    ("z", "k", "message"),
    [
        (10.1, 1, "z: needs redshifts from 0 to 10, the range of the table, got 10.1"),
        ([-0.1, 1], 1, "z: needs redshifts from 0"),
        (np.nan, 1, "z: needs redshifts from 0"),
        (1, 0, "k: needs positive wave numbers in 1/Mpc"),
        (1, [1, np.nan], "k: needs positive"),
    ],
)
def test_invalid_places(z, k, message, matter):
    with pytest.raises(ValueError, match=f"^{message}"):
        matter(z, k)


def test_the_largest_redshift_of_a_cosmology():
    pytest.importorskip("camb")
    with pytest.raises(ValueError, match="z_max: needs a redshift between 0 and 10, got 12"):
        MatterPower.from_cosmology(COSMOLOGY, As=2.1e-9, n_s=0.97, z_max=12)
