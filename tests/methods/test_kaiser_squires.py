import astropy.units as u
import numpy as np
import pytest
import torch

from astro_massmap import KaiserSquires
from astro_massmap.inference import ConvergenceObservation, FourierGrid, Observation, padded_shape

from helpers.cases import each_case

SHAPE, PIXEL = (37, 42), 0.4 / 60 * np.pi / 180


@pytest.mark.slow
def test_the_noise_map_is_that_of_random_ellipticities():
    # standard deviation over 600 noise maps: 5 sigma of 2.9 % per pixel and mode (false alarm 1e-3 over 3000)
    rng = np.random.default_rng(0)
    noise_std = rng.uniform(0.05, 0.2, SHAPE)
    noise_std[10:16, 20:30] = np.inf
    method = KaiserSquires(smoothing=0.8 * u.arcmin)
    noise = np.where(np.isinf(noise_std), 0, noise_std)
    estimates = [
        method.solve(Observation.from_arrays(rng.normal(size=(2, *SHAPE)) * noise, noise_std, PIXEL))
        for _ in range(600)
    ]
    for mode, std in (("mean", "std"), ("b_mode", "b_std")):
        scatter = np.std([getattr(e, mode) for e in estimates], axis=0)
        assert np.abs(scatter / getattr(estimates[0], std) - 1).max() < 5 / np.sqrt(2 * 600)


def test_the_noise_map_is_the_sum_over_all_pixels():
    # one by one: the map of a unit shear in a pixel, squared, times the noise variance there
    rng = np.random.default_rng(3)
    noise_std = np.exp(rng.normal(size=(7, 8)) * 1.5)
    noise_std[2, 3:5] = np.inf
    method = KaiserSquires(smoothing=0.6 * u.arcmin)
    total = np.zeros((7, 8))
    for component in range(2):
        for pixel in np.argwhere(np.isfinite(noise_std)):
            unit = np.zeros((2, 7, 8))
            unit[(component, *pixel)] = noise_std[tuple(pixel)]
            total += method.solve(Observation.from_arrays(unit, noise_std, PIXEL)).mean ** 2
    assert np.allclose(method.solve(Observation.from_arrays(unit, noise_std, PIXEL)).std, np.sqrt(total), rtol=1e-9)


def test_pixels_with_low_noise_have_more_weight():
    # in a field of constant shear, except for one pixel with a wrong shear and high noise
    noise_std = np.full((31, 31), 0.1)
    noise_std[15, 15] = 1
    g = np.zeros((2, 31, 31))
    g[0, 15, 15] = 1
    method = KaiserSquires(smoothing=1 * u.arcmin)
    weighted, plain = (
        method.solve(Observation.from_arrays(g, n, PIXEL)).mean for n in (noise_std, np.full((31, 31), 0.1))
    )
    assert np.abs(weighted).max() < 0.02 * np.abs(plain).max()


