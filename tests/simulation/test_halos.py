"""Halos against integrals of their density, and injected halos against shear computed on the sphere."""

import astropy.units as u
import mpmath
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM, default_cosmology
from hypothesis import given, strategies as st
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter

from astro_massmap import ConvergenceMap, KaiserSquires, ShearCatalog, Wiener
from astro_massmap.analysis.mass import critical_surface_density
from astro_massmap.simulation import NFWHalo, inject_halo, observe

from helpers.cases import each_case
from helpers.skies import halo_shear, scatter, tan_wcs

COSMOLOGY = FlatLambdaCDM(70, 0.3)
SHAPE = (48, 52)
CENTER = (27.2, 22.4)  # x, y
GRIDS = {
    "plain": {},
    "rotated": {"rotation": 37},
    "flipped": {"flipped": True, "rotation": -110},
    "at the pole": {"center": (40.0, 89.93)},
    "Galactic": {"frame": "galactic", "center": (120.0, -40.0)},
}
AXES = ["west-north", "east-north", "north-east", "south-east"]


def cluster(mass=5e14, redshift=0.3, concentration=4.0):
    return NFWHalo(mass * u.Msun, redshift, concentration, COSMOLOGY)


def blank(value=0.0, shape=SHAPE, **grid):
    return ConvergenceMap(np.full(shape, value), wcs=tan_wcs(shape, **grid))


def galaxies(coords, e=None, axes="west-north", **options):
    """A catalogue with complex ellipticity ``e``, x to the West and y to the North; 0 by default."""
    e = np.zeros(len(coords), dtype=complex) if e is None else e
    e = {"west-north": e, "east-north": e.conj(), "north-east": -e, "south-east": -e.conj()}[axes]
    return ShearCatalog(coords, e.real, e.imag, axes=axes, shape_noise=0.01, **options)


def complex_shear(catalog):
    return catalog.g1 + 1j * catalog.g2


# ---- the profile


def scale_convergence(halo, z_source=1.0):
    """rho_s r_s / Sigma_crit, from the mass within r200."""
    c = halo.concentration
    rho_s = halo.mass / (4 * np.pi * (halo.r200 / c) ** 3 * (np.log(1 + c) - c / (1 + c)))
    return (rho_s * halo.scale_radius / critical_surface_density(halo.redshift, z_source, COSMOLOGY)).to_value(u.one)


def test_the_mean_density_within_r200():
    halo = cluster()
    density = halo.mass / (4 / 3 * np.pi * halo.r200**3) / COSMOLOGY.critical_density(0.3)
    assert np.isclose(density.to_value(u.one), 200, rtol=1e-12)
    assert halo.scale_radius == halo.r200 / 4
    angle = (halo.scale_radius * COSMOLOGY.arcsec_per_kpc_proper(0.3)).to(u.arcmin)
    assert np.isclose(halo.angular_scale_radius, angle, rtol=1e-9)


@pytest.mark.parametrize("x", [0.02, 0.3, 1.0, 2.5, 40])
def test_the_surface_density_is_the_projected_nfw_density(x):
    halo = cluster()
    r_s = halo.scale_radius.to_value(u.kpc)

    def density(r):
        return 1 / (r * (1 + r) ** 2)

    within = 4 * np.pi * r_s**3 * quad(lambda r: r**2 * density(r), 0, 4)[0]
    projected = 2 * r_s * quad(lambda t: x * np.cosh(t) * density(x * np.cosh(t)), 0, 20, epsrel=1e-10)[0]
    expected = projected * halo.mass.value / within
    surface_density = halo.surface_density(x * halo.angular_scale_radius)
    assert surface_density.unit == u.Msun / u.kpc**2
    assert np.isclose(surface_density.value, expected, rtol=1e-7)


