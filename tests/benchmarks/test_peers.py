"""Functions of the comparison with other packages, without these packages."""

import astropy.units as u
import numpy as np
import peers

from astro_massmap._sky.binning import bin_galaxies
from astro_massmap._sky.geometry import fitting_wcs

from helpers.skies import scatter, tan_wcs

SHAPE = (60, 64)


def test_the_edges_for_other_packages_are_those_of_the_pixels():
    galaxies = scatter(tan_wcs(SHAPE), SHAPE, 20000)
    wcs = fitting_wcs(galaxies, 0.4 * u.arcmin, SHAPE)
    lon, lat = np.radians(galaxies.ra.deg - wcs.wcs.crval[0]), galaxies.dec.rad
    lat0 = np.radians(wcs.wcs.crval[1])
    depth = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon)
    east = np.cos(lat) * np.sin(lon) / depth
    north = (np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon)) / depth
    low_x, high_x, low_y, high_y = peers.edges(wcs, SHAPE)
    counts = np.histogram2d(-east, north, bins=SHAPE[::-1], range=[(low_x, high_x), (low_y, high_y)])[0].T
    x, y = wcs.world_to_pixel(galaxies)
    ones = np.ones(len(x))
    _, _, ours = bin_galaxies(x, y, 1j * ones, weight=ones, response=1.0, shape_noise=1.0, shape=SHAPE)
    assert ours.sum() == counts.sum() == 20000
    assert np.array_equal(counts, ours)


def test_scores_of_maps_with_known_errors():
    rng = np.random.default_rng(1)
    truth, noise = rng.normal(size=(2, 64, 64))
    gaps = np.arange(64) < np.full((64, 1), 20)
    judged = peers.judge(truth, truth + noise, truth + 2 * noise, gaps, peers.BEAM)
    assert np.allclose(judged[:, :2], 2)
    # white noise of variance 4 on a truth of variance 1, also after smoothing; 0.1 is four standard errors
    assert np.allclose(judged[0, 2:], 1 / np.sqrt(5), atol=0.1)
    assert np.allclose(peers.judge(truth, truth + noise, truth, gaps, peers.BEAM), [[0, 0, 1, 1]] * 2)


def test_peaks_are_counted_at_the_stated_purities():
    truth = np.zeros((96, 96))
    truth[[16, 16, 48, 48, 80], [16, 48, 16, 48, 80]] = 1.0
    gaps, pixel = np.zeros(truth.shape, dtype=bool), peers.BEAM
    assert peers.peaks_found(truth, [truth], gaps, pixel) == ([1, 1, 1], 5)
    kappa = truth * np.linspace(1, 0.5, 96)[:, None]  # lower for increasing y
    kappa[64:80:8, 8:64:8] = 0.7  # 14 false peaks, higher than the last true one, lower than the others
    assert peers.peaks_found(truth, [kappa], gaps, pixel) == ([0.8, 0.8, 0.8], 5)
    assert peers.peaks_found(truth, [kappa, truth], gaps, pixel) == ([0.9, 0.9, 0.9], 5)
    gaps[:30] = True
    assert peers.peaks_found(truth, [truth], gaps, pixel) == ([1, 1, 1], 3)
    assert peers.peaks_found(truth, [-truth], gaps, pixel)[0] == [0, 0, 0]


def test_the_best_is_chosen_separately_for_each_score():
    judgements = np.ones((3, 2, 4))
    judgements[1, 0], judgements[2, 1] = 0.5, 0.7
    judgements[0, :, 1:] = 0  # gaps and correlations are not used
    best, judgement = peers.best_of(judgements)
    assert best.tolist() == [1, 2]
    assert judgement.tolist() == [[0.5] * 4, [0.7] * 4]


def test_timings_are_interleaved():
    turns = []
    times = peers.race(lambda: turns.append("theirs"), lambda: turns.append("ours"), turns=4)
    assert turns == ["theirs", "ours"] * 4
    assert times.shape == (2, 2)
    assert (times[0] <= times[1]).all()
