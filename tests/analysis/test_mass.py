"""Masses compared with integrated distances, analytic profiles, and sums over subpixels."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM, LambdaCDM, Planck18, default_cosmology
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st
from regions import CircleSkyRegion, PointSkyRegion, RectangleSkyRegion
from scipy.integrate import quad

from astro_massmap import ConvergenceMap
from astro_massmap.analysis import aperture as _aperture, mass
from astro_massmap.analysis.mass import (
    aperture_filter,
    aperture_mass,
    critical_surface_density,
    lensing_efficiency,
    projected_mass,
)
from astro_massmap.simulation import NFWHalo, inject_halo

from helpers.cases import each_case
from helpers.skies import tan_wcs

C, G, H0 = 299792.458, 4.30091727e-6, 70.0  # km/s; kpc (km/s)^2 / Msun; km/s/Mpc
FLAT = FlatLambdaCDM(H0, 0.3)
SHAPE = (40, 48)
GRIDS = {
    "plain": {},
    "rotated": {"rotation": 37},
    "flipped": {"flipped": True, "rotation": -110},
    "at the pole": {"center": (40.0, 89.9)},
    "Galactic": {"frame": "galactic", "center": (120.0, -40.0)},
}


def field(value=0.0, n_samples=8, seed=0, **grid):
    """Mean, samples, WCS and mask; the samples have a standard deviation of 0.1."""
    wcs = tan_wcs(SHAPE, **grid)
    samples = value + np.random.default_rng(seed).normal(scale=0.1, size=(n_samples, *SHAPE))
    return np.broadcast_to(value, SHAPE).astype(float), samples, wcs, np.zeros(SHAPE, dtype=bool)


def circle(wcs, x, y, radius):
    return CircleSkyRegion(wcs.pixel_to_world(x, y), radius)


# ---- the critical surface density


def distance(z, cosmology):
    """Comoving distance divided by the Hubble distance, by integration."""
    om, ol = cosmology.Om0, cosmology.Ode0
    return quad(lambda x: (om * (1 + x) ** 3 + ol + (1 - om - ol) * (1 + x) ** 2) ** -0.5, 0, z, epsrel=1e-12)[0]


def by_hand(z_lens, z_source, cosmology=FLAT):
    """c^2 / (4 pi G) D_s / (D_l D_ls) in Msun / kpc2."""
    ok = 1 - cosmology.Om0 - cosmology.Ode0
    root = np.sqrt(abs(ok))
    bent = {1: lambda x: np.sinh(root * x) / root, -1: lambda x: np.sin(root * x) / root, 0: lambda x: x}
    transverse = bent[np.sign(round(ok, 10))]
    near, far = distance(z_lens, cosmology), distance(z_source, cosmology)
    d_l, d_s = transverse(near) / (1 + z_lens), transverse(far) / (1 + z_source)
    d_ls = transverse(far - near) / (1 + z_source)
    return C**2 / (4 * np.pi * G) * d_s / (d_l * d_ls) / (C / H0 * 1000)


def test_the_critical_density_in_an_einstein_de_sitter_universe():
    # Einstein-de Sitter distances are 2 c / H0 (1 - (1 + z)^-1/2) / (1 + z), for z = 1/4 and 3
    d_l, d_s = (1 - 0.8**0.5) / 1.25, (1 - 0.5) / 4
    d_ls = (0.8**0.5 - 0.5) / 4
    expected = C**2 / (4 * np.pi * G) * d_s / (d_l * d_ls) / (2 * C / H0 * 1000)
    density = critical_surface_density(0.25, 3.0, FlatLambdaCDM(H0, 1.0))
    assert density.unit == u.Msun / u.kpc**2
    assert np.isclose(density.value, expected, rtol=1e-5)


@each_case("cosmology", [FLAT, LambdaCDM(H0, 0.3, 0.3), LambdaCDM(H0, 0.4, 1.0)])
@each_case(("z_lens", "z_source"), [(0.02, 0.03), (0.3, 1.0), (0.9, 2.5)])
def test_the_critical_density_by_integration(cosmology, z_lens, z_source):
    density = critical_surface_density(z_lens, z_source, cosmology)
    assert np.isclose(density.value, by_hand(z_lens, z_source, cosmology), rtol=1e-5)


def test_the_inverse_is_averaged_over_sources():
    z, weight = np.array([0.2, 0.3, 0.7, 1.0, 2.0]), np.array([5.0, 1.0, 2.0, 0.0, 1.0])
    inverse = [0 if x <= 0.3 else 1 / by_hand(0.3, x) for x in z]
    plain, weighted = critical_surface_density(0.3, z, FLAT), critical_surface_density(0.3, z, FLAT, weight=weight)
    assert np.isclose(plain.value, 1 / np.mean(inverse), rtol=1e-5)
    assert np.isclose(weighted.value, 1 / np.average(inverse, weights=weight), rtol=1e-5)


@pytest.mark.parametrize("cosmology", [FLAT, Planck18, LambdaCDM(H0, 0.3, 0.3)])
@pytest.mark.parametrize("z_lens", [0.005, 0.3, 2.0])
def test_many_sources_are_interpolated_to_1e_6(cosmology, z_lens, monkeypatch):
    z = np.random.default_rng(1).uniform(0.001, 4, 3000)
    interpolated = lensing_efficiency(z_lens, z, cosmology)
    monkeypatch.setattr(mass, "_NODES", len(z))
    assert np.allclose(interpolated, lensing_efficiency(z_lens, z, cosmology), rtol=0, atol=1e-6)
    assert (interpolated[z <= z_lens] == 0).all() and (interpolated[z > z_lens] > 0).all()


def test_many_sources_at_one_redshift():
    assert np.allclose(
        lensing_efficiency(0.3, np.full(1000, 1.0), FLAT), lensing_efficiency(0.3, 1.0, FLAT), rtol=1e-12
    )


def test_the_cosmology_is_that_of_astropy():
    with default_cosmology.set(FLAT):
        assert critical_surface_density(0.3, 1.0) == critical_surface_density(0.3, 1.0, FLAT)


@each_case(
    ("arguments", "error", "message"),
    [
        ((0.5, 0.5), ValueError, "z_source: needs sources behind z_lens = 0.5, got 0.5"),
        ((0.5, [0.1, 0.4]), ValueError, "z_source: needs sources behind z_lens = 0.5, the farthest is at 0.4"),
        ((0.0, 1.0), ValueError, "z_lens: needs one positive redshift"),
        (([0.1, 0.2], 1.0), ValueError, "z_lens: needs one positive redshift"),
        ((0.3, -1.0), ValueError, "z_source: needs positive, finite redshifts; 1 of 1"),
        ((0.3, [1.0, np.nan, -0.1]), ValueError, "z_source: needs positive, finite redshifts; 2 of 3"),
        ((0.3, []), ValueError, "z_source: needs positive"),
        (
            (0.3, "far"),
            FileNotFoundError,
            "z_source: needs a redshift, .* there is no file 'far'",
        ),
        ((0.3, {1.0}), TypeError, "z_source: needs numbers"),
        ((0.3, 1.0 * u.Mpc), u.UnitsError, "z_source: needs to be dimensionless"),
        ((0.3, 1.0, "Planck18"), TypeError, "cosmology: needs a cosmology of astropy"),
    ],
)
def test_invalid_redshifts(arguments, error, message):
    with pytest.raises(error, match=message):
        critical_surface_density(*arguments)


@each_case("weight", [[1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]])
def test_invalid_weights(weight):
    with pytest.raises(ValueError, match="weight: needs"):
        critical_surface_density(0.3, [1.0, 2.0], FLAT, weight=weight)
    with pytest.raises(ValueError, match="weight: needs one redshift for each"):
        critical_surface_density(0.3, 1.0, FLAT, weight=weight)


# ---- the aperture mass


def test_the_filter():
    radius = 3 * u.arcmin
    integral = quad(lambda t: 2 * np.pi * t * aperture_filter(t * u.arcmin, radius).value, 0, 3)[0]
    assert abs(integral) < 1e-12
    assert np.isclose(aperture_filter(0 * u.arcmin, radius).value, 3 / (np.pi * 9))
    assert aperture_filter(60 / np.sqrt(3) * 3 * u.arcsec, radius).value == pytest.approx(0, abs=1e-12)
    assert aperture_filter(4 * u.arcmin, radius) == 0 and aperture_filter(radius, radius).unit == u.arcmin**-2


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_the_aperture_mass_is_that_of_the_shear(grid):
    # int Q gamma_t with Q = 6 / (pi R^2) x^2 (1 - x^2), and the shear of a Gaussian of 1.5 arcmin
    def weighted_shear(t):
        s = (t / 1.5) ** 2
        gamma_t = -2 * np.expm1(-s / 2) / s - np.exp(-s / 2)
        return 2 * np.pi * t * 6 / (np.pi * 36) * (t / 6) ** 2 * (1 - (t / 6) ** 2) * gamma_t

    _, samples, wcs, mask = field(**grid)
    center = wcs.pixel_to_world(22.3, 19.1).icrs
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    theta = wcs.pixel_to_world(x, y).separation(center).arcmin
    table = aperture_mass(np.exp(-((theta / 1.5) ** 2) / 2), samples, wcs, mask, center, 6 * u.arcmin)
    # the pixel window smooths a Gaussian of 3.75 pixels: 0.3 %
    assert np.isclose(table["aperture_mass"][0], quad(weighted_shear, 0, 6)[0], rtol=5e-3)
    assert np.isclose(table["data_fraction"][0], 1, rtol=1e-12)


def test_an_isothermal_sphere():
    # kappa = theta_E / (2 theta) has M_ap = 4/5 theta_E / R
    _, samples, wcs, mask = field(scale=0.2)
    y, x = (np.arange(10 * n) / 10 - 0.45 for n in SHAPE)
    r = 0.2 * np.hypot(x - 24, y[:, None] - 20)
    kappa = (0.5 / r).reshape(SHAPE[0], 10, SHAPE[1], 10).mean(axis=(1, 3))
    table = aperture_mass(kappa, samples, wcs, mask, wcs.pixel_to_world(24, 20), 3 * u.arcmin)
    assert np.isclose(table["aperture_mass"][0], 0.8 / 3, rtol=0.02)  # radius of 15 pixels, which smooth the cusp


CENTERS = [(0, 0), (0.5, 0.5), (0.5, 0), (0.25, 0.1), (-0.4, 0.3)]  # within a pixel


@pytest.mark.slow
@pytest.mark.parametrize("m200", [1e14, 5e14, 1e15])
def test_the_aperture_mass_of_a_halo_is_its_integral(m200):
    halo, wcs = NFWHalo(m200 * u.Msun, 0.3, cosmology=FLAT), tan_wcs(SHAPE)

    def weighted(t, radius):
        filtered = aperture_filter(t * u.arcmin, radius * u.arcmin).value
        return 2 * np.pi * t * filtered * float(halo.convergence(t * u.arcmin, 1.0))

    empty = ConvergenceMap(np.zeros(SHAPE), wcs=wcs, samples=np.zeros((6, *SHAPE)))
    centers = [wcs.pixel_to_world(24 + dx, 20 + dy) for dx, dy in CENTERS]
    maps = [inject_halo(empty, halo, center, z_source=1.0) for center in centers]
    for pixels, tolerance in {3: 0.02, 3.5: 0.02, 4: 0.01, 5: 0.01, 10: 0.01}.items():
        radius = 0.4 * pixels
        expected = quad(weighted, 0, radius, args=(radius,))[0]
        for kappa, center in zip(maps, centers, strict=True):
            found = kappa.aperture_mass(center, radius * u.arcmin)["aperture_mass"][0]
            assert np.isclose(found, expected, rtol=tolerance)


def without_pixels(image):
    """Divide an image, zero at its edges, by the squared pixel window: 1 / sinc^2 = 1 + s / 12 + s^2 / 90 ..."""
    transform = np.fft.fft2(image)
    for k in np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in image.shape), indexing="ij"):
        s, large = 4 * np.sin(k / 2) ** 2, np.abs(k) < 1
        assert np.allclose((1 + s / 12 + s**2 / 90)[large], 1 / np.sinc(k / 2 / np.pi)[large] ** 2, rtol=2e-3)
        transform *= 1 + s / 12 + s**2 / 90
    return np.fft.ifft2(transform).real


def finely(maps, x, y, r, n=20, margin=20):
    """Aperture mass from n x n points per pixel, after subtracting the mean over the part in the field."""
    ny, nx = (size + 2 * margin for size in SHAPE)
    rows, columns = ((np.arange(size * n) + 0.5) / n - 0.5 - margin for size in (ny, nx))
    distance = np.hypot(columns - x, rows[:, None] - y) / r
    u_theta = 9 / (np.pi * r**2) * (1 - distance**2) * (1 / 3 - distance**2) * (distance < 1)
    inside, weights = (a.reshape(ny, n, nx, n).mean(axis=(1, 3)) for a in (distance < 1, u_theta))
    inside, weights = (a[margin:-margin, margin:-margin] for a in (inside, without_pixels(weights)))
    means = (maps * inside).sum(axis=(-2, -1), keepdims=True) / inside.sum()
    return (weights * (maps - means)).sum(axis=(-2, -1)), inside.sum() / (np.pi * r**2)


def test_the_aperture_mass_by_subpixels():
    positions, radius = np.array([[24.2, 20.4], [1.3, 5.0], [46.0, 39.4], [-6.0, 10.0]]), 3.6 * u.arcmin
    rng = np.random.default_rng(2)
    samples, wcs = rng.normal(size=(50, *SHAPE)).astype(np.float32), tan_wcs(SHAPE)
    mean, mask = rng.normal(size=SHAPE), rng.random(SHAPE) < 0.3
    table = aperture_mass(mean, samples, wcs, mask, wcs.pixel_to_world(*positions.T), radius, level=0.5)
    for row, position in zip(table, positions, strict=True):
        (value, *values), fraction = finely(np.concatenate([mean[None], samples]), *position, 9.0)
        assert np.isclose(row["aperture_mass"], value, atol=2e-3)
        assert np.isclose(row["std"], np.std(values, ddof=1), rtol=0.01)
        assert np.allclose([row["lower"], row["upper"]], np.quantile(values, [0.25, 0.75], method="weibull"), atol=2e-3)
        assert row["signal_to_noise"] == row["aperture_mass"] / row["std"]
        assert 0.6 * fraction < row["data_fraction"] < 0.8 * fraction
    assert table.meta == {"radius": radius, "level": 0.5, "n_samples": 50}


def test_the_noise_of_the_aperture_mass():
    # white noise of 0.1 in pixels of 0.4 arcmin has the variance (0.1 x 0.4 arcmin)^2 int U^2
    radius = 5 * u.arcmin
    mean, samples, wcs, mask = field(n_samples=800)
    std = aperture_mass(mean, samples, wcs, mask, wcs.pixel_to_world(24, 20), radius)["std"][0]
    square = quad(lambda t: 2 * np.pi * t * aperture_filter(t * u.arcmin, radius).value ** 2, 0, 5)[0]
    assert np.isclose(std, 0.04 * np.sqrt(square), rtol=0.1)  # known to 2.5 %: the limit is 4 sigma


@given(
    x=st.floats(-15, 60),
    y=st.floats(-15, 55),
    radius=st.floats(1.2, 12),
    value=st.floats(-1e3, 1e3),
    hole=st.booleans(),
)
def test_a_mass_sheet_has_no_aperture_mass(x, y, radius, value, hole):
    mean, samples, wcs, mask = field()
    samples = np.full_like(samples, value)
    if hole:
        samples[:, 10:20, 10:20] = np.nan
    table = aperture_mass(mean + value, samples, wcs, mask, wcs.pixel_to_world(x, y), radius * u.arcmin)
    assert 0 <= table["data_fraction"][0] <= 1
    if table["data_fraction"][0] > 0:
        assert np.allclose([table["aperture_mass"][0], table["std"][0]], 0, atol=1e-13 * abs(value))
    else:
        assert np.isnan([table["aperture_mass"][0], table["std"][0]]).all()


def test_apertures_outside_of_the_field():
    mean, samples, wcs, mask = field()
    centers = SkyCoord([150, 151, 330], [2.2, 2.2, -2.2], unit="deg")
    table = aperture_mass(mean, samples, wcs, mask, centers, 3 * u.arcmin)
    assert np.array_equal(np.isnan(table["aperture_mass"]), [False, True, True])
    assert np.array_equal(table["data_fraction"][1:], [0, 0])
    assert len(aperture_mass(mean, samples, wcs, mask, centers[:0], 3 * u.arcmin)) == 0


def test_many_apertures_are_computed_in_batches(monkeypatch):
    _, samples, wcs, mask = field(seed=3)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centers = wcs.pixel_to_world(x.ravel(), y.ravel())
    whole = aperture_mass(samples[0], samples, wcs, mask, centers, 2 * u.arcmin)
    monkeypatch.setattr(_aperture, "_AT_ONCE", 1000)
    parts = aperture_mass(samples[0], samples, wcs, mask, centers, 2 * u.arcmin)
    assert all(np.allclose(whole[c], parts[c], rtol=1e-9) for c in whole.colnames[1:])


@each_case(
    ("changes", "error", "message"),
    [
        ({"samples": None}, ValueError, "samples: an interval needs at least two"),
        ({"samples": np.zeros((1, *SHAPE))}, ValueError, "samples: an interval needs at least two"),
        ({"level": 1.0}, ValueError, "level: needs to be between 0 and 1"),
        ({"centers": (150, 2.2)}, TypeError, "centers: needs a SkyCoord"),
        ({"radius": 1.1 * u.arcmin}, ValueError, r"radius: needs at least 3 pixels \(1.2 arcmin\).*got 1.1 arcmin"),
        ({"radius": 3.0}, u.UnitsError, "radius: needs an angle"),
    ],
)
def test_invalid_apertures(changes, error, message):
    mean, samples, wcs, mask = field()
    arguments = {"samples": samples, "centers": wcs.pixel_to_world(20, 20), "radius": 3 * u.arcmin} | changes
    with pytest.raises(error, match=message):
        aperture_mass(mean, wcs=wcs, mask=mask, **arguments)


# ---- projected mass


def test_positions_without_radii_have_no_projected_mass():
    mean, samples, wcs, mask = field(0.2)
    center = wcs.pixel_to_world(24, 20)
    both = [circle(wcs, 24, 20, 3 * u.arcmin), PointSkyRegion(center)]
    for regions, counts in ((QTable({"ra": [center.ra], "dec": [center.dec]}), "1 of 1"), (both, "1 of 2")):
        with pytest.raises(
            ValueError, match=f"^regions: a projected mass needs an area, but {counts} regions have none"
        ):
            projected_mass(mean, samples, wcs, mask, regions, 0.3, 1.0, cosmology=FLAT)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_the_mass_of_a_mass_sheet(grid):
    # kappa Sigma_crit pi (theta D_l)^2
    mean, samples, wcs, mask = field(0.2, **grid)
    table = projected_mass(mean, samples, wcs, mask, circle(wcs, 24, 20, 3 * u.arcmin), 0.3, 1.0, cosmology=FLAT)
    d_l = distance(0.3, FLAT) / 1.3 * C / H0 * 1000
    expected = 0.2 * by_hand(0.3, 1.0) * np.pi * (np.radians(3 / 60) * d_l) ** 2
    assert table["mass"].unit == u.Msun
    assert np.isclose(table["mass"][0].value, expected, rtol=1e-4)


def test_the_sum_over_pixels():
    rng = np.random.default_rng(4)
    samples, wcs, mask = rng.normal(size=(30, *SHAPE)), tan_wcs(SHAPE), rng.random(SHAPE) < 0.2
    box = RectangleSkyRegion(wcs.pixel_to_world(19.5, 14.5), 8 * u.arcmin, 4 * u.arcmin)  # 20 x 10 pixels
    table = projected_mass(samples[0], samples, wcs, mask, box, 0.3, [0.1, 0.8, 1.2], cosmology=FLAT, level=0.5)
    inside = np.s_[..., 10:20, 10:30]
    unit = (
        critical_surface_density(0.3, [0.1, 0.8, 1.2], FLAT) * (FLAT.kpc_proper_per_arcmin(0.3) * 0.4 * u.arcmin) ** 2
    )
    sums = samples[inside].sum(axis=(1, 2)) * unit.to(u.Msun)
    assert np.isclose(table["mass"][0], sums[0], rtol=2e-4)
    assert np.isclose(table["std"][0], sums.std(ddof=1), rtol=2e-4)
    quartiles = np.quantile(sums, [0.25, 0.75], method="weibull")
    assert np.allclose(u.Quantity([table["lower"][0], table["upper"][0]]), quartiles, rtol=2e-4)
    assert np.isclose(table["data_fraction"][0], (~mask[inside]).mean(), atol=1e-4)
    assert table.colnames == ["region", "center", "mass", "std", "lower", "upper", "data_fraction"]
    assert (table.meta["n_samples"], table.meta["level"], table.meta["z_lens"]) == (30, 0.5, [0.3])


def test_each_region_has_its_redshift():
    mean, samples, wcs, mask = field(0.1)
    circles = [circle(wcs, x, 20, 2 * u.arcmin) for x in (10, 24, 38)]
    table = projected_mass(mean, samples, wcs, mask, circles, [0.2, 0.5, 0.2], 1.0, cosmology=FLAT)
    alone = [
        projected_mass(mean, samples, wcs, mask, c, z, 1.0, cosmology=FLAT)["mass"][0]
        for c, z in zip(circles, (0.2, 0.5, 0.2), strict=True)
    ]
    assert np.allclose(table["mass"], u.Quantity(alone), rtol=1e-5)
    assert not np.isclose(table["mass"][0], table["mass"][1], rtol=0.1)


@pytest.mark.parametrize("z_source", [1.0, [0.6, 1.0], ([0.5, 0.8, 1.0], [0.0, 1.0, 0.0])])
def test_a_lens_behind_the_sources_has_no_mass(z_source):
    mean, samples, wcs, mask = field(0.1)
    circles = [circle(wcs, x, 20, 2 * u.arcmin) for x in (10, 24, 38)]
    circles[1].meta["text"], circles[2].meta["text"] = "far", "edge"
    parts = mean, samples, wcs, mask
    with pytest.warns(AstropyUserWarning, match=r"2 of 3 lenses .* farthest is at 1; .*: far, edge$") as caught:
        table = projected_mass(*parts, circles, [0.3, 1.1, 1.0], z_source, cosmology=FLAT)
    assert len(caught) == 1
    assert np.isnan(table["mass"]).tolist() == np.isnan(table["upper"]).tolist() == [False, True, True]
    alone = projected_mass(*parts, circles[0], 0.3, z_source, cosmology=FLAT)
    assert np.isclose(table["mass"][0], alone["mass"][0], rtol=1e-5) and table["data_fraction"][1] > 0.999


def test_the_weights_of_sources_and_the_background():
    mean, samples, wcs, mask = field(0.1)
    mean[:, 24:] = 0.4
    circles = [circle(wcs, 36, 20, 2 * u.arcmin), circle(wcs, 12, 20, 2 * u.arcmin)]
    less = projected_mass(mean, samples, wcs, mask, circles[0], 0.3, 1.0, cosmology=FLAT, background=circles[1])
    plain = projected_mass(mean, samples, wcs, mask, circles[0], 0.3, 1.0, cosmology=FLAT)
    assert np.isclose(less["mass"][0], 0.75 * plain["mass"][0], rtol=1e-6)
    weighted = projected_mass(mean, samples, wcs, mask, circles[0], 0.3, [0.5, 1.0], cosmology=FLAT, weight=[0.0, 2.0])
    assert np.isclose(weighted["mass"][0], plain["mass"][0], rtol=1e-9)


def test_a_region_across_the_edge_counts_with_its_whole_area():
    mean, samples, wcs, mask = field(0.1)
    positions = (24, 20), (-0.5, 20), (200, 20)  # inside, half of it, outside
    circles = [circle(wcs, *position, 2 * u.arcmin) for position in positions]
    table = projected_mass(mean, samples, wcs, mask, circles, 0.3, 1.0, cosmology=FLAT)
    assert np.isclose(table["mass"][1], table["mass"][0], rtol=1e-4)
    assert np.allclose(table["data_fraction"], [1, 0.5, 0], atol=1e-3)
    assert np.isnan(table["mass"][2]) and np.isnan(table["std"][2])


def test_no_regions_and_regions_on_the_other_side_of_the_sky():
    mean, samples, wcs, mask = field(0.1)
    assert len(projected_mass(mean, samples, wcs, mask, [], 0.3, 1.0, cosmology=FLAT)) == 0
    far = CircleSkyRegion(SkyCoord(330, -2.2, unit="deg"), 2 * u.arcmin)
    assert np.isnan(projected_mass(mean, samples, wcs, mask, far, 0.3, 1.0, cosmology=FLAT)["mass"][0])


def test_pixels_off_a_reprojected_map_do_not_count():
    mean, samples, wcs, mask = field(0.1)
    samples[:, :, :24] = np.nan
    table = projected_mass(
        mean, samples.astype(np.float32), wcs, mask, circle(wcs, 23.5, 20, 2 * u.arcmin), 0.3, 1.0, cosmology=FLAT
    )
    whole = projected_mass(*field(0.1)[:2], wcs, mask, circle(wcs, 23.5, 20, 2 * u.arcmin), 0.3, 1.0, cosmology=FLAT)
    assert np.isclose(table["mass"][0], whole["mass"][0], rtol=1e-6)
    assert np.isclose(table["data_fraction"][0], 0.5, atol=1e-6)


def test_a_table_of_masses_can_be_written(tmp_path):
    mean, samples, wcs, mask = field(0.1)
    table = projected_mass(mean, samples, wcs, mask, circle(wcs, 24, 20, 2 * u.arcmin), 0.3, 1.0, cosmology=FLAT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table.write(tmp_path / "masses.ecsv")
    assert np.isclose(QTable.read(tmp_path / "masses.ecsv")["mass"][0], table["mass"][0], rtol=1e-9)


@each_case(
    ("z_lens", "z_source", "message"),
    [
        ([0.1, 0.2, 0.3], 1.0, "z_lens: needs one redshift, or one for each of 2 regions"),
        ([0.1, -0.2], 1.0, "z_lens: needs positive redshifts"),
        ([0.9, 0.8], 0.5, "z_source: needs sources behind z_lens = 0.8"),
    ],
)
def test_invalid_arguments_of_masses(z_lens, z_source, message):
    mean, samples, wcs, mask = field(0.1)
    circles = [circle(wcs, x, 20, 2 * u.arcmin) for x in (10, 30)]
    with pytest.raises(ValueError, match=message):
        projected_mass(mean, samples, wcs, mask, circles, z_lens, z_source)
