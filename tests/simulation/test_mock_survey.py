"""Mock surveys against shear computed on the sphere, and against their true map."""

import subprocess
import sys
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st
from regions import CircleSkyRegion
from scipy.ndimage import correlate1d

from astro_massmap import ConvergenceMap, KaiserSquires, ShearCatalog
from astro_massmap.maps.axes import AXES
from astro_massmap.simulation.mock_survey import lensed, observe, shear_field

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

SHAPE = (48, 52)
AT = (27.0, 22.0)  # x, y of the bump
AMPLITUDE, NARROW, WIDE = 0.3, 2.0, 3.0
DENSITY = 30 / u.arcmin**2
GRIDS = {
    "plain": {},
    "rotated": {"rotation": 37},
    "flipped": {"flipped": True},
    "flipped and rotated": {"flipped": True, "rotation": -110},
    "at the pole": {"center": (40.0, 89.93)},
    "across 0 h": {"center": (0.02, -31.0)},
    "ZEA": {"projection": "ZEA", "center": (210.0, 54.0)},
    "Galactic": {"frame": "galactic", "center": (120.0, -40.0)},
}


def bump(r):
    """Two Gaussians of opposite mass, with no shear outside of them."""
    return AMPLITUDE * (np.exp(-((r / NARROW) ** 2) / 2) - (NARROW / WIDE) ** 2 * np.exp(-((r / WIDE) ** 2) / 2))


def bump_shear(r):
    """Tangential shear of ``bump``: mean within a circle minus the value on it."""
    r = np.maximum(r, 1e-6)
    masses = np.expm1(-((r / WIDE) ** 2) / 2) - np.expm1(-((r / NARROW) ** 2) / 2)
    return 2 * AMPLITUDE * (NARROW / r) ** 2 * masses - bump(r)


def truth(*, factor=1.0, **grid):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ConvergenceMap(factor * bump(np.hypot(x - AT[0], y - AT[1])), wcs=tan_wcs(SHAPE, **grid))


def blank(value=0.0, **grid):
    return ConvergenceMap(np.full(SHAPE, value), wcs=tan_wcs(SHAPE, **grid))


def quarters(kappa):
    """Four positions in every pixel, at the centres of its quadrants, in ICRS."""
    ny, nx = kappa.shape
    y, x = np.mgrid[: 2 * ny, : 2 * nx] / 2 - 0.25
    return kappa.wcs.pixel_to_world(x.ravel(), y.ravel()).icrs


def smoothed(field):
    """Mean over a pixel of the linear interpolation between pixels."""
    for axis in (0, 1):
        field = correlate1d(field, [1 / 8, 3 / 4, 1 / 8], axis=axis, mode="nearest")
    return field


def complex_shear(catalog):
    return catalog.g1 + 1j * catalog.g2


# ---- the shear


@pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
def test_galaxies_have_the_tangential_shear_on_the_sphere(options):
    kappa = truth(**options)
    galaxies = scatter(kappa.wcs, SHAPE, 4000).icrs
    catalog = observe(kappa, positions=galaxies, shape_noise=0)
    center = kappa.wcs.pixel_to_world(*AT).icrs
    r = galaxies.separation(center).to_value(u.arcmin) / 0.4
    towards = galaxies.position_angle(center).rad
    expected = -bump_shear(r) * np.exp(2j * (towards + np.pi / 2))
    # the error of linear interpolation is at most 1/8 of the second differences; of a field of 20 arcmin, 1e-5
    field = shear_field(kappa.data)
    bound = sum(np.abs(np.diff(field, 2, axis=axis)).max() for axis in (0, 1)) / 8
    assert bound < 0.15 * np.abs(expected).max()
    assert np.abs(complex_shear(catalog) - expected).max() < 1.05 * bound
    far = r > 15
    assert np.abs(complex_shear(catalog))[far].max() < 1e-5


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
def test_a_binned_survey_is_the_shear_of_the_map(options, axes):
    kappa = truth(**options)
    catalog = observe(kappa, positions=quarters(kappa), shape_noise=0, axes=axes)
    assert catalog.axes == axes
    shear = catalog.to_map(wcs=kappa.wcs)
    field = smoothed(shear_field(kappa.data))
    assert np.allclose(shear.data, [field.real, field.imag], atol=1e-8)  # north is found by steps of 1e-6 rad


