"""Interrupted runs lose no finished samples, and files on the disk are valid."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

from astro_massmap import AnnealedHMC, ConvergenceMap, GaussianPrior, datasets
from astro_massmap.methods import _checkpoint, _sample_files
from astro_massmap.methods._checkpoint import Checkpoint
from astro_massmap.methods.base import mean_and_std

from helpers import skies
from helpers.chains import FAST, GENTLE, Prior, observation

OPTIONS = {"n_samples": 5, "seed": 2, **FAST, "n_jobs": 1}


def finished(index):
    return [json.loads(line)["sample"] for line in Path(index).read_text().splitlines()[1:]]


def stop_before(monkeypatch, sample, error=KeyboardInterrupt):
    add = Checkpoint.add

    def interrupted(self, indices, *drawn):
        if sample in indices:
            raise error
        add(self, indices, *drawn)

    monkeypatch.setattr(Checkpoint, "add", interrupted)


def test_an_interrupted_run_continues(monkeypatch):
    data = observation()
    whole = AnnealedHMC(GENTLE, **OPTIONS).solve(data)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_before(patch, 3)
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(data)
    assert finished("c.fits.ledger") == [0, 1, 2]
    resumed = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(data)
    assert np.array_equal(resumed.samples, whole.samples)
    assert np.array_equal(resumed.mean, whole.mean) and np.array_equal(resumed.std, whole.std)
    assert resumed.diagnostics["acceptance"] == whole.diagnostics["acceptance"]
    assert isinstance(resumed.samples, np.memmap) and not resumed.samples.flags.writeable


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import torch
from astro_massmap import AnnealedHMC
from helpers.chains import FAST, GENTLE, observation
torch.set_num_threads(1)
options = dict(FAST, n_samples=300, checkpoint="c.fits")
AnnealedHMC(GENTLE, **options).solve(observation())
"""


def run_script(**options):
    path = [p for p in sys.path if p.endswith(("tests", "benchmarks"))]
    return subprocess.Popen([sys.executable, "-c", SCRIPT.format(path=path)], **options)


@pytest.mark.slow
def test_killed_runs_continue():
    rng = np.random.default_rng(5)
    for kill in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        before = len(finished("c.fits.ledger")) if Path("c.fits.ledger").exists() else 0
        process = run_script()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (
            not Path("c.fits.ledger").exists() or Path("c.fits.ledger").read_bytes().count(b"\n") < before + 3
        ):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(kill)
        assert process.wait() == -kill
        assert before < Path("c.fits.ledger").read_bytes().count(b"\n") < 301
        with fits.open("c.fits") as hdus:
            hdus.verify("exception")
            assert hdus[0].data.shape == (300, 24, 24)
    assert run_script().wait() == 0
    resumed = Path("c.fits").read_bytes()
    for file in ("c.fits", "c.fits.ledger"):
        Path(file).unlink()
    assert run_script().wait() == 0
    assert Path("c.fits").read_bytes() == resumed


@pytest.mark.slow
def test_a_run_killed_before_its_file_exists_continues(monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_checkpoint, "create_samples", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert Path("c.fits.ledger").exists() and not Path("c.fits").exists()
    assert np.isfinite(AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation()).samples).all()


def test_an_incomplete_last_line_is_ignored():
    whole = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    lines = Path("c.fits.ledger").read_bytes()
    mark = json.loads(lines.splitlines()[0])["mark"]
    for cut in range(1, len(lines.splitlines(keepends=True)[-1])):
        Path("c.fits.ledger").write_bytes(lines[:-cut])
        assert sorted(Checkpoint("c.fits", (5, 24, 24), mark).records) == [0, 1, 2, 3]
    resumed = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert np.array_equal(resumed.samples, whole.samples)
    assert sorted(finished("c.fits.ledger")) == [0, 1, 2, 3, 4]


def test_a_damaged_sample_is_drawn_again():
    whole = np.array(AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation()).samples)
    offset = _sample_files.open_samples("c.fits").offset
    with open("c.fits", "r+b") as file:
        file.seek(offset + 4 * 24 * 24 * 2 + 7)
        file.write(b"\xff")
    with pytest.warns(AstropyUserWarning, match="1 samples of 'c.fits' are damaged"):
        resumed = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert np.array_equal(resumed.samples, whole)


# ---- full disks


def test_too_small_a_disk_is_an_error_before_the_run(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**3))
    with pytest.raises(OSError, match=r"the samples need .* GiB, the disk of 'c.fits' has"):
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert not Path("c.fits").exists()


@pytest.mark.slow
def test_a_full_disk_keeps_finished_samples(monkeypatch):
    # a limit on the size of files simulates a disk that is filled after the file was created
    whole = AnnealedHMC(GENTLE, **OPTIONS).solve(observation())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_before(patch, 1)
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = _sample_files.open_samples("c.fits").offset + 3 * 4 * 24 * 24 - 100
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OSError, match="2 finished samples are kept"):
            AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert finished("c.fits.ledger") == [0, 1]
    resumed = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert np.array_equal(resumed.samples, whole.samples)


