"""Mock surveys of a catalogue: files, comparisons with known results, and the command."""

import dataclasses
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable, Table
from scipy.ndimage import convolve1d

from astro_massmap import (
    AnnealedHMC,
    ConvergenceMap,
    GaussianPrior,
    KaiserSquires,
    PowerSpectrum,
    ShearCatalog,
    ShearMap,
    Wiener,
)
from astro_massmap.cli import main
from astro_massmap.inference import FourierGrid, LensingOperator, padded_shape
from astro_massmap.methods import Estimate
from astro_massmap.plotting import plot_validation
from astro_massmap.simulation import MapSet
from astro_massmap.simulation.mock_survey import shear_field
from astro_massmap.validation import MockSurveys, compare, read_mocks, run_mocks
from astro_massmap.validation.comparison import _intervals_of
from astro_massmap.validation.diagnostics import coverage
from astro_massmap.validation.mock_files import settings_of
from astro_massmap.validation.replicates import jackknife

from helpers import small_priors
from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

pytestmark = pytest.mark.filterwarnings("ignore:level=0.[69]\\d*. needs at least")
ARCMIN = np.radians(1 / 60)
SIDE, WHOLE = 32, 48
# coverage of intervals of 68, 90, 95 %, with data and in gaps: the last two reach from the lowest to the highest of 16
INTERVALS_OF_16 = np.array([0.68, 15 / 17, 15 / 17] * 2)


