"""
Benchmark: a folder of mock surveys that any code can map, with the truths in a folder of their own.

The folder contains ``README.txt``, the table ``mocks.ecsv`` with a row for each mock, and for each mock the files
``shear/mock_000.fits`` (the data), ``truth/mock_000.fits`` and ``wiener/mock_000.fits``, the exact Wiener filter with
which `astro_massmap.validation.score` compares. Maps by name of the method are in ``maps/NAME/mock_000.fits``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from astropy.table import QTable, vstack

from .._utils.files import atomic_path
from .._utils.progress import progress_bar
from ..maps.convergence_map import ConvergenceMap
from ..maps.shear_map import ShearMap
from ..methods import resolve
from ..theory.spectrum import PowerSpectrum
from .submissions import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._utils.typing import File
    from ..methods import MethodLike
    from .mock_surveys import MockSurveys

__all__ = ["Benchmark", "add_maps", "write_benchmark"]

TABLE, SPECTRUM, FORMAT = "mocks.ecsv", "spectrum.ecsv", "astro_massmap benchmark 1"
PARTS = "shear", "truth", "wiener"

README = """\
Mock weak-lensing surveys with known convergence
================================================

mocks.ecsv            a row for each mock: number, label of the simulations (truths), and the simulated map (map).
                      Mocks of the same map have the same truth and are not independent.
shear/mock_000.fits   the data: images G1 and G2 (ny, nx), shear along the pixel axes x and y; NOISE_STD, the standard
                      deviation of a component, infinite without data; MASK, 1 without data; and the WCS.
truth/mock_000.fits   the truth: KAPPA (ny, nx), and MASK. Not to be used in making maps.
wiener/mock_000.fits  the exact Wiener filter, with which maps are compared.
spectrum.ecsv         ell and C_ell of the Wiener filter, if it is known.
maps/NAME             maps of methods, if there are any, as examples.

Write one FITS file for each mock, mock_000.fits, mock_001.fits, ..., to a folder with the name of your method:

KAPPA    image (ny, nx): convergence on the pixels of the data, finite in all pixels, also in those without data.
SAMPLES  optional image (n_samples, ny, nx): samples of the posterior, the same number for all mocks.
STD      optional image (ny, nx): standard deviation, by which peaks are ranked.

The header needs the WCS of the data. Without these names, the first image is KAPPA, and the first cube SAMPLES. Then

    massmap score FOLDER YOUR_MAPS -o YOUR_SCORES.ecsv

prints and writes the scores. Scores of others are put in the same table by

    massmap score FOLDER YOUR_SCORES.ecsv THEIR_SCORES.ecsv
