"""Methods of a map call the functions with its own data."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion

from astro_massmap import (
    AnnealedHMC,
    ConvergenceMap,
    GaussianPrior,
    KaiserSquires,
    PosteriorMean,
    ShearMap,
    Wiener,
)
from astro_massmap.analysis.mass import critical_surface_density

from helpers.skies import tan_wcs

SHAPE = (40, 50)
WCS = tan_wcs(SHAPE, rotation=30)
CENTER = WCS.pixel_to_world(25, 20)


@pytest.fixture(scope="module")
def kappa():
    """Samples with standard deviation 0.01 around a Gaussian of height 0.1 on a constant of 0.02."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mean = 0.02 + 0.1 * np.exp(-0.5 * (np.hypot(x - 25, y - 20) / 4) ** 2)
    samples = mean + 0.01 * np.random.default_rng(0).normal(size=(24, *SHAPE))
    mask = x < 5
    std = samples.std(axis=0, ddof=1)
    return ConvergenceMap(mean, wcs=WCS, uncertainty=std, mask=mask, samples=samples)


def test_regions(kappa):
    circle = CircleSkyRegion(CENTER, 1 * u.arcmin)
    row = kappa.region_statistics(circle, background=[5, 7] * u.arcmin)[0]
    # the mean of the Gaussian within 2.5 pixels: 0.1 (1 - exp(-h)) / h with h = 2.5^2 / 2 / 4^2
    h = 2.5**2 / 32
    assert row["kappa"] == pytest.approx(0.1 * (1 - np.exp(-h)) / h, rel=0.02)
    assert row["data_fraction"] == pytest.approx(1)
    means = kappa.region_means(circle)
    assert means.shape == (24, 1)
    assert means.std(ddof=1) == pytest.approx(kappa.region_statistics(circle)["std"][0])
    assert kappa.detection_probability(circle, 0.02, [5, 7] * u.arcmin)["probability"][0] == 1
    assert kappa.detection_probability(circle, 0.2)["probability"][0] == 0


def test_peaks(kappa):
    peaks = kappa.peaks(0.08, smoothing=1 * u.arcmin)
    assert len(peaks) == 1
    assert peaks["center"][0].separation(CENTER) < 0.5 * u.arcmin
    assert peaks["probability"][0] == 1
    assert kappa.peak_counts([0.08, 0.2], smoothing=1 * u.arcmin)["count"][0] == 1


def test_masses(kappa):
    critical = critical_surface_density(0.3, 1.0)
    sigma = kappa.surface_density(0.3, 1.0)
    assert sigma.unit == u.Msun / u.kpc**2
    assert np.allclose(sigma.data, kappa.data * critical.value)
    assert np.allclose(sigma.uncertainty.array, kappa.uncertainty.array * critical.value)
    assert sigma.distribution.unit == sigma.unit and sigma[:10, :10].unit == sigma.unit
    sigma.write("sigma.fits")
    back = ConvergenceMap.read("sigma.fits")
    assert back.unit == sigma.unit and np.array_equal(back.samples, sigma.samples)
    for ask in (lambda: sigma.region_statistics(CircleSkyRegion(CENTER, 1 * u.arcmin)), lambda: sigma.peaks(1)):
        with pytest.raises(u.UnitsError, match="needs a map of the convergence"):
            ask()
    with pytest.raises(u.UnitsError):
        sigma.reconstruct("wiener")
    circle = CircleSkyRegion(CENTER, 1 * u.arcmin)
    mass = kappa.projected_mass(circle, 0.3, 1.0)["mass"][0]
    from astropy.cosmology import default_cosmology

    side = (1 * u.arcmin).to_value(u.rad) * default_cosmology.get().angular_diameter_distance(0.3)
    expected = kappa.region_statistics(circle)["kappa"][0] * critical * np.pi * side**2
    assert u.isclose(mass, expected, rtol=0.01)
    # the aperture mass does not depend on the constant
    flat = ConvergenceMap(kappa.data + 1, wcs=WCS, samples=kappa.samples + 1)
    before, after = (m.aperture_mass(CENTER, 4 * u.arcmin)["aperture_mass"][0] for m in (kappa, flat))
    assert before > 0.01 and after == pytest.approx(before, abs=1e-12)


