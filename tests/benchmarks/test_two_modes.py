"""The mocks of halos at the detection limit: halos must be as frequent as in the simulations."""

import numpy as np
import pytest
import two_modes
from scipy.stats import ks_2samp

from astro_massmap import PowerSpectrum
from astro_massmap.simulation import lognormal_maps

PIXEL = np.radians(0.4 / 60)


@pytest.fixture(scope="module")
def drawn():
    maps = lognormal_maps(PowerSpectrum.default(), 6, (192, 192), PIXEL, seed=3).numpy()
    world = two_modes.World(maps, 48, 0.15, PowerSpectrum.default())
    world.fraction = 0.5  # half of the fields with a halo
    return world, [world.draw(seed) for seed in range(120)]


def test_a_halo_makes_a_structure_and_without_one_there_is_none(drawn):
    world, fields = drawn
    values = np.array([truth[world.aperture].mean() for truth, *_ in fields])
    injected = np.array([halo for *_, halo in fields])
    assert 40 < injected.sum() < 80  # binomial: five standard deviations
    assert (injected == (values > two_modes.THRESHOLD)).all()


def test_injected_structures_are_as_strong_as_the_simulated_ones(drawn):
    world, fields = drawn
    values = [truth[world.aperture].mean() for truth, _, halo in fields if halo]
    assert ks_2samp(values, world.structures).pvalue > 1e-3  # its false-alarm rate


def test_the_aperture_is_observed_and_its_noise_is_that_of_the_survey(drawn):
    world, fields = drawn
    for _, observation, _ in fields[:20]:
        seen = observation.observed.numpy()
        assert seen[world.aperture].all()
        assert 0.7 < seen.mean() <= 0.8
        assert np.allclose(observation.noise_std.numpy()[seen], 0.15)


def test_close_cases_are_chosen_by_the_data_alone(drawn):
    world, fields = drawn
    chosen = [world.at_the_edge(observation) for _, observation, _ in fields]
    kinds = {halo for (*_, halo), at_the_edge in zip(fields, chosen, strict=True) if at_the_edge}
    assert kinds == {True, False}
    assert sum(chosen) < len(fields) / 2
