"""The same functions with the same names in the shell and in Python, and messages in the syntax of the shell."""

import argparse
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM, Planck18
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings, strategies as st

import astro_massmap
from astro_massmap import ConvergenceMap, PowerSpectrum, ShearCatalog, Wiener, datasets
from astro_massmap.cli import _parser, main
from astro_massmap.cli.hints import in_shell_syntax
from astro_massmap.cli.parity import OPTIONS, PYTHON_ONLY, TASKS
from astro_massmap.cli.records import as_text
from astro_massmap.cli.values import columns
from astro_massmap.validation.null_tests import noise_maps

from helpers.cases import each_case
from helpers.skies import tan_wcs

COMMANDS = {command: functions for commands in TASKS.values() for command, (_, functions) in commands.items()}
CLASSES = "ShearCatalog", "ShearMap", "ConvergenceMap", "PowerSpectrum", "SkyFields", "SkyMaps"
MODULES = tuple(f"validation.{name}" for name in ("completeness", "diagnostics", "null_tests", "survey_noise"))
DOCS = Path(__file__).resolve().parents[2] / "docs/command_line.rst"


def subparsers():
    return next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)).choices


def capabilities():
    """Public methods of the classes and public functions of some modules."""
    for name in CLASSES:
        kind = getattr(astro_massmap, name)
        for key in dir(kind):
            found = inspect.getattr_static(kind, key)
            found = getattr(found, "__func__", found)
            ours = str(getattr(found, "__module__", "")).startswith("astro_massmap")
            if inspect.isfunction(found) and ours and not key.startswith("_"):
                yield f"{name}.{key}"
    for name in MODULES:
        module = import_module(f"astro_massmap.{name}")
        yield from (f"{name}.{key}" for key in module.__all__ if inspect.isfunction(getattr(module, key)))


def test_commands_and_table_agree():
    assert sorted(COMMANDS) == sorted(subparsers())


def test_all_functions_have_a_command_or_are_listed_as_python_only():
    listed = {function for functions in COMMANDS.values() for function in functions} | {*OPTIONS, *PYTHON_ONLY}
    assert set(capabilities()) <= listed
    for function in listed:
        module, _, name = function.rpartition(".")
        owner = getattr(astro_massmap, module) if module in CLASSES else import_module(f"astro_massmap.{module}")
        assert hasattr(owner, name), function


def test_options_of_the_table_exist():
    parsers = subparsers()
    for text in OPTIONS.values():
        command, *options = text.replace(",", "").split()
        if command in parsers:
            known = {option for action in parsers[command]._actions for option in action.option_strings}
            assert set(options) <= known, text


