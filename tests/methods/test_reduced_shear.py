"""Reduced shear: the known limit, the pilots, the decision of "auto", and the errors."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import (
    AnnealedHMC,
    ConvergenceMap,
    GaussianPrior,
    KaiserSquires,
    PosteriorDiffusion,
    PosteriorMean,
    PowerSpectrum,
    ScorePrior,
    ShearCatalog,
    ShearMap,
    Sparse,
    Wiener,
    datasets,
    reconstruct_fields,
)
from astro_massmap.inference import (
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    Observation,
    reduced_shear_log_weight,
)
from astro_massmap.methods import reduced_shear, run
from astro_massmap.simulation import NFWHalo, inject_halo, observe

from helpers import small_priors
from helpers.skies import tan_wcs

PIXEL = np.deg2rad(0.4 / 60)
CENTER = SkyCoord(150.0, 2.2, unit="deg")
SIDE = 64
CHEAP = Wiener(n_samples=0, uncertainty=False)


def blobs(side, height=0.3):
    """Return smooth blobs of convergence on a periodic field."""
    y, x = 2 * np.pi * np.mgrid[:side, :side] / side
    first, second = (np.exp(3 * (np.cos(x - a) + np.cos(y - b) - 2)) for a, b in ((2, 2.5), (4.4, 4.4)))
    return height * (first + 0.6 * second)


def periodic_shear(kappa):
    grid = FourierGrid(kappa.shape, PIXEL, dtype=torch.float64)
    return LensingOperator(grid).forward(grid.to_modes(torch.from_numpy(kappa))).numpy()


def survey(mass, density=30, seed=0):
    """Return galaxies with the exact ellipticities behind a halo."""
    rng, wcs = np.random.default_rng(seed), tan_wcs((SIDE, SIDE))
    x, y = rng.uniform(-0.5, SIDE - 0.5, (2, int(density * 0.16 * SIDE**2)))
    e = 0.27 * rng.normal(size=(2, x.size))
    shape = np.hypot(*e) < 1
    galaxies = ShearCatalog(wcs.pixel_to_world(x[shape], y[shape]), *e[:, shape], axes="west-north")
    halo = NFWHalo(mass * u.Msun, 0.3, cosmology=FlatLambdaCDM(70, 0.3))
    return inject_halo(galaxies, halo, CENTER, z_source=1.0).to_map(wcs=wcs)


@pytest.fixture(scope="module")
def cluster():
    return survey(1e15)


def as_observation(shear):
    return Observation.from_arrays(shear.data, shear.noise_std, shear.pixel_scale.to_value(u.rad))


def test_noise_free_kaiser_squires_converges_to_the_mass_sheet_transform():
    kappa = blobs(SIDE)
    observation = Observation.from_arrays(periodic_shear(kappa) / (1 - kappa), np.full(kappa.shape, 1e-3), PIXEL)
    with pytest.warns(AstropyUserWarning, match="padding"):
        method = KaiserSquires(0 * u.arcmin, padding=1)
    expected = (kappa - kappa.mean()) / (1 - kappa.mean())
    estimate, errors = method.solve(observation), []
    for _ in range(8):
        errors.append(np.abs(estimate.mean - expected).max())
        estimate = method.solve(observation.unreduced(torch.from_numpy(estimate.mean)))
    assert errors[0] > 0.02 and errors[-1] < 1e-5
    assert (np.diff(errors) < 0).all()
    # the method of the package stops after two iterations, and reports the change of the third
    two = run(method, observation, progress=False, reduced_shear=True)
    assert np.abs(two.mean - expected).max() == pytest.approx(errors[2], rel=1e-6)
    assert two.diagnostics["reduced_shear"]["last_change"] < 1.5 * (errors[1] + errors[2])


def test_the_mean_efficiency_enters_the_denominator():
    kappa, f = blobs(SIDE), 0.5 + 0.5 * np.random.default_rng(0).random((SIDE, SIDE))
    data = periodic_shear(kappa) / (1 - f * kappa)
    observation = Observation.from_arrays(data, np.full(kappa.shape, 1e-3), PIXEL, f)
    exact = observation.unreduced(torch.from_numpy(kappa)).shear.numpy()
    assert np.allclose(exact, periodic_shear(kappa), atol=1e-12)
    assert observation.sha256 != Observation.from_arrays(data, np.full(kappa.shape, 1e-3), PIXEL).sha256


def test_the_bias_of_a_cluster_is_removed(cluster):
    """Same noise, same method: compared with the exact convergence in the denominator."""
    halo = NFWHalo(1e15 * u.Msun, 0.3, cosmology=FlatLambdaCDM(70, 0.3))
    sky = cluster.wcs.pixel_to_world(*np.mgrid[:SIDE, :SIDE][::-1])
    theta = sky.separation(CENTER)
    truth = halo.convergence(theta, 1.0)
    inside = theta < 1 * u.arcmin
    method, observation = KaiserSquires(0.25 * u.arcmin), as_observation(cluster)
    target = method.solve(observation.unreduced(torch.from_numpy(truth))).mean[inside].mean()
    runs = (run(method, observation, progress=False, reduced_shear=setting) for setting in (False, "auto"))
    plain, auto = (estimate.mean[inside].mean() for estimate in runs)
    assert plain / target > 1.04
    assert abs(auto / target - 1) < 0.04


@pytest.mark.parametrize(
    ("method", "pilot"),
    [
        (KaiserSquires(), "KaiserSquires"),
        (Sparse(n_noise=2), "the sparse map"),
        (Wiener(n_samples=2), "the Wiener filter"),
        (PosteriorMean(), "the network of PosteriorMean"),
        (PosteriorDiffusion(n_samples=2, steps=3, n_check=0), "the network of PosteriorMean"),
        (AnnealedHMC(GaussianPrior(), n_samples=2, n_check=0), "the Wiener filter"),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, str) else x,
)
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_diagnostics_and_record(method, pilot, cluster):
    kappa = cluster.reconstruct(method, progress=False)
    found = kappa.diagnostics["reduced_shear"]
    assert found["setting"] == "auto" and found["applied"] and found["strength"] > 0.05
    assert found["pilot"] == pilot and found["iterations"] == 2
    assert 0 <= found["last_change"] < 0.1 and 0.02 < found["largest_kappa"] < 0.8
    assert found["clipped"] == found["left_out"] == 0
    assert (found["sd_log_weight"] is None) == (kappa.samples is None)
    assert "sd_log_weight" not in kappa.diagnostics
    assert kappa.meta["provenance"]["reduced_shear"] == found
    off = cluster.reconstruct(method, progress=False, reduced_shear=False)
    assert off.diagnostics["reduced_shear"] == {"setting": False, "applied": False, "strength": None}
    assert off.meta["provenance"]["input"] == kappa.meta["provenance"]["input"]
    assert np.abs(off.data - kappa.data).max() > 1e-4


@pytest.mark.parametrize("method", [KaiserSquires(), CHEAP], ids=lambda m: type(m).__name__)
def test_auto_leaves_a_random_field_unchanged(method):
    shear = datasets.demo().to_map()
    auto, off = (shear.reconstruct(method, progress=False, reduced_shear=s) for s in ("auto", False))
    assert not auto.diagnostics["reduced_shear"]["applied"]
    assert np.array_equal(auto.data, off.data)


def test_the_treatment_changes_a_random_field_by_less_than_a_tenth_of_its_error():
    shear = datasets.demo().to_map(pixel_scale=0.8 * u.arcmin)
    on, off = (shear.reconstruct(Wiener(n_samples=0), progress=False, reduced_shear=s) for s in (True, False))
    assert np.abs((on.data - off.data) / off.uncertainty.array).max() < 0.1


@pytest.mark.parametrize(("mass", "applied"), [(5e14, True), (1e13, False)])
def test_auto_acts_for_massive_halos(mass, applied):
    assert (reduced_shear.strength(as_observation(survey(mass, seed=1))) > reduced_shear.PEAK) == applied


def test_mocks_of_weak_shear_are_not_treated_by_auto():
    kappa = ConvergenceMap(blobs(SIDE), wcs=tan_wcs((SIDE, SIDE)))
    for reduced in (False, True):
        shear = observe(kappa, density=50 / u.arcmin**2, reduced_shear=reduced).to_map(wcs=kappa.wcs)
        found = shear.reconstruct(CHEAP, progress=False).diagnostics["reduced_shear"]
        assert found["applied"] == reduced
    halo = NFWHalo(5e14 * u.Msun, 0.3)
    mock = observe(kappa, density=50 / u.arcmin**2)
    assert inject_halo(mock, halo, CENTER, z_source=1.0).meta["reduced"] is True


def test_the_random_numbers_are_those_of_the_data():
    """Samples with and without the treatment differ by far less than two samples of one map."""
    shear = datasets.demo()[::4].to_map(pixel_scale=1.6 * u.arcmin)
    method = AnnealedHMC(GaussianPrior(), n_samples=2, n_check=0)
    on, off = (shear.reconstruct(method, progress=False, reduced_shear=s).samples for s in (True, False))
    assert np.std(on - off) < 0.1 * np.std(off[0] - off[1])


def test_chains_are_the_pilot_where_the_network_is_not_valid():
    def chains(method, noise=0.1, pixel=PIXEL):
        observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), noise), pixel)
        return reduced_shear._pilot_of(method, observation, None, False).chains

    far = ScorePrior.load("default", PowerSpectrum.from_n_z([2.0], [1.0]))
    assert chains(AnnealedHMC()) == chains(AnnealedHMC(), pixel=4 * PIXEL) == chains(AnnealedHMC(far)) == 0
    assert chains(AnnealedHMC(ScorePrior.load("default", field="targeted"))) == 0
    assert chains(AnnealedHMC(n_samples=64), noise=0.01) == 8
    assert chains(AnnealedHMC(n_samples=4), noise=0.01) == 2
    assert chains(AnnealedHMC(), pixel=6 * PIXEL) == 8
    assert chains(AnnealedHMC(small_priors.prior())) == 8  # not for other sources


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_a_pilot_of_chains_and_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(reduced_shear, "_network_for", lambda *_: None)
    shear = survey(1e15).data[:, 16:48, 16:48]
    shear = ShearMap(shear, wcs=tan_wcs((32, 32), scale=0.5), noise_std=np.full((32, 32), 0.12))
    options = {"n_samples": 4, "schedule": "fast", "n_check": 0, "checkpoint": tmp_path / "samples.fits"}
    first = shear.reconstruct(**options, progress=False, reduced_shear=True)
    found = first.diagnostics["reduced_shear"]
    assert found["pilot"] == "2 chains" and 0 < found["last_change"] < 0.1 and found["sd_log_weight"] > 0
    again = shear.reconstruct(**options, progress=False, reduced_shear=True)
    assert np.array_equal(first.samples, again.samples)
    assert again.diagnostics["reduced_shear"] == found
    with pytest.raises(ValueError, match="other data or other settings"):
        shear.reconstruct(**options, progress=False, reduced_shear=False)


def test_the_log_weights_are_differences_of_log_likelihoods():
    rng = np.random.default_rng(3)
    f = torch.from_numpy(0.5 + 0.5 * rng.random((16, 16)))
    observation = Observation.from_arrays(0.1 * rng.normal(size=(2, 16, 16)), np.full((16, 16), 0.1), PIXEL, f)
    k = torch.from_numpy(0.1 * rng.normal(size=(16, 16)))
    changed = observation.unreduced(k)
    posterior = GaussianPosterior(changed, PowerSpectrum.default(), (32, 32), dtype=torch.float64)
    modes = posterior.mean_modes()[None]
    gamma, kappa = posterior.operator.forward(modes)[0], posterior.grid.to_field(modes)[0]
    exact = ((observation.shear - gamma / (1 - f * kappa)) / 0.1).square().sum()
    frozen = ((observation.shear - gamma / (1 - f * k)) / 0.1).square().sum()
    found = reduced_shear_log_weight(posterior, changed, modes)
    assert float(found[0]) == pytest.approx(float(frozen - exact) / 2, abs=1e-6)
    assert abs(float(found[0])) > 1e-3


def test_cores_above_the_limit_are_counted():
    kappa = blobs(SIDE, height=1.5)
    g = periodic_shear(kappa) / (1 - kappa)
    g *= np.minimum(1, 1 / np.hypot(*g) ** 2)  # 1 / g* within the critical curves
    shear = ShearMap(g, wcs=tan_wcs((SIDE, SIDE)), noise_std=0.01)
    exceeds = pytest.warns(AstropyUserWarning, match="reduced_shear: the convergence of .* pixels exceeds 0.8")
    changes = pytest.warns(AstropyUserWarning, match="reduced_shear: a further iteration would change the convergence")
    with exceeds, changes:
        found = shear.reconstruct(KaiserSquires(0.25 * u.arcmin), progress=False, reduced_shear=True)
    record = found.diagnostics["reduced_shear"]
    assert record["clipped"] >= record["left_out"] >= 0 and record["clipped"] > 0
    assert np.isfinite(found.data).all()


def test_errors():
    shear = datasets.demo()[::8].to_map()
    for bad in ("on", 1, None, 2.0):
        with pytest.raises(ValueError, match="reduced_shear: needs 'auto', True or False, got"):
            shear.reconstruct(CHEAP, progress=False, reduced_shear=bad)
    truth = datasets.demo_truth()[:32, :32]
    noisy = ConvergenceMap(truth.data, wcs=truth.wcs, uncertainty=np.full(truth.shape, 0.1))
    with pytest.raises(ValueError, match="reduced_shear: needs shear, but the data are a map of the convergence"):
        noisy.reconstruct(CHEAP, progress=False, reduced_shear=True)
    assert noisy.reconstruct(CHEAP, progress=False).diagnostics["reduced_shear"] is None
    with pytest.raises(ValueError, match="map of the convergence"):
        list(reconstruct_fields([noisy], CHEAP, progress=False, reduced_shear=True))