def test_power(kappa):
    table = kappa.power_spectrum()
    # the samples are the map plus white noise of 0.01: their power exceeds that of the map by that of the noise
    excess = (table["cl_samples"] - table["cl"]) / kappa.pixel_scale.to_value(u.rad) ** 2
    assert np.allclose(excess[-3:], 1e-4, rtol=0.15)
    assert len(kappa.power_spectrum([2000, 4000, 8000], measured_only=True)) == 2


def test_measurements_of_a_point_estimate():
    flat = ConvergenceMap(np.zeros(SHAPE), wcs=WCS)
    assert np.isnan(flat.power_spectrum()["cl_samples"]).all()
    assert len(flat.peaks(0.1)) == 0
    circle = CircleSkyRegion(CENTER, 1 * u.arcmin)
    for ask in (
        lambda: flat.region_statistics(circle),
        lambda: flat.region_means(circle),
        lambda: flat.detection_probability(circle, 0.1),
        lambda: flat.peak_counts([0, 1]),
        lambda: flat.aperture_mass(SkyCoord([CENTER]), 3 * u.arcmin),
        lambda: flat.projected_mass(circle, 0.3, 1.0),
        lambda: flat.plot_samples(),
        lambda: flat.plot_cutouts(CENTER, 3 * u.arcmin),
        lambda: flat.plot_detection(circle, 0.1),
    ):
        with pytest.raises(ValueError, match="n_samples"):
            ask()
    with pytest.raises(ValueError, match="uncertainty: needs a standard deviation"):
        flat.plot_summary()
    with pytest.raises(ValueError, match=r"^quantity: 'std' needs a standard deviation, but the map has none"):
        flat.plot(quantity="std")
    with pytest.raises(ValueError, match=r'^quantity: needs "map", "std" or "signal_to_noise", got \'snr\''):
        flat.plot(quantity="snr")


def test_the_quantity_of_a_picture():
    rng = np.random.default_rng(1)
    data, std = rng.normal(size=(8, 8)), rng.uniform(1, 2, (8, 8))
    kappa = ConvergenceMap(data, wcs=tan_wcs((8, 8)), uncertainty=std)
    for quantity, expected in {"map": data, "std": std, "signal_to_noise": data / std}.items():
        assert np.allclose(kappa.plot(quantity=quantity).images[0].get_array(), expected)
    levels = [0.5, 1]
    contours = [kappa.plot(quantity=q, contours=levels).collections[-1] for q in ("map", "signal_to_noise")]
    first, second = (np.concatenate([path.vertices for path in c.get_paths()]) for c in contours)
    assert np.allclose(first, second) and len(first) > 4
    with pytest.raises(ValueError, match=r"^contours: levels need quantity="):
        kappa.plot(quantity="std", contours=levels)


@pytest.mark.slow
def test_pictures(kappa):
    import matplotlib.pyplot as plt

    circle = CircleSkyRegion(CENTER, 1 * u.arcmin, meta={"text": "here"})
    assert len(kappa.plot_summary(regions=circle).axes) >= 3
    assert len(kappa.plot_samples(4).axes) >= 5
    assert len(kappa.plot_cutouts(CENTER, 4 * u.arcmin, n=6).axes) >= 6
    figure = kappa.plot_detection(circle, 0.05)
    texts = [t.get_text() for t in figure.findobj(plt.Text)]
    assert any("here" in t for t in texts) and any("24 of 24" in t for t in texts)
    with pytest.raises(ValueError, match="region: needs one region"):
        kappa.plot_detection([circle, circle], 0.05)
    with pytest.raises(ValueError, match="region: needs one region"):
        kappa.plot_detection(CircleSkyRegion(SkyCoord(10, 10, unit="deg"), 1 * u.arcmin), 0.05)
    plt.close("all")


