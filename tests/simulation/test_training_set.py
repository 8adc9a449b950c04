"""Simulation of a folder of calibrated maps, with three boxes of 16^3 particles."""

import math
from dataclasses import asdict
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table

from astro_massmap import PowerSpectrum
from astro_massmap.simulation import (
    Cosmology,
    LensPlanes,
    MapSet,
    NBody,
    Transfer,
    band_mean,
    band_power,
    calibrate,
    declared_spectrum,
    light_cone,
    simulate_boxes,
    write_maps,
    write_tables,
)

from helpers.cases import each_case

ARCMIN = math.pi / 10800
SHAPE, PIXEL, REDSHIFT = (32, 40), 2 * ARCMIN, 0.25
SIMULATION = NBody(16, 64.0, mesh_factor=1, longest_step=0.2)
COSMOLOGY = SIMULATION.cosmology
OPTIONS = {"seed": 7, "cells": 64, "z_max": REDSHIFT, "progress": False}


def spectrum(amplitude=1.0):
    """Approximate power of these boxes, with a resolution of 4 Mpc/h at small distances."""
    cl = np.array([4e-11, 2.5e-11, 5e-12, 9e-13, 7e-14, 8e-15, 5e-16])
    return PowerSpectrum([300, 500, 800, 1300, 2000, 3000, 5000], amplitude * cl, name="small")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Boxes, filter, report, maps and tables of one simulation."""
    folder = tmp_path_factory.mktemp("set")
    files = simulate_boxes(folder, SIMULATION, 3, **OPTIONS)
    transfer, report = calibrate(files, COSMOLOGY, spectrum(), SHAPE, PIXEL, redshift=REDSHIFT, seed=5)
    maps = write_maps(folder, files, COSMOLOGY, transfer, 4, SHAPE, PIXEL, redshift=REDSHIFT, seed=5)
    write_tables(folder, spectrum(), transfer, report)
    return folder, files, transfer, report, maps


# ---- boxes


def test_each_box_is_a_file_with_its_seed(made):
    folder, files = made[:2]
    assert files == [folder / f"box_000{i}.safetensors" for i in range(3)]
    boxes = [LensPlanes.load(file) for file in files]
    assert [box.meta["seed"] for box in boxes] == [7, 8, 9]
    assert all(box.overdensity.shape == (11, 3, 64, 64) for box in boxes)  # 710 Mpc/h in slabs of 64
    alone = LensPlanes.simulate(SIMULATION, 8, cells=64, z_max=REDSHIFT)
    assert torch.equal(alone.overdensity, boxes[1].overdensity)
    assert not torch.equal(boxes[0].overdensity, boxes[1].overdensity)


def test_existing_boxes_are_kept(made, monkeypatch):
    folder, files = made[:2]
    before = [file.stat().st_mtime_ns for file in files]
    monkeypatch.setattr(LensPlanes, "simulate", None)
    assert simulate_boxes(str(folder), SIMULATION, 3, **OPTIONS) == files
    assert simulate_boxes(folder, SIMULATION, 2, **OPTIONS) == files[:2]
    assert [file.stat().st_mtime_ns for file in files] == before


def test_an_interrupted_run_continues(capfd):
    simulate_boxes("boxes", NBody(4, 300.0, longest_step=0.4), 1, cells=8, z_max=0.1, progress=False)
    assert capfd.readouterr().err == ""
    first = Path("boxes/box_0000.safetensors").stat().st_mtime_ns
    simulate_boxes("boxes", NBody(4, 300.0, longest_step=0.4), 2, cells=8, z_max=0.1)
    assert "box 2 of 2" in capfd.readouterr().err
    assert sorted(path.name for path in Path("boxes").iterdir()) == ["box_0000.safetensors", "box_0001.safetensors"]
    assert Path("boxes/box_0000.safetensors").stat().st_mtime_ns == first


@each_case(
    ("change", "named"),
    [
        ({"particles": 8}, "particles = 16, not 8"),
        ({"box_size": 80.0}, r"box_size = 64\.0, not 80\.0"),
        ({"mesh_factor": 2}, "mesh_factor = 1, not 2"),
        ({"a_start": 0.05}, r"a_start = 0\.1, not 0\.05"),
        ({"longest_step": 0.1}, r"longest_step = 0\.2, not 0\.1"),
        ({"cosmology": Cosmology(0.3, [0.1, 1], [1, 1])}, "cosmology = .* not 'table'"),
        ({"cosmology": Cosmology(0.31, [0.1, 1], [1, 1], COSMOLOGY.name)}, r"omega_m = 0\.3, not 0\.31"),
        ({"seed": 6}, "seed = 7, not 6"),
        ({"cells": 32}, "cells = 64, not 32"),
        ({"z_max": 0.5}, "slabs = 11, not 21"),
    ],
)
def test_boxes_of_other_settings_are_an_error(made, change, named):
    settings = {"particles": 16, "box_size": 64.0, "mesh_factor": 1, "longest_step": 0.2}
    options = OPTIONS | {key: change[key] for key in change.keys() & OPTIONS.keys()}
    settings |= {key: change[key] for key in change.keys() - OPTIONS.keys()}
    with pytest.raises(ValueError, match=rf"^folder: '.*box_0000.safetensors' was made with {named}"):
        simulate_boxes(made[0], NBody(**settings), 3, **options)


def test_damaged_boxes_are_an_error(made):
    content = made[1][1].read_bytes()
    Path("box_0001.safetensors").write_bytes(content[: len(content) // 2])
    Path("box_0000.safetensors").write_bytes(made[1][0].read_bytes())
    with pytest.raises(OSError, match=r"'box_0001.safetensors' is damaged"):
        simulate_boxes(".", SIMULATION, 3, **OPTIONS)
    assert Path("box_0001.safetensors").stat().st_size == len(content) // 2
    assert not Path("box_0002.safetensors").exists()


def test_a_light_cone_contains_all_boxes(made):
    cone = light_cone(made[1], COSMOLOGY, redshift=REDSHIFT)
    assert cone.planes.shape == (11, 9, 65, 65)  # the first row and column once more at the end
    with pytest.raises(ValueError, match="larger z_max"):
        light_cone(made[1], COSMOLOGY, redshift=0.5)


# ---- calibration


def test_the_filter_is_validated_on_other_boxes(made):
    report = made[3]
    assert (report.fitted, report.judged) == ([0, 2], [1])
    for files, fitted, judged in ((made[1][:1], [0], [0]), (made[1][:2], [0], [1]), ([*made[1], made[1][0]], 2, 2)):
        other = calibrate(files, COSMOLOGY, spectrum(), SHAPE, PIXEL, redshift=REDSHIFT)[1]
        assert (other.fitted, other.judged) == (([0, 2], [1, 3]) if len(files) == 4 else (fitted, judged))
        known = np.isfinite(other.calibrated)
        assert np.array_equal(np.isfinite(other.error), known & (len(files) > 1))


def test_the_filter_is_fitted_to_every_second_box(made):
    files, transfer = made[1:3]
    maps = [
        light_cone([files[i]], COSMOLOGY, redshift=REDSHIFT).draw(16, SHAPE, PIXEL, np.random.default_rng([5, i, 0]))
        for i in (0, 1, 2)
    ]
    expected = Transfer.fit(torch.cat([maps[0], maps[2]]), PIXEL, declared_spectrum(spectrum()))
    assert np.array_equal(transfer.factor, expected.factor)
    assert transfer.factor.std() > 0.01
    # report: raw power of all boxes over theory, calibrated power of the validation box over the declared spectrum
    edges, report = np.geomspace(200, 25000, 20), made[3]
    raw = np.mean([band_power(m, PIXEL, edges).mean(axis=0) for m in maps], axis=0)
    assert np.allclose(report.ell, np.sqrt(edges[1:] * edges[:-1]))
    assert np.allclose(report.raw, raw / band_mean(spectrum(), SHAPE, PIXEL, edges), equal_nan=True)
    after = band_power(transfer.apply(maps[1], PIXEL), PIXEL, edges).mean(axis=0)
    declared = band_mean(declared_spectrum(spectrum()), SHAPE, PIXEL, edges)
    assert np.allclose(report.calibrated, after / declared, equal_nan=True)
    assert 5 < np.isfinite(report.raw).sum() < 19  # up to the Nyquist frequency, 5400


def test_calibrated_maps_come_closer_to_the_spectrum(made):
    # target: half of the power of the boxes, which is reached on average despite the scatter between boxes
    half = spectrum(0.5)
    report = calibrate(made[1], COSMOLOGY, half, SHAPE, PIXEL, redshift=REDSHIFT)[1]
    seen = (report.ell > 700) & (report.ell < 4000)
    before, after = (
        np.log(report.raw * half(report.ell) / declared_spectrum(half)(report.ell)),
        np.log(report.calibrated),
    )
    assert before[seen].mean() > 0.5
    assert abs(after[seen].mean()) < 0.3


def test_calibration_for_a_distribution_of_sources(made):
    n_z = ([0.1, 0.2, 0.25], [0.0, 1.0, 0.5])
    transfer, report = calibrate(made[1][:1], COSMOLOGY, spectrum(), SHAPE, PIXEL, n_z=n_z)
    assert np.all(transfer.factor > 0)
    (file,) = write_maps(".", made[1][:1], COSMOLOGY, transfer, 1, SHAPE, PIXEL, n_z=n_z)
    assert fits.getheader(file)["source_redshift"] == "n(z)"
    assert np.all(report.raw[np.isfinite(report.raw)] > 0)


# ---- maps and tables


def test_maps_are_fits_cubes_with_their_settings(made):
    folder, files, transfer, _, maps = made
    assert maps == [folder / f"maps_000{i}.fits" for i in range(3)]
    for i, file in enumerate(maps):
        data, header = fits.getdata(file, header=True)
        assert data.shape == (4, *SHAPE)
        cone = light_cone([files[i]], COSMOLOGY, redshift=REDSHIFT)
        expected = transfer.draw(cone, 4, SHAPE, PIXEL, np.random.default_rng([5, i, 1]))
        assert np.array_equal(data, expected.numpy())
        assert np.isclose(header["CDELT2"], 1 / 30)
        assert header["CUNIT1"] == "deg"
        assert header["CREATOR"].startswith("astro_massmap ")
        assert (header["RESOLELL"], header["RESOLEXP"]) == (5200, 2.2)
        expected = {"seed": 7 + i, "particles": 16, "box_size": 64, "omega_m": 0.3, "source_redshift": REDSHIFT}
        assert {key: header[key] for key in expected} == expected
        assert header["cosmology"] == COSMOLOGY.name


def test_the_folder_is_a_set_of_maps(made):
    maps = MapSet.open(made[0])
    assert len(maps) == 12
    assert maps.shape == SHAPE
    assert np.isclose((maps.pixel_size * u.rad).to_value(u.arcmin), 2)
    assert maps.boxes == [f"maps_000{i}.fits" for i in range(3) for _ in range(4)]
    assert np.array_equal(maps[5], fits.getdata(made[4][1])[1])
    training, validation = maps.split()
    assert not set(training.boxes) & set(validation.boxes)


def test_maps_are_reproducible(made):
    folder, files, transfer, _, maps = made
    arguments = (files, COSMOLOGY, transfer, 4, SHAPE, PIXEL)
    again = write_maps(".", *arguments, redshift=REDSHIFT, seed=5)
    assert all(np.array_equal(fits.getdata(one), fits.getdata(other)) for one, other in zip(again, maps, strict=True))
    Path("other").mkdir()
    other = write_maps("other", *arguments, redshift=REDSHIFT, seed=6)
    assert not np.allclose(fits.getdata(other[0]), fits.getdata(maps[0]), atol=1e-4)
    # existing files are kept
    before = maps[0].stat().st_mtime_ns
    assert write_maps(folder, *arguments, redshift=REDSHIFT, seed=6) == maps
    assert maps[0].stat().st_mtime_ns == before


def test_tables_round_trip(made):
    folder, _, transfer, report, _ = made
    back = PowerSpectrum.read(folder / "spectrum.ecsv")
    assert np.allclose(back.cl, declared_spectrum(spectrum()).cl)
    assert back.name == "small, resolved to ell 5200"
    table = Table.read(folder / "transfer.ecsv")
    assert np.allclose(Transfer(table["ell"], table["factor"])(1500), transfer(1500))
    table = Table.read(folder / "report.ecsv")
    for name in ("ell", "raw", "calibrated", "error"):
        assert np.allclose(table[name], asdict(report)[name], equal_nan=True)
    assert table.meta == {"fitted on boxes": [0, 2], "judged on boxes": [1]}
    write_tables(folder, spectrum(), transfer, report)  # replaces existing tables


def test_maps_need_a_folder(made):
    with pytest.raises(OSError, match="the folder 'nowhere' does not exist"):
        write_maps("nowhere", made[1], COSMOLOGY, made[2], 1, SHAPE, PIXEL, redshift=REDSHIFT)
