"""Sums, differences and multiples of maps against known answers, and what is refused."""

import operator

import astropy.units as u
import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import ConvergenceMap, ShearMap, Wiener, datasets
from astro_massmap.cli import main

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = 12, 16
GRID = tan_wcs(SHAPE)
Z = np.linspace(0, 2, 81)


def n_z(mean):
    return Z, np.exp(-(((Z - mean) / 0.15) ** 2) / 2)


def kappa(seed=1, n=400, scale=1.0, **changes):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=SHAPE)
    samples = None if n is None else mean + scale * rng.normal(size=(n, *SHAPE))
    parts = {"wcs": GRID, "uncertainty": np.full(SHAPE, scale), "samples": samples, "mask": rng.random(SHAPE) < 0.2}
    parts |= {"b_mode": ConvergenceMap(rng.normal(size=SHAPE), wcs=GRID, uncertainty=np.full(SHAPE, 2.0))}
    return ConvergenceMap(mean, **parts | changes)


A, B = kappa(1, scale=3.0), kappa(2, scale=4.0)


@pytest.mark.parametrize(("operation", "sign"), [(operator.add, 1), (operator.sub, -1)])
def test_errors_of_independent_maps_add_in_quadrature(operation, sign):
    result = operation(A, B)
    assert np.array_equal(result.data, A.data + sign * B.data)
    assert np.allclose(result.uncertainty.array, 5)
    assert np.array_equal(result.mask, A.mask | B.mask)
    assert np.allclose(result.b_mode.data, A.b_mode.data + sign * B.b_mode.data)
    assert np.allclose(result.b_mode.uncertainty.array, np.sqrt(8))
    variance = result.samples.var(axis=0, ddof=1).mean()
    expected = A.samples.var(axis=0, ddof=1).mean() + B.samples.var(axis=0, ddof=1).mean()
    error = 2 * 3 * 4 / np.sqrt(400 * A.data.size)  # of the covariance of the two
    assert abs(variance - expected) < 4 * error
    assert np.allclose(result.samples.mean(axis=0), A.samples.mean(axis=0) + sign * B.samples.mean(axis=0))


def test_samples_of_the_same_seed_are_not_combined_in_order():
    shared = np.random.default_rng(5).normal(size=(400, *SHAPE))
    a, b = (ConvergenceMap(np.zeros(SHAPE), wcs=GRID, samples=shared) for _ in range(2))
    assert np.isclose((a - b).samples.var(), 2, rtol=0.05)  # 0 in order
    assert np.array_equal((a - b).samples, (a - b).samples)
    assert abs(a.subtract(b, paired=True).samples).max() == 0


def test_the_difference_of_a_map_and_itself_is_zero():
    zero = A.subtract(A, paired=True)
    assert not zero.data.any() and not zero.samples.any() and not zero.uncertainty.array.any()
    assert zero.b_mode is None
    twice = A.add(A, paired=True)
    assert np.array_equal(twice.samples, (2 * A).samples)
    assert np.allclose(twice.uncertainty.array, 2 * A.samples.std(axis=0, ddof=1))


def test_fewer_samples_and_none():
    assert len((A + kappa(3, n=20)).samples) == len((kappa(3, n=20) + A).samples) == 20
    assert (A + kappa(3, n=None)).samples is None
    assert (A + kappa(3, uncertainty=None)).uncertainty is None
    assert (A + kappa(3, b_mode=None)).b_mode is None


@each_case(
    ("operation", "factor"),
    [
        (lambda k: 2 * k, 2),
        (lambda k: k * 2, 2),
        (lambda k: np.float64(2) * k, 2),
        (lambda k: k * np.int32(2), 2),
        (lambda k: np.array(2.0) * k, 2),
        (lambda k: k * (200 * u.percent), 2),
        (lambda k: u.Quantity(2) * k, 2),
        (lambda k: k / 4, 0.25),
        (lambda k: k / np.float32(4), 0.25),
        (lambda k: -k, -1),
        (lambda k: +k, 1),
        (lambda k: k.multiply(np.full(SHAPE, 3.0)), 3),
        (lambda k: np.full(SHAPE, 3.0) * k, 3),
    ],
)
def test_multiples(operation, factor):
    result = operation(A)
    assert np.allclose(result.data, factor * A.data, rtol=1e-14)
    assert np.allclose(result.uncertainty.array, 3 * abs(factor))
    assert np.allclose(result.samples, factor * A.samples, rtol=1e-14)
    assert np.allclose(result.b_mode.data, factor * A.b_mode.data)
    assert np.array_equal(result.mask, A.mask) and result.unit == u.dimensionless_unscaled


