"""Background, growth and linear power against astropy, the growth equation and closed forms."""

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM, FlatwCDM
from scipy.integrate import simpson, solve_ivp

from astro_massmap.simulation import Cosmology

from helpers.cases import each_case

OPTIONS = {"H0": 70, "Om0": 0.3, "Ob0": 0.05, "Tcmb0": 2.7255, "m_nu": 0}
FIDUCIAL = FlatLambdaCDM(**OPTIONS)
A = np.linspace(0.02, 1, 50)


@pytest.fixture(scope="module")
def cosmology():
    return Cosmology.default()


def of_matter(omega_m):
    return Cosmology(omega_m, [1e-3, 1], [1e4, 1e2])


def slope(f, x, step=1e-4):
    """Derivative by a central difference of fourth order."""
    return (8 * (f(x + step) - f(x - step)) - f(x + 2 * step) + f(x - 2 * step)) / (12 * step)


# ---- background


@pytest.mark.parametrize("omega_m", [0.1, 0.3, 0.9])
def test_distances_are_those_of_astropy(omega_m):
    z = np.array([0.0, 0.01, 0.3, 1.0, 3.0, 10.0])
    expected = FlatLambdaCDM(H0=100, Om0=omega_m, Tcmb0=0).comoving_distance(z).to_value(u.Mpc)
    assert np.allclose(of_matter(omega_m).distance(z), expected, rtol=1e-6)
    assert abs(Cosmology.default().distance(1.0) - 2312.7) < 0.1


def test_the_scale_factor_inverts_the_distance(cosmology):
    z = np.array([0.0, 0.003, 0.1, 0.5, 1.0, 2.5, 10.0])
    assert np.allclose(cosmology.scale_factor(cosmology.distance(z)), 1 / (1 + z), rtol=1e-6)


def test_expansion(cosmology):
    assert cosmology.expansion(1.0) == 1
    assert np.allclose(cosmology.expansion(A), FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0).efunc(1 / A - 1))


# ---- growth


def test_growth_at_redshift_one(cosmology):
    assert cosmology.growth(1.0) == 1
    assert abs(cosmology.growth(0.5) - 0.6118) < 1e-4


@pytest.mark.parametrize("omega_m", [0.1, 0.3, 0.9])
def test_growth_solves_its_equation(omega_m):
    # D'' + (2 + dln E / dln a) D' = 3/2 Om(a) D in ln a, from matter domination, where D = a
    c = of_matter(omega_m)

    def equation(ln_a, state):
        omega = omega_m * np.exp(-3 * ln_a) / c.expansion(np.exp(ln_a)) ** 2
        return [state[1], 1.5 * omega * state[0] - (2 - 1.5 * omega) * state[1]]

    solution = solve_ivp(equation, [np.log(1e-4), 0], [1e-4, 1e-4], t_eval=np.log(A), rtol=1e-9, atol=1e-12)
    growth, rate = solution.y / solution.y[0, -1]
    assert np.allclose(c.growth(A), growth, rtol=1e-5)
    assert np.allclose(c.growth_rate(A), rate / growth, rtol=1e-5)


def test_the_rate_is_the_logarithmic_slope_of_growth(cosmology):
    assert np.allclose(cosmology.growth_rate(A), A * slope(lambda a: np.log(cosmology.growth(a)), A), rtol=1e-6)
    assert abs(cosmology.growth_rate(1.0) / 0.3**0.55 - 1) < 0.01


def test_the_momentum_obeys_the_equation_of_motion(cosmology):
    # da / dt d/da (a^2 dx / dt) = 3/2 Om D / a in units of the Hubble time
    a = A[:-1]
    momentum = a**3 * cosmology.expansion(a) * slope(cosmology.growth, a)
    assert np.allclose(cosmology.growth_momentum(a), momentum, rtol=1e-6)
    force = 1.5 * cosmology.omega_m * cosmology.growth(a) / (a**2 * cosmology.expansion(a))
    assert np.allclose(slope(cosmology.growth_momentum, a), force, rtol=1e-6)


