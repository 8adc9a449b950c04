"""Training maps: noise and Wiener filter on whole maps, then pieces."""

import numpy as np
import pytest
import torch

from astro_massmap.inference import FourierGrid
from astro_massmap.priors.denoiser import wiener_filter
from astro_massmap.simulation import LensPlanes, LightCone, Transfer
from astro_massmap.training import LightConeMaps, MapBank, Noiser

from helpers import small_priors
from helpers.cases import each_case
from helpers.small_priors import PIXEL, THEORY


class Recorder(Noiser):
    """Record the whole maps of a batch."""

    def noisy(self, maps, sigma, generator):
        z, wiener = super().noisy(maps, sigma, generator)
        self.whole = maps, z, wiener
        return z, wiener


def numbered(n, ny, nx):
    """Maps whose pixels all have different values."""
    return np.arange(n * ny * nx, dtype=np.float32).reshape(n, ny, nx) / (n * ny * nx)


def batch_of(noiser, n=3, low=0.01, high=0.3, seed=0):
    return noiser.batch(n, low, high, np.random.default_rng(seed), torch.Generator().manual_seed(seed))


def bank(n=5, shape=(40, 40)):
    return MapBank(numbered(n, *shape), PIXEL)


# ---- pieces


@pytest.mark.parametrize("shape", [(40, 40), (36, 50)])
def test_pieces_are_cut_from_whole_maps(shape):
    noiser = Recorder(bank(shape=shape), THEORY, size=16, margin=8, pieces=4)
    batch = batch_of(noiser)
    assert batch.x.shape == batch.z.shape == batch.wiener.shape == (12, 16, 16) and batch.sigma.shape == (12,)
    places = set()
    for i in range(12):
        field, row, column = (int(k[0]) for k in torch.nonzero(noiser.whole[0] == batch.x[i, 0, 0], as_tuple=True))
        assert field == i // 4
        assert 8 <= row <= shape[0] - 24 and 8 <= column <= shape[1] - 24
        for piece, whole in zip((batch.x, batch.z, batch.wiener), noiser.whole, strict=True):
            assert torch.equal(piece[i], whole[field, row : row + 16, column : column + 16])
        places.add((row, column))
    assert len(places) > 6


def test_the_whole_map_is_noisy_and_filtered():
    noiser = Recorder(bank(), THEORY, size=16, margin=8)
    batch = batch_of(noiser, n=4)
    x, z, wiener = noiser.whole
    sigma = batch.sigma[::2]
    assert torch.equal(batch.sigma[1::2], sigma)
    # 1600 pixels: 1.8 % of the deviation, 4 sigma
    assert torch.allclose((z - x).std(dim=(1, 2)) / sigma, torch.ones(4), atol=0.07)
    variance = FourierGrid((40, 40), PIXEL).mode_variance(THEORY)
    assert torch.allclose(wiener, wiener_filter(z, variance, sigma), atol=1e-6)


def test_noise_levels_are_one_in_each_part_of_the_range():
    part = torch.log(batch_of(Noiser(bank(), THEORY, size=16, margin=8), n=6).sigma[::2] / 0.01) / np.log(30) * 6
    assert torch.equal(part.floor(), torch.arange(6.0))


@pytest.mark.parametrize(("shape", "expected"), [((12, 12), 8), ((12, 14), 4)])
def test_all_symmetries_appear(shape, expected):
    # 80 draws: one of eight is missing with a chance of 2e-4
    image = torch.from_numpy(numbered(1, *shape))[0]
    noiser = Recorder(MapBank(image[None], PIXEL), THEORY, size=12, margin=0)
    seen = set()
    for seed in range(80):
        batch_of(noiser, n=1, seed=seed)
        seen.add(noiser.whole[0].contiguous().numpy().tobytes())
    flips = [image, image.flip(0), image.flip(1), image.flip(0, 1)]
    flips += [f.T for f in flips] if expected == 8 else []
    assert seen == {f.contiguous().numpy().tobytes() for f in flips}


