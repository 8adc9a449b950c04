"""Benchmarks, maps of other codes, and scores: the same numbers as a comparison, and clear errors."""

import shutil
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from astro_massmap import ConvergenceMap, KaiserSquires, PowerSpectrum, ShearCatalog, Wiener
from astro_massmap.cli import main
from astro_massmap.cli.validate import known_methods
from astro_massmap.methods import METHODS
from astro_massmap.simulation import MapSet
from astro_massmap.validation import (
    Benchmark,
    MockSurveys,
    Scores,
    compare,
    read_mocks,
    run_mocks,
    score,
    write_benchmark,
)

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

pytestmark = pytest.mark.filterwarnings("ignore:level=0.[69]\\d*. needs at least")
SIDE, WHOLE, N = 24, 32, 4
WCS = tan_wcs((SIDE, SIDE), scale=1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four mocks of three maps, a folder of their maps by two methods, and a benchmark with two labels."""
    folder = tmp_path_factory.mktemp("scores")
    (folder / "maps").mkdir()
    rng = np.random.default_rng(3)
    for box in range(3):
        np.save(folder / "maps" / f"box_{box}.npy", rng.normal(scale=0.03, size=(WHOLE, WHOLE)).astype(np.float32))
    coords = scatter(WCS, (SIDE, SIDE), 2500, seed=6)
    coords = coords[coords.separation(WCS.pixel_to_world(8, 16)) > 3 * u.arcmin]
    catalog = ShearCatalog(coords, *rng.normal(scale=0.2, size=(2, len(coords))), axes="west-north")
    catalog.to_table().write(folder / "survey.ecsv")
    maps = MapSet.open(folder / "maps", pixel_scale=1 * u.arcmin)
    mocks = MockSurveys(catalog, maps, size=SIDE, n_mocks=N)
    methods = {"kaiser_squires": KaiserSquires(smoothing=2 * u.arcmin), "gaussian": Wiener(n_samples=4)}
    run_mocks(mocks, methods, folder / "run", progress=False)
    truths, kappas = read_mocks(mocks, methods, folder / "run")
    write_benchmark(folder / "benchmark", mocks, kappas["gaussian"], label="white", progress=False)
    return folder, mocks, truths, kappas


def copied(made):
    """Copy the benchmark to the current folder, and return its path."""
    shutil.copytree(made[0] / "benchmark", "benchmark")
    return Path("benchmark")


def written(folder, kappas):
    """Write maps as another program would: the convergence first, without names."""
    Path(folder).mkdir(parents=True)
    for i, kappa in enumerate(kappas):
        hdus = [fits.PrimaryHDU(kappa.data, kappa.wcs.to_header())]
        if kappa.samples is not None:
            hdus.append(fits.ImageHDU(kappa.samples))
        fits.HDUList(hdus).writeto(Path(folder) / f"mock_{i:03d}.fits")
    return folder


# ---- more mocks than maps


def test_more_mocks_than_maps_are_turned(made):
    _, mocks, truths, _ = made
    edge = (WHOLE - SIDE) // 2
    middle = np.s_[edge : edge + SIDE, edge : edge + SIDE]
    assert np.array_equal(truths[0].data, mocks.maps[0][middle])
    assert np.array_equal(truths[3].data, np.rot90(mocks.maps[0])[middle])
    assert mocks.truths[0] == mocks.truths[3] and len(set(mocks.truths)) == 3
    many = MockSurveys(mocks.catalog, mocks.maps, size=SIDE, n_mocks=24)
    ways = {many[3 * turn][0].data.tobytes() for turn in range(8)}
    assert len(ways) == 8
    (_, first), (_, second) = many[0], MockSurveys(mocks.catalog, mocks.maps, size=SIDE)[0]
    assert np.array_equal(first.data, second.data)
    # the settings of mocks of new maps are those of before, so that their files stay valid
    assert "turn" not in many.settings(2) and many.settings(3)["turn"] == 1
    assert len({many.settings(i)["seed"] for i in range(24)}) == 24
    with pytest.raises(IndexError, match="mocks: need a number from 0 to 23, got 24"):
        many[24]


# ---- scores


def test_scores_of_a_benchmark_are_those_of_the_comparison(made):
    folder, mocks, truths, kappas = made
    wiener = [ConvergenceMap(k.data, wcs=k.wcs, uncertainty=k.uncertainty) for k in kappas["gaussian"]]
    expected = compare(truths, {"wiener": wiener, **kappas}, groups=mocks.truths).table
    found = score(folder / "benchmark", folder / "run").table
    for name in ("wiener", "kaiser_squires", "gaussian"):
        for column in (name, f"{name} error"):
            assert np.allclose(found[column], expected[column], rtol=1e-6, atol=1e-9, equal_nan=True), column


def test_maps_of_other_programs_have_the_same_scores(made):
    folder, _, _, kappas = made
    written("mine", kappas["gaussian"])
    written("mean", [ConvergenceMap(k.data, wcs=k.wcs) for k in kappas["gaussian"]])
    ours, other = (score(folder / "benchmark", maps) for maps in (folder / "run", "mine"))
    assert other.names == ["wiener", "mine"]
    same = ours.table["gaussian"] == other.table["mine"]
    cost = ["seconds" in q for q in ours.table["quantity"]]
    assert (same | np.isnan(ours.table["gaussian"]) | cost).all()
    # the mean of the exact samples is the Wiener filter itself
    alone = score(folder / "benchmark", {"mine": "mean"}).table
    assert np.allclose(alone["mine - wiener"][:3], 0, atol=1e-12)
    given = score(folder / "benchmark", {"mine": kappas["gaussian"]}).table
    assert np.array_equal(given["mine"][~np.array(cost)], other.table["mine"][~np.array(cost)], equal_nan=True)


def test_paired_errors_are_smaller(made):
    folder, _, truths, _ = made
    benchmark = Benchmark.open(folder / "benchmark")
    wiener = [benchmark.wiener(i) for i in range(N)]
    better = [ConvergenceMap(w.data + 0.02 * (t.data - w.data), wcs=w.wcs) for w, t in zip(wiener, truths, strict=True)]
    table = score(benchmark, {"better": better}).table
    row = [q.startswith("correlation") for q in table["quantity"]].index(True)
    seen = [~t.mask for t in truths]

    def correlation(maps, left_out=()):
        pairs = [[k.data[s] - k.data[s].mean(), t.data[s] - t.data[s].mean()]
                 for i, (k, t, s) in enumerate(zip(maps, truths, seen, strict=True)) if i not in left_out]  # fmt: skip
        a, b = (np.concatenate([p[i] for p in pairs]) for i in (0, 1))
        return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())

    # mocks 0 and 3 have the same truth, and are left out together
    left = [correlation(better, out) - correlation(wiener, out) for out in ((0, 3), (1,), (2,))]
    assert table["better - wiener"][row] == pytest.approx(correlation(better) - correlation(wiener), rel=1e-6)
    assert table["better - wiener error"][row] == pytest.approx(np.sqrt(2) * np.std(left), rel=1e-6)
    assert table["better - wiener error"][row] < table["better error"][row] / 3


def test_labels(made):
    folder, mocks, _, kappas = made
    benchmark = copied(made)
    write_benchmark(benchmark, mocks, kappas["gaussian"][:2], label="other", numbers=[0, 1], progress=False)
    assert list(Benchmark.open(benchmark).table["mock"]) == [*range(N + 2)]
    both = [*kappas["gaussian"], *kappas["gaussian"][:2]]
    found = score(benchmark, {"mine": both})
    assert list(dict.fromkeys(found.table["truths"])) == ["all", "white", "other"]
    part = found.table[found.table["truths"] == "white"]
    alone = score(folder / "benchmark", {"mine": kappas["gaussian"]}).table
    assert np.allclose(part["mine"], alone["mine"], equal_nan=True)
    assert "truths of other" in str(found)
    with pytest.raises(ValueError, match="label: 'other' is in 'benchmark'"):
        write_benchmark(benchmark, mocks, kappas["gaussian"], label="other", progress=False)
    theory = PowerSpectrum.default()
    other = PowerSpectrum(theory.ell, 1.1 * theory.cl)
    write_benchmark("new", mocks, kappas["gaussian"], label="a", spectrum=theory, progress=False)
    assert np.allclose(PowerSpectrum.read("new/spectrum.ecsv").cl, theory.cl, rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match="spectrum: needs to be that in 'new'"):
        write_benchmark("new", mocks, kappas["gaussian"], label="b", spectrum=other, progress=False)
    smaller = MockSurveys(mocks.catalog, mocks.maps, size=SIDE - 2)
    with pytest.raises(ValueError, match="mocks: need the grid of those in 'benchmark'"):
        write_benchmark(benchmark, smaller, Wiener(), label="small", progress=False)


def test_scores_of_others_in_one_table(made):
    folder, _, _, kappas = made
    first, second = (score(folder / "benchmark", {name: kappas["gaussian"]}) for name in ("mine", "theirs"))
    first.write("mine.ecsv"), second.write("theirs.ecsv")
    both = Scores.read("mine.ecsv").join(Scores.read("theirs.ecsv"))
    assert both.names == ["wiener", "mine", "theirs"]
    assert np.array_equal(both.table["theirs"], both.table["mine"], equal_nan=True)
    with pytest.raises(ValueError, match="scores: 'mine' is the name of two methods"):
        first.join(first)
    part = score(folder / "benchmark", {"part": kappas["gaussian"][:3]}, numbers=range(3))
    with pytest.raises(ValueError, match="scores: need the same"):
        first.join(part)
    second.table.meta["benchmark"] = "another"
    with pytest.raises(ValueError, match="scores: need the same benchmark"):
        first.join(second)
    with pytest.raises(ValueError, match="is no file of scores"):
        Scores.read(folder / "benchmark" / "mocks.ecsv")


@pytest.mark.slow
def test_the_command(made, capsys):
    folder, _, _, kappas = made
    benchmark = str(folder / "benchmark")
    written("mine", kappas["kaiser_squires"])
    assert main(["score", benchmark, "mine", f"own={folder / 'run'}/../run", "-o", "x.ecsv"]) == 1
    assert "has maps of gaussian, kaiser_squires, but none of 'own'" in capsys.readouterr().err
    assert main(["score", benchmark, "mine", "-o", "mine.ecsv", "--plot", "mine.png"]) == 0
    assert main(["score", benchmark, str(folder / "run"), "mine.ecsv", "-o", "all.ecsv"]) == 0
    assert Scores.read("all.ecsv").names == ["wiener", "gaussian", "kaiser_squires", "mine"]
    assert "paired errors" in capsys.readouterr().out and Path("mine.png").exists()
    assert main(["score", benchmark, "mine", "--mocks", ":3"]) == 0
    assert main(["score", benchmark, "mine", "-o", "mine.ecsv"]) == 1
    assert "give --overwrite to replace it" in capsys.readouterr().err


def damage(file, how):
    with fits.open(file) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()
    if how == "shape":
        data = data[:-1]
    elif how == "nan":
        data[3, 4] = np.nan
    elif how == "shifted":
        header["CRPIX1"] += 1
    elif how == "no wcs":
        header = None
    elif how == "samples":
        fits.HDUList([fits.PrimaryHDU(data, header), fits.ImageHDU(np.zeros((3, *data.shape)))]).writeto(
            file, overwrite=True
        )
        return
    fits.PrimaryHDU(data, header).writeto(file, overwrite=True)


@each_case(
    ("how", "message"),
    [
        ("shape", r"maps: mock 2 of 'mine' needs the shape \(24, 24\) of the mock, got \(23, 24\)"),
        ("nan", "mock_002.fits' needs to be finite, also in pixels without data, but 1 pixels are not"),
        ("shifted", "maps: mock 2 of 'mine' needs the WCS of the mock"),
        ("no wcs", "mock_002.fits' needs the WCS of the mock in the header"),
        ("samples", "same number of samples in all mocks of 'mine', got 0 in mock 0 and 3 in mock 2"),
        ("missing", "maps: 'mine' has no map of 1 of 4 mocks: 2"),
    ],
)
def test_wrong_maps(made, how, message):
    folder, _, _, kappas = made
    written(f"{how}/mine", kappas["kaiser_squires"])
    file = Path(f"{how}/mine/mock_002.fits")
    if how == "missing":
        file.unlink()
    else:
        damage(file, how)
    with pytest.raises(ValueError, match=message):
        score(folder / "benchmark", f"{how}/mine")


def test_wrong_folders(made):
    folder, mocks, _, kappas = made
    with pytest.raises(OSError, match="folder: 'nothing' contains no benchmark"):
        Benchmark.open("nothing")
    with pytest.raises(OSError, match="maps: 'nothing' does not exist"):
        score(folder / "benchmark", "nothing")
    with pytest.raises(OSError, match="contains no files such as mock_000"):
        score(folder / "benchmark", folder / "maps")
    with pytest.raises(ValueError, match="'wiener' cannot be the name of a method"):
        score(folder / "benchmark", {"wiener": kappas["gaussian"]})
    with pytest.raises(ValueError, match=r"numbers: need to be some of the 4 mocks of the benchmark, got \[7\]"):
        score(folder / "benchmark", {"mine": kappas["gaussian"]}, numbers=[0, 7])
    with pytest.raises(ValueError, match="wiener: needs one map for each of 4 mocks, got 3"):
        write_benchmark("new", mocks, kappas["gaussian"][:3])


# ---- methods of the user


class Own:
    """A method that is neither a dataclass nor a function."""

    def __init__(self, factor):
        self.factor = factor

    def solve(self, observation, *, progress=False):
        from astro_massmap.methods import Estimate

        return Estimate(self.factor * observation.shear[0].numpy(), None)


def test_objects_and_functions_are_methods(made, tmp_path):
    _, mocks, _, _ = made
    methods = {"own": Own(0.5), "half": lambda observation: observation.shear[0].numpy() / 2}
    run_mocks(mocks, methods, tmp_path / "own", numbers=[0], progress=False)
    _, kappas = read_mocks(mocks, methods, tmp_path / "own", numbers=[0])
    assert np.array_equal(kappas["own"][0].data, kappas["half"][0].data)
    with pytest.raises(ValueError, match="was made with other settings"):
        run_mocks(mocks, methods | {"own": Own(0.6)}, tmp_path / "own", numbers=[0], progress=False)


@pytest.mark.slow
def test_the_command_exports_a_benchmark_and_maps_it_by_own_code(made, capsys, monkeypatch):
    folder, *_ = made
    Path("own_validated_code.py").write_text("def halved(observation):\n    return observation.shear[0] / 2\n")
    monkeypatch.syspath_prepend(".")
    command = ["validate", str(folder / "survey.ecsv"), "--axes", "west-north", "--maps", str(folder / "maps"),
               "--pixel-scale", "1 arcmin", "--size", str(SIDE), "--samples", "2", "--mocks", "4", "--prior",
               "gaussian", "--validation", "1", "--quiet", "-o", "out"]  # fmt: skip
    export = ["--export", "bench", "--label", "white"]
    assert main([*command, "--methods", "own_validated_code.halved", *export]) == 0
    assert "4 mocks of 3 maps" in capsys.readouterr().out
    assert list(Benchmark.open("bench").table["truths"]) == ["white"] * 4
    assert main([*command, "--methods", "kaiser_squires", *export]) == 0  # maps of another method in the same benchmark
    assert sorted(file.name for file in Path("bench/maps").iterdir()) == ["halved", "kaiser_squires"]
    capsys.readouterr()
    assert main(["score", "bench", "-o", "first.ecsv"]) == 0
    assert main(["score", "bench", "out", "-o", "second.ecsv"]) == 0
    first, second = Scores.read("first.ecsv"), Scores.read("second.ecsv")
    assert first.names == ["wiener", "halved", "kaiser_squires"] and "gaussian" in second.names
    assert all(np.array_equal(first.table[n], second.table[n], equal_nan=True) for n in first.names)
    # other mocks of the same label
    assert main([*command[:-1], "other", "--seed", "1", "--methods", "kaiser_squires", *export]) == 1
    assert "--label: the mocks 'white' in 'bench' are others" in capsys.readouterr().err


def test_all_methods_are_known_by_their_names(monkeypatch):
    assert known_methods()[:3] == ["kaiser_squires", "kaiser_squires_inpainted", "sparse"]
    assert {*METHODS, "gaussian"} - {"wiener"} <= {*known_methods()}
    monkeypatch.setitem(METHODS, "another", Wiener)
    assert "another" in known_methods()
