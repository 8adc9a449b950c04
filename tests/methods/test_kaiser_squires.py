import astropy.units as u
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from astro_massmap import KaiserSquires, PowerSpectrum
from astro_massmap.inference import ConvergenceObservation, FourierGrid, LensingOperator, Observation, padded_shape
from astro_massmap.methods.kaiser_squires import _Inversion
from astro_massmap.simulation import lognormal_maps

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


def test_without_gaps_inpainting_changes_nothing():
    rng = np.random.default_rng(5)
    observation = Observation.from_arrays(rng.normal(size=(2, 20, 24)), rng.uniform(0.1, 0.3, (20, 24)), PIXEL)
    with pytest.warns(match="padding"):
        estimates = [KaiserSquires(padding=1, inpaint=n).solve(observation) for n in (0, 100)]
    for name in ("mean", "b_mode", "std", "b_std"):
        assert np.allclose(*(getattr(e, name) for e in estimates), rtol=1e-9, atol=1e-13)


def test_inpainting_works_for_maps_of_the_convergence():
    kappa = np.outer(np.ones(40), np.cos(np.arange(40) * np.pi / 10))
    noise_std = np.full((40, 40), 0.05)
    noise_std[12:19, 8:20] = np.inf
    observation = ConvergenceObservation.from_arrays(kappa, noise_std, PIXEL)
    zero, filled = (KaiserSquires(0.4 * u.arcmin, inpaint=n).solve(observation) for n in (0, 30))
    gap, truth = np.isinf(noise_std), np.exp(-0.5 * (np.pi / 10) ** 2) * kappa
    error, before = (np.sqrt(np.mean((e.mean - truth)[gap] ** 2)) for e in (filled, zero))
    assert error < before / 3
    assert filled.b_mode is None and filled.diagnostics["inpainted"] == gap.sum()
    assert np.isfinite(filled.std).all() and (filled.std > 0).all()


@pytest.mark.slow
def test_inpainting_of_the_footprint_of_a_field():
    """
    Shear of a lognormal field without noise: smaller errors of E, and a smaller B mode, in data and in gaps.

    For all of three mocks; the largest ratio of the errors is 0.70, and that of the B modes 0.20.
    """
    for seed in range(3):
        kappa = lognormal_maps(PowerSpectrum.default(), 1, (128, 128), PIXEL, seed=seed, dtype=torch.float64)[0]
        grid = FourierGrid((128, 128), PIXEL, dtype=torch.float64)
        shear = LensingOperator(grid).forward(grid.to_modes(kappa))[:, :64, :64].numpy()
        noise_std = np.full((64, 64), 1e-3)
        y, x = np.indices((64, 64))
        for cy, cx, radius in ((20, 20, 6), (45, 30, 4), (30, 50, 5), (8, 40, 3), (55, 55, 4)):
            noise_std[np.hypot(y - cy, x - cx) < radius] = np.inf
        observation = Observation.from_arrays(shear, noise_std, PIXEL)
        zero, filled = (KaiserSquires(inpaint=n).solve(observation) for n in (0, 60))
        truth = gaussian_filter(kappa.numpy(), 2.5, mode="wrap")[:64, :64]
        for part in (np.isinf(noise_std), np.isfinite(noise_std)):
            error, before = (np.std((e.mean - truth)[part]) for e in (filled, zero))
            assert error < 0.9 * before
            assert np.std(filled.b_mode[part]) < 0.5 * np.std(zero.b_mode[part])


@pytest.mark.slow
def test_the_noise_map_of_inpainted_maps_is_that_of_random_ellipticities():
    """
    Scatter of 24 maps of a cluster with noise against the noise map, in data and in gaps.

    The noise map is from eight maps without the cluster, with an error of 8 % of a pixel; the mean variance of a part
    of the field has some 10 % from either.
    """
    rng, shape = np.random.default_rng(2), (48, 48)
    y, x = np.indices(shape) - 24.0
    radius = np.hypot(x, y) + 3
    shear = -0.6 / radius * np.stack([x**2 - y**2, 2 * x * y]) / radius**2
    noise_std = np.full(shape, 0.15)
    for cy, cx in ((12, 12), (30, 35), (36, 14)):
        noise_std[np.hypot(y + 24 - cy, x + 24 - cx) < 5] = np.inf
    observation = Observation.from_arrays(shear, noise_std, PIXEL)
    estimate = KaiserSquires(inpaint=30).solve(observation)
    inversion = _Inversion(observation, np.radians(1 / 60), 2.0, torch.device("cpu"), 30)
    assert np.allclose(inversion.maps(observation.shear), [estimate.mean, estimate.b_mode])
    noisy = [observation.shear + 0.15 * torch.from_numpy(rng.normal(size=(2, *shape))) for _ in range(24)]
    variance = torch.stack([inversion.maps(g) for g in noisy]).var(dim=0).numpy()
    for mode, std in zip(variance, (estimate.std, estimate.b_std), strict=True):
        for part in (np.isinf(noise_std), np.isfinite(noise_std)):
            assert 0.8 < np.sqrt(mode[part].mean() / np.mean(std[part] ** 2)) < 1.25


@each_case(("inpaint", "error"), [(-1, ValueError), (1.5, TypeError), ("many", TypeError)])
def test_bad_inpainting(inpaint, error):
    with pytest.raises(error, match="inpaint"):
        KaiserSquires(inpaint=inpaint)