def test_a_batch_depends_on_its_seeds():
    noiser = Noiser(bank(), THEORY, size=16, margin=8)
    first, again, other = (batch_of(noiser, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(getattr(first, k), getattr(again, k)) for k in ("x", "z", "wiener", "sigma"))
    assert not any(torch.equal(getattr(first, k), getattr(other, k)) for k in ("x", "z", "wiener", "sigma"))
    assert first.to("cpu").x is first.x


@each_case(("size", "margin"), [(41, 0), (24, 9)])
def test_pieces_that_do_not_fit(size, margin):
    message = f"pieces of {size} pixels with a margin of {margin} do not fit into maps of 40 x 50"
    with pytest.raises(ValueError, match=message):
        Noiser(bank(shape=(40, 50)), THEORY, size=size, margin=margin)


def test_pieces_that_just_fit():
    batch = batch_of(Noiser(bank(), THEORY, size=24, margin=8))
    assert torch.equal(batch.x[0], batch.x[1])


# ---- maps


def test_a_bank_draws_without_repeating():
    maps = bank(5)
    drawn = maps.draw(5, np.random.default_rng(0))
    assert sorted(drawn[:, 0, 0].tolist()) == sorted(maps.maps[:, 0, 0].tolist())
    assert maps.draw(7, np.random.default_rng(0)).shape == (7, 40, 40)
    assert len(maps) == 5 and maps.shape == (40, 40)


def test_a_bank_of_array_likes():
    maps = numbered(2, 8, 8)
    for given in (maps.astype(">f8"), torch.from_numpy(maps), list(maps)):
        assert torch.equal(MapBank(given, PIXEL).maps, torch.from_numpy(maps))


@each_case("maps", [np.full((2, 8, 8), np.nan), np.zeros((8, 8)), np.zeros((0, 8, 8))])
def test_a_bank_of_invalid_maps(maps):
    with pytest.raises(ValueError, match=r"need finite maps \(n, ny, nx\), got shape"):
        MapBank(maps, PIXEL)


def test_one_infinite_pixel_is_found():
    maps = numbered(3, 8, 8)
    maps[1, 2, 3] = np.inf
    with pytest.raises(ValueError, match="finite"):
        MapBank(maps, PIXEL)


@pytest.fixture
def light_cone():
    generator = torch.Generator().manual_seed(0)
    overdensity = torch.randn(2, 3, 16, 16, generator=generator).half()
    planes = LensPlanes(overdensity, 16.0, 0.3, np.array([8.0, 24.0]), np.array([0.99, 0.98]), {})
    return LightCone([planes], np.array([0.01, 0.02]))


def test_maps_of_a_light_cone_are_new_ones(light_cone):
    source = LightConeMaps(light_cone, (30, 32), PIXEL)
    rng = np.random.default_rng(0)
    first, second = source.draw(2, rng), source.draw(2, rng)
    assert first.shape == (2, 30, 32) and torch.isfinite(first).all() and first.std() > 0
    assert not torch.allclose(first, second)
    assert torch.equal(source.draw(2, np.random.default_rng(0)), first)
    batch = batch_of(Noiser(source, THEORY, size=16, margin=7))
    assert batch.z.shape == (6, 16, 16) and torch.isfinite(batch.wiener).all()


def test_maps_of_a_light_cone_may_be_calibrated(light_cone):
    ell = np.array([10.0, 1e5])
    plain, same, double = (
        LightConeMaps(light_cone, (30, 32), PIXEL, Transfer(ell, np.full(2, factor))).draw(1, np.random.default_rng(0))
        for factor in (0.0, 1.0, 2.0)
    )
    assert not plain.any() and torch.allclose(double, 2 * same, atol=1e-6) and same.shape == (1, 30, 32)


def test_pieces_of_maps_with_the_spectrum_of_theory():
    # the error of the Wiener filter is the posterior variance: 24 maps of 64 x 64 pixels, 5 %
    maps = small_priors.gaussian_maps(THEORY, 24, (64, 64))
    noiser = Noiser(MapBank(maps, PIXEL), THEORY, size=48, margin=8)
    batch = batch_of(noiser, n=24, low=0.0999, high=0.1001)
    grid = FourierGrid((64, 64), PIXEL, dtype=torch.float64)
    variance = grid.mode_variance(THEORY)
    expected = grid.pixel_variance(variance * 0.01 / (variance + 0.01))
    assert abs(float((batch.x - batch.wiener).square().mean()) / expected - 1) < 0.05
