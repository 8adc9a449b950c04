"""Import cost, and allowed imports of the parts of the package."""

import subprocess
import sys

import pytest

import astro_massmap


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_public_names_exist():
    for name in astro_massmap.__all__:
        assert getattr(astro_massmap, name) is not None
        assert name in dir(astro_massmap)
    with pytest.raises(AttributeError, match="DarkEnergyMap"):
        astro_massmap.DarkEnergyMap  # noqa: B018


def loaded_by(statement):
    return set(run(f"import sys; {statement}; print(*sys.modules)").stdout.split())


def test_importing_the_package_is_light():
    loaded = loaded_by("import astro_massmap")
    assert "astro_massmap" in loaded
    assert not loaded & {"torch", "matplotlib", "astropy", "regions", "tqdm", "camb"}


def test_catalogues_do_not_need_torch():
    loaded = loaded_by("from astro_massmap import ShearCatalog, ShearMap")
    assert "astro_massmap.maps.catalog" in loaded
    assert not loaded & {"torch", "matplotlib"}


def test_the_numerical_core_does_not_need_astropy():
    code = """
import sys
for name in ("astropy", "regions", "reproject", "tqdm", "matplotlib"):
    sys.modules[name] = None
import numpy as np
from astro_massmap.inference import GaussianPosterior, Observation
o = Observation.from_arrays(np.zeros((2, 8, 8)), np.ones((8, 8)), 1e-4)
GaussianPosterior(o, lambda ell: ell**-2.0).mean_modes()
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_methods_sample_without_astropy():
    code = """
import sys
for name in ("astropy", "regions", "reproject", "tqdm", "matplotlib"):
    sys.modules[name] = None
import numpy as np
import torch
from astro_massmap import AnnealedHMC, GaussianPrior, ScoreFunction, PowerSpectrum, Wiener, inference, methods, priors
shear = np.random.default_rng(0).normal(scale=0.1, size=(2, 16, 16))
observation = inference.Observation.from_arrays(shear, np.full((16, 16), 0.1), 1.2e-4)
spectrum = PowerSpectrum.default()
own = ScoreFunction(lambda z, sigma: -z / (sigma**2 + 4e-4), spectrum, pixel_scale=1.2e-4)
for prior in (None, GaussianPrior(spectrum), own):
    method = AnnealedHMC(prior, n_samples=2, schedule="fast", n_check=0, padding=1.5)
    assert method.solve(observation, progress=True).samples.shape == (2, 16, 16)
    estimate = methods.run(method, observation, progress=False)
    assert estimate.provenance["input"]["sha256"] == observation.sha256
for method in (Wiener(), lambda observation: observation.shear[0]):
    assert methods.run(methods.resolve(method), observation).mean.shape == (16, 16)
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_simulation_and_training_do_not_need_astropy():
    code = """
import sys
for name in ("astropy", "regions", "reproject", "tqdm", "matplotlib", "camb", "h5py"):
    sys.modules[name] = None
import numpy as np
from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.simulation import LensPlanes, LightCone, NBody, declared_spectrum, lensing_weights
from astro_massmap.training import LightConeMaps, MapBank, TrainingPlan, train_prior
simulation = NBody(8, 64.0)
planes = LensPlanes.simulate(simulation, 1, cells=32)
weights = lensing_weights(simulation.cosmology, planes.distance, 64.0, redshift=1.0)
maps = LightConeMaps(LightCone([planes], weights), (64, 64), 1.2e-4)
held = MapBank(maps.draw(1, np.random.default_rng(1)), 1.2e-4)
plan = TrainingPlan(steps=2, size=32, margin=16, maps_per_step=1, validate_every=2)
spectrum = declared_spectrum(PowerSpectrum.default())
prior, _ = train_prior(maps, held, spectrum, plan, widths=(4, 4, 4), n_correction=1, progress=False)
prior.save("prior.safetensors")
ScorePrior.load("prior.safetensors")
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
