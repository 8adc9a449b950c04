"""Band powers through masks: against theory, a dense coupling matrix, and the naive estimate that fails."""

import numpy as np
import pytest

from astro_massmap import PowerSpectrum
from astro_massmap.angular_power import power_spectrum, spectrum_table

PIXEL = 0.4 * np.pi / 180 / 60
EDGES = [300, 800, 1500, 3000, 6000, 12000, 24000]


def skies(spectrum, n, side, cut, seed=0):
    """Gaussian skies of a spectrum, periodic on ``side`` pixels, cut down so that their edges are not."""
    ell = 2 * np.pi * np.hypot(*np.meshgrid(*[np.fft.fftfreq(side, PIXEL)] * 2))
    ell[0, 0] = ell[0, 1]
    white = np.random.default_rng(seed).normal(size=(n, side, side))
    return np.fft.ifft2(np.sqrt(spectrum(ell)) / PIXEL * np.fft.fft2(white)).real[:, :cut, :cut]


def holes(side, seed=0):
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:side, :side]
    mask = x > 0.8 * side
    for cx, cy, r in zip(*rng.uniform(0, side, (2, 8)), rng.uniform(3, 8, 8), strict=True):
        mask |= np.hypot(x - cx, y - cy) < r
    return mask


def expected(spectrum, edges, side):
    """The mean of the spectrum over the modes of the bands of a box."""
    ell = 2 * np.pi * np.hypot(*np.meshgrid(*[np.fft.fftfreq(2 * side, PIXEL)] * 2)).ravel()
    return [spectrum(ell[(ell >= a) & (ell < b)]).mean() for a, b in zip(edges, edges[1:], strict=False)]


def test_a_steep_spectrum_comes_out_of_a_mask():
    spectrum, mask = PowerSpectrum.default(), holes(96)
    maps = skies(spectrum, 200, 256, 96)
    edges, ell, cl = power_spectrum(maps, mask, PIXEL, EDGES)
    mean, error = cl.mean(axis=0), cl.std(axis=0) / np.sqrt(len(cl))
    # five bands within 4 standard errors and 3 % for the slope within bands: a false alarm in 1 of 3000 seeds
    truth = expected(spectrum, EDGES, 96)
    assert (np.abs(mean - truth) < 4 * error + 0.03 * mean)[1:].all()
    assert ((ell > EDGES[:-1]) & (ell < EDGES[1:])).all()


def test_power_does_not_leak_from_large_scales_to_small_ones():
    # C ~ ell^-3: without a window and the coupling there is two to three times too much
    spectrum, mask = PowerSpectrum([100, 1e5], [1e-6, 1e-15]), holes(96)
    maps = skies(spectrum, 200, 256, 96)
    cl, truth = power_spectrum(maps, mask, PIXEL, EDGES)[2].mean(axis=0), expected(spectrum, EDGES, 96)
    naive = np.abs(np.fft.fft2(maps * ~mask)) ** 2 / (~mask).mean() / mask.size * PIXEL**2
    k = 2 * np.pi * np.hypot(*np.meshgrid(*[np.fft.fftfreq(96, PIXEL)] * 2))
    for band, (low, high) in enumerate(zip(EDGES[3:], EDGES[4:], strict=False), start=3):
        # 6 %: the spectrum is not constant within a band, as is assumed; the errors of the mean are 2 % at most
        assert abs(cl[band] / truth[band] - 1) < 0.06
        assert naive[:, (k > low) & (k < high)].mean() > 2 * truth[band]


def test_white_noise_is_white_in_every_band():
    maps = np.random.default_rng(1).normal(size=(300, 48, 60))
    edges, _, cl = power_spectrum(maps, holes(60)[:48], PIXEL)
    mean, error = cl.mean(axis=0) / PIXEL**2, cl.std(axis=0) / np.sqrt(len(cl)) / PIXEL**2
    # twelve bands within 4 standard errors: a false alarm in 1 of 1300 seeds. The lowest loses some to the mean
    assert (np.abs(mean - 1) < 4 * error)[1:].all()
    assert len(edges) == 13


def test_the_coupling_is_that_of_dense_matrices():
    # the expected power of a band, from the covariance of the windowed pixels of a field with power in one band
    from astro_massmap.angular_power import _averages, _coupling, _window

    shape, rng = (6, 7), np.random.default_rng(2)
    mask = np.zeros(shape, dtype=bool)
    mask[2:4, 3] = True
    box = (12, 14)
    ell = 2 * np.pi * np.hypot(np.fft.fftfreq(12)[:, None], np.fft.fftfreq(14))
    averages = _averages(ell, np.array([0.5, 1.2, 2.5]))
    window = _window(mask) * rng.uniform(0.5, 1, shape)
    padded = np.zeros(box)
    padded[:6, :7] = window
    dft = np.kron(np.fft.fft(np.eye(12)), np.fft.fft(np.eye(14)))
    mixed = dft @ np.diag(padded.ravel()) @ np.linalg.inv(dft)  # modes of w kappa from those of kappa
    of_one_mode = np.abs(mixed) ** 2 * mask.size * 4
    dense = averages @ of_one_mode @ (averages.toarray() > 0).T
    assert np.allclose(_coupling(window, averages, box), dense, rtol=1e-10)


def test_the_table_and_its_samples():
    maps = skies(PowerSpectrum.default(), 30, 128, 64)
    table = spectrum_table(maps.mean(axis=0), maps, np.zeros((64, 64), dtype=bool), PIXEL, EDGES)
    cl = power_spectrum(maps, None, PIXEL, EDGES)[2]
    assert np.allclose(table["cl_samples"], cl.mean(axis=0))
    assert np.allclose(table["std"], cl.std(axis=0, ddof=1))
    assert (table["lower"] < table["upper"]).all()
    alone = spectrum_table(maps[0], None, None, PIXEL, EDGES)
    assert np.allclose(alone["cl"], cl[0]) and np.isnan(alone["cl_samples"]).all()


def test_pixels_that_are_not_finite_count_as_masked():
    maps, mask = skies(PowerSpectrum.default(), 2, 128, 64), holes(64)
    spoiled = np.where(mask, np.nan, maps)
    assert np.allclose(power_spectrum(spoiled, None, PIXEL)[2], power_spectrum(maps, mask, PIXEL)[2])


@pytest.mark.parametrize(
    ("edges", "message"),
    [([1, 2], "holds no mode"), ([5000], "increasing"), ([3000, 2000], "increasing"), ([3000, 3001, 3002], "mode")],
)
def test_bands_that_make_no_sense(edges, message):
    with pytest.raises(ValueError, match=f"edges: .*{message}"):
        power_spectrum(np.zeros((1, 32, 32)), None, PIXEL, edges)


def test_a_map_without_pixels():
    with pytest.raises(ValueError, match="mask: no pixel"):
        power_spectrum(np.zeros((1, 8, 8)), np.ones((8, 8), dtype=bool), PIXEL)