@given(
    lon=st.floats(0, 359.9),
    lat=st.floats(-89.9, 89.9),
    rotation=st.floats(-180, 180),
    flipped=st.booleans(),
    axes=st.sampled_from(list(AXES)),
    frame=st.sampled_from(["RADEC", "galactic"]),
    reduced_shear=st.booleans(),
)
def test_any_grid_and_axes_round_trip(lon, lat, rotation, flipped, axes, frame, reduced_shear):
    wcs = tan_wcs((9, 7), center=(lon, lat), rotation=rotation, flipped=flipped, frame=frame)
    kappa = ConvergenceMap(np.random.default_rng(1).normal(scale=0.1, size=(9, 7)), wcs=wcs)
    y, x = np.mgrid[:9, :7]
    centres = wcs.pixel_to_world(x.ravel(), y.ravel())
    catalog = observe(kappa, positions=centres, shape_noise=0, axes=axes, reduced_shear=reduced_shear)
    shear, field = catalog.to_map(wcs=wcs).data, shear_field(kappa.data)
    if reduced_shear:
        field = field / (1 - kappa.data)
    # Within 3e-5 rad of a pole the angles of nearby pixels differ at full size, but are the same both ways.
    assert np.allclose(shear, [field.real, field.imag], atol=1e-6)


@pytest.mark.parametrize("options", [GRIDS["flipped and rotated"], GRIDS["Galactic"]], ids=["flipped", "Galactic"])
def test_the_map_is_recovered_without_a_b_mode(options):
    kappa = truth(**options)
    shear = observe(kappa, positions=quarters(kappa), shape_noise=0).to_map(wcs=kappa.wcs)
    estimate = shear.reconstruct(KaiserSquires(smoothing=0 * u.arcmin))
    expected = smoothed(kappa.data)
    # a fraction of 1e-7 of the bump lies outside of the field
    assert np.abs(estimate.data - estimate.data.mean() - expected + expected.mean()).max() < 1e-5 * AMPLITUDE
    assert np.abs(estimate.b_mode.data).max() < 1e-5 * AMPLITUDE


def test_outside_of_the_map_is_its_mean_or_its_repetition():
    rng = np.random.default_rng(0)
    kappa = rng.normal(size=(15, 20))  # of which twice is good for the FFT
    assert np.allclose(shear_field(kappa), shear_field(kappa + 5))
    # an infinite plane wave has one direction of shear
    wave = np.broadcast_to(np.cos(2 * np.pi * 2 * np.arange(20) / 20), (15, 20))
    assert np.allclose(shear_field(wave, padding=1), wave, atol=1e-12)
    assert np.abs(shear_field(wave) - wave).max() > 0.1
    padded = np.zeros((30, 40))
    padded[:15, :20] = kappa - kappa.mean()
    assert np.allclose(shear_field(padded, padding=1)[:15, :20], shear_field(kappa, padding=2))


# ---- ellipticities


@pytest.mark.parametrize("options", [{}, {"shape_noise": 0.2}])
def test_the_same_galaxies_can_be_measured_along_any_axes(options):
    maps = [
        observe(truth(), positions=survey(), axes=axes, reduced_shear=True, **options).to_map(wcs=truth().wcs)
        for axes in AXES
    ]
    assert all(np.allclose(maps[0].data, other.data, atol=1e-14) for other in maps[1:])


def test_drawn_ellipticities_have_the_given_noise():
    kappa, galaxies = truth(), scatter(tan_wcs(SHAPE), SHAPE, 20000)
    noisy, clean = (observe(kappa, positions=galaxies, shape_noise=s, seed=3) for s in (0.3, 0))
    noise = complex_shear(noisy) - complex_shear(clean)
    assert noisy.shape_noise == 0.3
    assert observe(kappa, positions=galaxies).shape_noise == 0.27
    for component in (noise.real, noise.imag):  # 5 standard errors
        assert abs(component.std() / 0.3 - 1) < 5 / np.sqrt(2 * 20000)
        assert abs(component.mean()) < 5 * 0.3 / np.sqrt(20000)
    assert abs((noise.real * noise.imag).mean()) < 5 * 0.3**2 / np.sqrt(20000)