@pytest.mark.parametrize("x", [0.01, 0.1, 0.7, 1.0, 3.0, 30.0])
def test_shear_and_mass_are_integrals_of_the_convergence(x):
    halo, r_s = cluster(), cluster().angular_scale_radius
    # in log(x), as the convergence diverges at the centre; the mass within exp(-13) is a fraction of 1e-7
    integral = quad(
        lambda t: 2 * np.exp(2 * t) * halo.convergence(np.exp(t) * r_s, 1.0), -13, np.log(x), epsrel=1e-10, limit=200
    )[0]
    kappa = halo.convergence(x * r_s, 1.0)
    assert np.isclose(halo.shear(x * r_s, 1.0), integral / x**2 - kappa, rtol=1e-5)
    area = np.pi * halo.scale_radius**2 * integral
    expected = (area * critical_surface_density(0.3, 1.0, COSMOLOGY)).to(u.Msun)
    assert np.isclose(halo.projected_mass(x * r_s), expected, rtol=1e-6)


@given(
    st.one_of(
        st.floats(1e-6, 300), st.floats(-12, -1).map(lambda t: 1 + 10**t), st.floats(-12, -1).map(lambda t: 1 - 10**t)
    )
)
def test_no_digits_are_lost(x):
    halo = cluster()
    strength = halo.convergence(halo.angular_scale_radius, 1.0) * 1.5  # 2 / 3 kappa_s at x = 1
    with mpmath.workdps(60):
        y = mpmath.mpf(x)
        arc = 1 if y == 1 else (mpmath.acosh(1 / y) if y < 1 else mpmath.acos(1 / y)) / mpmath.sqrt(abs(1 - y**2))
        kappa = 2 * (mpmath.mpf(1) / 3 if y == 1 else (1 - arc) / (y**2 - 1))
        gamma = 4 * (mpmath.log(y / 2) + arc) / y**2 - kappa
    theta = x * halo.angular_scale_radius
    assert np.isclose(halo.convergence(theta, 1.0), strength * float(kappa), rtol=1e-11)
    assert np.isclose(halo.shear(theta, 1.0), strength * float(gamma), rtol=1e-11)


def test_the_centre():
    halo = cluster()
    r_s = halo.angular_scale_radius
    assert np.isclose(halo.shear(0 * u.arcmin, 1.0), scale_convergence(halo), rtol=1e-6)  # its limit is kappa_s
    assert halo.convergence(0 * u.arcmin, 1.0) == halo.convergence(1e-6 * r_s, 1.0) > halo.convergence(1e-5 * r_s, 1.0)
    assert halo.convergence(np.zeros((2, 3)) * u.deg, 1.0).shape == (2, 3)


def test_the_shear_of_an_independent_profile():
    coords, center = scatter(tan_wcs(SHAPE), SHAPE, 500), SkyCoord(150, 2.2, unit="deg")
    halo = cluster()
    expected = halo_shear(coords, center, scale_radius=halo.angular_scale_radius, kappa_s=scale_convergence(halo))
    assert np.allclose(halo.shear(coords.separation(center), 1.0), np.abs(expected), rtol=1e-3, atol=1e-5)


def test_redshift_of_each_source():
    halo, theta = cluster(), [1.0, 2.0, 3.0, 1.0] * u.arcmin
    kappa = halo.convergence(theta, [0.2, 0.3, 0.8, 2.0])
    assert (kappa[:2] == 0).all() and (halo.shear(theta, 0.1) == 0).all()
    sigma = halo.surface_density(theta[2:])
    critical = u.Quantity([critical_surface_density(0.3, z, COSMOLOGY) for z in (0.8, 2.0)])
    assert np.allclose(kappa[2:], (sigma / critical).to_value(u.one), rtol=1e-10)


def test_concentration_of_duffy_et_al():
    # 5.71 at 2e12 Msun / h, times 2^-0.47 at redshift 1, times 10^-0.084 a decade
    for mass, expected in ((2e12, 5.71), (2e13, 5.71 * 10**-0.084)):
        halo = NFWHalo(mass / 0.7 * u.Msun, 1.0, cosmology=COSMOLOGY)
        assert np.isclose(halo.concentration, expected * 2**-0.47, rtol=1e-9)