def gaussian_maps(n, side, seed, period=96):
    """Cuts of periodic Gaussian fields with the default spectrum, pixels of 1 arcmin."""
    ell = 2 * np.pi * np.hypot(*np.meshgrid(*[np.fft.fftfreq(period, ARCMIN)] * 2))
    ell[0, 0] = ell[0, 1]
    white = np.fft.fft2(np.random.default_rng(seed).normal(size=(n, period, period)))
    return np.fft.ifft2(white * np.sqrt(PowerSpectrum.default()(ell)) / ARCMIN).real[:, :side, :side]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of four boxes of four maps, and a catalogue with a hole."""
    folder = tmp_path_factory.mktemp("validation")
    (folder / "maps").mkdir()
    for box in range(4):
        np.save(folder / "maps" / f"box_{box}.npy", gaussian_maps(4, WHOLE, box).astype(np.float32))
    rng, coords = np.random.default_rng(5), scatter(tan_wcs((SIDE, SIDE), scale=1.0), (SIDE, SIDE), 6000, seed=6)
    coords = coords[coords.separation(tan_wcs((SIDE, SIDE), scale=1.0).pixel_to_world(8, 20)) > 4 * u.arcmin]
    catalog = ShearCatalog(coords, *rng.normal(scale=0.2, size=(2, len(coords))), axes="west-north")
    table = catalog.to_table()
    table["good"] = np.arange(len(table)) % 2 == 0
    table.write(folder / "survey.ecsv")
    return folder


@pytest.fixture(scope="module")
def maps(folder):
    return MapSet.open(folder / "maps", pixel_scale=1 * u.arcmin)


@pytest.fixture(scope="module")
def catalog(folder):
    return ShearCatalog.read(folder / "survey.ecsv", axes="west-north")


@pytest.fixture(scope="module")
def right():
    """24 mocks drawn from the Gaussian model, on the box of the method, and samples of the exact posterior."""
    grid = FourierGrid((SIDE, SIDE), ARCMIN, padded_shape((SIDE, SIDE), 2.0), dtype=torch.float64)
    spread = GaussianPrior().on(grid).variance.sqrt()
    mask = np.hypot(*(np.mgrid[:SIDE, :SIDE] - 20)) < 6
    truths, kappas, wcs = [], [], tan_wcs((SIDE, SIDE), scale=1.0)
    for i in range(24):
        rng = np.random.default_rng([11, i])
        modes = spread * grid.to_modes(torch.from_numpy(rng.normal(size=grid.box_shape)))
        shear = LensingOperator(grid).forward(modes).numpy() + 0.05 * rng.normal(size=(2, SIDE, SIDE))
        truths.append(ConvergenceMap(grid.to_field(modes).numpy(), wcs=wcs, mask=mask))
        seen = ShearMap(shear, wcs=wcs, noise_std=0.05, mask=mask)
        kappas.append(seen.reconstruct(Wiener(n_samples=16, seed=100 + i), progress=False))
    return truths, kappas


def point(kappa, data=None):
    return ConvergenceMap(kappa.data if data is None else data, wcs=kappa.wcs, mask=kappa.mask)


def with_samples(kappa, samples):
    return ConvergenceMap(samples.mean(axis=0), wcs=kappa.wcs, mask=kappa.mask, samples=samples)


@pytest.fixture(scope="module")
def comparison(right):
    truths, kappas = right
    narrow = [with_samples(k, k.data + 0.5 * (k.samples - k.data)) for k in kappas]
    return compare(truths, {"wiener": [point(k) for k in kappas], "gaussian": kappas, "narrow": narrow})


# ---- comparisons


def cells(comparison, method, part):
    """Values and errors of the rows with this prefix."""
    rows = [str(quantity).startswith(part) for quantity in comparison.table["quantity"]]
    return np.array(comparison.table[method][rows]), np.array(comparison.table[f"{method} error"][rows])


@pytest.mark.slow
def test_a_correct_posterior(comparison):
    # one of six fractions exceeds 3.8 standard errors of 24 mocks (Student's t) in 0.6 % of all cases
    value, error = cells(comparison, "gaussian", "coverage")
    assert (np.abs(value - INTERVALS_OF_16) < 3.8 * error).all() and (error < 0.05).all()
    # three p-values below 0.01: 3 %; the seeds are fixed
    assert cells(comparison, "gaussian", "p-value")[0].min() > 0.01
    # power of samples: nine ratios within four standard errors
    value, error = cells(comparison, "gaussian", "power of samples")
    known = np.isfinite(value)
    assert known.sum() > 5 and (np.abs(value - 1) < 4 * error)[known].all()
    # scatter of summaries, MIRA and CRPS: eight values exceed 3.8 standard errors (Student's t) in 0.8 % of all cases;
    # the CRPS of Gaussian samples is 1 / sqrt(2) of the mean absolute error of their exact mean
    for part, expected in (("covariance", 1), ("posterior variance", 1), ("MIRA", 1), ("CRPS", 0.5**0.5)):
        value, error = cells(comparison, "gaussian", part)
        assert (np.abs(value - expected) < 3.8 * error).all(), part


@pytest.mark.slow
def test_a_narrow_posterior(comparison):
    value, error = cells(comparison, "narrow", "coverage")
    draws = np.random.default_rng(4).normal(size=(20000, 17))
    alone = coverage(0.5 * draws[:, 1:], draws[:, 0], (0.68, 0.9, 0.95))["coverage"]
    assert value == pytest.approx([*alone, *alone], abs=0.06)
    assert (value < INTERVALS_OF_16 - 4 * error).all()
    assert cells(comparison, "narrow", "p-value of ranks")[0][0] == 0.001
    assert cells(comparison, "narrow", "p-value of TARP")[0][0] == 0.01
    assert cells(comparison, "narrow", "power of samples")[0][0] < 0.9
    for part in ("covariance over mocks / truth, band", "posterior variance / squared error, band", "MIRA"):
        value, error = cells(comparison, "narrow", part)
        assert value < 1 - 4 * error, part
    value, error = comparison.difference("narrow", "gaussian")
    row = list(comparison.table["quantity"]).index("CRPS / Wiener, smoothed")
    assert value[row] > 4 * error[row]  # a proper score is lowest for the true posterior
    # differences of the same mocks are known better than those of independent ones
    errors = [cells(comparison, name, "CRPS")[1][0] for name in ("gaussian", "narrow")]
    assert error[row] < 0.7 * np.hypot(*errors)


@pytest.mark.slow
def test_the_wiener_filter_is_compared_with_itself(comparison):
    for where in ("with data", "in gaps"):
        value, error = cells(comparison, "wiener", f"RMSE / Wiener, {where}")
        assert value[0] == 1 and error[0] == 0
    # without samples: NaN, and blank in the text
    assert np.isnan(cells(comparison, "wiener", "coverage")[0]).all()
    text = comparison.text()
    assert list(text.colnames) == ["quantity", "wiener", "gaussian", "narrow"]
    assert text["wiener"][0] == "1" and "" in text["wiener"] and "+-" in text["gaussian"][0]


@each_case(
    ("n", "expected"),
    [
        (39, ("with 39 samples", "levels 0.95, 0.9, 0.85, ... end at samples;", "contains 0.95 of the truths.")),
        (19, ("levels 0.9, 0.8, 0.7, ... end", "contains 0.9 of the truths, the expected coverage of 95%.")),
        (7, ("levels 0.75, 0.5, 0.25 end at samples;", "0.75 of the truths, the expected coverage of 90%, 95%.")),
        (3, ("levels 0.5 end at samples. The", "0.5 of the truths, the expected coverage of 68%, 90%, 95%.")),
        (2, ("levels 0.333 end at samples. The", "0.333 of the truths, the expected coverage of 68%, 90%, 95%.")),
    ],
)
def test_the_levels_of_intervals_of_few_samples(n, expected):
    line = _intervals_of(n)
    assert all(text in line for text in expected), line
    draws = np.random.default_rng(0).normal(size=(4000, n + 1))
    widest = (draws[:, :n].min(axis=1) < draws[:, n]) & (draws[:, n] < draws[:, :n].max(axis=1))
    assert widest.mean() == pytest.approx((n - 1) / (n + 1), abs=0.03)


@pytest.mark.slow
def test_the_scatter_of_few_samples_is_subtracted(right):
    truths, kappas = right
    few = [with_samples(k, k.samples[:3]) for k in kappas]
    made = compare(truths, {"wiener": [point(k) for k in kappas], "few": few})
    # without the correction, the RMSE of the mean of three samples is sqrt(4 / 3) = 1.15 of that of the exact mean
    value, error = cells(made, "few", "RMSE")
    assert (np.abs(value - 1) < 3.5 * error).all() and (error < 0.03).all()
    uncorrected = compare(truths, {"wiener": [point(k) for k in kappas], "few": [point(k) for k in few]})
    assert cells(uncorrected, "few", "RMSE")[0][:2] == pytest.approx([1.155, 1.155], abs=0.03)
    for quantity, within in (
        ("power of map / truth, ell 300 to 4500", 0.15),
        ("correlation", 0.05),
        ("std of map", 0.05),
    ):
        exact, corrected = (cells(made, name, quantity)[0][0] for name in ("wiener", "few"))
        assert corrected == pytest.approx(exact, rel=within)
        assert abs(cells(uncorrected, "few", quantity)[0][0] - exact) > abs(corrected - exact)


@pytest.mark.slow
def test_samples_equal_to_the_truth(right):
    truths, kappas = right
    same = [with_samples(t, np.stack([t.data] * 4)) for t in truths]
    made = compare(truths, {"wiener": [point(k) for k in kappas], "same": same})
    ones = ("correlation", "power", "std", "skewness", "peaks")
    value = np.concatenate([cells(made, "same", part)[0] for part in ones])
    assert np.allclose(value[np.isfinite(value)], 1) and np.isfinite(value).sum() > 20
    assert np.allclose(cells(made, "same", "RMSE")[0], 0, atol=1e-7)
    assert cells(made, "same", "distance")[0][0] < 1e-12 and cells(made, "same", "p-value of the distance")[0][0] == 1


@pytest.mark.slow
def test_shifted_samples(right):
    truths, kappas = right
    shifted = [with_samples(k, k.samples + 0.02) for k in kappas]
    made = compare(truths, {"wiener": [point(k) for k in kappas], "shifted": shifted})
    assert cells(made, "shifted", "distance")[0][0] > 0.2
    assert cells(made, "shifted", "p-value of the distance")[0][0] == 0.001


@pytest.mark.slow
def test_quantities_by_hand(right, comparison):
    truths, kappas = right
    seen = ~truths[0].mask
    a, b = (np.stack([k.data[seen] - k.data[seen].mean() for k in maps]) for maps in (kappas, truths))
    expected = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
    assert cells(comparison, "wiener", "correlation")[0][0] == pytest.approx(expected, rel=1e-6)


def test_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(1).normal(size=12)
    value, error = jackknife(lambda s: s["x"] / s["n"], {"x": x, "n": np.ones(12)})
    assert value[0] == pytest.approx(x.mean())
    assert error[0] == pytest.approx(x.std(ddof=1) / np.sqrt(12))
    assert np.isnan(jackknife(lambda s: s["x"], {"x": x[:1]})[1][0])


@pytest.mark.slow
def test_one_mock_has_no_errors_and_a_field_without_gaps_no_scores_of_gaps(right):
    truths, kappas = ([ConvergenceMap(k.data, wcs=k.wcs, samples=k.samples) for k in maps[:1]] for maps in right)
    made = compare(truths, {"wiener": [point(kappas[0])], "gaussian": kappas})
    assert np.isfinite(cells(made, "gaussian", "coverage of 68%, with data")[0]).all()
    assert np.isnan(cells(made, "gaussian", "coverage of 68%, in gaps")[0]).all()
    assert np.isnan(cells(made, "gaussian", "RMSE / Wiener, in gaps")[0]).all()
    assert np.isnan(cells(made, "gaussian", "RMSE")[1]).all()
    assert "+-" not in made.text()["gaussian"][0]
    plot_validation(made)  # without TARP, which needs three mocks


@pytest.mark.slow
def test_wrong_comparisons(right):
    truths, kappas = right
    with pytest.raises(ValueError, match="truths: need at least one"):
        compare([], {"wiener": []})
    with pytest.raises(ValueError, match="wiener: needs to be one of gaussian"):
        compare(truths, {"gaussian": kappas})
    with pytest.raises(ValueError, match="maps: need no samples or at least two, got one in those of 'one'"):
        compare(truths, {"wiener": kappas, "one": [with_samples(k, k.samples[:1]) for k in kappas]})
    with pytest.raises(ValueError, match="maps: need one map per truth, got 23 of 'wiener' and 24"):
        compare(truths, {"wiener": kappas[1:]})
    with pytest.raises(ValueError, match="truths: need fields of at least 11 pixels"):
        compare([truths[0][:8, :20]], {"wiener": [kappas[0][:8, :20]]})


@pytest.mark.slow
def test_the_figure(comparison):
    figure = plot_validation(comparison)
    assert len(figure.axes) == 6
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["wiener", "gaussian", "narrow", "truth", "map without samples"]
    drawn = [line for line in figure.axes[1].get_lines() if len(line.get_xdata()) == 8]
    assert np.allclose(drawn[0].get_ydata(), cells(comparison, "gaussian", "power of samples")[0][1:], equal_nan=True)


# ---- mocks and their files


def test_a_mock_is_the_middle_of_a_larger_map(maps, catalog):
    truth, shear = MockSurveys(catalog, maps, size=SIDE)[3]
    assert np.array_equal(truth.data, maps[3][8:40, 8:40])
    # no data where the catalogue has no galaxies
    assert 0.03 < truth.mask.mean() < 0.2 and np.array_equal(truth.mask, shear.mask)
    assert np.array_equal(catalog.to_map(wcs=truth.wcs, shape=truth.shape).mask, truth.mask)


def test_the_shear_of_a_mock_includes_matter_beyond_the_field(maps):
    wcs, n = tan_wcs((SIDE, SIDE), scale=1.0), 60000
    small = np.full(n, 1e-7)  # ellipticities: no noise
    coords = scatter(wcs, (SIDE, SIDE), n, seed=6)
    still = ShearCatalog(coords, small, small, axes="west-north", shape_noise=0.2)
    _, shear = MockSurveys(still, maps, size=SIDE)[3]

    def smoothed(field):  # like bilinear interpolation at a high density of galaxies
        return convolve1d(convolve1d(field, np.array([1, 6, 1]) / 8, axis=0), np.array([1, 6, 1]) / 8, axis=1)

    def off(field):
        return np.linalg.norm(shear.data[0] + 1j * shear.data[1] - field) / np.linalg.norm(field)

    assert off(smoothed(shear_field(maps[3]))[8:40, 8:40]) < 0.07  # 0.04, from the Poisson noise of the positions
    assert off(smoothed(shear_field(maps[3][8:40, 8:40]))) > 0.2


def test_mocks_differ_in_noise_and_drop_galaxies_outside_the_maps(maps):
    wide = scatter(tan_wcs((100, 100), scale=1.0), (100, 100), 3000, seed=8)
    many = ShearCatalog(wide, *np.random.default_rng(3).normal(scale=0.2, size=(2, 3000)), axes="west-north")
    mocks = MockSurveys(many, maps, size=SIDE)
    assert len(mocks.catalog) == pytest.approx(3000 * 0.48**2, rel=0.1)
    (_, first), (_, second) = mocks[0], mocks[1]
    noise = np.corrcoef(first.data[0][~first.mask], second.data[0][~first.mask])[0, 1]
    assert abs(noise) < 0.2
    assert len({MockSurveys(many, maps, size=SIDE, seed=s).seed_of(i) for s in (0, 1) for i in (0, 1)}) == 4


METHODS = {"kaiser_squires": KaiserSquires(smoothing=2 * u.arcmin), "gaussian": Wiener(n_samples=4)}


@pytest.mark.slow
def test_an_interrupted_run_continues(maps, catalog, tmp_path, monkeypatch):
    mocks, solve, calls = MockSurveys(catalog, maps, size=SIDE), Wiener.solve, []

    def killed(self, observation, **options):
        calls.append(self.seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return solve(self, observation, **options)

    monkeypatch.setattr(Wiener, "solve", killed)
    with pytest.raises(KeyboardInterrupt):
        run_mocks(mocks, METHODS, tmp_path / "killed", numbers=range(3), progress=False)
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "killed").iterdir()}
    assert len(kept) == 5
    assert len(read_mocks(mocks, METHODS, tmp_path / "killed", numbers=range(3))[0]) == 1
    run_mocks(mocks, METHODS, tmp_path / "killed", numbers=range(3), progress=False)
    assert calls == [0, 1, 1, 2]
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    run_mocks(mocks, METHODS, tmp_path / "whole", numbers=[2, 1], progress=False)  # work divided among processes
    run_mocks(mocks, METHODS, tmp_path / "whole", numbers=[0], progress=False)
    results = [read_mocks(mocks, METHODS, tmp_path / name, numbers=range(3)) for name in ("killed", "whole")]
    for first, second in zip(*(truths for truths, _ in results), strict=True):
        assert np.array_equal(first.data, second.data)
    for name in METHODS:
        for first, second in zip(*(kappas[name] for _, kappas in results), strict=True):
            assert np.array_equal(first.data, second.data) and np.array_equal(first.samples, second.samples)
    assert results[0][1]["gaussian"][0].samples.dtype == np.float32
    run_mocks(mocks, {}, tmp_path / "killed", numbers=range(3), progress=False)  # nothing is left to do
    assert len(calls) == 7


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("method", {"methods": {"gaussian": Wiener(n_samples=5)}}),
        ("size", {"size": 30}),
        ("seed", {"seed": 1}),
        ("catalog", {"catalog": slice(None, None, 2)}),
        ("map", {"maps": slice(1, None)}),
    ],
)
def test_files_with_other_settings_are_refused(maps, catalog, tmp_path, what, changed):
    run_mocks(MockSurveys(catalog, maps, size=SIDE), {"gaussian": Wiener(n_samples=4)}, tmp_path, numbers=[0],
              progress=False)  # fmt: skip
    before = sorted((file, file.stat().st_mtime_ns) for file in tmp_path.iterdir())
    other = MockSurveys(
        catalog[changed.get("catalog", slice(None))],
        maps.select(changed.get("maps", slice(None))),
        size=changed.get("size", SIDE),
        seed=changed.get("seed", 0),
    )
    methods = changed.get("methods", {"gaussian": Wiener(n_samples=4)})
    with pytest.raises(ValueError, match=rf"folder: .* was made with other settings \(.*{what}"):
        run_mocks(other, methods, tmp_path, numbers=[0], progress=False)
    assert sorted((file, file.stat().st_mtime_ns) for file in tmp_path.iterdir()) == before


def test_networks_of_the_same_size_have_different_settings(maps, catalog):
    mocks = MockSurveys(catalog, maps, size=SIDE)
    first, same, other = (settings_of(mocks, 0, AnnealedHMC(small_priors.prior(seed))) for seed in (0, 0, 1))
    assert first == same and first["method"] == other["method"] and first["numbers"] != other["numbers"]


@dataclasses.dataclass(frozen=True)
class Older:
    width: float = 2.0

    def solve(self, observation, *, progress=False):
        return Estimate(self.width * observation.shear[0].numpy(), None)


@dataclasses.dataclass(frozen=True)
class Newer(Older):
    turns: int = 0
    seed: int = 0


Newer.__qualname__ = Newer.__name__ = "Older"


def test_files_made_before_an_option_existed_are_valid_while_it_has_its_default(maps, catalog, tmp_path):
    mocks = MockSurveys(catalog, maps, size=SIDE)
    run_mocks(mocks, {"mine": Older()}, tmp_path, numbers=[1], progress=False)
    assert len(read_mocks(mocks, {"mine": Newer()}, tmp_path, numbers=[1])[0]) == 1
    for other in (Newer(turns=1), Newer(width=3.0)):
        with pytest.raises(ValueError, match="was made with other settings"):
            read_mocks(mocks, {"mine": other}, tmp_path, numbers=[1])


def test_spectra_of_the_same_name_have_different_settings(maps, catalog):
    mocks, theory = MockSurveys(catalog, maps, size=SIDE), PowerSpectrum.default()
    other = PowerSpectrum(theory.ell, 1.01 * theory.cl, name=theory.name)
    first, second = (settings_of(mocks, 0, Wiener(spectrum)) for spectrum in (theory, other))
    assert first["method"] == second["method"] and first["numbers"] != second["numbers"]
    with pytest.raises(TypeError, match="methods: need objects with a method solve"):
        settings_of(mocks, 0, object())


def test_wrong_mocks(maps, catalog, tmp_path):
    with pytest.raises(TypeError, match="catalog: needs a ShearCatalog, got QTable"):
        MockSurveys(QTable(), maps)
    with pytest.raises(ValueError, match="size: needs to be at most 48"):
        MockSurveys(catalog, maps, size=49)
    with pytest.raises(ValueError, match="size: needs to be at least 9"):
        MockSurveys(catalog, maps, size=8)
    with pytest.raises(TypeError, match="seed"):
        MockSurveys(catalog, maps, size=SIDE, seed=0.5)
    with pytest.raises(ValueError, match=r"numbers: need to be from 0 to 15, .*\[16\]"):
        run_mocks(MockSurveys(catalog, maps, size=SIDE), {}, tmp_path, numbers=[0, 16])
    with pytest.raises(ValueError, match=r"numbers: .*\[\]"):
        run_mocks(MockSurveys(catalog, maps, size=SIDE), {}, tmp_path, numbers=[])


# ---- the command


def validate(folder, *arguments):
    return main(["validate", str(folder / "survey.ecsv"), "--axes", "west-north", "--maps", str(folder / "maps"),
                 "--pixel-scale", "1 arcmin", "--size", "32", "--samples", "3", "--mocks", "4", "--prior", "gaussian",
                 "--quiet", "-o", "out", *arguments])  # fmt: skip


@pytest.mark.slow
def test_the_command_and_a_method_added_later(folder, capsys):
    few = ["--select", "good", "--methods", "kaiser_squires,wiener"]
    assert validate(folder, *few, "--only", "0:2") == 0
    assert "2 of 4 mocks" in capsys.readouterr().out
    assert validate(folder, *few, "--only", "2:") == 0
    assert "RMSE / Wiener" in capsys.readouterr().out
    assert validate(folder, "--select", "good", "--methods", "wiener,gaussian,annealed_hmc") == 0
    names = {file.name for file in Path("out").iterdir()}
    assert {f"mock_00{i}_{n}.fits" for i in range(4) for n in ("truth", "gaussian", "annealed_hmc")} <= names
    assert len(names) == 4 * 4 + 4
    table = QTable.read("out/validation.ecsv")
    assert table.colnames[1::2] == ["wiener", "gaussian", "annealed_hmc"] and table.meta["mocks"] == 4
    rmse = dict(zip(table["quantity"], table["annealed_hmc"], strict=True))["RMSE / Wiener, with data"]
    assert 0.7 < rmse < 1.3
    text = Table.read("out/validation.rst", format="ascii.rst")
    assert text.colnames == ["quantity", "wiener", "gaussian", "annealed_hmc"] and len(text) == len(table)
    assert Path("out/validation.png").read_bytes()[:4] == b"\x89PNG"
    printed = capsys.readouterr().out
    assert validate(folder, "--select", "good", "--methods", "wiener,gaussian,annealed_hmc") == 0
    assert capsys.readouterr().out == printed
    # another catalogue
    assert validate(folder, "--methods", "wiener") == 1
    assert "was made with other settings" in capsys.readouterr().err


@each_case(
    ("arguments", "message"),
    [
        (["--samples", "1"], "--samples: needs at least 2"),
        (["--mocks", "0"], "--mocks: needs at least 1"),
        (["--methods", "wiener,magic"], "posterior_mean,gaussian,posterior_diffusion,annealed_hmc, got magic"),
        (["--size", "64"], "size: needs to be at most 48"),
        (["--only", "7:"], "--only: needs some of the mocks 0 to"),
        (["--methods", "wiener", "--schedule", "fast"], "--schedule: only for annealed_hmc"),
        (["--network", "none.safetensors"], "none.safetensors"),
        (["--methods", "posterior_mean", "--network", "none.safetensors"], "none.safetensors"),
    ],
)
def test_wrong_commands(folder, capsys, arguments, message):
    assert validate(folder, *arguments) == 1
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_missing_arguments_are_errors(folder, capsys):
    assert main(["validate"]) == 1
    assert "CATALOG: needed" in capsys.readouterr().err
    assert main(["validate", str(folder / "survey.ecsv"), "--axes", "west-north", "-o", "out"]) == 1
    assert "--maps: needed" in capsys.readouterr().err
    for wrong in ("3", "a:b"):
        with pytest.raises(SystemExit):
            validate(folder, "--only", wrong)


@pytest.mark.parametrize("name", ["ks wide/2", "../up", "truth", ""])
def test_names_that_are_no_parts_of_files_are_errors(maps, catalog, tmp_path, name):
    with pytest.raises(ValueError, match="methods: names are parts of file names"):
        run_mocks(MockSurveys(catalog, maps, size=SIDE), {name: Wiener(n_samples=0)}, tmp_path, progress=False)