def test_the_seed_fixes_the_noise():
    galaxies = scatter(tan_wcs(SHAPE), SHAPE, 500)
    noise = [
        complex_shear(observe(truth(factor=f), positions=galaxies, seed=5))
        - complex_shear(observe(truth(factor=f), positions=galaxies, seed=5, shape_noise=0))
        for f in (1, -2)
    ]
    assert np.allclose(*noise, atol=1e-14)
    assert np.allclose(noise[0], complex_shear(observe(blank(), positions=galaxies, seed=5)), atol=1e-14)
    # independent of further galaxies and of the mask
    fewer = complex_shear(observe(blank(), positions=galaxies[:100], seed=5))
    assert np.array_equal(fewer, complex_shear(observe(blank(), positions=galaxies, seed=5))[:100])
    hole = np.zeros(SHAPE, dtype=bool)
    hole[:, :20] = True
    whole = observe(blank(), density=DENSITY, seed=5)
    part = observe(blank(), density=DENSITY, seed=5, mask=hole)
    x, _ = whole.coords.to_pixel(tan_wcs(SHAPE))
    assert np.array_equal(part.g1, whole.g1[x >= 19.5])


def test_other_seeds_give_other_noise():
    n = 20000
    galaxies = scatter(tan_wcs(SHAPE), SHAPE, n)
    a, b = (complex_shear(observe(blank(), positions=galaxies, seed=s)) for s in (0, 1))
    assert abs((a * b.conj()).mean()) < 5 * 2 * 0.27**2 / np.sqrt(n)
    c, d = (observe(blank(), density=DENSITY, seed=s) for s in (0, 1))
    assert len(c) != len(d) or not np.array_equal(c.coords.ra, d.coords.ra)
    assert np.array_equal(c.g1, observe(blank(), density=DENSITY, seed=0).g1)


def test_the_noise_of_the_map_is_right():
    # chi^2 of all pixels within 5 standard errors
    z = []
    for seed in range(5):
        shear = observe(blank(), density=DENSITY, seed=seed).to_map(wcs=blank().wcs)
        z.append((shear.data / shear.noise_std)[:, ~shear.mask])
    z = np.concatenate([part.ravel() for part in z])
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)


def survey(n=5000, axes="north-east", **options):
    """A catalogue with a strong signal, used as a real survey."""
    rng = np.random.default_rng(8)
    e = rng.normal(scale=0.25, size=(2, n)) + np.array([[0.1], [0.05]])
    columns = {"weight": rng.uniform(0.5, 2, n), "redshift": rng.uniform(0.2, 2, n)}
    return ShearCatalog(scatter(tan_wcs(SHAPE), SHAPE, n), *e, axes=axes, **(columns | options))


def test_rotated_shapes_of_a_real_survey_have_no_signal():
    real = survey(meta={"origin": "telescope"})
    mock = observe(blank(), positions=real, axes="north-east")
    assert np.array_equal(mock.weight, real.weight) and np.array_equal(mock.redshift, real.redshift)
    assert mock.shape_noise == real.shape_noise and mock.meta["origin"] == "telescope"
    e, was = complex_shear(mock), complex_shear(real)
    assert np.allclose(np.abs(e), np.abs(was), rtol=1e-13)
    n, size = len(real), np.sqrt((np.abs(e) ** 2).mean())  # 5 standard errors
    assert abs(was.mean()) > 20 * size / np.sqrt(n)
    assert abs(e.mean()) < 5 * size / np.sqrt(n)
    assert abs((e * was.conj()).mean()) < 5 * np.sqrt((np.abs(e) ** 4).mean() / n)


def test_the_shear_of_the_map_is_added_to_a_real_survey():
    real = survey()
    e = [complex_shear(observe(k, positions=real)) for k in (truth(), blank())]
    shear = observe(truth(), positions=real.coords, shape_noise=0)
    assert np.allclose(e[0] - e[1], complex_shear(shear), atol=1e-14)


