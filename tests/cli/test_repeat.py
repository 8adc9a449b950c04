"""``massmap repeat``: a map is made again from its file alone, or an error names the reason."""

import argparse
import os
import shutil
from functools import cache
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, strategies as st

from astro_massmap import ConvergenceMap, KaiserSquires, PowerSpectrum, ScorePrior, ShearCatalog, datasets
from astro_massmap._utils.files import without_folders
from astro_massmap.cli import main, reconstruct
from astro_massmap.cli.records import as_text, file_sha256, shell_arguments
from astro_massmap.cli.repeat import LEFT, MAKERS, TAKEN, difference
from astro_massmap.cli.values import columns
from astro_massmap.priors import HybridDenoiser

from helpers import small_priors
from helpers.skies import tan_wcs

WIENER = ["--method", "wiener", "--n-samples", "2", "--seed", "3"]
SAMPLED = ["--prior", "gaussian", "--n-samples", "2"]
DIFFUSION = ["--method", "posterior_diffusion", "--n-samples", "2"]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    table = datasets.demo().to_table()
    table.rename_columns(["g1", "g2"], ["e1", "e2"])
    table["good"] = np.arange(len(table)) % 2 == 0
    table.write(folder / "survey.fits")
    datasets.demo_clusters().write(folder / "clusters.ecsv")
    PowerSpectrum.default().to_table().write(folder / "cl.ecsv")
    return folder


def make(survey, *arguments, output="kappa.fits", name="survey.fits"):
    words = ["reconstruct", str(survey / name), "--axes", "west-north", "-o", output, "--quiet", *arguments]
    if "--wcs" not in arguments:
        words += ["--pixel-scale", "1.6 arcmin"]
    assert main(words) == 0
    return ConvergenceMap.read(output)


def repeat(*arguments, file="kappa.fits", output="new.fits"):
    return main(["repeat", str(file), "-o", str(output), "--quiet", *map(str, arguments)])


def change(file="kappa.fits", **parts):
    """Change the recorded command."""
    kappa = ConvergenceMap.read(file)
    command = kappa.meta["provenance"]["command"]
    for name, part in parts.items():
        command[name] = {**command[name], **part} if isinstance(part, dict) else part
    kappa.write(file, overwrite=True)


def same(a, b):
    return (
        np.array_equal(a.data, b.data)
        and np.array_equal(a.uncertainty.array, b.uncertainty.array)
        and np.array_equal(a.mask, b.mask)
        and (a.samples is None) == (b.samples is None)
        and (a.samples is None or np.array_equal(a.samples, b.samples))
        and (a.b_mode is None or np.array_equal(a.b_mode.data, b.b_mode.data))
    )


# ---- again, bit by bit


@pytest.mark.parametrize(
    "options",
    [WIENER, SAMPLED, pytest.param(DIFFUSION, marks=pytest.mark.slow)],
    ids=["wiener", "annealed_hmc", "diffusion"],
)
def test_pixels_and_samples_are_equal_bit_by_bit(survey, capsys, tmp_path, options):
    old = make(survey, *options)
    assert repeat("--input", survey) == 0
    new = ConvergenceMap.read("new.fits")
    assert same(old, new) and len(new.samples) == 2
    printed = capsys.readouterr()
    assert "kappa.fits: identical, bit by bit, with 2 samples" in printed.out
    assert printed.err == ""
    assert sorted(f.name for f in tmp_path.iterdir()) == ["kappa.fits", "new.fits"]
    # another seed gives another map, so the comparison above can fail
    make(survey, *options, "--seed", "4", output="other.fits")
    assert not same(old, ConvergenceMap.read("other.fits"))
    # a repeated map can be repeated
    assert repeat("--input", survey, file="new.fits", output="newer.fits") == 0
    assert same(old, ConvergenceMap.read("newer.fits"))