def test_help_and_documentation_have_the_table(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown, page = capsys.readouterr().out, DOCS.read_text(encoding="utf-8")
    for task, commands in TASKS.items():
        assert f"{task}:" in shown
        for command, (text, functions) in commands.items():
            assert re.search(rf"^  {command} +{re.escape(text)} +{re.escape(functions[0])}$", shown, re.MULTILINE)
            assert f"* - ``{command}``\n      - {', '.join(f'``{f}``' for f in functions)}\n" in page
    for function, option in OPTIONS.items():
        assert f"* - ``{option}``\n      - ``{function}``\n" in page
    assert all(f"``{function}``" in page for function in PYTHON_ONLY)


# ---- messages

RECONSTRUCT = ["reconstruct", "survey.fits", "--axes", "west-north", "-o", "k.fits"]
MASS = ["projected-mass", "k.fits", "c.reg", "--z-lens", "0.3", "--z-source", "1"]


@each_case(
    ("message", "expected"),
    [
        ("columns: for instance columns={'ra': '...'}", "--columns: for instance --columns ra=NAME"),
        ("columns={'g1': 'e 1', 'redshift': None} x", "--columns 'g1=e 1,redshift=' x"),
        ("or None, by columns={'redshift': ...}", "or nothing, by --columns redshift=NAME"),
        ("file: exists; give overwrite=True to", "file: exists; give --overwrite to"),
        ("with pixel_scale=0.4 * u.arcmin, or", "with --pixel-scale '0.4 arcmin', or"),
        ("Use hdu= for another one", "Use --hdu for another one"),
        ("n_samples: needs", "--n-samples: needs"),
        ("wcs, mask: the grid holds", "--wcs, --exclude: the grid holds"),
        ("take Wiener(n_samples=16), got", "take --method wiener --n-samples 16, got"),
        ("with GaussianPrior() it", "with --prior gaussian it"),
        ("for example table['z', 'BIN1']", "for example --source-bin BIN1"),
        ("catalog: the table", "CATALOG: the table"),
        ("g1, g2, weight: no galaxy", "g1, g2, weight: no galaxy"),
        ("FlatLambdaCDM(H0=70) and chi2=3", "FlatLambdaCDM(H0=70) and chi2=3"),
        ("--prior: not used by", "--prior: not used by"),
    ],
)
def test_messages_in_the_syntax_of_the_shell(message, expected):
    assert in_shell_syntax(message, _parser().parse_args(RECONSTRUCT)) == expected


def test_options_of_other_commands_do_not_change():
    arguments = _parser().parse_args(MASS)
    assert in_shell_syntax("method: such as Wiener(n_samples=16)", arguments) == "method: such as Wiener(n_samples=16)"
    assert in_shell_syntax("z_lens: needs", arguments) == "--z-lens: needs"
    assert in_shell_syntax("background=[4, 7] * u.arcmin", arguments) == "--background '4,7 arcmin'"


KEYS = st.sampled_from(["ra", "dec", "g1", "g2", "weight", "redshift"])
NAMES = st.text(alphabet="abcXYZ_019 =:[]", min_size=1, max_size=9).filter(lambda name: name.strip() == name)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(KEYS, st.one_of(st.none(), NAMES), min_size=1))
def test_columns_round_trip_through_text(pairs):
    assert columns(as_text(pairs)) == pairs


# ---- options


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    catalog = datasets.demo()[::8]
    table = Table(catalog.to_table())
    table["tomo"], table["star"] = np.arange(len(table)) % 3, np.where(np.arange(len(table)) % 5 == 0, "yes", "no")
    table["z"] = 24.0
    table["z"].unit = "mag"
    table.meta.clear()
    table.write(folder / "survey.fits")
    two = fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(Table({"x": [1.0]})), fits.table_to_hdu(table)])
    two[2].name = "GALAXIES"
    two.writeto(folder / "second.fits")
    kappa = datasets.demo().reconstruct(Wiener(n_samples=8), pixel_scale=1.6 * u.arcmin, progress=False)
    kappa.write(folder / "kappa.fits")
    clusters = datasets.demo_clusters()
    clusters["redshift"], clusters["M 500"] = np.linspace(0.2, 0.5, len(clusters)), 3.0
    clusters.write(folder / "clusters.ecsv")
    z = np.linspace(0, 3, 61)
    Table({"z_mid": z, "bin1": z * np.exp(-z), "bin2": z**2 * np.exp(-2 * z)}).write(folder / "n_z.ecsv")
    return folder


def ks(folder, output, *arguments, catalog="survey.fits"):
    arguments = ["--axes", "west-north", "--method", "kaiser_squires", "--quiet", "-o", output, *arguments]
    return main(["reconstruct", str(folder / catalog), *arguments])