def test_default_cosmology_is_that_of_astropy():
    with default_cosmology.set(COSMOLOGY):
        assert NFWHalo(1e14 * u.Msun, 0.3, 4.0) == cluster(1e14)
    assert NFWHalo(1e47 * u.kg, 0.3).mass.unit == u.Msun
    assert len({cluster(), cluster(), cluster(1e14)}) == 2


@each_case(
    ("arguments", "error", "message"),
    [
        ((5e14, 0.3), u.UnitsError, "mass: needs a mass such as 5e14"),
        ((5e14 * u.kpc, 0.3), u.UnitsError, "mass: needs a mass such as 5e14"),
        ((-1 * u.Msun, 0.3), ValueError, "mass: needs one positive mass"),
        (([1, 2] * u.Msun, 0.3), ValueError, "mass: needs one positive mass"),
        ((1e14 * u.Msun, 0.0), ValueError, "redshift: needs one positive redshift"),
        ((1e14 * u.Msun, 0.3, -4.0), ValueError, "concentration: needs to be positive"),
        ((1e14 * u.Msun, 0.3, 4.0, "flat"), TypeError, "cosmology: needs a cosmology of astropy"),
    ],
)
def test_invalid_halos(arguments, error, message):
    with pytest.raises(error, match=message):
        NFWHalo(*arguments)


# ---- in a catalogue


def composed(e, g):
    """Ellipticity e after the reduced shear g (Seitz & Schneider 1997)."""
    return (
        (e + g) / (1 + g.conjugate() * e) if abs(g) <= 1 else (1 + g * e.conjugate()) / (e.conjugate() + g.conjugate())
    )


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("frame", ["icrs", "galactic"])
def test_galaxies_are_sheared_on_the_sphere(axes, frame):
    wcs, halo = tan_wcs(SHAPE, center=(40.0, 75.0)), cluster(6e15, concentration=10.0)
    coords, center = scatter(wcs, SHAPE, 2000), wcs.pixel_to_world(*CENTER)
    coords = SkyCoord(coords.transform_to(frame).data, frame=frame)
    rng = np.random.default_rng(1)
    e = 0.5 * np.sqrt(rng.random(2000)) * np.exp(2j * np.pi * rng.random(2000))
    gamma = halo_shear(
        coords, center.transform_to(frame), scale_radius=halo.angular_scale_radius, kappa_s=scale_convergence(halo)
    )
    g = gamma / (1 - halo.convergence(coords.separation(center.transform_to(frame)), 1.0))
    expected = np.array([composed(*pair) for pair in zip(e, g, strict=True)])
    assert (np.abs(g) > 1).sum() > 5 and (np.abs(g) < 1).sum() > 1000
    survey = inject_halo(galaxies(coords, e, axes), halo, center, z_source=1.0)
    expected = expected if axes in ("west-north", "north-east") else expected.conj()
    expected = expected if axes in ("west-north", "east-north") else -expected
    assert survey.axes == axes
    exact = np.abs(coords.separation(center.transform_to(frame)) / halo.angular_scale_radius - 1) > 1e-4
    assert exact.sum() > 1990  # halo_shear is shifted by 1e-4 around x = 1
    assert np.allclose(complex_shear(survey)[exact], expected[exact], rtol=0, atol=1e-9)


def test_galaxies_in_front_are_not_lensed():
    coords, halo = scatter(tan_wcs(SHAPE), SHAPE, 300), cluster()
    center = SkyCoord(150, 2.2, unit="deg")
    z = np.random.default_rng(2).uniform(0.05, 1.5, 300)
    survey = complex_shear(inject_halo(galaxies(coords, redshift=z), halo, center))
    assert (survey[z <= 0.3] == 0).all() and (survey[z > 0.3] != 0).all()
    alone = [
        complex_shear(inject_halo(galaxies(coords[[i]]), halo, center, z_source=z[i]))[0]
        for i in np.flatnonzero(z > 0.3)[:20]
    ]
    assert np.allclose(survey[z > 0.3][:20], alone, rtol=1e-5)


