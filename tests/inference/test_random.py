import pytest
import torch

from astro_massmap.inference import normals, pick_device


def test_numbers_belong_to_seed_and_index():
    a, b = normals(1, 5, (3, 4), (2,))
    assert torch.equal(a, normals(1, 5, (3, 4))[0])
    assert b.shape == (2,)
    for other in [(1, 6), (2, 5), (5, 1)]:
        assert not torch.equal(a, normals(*other, (3, 4))[0])


def test_they_are_standard_normal():
    # mean and variance of 10^5 numbers: 5 sigma, false alarm 1e-6
    (x,) = normals(0, 0, (100000,), dtype=torch.float64)
    assert abs(x.mean()) < 5 / 316
    assert abs(x.var() - 1) < 5 * (2 / 100000) ** 0.5


def test_devices_by_name():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["no such device", "cuda:99"])
def test_a_device_that_is_not_there_is_an_error(name):
    with pytest.raises(ValueError, match="device"):
        pick_device(name)