@each_case(
    ("operation", "sign", "shift"),
    [
        (lambda k: k + 0.5, 1, 0.5),
        (lambda k: np.float64(0.5) + k, 1, 0.5),
        (lambda k: k - 0.5, 1, -0.5),
        (lambda k: 0.5 - k, -1, 0.5),
        (lambda k: np.full(SHAPE, 0.5) - k, -1, 0.5),
        (lambda k: k - B.data, 1, -B.data),
        (lambda k: sum([k]), 1, 0),
    ],
)
def test_numbers_are_exact(operation, sign, shift):
    result = operation(A)
    assert np.allclose(result.data, sign * A.data + shift)
    assert np.allclose(result.samples, sign * A.samples + shift)
    assert np.array_equal(result.uncertainty.array, A.uncertainty.array)
    assert np.array_equal(result.b_mode.data, sign * A.b_mode.data)


def test_maps_of_single_precision_stay_so():
    single = ConvergenceMap(A.data.astype(np.float32), wcs=GRID, samples=A.samples.astype(np.float32))
    for result in (2 * single, np.float64(2) * single, single / 3, single + 0.1, single - B.data, single + single / 2):
        assert result.data.dtype == result.samples.dtype == np.float32


def test_surface_densities():
    sigma = (kappa(1) * 0.1).surface_density(0.3, 1.0)
    critical = sigma.data[0, 0] / (0.1 * kappa(1).data[0, 0])
    shifted = sigma + critical * 1e-6 * u.Msun / u.pc**2
    assert np.allclose(shifted.data, sigma.data + critical) and shifted.unit == sigma.unit
    assert (sigma / 2).unit == sigma.unit
    assert np.array_equal(sum([sigma]).data, sigma.data)
    with pytest.raises(u.UnitsError, match=r"^other: needs a quantity in solMass / kpc2"):
        sigma + 1.0
    with pytest.raises(u.UnitsError, match=r"^other: needs the unit solMass / kpc2 of this map, got one"):
        sigma - A
    with pytest.raises(ValueError, match=r"^other: needs the same lens"):
        sigma - (kappa(1) * 0.1).surface_density(0.4, 1.0)


@each_case(
    ("operation", "error", "message"),
    [
        (
            lambda: A + kappa(2, wcs=tan_wcs(SHAPE, center=(150.1, 2.2)), b_mode=None),
            ValueError,
            "other: needs a map on",
        ),
        (
            lambda: A + kappa(2, wcs=tan_wcs(SHAPE, rotation=1), b_mode=None),
            ValueError,
            "other: needs a map on the same",
        ),
        (lambda: A + A[1:], ValueError, "other: needs a map on the same grid"),
        (lambda: A - A[1:].reproject_to(GRID, (12, 17)), ValueError, "other: needs a map on the same grid"),
        (lambda: kappa(1, n_z=n_z(0.8)) + kappa(2, n_z=n_z(1.0)), ValueError, "other: needs the same sources"),
        (
            lambda: kappa(1, meta={"lens": {"z_lens": 0.3}}) + kappa(2, meta={"lens": {"z_lens": 0.4}}),
            ValueError,
            "other: needs the same lens",
        ),
        (lambda: kappa(1, meta={"lens": {"z_lens": 0.3}}) + B, ValueError, "other: needs the same lens"),
        (lambda: A * B, TypeError, "factor: needs a number"),
        (lambda: A / B, TypeError, "divisor: needs a number"),
        (lambda: 2 / A, TypeError, "unsupported operand"),
        (lambda: np.float64(2) / A, TypeError, "unsupported operand"),
        (lambda: A * (2 * u.arcmin), u.UnitsError, "factor: "),
        (lambda: (2 * u.Msun) * A, u.UnitsError, "factor: "),
        (lambda: A + 2 * u.Msun, u.UnitsError, "other: "),
        (lambda: A + "2", TypeError, "other: needs a number"),
        (
            lambda: A + ShearMap(np.zeros((2, *SHAPE)), wcs=GRID, noise_std=np.ones(SHAPE)),
            TypeError,
            "other: needs a n",
        ),
        (lambda: A + np.zeros((3, 3)), ValueError, "other: needs one number or the shape"),
        (lambda: A * np.nan, ValueError, "factor: needs finite numbers"),
        (lambda: A / 0, ValueError, "divisor: needs numbers that are not zero"),
        (lambda: A.add(kappa(2, n=3), paired=True), ValueError, "paired: needs maps with the same number"),
        (lambda: A.add(kappa(2, n=None), paired=True), ValueError, "paired: needs maps with the same number"),
    ],
)
def test_what_is_refused(operation, error, message):
    with pytest.raises(error, match=f"^{message}"):
        operation()


