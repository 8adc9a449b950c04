"""Masses of halos from analytic profiles, and aperture densitometry compared with integrals of the shear."""

from itertools import pairwise

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from scipy.integrate import quad
from scipy.stats import chi2

from astro_massmap import ConvergenceMap, PowerSpectrum
from astro_massmap.analysis.annuli import structure_covariance
from astro_massmap.analysis.halo_mass import _fields, aperture_densitometry, nfw_mass
from astro_massmap.simulation import NFWHalo, inject_halo

from helpers.cases import each_case
from helpers.skies import tan_wcs

COSMOLOGY = FlatLambdaCDM(70, 0.3)
SHAPE = 44, 48
RING = [4, 7] * u.arcmin
FIXED = {"background": RING, "cosmology": COSMOLOGY, "structure": False}


def maps(*masses, position=(24.2, 21.3), sheet=0.0, concentration=None, shape=SHAPE, **grid):
    """Mean, samples (one for each mass), WCS and mask of maps of halos; and the position."""
    wcs = tan_wcs(shape, **grid)
    center, blank = wcs.pixel_to_world(*position), ConvergenceMap(np.full(shape, float(sheet)), wcs=wcs)
    halos = [NFWHalo(mass * u.Msun, 0.3, concentration, COSMOLOGY) for mass in masses]
    samples = np.array([inject_halo(blank, halo, center, z_source=1.0).data for halo in halos])
    return samples.mean(axis=0), samples, wcs, np.zeros(shape, dtype=bool), center


@pytest.mark.filterwarnings("ignore:level")
@pytest.mark.parametrize(
    ("options", "fraction"),
    [
        ({"sheet": 0.07}, 1),
        ({"concentration": 6.5}, 1),
        ({"rotation": 37, "flipped": True, "scale": 0.25, "shape": (60, 60), "position": (29.0, 30.5)}, 1),
        # the edges cut annuli and ring, and from the circle of 10 pixels the segments beyond 3.5 and 9.5 pixels
        ({"position": (9.0, 40.0)}, 1 - 0.282 - 0.007),
    ],
)
def test_masses_of_analytic_profiles(options, fraction):
    masses = np.array([1e14, 4e14, 1e15, 3e15])
    *parts, center = maps(*masses, **options)
    table = nfw_mass(*parts, center, 0.3, 1.0, concentration=options.get("concentration"), **FIXED)
    assert np.allclose(table["samples"][0].to_value(u.Msun), masses, rtol=0.01)
    assert table["mass"].unit == u.Msun and table["mass"][0].value == pytest.approx(masses.mean(), rel=0.01)
    assert table["std"][0].value == pytest.approx(np.std(masses, ddof=1), rel=0.01)
    assert table["data_fraction"][0] == pytest.approx(fraction, abs=0.01)