def test_a_condition_selects_the_galaxies_that_python_selects(folder):
    condition = "tomo == 1 & not star"
    assert ks(folder, "k.fits", "--select", condition) == 0
    catalog = ShearCatalog.read(folder / "survey.fits", axes="west-north", columns={"redshift": None}, select=condition)
    assert ConvergenceMap.read("k.fits").meta["n_galaxies"] == len(catalog) == round(len(datasets.demo()[::8]) * 4 / 15)


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_options_of_sparse_maps(folder):
    options = [
        "--method",
        "sparse",
        "--gaussian",
        "off",
        "--n-sigma",
        "3.5",
        "--n-noise",
        "2",
        "--columns",
        "redshift=",
    ]
    assert ks(folder, "sparse.fits", *options, "--pixel-scale", "1.6 arcmin") == 0
    kappa = ConvergenceMap.read("sparse.fits")
    made = kappa.meta["provenance"]
    found = {key: made["settings"][key] for key in ("gaussian", "n_sigma", "n_noise")}
    assert made["method"] == "Sparse" and found == {"gaussian": False, "n_sigma": 3.5, "n_noise": 2}
    assert main(["repeat", "sparse.fits", "-o", "again.fits", "--quiet", "--input", str(folder)]) == 0
    assert np.array_equal(ConvergenceMap.read("again.fits").data, kappa.data)


def test_an_invalid_flag(folder, capsys):
    assert ks(folder, "k.fits", "--select", "tomo") == 1
    assert "massmap: error: --select: column 'tomo': needs flags" in capsys.readouterr().err


@pytest.mark.parametrize("hdu", ["2", "GALAXIES"])
def test_the_hdu_of_a_file(folder, hdu, capsys):
    assert ks(folder, "k.fits", "--hdu", hdu, "--columns", "redshift=", catalog="second.fits") == 0
    assert "not used" not in capsys.readouterr().err
    assert main(["repeat", "k.fits", "-o", "again.fits", "--quiet", "--input", str(folder)]) == 0
    assert "identical, bit by bit" in capsys.readouterr().out
    assert ks(folder, "other.fits", catalog="second.fits") == 0
    assert "HDU 2 (GALAXIES) is read, the first table with" in capsys.readouterr().err


def test_the_encoding_of_a_text(folder):
    table = Table.read(folder / "survey.fits")[:400]["ra", "dec", "g1", "g2"]
    table["ra"].name = "décalage"
    table.write("utf-8.csv")
    Path("french.csv").write_text(Path("utf-8.csv").read_text(encoding="utf-8"), encoding="cp437")
    options = ["--encoding", "cp437", "--columns", "ra=décalage", "--method", "kaiser_squires", "-o", "k.fits"]
    assert main(["reconstruct", "french.csv", "--axes", "west-north", *options]) == 0
    assert ConvergenceMap.read("k.fits").meta["n_galaxies"] == 400


def test_regions_without_galaxies_in_the_null_test(folder, capsys):
    Path("stars.reg").write_text("icrs\ncircle(34.5, -5.0, 6')\n")
    arguments = [str(folder / "survey.fits"), "--axes", "west-north", "--pixel-scale", "3.2 arcmin", "--rotations", "4"]
    assert main(["null-test", *arguments, "--noise", "n.fits", "--exclude", "stars.reg"]) == 0
    catalog = ShearCatalog.read(folder / "survey.fits", axes="west-north", columns={"redshift": None})
    noise = noise_maps(catalog, 4, pixel_scale=3.2 * u.arcmin, mask="stars.reg")
    written = ConvergenceMap.read("n.fits")
    assert np.allclose(written.samples, noise.samples, atol=1e-6)
    assert written.mask.sum() > 0 and not np.allclose(written.samples, 0)
    assert main(["null-test", *arguments, "--exclude", "missing.reg"]) == 1
    assert "missing.reg" in capsys.readouterr().err


