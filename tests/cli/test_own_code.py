"""Priors and methods in code of the user: ``FILE.py:NAME`` on the command line, and never from a record."""

import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable

from astro_massmap import ConvergenceMap, datasets
from astro_massmap.cli import main
from astro_massmap.cli.own_code import file_of, is_own_code, load
from astro_massmap.cli.records import file_sha256

from helpers.cases import each_case

CODE = """
from pathlib import Path
from astro_massmap import PowerSpectrum, ScoreFunction, Wiener

def halved(observation):
    return observation.shear[0] / 2

def score(maps, sigma):
    return -maps / (5e-4 + sigma**2)

spectrum = PowerSpectrum([10, 1e5], [5e-4 * 4.6e-4**2] * 2, name="white")
prior = ScoreFunction(score, spectrum)
wiener = Wiener(spectrum, n_samples=2)
bare = type("Bare", (), {"on": prior.on, "pixel_size": None})()
number = 3
Path("imported").touch()
"""
FAST = ["--schedule", "fast", "--n-samples", "2"]


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A file of the user in the current folder."""
    Path("own_massmap_code.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("own_massmap_code", None)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    file = tmp_path_factory.mktemp("survey") / "survey.fits"
    datasets.demo()[::4].to_table().write(file)
    return file


def reconstruct(survey, *arguments):
    return main(["reconstruct", str(survey), "--axes", "west-north", "-o", "kappa.fits", "--pixel-scale", "1.6 arcmin",
                 "--quiet", *arguments])  # fmt: skip


def test_values_of_options():
    assert all(map(is_own_code, ("a.py:f", "b/a.py:f", "C:/a.py:f", "package.module:f")))
    assert all(map(is_own_code, ("a.py", "C:/a.py", "a.py:2", "a.py:")))  # without a name, which is an error
    assert not any(map(is_own_code, (None, "default", "a.safetensors", "C:/prior.safetensors", "a/b:f", ":f")))
    assert file_of("b/a.py:f") == Path("b/a.py") and file_of("package.module:f") is None
    assert load("math:sqrt", "--method")(4) == 2


def test_a_method_of_a_file(survey):
    assert reconstruct(survey, "--method", "own_massmap_code.py:halved") == 0
    kappa = ConvergenceMap.read("kappa.fits")
    assert kappa.diagnostics["method"] == "halved"
    assert kappa.diagnostics["settings"]["f"].startswith("own_massmap_code.halved (SHA-256 ")
    command = kappa.meta["provenance"]["command"]
    file = {"given": "own_massmap_code.py:halved", "sha256": file_sha256("own_massmap_code.py")}
    assert command["inputs"]["method"] == file and "--method=own_massmap_code.py:halved" in command["line"]


def test_a_prior_of_a_file(survey):
    assert reconstruct(survey, "--prior", "own_massmap_code.py:prior", *FAST) == 0
    kappa = ConvergenceMap.read("kappa.fits")
    assert kappa.samples.shape[0] == 2 and kappa.diagnostics["sources"]["spectrum"] == "white"
    made = kappa.meta["provenance"]
    assert made["prior"]["options"]["f"] == "own_massmap_code.score"
    assert made["command"]["inputs"]["prior"]["sha256"] == file_sha256("own_massmap_code.py")


@each_case("option", ["method", "prior"])
def test_a_record_does_not_run_code(survey, capsys, option):
    assert reconstruct(survey, "--method", "wiener", "--n-samples", "0", "--overwrite") == 0
    kappa = ConvergenceMap.read("kappa.fits")
    kappa.meta["provenance"]["command"]["options"][option] = "own_massmap_code.py:halved"
    kappa.write("kappa.fits", overwrite=True)
    assert main(["repeat", "kappa.fits", "--input", str(survey), "-o", "new.fits"]) == 1
    assert "which is not run from a record" in capsys.readouterr().err
    assert main(["info", "kappa.fits"]) == 0
    assert not Path("imported").exists() and "own_massmap_code" not in sys.modules


@each_case(
    ("arguments", "message"),
    [
        (["--prior", "own_massmap_code.py"], "--prior: give own_massmap_code.py:NAME, with the name of an object"),
        (["--method", "own_massmap_code.py:"], "--method: give own_massmap_code.py:NAME, with the name of an object"),
        (["--method", "none.py:f"], "--method: the file 'none.py' does not exist"),
        (["--method", "no_such_module:f"], "--method: there is no installed module 'no_such_module'; for a file give"),
        (["--method", "own_massmap_code.py:f"], "--method: 'own_massmap_code.py' contains no 'f'"),
        (["--method", "own_massmap_code.py:number"], "--method: needs a name, an object such as"),
        (["--method", "own_massmap_code.py:halved", "--seed", "1"], "bind seed with functools.partial"),
        (["--method", "own_massmap_code.py:halved", "--prior", "gaussian"], "not used by the method"),
        (["--prior", "own_massmap_code.py:score"], "use ScoreFunction(f, spectrum)"),
        (
            ["--prior", "own_massmap_code.py:prior", "--z-source", "1"],
            "not used by the prior 'own_massmap_code.py:prior'",
        ),
        (["--prior", "own_massmap_code.py:prior", "--method", "wiener"], "--prior: not used by the method 'wiener'"),
        (["--method", "random.py:choice"], "'random.py' has the name of another module"),
    ],
)
def test_wrong_code(survey, capsys, arguments, message):
    Path("random.py").touch()
    assert reconstruct(survey, *arguments) == 1
    assert message in capsys.readouterr().err
    assert not Path("kappa.fits").exists()


@each_case(
    ("code", "option", "message"),
    [
        ("def denoised(maps, sigma):\n    return maps * sigma[:, None]", "prior",
         "in own_massmap_code.py:19, denoised: TypeError: 'float' object is not subscriptable (f was called with"),
        ("denoised = torch.nn.Conv2d(3, 1, 3)", "prior", "error: Conv2d.forward() takes 2 positional arguments but 3"),
        ("def denoised(maps, sigma):\n    return torch.ones(2) + torch.ones(3)", "method",
         "own_massmap_code.py:19, denoised: RuntimeError: The size"),
        ("def denoised(maps, sigma):\n    raise KeyError('x')", "prior",
         "own_massmap_code.py:19, denoised: KeyError: 'x' (f was called with maps (1, "),
        ("denoised = unknown", "prior", "in own_massmap_code.py:18: NameError: name 'unknown' is not defined"),
        ("denoised = = 2", "method", "in own_massmap_code.py:18: SyntaxError: invalid syntax"),
        ("denoised = score\nScoreFunction(score)", "method", "in own_massmap_code.py:19: TypeError: spectrum: needed"),
    ],
)  # fmt: skip
def test_exceptions_in_the_file_are_shown_with_their_line(survey, capsys, code, option, message):
    sys.modules.pop("own_massmap_code", None)
    prior = 'prior = ScoreFunction(denoised, spectrum, returns="denoised")\nmethod = lambda data: denoised(data, 0)\n'
    Path("own_massmap_code.py").write_text(f"{CODE}import torch\n{code}\n{prior}")
    assert reconstruct(survey, f"--{option}", f"own_massmap_code.py:{option}") == 1
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown
    if option == "prior" and "f was called" not in message and "NameError" not in message:
        assert "images need channel=True, U-Nets multiple=8" in shown


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for box in range(2):
        white = np.random.default_rng(box).normal(scale=5e-4**0.5, size=(1, 48, 48))
        np.save(folder / f"box_{box}.npy", white.astype(np.float32))
    return folder


def validate(survey, maps, *arguments):
    return main(["validate", str(survey), "--axes", "west-north", "--maps", str(maps), "--pixel-scale", "1.6 arcmin",
                 "--validation", "0.9", "--mocks", "1", "--size", "32", "--samples", "3", "--quiet", "-o", "out",
                 *arguments])  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # one mock, few samples
def test_validation(survey, maps, capsys):
    methods = "wiener,annealed_hmc,own_massmap_code.py:halved,own_massmap_code.py:wiener2"
    Path("own_massmap_code.py").write_text(CODE + "wiener2 = Wiener(spectrum, n_samples=3)\n")
    arguments = ["--methods", methods, "--prior", "own_massmap_code.py:prior", "--schedule", "fast"]
    assert validate(survey, maps, *arguments) == 0, capsys.readouterr().err
    table = QTable.read("out/validation.ecsv")
    assert table.colnames[1::2] == ["wiener", "annealed_hmc", "halved", "wiener2"]
    rows = {name: dict(zip(table["quantity"], table[name], strict=True)) for name in table.colnames[1::2]}
    rmse = {name: row["RMSE / Wiener, with data"] for name, row in rows.items()}
    # the score is that of the spectrum, so that the samples are Gaussian ones; half of a shear is no map
    assert 0.8 < rmse["annealed_hmc"] < 1.2 < rmse["halved"]
    # a second run reads the files; another function of the same name is an error
    assert validate(survey, maps, *arguments) == 0
    del sys.modules["own_massmap_code"]
    Path("own_massmap_code.py").write_text(Path("own_massmap_code.py").read_text().replace("shear[0] / 2", "shear[0]"))
    assert validate(survey, maps, *arguments) == 1
    assert "was made with other settings (method:" in capsys.readouterr().err


@each_case(
    ("arguments", "message"),
    [
        (["--methods", "own_massmap_code.py:wiener"], "is that of another method; rename it"),
        (["--methods", "halved"], "--methods: need FILE.py:NAME, or some of"),
        (["--prior", "own_massmap_code.py:bare"], "--spectrum: needed for wiener and gaussian"),
    ],
)
def test_wrong_validations(survey, maps, capsys, arguments, message):
    assert validate(survey, maps, *arguments) == 1
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
