"""
Power spectra of masked skies with known power.

A band power is quadratic in the map. Its expectation over Gaussian skies of covariance L L^T is therefore the sum over
the columns of L as maps, so that most of these tests are exact to rounding, without random numbers.
"""

from itertools import pairwise

import astropy.units as u
import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st

from astro_massmap import PowerSpectrum
from astro_massmap.analysis.angular_power import (
    _Bands,
    _coupling,
    _window,
    default_edges,
    power_spectrum,
    spectrum_table,
)

from helpers.cases import each_case

PIXEL = np.radians(0.4 / 60)


def rng(seed=0):
    return np.random.default_rng(seed)


def holes(shape, n, radius, seed=0):
    """Mask with round holes and an irregular edge."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = (x < 0.1 * shape[1] * (1 + np.sin(y / 5))) | (y > 0.95 * shape[0])
    for row, column in zip(*rng(seed).uniform(0, np.array(shape)[:, None], (2, n)), strict=True):
        mask |= np.hypot(y - row, x - column) < radius
    return mask


def multipoles(shape):
    ly, lx = (2 * np.pi * np.fft.fftfreq(side, PIXEL) for side in shape)
    return np.hypot(ly[:, None], lx)


def sky(n, shape, spectrum, seed=0):
    """Gaussian maps, cut out of periodic maps of three times the side."""
    large = tuple(3 * side for side in shape)
    ell = multipoles(large)
    ell[0, 0] = ell[0, 1]
    amplitude, random = np.sqrt(spectrum(ell)) / PIXEL, rng(seed)
    fields = (np.fft.ifft2(np.fft.fft2(random.normal(size=large)) * amplitude).real for _ in range(n))
    return np.array([field[: shape[0], : shape[1]] for field in fields])


def columns(power, shape):
    """Maps whose sum of outer products is the pixel covariance of a periodic box with this power of its modes."""
    box = power.shape
    spikes = np.eye(box[0] * box[1]).reshape(-1, *box)
    return np.fft.ifft2(np.fft.fft2(spikes) * np.sqrt(power)).real[:, : shape[0], : shape[1]] / PIXEL


# ---- expectations, exactly


@given(
    shape=st.tuples(st.integers(5, 13), st.integers(5, 13)),
    seed=st.integers(0, 99),
    taper=st.sampled_from([0, None, 1.5 * PIXEL, 4 * PIXEL]),
)
def test_white_noise_is_recovered_exactly_with_any_mask(shape, seed, taper):
    mask = rng(seed).random(shape) < 0.15
    spikes = np.eye(shape[0] * shape[1]).reshape(-1, *shape)
    cl = power_spectrum(spikes, mask, PIXEL, apodization=taper).cl
    assert np.allclose(cl.sum(axis=0), PIXEL**2, rtol=1e-9)


@pytest.mark.parametrize("edges", [[3000, 6000, 9000, 15000], [9000, 12000, 20000]])
def test_a_steep_piecewise_constant_spectrum_is_recovered_exactly(edges):
    shape = (16, 12)
    box = tuple(2 * side for side in shape)
    bands = _Bands(shape, PIXEL, np.array(edges, dtype=float))
    assert bands.box == box
    steps = 1e-9 * 0.05 ** np.arange(len(bands))  # also of the bands below and above those that are requested
    half = np.append(steps, 7e-9)[bands.number]  # the last value is that of k = 0, which must have no effect
    power = np.concatenate([half, np.roll(half[::-1], 1, axis=0)[:, -2:0:-1]], axis=1)
    maps = columns(power, shape)
    for mask in (np.zeros(shape, dtype=bool), rng().random(shape) < 0.1):
        cl = power_spectrum(maps, mask, PIXEL, edges).cl.sum(axis=0)
        assert np.allclose(cl, bands.requested(steps), rtol=1e-6)


def dense_coupling(window, box, number, n_bands):
    """Mode coupling of all modes of the box, by dense matrices: cut, windowed, mean subtracted."""
    indices = [np.arange(side) for side in box]
    fourier = np.kron(*(np.exp(-2j * np.pi * np.outer(k, k) / len(k)) / np.sqrt(len(k)) for k in indices))
    w = np.zeros(box)
    w[: window.shape[0], : window.shape[1]] = window
    w = w.ravel()
    seen = np.diag(w) @ (np.eye(len(w)) - np.outer(np.ones(len(w)), w) / w.sum())
    response = np.abs(fourier @ seen @ fourier.conj().T) ** 2
    number = number.ravel()
    return [
        [response[np.ix_(number == b, number == c)].sum() / (number == b).sum() for c in range(n_bands)]
        for b in range(n_bands)
    ]


@pytest.mark.parametrize("shape", [(6, 8), (9, 7)])
def test_the_coupling_agrees_with_dense_matrices(shape):
    window = _window(rng(3).random(shape) > 0.2, 1.0)
    bands = _Bands(shape, PIXEL, np.array([6000.0, 12000, 20000]))
    edges = default_edges(shape, PIXEL)
    ell = multipoles(bands.box)
    below, above = edges[edges <= 6000 - edges[0]], edges[edges >= 20000 + edges[0]]
    number = np.digitize(ell, [*below, 6000, 12000, 20000, *above])
    number[0, 0] = 99
    _, number = np.unique(number, return_inverse=True)
    expected = dense_coupling(window, bands.box, number, len(bands))
    assert np.allclose(_coupling(window, bands), expected, atol=1e-12)


# ---- realistic skies


@pytest.mark.slow
def test_a_masked_sky_has_the_power_of_theory_and_a_sky_fraction_does_not_suffice():
    shape, spectrum = (128, 128), PowerSpectrum.default()
    mask = holes(shape, 50, 3.5)
    assert 0.2 < mask.mean() < 0.35
    maps = sky(200, shape, spectrum)
    low, high, ell, cl = power_spectrum(maps, mask, PIXEL)
    modes = multipoles((256, 256))
    expected = np.array([spectrum(modes[(modes >= a) & (modes < b)]).mean() for a, b in zip(low, high, strict=True)])
    error = cl.std(axis=0, ddof=1) / np.sqrt(len(cl))
    # The spectrum varies within bands: 1 %, and 3 % on scales as large as the field. Beyond that 4 standard errors,
    # which one of 11 bands exceeds by chance in 1 of 1000 skies.
    slack = np.where(ell < 1000, 0.03, 0.01) * expected
    assert np.all(np.abs(cl.mean(axis=0) - expected) < slack + 4 * error)

    seen = np.where(mask, 0, maps)
    power = (np.abs(np.fft.fft2(seen)) ** 2).mean(axis=0) * PIXEL**2 / (~mask).sum()
    modes = multipoles(shape)
    naive = np.array([power[(modes >= a) & (modes < b)].mean() for a, b in zip(low, high, strict=True)])
    assert (np.abs(naive - expected) > slack + 6 * error).sum() >= 4


def test_a_plane_wave_has_all_its_variance_in_its_band():
    y, x = np.mgrid[:128, :128] * 2 * np.pi / 128
    wave = 0.02 * np.cos(9 * x - 7 * y + 0.3)  # 11.4 periods along the field
    longest = 2 * np.pi / (128 * PIXEL)
    edges = longest * np.array([1, 8, 15, 40])
    cl = power_spectrum([wave], np.zeros((128, 128), dtype=bool), PIXEL, edges, apodization=16 * PIXEL).cl[0]
    modes = multipoles((128, 128))
    in_band = ((modes >= edges[1]) & (modes < edges[2])).sum()
    variance = cl[1] * in_band / (128 * PIXEL) ** 2
    assert abs(variance / (0.02**2 / 2) - 1) < 0.1  # a plane wave is not statistically homogeneous, unlike a sky
    assert np.abs(cl[[0, 2]]).max() < 0.1 * cl[1]


def test_the_window_falls_along_holes_and_edges():
    used = np.ones((9, 20), dtype=bool)
    used[4, 12] = False
    assert np.array_equal(_window(used, 0), used)
    rise = (1 - np.cos(np.pi * np.arange(4) / 3)) / 2
    window = _window(used, 2)
    assert np.allclose(window[4, :6], [rise[1], rise[2], 1, 1, 1, 1])
    assert np.allclose(window[4, 9:16], [1, rise[2], rise[1], 0, rise[1], rise[2], 1])


# ---- invariances


def test_the_mean_and_masked_values_have_no_effect():
    shape = (32, 40)
    mask = holes(shape, 4, 2.5)
    maps = rng().normal(size=(3, *shape))
    expected = power_spectrum(maps, mask, PIXEL).cl
    assert np.allclose(power_spectrum(maps + 50.0, mask, PIXEL).cl, expected, rtol=1e-6)
    assert np.allclose(power_spectrum(maps + 1e6 * mask, mask, PIXEL).cl, expected)
    hidden = np.where(mask, np.nan, maps)
    assert np.allclose(power_spectrum(hidden, mask, PIXEL).cl, expected)
    assert np.allclose(power_spectrum(hidden, np.zeros_like(mask), PIXEL).cl, expected)


def test_a_pixel_missing_in_one_map_is_left_out_of_all():
    maps = rng().normal(size=(2, 20, 20))
    mask = np.zeros((20, 20), dtype=bool)
    mask[4, 5] = True
    torn = maps.copy()
    torn[1, 4, 5] = np.inf
    assert np.allclose(power_spectrum(torn, np.zeros_like(mask), PIXEL).cl, power_spectrum(maps, mask, PIXEL).cl)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8"])
def test_all_numeric_types(dtype):
    maps = rng().normal(size=(2, 20, 24)).astype(np.float32)
    mask = np.zeros((20, 24), dtype=bool)
    assert np.array_equal(power_spectrum(maps.astype(dtype), mask, PIXEL).cl, power_spectrum(maps, mask, PIXEL).cl)


# ---- bands


@given(shape=st.tuples(st.integers(4, 400), st.integers(4, 400)))
def test_default_edges_cover_all_scales_without_empty_bands(shape):
    edges = default_edges(shape, PIXEL)
    assert np.isclose(edges[0], 2 * np.pi / (np.sqrt(shape[0] * shape[1]) * PIXEL))
    assert np.isclose(edges[-1], np.pi / PIXEL)
    # as wide as the fundamental mode, so that each band contains modes of the field; one band is up to 11 % narrower
    # in six of these shapes, such as 6 x 17, of all that have sides of 4 to 400 pixels
    assert np.diff(edges[:-1]).min(initial=edges[0]) > 0.89 * edges[0]
    if min(shape) > 8:
        modes = multipoles(shape)
        assert np.histogram(modes, edges)[0].min() >= 4


def test_bands_have_the_mean_ell_of_their_modes_and_are_nan_without_modes():
    shape = (32, 32)
    edges = [10, 20, 4000, 8000, 1e6, 2e6]
    low, high, ell, cl = power_spectrum(rng().normal(size=(2, *shape)), np.zeros(shape, dtype=bool), PIXEL, edges)
    assert np.array_equal(low, edges[:-1]) and np.array_equal(high, edges[1:])
    assert np.array_equal(np.isnan(cl), [[True, False, False, False, True]] * 2)
    modes = multipoles((64, 64))
    modes[0, 0] = -1
    expected = [modes[(modes >= a) & (modes < b)].mean() for a, b in pairwise(edges[1:5])]
    assert np.allclose(ell[1:4], expected) and np.isnan(ell[[0, 4]]).all()


MASK = np.zeros((16, 16), dtype=bool)
MAPS = np.ones((1, 16, 16))


@each_case(
    ("arguments", "message"),
    [
        ((MAPS[0], MASK, PIXEL), "maps"),
        (([], MASK, PIXEL), "maps"),
        (([MAPS[0], MAPS[0, 1:]], MASK, PIXEL), "maps"),
        ((MAPS[:, :2, :2], MASK[:2, :2], PIXEL), "maps: need 4 x 4 pixels"),
        ((MAPS, MASK[1:], PIXEL), "mask"),
        ((MAPS, ~MASK, PIXEL), "needs pixels that are used"),
        ((np.nan * MAPS, MASK, PIXEL), "needs pixels that are used"),
        ((MAPS, MASK, 0.0), "pixel_size"),
        ((MAPS, MASK, PIXEL, [2000, 1000]), "edges"),
        ((MAPS, MASK, PIXEL, [2000]), "edges"),
        ((MAPS, MASK, PIXEL, [-1, np.nan]), "edges"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        power_spectrum(*arguments)


def test_a_single_pixel_does_not_determine_the_bands():
    mask = ~MASK
    mask[8, 8] = False
    with pytest.raises(ValueError, match="use wider bands"):
        power_spectrum(rng().normal(size=(1, 16, 16)), mask, PIXEL)
    with pytest.raises(ValueError, match="apodization"):
        power_spectrum(MAPS, MASK, PIXEL, apodization=-1)


# ---- the table


def test_the_table_is_of_the_map_and_its_samples():
    samples = rng().normal(size=(20, 24, 24)).astype(np.float32)
    mask = np.zeros((24, 24), dtype=bool)
    mask[3:6, 3:9] = True
    mean = samples.mean(axis=0)
    edges = [2000, 5000, 10000]
    table = spectrum_table(mean, samples, mask, PIXEL, edges, level=0.5)
    cl = power_spectrum(samples, mask, PIXEL, edges).cl
    assert table.colnames == ["low", "high", "ell", "cl", "cl_samples", "std", "lower", "upper"]
    assert np.allclose(table["cl"], power_spectrum(mean[None], mask, PIXEL, edges).cl[0])
    assert np.allclose(table["cl_samples"], cl.mean(axis=0))
    assert np.allclose(table["std"], cl.std(axis=0, ddof=1))
    assert np.allclose([table["lower"], table["upper"]], np.quantile(cl, [0.25, 0.75], axis=0, method="weibull"))
    assert table.meta["level"] == 0.5 and table.meta["n_samples"] == 20


def test_a_table_of_few_samples_or_none():
    image = rng().normal(size=(24, 24))
    mask = np.zeros((24, 24), dtype=bool)
    table = spectrum_table(image, None, mask, PIXEL)
    assert np.isfinite(table["cl"]).all()
    assert all(np.isnan(table[name]).all() for name in ("cl_samples", "std", "lower", "upper"))
    with pytest.warns(AstropyUserWarning, match="level=0.68: needs at least 6 samples, got 1"):
        one = spectrum_table(image, image[None], mask, PIXEL)
    assert np.allclose(one["cl_samples"], one["cl"]) and np.allclose(one["upper"], one["cl"])
    assert np.isnan(one["std"]).all()
    with pytest.raises(ValueError, match="level"):
        spectrum_table(image, None, mask, PIXEL, level=68)


def test_units_are_converted():
    mask, maps = np.zeros((32, 32), dtype=bool), rng().normal(size=(2, 32, 32))
    plain = power_spectrum(maps, mask, PIXEL)
    assert np.allclose(power_spectrum(maps, mask, 0.4 * u.arcmin).cl, plain.cl)
    assert np.allclose(default_edges((32, 32), 0.4 * u.arcmin), default_edges((32, 32), PIXEL))
    with pytest.raises(u.UnitsError, match="edges: needs to be dimensionless"):
        power_spectrum(maps, mask, PIXEL, [500, 1000] * u.deg)
    with pytest.raises(u.UnitsError, match="pixel_size"):
        power_spectrum(maps, mask, 0.4 * u.kg)
    with pytest.raises(ValueError, match="pixel_size: needs a positive angle in radians"):
        power_spectrum(maps, mask, 0.4)