def test_one_redshift_for_each_cluster_and_the_sources_of_a_file(folder, capsys):
    clusters = str(folder / "clusters.ecsv")
    source = ["--z-source", str(folder / "n_z.ecsv"), "--source-bin", "bin2"]
    options = ["--z-lens", "redshift", *source, "--cosmology", "Planck18", "--keep-columns", "redshift,M 500"]
    assert main(["projected-mass", str(folder / "kappa.fits"), clusters, *options, "-o", "m.ecsv"]) == 0
    n_z = Table.read(folder / "n_z.ecsv")
    kappa = ConvergenceMap.read(folder / "kappa.fits")
    with pytest.warns(UserWarning, match="Gaussian prior"):
        expected = kappa.projected_mass(clusters, "redshift", (n_z["z_mid"], n_z["bin2"]), cosmology=Planck18)
    found = QTable.read("m.ecsv")
    assert np.allclose(found["mass"].value, expected["mass"].value, rtol=1e-6)
    assert np.allclose(found["redshift"], np.linspace(0.2, 0.5, len(found))) and (found["M 500"] == 3).all()
    kappa.n_z = n_z["z_mid"], n_z["bin2"]
    kappa.write("with_n_z.fits")
    assert main(["projected-mass", "with_n_z.fits", clusters, *options[:2], *options[6:], "-o", "own.ecsv"]) == 0
    assert np.allclose(QTable.read("own.ecsv")["mass"].value, expected["mass"].value, rtol=1e-6)
    command = ["projected-mass", str(folder / "kappa.fits"), clusters, "--z-lens", "nope", *source]
    assert main(command) == 1
    assert "--z-lens: " in capsys.readouterr().err
    assert main(["projected-mass", str(folder / "kappa.fits"), clusters, "--z-lens", "0.3", *source[:2]]) == 1
    assert "--source-bin bin1" in capsys.readouterr().err


def test_the_mean_convergence_of_regions(folder):
    clusters = str(folder / "clusters.ecsv")
    options = ["--background", "3,6 arcmin", "--keep-columns", "all", "-o", "s.ecsv"]
    assert main(["region-statistics", str(folder / "kappa.fits"), clusters, *options]) == 0
    kappa = ConvergenceMap.read(folder / "kappa.fits")
    with pytest.warns(AstropyUserWarning, match="Gaussian prior"):
        expected = kappa.region_statistics(clusters, background=[3, 6] * u.arcmin, keep_columns=True)
    found = QTable.read("s.ecsv")
    assert found.colnames == expected.colnames
    assert np.allclose(found["kappa"], expected["kappa"], atol=1e-6)


def test_the_spectrum_of_given_sources(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "camb", None)  # not needed
    file, name = str(folder / "n_z.ecsv"), ["--source-bin", "bin1"]
    table = Table.read(file)
    expected = PowerSpectrum.from_n_z(table["z_mid"], table["bin1"])
    assert main(["spectrum", file, "--column", "bin1", "-o", "cl.ecsv"]) == 0
    assert np.allclose(PowerSpectrum.read("cl.ecsv").cl, expected.cl, rtol=1e-9)
    assert PowerSpectrum.read("cl.ecsv").name == "default: n_z.ecsv, columns z_mid and bin1"
    assert main(["spectrum", "1", "--ell", "300,1000,3000", "-o", "one.ecsv"]) == 0
    assert np.allclose(PowerSpectrum.read("one.ecsv").cl, PowerSpectrum.default()([300, 1000, 3000]), rtol=1e-3)
    wiener = ["--method", "wiener", "--n-samples", "0", "--pixel-scale", "1.6 arcmin", "--quiet"]
    survey = ["reconstruct", str(folder / "survey.fits"), "--axes", "west-north", *wiener]
    assert main([*survey, "--n-z", file, *name, "-o", "a.fits"]) == 0
    assert main([*survey, "--spectrum", "cl.ecsv", "-o", "b.fits"]) == 0
    a, b = (ConvergenceMap.read(file).data for file in ("a.fits", "b.fits"))
    assert np.allclose(a, b, atol=1e-6) and np.ptp(a) > 1e-3
    assert main([*survey, "--spectrum", "cl.ecsv", "--n-z", file, *name, "-o", "c.fits"]) == 1
    assert "--spectrum, --n-z: give one" in capsys.readouterr().err


