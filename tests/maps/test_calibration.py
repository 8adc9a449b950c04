"""Ellipticities with a response to shear, a number or a matrix, other than one."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from astro_massmap import ConvergenceMap, ShearCatalog, ShearMap
from astro_massmap.cli import main
from astro_massmap.maps.axes import AXES, to_west_north
from astro_massmap.maps.calibration import complex_parts, real_matrix, seen_along, times
from astro_massmap.simulation import NFWHalo, inject_halo, observe
from astro_massmap.validation.null_tests import noise_maps, rotated

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

SHAPE = (12, 16)
GRID = tan_wcs(SHAPE)
N = 400
MATRIX = np.array([[0.7, 0.05], [-0.03, 0.8]])


def make(e=None, n=N, **options):
    e = np.random.default_rng(0).normal(scale=0.25, size=(2, n)) if e is None else e
    options = {"axes": "west-north", "weight": np.random.default_rng(1).uniform(0.5, 2, n)} | options
    return ShearCatalog(scatter(GRID, SHAPE, n), *e, **options)


def noisy(n=N, scatter=0.4, seed=1):
    """Response matrices of single galaxies, as measured by metacalibration."""
    return MATRIX + scatter * np.random.default_rng(seed).normal(size=(n, 2, 2))


def seen(catalog):
    return catalog.g1 + 1j * catalog.g2


def assert_same_map(one, other, **options):
    one, other = (c.to_map(wcs=GRID, **options) for c in (one, other))
    assert np.allclose(one.data, other.data, rtol=0, atol=1e-9)
    assert np.allclose(one.noise_std, other.noise_std, rtol=1e-6)
    assert np.isclose(one.meta["shape_noise"], other.meta["shape_noise"])


# ---- the estimate


matrices = arrays(float, (2, 2), elements=st.floats(-0.3, 0.3)).map(lambda m: np.diag([0.9, 0.8]) + m)


@pytest.mark.slow
@given(st.floats(0.1, 3) | matrices, st.sampled_from(list(AXES)))
@settings(max_examples=30, deadline=None)
def test_a_response_divides_the_ellipticities(response, axes):
    shear = make(axes=axes)
    e = np.dot(response, [shear.g1, shear.g2])
    assert_same_map(make(e, axes=axes, response=response, max_shear=9), shear)


@pytest.mark.parametrize("response", [np.linspace(0.5, 1.5, N), noisy()])
def test_the_response_of_galaxies_is_averaged_over_the_catalogue(response):
    catalog = make(response=response)
    mean = sum(w * r for w, r in zip(catalog.weight, response, strict=True)) / catalog.weight.sum()
    assert_same_map(catalog, make(response=mean))
    assert np.allclose(catalog.to_map(wcs=GRID).meta["response"], mean)
    kept = np.arange(N) < 300
    part = catalog[kept]
    assert len(part.response) == 300
    assert_same_map(part, ShearCatalog(
        part.coords, part.g1, part.g2, axes=part.axes, weight=part.weight, response=response[:300]
    ))  # fmt: skip
    mean = sum(w * r for w, r in zip(part.weight, response, strict=False)) / part.weight.sum()
    assert np.allclose(part.to_map(wcs=GRID).meta["response"], mean)


def test_the_estimator_of_hsc():
    # Mandelbaum et al. (2018): (sum(w e) / (2 R sum(w)) - <c>) / (1 + <m>), R = 1 - <e_rms^2>
    rng = np.random.default_rng(3)
    rms, m, c = rng.uniform(0.3, 0.45, N), rng.uniform(-0.2, 0.1, N), rng.normal(scale=0.02, size=(2, N))
    catalog = make(responsivity=1 - rms**2, m_bias=m, c_bias=c)
    w, shear = catalog.weight, catalog.to_map(wcs=GRID)
    responsivity = 1 - (w * rms**2).sum() / w.sum()
    x, y = (np.rint(p).astype(int) for p in GRID.world_to_pixel(catalog.coords))
    for pixel in np.argwhere(~shear.mask)[::20]:
        here = (y == pixel[0]) & (x == pixel[1])
        mean = {name: (w * q)[here].sum() / w[here].sum() for name, q in
                {"e1": catalog.g1, "e2": catalog.g2, "c1": c[0], "c2": c[1], "m": m}.items()}  # fmt: skip
        expected = [(mean[f"e{i}"] / (2 * responsivity) - mean[f"c{i}"]) / (1 + mean["m"]) for i in (1, 2)]
        # the axes rotate by less than 0.2 deg over 6 arcmin
        assert np.allclose(shear.data[(slice(None), *pixel)], expected, atol=5e-3)
        n_eff = w[here].sum() ** 2 / (w[here] ** 2).sum()
        assert np.isclose(shear.noise_std[tuple(pixel)], catalog.shape_noise / np.sqrt(n_eff) / (1 + mean["m"]))
    estimates = (catalog.g1 / (2 * responsivity) - c[0]) ** 2 + (catalog.g2 / (2 * responsivity) - c[1]) ** 2
    assert np.isclose(catalog.shape_noise, np.sqrt((w**2 * estimates).sum() / (2 * (w**2).sum())))


def test_a_given_shape_noise_is_that_of_the_shear():
    one, other = (make(response=r, shape_noise=0.3).to_map(wcs=GRID) for r in (1.0, 1.7))
    assert np.array_equal(one.noise_std, other.noise_std)
    assert np.allclose(one.data, 1.7 * other.data)


def test_galaxies_without_a_response_are_dropped_and_counted():
    for response in (np.linspace(0.5, 1.5, N), noisy()):
        response = response.copy()
        response[3], response[5] = np.nan, -99
        with pytest.warns(AstropyUserWarning, match=r"2 of 400 galaxies dropped: \|response\| > 50, or not finite"):
            catalog = make(response=response)
        assert len(catalog) == len(catalog.response) == 398


@each_case(
    ("options", "kind", "words"),
    [
        ({"response": -0.7}, ValueError, "response: needs a positive mean over the 400 galaxies, got -0.7"),
        ({"response": np.linspace(-1, 0.9, N)}, ValueError, "needs a positive mean"),
        ({"response": [[0.1, 1], [1, 0.1]]}, ValueError, "needs a positive mean"),
        ({"response": [[-1, 0], [0, -1]]}, ValueError, "needs a positive mean"),
        ({"response": np.nan}, ValueError, "response: .*, got nan"),
        ({"response": np.ones(7)}, ValueError, r"response: needs one number, one for each of 400.*\(7,\)"),
        ({"response": np.ones((N, 2))}, ValueError, "response: needs one number"),
        ({"response": "0.7 or so"}, TypeError, "response: needs numbers"),
        ({"response": 0.7 * u.deg}, u.UnitsError, "response"),
        ({"responsivity": 1.7}, ValueError, "responsivity: .*at most 1.*got 1.7 to 1.7; give 2 R"),
        ({"responsivity": 0.0}, ValueError, "responsivity"),
        ({"responsivity": 0.8, "response": 1.6}, ValueError, "response, responsivity: give one"),
    ],
)
def test_errors_name_the_argument(options, kind, words):
    with pytest.raises(kind, match=words):
        make(**options)


def test_selections_without_a_mean_response_can_be_shown():
    response = np.ones(N)
    response[:2] = -0.2
    few = make(response=response)[:2]
    assert "shape noise unknown" in repr(few)
    with pytest.raises(ValueError, match=r"response: needs a positive mean over the 2 galaxies, got -0\.2"):
        few.to_map(wcs=GRID)


# ---- tables


@pytest.mark.parametrize("name", ["c.ecsv", "c.fits"])
@pytest.mark.parametrize("response", [1.7, np.linspace(0.5, 1.5, N), MATRIX, noisy()])
def test_files_keep_the_response(name, response):
    catalog = make(response=response, c_bias=(0.01, -0.02), m_bias=-0.1)
    catalog.write(name)
    back = ShearCatalog.read(name, axes="west-north")
    assert np.allclose(back.response, response)
    assert_same_map(back, catalog)
    assert ShearCatalog.read(name, axes="west-north", response=0.5).response == 0.5
    assert ShearCatalog.read(name, axes="west-north", responsivity=0.8).response == 1.6


@pytest.mark.parametrize("axes", ["west-north", "south-east"])
def test_matrices_are_rotated_into_icrs(axes):
    # with the same response for all, rotated galaxy by galaxy, the shear of every galaxy is the same
    coords = scatter(GRID, SHAPE, N).galactic
    catalog = ShearCatalog(coords, *np.random.default_rng(0).normal(size=(2, N)) / 5, axes=axes, response=MATRIX)
    back = ShearCatalog.from_table(catalog.to_table(), axes=axes)
    phase = back.west_north / catalog.west_north
    assert np.allclose(np.abs(phase), 1, atol=1e-3) and abs(np.angle(phase).mean()) > 0.3
    for i in (0, 7):
        e = np.array([back.g1[i], back.g2[i]])
        shear = complex(*np.linalg.solve(back.response[i], e))
        assert np.isclose(to_west_north(shear, axes), (catalog.west_north * phase)[i], atol=1e-3)
    assert np.allclose(back.to_map(wcs=GRID).data, catalog.to_map(wcs=GRID).data, atol=1e-3)


def columns_of(response):
    return {"R11": response[:, 0, 0], "R12": response[:, 0, 1], "R21": response[:, 1, 0], "R22": response[:, 1, 1]}


def table(**more):
    coords = scatter(GRID, SHAPE, N)
    g1, g2 = np.random.default_rng(0).normal(scale=0.2, size=(2, N))
    return Table({"ra": coords.ra, "dec": coords.dec, "e1": g1, "e2": g2, **more})


def test_columns_of_the_response():
    response = noisy()
    names = {key: f"mcal_{key.lower()}" for key in ("R11", "R12", "R21", "R22")}
    metacal = table(**{names[key]: column for key, column in columns_of(response).items()})
    catalog = ShearCatalog.from_table(metacal, axes="west-north", columns=names)
    assert np.array_equal(catalog.response, response)
    assert names.items() <= catalog.columns.items()
    other = ShearCatalog.from_table(metacal, axes="west-north", columns=names, response=0.7)
    assert other.response == 0.7 and not names.keys() & other.columns.keys()
    del names["R12"], names["R21"]
    diagonal = ShearCatalog.from_table(metacal, axes="west-north", columns=names).response
    assert np.array_equal(diagonal, response * np.eye(2))
    with pytest.raises(ValueError, match="needs R11 and R22, got R12"):
        ShearCatalog.from_table(metacal, axes="west-north", columns={"R12": "mcal_r12"})
    scalar = table(R=np.linspace(0.5, 1, N), rms=np.full(N, 0.4))
    assert ShearCatalog.from_table(scalar, axes="west-north", columns={"response": "R"}).response[-1] == 1
    assert ShearCatalog.from_table(scalar, axes="west-north", columns={"rms_e": "rms"}).response[0] == 2 * (1 - 0.16)
    with pytest.raises(ValueError, match="give only one of response, R11 to R22, and rms_e"):
        ShearCatalog.from_table(scalar, axes="west-north", columns={"rms_e": "rms", "response": "R"})
    with pytest.raises(ValueError, match=r"rms_e: .*got up to 1\.4"):
        ShearCatalog.from_table(table(rms=np.full(N, 1.4)), axes="west-north", columns={"rms_e": "rms"})
    wide = table(R=np.ones(N), wide=np.ones((N, 2)))
    for names in ({"R11": "wide", "R22": "R"}, {"R11": "R", "R22": "R", "R12": "wide"}, {"rms_e": "wide"}):
        key = next(key for key, name in names.items() if name == "wide")
        with pytest.raises(ValueError, match=f"{key}: needs the shape"):
            ShearCatalog.from_table(wide, axes="west-north", columns=names)


@pytest.mark.parametrize("name", ["R11", "R_11", "r11", "R_g11"])
def test_unused_responses_raise_a_warning(name):
    metacal = table(**{name: np.full(N, 0.7)})
    with pytest.warns(AstropyUserWarning, match=f"the response in {name!r} is not used"):
        ShearCatalog.from_table(metacal, axes="west-north")
    for answer in ({"response": 0.7}, {"response": 1}, {"columns": {"R11": None}}):  # a warning would be an error here
        ShearCatalog.from_table(metacal, axes="west-north", **answer)


def test_the_shell_has_the_same_options(capsys):
    make(n=N).write("c.ecsv")
    command = ["reconstruct", "c.ecsv", "--axes", "west-north", "--method", "kaiser_squires", "--quiet"]
    for option, value, expected in (("response", 0.5, 0.5), ("responsivity", 0.8, 1.6)):
        assert main([*command, f"--{option}", str(value), "-o", f"{option}.fits"]) == 0
        kappa = ConvergenceMap.read(f"{option}.fits")
        assert kappa.meta["response"] == expected
        catalog = ShearCatalog.read("c.ecsv", axes="west-north", **{option: value})
        assert np.allclose(kappa.data, catalog.reconstruct("kaiser_squires", progress=False).data, atol=1e-6)


def test_maps_keep_the_mean_response():
    make(response=noisy()).to_map(wcs=GRID).write("shear.fits")
    assert np.allclose(ShearMap.read("shear.fits").meta["response"], make(response=noisy())._mean_response)
    assert "response" not in make().to_map(wcs=GRID).meta


# ---- other axes, other shear


@given(matrices, st.sampled_from(list(AXES)), st.sampled_from(list(AXES)), st.floats(0, 6.3))
@settings(max_examples=40, deadline=None)
def test_a_matrix_is_the_same_along_other_axes(matrix, one, other, angle):
    g, phase = 0.3 - 0.2j, np.exp(1j * angle)
    e = times(matrix, to_west_north(g, one))
    expected = to_west_north(phase * to_west_north(e, one), other)
    found = times(seen_along(matrix, one, other, phase), to_west_north(phase * g, other))
    assert np.isclose(found, expected)
    assert np.allclose(real_matrix(*complex_parts(matrix)), matrix)


@pytest.mark.parametrize("response", [1.7, noisy()])
@pytest.mark.parametrize("axes", ["north-east", "south-east"])
def test_rotated_galaxies_are_the_noise_of_the_calibrated_map(response, axes):
    catalog = make(response=response, axes=axes, c_bias=(0.02, 0.01))
    turned = rotated(catalog, 3)
    assert np.isclose(turned.shape_noise, catalog.shape_noise)
    assert np.allclose(np.abs(turned.west_north), np.abs(catalog.west_north))
    by_hand = [rotated(catalog, [4, i]).reconstruct("kaiser_squires", wcs=GRID, progress=False).data for i in range(3)]
    maps = noise_maps(catalog, 3, seed=4, wcs=GRID)
    assert np.allclose(maps.samples, by_hand, atol=1e-5 * np.std(by_hand))


def test_check_axes_uses_the_calibrated_shear():
    coords = scatter(GRID, SHAPE, 3000)
    shear = ShearCatalog(coords, *np.random.default_rng(0).normal(scale=0.2, size=(2, 3000)), axes="west-north")
    shear = inject_halo(shear, NFWHalo(3e15 * u.Msun, redshift=0.3), GRID.pixel_to_world(8, 6), z_source=1.0)
    matrix = np.array([[0.7, 0.3], [-0.2, 0.5]])
    e = matrix @ [shear.g1, shear.g2]
    catalog = ShearCatalog(coords, *e, axes="west-north", response=matrix)
    one, other = shear.check_axes(), catalog.check_axes()
    for name in ("e_minus_b", "e_minus_b_mirrored", "skewness"):
        assert np.isclose(getattr(one, name), getattr(other, name), rtol=1e-6)


# ---- mock surveys: simulated ellipticities respond with R


def truth():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ConvergenceMap(0.1 * np.exp(-((x - 8) ** 2 + (y - 6) ** 2) / 8), wcs=GRID)


@pytest.mark.parametrize("response", [1.7, np.linspace(0.5, 1.5, N), MATRIX, noisy()])
@pytest.mark.parametrize(("own", "axes"), [("west-north", "west-north"), ("south-east", "north-east")])
@pytest.mark.parametrize("reduced", [False, True])
def test_mock_galaxies_have_the_given_response(response, own, axes, reduced):
    m = np.linspace(-0.1, 0.1, N)
    survey = make(response=response, m_bias=m, axes=own, max_shear=9)
    options = {"axes": axes, "reduced_shear": reduced}
    mock = observe(truth(), positions=survey, shape_noise=0, **options)
    g = to_west_north(seen(observe(truth(), positions=survey.coords, shape_noise=0, **options)), axes)
    # each galaxy responds along the axes of the survey, whatever the axes of the mock
    own_g = to_west_north((1 + m) * g, own)
    full = np.broadcast_to(
        response if np.ndim(response) > 1 else np.multiply.outer(np.broadcast_to(response, N), np.eye(2)), (N, 2, 2)
    )
    e = np.einsum("nij,nj->ni", full, np.stack([own_g.real, own_g.imag], axis=-1))
    expected = to_west_north(to_west_north(e[:, 0] + 1j * e[:, 1], own), axes)
    assert np.allclose(seen(mock), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("response", [1.7, noisy()])
def test_mocks_of_a_survey_have_its_noise_and_the_truth(response):
    survey = make(response=response, c_bias=(0.02, 0))
    mock, blank = (observe(k, positions=survey, seed=2) for k in (truth(), ConvergenceMap(np.zeros(SHAPE), wcs=GRID)))
    assert np.isclose(blank.shape_noise, survey.shape_noise)
    assert np.allclose(blank.to_map(wcs=GRID).noise_std, survey.to_map(wcs=GRID).noise_std)
    ideal = observe(truth(), positions=survey.coords, weight=survey.weight, shape_noise=0)
    # the mean over the sample; each half has its own response; exact without scatter of R
    difference = mock.west_north - blank.west_north
    w = survey.weight
    slope = (w * difference * ideal.west_north.conj()).sum() / (w * np.abs(ideal.west_north) ** 2).sum()
    tolerance = 1e-12 if np.ndim(response) == 0 else 4 * 0.4 / 0.7 / np.sqrt(N / 4)  # 4 sigma
    assert abs(slope - 1) < tolerance


def test_part_of_a_mock_is_calibrated_as_well():
    # the response correlates with a property that selects galaxies
    response = np.where(np.arange(N) < N / 2, 0.5, 1.5)
    mock = observe(truth(), positions=make(response=response), shape_noise=0)
    ideal = observe(truth(), positions=make().coords, shape_noise=0)
    for part in (slice(None, N // 2), slice(N // 2, None)):
        assert np.allclose(mock[part].west_north, ideal[part].west_north, atol=1e-12)


def test_injected_halos_shear_with_the_response():
    halo, center = NFWHalo(1e15 * u.Msun, redshift=0.3), SkyCoord(150, 2.2, unit="deg")
    response = noisy()
    zero = np.zeros((2, N))
    bare, survey = make(zero, shape_noise=0.1), make(zero, shape_noise=0.1, response=response, m_bias=-0.2)
    g, e = (inject_halo(c, halo, center, z_source=1.0) for c in (bare, survey))
    expected = np.einsum("nij,jn->in", response, 0.8 * np.array([g.g1, g.g2]))
    assert np.allclose([e.g1, e.g2], expected, atol=1e-12)
    assert np.abs(expected).max() > 0.05


@pytest.mark.parametrize(
    ("names", "columns", "used"),
    [
        (("she_weight", "m"), {}, ("she_weight", "'m'")),
        (("i_derived_weight", "i_shear_bias_m"), {"m_bias": None}, ("i_derived_weight",)),
        (("weight", "m"), {"m_bias": "m"}, ()),
        (("weight_1p", "M"), {"weight": None}, ()),
    ],
)
def test_unused_weights_and_biases_are_named(names, columns, used):
    table = Table(rows=[[150.0, 2.0, 0.1, 0.2, 1.0, 0.1]], names=["ra", "dec", "e1", "e2", *names])
    table["ra"].unit = table["dec"].unit = "deg"
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ShearCatalog.from_table(table, axes="west-north", columns=columns)
    texts = [str(w.message) for w in found]
    assert len(texts) == len(used) and all(name in text for name, text in zip(used, texts, strict=True)), texts