def test_a_real_survey_may_be_given_other_shapes():
    real = survey()
    mock = observe(blank(), positions=real, shape_noise=0.4)
    assert mock.shape_noise == 0.4 and np.array_equal(mock.weight, real.weight)
    assert np.array_equal(mock.g1, observe(blank(), positions=real.coords, shape_noise=0.4).g1)
    e1, e2 = np.random.default_rng(0).uniform(-0.5, 0.5, (2, len(real)))
    mock = observe(blank(), positions=real, ellipticities=(e1, e2), weight=np.ones(len(real)))
    assert np.allclose(np.hypot(mock.g1, mock.g2), np.hypot(e1, e2), rtol=1e-13)
    assert np.all(mock.weight == 1)
    assert np.isclose(mock.shape_noise, np.sqrt((e1**2 + e2**2).mean() / 2))
    same = observe(blank(), positions=real.coords, ellipticities=(0.3, 0.0))
    assert np.allclose(np.hypot(same.g1, same.g2), 0.3)


def test_galaxies_of_a_density_are_drawn_from_real_ones():
    e1 = np.array([0.1, 0.2, 0.4])
    mock = observe(blank(), density=DENSITY, ellipticities=(e1, 0 * e1), weight=[1.0, 2.0, 3.0])
    size = np.hypot(mock.g1, mock.g2)
    assert np.allclose(size, e1[mock.weight.astype(int) - 1])
    shares = np.bincount(mock.weight.astype(int))[1:] / len(mock)
    assert np.abs(shares - 1 / 3).max() < 5 * np.sqrt(2 / 9 / len(mock))
    assert np.isclose(mock.shape_noise, np.sqrt((0.1**2 + (2 * 0.2) ** 2 + (3 * 0.4) ** 2) / (2 * 14)))


@pytest.mark.parametrize("reduced_shear", [False, True])
def test_biased_shapes_respond_with_their_bias(reduced_shear):
    real = survey(m_bias=np.random.default_rng(4).uniform(-0.3, 0.1, 5000), c_bias=(0.1, 0.05))
    flat = {"positions": real.coords, "shape_noise": 0, "reduced_shear": reduced_shear}
    mock = observe(truth(), positions=real, shape_noise=0, reduced_shear=reduced_shear)
    assert np.array_equal(mock.m_bias, real.m_bias) and mock.c_bias == (0, 0)
    assert np.allclose(complex_shear(mock), (1 + real.m_bias) * complex_shear(observe(truth(), **flat)), atol=1e-14)


# ---- reduced shear


def test_reduced_shear_at_a_known_point():
    kappa = truth(factor=2)
    field = shear_field(kappa.data)
    g = field[24, 29] / (1 - kappa.data[24, 29])
    here = kappa.wcs.pixel_to_world([29], [24])
    (e,) = complex_shear(observe(kappa, positions=here, shape_noise=0, reduced_shear=True))
    assert abs(e) > 0.1
    assert np.isclose(e, g, rtol=1e-4)  # to the angle between North and y
    intrinsic = complex_shear(observe(blank(), positions=here, seed=2))
    (e,) = complex_shear(observe(kappa, positions=here, seed=2, reduced_shear=True))
    assert np.isclose(e, ((intrinsic + g) / (1 + np.conj(g) * intrinsic))[0], rtol=1e-3)


@given(
    size=st.floats(0, 0.99),
    kappa=st.floats(-0.5, 2.0),
    gamma=st.complex_numbers(max_magnitude=1.5),
)
def test_the_mean_over_orientations_is_the_reduced_shear(size, kappa, gamma):
    # Seitz & Schneider 1997: g, or 1 / g* for inverted images
    n = 4000  # the mean converges like (size * g)^n
    if abs(abs(gamma) - abs(1 - kappa)) < 1e-2:
        return
    intrinsic = size * np.exp(2j * np.pi * np.arange(n) / n)
    e = lensed(intrinsic, np.full(n, gamma), np.full(n, kappa))
    assert np.abs(e).max() < 1 + 1e-12
    weak = abs(gamma) < abs(1 - kappa)
    assert np.isclose(e.mean(), gamma / (1 - kappa) if weak else (1 - kappa) / np.conj(gamma), atol=1e-9)