def test_biases_are_those_of_the_catalogue():
    coords, halo, center = scatter(tan_wcs(SHAPE), SHAPE, 300), cluster(1e14), SkyCoord(150, 2.2, unit="deg")
    e = 0.1 * np.exp(2j * np.pi * np.random.default_rng(3).random(300))
    plain = inject_halo(galaxies(coords, e), halo, center, z_source=1.0)
    catalog = galaxies(coords, e + 0.01 + 0.02j, m_bias=0.1, c_bias=(0.01, 0.02))
    survey = inject_halo(catalog, halo, center, z_source=1.0)
    kappa = halo.convergence(coords.separation(center), 1.0)
    gamma = halo_shear(coords, center, scale_radius=halo.angular_scale_radius, kappa_s=scale_convergence(halo))
    assert np.allclose(complex_shear(survey) - complex_shear(plain), 0.1 * gamma / (1 - kappa), atol=1e-5)
    assert survey.c_bias == (0, 0) and survey.m_bias == 0.1
    assert np.allclose(complex_shear(catalog), e + 0.01 + 0.02j)  # as it was
    assert (survey.meta["halos"], "halos" in catalog.meta) == (1, False)
    assert inject_halo(survey, halo, center, z_source=1.0).meta["halos"] == 2


def test_the_shear_of_several_halos_adds():
    coords = scatter(tan_wcs(SHAPE), SHAPE, 300)
    centers = SkyCoord([150.0, 150.1], [2.2, 2.25], unit="deg")
    halos = [cluster(1e12), cluster(2e12, 0.5)]
    both = complex_shear(inject_halo(galaxies(coords), halos, centers, z_source=1.0))
    first, second = (
        complex_shear(inject_halo(galaxies(coords), h, c, z_source=1.0)) for h, c in zip(halos, centers, strict=True)
    )
    assert np.allclose(both, first + second, rtol=0, atol=2e-7)  # to first order
    same = inject_halo(galaxies(coords), halos[0], centers, z_source=1.0)
    assert np.allclose(
        complex_shear(same),
        complex_shear(inject_halo(galaxies(coords), halos[:1] * 2, centers, z_source=1.0)),
        atol=1e-15,
    )
    assert (complex_shear(inject_halo(galaxies(coords), [], centers[:0], z_source=1.0)) == 0).all()


def test_the_map_keeps_its_sources():
    kappa = blank(shape=(16, 16))
    kappa.n_z = np.array([0.5, 0.9, 1.3]), np.array([0.0, 1.0, 0.0])
    injected = inject_halo(kappa, cluster(), kappa.wcs.pixel_to_world(8, 8), z_source=1.0)
    assert np.array_equal(injected.n_z, kappa.n_z)


def test_a_galaxy_at_the_centre():
    center = SkyCoord(150, 2.2, unit="deg")
    survey = inject_halo(galaxies(SkyCoord([150, 150.01], [2.2, 2.2], unit="deg")), cluster(), center, z_source=1.0)
    assert np.isfinite(complex_shear(survey)).all()


