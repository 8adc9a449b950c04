"""Noise of catalogues, estimated in several ways, and the B-mode test."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings, strategies as st

from astro_massmap import ConvergenceMap, KaiserSquires, PowerSpectrum, ShearCatalog, Wiener, datasets
from astro_massmap.maps.axes import AXES
from astro_massmap.simulation import lognormal_maps, observe
from astro_massmap.validation.binned_survey import generator_of_angles
from astro_massmap.validation.null_tests import BModeTest, b_mode_test, jackknife, noise_maps, rotated

from helpers.skies import scatter, tan_wcs

METHOD = KaiserSquires(smoothing=2 * u.arcmin)
COARSE = 1.6 * u.arcmin


@pytest.fixture(scope="module")
def demo():
    return datasets.demo()


@pytest.fixture(scope="module")
def propagated(demo):
    return demo.reconstruct(METHOD, pixel_scale=COARSE, progress=False)


def noise_catalog(seed, n=1500, side=16):
    wcs = tan_wcs((side, side), scale=1.6)
    rng = np.random.default_rng(seed)
    g1, g2 = 0.3 * rng.normal(size=(2, n))
    return ShearCatalog(
        scatter(wcs, (side, side), n, seed), g1, g2, axes="west-north", weight=rng.uniform(0.5, 1.5, n), max_shear=9
    )


def odd_catalog():
    """Catalogue with biases, weights, a response, axes from the North, in another frame."""
    rng = np.random.default_rng(1)
    n = 900
    coords = scatter(tan_wcs((20, 24), scale=1.6), (20, 24), n).galactic
    g1, g2 = 0.25 * rng.normal(size=(2, n))
    return ShearCatalog(
        SkyCoord(coords.l, coords.b, frame="galactic"), g1, g2, axes="north-east", weight=rng.uniform(0.2, 2, n),
        m_bias=rng.uniform(-0.2, 0.1, n), c_bias=(0.02, -0.01), redshift=rng.uniform(0.3, 2, n),
        response=[[0.7, 0.05], [-0.03, 0.8]],
    )  # fmt: skip


@given(st.integers(0, 2**32), st.sampled_from(list(AXES)))
@settings(max_examples=20, deadline=None)
def test_rotation_changes_only_the_angles_of_galaxies(seed, axes):
    rng = np.random.default_rng(0)
    coords = SkyCoord(rng.uniform(10, 11, 300) * u.deg, rng.uniform(60, 61, 300) * u.deg)
    catalog = ShearCatalog(coords, *rng.normal(scale=0.2, size=(2, 300)), axes=axes, c_bias=(0.1, 0), m_bias=0.1)
    noise = rotated(catalog, seed)
    assert np.allclose(np.hypot(noise.g1, noise.g2), np.hypot(catalog.g1 - 0.1, catalog.g2))
    assert np.isclose(noise.shape_noise, catalog.shape_noise)
    assert noise.axes == axes and noise.m_bias == 0.1 and (noise.coords == coords).all()
    assert (rotated(catalog, seed).g1 == noise.g1).all()
    # the mean phase of 300 random angles: above 0.25 in exp(-300 * 0.25^2) = 1e-8
    phase = (noise.g1 + 1j * noise.g2) / (catalog.g1 - 0.1 + 1j * catalog.g2)
    assert abs(phase.mean()) < 0.25


def test_rotation_removes_the_lensing_of_the_demonstration(demo):
    # covariance with the truth; mean of 32 rotations within 4 standard errors, a false alarm in 1 of 16000 seeds
    truth = datasets.demo_truth()
    options = {"method": METHOD, "wcs": truth.wcs, "shape": truth.shape}
    common = np.where(demo.to_map(wcs=truth.wcs).mask, 0, truth.data - truth.data.mean())
    lensed = (common * demo.reconstruct(progress=False, **options).data).sum()
    turned = (common * noise_maps(demo, 32, **options).samples).sum(axis=(1, 2))
    assert lensed > 8 * turned.std()
    assert abs(turned.mean()) < 4 * turned.std() / np.sqrt(32)


@pytest.mark.parametrize(
    "wcs", [tan_wcs((18, 22), scale=1.8, rotation=40), tan_wcs((18, 22), scale=1.8, rotation=-70, flipped=True)]
)
@pytest.mark.parametrize("method", [METHOD, Wiener(n_samples=0)])
def test_noise_maps_are_maps_of_rotated_galaxies(wcs, method):
    catalog = odd_catalog()
    maps = noise_maps(catalog, 3, method=method, seed=4, wcs=wcs, shape=(18, 22))
    by_hand = [
        rotated(catalog, [4, i]).reconstruct(method, wcs=wcs, shape=(18, 22), progress=False).data for i in range(3)
    ]
    assert np.allclose(maps.samples, by_hand, atol=1e-5 * np.std(by_hand))
    assert np.allclose(maps.data, np.mean(by_hand, axis=0), atol=1e-5)
    assert np.allclose(maps.uncertainty.array, np.std(by_hand, axis=0, ddof=1), rtol=1e-3)
    assert (maps.mask == catalog.to_map(wcs=wcs, shape=(18, 22)).mask).all()
    assert maps.wcs.wcs.compare(wcs.wcs)


def test_the_jackknife_is_that_of_maps_without_a_group():
    catalog, n = odd_catalog(), 5
    wcs = tan_wcs((18, 22), scale=1.8, rotation=40, flipped=True)
    kappa = jackknife(catalog, n, method=METHOD, seed=3, wcs=wcs)
    group = generator_of_angles(3).permutation(np.arange(len(catalog)) % n)
    options = {"wcs": wcs, "progress": False}
    parts = np.array([catalog[group != i].reconstruct(METHOD, **options).data for i in range(n)])
    expected = np.sqrt((n - 1) / n * ((parts - parts.mean(axis=0)) ** 2).sum(axis=0))
    assert np.allclose(kappa.data, catalog.reconstruct(METHOD, **options).data)
    assert np.allclose(kappa.uncertainty.array, expected)
    assert np.allclose(kappa.samples.std(axis=0, ddof=1), expected)
    assert np.allclose(kappa.samples.mean(axis=0), kappa.data)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [noise_maps, jackknife])
def test_three_estimates_of_the_noise_agree(demo, propagated, noise):
    # 2600 arcmin^2 have about 50 patches of 4 pi (2 arcmin)^2, in 48 maps: rms to 1.5 %, at 4 standard deviations
    maps = noise(demo, 48, method=METHOD, pixel_scale=COARSE, seed=2)
    ratio = (maps.uncertainty.array / propagated.uncertainty.array)[~propagated.mask]
    assert abs(np.sqrt(np.mean(ratio**2)) - 1) < 0.06
    # in each pixel the standard deviation is known to 1 / sqrt(2 * 47) = 0.103
    assert abs(ratio.std() - 0.103) < 0.03
    assert maps.mask.sum() == propagated.mask.sum()
    expected = np.zeros(maps.shape) if noise is noise_maps else propagated.data
    scatter = propagated.uncertainty.array / (np.sqrt(48) if noise is noise_maps else 1e6)
    assert (np.abs(maps.data - expected) < 5 * scatter + 1e-9)[~propagated.mask].all()


def test_means_over_regions_have_the_noise_of_the_jackknife(demo, propagated):
    # pixels are correlated in both; the rms of 16 squares, each 13 % from 32 maps, has an error of 5 %; at 4 sigma
    rms = []
    for noise in (noise_maps, jackknife):
        samples = noise(demo, 32, method=METHOD, pixel_scale=COARSE, seed=5).samples
        squares = samples[:, 4:28, 4:28].reshape(32, 4, 6, 4, 6).mean(axis=(2, 4))
        rms.append(np.sqrt(squares.var(axis=0, ddof=1).mean()))
    assert abs(rms[1] / rms[0] - 1) < 0.2


def test_a_map_of_noise_can_be_written(demo, tmp_path):
    maps = noise_maps(demo, 2, pixel_scale=3.2 * u.arcmin)
    maps.write(tmp_path / "noise.fits")
    back = ConvergenceMap.read(tmp_path / "noise.fits")
    assert (back.samples == maps.samples).all() and back.diagnostics["noise"] == "rotated galaxies"


# ---- E and B


@pytest.mark.slow
def test_the_demonstration_has_an_e_mode_and_no_b_mode(demo):
    report = b_mode_test(demo, 99, pixel_scale=COARSE)
    assert report.ok and report.p_value > 0.05
    assert report.table["e_significance"].max() > 6
    assert np.abs(report.table["b_significance"]).max() < 4
    assert len(report.table) == 4  # octaves of 32 pixels
    assert "no significant B mode" in str(report) and len(str(report).splitlines()) == 6


@pytest.mark.slow
def test_galaxies_rotated_by_45_degrees_have_a_b_mode(demo):
    turned = demo.with_shear(1j * demo.west_north)
    report, before = (b_mode_test(c, 99, pixel_scale=COARSE) for c in (turned, demo))
    assert not report.ok and report.p_value == 0.01
    assert "there is a B mode" in str(report)
    few = b_mode_test(turned, 16, pixel_scale=COARSE)
    assert few.p_value == 1 / 17 and few.ok is None
    assert str(few).startswith("no verdict: p is the minimum for 16 rotations") and "at least 99 are needed" in str(few)
    assert report.table["b_significance"].max() > 6 > 4 > np.abs(report.table["e_significance"]).max()
    # all of the E mode is in B, except for the part that the filter assigns to E
    assert np.allclose(report.table["b_power"], before.table["e_power"], rtol=0.15)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.slow
def test_the_test_does_not_depend_on_the_orientation_of_the_grid(demo, flipped):
    middle = SkyCoord(demo.coords.spherical.lon.mean(), demo.coords.spherical.lat.mean())
    wcs = tan_wcs((40, 40), scale=1.6, rotation=30, flipped=flipped, center=(middle.ra.deg, middle.dec.deg))
    report = b_mode_test(demo, 40, wcs=wcs)
    assert report.ok and report.table["e_significance"].max() > 6


@pytest.mark.slow
def test_p_values_of_pure_noise_are_uniform():
    # 60 catalogues, fractions at 3 standard deviations: a false alarm in some 1 of 150 seeds
    reports = [b_mode_test(noise_catalog(seed), 9, seed=seed) for seed in range(60)]
    p = np.array([report.p_value for report in reports])
    assert np.allclose(p * 10, np.rint(p * 10)) and np.isclose(p.min(), 0.1)
    for level in (0.1, 0.3, 0.5, 0.7):
        assert abs((p < level + 0.01).mean() - level) < 3 * np.sqrt(level * (1 - level) / 60)
    assert [report.ok for report in reports] == [True if q > 0.15 else None for q in p]


@pytest.mark.slow
def test_masks_do_not_leak_lensing_into_the_b_mode():
    # a deep survey of 6 skies larger than the field, each with the same noise with and without lensing
    truth, holes = datasets.demo_truth(), datasets.demo().to_map().mask
    size = truth.pixel_scale.to_value(u.rad)
    skies = lognormal_maps(PowerSpectrum.default(), 6, (196, 196), size, padding=2, seed=5).numpy()
    wcs = truth.wcs.deepcopy()
    wcs.wcs.crpix += 34
    empty = ConvergenceMap(np.zeros((128, 128)), wcs=truth.wcs)
    galaxies = observe(empty, density=70 / u.arcmin**2, mask=holes, shape_noise=0.13, seed=3)

    def table(kappa, seed, n):
        catalog = observe(ConvergenceMap(kappa, wcs=wcs), positions=galaxies, seed=seed)
        return b_mode_test(catalog, n, pixel_scale=COARSE).table

    noise, excess = table(0 * skies[0], 9, 20), []
    for seed, kappa in enumerate(skies):
        with_lens, without = (table(k, seed, 2) for k in (kappa, 0 * kappa))
        excess.append([(with_lens[c] - without[c]) / noise["b_noise_std"] for c in ("e_power", "b_power")])
    e, b = np.mean(excess, axis=0)
    assert e.max() > 30
    # 0.07, 0.15 and 0.01 with errors of 0.1; without the Wiener filter 1.7, 0.8 and 0.3. In the last octave the
    # shear varies within these coarse pixels, which is noise of E and B alike
    assert (b[:3] < 0.4).all()


def test_the_verdict_of_few_maps():
    def report(p_value, n):
        return BModeTest(None, 1.0, p_value, n)

    assert report(0.02, 128).ok and not report(0.01, 128).ok and not report(1 / 129, 128).ok
    assert report(2 / 21, 20).ok
    for n in (2, 16, 98):  # the smallest p-value is above 0.01: no B mode is significant
        assert report(1 / (n + 1), n).ok is None
    assert report(1 / 100, 99).ok is False


def test_bands_without_modes_are_ignored():
    catalog = noise_catalog(1)
    few = b_mode_test(catalog, 10, edges=[2000, 4000, 6000])
    many = b_mode_test(catalog, 10, edges=[2000, 4000, 6000, 1e5, 2e5])
    assert np.isnan(many.table["b_significance"]).tolist() == [False, False, False, True]
    assert 0 < many.p_value <= 1 and "3 bands" in str(many)
    assert np.allclose(few.table["low"], [2000, 4000])
    with pytest.raises(ValueError, match="edges: need bands that contain modes"):
        b_mode_test(catalog, 4, edges=[1e5, 2e5])
    with pytest.raises(ValueError, match="edges"):
        b_mode_test(catalog, 4, edges=[4000, 2000])


def test_bad_input(demo):
    for function in (noise_maps, jackknife, b_mode_test):
        with pytest.raises(TypeError, match="catalog: needs a ShearCatalog"):
            function(demo.to_table())
        with pytest.raises(ValueError, match="n: needs to be at least 2"):
            function(demo, 1)
        with pytest.raises(TypeError, match="n: needs an integer"):
            function(demo, 2.5)
        with pytest.raises(ValueError, match="seed"):
            function(demo, 4, seed=-1)
    with pytest.raises(TypeError, match="catalog"):
        rotated([1, 2], 0)
    with pytest.raises(ValueError, match="method: 'kaiser' is unknown"):
        noise_maps(demo, method="kaiser")
    with pytest.raises(ValueError, match="n: needs at least two galaxies per group, got 40 for 32"):
        jackknife(noise_catalog(0, n=40))


def test_invalid_seeds(demo):
    with pytest.raises(TypeError, match="seed: needs an integer, got None"):
        rotated(demo, None)
    with pytest.raises(ValueError, match="seed: needs to be at least 0"):
        rotated(demo, [1, -1])
