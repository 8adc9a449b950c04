"""Writing through symbolic links, and reading from a package in a zip."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import astro_massmap
from astro_massmap import ConvergenceMap, datasets
from astro_massmap._utils.files import atomic_path, check_target


def test_a_symbolic_link_is_followed(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (store / "data").write_text("old")
    Path("link.txt").symlink_to("again.txt")
    Path("again.txt").symlink_to(store / "data")
    with atomic_path("link.txt", overwrite=True) as temporary:
        assert temporary.parent == store and temporary.suffix == ".txt"  # so that the rename stays on one disk
        temporary.write_text("new")
    assert (store / "data").read_text() == "new"
    assert Path("link.txt").is_symlink() and Path("again.txt").is_symlink()
    assert [f.name for f in store.iterdir()] == ["data"]
    with pytest.raises(OSError, match=r"'link\.txt' exists"):
        check_target("link.txt")


def test_a_map_is_written_through_links_of_files_and_folders(tmp_path):
    (tmp_path / "disk").mkdir()
    Path("maps").symlink_to("disk")
    Path("maps/kappa.fits.gz").symlink_to("first.fits.gz")  # a dangling link
    truth = datasets.demo_truth()
    for _ in range(2):
        truth.write("maps/kappa.fits.gz", overwrite=True)
        assert sorted(f.name for f in Path("disk").iterdir()) == ["first.fits.gz", "kappa.fits.gz"]
        assert Path("disk/kappa.fits.gz").is_symlink() and not Path("disk/first.fits.gz").is_symlink()
        assert ConvergenceMap.read("disk/first.fits.gz").shape == truth.shape
    assert Path("disk/first.fits.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_invalid_links():
    Path("round.fits").symlink_to("round.fits")
    Path("far.fits").symlink_to("missing/far.fits")
    Path("folder").mkdir()
    Path("folder.fits").symlink_to("folder")
    for name, reason in [
        ("round.fits", "is a circular symbolic link"),
        ("far.fits", "folder .*missing' does not exist"),
        ("folder.fits", "is a folder"),
    ]:
        with pytest.raises(OSError, match=reason), atomic_path(name, overwrite=True):
            pass
        assert Path(name).is_symlink()


FROM_A_ZIP = """
import astro_massmap
from astro_massmap import PowerSpectrum, ScorePrior, datasets
from astro_massmap.priors import PosteriorNetwork
from astro_massmap.simulation import Cosmology
assert ".zip" in astro_massmap.__file__, astro_massmap.__file__
print(len(datasets.demo()), datasets.demo_truth().shape, len(datasets.demo_clusters()))
print(PowerSpectrum.default().name, Cosmology.default(), ScorePrior.load(), PosteriorNetwork.load(), sep="|")
"""


@pytest.mark.slow
def test_data_are_read_from_a_package_in_a_zip(tmp_path):
    package = Path(astro_massmap.__file__).parent
    with zipfile.ZipFile(tmp_path / "massmap.zip", "w") as archive:
        for file in package.rglob("*"):
            if "__pycache__" not in file.parts:
                archive.write(file, Path(package.name) / file.relative_to(package))
    results = []
    for code, path in ((FROM_A_ZIP, tmp_path / "massmap.zip"), (FROM_A_ZIP.replace("assert", "#"), package.parent)):
        run = [sys.executable, "-c", code]
        done = subprocess.run(
            run, env={**os.environ, "PYTHONPATH": str(path)}, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        results.append(done.stdout)
    assert results[0] == results[1] and results[0].startswith("65666 (128, 128) 5\n")