def test_matter_alone_has_closed_forms():
    c = of_matter(1.0)
    assert np.allclose(c.growth(A), A, rtol=1e-10)
    assert np.allclose(c.growth_rate(A), 1, rtol=1e-10)
    assert np.allclose(c.growth_momentum(A), A**1.5, rtol=1e-10)
    assert np.isclose(c.distance(3.0), 2997.92458, rtol=1e-10)  # 2 c / H0 (1 - a^1/2)


# ---- linear power


def test_sigma8(cosmology):
    k = np.geomspace(1e-4, 30, 4000)
    x = 8 * k
    ball = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = simpson(k**3 * cosmology.linear_power(k) * ball**2 / (2 * np.pi**2), x=np.log(k))
    assert abs(np.sqrt(variance) - 0.8283) < 5e-4


def test_linear_power_interpolates_its_table_and_is_a_power_law_beyond(cosmology):
    assert np.allclose(cosmology.linear_power(cosmology.k), cosmology.power, rtol=1e-12)
    power_law = Cosmology(0.3, [0.1, 1, 5], [300, 3, 3 / 25])
    k = np.array([1e-6, 0.02, 0.3, 2.0, 400.0])
    assert np.allclose(power_law.linear_power(k), 3 / k**2, rtol=1e-12)
    assert power_law.linear_power(k.reshape(5, 1)).shape == (5, 1)
    # primordial slope below the table; -4 + n_s and a logarithm beyond it
    ends = [np.log(cosmology.linear_power(k * 2) / cosmology.linear_power(k)) / np.log(2) for k in (1e-6, 100.0)]
    assert abs(ends[0] - 0.97) < 0.01
    assert -2.8 < ends[1] < -2.6


@pytest.mark.slow
def test_the_shipped_table_is_that_of_camb(cosmology):
    pytest.importorskip("camb")
    computed = Cosmology.from_astropy(FIDUCIAL, As=2.1e-9, n_s=0.97)
    k = np.geomspace(1e-4, 30, 100)
    assert np.abs(computed.linear_power(k) / cosmology.linear_power(k) - 1).max() < 2e-3
    assert abs(computed.omega_m - 0.3) < 1e-4
    assert computed.name == "FlatLambdaCDM, n_s 0.97, As 2.1e-09"


@pytest.mark.slow
def test_sigma8_and_As_give_the_same_power(cosmology):
    pytest.importorskip("camb")
    computed = Cosmology.from_astropy(FlatLambdaCDM(**OPTIONS, name="mine"), sigma8=0.8283, n_s=0.97)
    assert np.abs(computed.linear_power(cosmology.k) / cosmology.power - 1).max() < 2e-3
    assert computed.name == "mine, n_s 0.97, sigma8 0.8283"


# ---- errors


@each_case(
    ("change", "message"),
    [
        ({"omega_m": 0}, "omega_m: needs to be between 0 and 1, got 0"),
        ({"omega_m": 1.1}, "omega_m"),
        ({"omega_m": np.nan}, "omega_m"),
        ({"k": [1.0]}, r"k, power: need one dimension and equal lengths, got \(1,\) and \(2,\)"),
        ({"k": [1.0], "power": [1.0]}, "k, power"),
        ({"k": [[1.0, 2.0]], "power": [[1.0, 2.0]]}, "k, power"),
        ({"k": [2.0, 1.0]}, "increasing k"),
        ({"k": [0.0, 1.0]}, "positive"),
        ({"k": [1.0, np.inf]}, "finite"),
        ({"power": [1.0, 0.0]}, "positive"),
        ({"power": [1.0, np.nan]}, "positive"),
    ],
)
def test_bad_numbers_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Cosmology(**{"omega_m": 0.3, "k": [0.1, 1.0], "power": [10.0, 1.0]} | change)


@each_case(
    ("cosmology", "options", "message"),
    [
        (FlatwCDM(H0=70, Om0=0.3, Ob0=0.05, w0=-0.9), {}, "cosmology: needs a cosmological constant"),
        (FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0), {}, "Ob0"),
        (FIDUCIAL, {"sigma8": 0.8}, "sigma8, As"),
        (FIDUCIAL, {"As": None}, "sigma8, As"),
    ],
)
def test_bad_cosmologies_are_named(cosmology, options, message):
    pytest.importorskip("camb")
    with pytest.raises(ValueError, match=message):
        Cosmology.from_astropy(cosmology, **{"As": 2.1e-9, "n_s": 0.97} | options)