def test_noise_beyond_one_and_critical_lines_stay_finite():
    # the mean is added to ellipticities above 1; for infinite g the image is that of the mirrored galaxy
    intrinsic = np.array([1.2 + 0.3j, -3.0, 0.5j, 0.3, 0.4])
    gamma = np.array([0.2, 0.1j, 0.3, 0.0, 0.4])
    kappa = np.array([0.5, 0.0, 1.0, 1.0, 0.6])
    assert np.allclose(lensed(intrinsic, gamma, kappa), [1.6 + 0.3j, -3 + 0.1j, -0.5j, 0.3, 1])


def test_weak_and_reduced_shear_agree_where_shear_is_weak():
    kappa, galaxies = truth(factor=1e-4), scatter(tan_wcs(SHAPE), SHAPE, 300)
    weak, reduced = (observe(kappa, positions=galaxies, shape_noise=0, reduced_shear=r) for r in (False, True))
    assert np.allclose(weak.g1, reduced.g1, atol=1e-8)


# ---- where galaxies are


def test_a_density_is_a_poisson_number():
    expected = 30 * (0.4 * 48) * (0.4 * 52)
    counts = np.array([len(observe(blank(), density=DENSITY, seed=s)) for s in range(10)])
    assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected))
    assert abs(counts.sum() - 10 * expected) < 4 * np.sqrt(10 * expected)
    assert counts.std() > 0.3 * np.sqrt(expected)
    catalog = observe(blank(), density=(30 / u.arcmin**2).to(u.deg**-2))
    assert len(catalog) == counts[0]
    # uniform over the pixels: chi^2 within 5 standard errors
    x, y = catalog.coords.to_pixel(blank().wcs)
    cells, _, _ = np.histogram2d(y, x, bins=(12, 13), range=((-0.5, 47.5), (-0.5, 51.5)))
    mean = len(catalog) / cells.size
    assert abs(((cells - mean) ** 2 / mean).sum() / (cells.size - 1) - 1) < 5 * np.sqrt(2 / cells.size)


def test_masks_of_pixels_and_regions_exclude_galaxies():
    hole = np.random.default_rng(2).random(SHAPE) < 0.3
    catalog = observe(truth(), density=DENSITY, mask=hole)
    shear = catalog.to_map(wcs=truth().wcs)
    assert shear.mask[hole].all()
    expected = 30 * 0.4**2 * (~hole).sum()
    assert abs(len(catalog) - expected) < 4 * np.sqrt(expected)
    star = CircleSkyRegion(truth().wcs.pixel_to_world(30, 20), 2 * u.arcmin)
    whole, catalog = (observe(truth(), density=DENSITY, mask=m) for m in (None, [star]))
    outside = whole.coords.separation(star.center) > star.radius
    assert (~outside).sum() > 100 and np.array_equal(catalog.g1, whole.g1[outside])


def test_galaxies_off_the_map_are_counted():
    kappa = blank()
    x, y = np.array([-0.6, -0.4, 51.4, 51.6, 20, 20, 20, 20]), np.array([5, 5, 5, 5, -0.6, -0.4, 47.4, 47.6])
    galaxies = kappa.wcs.pixel_to_world(x, y)
    galaxies = SkyCoord([*galaxies, galaxies[0].directional_offset_by(0 * u.deg, 179 * u.deg)])
    with pytest.warns(AstropyUserWarning, match="5 of 9 galaxies dropped: off the map"):
        catalog = observe(kappa, positions=galaxies, seed=1)
    assert len(catalog) == 4
    with pytest.warns(AstropyUserWarning, match="5 of 9"), pytest.raises(ValueError, match="mask"):
        observe(kappa, positions=galaxies, mask=np.ones(SHAPE, dtype=bool))
    with pytest.raises(ValueError, match="positions: no galaxy"):
        observe(kappa, positions=galaxies[[0, 3]])


def test_the_catalogue_records_its_settings_and_can_be_written(tmp_path):
    kappa = truth(**GRIDS["Galactic"])
    catalog = observe(kappa, density=DENSITY, reduced_shear=True, seed=7)
    assert catalog.meta == {
        "mock": "ellipticities drawn",
        "density": 30.0,
        "seed": 7,
        "padding": 2.0,
        "reduced": True,
    }
    assert catalog.coords.frame.name == "galactic"
    for name in ("mock.fits", "mock.ecsv"):
        catalog.write(tmp_path / name)
        back = ShearCatalog.read(tmp_path / name, axes="west-north")
        assert back.shape_noise == 0.27
        assert {k.lower(): v for k, v in back.meta.items()} == catalog.meta
        assert np.allclose(back.to_map(wcs=kappa.wcs).data, catalog.to_map(wcs=kappa.wcs).data, atol=1e-5)