def test_quantiles_are_between_0_and_1(kappa):
    for wrong in (90, -0.1, np.nan):
        with pytest.raises(ValueError, match="q: needs to be between 0 and 1"):
            kappa.quantile(wrong)
    with pytest.raises(TypeError, match="q: needs numbers"):
        kappa.quantile("high")


def test_a_surface_density_keeps_its_b_mode(kappa):
    both = ConvergenceMap(kappa.data, wcs=WCS, b_mode=ConvergenceMap(0.1 * kappa.data, wcs=WCS))
    mass = both.surface_density(0.3, 1.0)
    assert mass.b_mode.unit == mass.unit
    assert np.allclose(mass.b_mode.data, 0.1 * mass.data)


# ---- measurements biased by a Gaussian prior

SMALL = tan_wcs((16, 16))
MIDDLE = SMALL.pixel_to_world(7.5, 7.5)
MEASUREMENTS = {
    "surface_density": lambda kappa: kappa.surface_density(0.3, 1.0),
    "projected_mass": lambda kappa: kappa.projected_mass(CircleSkyRegion(MIDDLE, 1 * u.arcmin), 0.3, 1.0),
    "aperture_mass": lambda kappa: kappa.aperture_mass(MIDDLE, 1.5 * u.arcmin),
    "aperture_densitometry": lambda kappa: kappa.aperture_densitometry(MIDDLE, 1 * u.arcmin, [1.5, 3] * u.arcmin),
    "nfw_mass": lambda kappa: kappa.nfw_mass(MIDDLE, 0.3, 1.0, background=[1.5, 3] * u.arcmin),
    "region_statistics": lambda kappa: kappa.region_statistics(CircleSkyRegion(MIDDLE, 1 * u.arcmin)),
    "detection_probability": lambda kappa: kappa.detection_probability(CircleSkyRegion(MIDDLE, 1 * u.arcmin), 0.02),
}


class Renamed(Wiener):
    pass


def mapped(method, **options):
    shear = np.random.default_rng(0).normal(scale=0.1, size=(2, 16, 16))
    return ShearMap(shear, wcs=SMALL, noise_std=0.1).reconstruct(method, progress=False, **options)


@pytest.fixture
def wiener():
    return mapped("wiener", n_samples=16)


def kept_in_a_file(kappa):
    kappa.write("kappa.fits", overwrite=True)
    return ConvergenceMap.read("kappa.fits")


@pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_each_map_warns_once_of_a_gaussian_prior(wiener, measure):
    with pytest.warns(AstropyUserWarning, match="was made with a Gaussian prior.*about half of the true") as caught:
        measure(wiener)
        measure(wiener)
        wiener.region_statistics(CircleSkyRegion(MIDDLE, 1 * u.arcmin))
        measure(wiener[:, :])
    assert len(caught) == 2 and {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize(
    "change",
    [
        kept_in_a_file,
        lambda kappa: kappa[:12, 2:],
        lambda kappa: kappa.reproject_to(tan_wcs((14, 14), rotation=20)),
        lambda kappa: mapped(Renamed(lambda ell: 1e-8 * ell**-1.0)),
        lambda kappa: mapped(AnnealedHMC(GaussianPrior(), n_samples=2)),
    ],
    ids=["a file", "a part", "another grid", "a subclass of Wiener", "AnnealedHMC"],
)
def test_derived_maps_keep_the_record_of_the_prior(wiener, change):
    with pytest.warns(AstropyUserWarning, match="was made with a Gaussian prior"):
        change(wiener).surface_density(0.3, 1.0)


@pytest.mark.slow
def test_maps_without_a_gaussian_prior_are_measured_without_a_warning(wiener, kappa):
    learned = mapped(AnnealedHMC(n_samples=6, schedule="fast", n_check=0))
    by_hand = ConvergenceMap(wiener.data, wcs=SMALL, samples=wiener.samples, meta={"provenance": "unknown"})
    for image in (learned, kept_in_a_file(learned), by_hand):
        for measure in MEASUREMENTS.values():
            measure(image)
    for method in (PosteriorMean(), KaiserSquires()):
        mapped(method).surface_density(0.3, 1.0)