"""


@dataclass(frozen=True)
class Benchmark:
    """
    Benchmark in a folder, written by `write_benchmark`.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the benchmark.
    table : `~astropy.table.QTable`
        ``mock`` (number), ``truths`` (label of the simulations), ``map`` (the simulated map) and a checksum of the
        ``settings`` of each mock.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import Wiener, datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import Benchmark, MockSurveys, write_benchmark
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> write_benchmark("benchmark", mocks, Wiener(), progress=False)
    >>> Benchmark.open("benchmark").shear(1)
    <ShearMap: 32 x 32 pixels of 1 arcmin, 96% with data>
    """

    folder: Path
    table: QTable

    @classmethod
    def open(cls, folder: File) -> Benchmark:
        """Return the benchmark of a folder; OSError if the folder has none."""
        file = Path(folder) / TABLE
        if not file.is_file():
            raise OSError(f"folder: {str(folder)!r} contains no benchmark, there is no {TABLE}")
        table = QTable.read(file, format="ascii.ecsv")
        if table.meta.get("format") != FORMAT:
            raise OSError(f"folder: {str(file)!r} needs the format {FORMAT!r}, got {table.meta.get('format')!r}")
        return cls(Path(folder), table)

    def __len__(self) -> int:
        return len(self.table)

    def file(self, part: str, number: int) -> Path:
        """Return the path of the ``"shear"``, ``"truth"``, ``"wiener"`` or ``"maps/NAME"`` of a mock."""
        return self.folder / part / name_of(number)

    def shear(self, number: int) -> ShearMap:
        """Read the data of a mock, a ShearMap; OSError without its file."""
        return ShearMap.read(self.file("shear", number))

    def truth(self, number: int) -> ConvergenceMap:
        """Read the truth of a mock, a ConvergenceMap; OSError without its file."""
        return ConvergenceMap.read(self.file("truth", number), format="fits")

    def wiener(self, number: int) -> ConvergenceMap:
        """Read the exact Wiener filter of a mock, a ConvergenceMap; OSError without its file."""
        return ConvergenceMap.read(self.file("wiener", number), format="fits")


def write_benchmark(
    folder: File,
    mocks: MockSurveys,
    wiener: MethodLike | Sequence[ConvergenceMap],
    *,
    label: str = "simulations",
    spectrum: PowerSpectrum | None = None,
    numbers: Iterable[int] | None = None,
    progress: bool = True,
) -> None:
    """
    Write mock surveys, their truths and their exact Wiener filter to a folder, to be mapped by any code.

    Mocks of other simulations are added to a benchmark that exists, under another label; `score` reports each label.

    Parameters
    ----------
    folder : str or path-like
        Folder of the benchmark, which is made.
    mocks : MockSurveys
        Mock surveys.
    wiener : method or sequence of ConvergenceMap
        Exact Wiener filter, such as ``Wiener(spectrum)``, or its maps of the mocks.
    label : str
        Name of the simulations.
    spectrum : PowerSpectrum, optional
        Spectrum of the Wiener filter, the same for all mocks, which is written to ``spectrum.ecsv``.
    numbers, progress
        Numbers of the mocks, by default all, and progress bar.

    Raises
    ------
    ValueError
        If the label is in the folder, or the mocks there have another grid or another spectrum.
    OSError
        If a file cannot be written.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import Wiener, datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import MockSurveys, write_benchmark
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> write_benchmark("benchmark", mocks, Wiener(), label="white noise", progress=False)
    >>> [file.name for file in sorted(Path("benchmark").iterdir())]
    ['README.txt', 'mocks.ecsv', 'shear', 'truth', 'wiener']
    """
    folder, numbers = Path(folder), list(range(len(mocks)) if numbers is None else numbers)
    if not numbers:
        raise ValueError("numbers: need at least one mock, got none")
    made = wiener if isinstance(wiener, list | tuple) else None
    if made is not None and len(made) != len(numbers):
        raise ValueError(f"wiener: needs one map for each of {len(numbers)} mocks, got {len(made)}")
    method = resolve(cast("MethodLike", wiener)) if made is None else None
    before = _before(folder, label, mocks, spectrum)
    for part in PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)
    start = 0 if before is None else len(before)
    with progress_bar(total=len(numbers), desc="mocks", disable=not progress) as bar:
        for i, number in enumerate(numbers):
            truth, shear = mocks[number]
            kappa = shear.reconstruct(method, progress=False) if made is None else made[i]
            kappa = ConvergenceMap(kappa.data, wcs=truth.wcs, mask=truth.mask, uncertainty=kappa.uncertainty)
            target = name_of(start + i)
            shear.write(folder / "shear" / target, overwrite=True)
            truth.write(folder / "truth" / target, format="fits", overwrite=True)
            kappa.write(folder / "wiener" / target, format="fits", overwrite=True)
            bar.update()
    if spectrum is not None:
        with atomic_path(folder / SPECTRUM, overwrite=True) as temporary:
            spectrum.to_table().write(temporary, format="ascii.ecsv")
    _write_table(folder, before, _rows(mocks, numbers, label, start), _grid_of(mocks))


def add_maps(
    folder: File,
    mocks: MockSurveys,
    maps: Mapping[str, Sequence[ConvergenceMap]],
    *,
    label: str = "simulations",
    numbers: Iterable[int] | None = None,
) -> None:
    """
    Write maps of the mocks with one label to the folder of a benchmark, ``maps/NAME/mock_000.fits``.

    Parameters
    ----------
    folder, mocks, label, numbers
        As for `write_benchmark`, which has written the mocks.
    maps : dict
        Maps of these mocks by name of the method. Existing files are replaced.

    Raises
    ------
    ValueError
        If the benchmark has other mocks of this label, or maps are not on their grid.
    OSError
        If there is no benchmark, or a file cannot be written.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import KaiserSquires, Wiener, datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import MockSurveys, add_maps, read_mocks, run_mocks, write_benchmark
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> methods = {"ks": KaiserSquires()}
    >>> run_mocks(mocks, methods, "validation", progress=False)
    >>> write_benchmark("benchmark", mocks, Wiener(), label="white noise", progress=False)
    >>> add_maps("benchmark", mocks, read_mocks(mocks, methods, "validation")[1], label="white noise")
    >>> [file.name for file in sorted(Path("benchmark/maps/ks").iterdir())]
    ['mock_000.fits', 'mock_001.fits']
    """
    benchmark, wanted = Benchmark.open(folder), list(range(len(mocks)) if numbers is None else numbers)
    rows = benchmark.table[benchmark.table["truths"] == label]
    if list(rows["settings"]) != [_checksum(mocks, number) for number in wanted]:
        raise ValueError(f"label: the mocks {label!r} in {str(folder)!r} are others; use another label or folder")
    known = {number: benchmark.truth(number) for number in rows["mock"].tolist()}
    for name, kappas in maps.items():
        of_method = checked(name, kappas, known)
        (benchmark.folder / "maps" / name).mkdir(parents=True, exist_ok=True)
        for number, kappa in zip(known, of_method, strict=True):
            kappa.write(benchmark.file(f"maps/{name}", number), format="fits", overwrite=True)


def name_of(number):
    return f"mock_{number:03d}.fits"


def _grid_of(mocks):
    return {"size": mocks.size, "pixel_arcmin": round(float(np.degrees(mocks.maps.pixel_size) * 60), 6)}


def _before(folder, label, mocks, spectrum):
    """Return the table of the mocks that are in the folder, or None."""
    if not (folder / TABLE).exists():
        return None
    table = Benchmark.open(folder).table
    if label in table["truths"]:
        raise ValueError(f"label: {label!r} is in {str(folder)!r}; use another label or another folder")
    grid = {key: table.meta.get(key) for key in _grid_of(mocks)}
    if grid != _grid_of(mocks):
        raise ValueError(f"mocks: need the grid of those in {str(folder)!r}, {grid}, got {_grid_of(mocks)}")
    if spectrum is not None and (folder / SPECTRUM).exists():
        known = PowerSpectrum.read(folder / SPECTRUM)
        if not (np.array_equal(known.ell, spectrum.ell) and np.allclose(known.cl, spectrum.cl, rtol=1e-6, atol=0)):
            raise ValueError(f"spectrum: needs to be that in {str(folder)!r}; use another folder")
    return table


def _rows(mocks, numbers, label, start):
    names = [mocks.settings(number)["map"] for number in numbers]
    checksums = [_checksum(mocks, number) for number in numbers]
    columns = {"mock": start + np.arange(len(numbers)), "truths": [label] * len(numbers)}
    return QTable(columns | {"map": names, "settings": checksums})


def _checksum(mocks, number):
    """Return a checksum of the settings of a mock: galaxies, map, size and seed."""
    return hashlib.sha256(repr(sorted(mocks.settings(number).items())).encode()).hexdigest()[:16]


def _write_table(folder, before, rows, grid):
    table = rows if before is None else vstack([before, rows], metadata_conflicts="silent")
    table.meta = {"format": FORMAT, **grid}
    with atomic_path(folder / TABLE, overwrite=True) as temporary:
        table.write(temporary, format="ascii.ecsv")
    with atomic_path(folder / "README.txt", overwrite=True) as temporary:
        temporary.write_text(README, encoding="utf-8")