def test_the_redshifts_of_a_catalogue_are_sources():
    z = np.random.default_rng(1).gamma(3, 0.2, 500)
    Table({"ra": z, "dec": z, "redshift": z, "mag": 20 + z}).write("galaxies.fits")
    assert main(["spectrum", "galaxies.fits", "-o", "cl.ecsv"]) == 0
    assert np.allclose(PowerSpectrum.read("cl.ecsv").cl, PowerSpectrum.from_n_z(z).cl, rtol=1e-9)


@each_case(
    ("arguments", "message"),
    [
        (["missing.fits"], "SOURCES: needs a redshift, n(z) or a file of n(z); there is no file 'missing.fits'"),
        (["0"], "SOURCES: needs positive, finite redshifts"),
        (["24"], "SOURCES: needs sources at redshifts up to 10, got 24"),
        (
            ["n_z.ecsv"],
            "SOURCES: the table has several distributions, bin1, bin2; choose one, for example --source",
        ),
        (["1", "--cosmology", "Planck18"], "--cosmology: needs --n-s and one of --sigma8 and --As"),
        (["1", "--cosmology", "Planck99"], "Planck18"),
        (["1", "--cosmology", "Planck18", "--h", "0.7"], "--cosmology: contains the densities and h"),
        (["1", "--omega-m", "0.04"], "--omega-m, --omega-b: need 0 < omega_b < omega_m <= 1, got 0.04 and 0.05"),
        (["1", "--h", "70"], "--h: needs the Hubble constant in 100 km / s / Mpc, such as 0.7, got 70"),
    ],
)
def test_invalid_sources_and_cosmologies(arguments, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["spectrum", *arguments, "-o", "no.ecsv"]) == 1
    assert message in capsys.readouterr().err and not Path("no.ecsv").exists()


@pytest.mark.slow
def test_the_spectrum_of_a_cosmology(folder, capsys):
    pytest.importorskip("camb")
    table = Table.read(folder / "n_z.ecsv")
    cosmology = FlatLambdaCDM(72, 0.25, Ob0=0.045, Tcmb0=2.7255, m_nu=0)
    options = {"sigma8": 0.8, "n_s": 0.96, "ell": [300, 1000]}
    expected = PowerSpectrum.from_cosmology(cosmology, n_z=(table["z_mid"], table["bin1"]), **options)
    numbers = ["--omega-m", "0.25", "--omega-b", "0.045", "--h", "0.72", "--n-s", "0.96", "--ell", "300,1000"]
    command = ["spectrum", str(folder / "n_z.ecsv"), "--column", "bin1", *numbers]
    assert main([*command, "--sigma8", "0.8", "-o", "cl.ecsv"]) == 0
    found = PowerSpectrum.read("cl.ecsv")
    assert np.allclose(found.cl, expected.cl, rtol=1e-6)
    assert found.name.startswith("Om0 0.25, Ob0 0.045, h 0.72")
    assert main([*command, "--sigma8", "0.8", "--as", "2e-9"]) == 1
    assert "--sigma8, --As: give one of them" in capsys.readouterr().err


def test_frame_order_and_field_of_a_healpix_map(folder):
    wcs = tan_wcs((20, 20), center=(34.5, -5.0), scale=1.0)
    fits.PrimaryHDU(np.zeros((20, 20)), wcs.to_header()).writeto("image.fits")
    rng = np.random.default_rng(1)
    sphere = Table({"other": np.zeros(12 * 64**2), "kappa": rng.normal(size=12 * 64**2)})
    sphere.meta.update(PIXTYPE="HEALPIX", ORDERING="RING", NSIDE=64)
    sphere.write("sphere.fits")
    command = ["from-healpix", "sphere.fits", "--wcs", "image.fits", "--frame", "galactic", "--nested"]
    for field in ("1", "kappa"):
        assert main([*command, "--field", field, "-o", "k.fits", "--overwrite"]) == 0
        options = {"frame": "galactic", "nested": True, "field": "kappa"}
        expected = ConvergenceMap.from_healpix("sphere.fits", wcs=wcs, shape=(20, 20), **options)
        assert np.allclose(ConvergenceMap.read("k.fits").data, expected.data, atol=1e-6)