def test_reduced_shear_is_recorded_and_repeated(survey, capsys):
    options = ["--method", "kaiser_squires", "--reduced-shear"]
    old, auto = make(survey, *options, "on"), make(survey, *options, "auto", output="auto.fits")
    assert repeat("--input", survey) == 0
    assert same(old, ConvergenceMap.read("new.fits")) and not same(old, auto)
    capsys.readouterr()
    for file, text in (("new.fits", "reduced shear: True, applied"), ("auto.fits", "reduced shear: auto, not applied")):
        assert main(["info", file]) == 0
        assert text in capsys.readouterr().out


def test_a_lens_is_recorded_and_repeated(survey, capsys, tmp_path):
    table = Table.read(survey / "survey.fits")
    table["z"] = np.linspace(0.35, 1.5, len(table))
    table.write(tmp_path / "lens.fits")
    options = ["--method", "kaiser_squires", "--z-lens", "0.3"]
    old = make(tmp_path, *options, "--z-source", "1", name="lens.fits")
    assert old.meta["lens"]["z_source"] == 1.0
    assert repeat() == 0
    assert same(old, ConvergenceMap.read("new.fits"))
    assert main(["surface-density", "kappa.fits", "-o", "density.fits"]) == 0
    capsys.readouterr()
    words = ["reconstruct", "lens.fits", "--axes", "west-north", "-o", "no.fits", *options]
    assert main(words) == 1
    assert "--z-lens: needs --z-source" in capsys.readouterr().err


def test_all_inputs_are_read_again(survey, tmp_path):
    make(survey, "--method", "kaiser_squires", output="grid.fits")
    old = make(
        survey, *WIENER, "--columns", "g1=e1,g2=e2", "--select", "good", "--wcs", "grid.fits", "--exclude",
        str(survey / "clusters.ecsv"), "--spectrum", str(survey / "cl.ecsv"), "--check-axes",
    )  # fmt: skip
    names = {"g1": "e1", "g2": "e2"}
    catalog = ShearCatalog.read(survey / "survey.fits", axes="west-north", columns=names, select="good")
    assert old.meta["axes_check"] == str(catalog.check_axes(mask=survey / "clusters.ecsv")) != str(catalog.check_axes())
    command = old.meta["provenance"]["command"]
    assert set(command["inputs"]) == {"catalog", "wcs", "exclude", "spectrum"}
    for option, file in command["inputs"].items():
        place = tmp_path if option == "wcs" else survey
        assert file == {"given": Path(file["given"]).name, "sha256": file_sha256(place / file["given"])}, option
    assert repeat("--input", survey) == 0
    new = ConvergenceMap.read("new.fits")
    assert same(old, new)
    assert new.meta["provenance"]["input"] == old.meta["provenance"]["input"]
    assert new.meta["provenance"]["prior"] == old.meta["provenance"]["prior"]


def test_a_b_mode_a_length_with_unit_and_inpainting(survey):
    old = make(survey, "--method", "kaiser_squires", "--smoothing", "0.1 deg", "--inpaint", "2")
    assert old.meta["provenance"]["command"]["options"]["smoothing"] == "0.1 deg"
    assert old.meta["provenance"]["command"]["options"]["inpaint"] == 2 and old.diagnostics["settings"]["inpaint"] == 2
    assert repeat("--input", survey) == 0
    assert same(old, ConvergenceMap.read("new.fits"))


@pytest.mark.slow
def test_a_trained_prior_from_a_file(survey):
    pixel = np.deg2rad(1.6 / 60)
    denoiser = HybridDenoiser(small_priors.network(), small_priors.THEORY, pixel)
    ScorePrior(denoiser, small_priors.THEORY, (0.003, 0.5), margin=4).save("p.safetensors")
    options = ["--prior", "p.safetensors", "--n-samples", "1", "--schedule", "fast"]
    old = make(survey, *options)
    assert old.meta["provenance"]["command"]["inputs"]["prior"]["sha256"] == file_sha256("p.safetensors")
    assert repeat("--input", survey) == 0
    assert same(old, ConvergenceMap.read("new.fits"))


