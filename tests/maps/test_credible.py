"""Super-pixels of a map, their credible intervals and the removal of structures, with exact Gaussian posteriors."""

import math

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion
from scipy.stats import binom, norm

from astro_massmap import ConvergenceMap, PowerSpectrum, Wiener
from astro_massmap.inference import FourierGrid, LensingOperator, Observation

from helpers.cases import each_case
from helpers.skies import tan_wcs

FALSE_ALARM = 1e-4  # of each statistical test
SHAPE = (12, 15)
WCS = tan_wcs(SHAPE)


def kappa(n=39, **options):
    samples = np.random.default_rng(0).normal(size=(n, *SHAPE)) + 1
    return ConvergenceMap(samples.mean(axis=0), samples=samples, **({"wcs": WCS} | options))


# ---- super-pixels


def test_super_pixels_are_means_of_map_and_samples():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:4, :3] = True
    mask[8:, 12:14] = True
    b_mode = ConvergenceMap(np.ones(SHAPE), wcs=WCS)
    full = kappa(mask=mask, b_mode=b_mode, meta={"object": "A"})
    found = full.block_average(1.6 * u.arcmin)
    assert found.shape == (3, 4) and found.pixel_scale.to_value(u.arcmin) == pytest.approx(1.6)
    assert found.data[1, 2] == pytest.approx(full.data[4:8, 8:12].mean())
    assert np.allclose(found.samples[:, 2, 3], full.samples[:, 8:, 12:].mean(axis=(1, 2)))
    assert np.allclose(found.uncertainty.array, found.samples.std(axis=0, ddof=1))
    expected = np.zeros((3, 4), dtype=bool)
    expected[0, 0] = True  # three quarters without data
    expected[2, 3] = True  # a quarter of its area has data, a quarter is beyond the edge
    assert np.array_equal(found.mask, expected)
    assert found.meta["object"] == "A" and np.allclose(found.b_mode.data, 1)
    center = found.wcs.pixel_to_world(0, 0)
    assert center.separation(WCS.pixel_to_world(1.5, 1.5)) < 1e-5 * u.arcsec
    point = ConvergenceMap(full.data, wcs=WCS, uncertainty=np.ones(SHAPE)).block_average(0.8 * u.arcmin)
    assert point.uncertainty is None and point.samples is None and point.shape == (6, 8)
    mass = kappa().surface_density(0.3, 1.0)
    assert mass.block_average(1.6 * u.arcmin).unit == mass.unit


def test_local_intervals_are_those_of_regions():
    full = kappa()
    found = full.credible_intervals(1.6 * u.arcmin, level=0.9)
    assert found.level == 0.9 and not found.joint and "each with probability 0.9" in repr(found)
    means = full.samples[:, 4:8, 4:8].mean(axis=(1, 2))
    assert (found.lower.data[1, 1], found.upper.data[1, 1]) == pytest.approx(
        tuple(np.quantile(means, [0.05, 0.95], method="weibull"))
    )
    assert np.allclose(found.width.data, found.upper.data - found.lower.data)
    for part in (found.mean, found.lower, found.upper, found.width):
        assert (
            part.shape == (3, 4) and part.wcs.pixel_to_world(1, 2).separation(WCS.pixel_to_world(5.5, 9.5)).deg < 1e-9
        )
    table = found.to_table()
    assert len(table) == 12 and table["data_fraction"].min() == 0.75 and table.meta["n_samples"] == 39
    assert np.array_equal(table["width"], found.width.data.ravel())
    with pytest.warns(AstropyUserWarning, match="level=0.95: needs at least 39 samples, got 19"):
        kappa(19).credible_intervals(1.6 * u.arcmin)


def test_joint_intervals_are_wider_by_one_number_of_standard_deviations():
    full = kappa(199)
    local, joint = (full.credible_intervals(1.6 * u.arcmin, level=0.95, joint=j) for j in (False, True))
    assert joint.joint and "together with probability 0.95" in repr(joint)
    half = joint.width.data / 2 / joint.mean.uncertainty.array
    assert np.allclose(half, half[0, 0])
    # 12 independent normal values; the error of the quantile of 199 samples is 0.08
    assert half[0, 0] == pytest.approx(norm.ppf(0.5 + 0.95 ** (1 / 12) / 2), abs=0.35)
    assert (joint.width.data > local.width.data).mean() > 0.9
    samples = kappa(199).block_average(1.6 * u.arcmin).samples
    inside = ((samples >= joint.lower.data) & (samples <= joint.upper.data)).all(axis=(1, 2)).mean()
    assert 0.94 <= inside < 1