# ---- arguments


@each_case(
    ("options", "error", "named"),
    [
        ({"positions": None}, ValueError, "positions, density"),
        ({"density": DENSITY}, ValueError, "positions, density"),
        ({"positions": [1, 2]}, TypeError, "positions"),
        ({"positions": SkyCoord(150 * u.deg, 2 * u.deg)}, ValueError, "positions"),
        ({"positions": None, "density": 30}, u.UnitsError, "density"),
        ({"positions": None, "density": 30 / u.arcmin}, u.UnitsError, "density"),
        ({"positions": None, "density": "many"}, TypeError, "density"),
        ({"positions": None, "density": -3 / u.arcmin**2}, ValueError, "density"),
        ({"positions": None, "density": [3, 4] / u.arcmin**2}, ValueError, "density"),
        ({"positions": None, "density": 1e-9 / u.arcmin**2}, ValueError, "density"),
        ({"positions": None, "density": DENSITY, "weight": [1.0, 2.0]}, ValueError, "weight"),
        ({"positions": None, "density": DENSITY, "ellipticities": ([0.1], [0.2, 0.3])}, ValueError, "ellipticities"),
        ({"positions": None, "density": DENSITY, "ellipticities": ([], [])}, ValueError, "ellipticities"),
        ({"positions": None, "density": DENSITY, "ellipticities": 0.3}, ValueError, "ellipticities"),
        ({"ellipticities": ([0.1, 0.2], [0.2, 0.3])}, ValueError, "ellipticities"),
        ({"ellipticities": (0.1, np.nan)}, ValueError, "ellipticities"),
        ({"ellipticities": (0.1, 0.1), "shape_noise": 0.2}, ValueError, "shape_noise, ellipticities"),
        ({"weight": [1.0, 2.0]}, ValueError, "weight"),
        ({"shape_noise": -0.1}, ValueError, "shape_noise"),
        ({"shape_noise": np.nan}, ValueError, "shape_noise"),
        ({"shape_noise": "large"}, ValueError, "shape_noise"),
        ({"mask": np.zeros((3, 4), dtype=bool)}, ValueError, "mask"),
        ({"mask": np.zeros(SHAPE)}, ValueError, "mask"),
        ({"mask": np.ones(SHAPE, dtype=bool)}, ValueError, "mask"),
        ({"axes": "north"}, ValueError, "axes"),
        ({"padding": 0.5}, ValueError, "padding"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 1.5}, TypeError, "seed"),
        ({"kappa": np.zeros(SHAPE)}, TypeError, "kappa"),
    ],
)
def test_errors_name_the_argument(options, error, named):
    options = {"kappa": blank(), "positions": scatter(tan_wcs(SHAPE), SHAPE, 10)} | options
    with pytest.raises(error, match=f"^{named}"):
        observe(options.pop("kappa"), **options)


def test_mask_and_type_of_the_map_do_not_matter():
    # the mask of the map is not used; single precision in both byte orders
    data = truth().data.astype(">f4")
    mask = np.zeros(SHAPE, dtype=bool)
    mask[20:, 20:] = True
    galaxies = scatter(tan_wcs(SHAPE), SHAPE, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flawed = observe(ConvergenceMap(data, wcs=truth().wcs, mask=mask), positions=galaxies)
    assert np.allclose(flawed.g1, observe(truth(), positions=galaxies).g1, atol=1e-7)


@pytest.mark.slow
def test_simulations_import_without_astropy():
    code = """
import sys
for name in ("astropy", "regions", "reproject", "tqdm", "matplotlib"):
    sys.modules[name] = None
import numpy as np
from astro_massmap.simulation import lognormal, mock_survey
mock_survey.shear_field(np.zeros((8, 8)))
lognormal.lognormal_maps(lambda ell: 1e-4 * ell**-2.0, 1, (8, 8), 1e-4)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
