"""Geometry of tiles, and equality of the network in tiles and on the whole map."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from astro_massmap.inference import FourierGrid, Schedule, SplitPlan, Streams, run_chains
from astro_massmap.priors import CONDITIONS, HybridDenoiser, ScorePrior, UNet
from astro_massmap.priors.tiles import in_tiles, tiles

from helpers import problems, small_priors
from helpers.cases import each_case
from helpers.small_priors import PIXEL, THEORY

TILE = 96  # 28 pixels of halo on both sides of a network of single blocks, 40 of core


class Looks:
    """A denoiser whose network has the given reach."""

    def __init__(self, reach):
        self.network, self.reach = self, reach


# ---- geometry


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 30), st.integers(0, 60))
@pytest.mark.slow
def test_cores_cover_a_map_once_and_lie_deep_in_their_tiles(ny, nx, reach, more):
    largest = 2 * (-(-reach // 4) * 4) + 4 + more
    counts = torch.zeros(ny, nx)
    for outer, core, inner in tiles((ny, nx), largest, Looks(reach)):
        counts[core] += 1
        for whole, piece, kept, side in zip(outer, core, inner, (ny, nx), strict=True):
            assert whole.start + kept.start == piece.start and whole.start + kept.stop == piece.stop
            assert whole.start % 4 == 0 and (whole.stop % 4 == 0 or whole.stop == side)
            assert whole.stop - whole.start <= largest
            assert piece.start - whole.start >= reach or whole.start == 0
            assert whole.stop - piece.stop >= reach or whole.stop == side
    assert (counts == 1).all()


def test_a_small_map_is_one_tile():
    ((outer, core, inner),) = tiles((512, 500), 512, None)
    assert outer == core == inner == (slice(0, 512), slice(0, 500))


def test_a_map_that_is_larger_than_the_whole_pitches_of_a_tile_has_tiles_that_overlap():
    # 24 pixels are six pitches, a map of 26 does not fit: halves without a halo would be wrong at their common edge
    pieces = tiles((26, 20), 26, Looks(8))
    assert [piece.outer[0] for piece in pieces] == [slice(0, 24), slice(8, 26)]
    with pytest.raises(ValueError, match=r"tile: .* at least 4 pixels, got 3"):
        tiles((3, 3), 3, Looks(0))


def test_tiles_without_a_core_are_refused():
    with pytest.raises(ValueError, match=r"tile: .* extends 48 pixels.* at least 100 pixels, got 96"):
        tiles((200, 200), 96, Looks(48))
    assert len(tiles((200, 96), 100, Looks(48))) == 26


@each_case("tile", [0, -4, 12.0, True, "all"])
def test_invalid_sides(tile):
    with pytest.raises(ValueError, match=r"tile: needs a positive integer \(side in pixels\)"):
        small_priors.prior(tile=tile)
    with pytest.raises(ValueError, match=r"tile: needs a positive integer \(side in pixels\)"):
        small_priors.untrained_posterior(tile=tile)


def test_a_sum_over_neighbours_in_tiles_is_that_of_the_whole_map():
    # a network that sums 5 pixels on either side
    maps = torch.randint(0, 9, (2, 70, 90), generator=torch.Generator().manual_seed(0)).double()
    kernel = torch.ones(1, 1, 11, 11, dtype=torch.float64)

    def blurred(tile, parts):
        return torch.nn.functional.conv2d(parts[0][:, None], kernel, padding=5)[:, 0]

    whole = blurred(None, [maps])
    assert torch.equal(in_tiles(blurred, [maps], tiles((70, 90), 24, Looks(5))), whole)
    assert not torch.equal(in_tiles(blurred, [maps], tiles((70, 90), 24, Looks(4))), whole)


# ---- networks


def prior(**options):
    denoiser = HybridDenoiser(small_priors.network(blocks=1), THEORY, PIXEL)
    return ScorePrior(denoiser, THEORY, (0.003, 0.5), correction=small_priors.table(), margin=8, **options)


def grid():
    # sides that are not multiples of 4, and a margin that wraps around the box
    return FourierGrid((101, 133), PIXEL, (160, 180))


def noisy(on, n=1, sigma=0.1):
    white = on.to_modes(Streams(0, range(n)).normal(*on.box_shape))
    return (on.mode_variance(THEORY) + sigma**2).sqrt() * white


@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 3e-6), (True, 2e-2)])
def test_the_residual_in_tiles_is_that_of_the_whole_field(bfloat16, tolerance):
    # in mixed precision the rounding depends on the size of a piece
    on, calls, whole = grid(), [], prior(bfloat16=bfloat16)
    modes = noisy(on, n=2)
    residual = whole.on(on).residual(modes, 0.1)
    whole.denoiser.network.register_forward_hook(lambda *_: calls.append(1))
    tiled = dataclasses.replace(whole, tile=TILE).on(on)
    assert (tiled.residual(modes, 0.1) - residual).abs().max() < tolerance * residual.abs().max()
    assert len(calls) == 6


def test_a_halo_that_is_too_small_leaves_seams(monkeypatch):
    on, whole = grid(), prior()
    modes = noisy(on)
    residual = whole.on(on).residual(modes, 0.1)
    monkeypatch.setattr(UNet, "reach", 4)
    seams = dataclasses.replace(whole, tile=TILE).on(on).residual(modes, 0.1)
    assert (seams - residual).abs().max() > 1e-4 * residual.abs().max()


def test_the_moments_in_tiles_are_those_of_the_whole_field():
    unet = small_priors.network(blocks=1, inputs=4, outputs=2, conditions=CONDITIONS + 1)
    network, on = small_priors.posterior(unet), grid()
    weight = (torch.rand(101, 133, generator=torch.Generator().manual_seed(1)) < 0.6) / 0.15**2
    whole, tiled = (made.on(on, weight) for made in (network, dataclasses.replace(network, tile=TILE)))
    b, mean = noisy(on) / 0.1**2, noisy(on, sigma=0)
    for one, other in zip(whole.moments(b, mean), tiled.moments(b, mean), strict=True):
        assert torch.allclose(one, other, atol=1e-6) and one.std() > 1e-3
    modes = whole.contribution(mean / 0.1**2, mean, 0.1)
    assert (tiled.contribution(mean / 0.1**2, mean, 0.1) - modes).abs().max() < 3e-6 * modes.abs().max()
    assert len(tiled.region.tiles) == 6 and len(whole.region.tiles) == 1


def test_a_chain_does_not_depend_on_tiles():
    # the network decides whether a step is accepted, and where it leads
    generator = torch.Generator().manual_seed(2)
    observation = problems.observe(problems.gaussian_sky(128, generator), np.full((128, 128), 0.15), generator)
    schedule = Schedule(trajectories=(2,), reverse_steps=3)
    plans = [SplitPlan(observation, prior(tile=tile), schedule, (192, 192)) for tile in (512, TILE)]
    runs = [run_chains(plan, Streams(3, [0])) for plan in plans]
    maps = [torch.fft.irfft2(run.modes, norm="ortho") for run in runs]
    assert torch.equal(runs[0].acceptance, runs[1].acceptance)
    assert (maps[0] - maps[1]).abs().max() < 1e-4 * maps[0].std()