@pytest.mark.filterwarnings("ignore:the noise seems")  # there is none in the data
@pytest.mark.parametrize("method", [KaiserSquires(0.8 * u.arcmin), Wiener(n_samples=0, dtype="float64")])
@pytest.mark.slow
def test_a_reconstruction_finds_the_halo(method):
    wcs, halo = tan_wcs((96, 96)), cluster(1e14)
    coords, center = scatter(wcs, (96, 96), 60000), wcs.pixel_to_world(50.0, 44.0)
    survey = inject_halo(galaxies(coords), halo, center, z_source=1.0)
    truth = inject_halo(blank(shape=(96, 96)), halo, center, z_source=1.0).data
    kappa = survey.reconstruct(method, wcs=wcs, progress=False).data
    y, x = np.mgrid[:96, :96]
    near = np.hypot(x - 50, y - 44) < 20
    # at the same resolution, and up to the mean (mass-sheet degeneracy); empty pixels smooth slightly
    kappa, truth = (gaussian_filter(m, s) for m, s in ((kappa, 0 if hasattr(method, "smoothing") else 2), (truth, 2)))
    kappa, truth = kappa - kappa[near].mean(), truth - truth[near].mean()
    assert np.abs(kappa - truth)[near].max() < 0.06 * truth.max()
    assert np.isclose((kappa * truth)[near].sum() / (truth**2)[near].sum(), 1, atol=0.03)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_map_and_catalogue_agree(grid):
    shape = (128, 128)
    kappa, halo = blank(shape=shape, scale=0.2, **grid), cluster(1e14, concentration=10.0)
    center = kappa.wcs.pixel_to_world(62.3, 66.1)
    coords = kappa.wcs.pixel_to_world(*np.random.default_rng(4).uniform(40, 90, (2, 3000))).icrs
    seen = observe(inject_halo(kappa, halo, center, z_source=1.0), positions=coords, shape_noise=0, reduced_shear=True)
    injected = inject_halo(galaxies(coords), halo, center, z_source=1.0)
    difference = complex_shear(seen) - complex_shear(injected)
    far = coords.separation(center) > 1 * u.arcmin  # from pixels of 0.2 arcmin, which ring around the cusp
    assert np.abs(complex_shear(injected)[far]).max() > 0.04
    assert np.linalg.norm(difference[far]) < 0.03 * np.linalg.norm(complex_shear(injected)[far])


def test_all_axes_lead_to_the_same_map():
    wcs, halo = tan_wcs(SHAPE), cluster()
    coords, center = scatter(wcs, SHAPE, 3000), wcs.pixel_to_world(*CENTER)
    e = 0.2 * np.exp(2j * np.pi * np.random.default_rng(5).random(3000))
    maps = [inject_halo(galaxies(coords, e, a), halo, center, z_source=1.0).to_map(wcs=wcs).data for a in AXES]
    assert np.allclose(maps[0], maps[1], atol=1e-12) and np.allclose(maps[0], maps[2], atol=1e-12)


