"""Benchmark of masses: truth, statistics, and the continuation of an interrupted run."""

import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from scipy.integrate import quad

from astro_massmap.analysis.mass import critical_surface_density
from astro_massmap.simulation import NFWHalo

import masses

HALO = NFWHalo(5e14 * u.Msun, 0.3, cosmology=masses.COSMOLOGY)


def test_the_truth_is_the_integral_of_the_convergence():
    def mean(low, high):
        integral = quad(lambda t: 2 * t * float(HALO.convergence(t * u.arcmin, 1.0)), low, high)[0]
        return integral / (high**2 - low**2)

    side = (2 * u.arcmin).to_value(u.rad) * masses.COSMOLOGY.angular_diameter_distance(0.3)
    area = np.pi * side**2 * critical_surface_density(0.3, 1.0, masses.COSMOLOGY)
    assert masses.true_mass(HALO) == pytest.approx((area * (mean(0, 2) - mean(4, 7))).to_value(u.Msun), rel=1e-4)


def test_the_shear_is_that_of_the_halo_and_of_the_noise():
    empty = NFWHalo(1.0 * u.Msun, 0.3, cosmology=masses.COSMOLOGY)
    with_halo, without = (masses.survey(halo, 1) for halo in (HALO, empty))
    theta = with_halo.coords.separation(masses.CENTER)
    change = np.hypot(with_halo.g1 - without.g1, with_halo.g2 - without.g2)
    assert np.allclose(change, HALO.shear(theta, 1.0), rtol=1e-6, atol=1e-8)
    # 19660 galaxies of two components: an error of 0.5 %, and large-scale structure adds 0.01^2 to 0.26^2
    assert np.std([without.g1, without.g2]) == pytest.approx(0.26, rel=0.02)


def test_the_statistics():
    found = {"mass": [1e14, 1.5e14], "std": [1e13, 5e13], "lower": [9e13, 1e14], "upper": [1.1e14, 2e14]}
    rows = Table({"method": ["wiener"] * 2, "m200": [5e14] * 2, "seed": [0, 1], "true": [2e14] * 2, **found})
    _, row = masses.summary(rows)
    # errors of 10 and 1 standard deviations, ratios 0.5 and 0.75, one interval of two contains the truth
    assert row == ("Wiener", "5e14", "2.00", 2, "0.62 ± 0.12", "7.1", "50%")


def test_an_interrupted_run_continues(tmp_path, monkeypatch):
    seen, fail = [], [True]

    def mock(method, mass, seed):
        if seed == 1 and fail.pop():
            raise KeyboardInterrupt
        seen.append(seed)
        found = {"true": 1e14, "mass": 9e13, "std": 1e13, "lower": 8e13, "upper": 1e14}
        return {"method": method, "m200": mass, "seed": seed, **found}

    monkeypatch.setattr(masses, "mock", mock)
    arguments = ["--mocks", "3", "--masses", "1e14", "--methods", "wiener", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["masses.py", *arguments])
    with pytest.raises(KeyboardInterrupt):
        masses.main()
    fail.append(False)
    masses.main()
    assert seen == [0, 1, 2]
    assert "0.90 ± 0.00" in (tmp_path / "masses.rst").read_text()
