"""The network: any shape of maps, independent maps, and its receptive field."""

import pytest
import torch

from astro_massmap.priors import UNet
from astro_massmap.priors.denoiser import waves
from astro_massmap.priors.unet import Convolution

from helpers import small_priors

REACH = 48  # pixels; counted: 1 + 4 + 1 at full size, 8 + 2 at half, 16 at a quarter, up again 8 + 4 + 1, and 3


def maps(n, *shape, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def conditions(*sigma, dtype=torch.float32):
    """Conditions of a network at some noise levels."""
    return waves(torch.log10(torch.tensor(sigma, dtype=dtype)), 7)


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (21, 1), (2, 3), (33, 50), (8, 4)])
def test_any_sides(shape):
    out = small_priors.network()(maps(2, *shape), conditions(0.05, 0.2))
    assert out.shape == (2, 1, *shape)
    assert torch.isfinite(out).all() and out.std() > 0.01


def test_the_output_is_zero_before_training():
    assert not UNet((4, 8, 8))(maps(2, 20, 20), conditions(0.05, 0.2)).any()


def test_the_default_has_some_hundred_thousand_parameters():
    assert 0.25e6 < sum(p.numel() for p in UNet().parameters()) < 4e6


def test_settings_make_the_same_network():
    network = UNet((4, 8, 12), blocks=1, embedding=16)
    again = UNet(**network.settings)
    assert [p.shape for p in again.parameters()] == [p.shape for p in network.parameters()]


def test_the_noise_level_matters():
    network, x = small_priors.network(), maps(1, 24, 24)
    low, high = (network(x, conditions(sigma)) for sigma in (0.01, 0.3))
    assert (low - high).std() > 0.1 * low.std()


def test_maps_of_a_batch_are_independent():
    network, x, level = small_priors.network(), maps(3, 40, 32), conditions(0.02, 0.1, 0.3)
    together = network(x, level)
    others = x.clone()
    others[[0, 2]] *= 1000
    assert torch.allclose(network(others, level)[1], together[1], atol=1e-6)
    for i in range(3):
        assert torch.allclose(network(x[i : i + 1], level[i : i + 1])[0], together[i], atol=1e-6)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_receptive_field(blocks):
    torch.manual_seed(0)
    network = UNet((4, 8, 8), blocks=blocks).double()
    torch.nn.init.ones_(network.leave.gain)
    reach, seen = network.reach, 0
    for pixel in range(reach + 4, reach + 8):  # all positions in the pitch of the coarsest scale
        x = maps(1, 2 * reach + 16, 2 * reach + 16, dtype=torch.float64).requires_grad_()
        network(x, conditions(0.1, dtype=torch.float64))[0, 0, pixel, pixel].backward()
        rows, columns = torch.nonzero(x.grad[0].abs().sum(dim=0), as_tuple=True)
        seen = max(seen, int(torch.maximum((rows - pixel).abs(), (columns - pixel).abs()).max()))
    assert seen == reach
    assert blocks != 2 or reach == REACH


def test_the_inside_of_a_map_does_not_depend_on_its_size():
    network, level = small_priors.network().double(), conditions(0.1, dtype=torch.float64)
    whole = maps(1, 144, 160, dtype=torch.float64)
    part = whole[..., 12:140, 16:144]
    inner = slice(REACH, 128 - REACH)
    inside = network(part, level)[..., inner, inner]
    assert torch.allclose(network(whole, level)[..., 12:140, 16:144][..., inner, inner], inside, atol=1e-12)


def test_filters_have_unit_norm_times_their_gain():
    # 4 inputs of 9 pixels: white noise keeps its variance whatever the size of the weights
    torch.manual_seed(0)
    convolution = Convolution(4, 6, gain=1.5).requires_grad_(False)
    convolution.bias.zero_()
    x = torch.randn(1, 4, 100, 100, generator=torch.Generator().manual_seed(0))
    before = convolution(x)
    assert torch.allclose(before[..., 1:-1, 1:-1].std(dim=(0, 2, 3)), torch.tensor(1.5), rtol=0.05)
    convolution.weight.mul_(7)
    assert torch.allclose(convolution(x), before, atol=1e-5)


def test_every_parameter_learns():
    torch.manual_seed(0)
    network, level = UNet((4, 8, 8)), conditions(0.02, 0.3)
    torch.nn.init.ones_(network.leave.gain)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        (network(maps(2, 16, 16), level) - 1).square().mean().backward()
        optimizer.step()
    assert [name for name, p in network.named_parameters() if not p.grad.any()] == []


def test_evaluation_without_gradients_is_the_same():
    network, x, level = small_priors.network(), maps(2, 33, 50), conditions(0.05, 0.2)
    kept = x.clone()
    with torch.no_grad():
        without = network(x, level)
    torch.testing.assert_close(without, network(x, level).detach())
    assert torch.equal(x, kept)
