"""Spectra of source distributions in the default cosmology, against camb, pyccl and the default spectrum."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings, strategies as st

from astro_massmap import PowerSpectrum
from astro_massmap.theory.matter_power import MatterPower

from helpers.cases import each_case

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)
ELL = np.geomspace(10, 1e5, 41)
SHEAR = (ELL + 2) * (ELL + 1) * ELL * (ELL - 1) / (ELL + 0.5) ** 4  # power of shear over that of convergence


def gaussian(mean, std, z=None):
    z = np.linspace(max(mean - 5 * std, 0), mean + 5 * std, 401) if z is None else z
    return z, np.exp(-0.5 * ((z - mean) / std) ** 2)


def spikes():
    z = np.linspace(0, 3, 6001)
    heights = {0.12: 2, 0.35: 5, 0.73: 3, 2.7: 1}
    return z, z**2 * np.exp(-z / 0.3) + sum(a * gaussian(mean, 0.004, z)[1] for mean, a in heights.items())


WIDE = np.linspace(0, 3, 301)
CASES = {
    "broad": (WIDE, WIDE**2 * np.exp(-((WIDE / 0.7) ** 1.5))),
    "tail to z = 3": (WIDE, WIDE**2 * np.exp(-WIDE / 0.6)),
    "n(0) > 0": (WIDE, np.exp(-WIDE / 0.7)),
    "spikes": spikes(),
    "bin": gaussian(0.5, 0.12),
    "overlapping bin": gaussian(0.65, 0.15),
    "plane at 0.1": gaussian(0.1, 0.0005),
    "plane at 0.4": gaussian(0.4, 0.001),
    "plane at 1": gaussian(1, 0.002),
    "plane at 2.5": gaussian(2.5, 0.004),
}
DES = [f"bin{i}" for i in (1, 2, 3, 4)]
each_distribution = pytest.mark.parametrize("case", [*CASES, *DES])


@pytest.fixture
def n_z(case, request):
    if case in CASES:
        return CASES[case]
    table = Table.read(request.getfixturevalue("massmap_data") / "surveys/desy3_nz.ecsv")
    return np.array(table["z"]), np.maximum(table[case], 0)  # some are slightly negative


def ccl_cosmology(ccl, **options):
    return ccl.Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=0.97, A_s=2.1e-9, T_CMB=2.7255, Neff=3.046, **options)


def ccl_spectrum(ccl, cosmology, n_z, **options):
    z = np.union1d(n_z[0], np.linspace(n_z[0][0], n_z[0][-1], 3001))  # pyccl interpolates by splines
    tracer = ccl.WeakLensingTracer(cosmology, dndz=(z, np.interp(z, *n_z)), n_samples=2048)
    return ccl.angular_cl(cosmology, tracer, tracer, ELL, **options) / SHEAR


# ---- independent computations


def test_the_default_spectrum_is_that_of_a_plane():
    default = PowerSpectrum.default()
    found = PowerSpectrum.from_n_z(1.0)
    assert np.abs(found.cl / default.cl - 1).max() < 1e-3
    assert np.abs(found.cl / default.cl - 1)[default.ell < 3e4].max() < 1e-4
    assert np.array_equal(found.ell, default.ell) and found.name == default.name


@pytest.fixture(scope="module")
def simple():
    """Return pyccl and a cosmology of it, and the shipped matter power as its table."""
    ccl = pytest.importorskip("pyccl")
    a, k = np.linspace(1 / 4.5, 1, 120), np.geomspace(1e-4, 1e4, 1200)
    log_power = np.log(MatterPower.default()(1 / a[:, None] - 1, k))
    power = ccl.Pk2D(a_arr=a, lk_arr=np.log(k), pk_arr=log_power, is_logp=True)
    ccl.spline_params.K_MAX = 1e6  # of projections; 1e3 cuts the plane at 0.1
    yield ccl, ccl_cosmology(ccl, transfer_function="bbks", matter_power_spectrum="linear"), power
    ccl.spline_params.reload()


@pytest.mark.slow
@each_distribution
def test_the_projection_is_that_of_an_independent_code(n_z, simple):
    ccl, cosmology, power = simple
    expected = ccl_spectrum(ccl, cosmology, n_z, p_of_k_a=power)
    assert np.abs(PowerSpectrum.from_n_z(*n_z, ell=ELL).cl / expected - 1).max() < 1e-3


@pytest.fixture(scope="module")
def hmcode():
    ccl = pytest.importorskip("pyccl")
    power = {"transfer_function": "boltzmann_camb", "matter_power_spectrum": "camb"}
    return ccl, ccl_cosmology(ccl, **power, extra_parameters={"camb": {"halofit_version": "mead2020", "kmax": 50.0}})


@pytest.mark.slow
@each_distribution
def test_the_spectrum_is_that_of_an_independent_code(n_z, hmcode):
    # where wave numbers above 30 / Mpc, a power law here, do not contribute
    ratio = PowerSpectrum.from_n_z(*n_z, ell=ELL).cl / ccl_spectrum(*hmcode, n_z)
    mean = MatterPower.default().distance(np.average(n_z[0], weights=n_z[1]))
    assert np.abs(ratio - 1)[7 * mean > ELL].max() < 5e-3


@pytest.fixture(scope="module")
def by_camb():
    pytest.importorskip("camb")
    return {}


@pytest.mark.slow
@each_distribution
def test_the_spectrum_is_that_of_camb(n_z, by_camb, monkeypatch):
    if not by_camb:  # one run of camb for all distributions
        by_camb["matter"] = MatterPower.from_cosmology(COSMOLOGY, As=2.1e-9, n_s=0.97, z_max=3.1)
    monkeypatch.setattr(MatterPower, "from_cosmology", lambda *args, z_max, **options: by_camb["matter"])
    expected = PowerSpectrum.from_cosmology(COSMOLOGY, n_z=n_z, As=2.1e-9, n_s=0.97, ell=ELL)
    assert np.abs(PowerSpectrum.from_n_z(*n_z, ell=ELL).cl / expected.cl - 1).max() < 1e-3


# ---- inputs


@pytest.mark.parametrize("z", [0.02, 0.1, 1.0, 2.5, 10.0])
def test_planes_are_narrow_distributions(z):
    narrow = PowerSpectrum.from_n_z(*gaussian(z, 1e-4)) if z < 10 else PowerSpectrum.from_n_z([9.9998, 10.0], [1, 1])
    assert np.abs(narrow.cl / PowerSpectrum.from_n_z(z).cl - 1).max() < 1e-3


def test_sources_at_redshift_zero_dilute_the_signal():
    plane = PowerSpectrum.from_n_z(1.0, ell=[100, 1000])
    half = PowerSpectrum.from_n_z([0.0, 1.0], weight=[1, 1], ell=[100, 1000])
    assert np.allclose(half.cl, plane.cl / 4, rtol=1e-12)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.floats(0.05, 0.5), min_size=1, max_size=6),
    st.lists(st.floats(0, 3), min_size=7, max_size=7),
    st.floats(0.1, 0.9),
    st.floats(0.1, 1e3),
)
def test_interpolated_points_and_the_norm_change_nothing(steps, densities, place, norm):
    z, n = np.cumsum([0.05, *steps]), np.array(densities[: len(steps) + 1])
    n[-1] += 1
    more = np.union1d(z, z[0] + place * (z[-1] - z[0]))
    coarse = PowerSpectrum.from_n_z(z, n, ell=[30, 3000])
    fine = PowerSpectrum.from_n_z(more, norm * np.interp(more, z, n), ell=[30, 3000])
    assert np.allclose(coarse.cl, fine.cl, rtol=1e-4)


def test_all_forms_of_input_give_the_same(tmp_path):
    z, n = CASES["broad"]
    expected = PowerSpectrum.from_n_z(z, n, ell=[100, 1000])
    table = Table({"z": z, "BIN1": n, "BIN2": n[::-1]})
    table.write(tmp_path / "nz.fits")
    for source in ((z, n), [z, n], table["z", "BIN1"]):
        assert np.array_equal(PowerSpectrum.from_n_z(source, ell=[100, 1000]).cl, expected.cl)
    read = PowerSpectrum.from_n_z(tmp_path / "nz.fits", column="BIN1", ell=[100, 1000])
    assert np.array_equal(read.cl, expected.cl)
    assert (read.name, expected.name) == ("default: nz.fits, columns z and BIN1", "default: n(z)")
    with pytest.raises(ValueError, match=r"^z: .* several distributions, BIN1, BIN2; choose one"):
        PowerSpectrum.from_n_z(tmp_path / "nz.fits")


def test_galaxies_are_sources():
    rng = np.random.default_rng(1)
    z, n = CASES["bin"]
    drawn = rng.choice(z, 200_000, p=n / n.sum())
    galaxies = PowerSpectrum.from_n_z(Table({"redshift": drawn}), ell=[100, 1000, 10000])
    assert np.allclose(galaxies.cl, PowerSpectrum.from_n_z(z, n, ell=[100, 1000, 10000]).cl, rtol=5e-3)


def test_slightly_negative_densities_are_set_to_zero():
    z, n = CASES["broad"]
    with pytest.warns(AstropyUserWarning, match=r"^z, n: 1 negative densities"):
        PowerSpectrum.from_n_z(z, np.where(z == z[-1], -1e-4, n))


@each_case(
    ("arguments", "message"),
    [
        ((0.0,), "z: needs positive, finite redshifts"),
        (([0.0, 0.0],), "z: needs sources at redshifts larger than 0, got none"),
        (([0.1, 0.2], [1.0]), "z, n: needs one density for each redshift"),
        (([0.2, 0.1], [1, 1]), "z, n: needs increasing redshifts"),
        (([0.1, 0.2], [-1, -1]), "z, n: needs densities n that are not negative"),
        (([0.1, 0.2], [0, 0]), "z, n: needs densities n of which some are positive"),
    ],
)
def test_invalid_sources(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        PowerSpectrum.from_n_z(*arguments)


@pytest.mark.filterwarnings("ignore:z. 1 of:astropy.utils.exceptions.AstropyUserWarning")
def test_the_range_of_the_table():
    with pytest.raises(ValueError, match=r"^z: needs sources at redshifts up to 10, got 24"):
        PowerSpectrum.from_n_z([0.5, 24.0])


@each_case("ell", [[100, 10], [0, 10], [10], [[10, 100]], [10, np.nan]])
def test_invalid_multipoles(ell):
    with pytest.raises(ValueError, match=r"^ell: needs"):
        PowerSpectrum.from_n_z(1.0, ell=ell)


def test_neither_astropy_nor_torch_nor_camb_is_needed():
    code = """
import sys
for name in ("astropy", "torch", "camb"):
    sys.modules[name] = None
import numpy as np
from astro_massmap import PowerSpectrum
z = np.linspace(0, 3, 100)
assert PowerSpectrum.from_n_z(z, z * np.exp(-3 * z)).cl[0] > PowerSpectrum.from_n_z(0.1).cl[0]
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