def test_super_pixels_beyond_the_samples_are_masked():
    moved = kappa(n=20).reproject_to(tan_wcs((20, 20)))
    found = moved.credible_intervals(1.6 * u.arcmin, level=0.9, joint=True)
    assert found.mean.mask.any() and not found.mean.mask.all()
    assert np.isfinite(found.to_table()["width"]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the power of the data")  # of one small field of many, by chance
def test_wiener_posteriors_are_calibrated_on_super_pixels():
    # truths and data drawn from the prior: local intervals of level 0.9 contain nine of ten super-pixels, and the
    # p-value of the truth is uniform. Correlated super-pixels of one sky are one trial.
    side, n, pixel = 16, 19, math.radians(1.6 / 60)
    grid, local, beyond, together = FourierGrid((64, 64), pixel, dtype=torch.float64), [], [], []
    wcs = tan_wcs((side, side), scale=1.6)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        modes = grid.to_modes(torch.from_numpy(rng.normal(size=(64, 64))))
        modes = modes * grid.mode_variance(PowerSpectrum.default()).sqrt()
        field = np.s_[..., :side, :side]
        shear = LensingOperator(grid).forward(modes)[field].numpy() + rng.normal(scale=0.03, size=(2, side, side))
        observation = Observation.from_arrays(shear, np.full((side, side), 0.03), pixel)
        estimate = Wiener(n_samples=n, seed=seed).solve(observation)
        found = ConvergenceMap(estimate.mean, wcs=wcs, samples=estimate.samples)
        truth = ConvergenceMap(grid.to_field(modes)[field].numpy(), wcs=wcs)
        blocks = truth.block_average(6.4 * u.arcmin).data
        for joint, kept in ((False, local), (True, together)):
            ends = found.credible_intervals(6.4 * u.arcmin, level=0.9, joint=joint)
            inside = (ends.lower.data <= blocks) & (blocks <= ends.upper.data)
            kept.append(inside.all() if joint else inside.mean())
        region = CircleSkyRegion(wcs.pixel_to_world(7.5, 7.5), 9 * u.arcmin)
        beyond.append(found.structure_test(region, 3.2 * u.arcmin, other=truth)["p_value"][0])
    error = np.std(local, ddof=1) / 40**0.5
    assert abs(np.mean(local) - 0.9) < norm.isf(FALSE_ALARM / 2) * error < 0.13
    least = binom.ppf(FALSE_ALARM / 2, 40, 0.9)
    assert np.sum(together) >= least
    for p in (0.1, 0.5):
        count = np.sum(np.array(beyond) <= p + 1e-9)
        assert binom.ppf(FALSE_ALARM / 2, 40, p) <= count <= binom.isf(FALSE_ALARM / 2, 40, p)


# ---- structures


def test_a_structure_is_removed_from_the_map():
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    data = 0.05 + 0.4 * (np.hypot(yy - 6, xx - 7) < 2.5)
    full = ConvergenceMap(data, wcs=WCS, uncertainty=np.ones(SHAPE), samples=[data] * 3, meta={"object": "A"})
    found = full.without(CircleSkyRegion(WCS.pixel_to_world(7, 6), 1.4 * u.arcmin))
    assert np.allclose(found.data, 0.05)
    assert found.samples is None and found.uncertainty is None and found.meta["object"] == "A"
    with pytest.raises(ValueError, match=r"^regions: cover the whole map"):
        full.without(CircleSkyRegion(WCS.pixel_to_world(7, 6), 20 * u.arcmin))


def test_other_maps_need_the_same_grid_and_unit():
    full, region = kappa(), CircleSkyRegion(WCS.pixel_to_world(7, 6), 1 * u.arcmin)
    table = full.structure_test(region, 0.8 * u.arcmin, other=full)
    assert table["p_value"][0] == 1 and table.meta["size"] == "2 pixels"
    assert full.structure_test(region, 0.8 * u.arcmin, other=full.data)["p_value"][0] == 1
    with pytest.raises(ValueError, match=r"^other: needs a map on the same grid"):
        full.structure_test(region, 0.8 * u.arcmin, other=full[1:])
    mass = full.surface_density(0.3, 1.0)
    with pytest.raises(u.UnitsError, match=r"^other: needs the unit one of this map"):
        full.structure_test(region, 0.8 * u.arcmin, other=mass)
    with pytest.raises(u.UnitsError, match=r"^kappa: needs a map of the convergence"):
        mass.structure_test(region, 0.8 * u.arcmin)


@each_case(
    ("ask", "error", "message"),
    [
        (lambda k: k.credible_intervals(1), u.UnitsError, "size: needs an angle"),
        (lambda k: k.credible_intervals(1 * u.arcsec), ValueError, "size: needs at least the side of a pixel"),
        (lambda k: k.credible_intervals(1 * u.arcmin, level=95), ValueError, "level: needs to be between 0 and 1"),
        (
            lambda k: k.credible_intervals(1 * u.arcmin, level=0.99, joint=True),
            ValueError,
            "level: a region of 0.99 needs at least 99 samples, got 39",
        ),
        (lambda k: kappa(1).credible_intervals(1 * u.arcmin), ValueError, "samples: an interval needs at least two"),
        (
            lambda k: ConvergenceMap(k.data, wcs=WCS).credible_intervals(1 * u.arcmin),
            ValueError,
            "samples: the map has none",
        ),
        (
            lambda k: ConvergenceMap(k.data, wcs=WCS).structure_test([], 1 * u.arcmin),
            ValueError,
            "samples: the map has none",
        ),
    ],
)
def test_invalid_arguments(ask, error, message):
    with pytest.raises(error, match=f"^{message}"):
        ask(kappa())
