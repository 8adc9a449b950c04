"""Galaxies behind one lens: efficiency of each, maps for a reference source, masses without further arguments."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM, Planck18
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion

from astro_massmap import ConvergenceMap, KaiserSquires, ShearCatalog, ShearMap
from astro_massmap.analysis.mass import critical_surface_density, lensing_efficiency
from astro_massmap.inference import Observation
from astro_massmap.simulation import NFWHalo, inject_halo
from astro_massmap.theory.cosmology import from_record, to_record

from helpers.skies import tan_wcs

COSMOLOGY, Z_LENS, REFERENCE = FlatLambdaCDM(70, 0.3), 0.3, 1.0
CENTER, SIDE = SkyCoord(150.0, 2.2, unit="deg"), 64
HALO = NFWHalo(1.5e15 * u.Msun, Z_LENS, cosmology=COSMOLOGY)
MAP = KaiserSquires(0.3 * u.arcmin)


def galaxies(n=150_000, seed=0, **columns):
    """Return galaxies without shape noise and shear."""
    x, y = np.random.default_rng(seed).uniform(-0.5, SIDE - 0.5, (2, n))
    coords = tan_wcs((SIDE, SIDE)).pixel_to_world(x, y)
    return ShearCatalog(coords, np.zeros(n), np.zeros(n), axes="west-north", shape_noise=0.27, **columns)


def redshifts(n, seed=1):
    """Return redshifts of galaxies, 5 % of them in front of the lens."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.05, rng.uniform(0.05, Z_LENS, n), 0.35 + rng.gamma(3, 0.25, n).clip(max=2.5))


@pytest.fixture(scope="module")
def catalog():
    """Return galaxies behind a halo: noise-free reduced shear, each at its own redshift."""
    return inject_halo(galaxies(redshift=redshifts(150_000)), HALO, CENTER)


@pytest.fixture(scope="module")
def behind(catalog):
    with pytest.warns(AstropyUserWarning, match=r"for_lens: .* of 150000 galaxies are not behind z_lens = 0\.3 and"):
        return catalog.for_lens(Z_LENS, REFERENCE, COSMOLOGY)


def tangential(shear, low, high):
    """Return the mean tangential shear in a ring, in arcmin, of images ``(2, ny, nx)``."""
    y, x = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) * 0.4
    r = np.hypot(x, y)
    along = -(shear[0] * (x**2 - y**2) + shear[1] * 2 * x * y) / np.maximum(r, 1e-9) ** 2
    return along[(r >= low) & (r < high)].mean()


def test_the_efficiencies_are_ratios_of_critical_surface_densities(catalog):
    kept = catalog[:50][catalog.redshift[:50] > Z_LENS]
    found = kept.for_lens(Z_LENS, REFERENCE, COSMOLOGY)
    expected = [
        (critical_surface_density(Z_LENS, REFERENCE, COSMOLOGY) / critical_surface_density(Z_LENS, z, COSMOLOGY))
        for z in kept.redshift
    ]
    assert np.allclose(found.efficiency, np.array(u.Quantity(expected)), rtol=1e-6)
    assert np.allclose(found.weight, found.efficiency)
    assert np.allclose(1 + found.m_bias, found.efficiency)
    assert found.redshift is None
    assert [x.tolist() for x in found.n_z] == [[REFERENCE], [1.0]]
    # the same from inverse critical surface densities
    inverse = found.efficiency / critical_surface_density(Z_LENS, REFERENCE, COSMOLOGY)
    again = kept.for_lens(Z_LENS, REFERENCE, COSMOLOGY, inverse_sigma_crit=inverse.to("pc2 / Msun"))
    assert np.allclose(again.efficiency, found.efficiency)
    biased = ShearCatalog(kept.coords, kept.g1, kept.g2, axes="west-north", redshift=kept.redshift, m_bias=0.1,
                          shape_noise=0.27)  # fmt: skip
    m_bias = biased.for_lens(Z_LENS, REFERENCE, COSMOLOGY).m_bias
    assert np.allclose(1 + m_bias, 1.1 * found.efficiency)


def test_efficiencies_agree_with_ccl():
    ccl = pytest.importorskip("pyccl")
    cosmo = ccl.Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, sigma8=0.8, n_s=0.96)
    z = np.array([0.4, 0.8, 1.0, 1.7])
    expected = [ccl.sigma_critical(cosmo, a_lens=1 / 1.3, a_source=1 / (1 + s)) for s in z]
    found = galaxies(4, redshift=z).for_lens(Z_LENS, REFERENCE, COSMOLOGY)
    assert np.allclose(found.efficiency, expected[2] / np.array(expected), rtol=2e-3)


