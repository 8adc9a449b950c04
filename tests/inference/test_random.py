import pytest
import torch

from astro_massmap.inference import Streams, pick_device

from helpers.cases import each_case


def test_numbers_depend_on_seed_and_index():
    streams = Streams(1, [5, 6])
    a, b = streams.normal(3, 4), streams.uniform()
    alone = Streams(1, [6])
    assert torch.equal(a[1:], alone.normal(3, 4))
    assert torch.equal(b[1:], alone.uniform())
    for other in (Streams(1, [7]), Streams(2, [5]), Streams(5, [1]), Streams(1, [5], attempt=1)):
        assert not torch.equal(a[0], other.normal(3, 4)[0])


def test_a_stream_continues():
    streams = Streams(0, [0])
    assert not torch.equal(streams.normal(3), streams.normal(3))


def test_numbers_are_standard_normal():
    # mean and variance of 10^5 numbers: 5 sigma, false alarm 1e-6
    x = Streams(0, range(10)).normal(10000, dtype=torch.float64)
    assert abs(x.mean()) < 5 / 316
    assert abs(x.var() - 1) < 5 * (2 / 100000) ** 0.5


def test_devices_by_name():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@each_case("name", ["no such device", "cuda:99", "meta"])
def test_an_unavailable_device_is_an_error(name):
    with pytest.raises(ValueError, match="device"):
        pick_device(name)