# ---- in a map


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_the_map_contains_the_projected_mass(grid):
    kappa, halo = blank(**grid), cluster()
    center = kappa.wcs.pixel_to_world(*CENTER)
    more = inject_halo(kappa, halo, center, z_source=1.0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    step = (np.arange(10) + 0.5) / 10 - 0.5
    fine = np.hypot(x[:, :, None, None] + step - CENTER[0], y[:, :, None, None] + step[:, None] - CENTER[1])
    critical = critical_surface_density(0.3, 1.0, COSMOLOGY)
    pixel = (COSMOLOGY.kpc_proper_per_arcmin(0.3) * 0.4 * u.arcmin) ** 2
    for radius in (6, 16):
        inside = (fine < radius).mean(axis=(2, 3))
        mass = ((more.data * inside).sum() * critical * pixel).to(u.Msun)
        assert np.isclose(mass, halo.projected_mass(radius * 0.4 * u.arcmin), rtol=5e-3)


def test_pixels_are_means_over_their_area():
    kappa, halo = blank(scale=0.1), cluster(1e13)
    center = kappa.wcs.pixel_to_world(*CENTER)
    more = inject_halo(kappa, halo, center, z_source=1.0).data
    for row, column in ((22, 27), (22, 28), (18, 24), (22, 36), (40, 10)):
        step = (np.arange(400) + 0.5) / 400 - 0.5
        x, y = np.meshgrid(column + step, row + step)
        theta = kappa.wcs.pixel_to_world(x, y).separation(center)
        assert np.isclose(more[row, column], halo.convergence(theta, 1.0).mean(), rtol=2e-3)


def test_injection_keeps_all_parts_of_a_map():
    rng = np.random.default_rng(6)
    samples = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    samples[:, :5] = np.nan
    mask = rng.random(SHAPE) < 0.2
    mask[:5] = True
    kappa = ConvergenceMap(
        samples[:, 10:].mean() + np.zeros(SHAPE, np.float32),
        wcs=tan_wcs(SHAPE), mask=mask, samples=samples, uncertainty=np.ones(SHAPE), meta={"field": "A"},
        diagnostics={"device": "cpu"}, b_mode=blank(),
    )  # fmt: skip
    centers = kappa.wcs.pixel_to_world([10, 40], [20, 30])
    halos = [cluster(), cluster(1e14, 0.6)]
    more = inject_halo(kappa, halos, centers, z_source=1.0)
    added = sum(inject_halo(blank(), h, c, z_source=1.0).data for h, c in zip(halos, centers, strict=True))
    assert np.allclose(more.data - kappa.data, added, atol=1e-6)
    assert np.allclose((more.samples - samples)[:, 5:], added[5:], atol=1e-6) and np.isnan(more.samples[:, :5]).all()
    assert more.samples.dtype == more.data.dtype == np.float32
    assert np.array_equal(more.mask, mask) and (more.uncertainty.array == 1).all() and more.b_mode is not None
    assert more.meta == {"field": "A", "halos": 2} and more.diagnostics == {"device": "cpu"}
    assert "halos" not in kappa.meta


def test_a_halo_beyond_the_edge_adds_convergence():
    kappa, halo = blank(), cluster()
    near, far = kappa.wcs.pixel_to_world(-5, 20), SkyCoord(330, -2.2, unit="deg")
    more = inject_halo(kappa, halo, near, z_source=1.0).data
    assert more[20, 0] == more[20].max() > 0.01
    other_side = inject_halo(kappa, halo, far, z_source=1.0).data
    assert np.isfinite(other_side).all() and other_side.max() < 1e-6


@each_case(
    ("changes", "error", "message"),
    [
        ({"target": np.zeros(SHAPE)}, TypeError, "target: needs a ShearCatalog or a ConvergenceMap"),
        ({"halo": 5e14 * u.Msun}, TypeError, "halo: needs an NFWHalo"),
        ({"halo": [5e14]}, TypeError, "halo: needs an NFWHalo"),
        ({"halo": [cluster(), cluster()]}, ValueError, "halo: needs one for all, or one for each of 1 centres, got 2"),
        ({"center": (150, 2.2)}, TypeError, "center: needs a SkyCoord"),
        ({"center": SkyCoord(np.nan, 2.2, unit="deg")}, ValueError, "center: needs finite positions"),
        ({"z_source": 0.3}, ValueError, "z_source: needs to be larger than the redshift 0.3"),
        ({"z_source": [1.0, 2.0]}, ValueError, "z_source: needs one .* got 2 redshifts; set those of the galaxies as"),
        ({"z_source": None}, ValueError, "z_source: the catalogue has no redshifts"),
        ({"target": blank(), "z_source": None}, ValueError, "z_source: needed for a map"),
    ],
)
def test_invalid_injections(changes, error, message):
    arguments = {
        "target": galaxies(SkyCoord([150, 150.1], [2.2, 2.2], unit="deg")),
        "halo": cluster(),
        "center": SkyCoord(150, 2.2, unit="deg"),
        "z_source": 1.0,
    }
    with pytest.raises(error, match=message):
        inject_halo(**(arguments | changes))


def test_missing_redshifts_are_counted():
    catalog = galaxies(scatter(tan_wcs(SHAPE), SHAPE, 3), redshift=[np.nan, 0.0, 1.0])
    with pytest.raises(ValueError, match="z_source: 2 of 3 galaxies have no positive redshift"):
        inject_halo(catalog, cluster(), SkyCoord(150, 2.2, unit="deg"))


def test_a_surface_density_map_is_rejected():
    density = ConvergenceMap(np.zeros(SHAPE) * u.Msun / u.kpc**2, wcs=tan_wcs(SHAPE))
    with pytest.raises(u.UnitsError, match="needs a map of the convergence"):
        inject_halo(density, cluster(), SkyCoord(150, 2.2, unit="deg"), z_source=1.0)