def test_a_map_of_galaxies_at_several_redshifts_is_that_of_the_reference(catalog, behind):
    """Unbiased to 2 %, with the true convergence in the reduced shear and with that of the map."""
    wcs = tan_wcs((SIDE, SIDE))
    shear = behind.to_map(wcs=wcs)
    sky = wcs.pixel_to_world(*np.mgrid[:SIDE, :SIDE][::-1])
    truth = HALO.convergence(sky.separation(CENTER), REFERENCE)
    observation = Observation.from_arrays(shear.data, shear.noise_std, 1e-4, shear.efficiency)
    unreduced = observation.unreduced(torch.from_numpy(truth)).shear.numpy()
    weak = galaxies()
    theta, phi = weak.coords.separation(CENTER), weak.coords.position_angle(CENTER).rad
    weak = weak.with_shear(HALO.shear(theta, REFERENCE) * np.exp(2j * phi)).to_map(wcs=wcs)
    for ring in ((0.8, 1.6), (1.6, 3), (3, 6)):
        expected = tangential(weak.data, *ring)
        assert tangential(unreduced, *ring) == pytest.approx(expected, rel=0.02)
        assert tangential(shear.data, *ring) > 1.02 * expected
    # without efficiencies the shear is that of the mean source
    plain = catalog.to_map(wcs=wcs).data
    assert abs(tangential(plain, 3, 6) / tangential(shear.data, 3, 6) - 1) > 0.05
    kappa = shear.reconstruct(MAP, progress=False)
    assert kappa.diagnostics["reduced_shear"]["applied"]
    plane = inject_halo(galaxies(), HALO, CENTER, z_source=REFERENCE).to_map(wcs=wcs)
    expected = plane.reconstruct(MAP, progress=False)
    near = np.asarray(sky.separation(CENTER).arcmin) < 2
    assert kappa.data[near].mean() == pytest.approx(expected.data[near].mean(), rel=0.02)


def test_the_noise_is_that_of_the_weights(behind):
    wcs = tan_wcs((1, 1), scale=0.4 * SIDE)
    shear = behind.to_map(wcs=wcs, shape=(1, 1))
    beta = behind.efficiency
    assert shear.noise_std[0, 0] == pytest.approx(0.27 / np.sqrt((beta**2).sum()), rel=1e-6)
    mean, variance = shear.efficiency[:, 0, 0]
    assert mean == pytest.approx((beta**3).sum() / (beta**2).sum(), rel=1e-9)
    assert variance == pytest.approx((beta**4).sum() / (beta**2).sum() - mean**2, rel=1e-6)


def test_redshift_errors_and_n_z_average_the_efficiency():
    n, error = 20_000, 0.1
    plane = galaxies(n, redshift=np.full(n, 0.6))
    found = plane.for_lens(Z_LENS, REFERENCE, COSMOLOGY, redshift_error=error)
    z = np.maximum(0.6 + error * 1.6 * np.random.default_rng(5).normal(size=400_000), 0)
    beta = lensing_efficiency(Z_LENS, z, COSMOLOGY) / lensing_efficiency(Z_LENS, REFERENCE, COSMOLOGY)
    assert 1 + found.m_bias[0] == pytest.approx(beta.mean(), rel=0.01)
    assert found.efficiency[0] == pytest.approx((beta**2).mean() / beta.mean(), rel=0.01)
    distribution = np.linspace(0, 3, 301), np.exp(-0.5 * ((np.linspace(0, 3, 301) - 0.6) / 0.16) ** 2)
    from_n_z = galaxies(n, n_z=distribution).for_lens(Z_LENS, REFERENCE, COSMOLOGY)
    assert 1 + from_n_z.m_bias[0] == pytest.approx(1 + found.m_bias[0], rel=0.01)
    assert from_n_z.efficiency[0] == pytest.approx(found.efficiency[0], rel=0.01)
    again = plane.for_lens(Z_LENS, REFERENCE, COSMOLOGY, n_z=distribution)
    assert np.array_equal(again.m_bias, from_n_z.m_bias)


def test_masses_follow_without_arguments(behind, tmp_path):
    kappa = behind.to_map(wcs=tan_wcs((SIDE, SIDE))).reconstruct(MAP, progress=False)
    kappa = ConvergenceMap(kappa.data, wcs=kappa.wcs, samples=[kappa.data * a for a in (0.9, 1, 1.1)], meta=kappa.meta)
    kappa.write(tmp_path / "kappa.fits")
    kappa = ConvergenceMap.read(tmp_path / "kappa.fits")
    short, long = kappa.surface_density(), kappa.surface_density(Z_LENS, REFERENCE, COSMOLOGY)
    assert short.unit == long.unit and np.array_equal(short.data, long.data)
    circle = CircleSkyRegion(CENTER, 2 * u.arcmin)
    masses = [
        kappa.projected_mass(circle, *arguments, **options, level=0.3)["mass"][0]
        for arguments, options in (((), {}), ((Z_LENS, REFERENCE), {"cosmology": COSMOLOGY}))
    ]
    assert masses[0] == masses[1]
    with pytest.raises(ValueError, match=r"z_source: the convergence of this map refers to sources at redshift 1\.0"):
        kappa.surface_density(z_source=0.8)
    plain = ConvergenceMap(kappa.data, wcs=kappa.wcs)
    with pytest.raises(ValueError, match=r"z_lens, z_source: needed for this map; only maps of catalog\.for_lens"):
        plain.surface_density()
    with pytest.raises(ValueError, match=r"z_source: needed for this map; .* n_z of the map, which has none; give"):
        plain.surface_density(0.3)


