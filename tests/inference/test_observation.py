import astropy.units as u
import numpy as np
import pytest
import torch

from astro_massmap.inference import ConvergenceObservation, Observation

from helpers.cases import each_case


def test_arrays_of_any_byte_order_become_tensors():
    shear = np.ones((2, 3, 4), dtype=">f4")
    noise = np.full((3, 4), 0.5, dtype=">f8")
    noise[0, 0] = np.inf
    observation = Observation.from_arrays(shear, noise, 1e-4)
    assert observation.shape == (3, 4)
    assert observation.shear.dtype == torch.float64
    assert not observation.observed[0, 0]
    assert observation.observed.sum() == 11
    assert observation.weight[0, 0] == 0
    assert observation.weight[1, 1] == 4
    assert observation.shear[:, 0, 0].tolist() == [0, 0]


def test_the_arrays_are_copied():
    noise = np.ones((2, 2))
    observation = Observation.from_arrays(np.zeros((2, 2, 2)), noise, 1e-4)
    noise[:] = 7
    assert observation.noise_std.max() == 1


@each_case("name", ["shear", "noise_std", "kappa"])
def test_masked_arrays_are_refused(name):
    # the values under the mask would be data
    shear, noise_std = np.zeros((2, 4, 4)), np.ones((4, 4))
    kind = ConvergenceObservation if name == "kappa" else Observation
    arrays = (
        {"shear": shear, "noise_std": noise_std} if name != "kappa" else {"kappa": shear[0], "noise_std": noise_std}
    )
    arrays[name] = np.ma.masked_equal(arrays[name], 7)
    with pytest.raises(TypeError, match="shear, noise_std: need arrays without a mask"):
        kind.from_arrays(**arrays, pixel_size=1e-4)


@each_case(
    ("shear", "noise_std", "named"),
    [
        (np.zeros((2, 8, 8)), np.ones((8, 7)), "shear, noise_std"),
        (np.zeros((8, 8)), np.ones((8, 8)), "shear, noise_std"),
        (np.zeros((2, 8, 8)), np.zeros((8, 8)), "noise_std: needs to be positive"),
        (np.zeros((2, 8, 8)), np.full((8, 8), np.nan), "noise_std: needs to be positive"),
    ],
)
def test_arrays_of_wrong_shapes_are_errors(shear, noise_std, named):
    with pytest.raises(ValueError, match=named):
        Observation.from_arrays(shear, noise_std, 1e-4)


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"shear": np.full((2, 4, 4), np.nan)}, ValueError, "shear: needs finite values"),
        ({"noise_std": np.full((4, 4), np.inf)}, ValueError, "noise_std: needs pixels with data"),
        ({"pixel_size": -1e-4}, ValueError, "pixel_size: needs to be the side of a pixel in radians"),
        ({"pixel_size": 0.4}, ValueError, "pixel_size: needs to be the side of a pixel in radians"),
        ({"pixel_size": 0.4 * u.arcmin}, TypeError, "pixel_size: needs a number of radians"),
    ],
)
def test_values_that_are_no_data_are_errors(change, error, named):
    arguments = {"shear": np.zeros((2, 4, 4)), "noise_std": np.ones((4, 4)), "pixel_size": 1e-4} | change
    with pytest.raises(error, match=named):
        Observation.from_arrays(**arguments)


def test_the_description_is_short():
    observation = Observation.from_arrays(np.zeros((2, 4, 5)), np.ones((4, 5)), np.radians(0.4 / 60))
    assert repr(observation) == "<Observation: 4 x 5 pixels of 0.4 arcmin, 20 with data>"
