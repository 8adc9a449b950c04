"""Benchmark of masses with CLMM: both fits recover the mass of a catalogue without noise."""

import pytest

pytest.importorskip("clmm")
import cluster_masses

pytestmark = pytest.mark.filterwarnings("ignore")  # CLMM warns of galaxies in front of the halo


def test_clmm_recovers_the_mass():
    galaxies = cluster_masses.catalogue(1e15, 1, 20, shape_noise=None)
    assert cluster_masses.clmm_fit(galaxies)["mass"] == pytest.approx(1e15, rel=1e-3)


@pytest.mark.slow
def test_a_map_without_noise_has_the_mass():
    ratio, _ = cluster_masses.noise_free(1e15, 60, seeds=range(2))
    assert ratio == pytest.approx(1, abs=0.02)