def test_an_index_file_that_cannot_be_written_has_no_incomplete_line(monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_before(patch, 2)
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    there, fsync, calls = Path("c.fits.ledger").read_bytes(), os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:  # first the sample, then its line
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device; 2 finished"):
        patch.setattr(os, "fsync", full)
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert Path("c.fits.ledger").read_bytes() == there


# ---- files of samples


def test_astropy_reads_the_samples_and_their_wcs():
    shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    kappa = shear.reconstruct(AnnealedHMC(GaussianPrior(), n_samples=3, checkpoint="c.fits"), progress=False)
    with fits.open("c.fits") as hdus:
        samples, header = hdus[0].data.copy(), hdus[0].header
    assert np.array_equal(samples, kappa.samples)
    wcs = WCS(header, naxis=2)
    assert wcs.wcs.compare(kappa.wcs.wcs, tolerance=1e-9)
    assert isinstance(kappa.samples, np.memmap)


@pytest.mark.slow
def test_samples_of_a_file_are_not_loaded_into_memory():
    # 160 MiB of samples, which are read and written map by map
    shape = (640, 256, 256)
    samples = _sample_files.create_samples("c.fits", shape)
    small = np.random.default_rng(0).normal(size=(4, 256, 256)).astype(np.float32)
    for i in range(shape[0]):
        _sample_files.put_sample("c.fits", samples, i, small[i % 4])
    tracemalloc.start()
    mean, std = mean_and_std(samples)
    kappa = ConvergenceMap(mean, wcs=skies.tan_wcs(shape[1:]), samples=samples)
    kappa.write("kappa.fits")
    again = ConvergenceMap.read("kappa.fits", memmap=True)
    part = again[:10, 20:50]
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()
    assert np.allclose(mean, small.mean(axis=0), atol=1e-6)
    assert np.allclose(std, small.std(axis=0) * np.sqrt(640 / 639), atol=1e-6)
    assert isinstance(again.samples, np.memmap) and np.array_equal(again.samples[600], small[0])
    assert part.samples.shape == (640, 10, 30) and np.array_equal(part.samples[5], small[1, :10, 20:50])
    with fits.open("kappa.fits") as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["KAPPA", "MASK", "SAMPLES", "NOTES"]


def test_a_map_is_the_same_from_memory_and_from_its_file():
    kappa = datasets.demo().reconstruct("wiener", n_samples=3, pixel_scale=1.6 * u.arcmin, progress=False)
    kappa.write("one.fits")
    mapped = ConvergenceMap.read("one.fits", memmap=True)
    Path("there").mkdir()
    mapped.write(Path("there/two.fits"))
    for map_ in (mapped, ConvergenceMap.read("there/two.fits")):
        assert np.array_equal(map_.samples, kappa.samples) and map_.meta == kappa.meta
    assert ConvergenceMap.read("there/two.fits").samples.dtype == kappa.samples.dtype
    kappa.write("one.fits.gz")
    with pytest.raises(OSError, match="it is compressed"):
        ConvergenceMap.read("one.fits.gz", memmap=True)


def test_quantiles_in_strips_are_those_of_the_whole_map(monkeypatch):
    from astro_massmap.analysis import quantiles as _quantiles

    kappa = datasets.demo().reconstruct("wiener", n_samples=6, pixel_scale=1.6 * u.arcmin, progress=False)
    monkeypatch.setattr(_quantiles, "_STRIP", 5 * kappa.samples[:, 0].nbytes)
    assert np.allclose(kappa.median, np.median(kappa.samples, axis=0), rtol=1e-6)
    for q in ([0.2, 0.8], 0.3):
        assert np.allclose(kappa.quantile(q), np.quantile(kappa.samples, q, axis=0, method="weibull"), atol=1e-6)


# ---- files of other runs, and damaged files


def test_a_checkpoint_of_another_run_is_an_error_and_unchanged(tmp_path):
    options = {"n_samples": 2, "checkpoint": "c.fits", **FAST}
    AnnealedHMC(GENTLE, **options).solve(observation())
    before = [(tmp_path / file).read_bytes() for file in ("c.fits", "c.fits.ledger")]
    for method, data in [
        (AnnealedHMC(GENTLE, **options), observation(seed=1)),
        (AnnealedHMC(GENTLE, seed=9, **options), observation()),
        (AnnealedHMC(Prior(lambda modes, sigma: 0.11 * modes), **options), observation()),
        (AnnealedHMC(GaussianPrior(), **options), observation()),
        (AnnealedHMC(GENTLE, **options | {"n_samples": 1}), observation()),
    ]:
        with pytest.raises(ValueError, match=r"other data or other settings|n_samples: the checkpoint .* is for 2"):
            method.solve(data)
    assert [(tmp_path / file).read_bytes() for file in ("c.fits", "c.fits.ledger")] == before


def test_a_finished_run_is_extended():
    whole = AnnealedHMC(GENTLE, **OPTIONS).solve(observation())
    for n in (2, 5):
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS | {"n_samples": n}).solve(observation())
        assert finished("c.fits.ledger") == list(range(n))  # samples of the first run were not drawn again
    assert np.array_equal(fits.getdata("c.fits"), whole.samples)
    assert not Path("c.fits.more.fits").exists()


