"""Functions of the observation as methods: results, records and errors."""

import functools
from concurrent.futures import ThreadPoolExecutor

import astropy.units as u
import numpy as np
import pytest
import torch

from astro_massmap import ConvergenceMap, ShearMap, Wiener, datasets, reconstruct_fields
from astro_massmap.inference import FourierGrid, LensingOperator, Observation
from astro_massmap.methods import Estimate, resolve, run
from astro_massmap.validation.null_tests import noise_maps

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = (12, 16)


def inverted(observation, gain=1.0):
    """Direct inversion of the data on a periodic field."""
    grid = FourierGrid(observation.shape, observation.pixel_size, dtype=torch.float64)
    return gain * grid.to_field(observation.operator(grid).adjoint(observation.shear))


class Inversion:
    def __call__(self, observation):
        return inverted(observation)


def shear(seed=0, **options):
    data = np.random.default_rng(seed).normal(scale=0.1, size=(2, *SHAPE))
    return ShearMap(data, wcs=tan_wcs(SHAPE, scale=0.4), noise_std=0.1, **options)


def as_array(observation):
    return inverted(observation).numpy()


def as_estimate(observation):
    mean = as_array(observation)
    return Estimate(mean, 0 * mean + 0.1, samples=np.stack([mean] * 2), b_mode=0 * mean, diagnostics={"steps": 3})


def as_pair(observation):
    return inverted(observation), torch.full(observation.shape, 0.1)


FUNCTIONS = {
    inverted: "inverted",
    as_array: "as_array",
    as_pair: "as_pair",
    as_estimate: "as_estimate",
    Inversion(): "Inversion",
    functools.partial(inverted, gain=1.0): "inverted(gain=1.0)",
}


@each_case(("f", "name"), FUNCTIONS.items())
def test_the_result_becomes_a_map(f, name):
    data = shear(n_z=([0.5], [1.0]))
    expected = inverted(Observation.from_arrays(data.data, data.noise_std, data.pixel_scale.to_value("rad"))).numpy()
    kappa = data.reconstruct(f, progress=False)
    assert kappa.data == pytest.approx(expected) and kappa.n_z is not None
    if f in (as_pair, as_estimate):
        assert kappa.uncertainty.array == pytest.approx(np.full(SHAPE, 0.1))
    else:
        assert kappa.uncertainty is None
    assert (kappa.samples is None) == (kappa.b_mode is None) == (f is not as_estimate)
    assert kappa.diagnostics["method"] == kappa.meta["provenance"]["method"] == name
    assert kappa.diagnostics.get("steps") == (3 if f is as_estimate else None)


def test_functions_work_wherever_methods_do():
    catalog = datasets.demo()[::16]
    kappa = catalog.reconstruct(inverted, shape=SHAPE, progress=False)
    assert kappa.shape == SHAPE
    fields = reconstruct_fields([shear(0), shear(1)], inverted, progress=False)
    assert [field.diagnostics["method"] for field in fields] == ["inverted"] * 2
    noisy = ConvergenceMap(kappa.data, wcs=kappa.wcs, uncertainty=np.full(SHAPE, 0.1))
    assert noisy.reconstruct(inverted, progress=False).data == pytest.approx(kappa.data, rel=1e-5)
    maps = noise_maps(catalog, 3, method=inverted, shape=SHAPE)
    assert maps.samples.shape == (3, *SHAPE)


def test_reduced_shear():
    # the shear of a lens, without noise, divided by 1 - kappa: two iterations recover most of the convergence
    y, x = np.mgrid[:32, :32] - 16
    kappa = torch.from_numpy(0.3 * np.exp(-0.5 * (x**2 + y**2) / 9))
    kappa -= kappa.mean()
    grid = FourierGrid((32, 32), 1.2e-4, dtype=torch.float64)
    gamma = LensingOperator(grid).forward(grid.to_modes(kappa))
    data = Observation.from_arrays((gamma / (1 - kappa)).numpy(), np.full((32, 32), 0.01), 1.2e-4)
    errors = {setting: run(resolve(inverted), data, progress=False, reduced_shear=setting) for setting in (False, True)}
    record = errors[True].diagnostics["reduced_shear"]
    assert record["applied"] and record["pilot"] == "inverted" and record["last_change"] < 0.02
    errors = {k: np.abs(e.mean - kappa.numpy()).max() for k, e in errors.items()}
    assert errors[True] < 0.01 * errors[False] and errors[False] > 0.02


def test_the_record_identifies_the_function():
    kappa = shear().reconstruct(inverted)
    setting = kappa.meta["provenance"]["settings"]["f"]
    assert setting.split(" (SHA-256 ")[0].endswith("test_function.inverted")
    assert kappa.meta["provenance"]["prior"] is None
    assert " at 0x" not in repr(kappa.meta) + repr(resolve(inverted)) + repr(resolve(Inversion()))
    assert shear().reconstruct(as_array).meta["provenance"]["settings"]["f"] != setting
    kappa.write("kappa.fits")
    assert ConvergenceMap.read("kappa.fits").meta["provenance"] == kappa.meta["provenance"]


# ---- errors


@each_case(
    ("result", "error", "message"),
    [
        (None, TypeError, r"method: f needs to return an array or tensor \(ny, nx\), a pair of them .* got a NoneType"),
        ([[1.0]], TypeError, "got a list"),
        ((np.zeros(SHAPE),) * 3, TypeError, "got a tuple"),
        (np.zeros(SHAPE, complex), TypeError, "needs real numbers, got the type complex128"),
        (np.ma.zeros(SHAPE), TypeError, "got a MaskedArray"),
        (np.zeros(SHAPE) * u.kpc, TypeError, "got a Quantity"),
        (np.zeros(SHAPE[::-1]), ValueError, r"needs the shape \(12, 16\), got \(16, 12\)"),
        (torch.zeros(2, *SHAPE), ValueError, r"got \(2, 12, 16\)"),
        (np.full(SHAPE, np.nan), ValueError, "needs to be finite, also in pixels without data, but 192 of the pixels"),
        ((np.zeros(SHAPE), np.zeros(3)), ValueError, r"method: f: its standard deviation: needs the shape"),
        ((np.zeros(SHAPE), np.full(SHAPE, -1)), ValueError, "its standard deviation: needs to be at least 0, got -1"),
        (Estimate(np.zeros(SHAPE), None, samples=np.zeros(SHAPE)), ValueError, r"its samples: needs the shape"),
        (Estimate(None, None), TypeError, "needs to return an array"),
    ],
)
def test_wrong_results(result, error, message):
    def f(observation):
        return result

    with pytest.raises(error, match=message):
        shear().reconstruct(f)


@each_case(
    ("method", "options", "message"),
    [
        (3, {}, r"method: needs a name, an object such as Wiener\(\), or a function of the observation, got 3"),
        (Wiener, {}, r"method: needs a name, an object such as Wiener\(\), or a function"),
        (inverted, {"gain": 2}, "method: a function has no options; bind gain with functools.partial"),
    ],
)
def test_wrong_methods(method, options, message):
    with pytest.raises(TypeError, match=message):
        shear().reconstruct(method, **options)


def test_a_function_has_no_chains():
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(TypeError, match="that draws samples, got inverted"),
    ):
        shear().reconstruct(inverted, executor=executor)