def test_the_sources_of_the_map_are_the_default():
    z = np.linspace(0, 2, 41)
    n_z = z, np.exp(-0.5 * ((z - 0.9) / 0.2) ** 2)
    data = np.full((SIDE, SIDE), 0.1)
    kappa = ConvergenceMap(data, wcs=tan_wcs((SIDE, SIDE)), samples=[data, 1.1 * data], n_z=n_z)
    critical = critical_surface_density(0.3, n_z).to_value(u.Msun / u.kpc**2)
    assert kappa.surface_density(0.3).data[0, 0] == pytest.approx(0.1 * critical, rel=1e-6)
    circle = CircleSkyRegion(CENTER, 2 * u.arcmin)
    own, given = kappa.projected_mass(circle, 0.3, level=0.3), kappa.projected_mass(circle, 0.3, n_z, level=0.3)
    assert u.isclose(own["mass"][0], given["mass"][0])
    plane = kappa.projected_mass(circle, 0.3, 1.5, level=0.3)
    assert not u.isclose(own["mass"][0], plane["mass"][0], rtol=0.1)
    with pytest.raises(ValueError, match=r"^z_lens: needed for this map"):
        kappa.surface_density()


@pytest.mark.parametrize("cosmology", [COSMOLOGY, Planck18], ids=["FlatLambdaCDM", "Planck18"])
def test_cosmologies_as_plain_values(cosmology):
    again = from_record(to_record(cosmology))
    z = np.array([0.1, 0.5, 2.0])
    assert np.allclose(again.comoving_distance(z).value, cosmology.comoving_distance(z).value, rtol=1e-12)
    for damaged in (None, {}, {"class": "FlatLambdaCDM", "H0": "x"}, {"class": "open", "H0": 70}):
        with pytest.raises(ValueError, match="give cosmology"):
            from_record(damaged)


def test_a_file_of_shear_keeps_the_efficiency(behind, tmp_path):
    shear = behind.to_map(wcs=tan_wcs((SIDE, SIDE)))
    shear.write(tmp_path / "shear.fits")
    again = ShearMap.read(tmp_path / "shear.fits")
    assert np.array_equal(again.efficiency, shear.efficiency)
    assert again.meta["lens"] == shear.meta["lens"]


def test_a_selection_has_its_own_efficiencies(behind):
    part = behind[::7]
    assert np.array_equal(part.efficiency, behind.efficiency[::7])
    assert np.array_equal(part.weight, behind.weight[::7])


def test_errors(behind, catalog):
    few = galaxies(10, redshift=np.full(10, 0.8))
    for bad in (None, 0, -1, np.nan):
        with pytest.raises((ValueError, TypeError), match="z_lens: needs"):
            few.for_lens(bad, REFERENCE)
    with pytest.raises(ValueError, match=r"z_source: needs a reference source behind z_lens = 0\.3, got 0\.2"):
        few.for_lens(0.3, 0.2)
    with pytest.raises(ValueError, match="redshift: the catalogue has no redshifts"):
        galaxies(10).for_lens(0.3, 1.0)
    with pytest.raises(ValueError, match=r"redshift: needs galaxies behind z_lens = 0\.9, but all 10 are in front"):
        few.for_lens(0.9, 1.0)
    with pytest.raises(ValueError, match="the galaxies are scaled to a reference source already"):
        behind.for_lens(0.3, 1.0)
    with pytest.raises(ValueError, match="redshift_error: needs a number between 0 and 1"):
        few.for_lens(0.3, 1.0, redshift_error=5)
    with pytest.raises(ValueError, match="redshift_error, n_z: give one of them"):
        few.for_lens(0.3, 1.0, redshift_error=0.1, n_z=([0.8], [1.0]))
    with pytest.raises(u.UnitsError, match="inverse_sigma_crit: needs an area per mass"):
        few.for_lens(0.3, 1.0, inverse_sigma_crit=np.ones(10) * u.kpc)
    with pytest.raises(ValueError, match="inverse_sigma_crit: 10 of 10 galaxies exceed"):
        few.for_lens(0.3, 1.0, inverse_sigma_crit=np.ones(10) * u.kpc**2 / u.Msun)
    with pytest.raises(ValueError, match="cannot be a table"):
        behind.to_table()
    with pytest.raises(ValueError, match="add halos before for_lens"):
        inject_halo(behind, HALO, CENTER, z_source=1.0)
    missing = galaxies(10, redshift=np.where(np.arange(10) < 3, np.nan, 0.8))
    with pytest.warns(AstropyUserWarning, match="3 of 10 galaxies .* are left out, 3 of them without a redshift"):
        assert len(missing.for_lens(0.3, 1.0)) == 7
    shear = galaxies(50).to_map(wcs=tan_wcs((4, 4), scale=6.4))
    for bad in (np.ones(3), 0.0, np.nan, -np.ones((4, 4))):
        with pytest.raises(ValueError, match="efficiency: needs"):
            ShearMap(shear.data, wcs=shear.wcs, noise_std=shear.noise_std, efficiency=bad)