def test_no_more_transforms_than_the_method_needs(monkeypatch):
    """
    In units of one two-dimensional transform of the box: two forward and back for the weights and the noise, and four
    for both components, with a quarter less for the empty half of the box, and half of one for each kernel: 7.5.
    """
    lines = []

    def counted(name, function, real):
        def transform(x, n=None, dim=-1, **options):
            result = function(x, n=n, dim=dim, **options)
            length = result.shape[dim] if real == "inverse" else (n or x.shape[dim])
            columns = (x if real == "forward" else result).numel() // (x if real == "forward" else result).shape[dim]
            lines.append(columns * length * (1 if real else 2))
            return result

        monkeypatch.setattr(torch.fft, name, transform)

    for name, real in (("fft", None), ("ifft", None), ("rfft", "forward"), ("irfft", "inverse")):
        counted(name, getattr(torch.fft, name), real)
    for name in ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn", "hfft", "ihfft"):
        monkeypatch.delattr(torch.fft, name)
    for shape in ((64, 60), (320, 300)):  # in one piece and in several
        ny, nx = padded_shape(shape, 2)
        lines.clear()
        KaiserSquires().solve(Observation.from_arrays(np.zeros((2, *shape)), np.ones(shape), PIXEL))
        assert sum(lines) / (nx * ny + 2 * ny * (nx // 2 + 1)) < 7.6
    assert len(FourierGrid(shape, PIXEL, (ny, nx)).pieces()) > 1


@pytest.mark.parametrize("kind", [Observation, ConvergenceObservation])
@pytest.mark.parametrize("padding", [1.8, 2])  # boxes of odd and of even sides
def test_the_map_agrees_with_plain_transforms_of_the_whole_box(kind, padding):
    rng, shape = np.random.default_rng(4), (15, 25)
    noise_std = rng.uniform(0.1, 0.3, shape)
    noise_std[3:6, 4:9] = np.inf
    data = rng.normal(size=(2, *shape)) if kind is Observation else rng.normal(size=shape)
    observation = kind.from_arrays(data, noise_std, PIXEL)
    estimate = KaiserSquires(smoothing=1 * u.arcmin, padding=padding).solve(observation)
    box = padded_shape(shape, padding)
    grid = FourierGrid(shape, PIXEL, box, dtype=torch.float64)
    operator = observation.operator(grid)
    window = np.exp(-0.5 * (np.radians(1 / 60) * grid.ell.numpy()) ** 2)
    p1, p2 = operator.p1.numpy(), operator.p2.numpy()

    def filtered(field, kernel):
        return np.fft.irfft2(kernel * np.fft.rfft2(field, s=box), s=box)[: shape[0], : shape[1]]

    weight = observation.weight.numpy()
    relative = np.divide(weight, np.maximum(filtered(weight, window), 1e-3 * weight), where=weight > 0, out=0 * weight)
    g1, g2 = relative * observation.shear.numpy()
    assert np.allclose(estimate.mean, filtered(g1, window * p1) + filtered(g2, window * p2), atol=1e-13)
    if kind is Observation:
        assert np.allclose(estimate.b_mode, filtered(g2, window * p1) - filtered(g1, window * p2), atol=1e-13)
    kernel = sum(np.fft.irfft2(window * p, s=box) ** 2 for p in (p1, p2))
    variance = filtered((relative * np.where(weight > 0, noise_std, 0)) ** 2, np.fft.rfft2(kernel))
    assert np.allclose(estimate.std, np.sqrt(variance), rtol=1e-9)


def test_without_smoothing_the_map_is_the_complex_inversion():
    rng = np.random.default_rng(1)
    g = rng.normal(size=(2, 15, 15))
    l1, l2 = np.meshgrid(np.fft.fftfreq(15), np.fft.fftfreq(15))
    square = np.where(l1**2 + l2**2 > 0, l1**2 + l2**2, 1)
    expected = np.fft.ifft2((l1 - 1j * l2) ** 2 / square * np.fft.fft2(g[0] + 1j * g[1]))
    with pytest.warns(match="padding"):
        method = KaiserSquires(smoothing=0 * u.arcmin, padding=1)
    estimate = method.solve(Observation.from_arrays(g, np.ones((15, 15)), PIXEL))
    assert np.allclose(estimate.mean, expected.real, atol=1e-12)
    assert np.allclose(estimate.b_mode, expected.imag, atol=1e-12)


def test_smoothing_is_the_standard_deviation_of_the_gaussian():
    from scipy.ndimage import gaussian_filter

    g = np.zeros((2, 61, 61))
    g[0, 30, 30] = 1
    sharp, soft = (
        KaiserSquires(smoothing=s * u.arcmin).solve(Observation.from_arrays(g, np.ones((61, 61)), PIXEL))
        for s in (0.4, 1.2)
    )
    between = gaussian_filter(sharp.mean, np.sqrt(3**2 - 1**2), truncate=6)
    assert np.allclose(soft.mean[20:41, 20:41], between[20:41, 20:41], atol=2e-5)


@each_case(
    ("options", "error"),
    [
        ({"smoothing": 1}, u.UnitsError),
        ({"smoothing": 1 * u.m}, u.UnitsError),
        ({"smoothing": -1 * u.arcmin}, ValueError),
        ({"smoothing": [1, 2] * u.arcmin}, ValueError),
        ({"smoothing": np.nan * u.arcmin}, ValueError),
    ],
)
def test_bad_smoothing(options, error):
    with pytest.raises(error, match="smoothing"):
        KaiserSquires(**options)