def test_a_noisy_map(survey, capsys):
    make(survey, "--method", "kaiser_squires", output="noisy.fits")
    denoise = ["denoise", "noisy.fits", "-o", "kappa.fits", "--method", "wiener", "--n-samples", "1", "--quiet"]
    assert main(denoise) == 0
    old = ConvergenceMap.read("kappa.fits")
    assert old.meta["provenance"]["of_input"] == ConvergenceMap.read("noisy.fits").meta["provenance"]
    assert repeat() == 0
    assert "identical" in capsys.readouterr().out
    assert same(old, ConvergenceMap.read("new.fits"))


@pytest.mark.slow
def test_the_demonstration(capsys, tmp_path, monkeypatch):
    galaxies = datasets.demo()
    middle = galaxies.coords.separation(galaxies.coords[len(galaxies) // 2]) < 4 * u.arcmin
    monkeypatch.setattr(datasets, "demo", lambda: galaxies[middle])  # it takes seconds, not half a minute
    assert main(["demo", "--n-samples", "1", "--quiet"]) == 0
    assert repeat(file="massmap_demo.fits") == 0
    assert same(*map(ConvergenceMap.read, ("massmap_demo.fits", "new.fits")))
    assert "identical" in capsys.readouterr().out
    assert not (tmp_path / "new.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Müller 'é'.fits", "two\nlines\t.fits", "-x.fits", os.fsdecode(b"\xff\xfe.fits")])
def test_any_name_of_a_file(survey, tmp_path, name):
    try:
        datasets.demo()[::50].write(tmp_path / name, format="fits")
    except OSError:
        pytest.skip("the file system has no such names")
    words = ["reconstruct", "--axes=west-north", "-o", "kappa.fits", "--quiet", "--method", "kaiser_squires"]
    assert main([*words, "--pixel-scale", "1.6 arcmin", "--", name]) == 0
    with fits.open("kappa.fits") as hdus:
        hdus.verify("exception")
        history = "".join(hdus[0].header["HISTORY"])
    assert f"catalog: {name}".encode("unicode_escape").decode() in history
    assert repeat() == 0


# ---- what is recorded


@pytest.mark.slow
def test_folders_are_not_recorded(survey, tmp_path):
    """Only the file name is recorded of absolute paths and of paths outside of the current folder."""
    make(survey, "--method", "kaiser_squires", output="grid.fits")
    Path("below").mkdir()
    Path("below", "cl.ecsv").write_bytes((survey / "cl.ecsv").read_bytes())
    inputs = ["--wcs", str(tmp_path / "grid.fits"), "--spectrum", "below/cl.ecsv"]
    inputs += ["--exclude", os.path.relpath(survey / "clusters.ecsv"), "--regions", str(survey / "clusters.ecsv")]
    outputs = ["--report", str(tmp_path / "report.html"), "--plot", str(tmp_path / "kappa.png")]
    outputs += ["--checkpoint", str(tmp_path / "kept.fits")]
    old = make(survey, *SAMPLED, *inputs, *outputs, output=str(tmp_path / "kappa.fits"))
    command = old.meta["provenance"]["command"]
    given = {option: file["given"] for option, file in command["inputs"].items()}
    names = {"catalog": "survey.fits", "wcs": "grid.fits", "exclude": "clusters.ecsv", "spectrum": "below/cl.ecsv"}
    assert given == names and names.items() <= command["options"].items()
    assert old.meta["provenance"]["settings"]["checkpoint"] == old.diagnostics["settings"]["checkpoint"] == "kept.fits"
    for file in tmp_path.iterdir():
        for folder in (survey, tmp_path, survey.parent):
            assert file.is_dir() or folder.name.encode() not in file.read_bytes(), file
    assert repeat("--input", survey) == 0
    assert same(old, ConvergenceMap.read("new.fits"))


@given(st.text(max_size=20))
def test_paths_without_folders(text):
    for path in (text, f"/{text}", f"../{text}", f"~/{text}", f"a/../{text}"):
        inside = not Path(path).is_absolute() and not {"..", "~"} & set(Path(path).parts)
        assert without_folders(path) == (str(Path(path)) if inside else Path(path).name)


def test_options_are_recorded_with_their_defaults(survey):
    kappa = make(survey, *SAMPLED[:2], "--n-samples", "1", "--threshold", "0.02")
    command = kappa.meta["provenance"]["command"]
    assert command["name"] == "reconstruct"
    expected = {
        "catalog": "survey.fits", "axes": "west-north", "pixel_scale": "1.6 arcmin", "seed": 0,
        "method": "annealed_hmc", "schedule": "annealed", "device": "auto", "n_samples": 1, "prior": "gaussian",
        "output": "kappa.fits", "threshold": 0.02, "overwrite": False, "quiet": True, "wcs": None, "plot": None,
    }  # fmt: skip
    assert expected.items() <= command["options"].items()
    assert command["line"].startswith("massmap reconstruct survey.fits ")
    history = "".join(fits.getheader("kappa.fits")["HISTORY"]).replace(" ", "")  # some versions cut blanks at the ends
    assert command["line"].replace(" ", "") in history and command["inputs"]["catalog"]["sha256"] in history


@cache
def parser_of(name):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    reconstruct.add_commands(commands)
    return commands.choices[name]


@pytest.mark.parametrize("name", MAKERS)
def test_every_option_is_either_repeated_or_ignored(name):
    options = {action.dest for action in parser_of(name)._actions} - {"help"}
    assert options <= {*TAKEN, *LEFT}
    assert not {*TAKEN} & {*LEFT}
    # all options of output files
    assert {"output", "plot", "report", "checkpoint"} <= {*LEFT}


WORDS = st.text(min_size=1, max_size=12)


@given(WORDS, st.dictionaries(st.sampled_from(["g1", "g2"]), st.text("abc é\n-", min_size=1)), st.integers(-9, 10**12))
def test_options_round_trip_through_text(word, named, number):
    given = {"catalog": "/a", "axes": "west-north", "select": word, "columns": as_text(named), "seed": number}
    again = parser_of("reconstruct").parse_args([*shell_arguments("reconstruct", given)[1:], "--output=o.fits"])
    assert (again.select, again.columns, again.seed) == (word, named, number)
    assert {key: as_text(getattr(again, key)) for key in given} == given
    assert columns(as_text(named) or "") == named


# ---- changes


def refused(capsys, message, *arguments, **options):
    """Assert an error of one line, and no file."""
    assert repeat(*arguments, **options) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("massmap: warning")]
    assert len(lines) == 1 and lines[0].startswith("massmap: error: ") and lines[0].isprintable()
    assert message in lines[0], lines[0]
    assert not Path(options.get("output", "new.fits")).exists() or "overwrite" in message or "the input" in message
    return lines[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A catalogue and its map, in a folder of their own that is then renamed."""
    folder, before = tmp_path_factory.mktemp("small"), Path.cwd()
    try:
        os.chdir(folder)
        datasets.demo()[::50].write("small.fits")
        words = ["reconstruct", "small.fits", "--axes=west-north", "-o", "kappa.fits", "--quiet", "--method", "wiener"]
        assert main([*words, "--n-samples", "1", "--pixel-scale", "1.6 arcmin"]) == 0
    finally:
        os.chdir(before)
    return folder.rename(folder.with_name("renamed"))


@pytest.fixture
def moved(small, tmp_path):
    """Copies of both in another folder, as on another computer."""
    for file in small.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / "small.fits"


def test_a_catalogue_that_has_changed(moved, capsys):
    old = file_sha256(moved)
    datasets.demo()[::49].write(moved, overwrite=True)
    line = refused(capsys, f"{str(moved)!r} has changed")
    assert old[:12] in line and file_sha256(moved)[:12] in line


def test_a_catalogue_that_has_moved(moved, capsys):
    Path("elsewhere").mkdir()
    there = shutil.move(moved, "elsewhere/renamed.fits")
    refused(
        capsys,
        "'small.fits' is neither in the current folder nor in that of the map; give the file or its folder",
    )
    refused(capsys, "--input: the file 'nowhere.fits' does not exist", "--input", "nowhere.fits")
    datasets.demo()[::49].write("other.fits")
    line = refused(capsys, "'other.fits'", "--input", "other.fits")
    assert file_sha256("other.fits")[:12] in line and file_sha256(there)[:12] in line
    assert repeat("--input", there) == 0
    assert same(ConvergenceMap.read("kappa.fits"), ConvergenceMap.read("new.fits"))


def test_a_changed_catalogue_with_a_copy_of_the_old_one(moved):
    shutil.copy(moved, "kept.fits")
    datasets.demo()[::49].write(moved, overwrite=True)
    assert repeat("--input", "kept.fits") == 0
    assert same(ConvergenceMap.read("kappa.fits"), ConvergenceMap.read("new.fits"))


def test_the_recorded_path_comes_before_the_name(moved):
    there = moved.rename("there.fits").absolute()
    datasets.demo()[::49].write("small.fits")
    change(inputs={"catalog": {"given": "small.fits", "path": str(there), "sha256": file_sha256(there)}})
    assert repeat() == 0


def test_other_versions_are_a_warning(moved, capsys):
    kappa = ConvergenceMap.read("kappa.fits")
    kappa.meta["provenance"]["versions"]["numpy"] = "1.0.7"
    kappa.write("kappa.fits", overwrite=True)
    assert repeat() == 0
    printed = capsys.readouterr()
    warning = f"massmap: warning: MAP: made with numpy 1.0.7, here {np.__version__}"
    assert warning in printed.err
    assert "scipy" not in printed.err
    assert "identical" in printed.out


def test_the_difference_in_standard_deviations(moved, capsys):
    kappa = ConvergenceMap.read("kappa.fits")
    sigma = kappa.uncertainty.array[5, 6]
    kappa.samples[0, 5, 6] += 0.5 * sigma
    kappa.data[7, 8] += 0.25 * kappa.uncertainty.array[7, 8]
    kappa.meta["provenance"]["input"]["sha256"] = "0" * 64
    kappa.meta["provenance"]["platform"] = "Plan 9"
    kappa.write("kappa.fits", overwrite=True)
    assert repeat() == 0
    printed = capsys.readouterr().out
    assert "kappa.fits: not identical, the largest difference is 0.5 standard deviations\n" in printed
    assert "the input differs: its SHA-256 was 000000000000, now it is" in printed
    assert "the platform was Plan 9" in printed


def test_a_cutout_is_repeated_as_the_full_map(moved, capsys):
    whole = ConvergenceMap.read("kappa.fits")
    whole[3:20, 4:30].write("kappa.fits", overwrite=True)
    assert repeat() == 0
    assert "not compared, the grids or units differ" in capsys.readouterr().out
    assert same(whole, ConvergenceMap.read("new.fits"))


def small_map(data=0.0, n=2, wcs=tan_wcs((4, 5)), **options):  # noqa: B008
    shape = (4, 5)
    samples = None if n == 0 else np.zeros((n, *shape))
    return ConvergenceMap(np.full(shape, data), wcs=wcs, samples=samples, **options)


def test_differences_of_any_two_maps():
    sigma = {"uncertainty": np.full((4, 5), 0.1)}
    assert difference(small_map(**sigma), small_map(**sigma)) == "identical, bit by bit, with 2 samples"
    assert difference(small_map(n=0), small_map()) == "identical, bit by bit"  # the file had no samples
    assert "difference is 2 standard deviations" in difference(small_map(**sigma), small_map(0.2, **sigma))
    assert difference(small_map(), small_map(0.2)) == "not identical, the largest difference is 0.2"
    assert difference(small_map(), small_map(n=1)).startswith("not identical")
    assert difference(small_map(), small_map(n=1)).endswith("without samples")
    assert "not identical" in difference(small_map(mask=np.eye(4, 5) > 0), small_map())
    holes = small_map()
    holes.samples[:, 0, 0] = np.nan
    assert "identical, bit" in difference(holes, holes) and "not identical" in difference(holes, small_map())
    for other in (tan_wcs((4, 5), center=(10, 20)), tan_wcs((4, 5), scale=0.5)):
        assert "not compared" in difference(small_map(), small_map(wcs=other))


# ---- refusals


def test_a_map_of_python_has_no_command(capsys):
    datasets.demo().to_map(wcs=tan_wcs((16, 16), center=(34.5, -5))).reconstruct(KaiserSquires()).write("kappa.fits")
    line = refused(
        capsys, "was made in Python and records no command; it can be made again in Python with method 'KaiserSquires'"
    )
    assert "massmap info" in line
    assert main(["info", "kappa.fits"]) == 0
    printed = capsys.readouterr().out
    assert "smoothing = 1.0 arcmin" in printed and "made by KaiserSquires on 2" in printed


def test_a_map_without_a_record(capsys):
    for meta in ({}, {"provenance": "me"}, {"provenance": {"command": {}}}):
        small_map(meta=meta).write("kappa.fits", overwrite=True)
        refused(capsys, "'kappa.fits' contains no record of how it was made")
        assert main(["info", "kappa.fits"]) == 1
        capsys.readouterr()


def test_targets(moved, capsys):
    before = moved.read_bytes(), Path("kappa.fits").read_bytes()
    refused(capsys, "the input 'kappa.fits'", "--overwrite", output="kappa.fits")
    refused(capsys, "the input 'small.fits'", "--overwrite", output="small.fits")
    refused(capsys, "ends in .fits", output="new.png")
    refused(capsys, "folder", output="no/such/new.fits")
    Path("new.fits").write_text("mine")
    refused(capsys, "--overwrite")
    assert Path("new.fits").read_text() == "mine"
    assert repeat("--overwrite") == 0
    assert (moved.read_bytes(), Path("kappa.fits").read_bytes()) == before


def test_recorded_outputs_are_not_written(moved, capsys, tmp_path):
    victim = tmp_path / "victim.fits"
    victim.write_text("dear")
    outputs = {key: str(victim) for key in ("output", "plot", "report", "checkpoint")}
    change(options={**outputs, "overwrite": True, "regions": "/etc/passwd"})
    assert repeat() == 0
    assert victim.read_text() == "dear"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["kappa.fits", "new.fits", "small.fits", "victim.fits"]
    assert "victim" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"name": "inject"}, "needs a map of demo, reconstruct, denoise, got the command 'inject'"),
        ({"name": "rm -rf /"}, "needs a map of demo"),
        ({"name": ["reconstruct"]}, "needs a map of demo"),
        ({"name": "denoise"}, "recorded command is not valid"),  # with the options of another one
        ({"name": "demo"}, "recorded command is not valid"),
        ({"options": {"maps": "x"}}, "the recorded option 'maps' does not exist in this version"),
        ({"options": {"\x1b[2J": 1}}, "the recorded option '\\x1b[2J'"),
        ({"options": {"axes": ["west-north"]}}, "needs text or a number"),
        ({"options": {"axes": "up"}}, "--axes: invalid choice: 'up'"),
        ({"options": {"axes": None}}, "--axes"),
        ({"options": {"n_samples": "many"}}, "--n-samples: invalid int value"),
        ({"options": {"n_samples": True}}, "--n-samples: expected one argument"),
        ({"options": {"n_samples": -3}}, "n_samples: needs to be at least 0"),
        ({"options": {"check_axes": "yes"}}, "--check-axes"),
        ({"options": {"pixel_scale": "1 kg"}}, "--pixel-scale: needs an angle"),
        ({"options": {"method": "magic\n\x1b]0;"}}, "is unknown"),
        ({"options": {"device": "cuda:99"}}, "device"),
        ({"options": {"device": "meta"}}, "the recorded command failed"),
        ({"options": {"n_samples": 10**13}}, "the recorded command failed"),
        ({"options": {"n_samples": 10**30}}, "the recorded command failed"),
        ({"options": {"select": "x\x00\n"}}, "no column 'x' among"),
        ({"options": {"spectrum": "/etc/passwd"}}, "no checksum of the file '/etc/passwd' of 'spectrum'"),
        ({"options": {"prior": "/etc/passwd"}}, "no checksum of the file '/etc/passwd' of 'prior'"),
        ({"inputs": {"catalog": "small.fits"}}, "the record of the input 'catalog' is damaged"),
        ({"inputs": {"plot": {"path": "a", "sha256": "b"}}}, "the record of the input 'plot' is damaged"),
        ({"inputs": {"catalog": {"path": "/dev/zero", "sha256": "b"}}}, "'/dev/zero' is neither"),
        ({"inputs": {"catalog": {"path": "small\x00", "sha256": "b"}}}, "is neither in"),
        ({"inputs": {"catalog": {"path": "kappa.fits", "sha256": "\n" * 64}}}, "kappa.fits' has changed"),
        ({"inputs": {"catalog": {}}}, "is neither in"),
        ({"options": 3}, "is damaged"),
        ({"inputs": None}, "is damaged"),
    ],
)
def test_invalid_records(moved, capsys, tmp_path, parts, message):
    change(**parts)
    refused(capsys, message)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["kappa.fits", "small.fits"]


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [None, 3, "text", [1], {}, {"sha256": [3]}])
def test_damaged_records(moved, damaged):
    before = ConvergenceMap.read("kappa.fits").meta["provenance"]
    for part in before:
        kappa = ConvergenceMap.read("kappa.fits")
        kappa.meta["provenance"] = {**before, part: damaged}
        kappa.write("damaged.fits", overwrite=True)
        assert repeat("--overwrite", file="damaged.fits") == (part == "command")
        assert main(["info", "damaged.fits"]) == 0


def test_control_characters_of_a_record_are_escaped(moved, capsys):
    kappa = ConvergenceMap.read("kappa.fits")
    evil = "\x1b]0;owned\x07\r\n\u202e"
    made = kappa.meta["provenance"]
    made |= {"platform": evil, "device": evil, "date": evil, "threads": evil, "of_input": {"method": evil}}
    made["versions"] |= {"numpy": evil, evil: evil}
    made["settings"] |= {evil: evil}
    made["command"]["line"] = evil
    kappa.write("kappa.fits", overwrite=True)
    assert repeat() == 0 and main(["info", "kappa.fits"]) == 0
    printed = capsys.readouterr()
    for line in (printed.out + printed.err).split("\n"):
        assert line.isprintable()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:spectrum. the samples", "ignore:level=0.68")  # are few
def test_a_map_with_an_inferred_spectrum(survey, capsys):
    inferred = ["--method", "wiener", "--spectrum", "infer", "--n-samples", "4"]
    old = make(survey, *inferred, "--pixel-scale", "3.2 arcmin")
    assert "spectrum" not in old.meta["provenance"]["command"]["inputs"]
    assert repeat("--input", survey) == 0
    assert same(old, ConvergenceMap.read("new.fits"))
    assert main(["spectrum-posterior", "kappa.fits", "-o", "bands.ecsv", "--spectrum", "cl.ecsv"]) == 0
    assert "effective_samples" in capsys.readouterr().out
    assert np.allclose(Table.read("bands.ecsv")["cl"], old.spectrum_posterior.to_table()["cl"])
    found = PowerSpectrum.read("cl.ecsv")
    assert np.allclose(found.cl, old.spectrum_posterior.spectrum().cl)
    make(survey, *WIENER, "--spectrum", "cl.ecsv", output="next.fits")
    assert main(["spectrum-posterior", "next.fits"]) == 1
    assert "MAP: has no inferred spectrum" in capsys.readouterr().err
    with_plane = make(survey, *inferred, "--pixel-scale", "3.2 arcmin", "--z-source", "0.5", output="near.fits")
    assert with_plane.spectrum_posterior.theory.name != old.spectrum_posterior.theory.name


def test_the_spectrum_is_inferred_by_the_wiener_filter_only(survey, capsys):
    words = ["reconstruct", str(survey / "survey.fits"), "--axes", "west-north", "-o", "k.fits", "--spectrum", "infer"]
    assert main(words) == 1
    assert "--spectrum: 'infer' needs --method wiener" in capsys.readouterr().err