@pytest.mark.filterwarnings("ignore:level")
def test_the_innermost_annulus_may_be_a_circle_and_a_hole_has_negative_mass():
    _, samples, wcs, mask, center = maps(1e15)
    mask[:, 25:] = True
    both = np.concatenate([samples, -samples])
    table = nfw_mass(samples[0], both, wcs, mask, center, 0.3, 1.0, radii=[0, 1, 2, 4] * u.arcmin, **FIXED)
    assert np.allclose(table["samples"][0].to_value(u.Msun), [1e15, -1e15], rtol=0.01)
    assert table["data_fraction"][0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.filterwarnings("ignore:level")
def test_the_mass_of_a_noisy_map_is_the_best_fit():
    """Least squares with the areas as weights, minimised on a fine grid of masses by hand."""
    _, samples, wcs, mask, center = maps(8e14)
    noisy = samples + np.random.default_rng(1).normal(scale=0.05, size=(2, *SHAPE))
    edges = np.array([1.0, 2.0, 3.0, 4.0])
    fitted = nfw_mass(noisy[0], noisy, wcs, mask, center, 0.3, 1.0, radii=edges * u.arcmin, **FIXED)["samples"][0]
    x, y = wcs.world_to_pixel(center)
    yy, xx = np.mgrid[: SHAPE[0] : 1 / 12, : SHAPE[1] : 1 / 12] + 1 / 24 - 0.5
    r = np.hypot(xx - x, yy - y) * 0.4
    fine = noisy.repeat(12, axis=1).repeat(12, axis=2)
    bounds = [*pairwise(edges), (4, 7)]
    seen = np.array([fine[:, (r >= low) & (r < high)].mean(axis=1) for low, high in bounds]).T

    def model(mass):
        projected = NFWHalo(mass * u.Msun, 0.3, cosmology=COSMOLOGY)
        strength = projected.convergence(1 * u.arcmin, 1.0) / projected.surface_density(1 * u.arcmin)
        area = (1 * u.arcmin).to_value(u.rad) ** 2 * COSMOLOGY.angular_diameter_distance(0.3) ** 2 * np.pi
        within = [(projected.projected_mass(t * u.arcmin) * strength / area).to_value(u.one) for t in (*edges, 7)]
        return np.diff(within) / np.diff(np.square([*edges, 7]))

    grid = np.geomspace(4e14, 1.6e15, 120)
    models = np.array([model(mass) for mass in grid])
    for one, mass in zip(seen, fitted.to_value(u.Msun), strict=True):
        misfit = (np.diff(edges**2) * ((one - one[-1]) - (models - models[:, -1:]))[:, :-1] ** 2).sum(axis=1)
        assert mass == pytest.approx(grid[misfit.argmin()], rel=0.02)


@pytest.mark.filterwarnings("ignore:level")
def test_each_sample_has_a_concentration_of_its_own():
    _, samples, wcs, mask, center = maps(1e15, 1e15, 1e15, concentration=4.0)
    parts = samples[0], samples, wcs, mask, center, 0.3, 1.0
    scattered = nfw_mass(*parts, concentration=4.0, scatter=0.3, seed=5, **FIXED)["samples"][0]
    factors = np.exp(0.3 * np.random.default_rng(5).normal(size=3))
    for mass, factor in zip(scattered, factors, strict=True):
        expected = nfw_mass(*parts, concentration=4.0 * factor, **FIXED)["samples"][0, 0]
        assert abs(mass / expected - 1) < 1e-9 and abs(mass.to_value(u.Msun) / 1e15 - 1) > 0.005


@pytest.mark.filterwarnings("ignore:level")
def test_several_centers_and_one_outside():
    mean, samples, wcs, mask, _ = maps(5e14, 5e14)
    centers = wcs.pixel_to_world([500, 24.2], [20, 21.3])
    table = nfw_mass(mean, samples, wcs, mask, centers, 0.3, 1.0, **FIXED)
    assert np.isnan(table["mass"][0]) and table["data_fraction"][0] == 0
    assert np.allclose(table["samples"][1].to_value(u.Msun), 5e14, rtol=0.01)


@pytest.mark.filterwarnings("ignore:level")
def test_each_halo_has_its_redshift():
    """The masses are those of one halo after the other, and NaN for a halo that is not in front of the sources."""
    mean, samples, wcs, mask, center = maps(5e14, 8e14)
    parts, z = (mean, samples, wcs, mask), [0.3, 1.2, 0.5]
    clusters = QTable({"center": center[None][[0, 0, 0]], "name": ["A", "B", "C"], "redshift": z})
    for places, redshifts, name in ((clusters, "redshift", "B"), (clusters["center"], z, "row 1")):
        with pytest.warns(AstropyUserWarning, match=f"z_source: 1 of 3 lenses .* their masses are NaN: {name}$"):
            table = nfw_mass(*parts, places, redshifts, 1.0, **FIXED)
        assert np.isnan(table["mass"]).tolist() == [False, True, False] and table["data_fraction"][1] == 1
        for i in (0, 2):
            alone = nfw_mass(*parts, center, z[i], 1.0, **FIXED)
            assert u.allclose(table["samples"][i], alone["samples"][0], rtol=1e-12)
    assert abs(table["mass"][2] / table["mass"][0] - 1) > 0.1


@pytest.mark.filterwarnings("ignore:level")
def test_a_fit_beyond_the_largest_mass_gives_a_warning():
    mean, samples, wcs, mask, center = maps(3e15, 3e15)
    with pytest.warns(AstropyUserWarning, match=r"samples: 2 of 2 fits end at the largest mass, 1e\+17 Msun"):
        nfw_mass(300 * mean, 300 * samples, wcs, mask, center, 0.3, 1.0, **FIXED)


@pytest.mark.filterwarnings("ignore:level")
def test_densitometry_is_the_integral_of_the_shear():
    halo = NFWHalo(1e15 * u.Msun, 0.3, cosmology=COSMOLOGY)
    mean, samples, wcs, mask, center = maps(1e15, 1e15, sheet=0.1, scale=0.25, shape=(60, 60), position=(30.0, 29.0))
    radii = np.array([1.0, 2.0, 4.0])
    table = aperture_densitometry(mean, samples, wcs, mask, center, radii * u.arcmin, [4.5, 7] * u.arcmin)

    def integral(low, high):
        return quad(lambda t: float(halo.shear(np.exp(t) * u.arcmin, 1.0)), np.log(low), np.log(high))[0]

    expected = [2 * integral(r, 4.5) + 2 / (1 - (4.5 / 7) ** 2) * integral(4.5, 7) for r in radii]
    assert np.allclose(table["zeta_c"], expected, rtol=0.01)
    assert np.allclose(table["std"], 0, atol=1e-9) and (table["radius"] == radii * u.arcmin).all()


@each_case(
    ("change", "error", "message"),
    [
        ({"background": 4 * u.arcmin}, ValueError, "background: needs at least 2"),
        ({"background": [4, 7]}, u.UnitsError, "background: needs angles"),
        ({"background": [7, 4] * u.arcmin}, ValueError, "background: needs at least 2 increasing"),
        ({"background": [0.9, 7] * u.arcmin}, ValueError, "background: needs an inner radius of more than three"),
        (
            {"background": [40, 70] * u.arcmin, "radii": [1, 2] * u.arcmin},
            ValueError,
            "background: needs annuli with pixels on the map",
        ),
        ({"radii": [1, 5] * u.arcmin}, ValueError, "background: needs a ring outside of the largest of radii"),
        ({"radii": [1] * u.arcmin}, ValueError, "radii: needs at least 2"),
        ({"radii": [1, np.inf] * u.arcmin}, ValueError, "radii: needs finite"),
        ({"z_lens": -1.0}, ValueError, "z_lens: needs positive redshifts"),
        ({"z_lens": [0.2, 0.3]}, ValueError, "z_lens: needs one redshift, or one for each of 1"),
        ({"z_lens": "z"}, ValueError, "z_lens: got 'z', the name of a column"),
        ({"z_source": 0.2}, ValueError, "z_source: needs sources behind"),
        ({"concentration": 0.0}, ValueError, "concentration: needs a positive number"),
        ({"scatter": -0.1}, ValueError, "scatter: needs a number, zero or positive"),
        ({"centers": "center"}, TypeError, "centers: needs a SkyCoord"),
        ({"samples": np.zeros((1, *SHAPE))}, ValueError, "samples: an interval needs at least two"),
    ],
)
def test_invalid_arguments(change, error, message):
    wcs = tan_wcs(SHAPE)
    arguments = {"mean": np.zeros(SHAPE), "samples": np.zeros((2, *SHAPE)), "wcs": wcs, "mask": np.zeros(SHAPE, bool)}
    arguments |= {"centers": wcs.pixel_to_world(24, 21), "z_lens": 0.3, "z_source": 1.0, "background": RING} | change
    with pytest.raises(error, match=f"^{message}"):
        nfw_mass(**arguments)


def test_invalid_arguments_of_densitometry():
    mean, samples, wcs, mask, center = maps(1e14, 1e14)
    with pytest.raises(ValueError, match=r"^background: needs a ring outside of the largest of radii"):
        aperture_densitometry(mean, samples, wcs, mask, center, [1, 5] * u.arcmin, RING)
    with pytest.raises(ValueError, match=r"^center: needs one position"):
        aperture_densitometry(mean, samples, wcs, mask, wcs.pixel_to_world([1, 2], [3, 4]), 1 * u.arcmin, RING)


def gaussian_field(seed, wcs, shape):
    """Return a periodic Gaussian field of twice the side, cut to the grid, with the default spectrum of a pixel."""
    pixel = np.radians(abs(wcs.wcs.cd[1, 1]))
    ell = 2 * np.pi * np.hypot(*np.meshgrid(*(np.fft.fftfreq(2 * side, pixel) for side in shape[::-1])))
    power = PowerSpectrum.default()(np.maximum(ell, 1.0)) / pixel**2
    power[0, 0] = 0
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=(2 * shape[0], 2 * shape[1])))
    return np.fft.ifft2(noise * np.sqrt(power)).real[: shape[0], : shape[1]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:level")
def test_structure_along_the_line_of_sight_widens_the_masses_by_its_scatter():
    """Pulls of 60 maps without noise have unit variance, with a false-alarm rate of 1e-3."""
    _, (halo,), wcs, mask, center = maps(8e14)
    pulls, stds = [], []
    for seed in range(60):
        image = halo + gaussian_field(seed, wcs, SHAPE)
        samples = np.repeat(image[None], 40, axis=0)
        row = nfw_mass(image, samples, wcs, mask, center, 0.3, 1.0, background=RING, cosmology=COSMOLOGY, seed=seed)[0]
        alone = nfw_mass(image, samples, wcs, mask, center, 0.3, 1.0, **FIXED)[0]
        assert alone["std"].value < 1e9
        assert row["mass"].value == pytest.approx(alone["mass"].value, abs=0.1 * row["std"].value)
        pulls.append((row["mass"].value - 8e14) / row["std"].value)
        stds.append(row["std"].value)
    low, high = chi2.ppf([0.0005, 0.9995], 60)
    assert low < (np.array(pulls) ** 2).sum() < high
    assert 1e14 < np.mean(stds) < 3e14


@pytest.mark.filterwarnings("ignore:level")
def test_structure_of_redshifts_of_galaxies_is_that_of_their_plane():
    # redshifts and weights of galaxies are no table of a density, which increases in redshift
    _, samples, wcs, mask, center = maps(8e14, 7e14, 9e14)
    found = [
        nfw_mass(samples[0], samples, wcs, mask, center, 0.3, z, background=RING, cosmology=COSMOLOGY)["samples"]
        for z in (1.0, [1.0, 1.0, 1.0])
    ]
    assert np.allclose(*(masses.value for masses in found), rtol=1e-9)


@pytest.mark.parametrize("n", [2, 6, 7, 16])
def test_fields_have_mean_zero_and_their_covariance(n):
    covariance = structure_covariance(PowerSpectrum.default(), np.geomspace(2e-4, 1e-3, 7), np.array([1e-3, 2e-3]))
    fields = _fields(covariance, n, np.random.default_rng(3))
    assert np.allclose(fields.mean(axis=0), 0, atol=1e-6)
    if n > 6:
        assert np.allclose(np.cov(fields.T), covariance, rtol=1e-6, atol=1e-9 * covariance.max())
    else:
        many = [_fields(covariance, n, np.random.default_rng(seed)) for seed in range(4000)]
        second = np.mean([f.T @ f / n for f in many], axis=0)
        assert np.allclose(second, covariance, rtol=0.2)  # 4 sigma for two fields


@pytest.mark.filterwarnings("ignore:level")
def test_the_covariance_of_structure_is_that_of_gaussian_fields():
    wcs = tan_wcs(SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radii = 0.4 * np.hypot(x - 23.5, y - 21.5)
    edges = np.array([1.0, 2.0, 4.0, 7.0])
    which = [(radii >= low) & (radii < high) for low, high in pairwise(edges)]
    fields = [gaussian_field(seed, wcs, SHAPE) for seed in range(400)]
    means = np.array([[field[ring].mean() for ring in which] for field in fields])
    found = np.cov((means[:, :-1] - means[:, -1:]).T)
    edges = np.radians(edges / 60)
    expected = structure_covariance(PowerSpectrum.default(), edges[:3], edges[2:])
    assert np.allclose(found, expected, rtol=0.25)  # the standard error of a variance is 7 %
