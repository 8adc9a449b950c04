import numpy as np
import pytest
import torch

from astro_massmap.inference import Observation

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