def test_the_same_grid_written_otherwise_and_the_same_sources():
    other = tan_wcs(SHAPE)
    other.wcs.crval = [150.0 + 1e-9, 2.2]
    other.wcs.set()
    assert other.wcs.compare(GRID.wcs) is False
    assert (A + kappa(2, wcs=other)).shape == SHAPE
    result = kappa(1, n_z=n_z(0.8)) - kappa(2, n_z=n_z(0.81))
    assert np.array_equal(result.n_z[1], n_z(0.8)[1])
    for unknown in (A - kappa(2, n_z=n_z(0.8)), kappa(2, n_z=n_z(0.8)) - A):
        assert unknown.n_z is None


def test_maps_of_different_sources_are_combined_on_request():
    a = kappa(1, n_z=n_z(0.8), meta={"bin": 2, "field": "X", "lens": {"z_lens": 0.3}})
    b = kappa(2, n_z=n_z(1.2), meta={"bin": 4, "field": "X", "lens": {"z_lens": 0.3}})
    with pytest.raises(ValueError, match=r"use subtract\(other, same_sources=False\)"):
        a - b
    with pytest.raises(ValueError, match=r"use add\(other, same_sources=False\)"):
        a + kappa(2, meta={"lens": {"z_lens": 0.4}})
    for result, sign in ((a.subtract(b, same_sources=False), -1), (a.add(b, same_sources=False), 1)):
        assert np.array_equal(result.data, a.data + sign * b.data) and np.allclose(result.uncertainty.array, np.sqrt(2))
        assert result.n_z is None
        made = result.meta.pop("provenance")
        assert result.meta == {"field": "X"} and made["settings"]["same_sources"] is False
    with pytest.raises(ValueError, match=r"^other: needs a map on the same grid"):
        a.subtract(b[1:], same_sources=False)


def test_an_array_may_be_of_other_galaxies():
    a = kappa(1, meta={"bin": 2, "n_galaxies": 3, "galaxies_per_arcmin2": 5.0, "field": "X"})
    assert set((a - B.data).meta) == {"field", "provenance"}
    assert (a - 0.01).meta["bin"] == 2


def test_records_and_files(tmp_path, capsys):
    meta = {"field": "X", "n_galaxies": 3, "provenance": {"method": "Wiener", "input": {"sha256": "a"}}}
    a = kappa(1, n=8, meta=meta, diagnostics={"fit": {"chi2": 1.0}, "acceptance": 0.7})
    b = kappa(2, n=8, meta=meta | {"n_galaxies": 4, "provenance": {"method": "X", "input": {"sha256": "b"}}})
    difference = (a - b) / 2
    assert difference.diagnostics == {"method": "divide", "settings": {"other": "2"}}
    made = difference.meta.pop("provenance")
    assert difference.meta == {"field": "X"}
    assert made["method"] == "divide" and made["of_input"]["settings"] == {"other": "ConvergenceMap", "paired": False}
    assert [made["of_input"][key]["method"] for key in ("of_input", "of_other")] == ["Wiener", "X"]
    difference.meta["provenance"] = made
    difference.write(tmp_path / "d.fits")
    again = ConvergenceMap.read(tmp_path / "d.fits")
    for name in ("data", "mask", "samples", "meta", "diagnostics"):
        assert np.array_equal(getattr(again, name), getattr(difference, name)), name
    assert np.array_equal(again.uncertainty.array, difference.uncertainty.array)
    assert np.array_equal(again.b_mode.data, difference.b_mode.data)
    assert main(["info", str(tmp_path / "d.fits")]) == 0
    assert "divide" in capsys.readouterr().out
    with pytest.warns(AstropyUserWarning, match="with a Gaussian prior"):  # of one of the maps
        again.surface_density(0.3, 1.0)


def test_maps_of_the_same_data_are_not_independent():
    shear = datasets.demo()[::8].to_map(pixel_scale=3.2 * u.arcmin)
    a, b = (shear.reconstruct(Wiener(n_samples=4, seed=seed), progress=False) for seed in (0, 1))
    for one, other in ((a, b), (a, a), (a / 2 + 1, b)):
        with pytest.warns(
            AstropyUserWarning, match="^other: was made from the same data .* subtract.other, paired=True"
        ):
            one - other
    a.subtract(b, paired=True)
    first, second = (datasets.demo()[i::16].to_map(wcs=shear.wcs) for i in (0, 1))
    first, second = (s.reconstruct(Wiener(n_samples=4), progress=False) for s in (first, second))
    assert (first - second).samples.shape == (4, *shear.shape)