def test_a_new_object_of_the_same_prior_continues_a_run():
    options = {"n_samples": 2, "checkpoint": "c.fits", **FAST}
    first = AnnealedHMC(Prior(lambda modes, sigma: 0.1 * modes), **options).solve(observation())
    again = AnnealedHMC(Prior(lambda modes, sigma: 0.1 * modes), **options).solve(observation())
    assert np.array_equal(first.samples, again.samples)


def test_files_that_are_not_checkpoints_are_errors(tmp_path):
    options = {"n_samples": 2, "checkpoint": "c.fits", **FAST}
    (tmp_path / "c.fits").write_bytes(b"precious")
    with pytest.raises(OSError, match="no run can continue"):
        AnnealedHMC(GENTLE, **options).solve(observation())
    for index in (
        "{",
        "",
        "[]\n",
        "\n",
        '{"mark": "x"}\n3\n',
        '{"mark": "x"}\n{"sample": 0}\n',
        '{"mark": "x"}\n{"sample": -9, "crc32": 1}\n',
        "[" * 100_000 + "\n",
    ):
        (tmp_path / "c.fits.ledger").write_text(index)
        with pytest.raises((OSError, ValueError), match=r"damaged|other data"):
            AnnealedHMC(GENTLE, **options).solve(observation())
    assert (tmp_path / "c.fits").read_bytes() == b"precious"


def test_a_truncated_file_is_an_error():
    AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    os.truncate("c.fits", 9000)
    with pytest.raises(OSError, match="damaged"):
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())


@pytest.mark.slow
def test_an_index_file_without_its_samples_does_not_block_the_next_run():
    whole = np.array(AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation()).samples)
    for left in (observation(), observation(seed=1)):  # the same data, and other data
        Path("c.fits").unlink()
        with pytest.warns(AstropyUserWarning, match="'c.fits' does not exist, but its index file lists 5 samples"):
            again = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(left)
        assert np.array_equal(again.samples, whole) == (left.shear[0, 0, 0] == observation().shear[0, 0, 0])
        assert finished("c.fits.ledger") == [0, 1, 2, 3, 4]
    Path("c.fits").unlink()
    for empty in ("", '{"mark": "of another run"}\n'):  # no samples are lost, and no warning is given
        Path("c.fits.ledger").write_text(empty)
        assert np.array_equal(AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation()).samples, whole)
        Path("c.fits").unlink()
    Path("c.fits.ledger").write_text("2026-01-01 opening balances\n")
    with pytest.raises(OSError, match="is not an index file of this package"):
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert not Path("c.fits").exists() and "balances" in Path("c.fits.ledger").read_text()


def test_samples_without_their_index_file_are_unchanged():
    AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    before = Path("c.fits").read_bytes()
    Path("c.fits.ledger").unlink()
    with pytest.raises(OSError, match=r"exists without its index file 'c.fits.ledger', .*remove it"):
        AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert Path("c.fits").read_bytes() == before


def damaged_records():
    """Yield changes of a record, with None for a missing key, or other JSON values instead of a record."""
    keys = ("sample", "crc32", "evaluations", "restarts", "acceptance", "energy_error", "trace")
    values = (None, -1.5, "1", [], {}, [[1.0]], ["a"], [None], True)
    yield from ({key: value} for key in keys for value in values)
    yield from ({"sample": 5}, {"acceptance": [[0.5], [0.5, 0.5]]}, "no dictionary", 3, [])


@pytest.mark.parametrize("line", [1, 3])
def test_a_sample_with_a_damaged_record_is_drawn_again(line):
    whole = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    lines = Path("c.fits.ledger").read_text().splitlines()
    mark = json.loads(lines[0])["mark"]
    for change in damaged_records():
        record = json.loads(lines[line])
        if isinstance(change, dict):
            record = {key: value for key, value in {**record, **change}.items() if value is not None}
        else:
            record = change
        Path("c.fits.ledger").write_text("\n".join([*lines[:line], json.dumps(record), *lines[line + 1 :], ""]))
        with pytest.warns(AstropyUserWarning, match="1 samples of 'c.fits' are damaged"):
            assert sorted(Checkpoint("c.fits", (5, 24, 24), mark).records) == sorted({0, 1, 2, 3, 4} - {line - 1})
        assert sorted(Checkpoint("c.fits", (5, 24, 24), mark).records) == sorted({0, 1, 2, 3, 4} - {line - 1})
    resumed = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS).solve(observation())
    assert np.array_equal(resumed.samples, whole.samples)
    assert resumed.diagnostics["acceptance"] == whole.diagnostics["acceptance"]


@pytest.mark.parametrize("name", ["c.npy", "c.h5", "c.fits.gz", "fits"])
def test_other_file_extensions_are_errors(name):
    with pytest.raises(ValueError, match=rf"checkpoint: needs .* ends in \.fits, got '{name}'"):
        AnnealedHMC(checkpoint=name)
