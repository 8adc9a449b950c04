"""Simulation of a folder of calibrated maps: boxes, the calibration filter, cubes of maps, and a report."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from .._utils.files import atomic_path
from .._utils.progress import progress_bar
from .._utils.version import __version__
from .calibration import RESOLUTION, Transfer, declared_spectrum
from .light_cone import LensPlanes, LightCone, lensing_weights, slab_distances
from .statistics import band_mean, band_power

_FIT_MAPS = 16  # maps of each box for the filter and the report
_BANDS = np.geomspace(200, 25000, 20)


def simulate_boxes(folder, simulation, n_boxes, *, seed=0, cells=None, z_max=1.0, progress=True):
    """
    Run simulations and write their lens planes; existing files are kept.

    Parameters
    ----------
    folder : path-like
        Folder for ``box_0000.safetensors`` and so on.
    simulation : NBody
        Simulation and its settings.
    n_boxes, seed : int
        Number of boxes, and seed of the first; box i has the seed ``seed + i``.
    cells, z_max
        Cells of a plane, by default 8/3 of those of the force mesh, and redshift, as for `LensPlanes.simulate`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of Path
        The ``n_boxes`` files.

    Raises
    ------
    OSError, ValueError
        If an existing file is damaged, or was made with other settings.

    Examples
    --------
    >>> from astro_massmap.simulation import NBody, simulate_boxes
    >>> files = simulate_boxes("boxes", NBody(16, 64.0), 2, seed=7, cells=32, z_max=0.1, progress=False)
    >>> [file.name for file in files]
    ['box_0000.safetensors', 'box_0001.safetensors']
    """
    folder, files = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    cells = 8 * simulation.cells // 3 if cells is None else cells
    cosmology = simulation.cosmology
    distance = slab_distances(cosmology, simulation.box_size, z_max)
    for i in range(n_boxes):
        file = folder / f"box_{i:04d}.safetensors"
        files.append(file)
        if file.exists():
            _check_box(file, simulation, seed + i, cells, len(distance))
            continue
        steps = len(simulation.scale_factors(cosmology.scale_factor(distance)[::-1])) - 1
        with progress_bar(total=steps, desc=f"box {i + 1} of {n_boxes}", unit="step", disable=not progress) as bar:

            def on_step(a, bar=bar):
                bar.set_postfix(z=f"{1 / a - 1:.2f}")
                bar.update()

            LensPlanes.simulate(simulation, seed + i, cells=cells, z_max=z_max, on_step=on_step).save(file)
    return files


def _check_box(file, simulation, seed, cells, slabs):
    there = LensPlanes.load(file)
    wanted = simulation.describe(seed) | {"box_size": simulation.box_size, "omega_m": simulation.cosmology.omega_m}
    found = there.meta | {"box_size": there.box_size, "omega_m": there.omega_m}
    wanted |= {"cells": cells, "slabs": slabs}
    found |= {"cells": there.overdensity.shape[-1], "slabs": len(there.distance)}
    other = [key for key in wanted if found.get(key) != wanted[key]]
    if other:
        raise ValueError(
            f"folder: {str(file)!r} was made with {other[0]} = {found.get(other[0])!r}, not {wanted[other[0]]!r}; "
            "use another folder, or the same settings"
        )


@dataclass
class Report:
    """
    Accuracy of the calibration in bands of ell, on boxes that were not used to fit the filter.

    Attributes
    ----------
    ell : ndarray
        Middles of the bands, ``(bands,)``.
    raw : ndarray
        Power before the filter divided by theory, mean over all boxes; NaN in bands without modes.
    calibrated, error : ndarray
        Power after the filter divided by the declared spectrum, mean over the validation boxes, and its standard error
        from the scatter of all boxes, which includes the scatter of the fitted boxes. NaN for the error of one box.
    fitted, judged : list of int
        Numbers of the boxes that the filter was fitted on, and of the validation boxes.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import Report
    >>> one = np.ones(2)
    >>> report = Report(1000 * one, raw=0.9 * one, calibrated=1.02 * one, error=0.01 * one, fitted=[0, 2], judged=[1])
    >>> ((report.calibrated - 1) / report.error).round(3).tolist()
    [2.0, 2.0]
    """

    ell: np.ndarray
    raw: np.ndarray
    calibrated: np.ndarray
    error: np.ndarray
    fitted: list
    judged: list


def calibrate(files, cosmology, spectrum, shape, pixel_size, *, redshift=None, n_z=None, seed=0):
    """
    Fit the calibration filter on every second box, and validate it on the others.

    Parameters
    ----------
    files : list of Path
        Files of `simulate_boxes`.
    cosmology : Cosmology
        Cosmology of the simulations.
    spectrum : `~astro_massmap.PowerSpectrum`
        Theoretical spectrum of the convergence; the maps are calibrated to its `declared_spectrum`.
    shape, pixel_size, seed
        Rows and columns of the maps, side of a pixel in radians, and seed of the maps.
    redshift, n_z
        Redshift or distribution of the sources, see `lensing_weights`.

    Returns
    -------
    transfer, report : Transfer, Report
        Calibration filter, and its accuracy on the validation boxes; with one box, on that box.

    Raises
    ------
    OSError, ValueError
        If a file does not exist or is damaged, or the sources are not valid or lie beyond the lens planes.

    Examples
    --------
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import Cosmology, NBody, calibrate, simulate_boxes
    >>> files = simulate_boxes("boxes", NBody(16, 64.0), 2, cells=32, z_max=0.1, progress=False)
    >>> spectrum = PowerSpectrum([300, 1000, 5000], [1e-13, 3e-16, 5e-20])
    >>> transfer, report = calibrate(files, Cosmology.default(), spectrum, (32, 40), 6e-4, redshift=0.1)
    >>> report.fitted, report.judged
    ([0], [1])
    """
    declared, raw, maps = declared_spectrum(spectrum), [], []
    for i, file in enumerate(files):
        cone = light_cone([file], cosmology, redshift=redshift, n_z=n_z)
        maps.append(cone.draw(_FIT_MAPS, shape, pixel_size, np.random.default_rng([seed, i, 0])))
        raw.append(band_power(maps[-1], pixel_size, _BANDS).mean(axis=0))
    fitted = list(range(0, len(files), 2))
    judged = list(range(1, len(files), 2)) or fitted
    transfer = Transfer.fit(torch.cat([maps[i] for i in fitted]), pixel_size, declared)
    after = np.array([band_power(transfer.apply(maps[i], pixel_size), pixel_size, _BANDS).mean(axis=0) for i in judged])
    after /= band_mean(declared, shape, pixel_size, _BANDS)
    # the fitted boxes and the validation boxes both scatter
    scatter = np.std(raw, axis=0, ddof=1) / np.mean(raw, axis=0) if len(files) > 1 else np.full(len(after[0]), np.nan)
    error = after.mean(axis=0) * scatter * np.sqrt(1 / len(fitted) + 1 / len(judged))
    theory = band_mean(spectrum, shape, pixel_size, _BANDS)
    ell = np.sqrt(_BANDS[1:] * _BANDS[:-1])
    return transfer, Report(ell, np.mean(raw, axis=0) / theory, after.mean(axis=0), error, fitted, judged)


def light_cone(files, cosmology, *, redshift=None, n_z=None, device="cpu"):
    """
    Make a `LightCone` of files of lens planes.

    Parameters
    ----------
    files, cosmology, redshift, n_z
        Files (at least one), cosmology and sources, as for `calibrate`.
    device : `torch.device` or str
        Device of the computation.

    Raises
    ------
    OSError, ValueError
        As for `calibrate`; also if the boxes differ in slabs or cells.

    Examples
    --------
    >>> from astro_massmap.simulation import Cosmology, NBody, light_cone, simulate_boxes
    >>> files = simulate_boxes("boxes", NBody(16, 64.0), 2, cells=32, z_max=0.1, progress=False)
    >>> light_cone(files, Cosmology.default(), redshift=0.1).weights.shape
    (5,)
    """
    cubes = [LensPlanes.load(file) for file in files]
    weights = lensing_weights(cosmology, cubes[0].distance, cubes[0].box_size, redshift=redshift, n_z=n_z)
    return LightCone(cubes, weights, device)


def write_maps(folder, files, cosmology, transfer, n, shape, pixel_size, *, redshift=None, n_z=None, seed=0):
    """
    Write ``n`` calibrated maps of each box to a FITS cube; existing files are kept.

    Parameters
    ----------
    folder : path-like
        Folder for ``maps_0000.fits`` and so on.
    files, cosmology, shape, pixel_size, redshift, n_z
        Boxes, maps and sources, as for `calibrate`.
    transfer, n, seed
        Calibration filter, maps of each box, and seed of the maps.

    Returns
    -------
    list of Path
        Files of the cubes ``(n, ny, nx)``, one for each box; `MapSet.open` opens the folder.

    Raises
    ------
    OSError, ValueError
        As for `calibrate`; also if the folder does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import Cosmology, NBody, Transfer, simulate_boxes, write_maps
    >>> files = simulate_boxes("set", NBody(16, 64.0), 1, cells=32, z_max=0.1, progress=False)
    >>> unity = Transfer(np.array([100.0, 10000.0]), np.ones(2))
    >>> write_maps("set", files, Cosmology.default(), unity, 4, (24, 32), 6e-4, redshift=0.1)[0].name
    'maps_0000.fits'
    """
    written = []
    for i, file in enumerate(files):
        target = Path(folder) / f"maps_{i:04d}.fits"
        written.append(target)
        if target.exists():
            continue
        cone = light_cone([file], cosmology, redshift=redshift, n_z=n_z)
        maps = transfer.draw(cone, n, shape, pixel_size, np.random.default_rng([seed, i, 1]))
        planes = LensPlanes.load(file)
        cards = planes.meta | {"box_size": planes.box_size, "omega_m": planes.omega_m}
        cards |= {"source_redshift": "n(z)" if redshift is None else float(redshift)}
        write_cube(target, maps.numpy(), pixel_size, cards)
    return written


def write_cube(file, maps, pixel_size, cards):
    """Write the maps ``(n, ny, nx)`` of one box to a new FITS file, with a dict of numbers and text in its header."""
    from astropy.io import fits

    header = fits.Header()
    for axis in (1, 2):
        header[f"CDELT{axis}"], header[f"CUNIT{axis}"] = float(np.degrees(pixel_size)), "deg"
    header["EXTNAME"], header["BUNIT"] = "KAPPA", ""
    header["CREATOR"] = f"astro_massmap {__version__}"
    header["RESOLELL"] = (RESOLUTION[0], "power is C / (1 + (ell / RESOLELL)**RESOLEXP)")
    header["RESOLEXP"] = RESOLUTION[1]
    for key, value in cards.items():
        header[f"HIERARCH {key}"] = value
    with atomic_path(file) as temporary:
        fits.PrimaryHDU(maps, header).writeto(temporary)


def write_tables(folder, spectrum, transfer, report):
    """
    Write the declared spectrum, the filter and the report as ECSV tables.

    Parameters
    ----------
    folder : path-like
        Existing folder for ``spectrum.ecsv``, ``transfer.ecsv`` and ``report.ecsv``; these files are replaced.
    spectrum : `~astro_massmap.PowerSpectrum`
        Theoretical spectrum, whose `declared_spectrum` is written.
    transfer, report
        Results of `calibrate`.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import Report, Transfer, write_tables
    >>> one = np.ones(1)
    >>> write_tables(".", PowerSpectrum.default(), Transfer(one, one), Report(one, one, one, one, [0], [1]))
    >>> PowerSpectrum.read("spectrum.ecsv").ell[[0, -1]].tolist()
    [10.0, 100000.0]
    """
    from astropy.table import Table

    save_spectrum(folder, spectrum)
    numbers = {k: v for k, v in asdict(report).items() if isinstance(v, np.ndarray)}
    meta = {"fitted on boxes": report.fitted, "judged on boxes": report.judged}
    _write_table(folder, "report", Table(numbers, meta=meta))
    _write_table(folder, "transfer", Table({"ell": transfer.ell, "factor": transfer.factor}))


def save_spectrum(folder, spectrum):
    """Write the declared spectrum of a theoretical spectrum, with its resolution, as ``spectrum.ecsv``."""
    table = declared_spectrum(spectrum).to_table()
    table.meta["resolution"] = list(RESOLUTION)
    _write_table(folder, "spectrum", table)


def _write_table(folder, name, table):
    with atomic_path(Path(folder) / f"{name}.ecsv", overwrite=True) as temporary:
        table.write(temporary)
