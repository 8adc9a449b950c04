"""
All methods on the same mock surveys, which have the footprint, the noise and the density of a real catalogue.

The truth of a mock is a simulated map, larger than the field, around the centre of the catalogue. It shears the
galaxies of the catalogue: real positions and weights, real ellipticities turned at random. They are binned on a grid
in the middle of the map, so that there is matter beyond the edges of the field as there is on the sky. Bilinear
interpolation of the shear, and its mean over the galaxies of a pixel, smooth the truth by about a pixel; methods
do not know of it.

Every estimate is a file, written as soon as it is made, with the settings it was made with. A run that was stopped
goes on, several can share the work, and methods can be added later.
"""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._mock_files import is_there, path_of, read, seeded, settings_of
from ._progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from astropy.table import QTable, Table

    from ._typing import File
    from .catalog import ShearCatalog
    from .convergence_map import ConvergenceMap
    from .methods import Method
    from .shear_map import ShearMap
    from .simulation import MapSet

__all__ = ["Comparison", "MockSurveys", "compare", "read_mocks", "run_mocks"]

TRUTH = "truth"


class MockSurveys:
    """
    Mock surveys of a catalogue behind simulated maps, by their number.

    Parameters
    ----------
    catalog : ShearCatalog
        Real galaxies. Those beyond the maps are left out.
    maps : `~astro_massmap.simulation.MapSet`
        Truths, one for each mock.
    size : int
        Pixels on a side of the field: not more than those of a map, and enough for maps to be smoothed by 1 arcmin.
    seed : int
        Turns the ellipticities, and seeds the methods: each mock has random numbers of its own.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or no galaxy lies on the maps.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import MockSurveys
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> truth, shear = mocks[0]
    >>> truth
    <ConvergenceMap: 32 x 32 pixels of 1 arcmin, 96% measured, no samples>
    >>> shear
    <ShearMap: 32 x 32 pixels of 1 arcmin, 96% with data>
    """

    def __init__(self, catalog: ShearCatalog, maps: MapSet, *, size: int = 192, seed: int = 0) -> None:
        import astropy.units as u

        from ._geometry import fitting_wcs
        from ._scores import least_side
        from .catalog import ShearCatalog
        from .methods.base import check_integer

        if not isinstance(catalog, ShearCatalog):
            raise TypeError(f"catalog: needs a ShearCatalog, got {type(catalog).__name__}")
        check_integer(size, "size", least_side(maps.pixel_size))
        check_integer(seed, "seed", 0)
        if size > min(maps.shape):
            raise ValueError(f"size: needs to be at most {min(maps.shape)}, the side of the maps, got {size}")
        self.maps, self.size, self.seed = maps, size, seed
        self.wcs = fitting_wcs(catalog.coords, (maps.pixel_size * u.rad).to(u.arcmin), maps.shape)
        x, y = self.wcs.world_to_pixel(catalog.coords)
        ny, nx = maps.shape
        on_map = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
        if not on_map.any():
            raise ValueError("catalog: none of its galaxies lies on a map that is put around its centre")
        self.catalog = catalog[on_map]

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        return f"<MockSurveys: {len(self)} maps, {self.size} x {self.size} pixels, of {self.catalog!r}>"

    def __getitem__(self, number: int) -> tuple[ConvergenceMap, ShearMap]:
        """The truth, a ConvergenceMap, and what is seen of it, a ShearMap: both of the middle of the map."""
        from .convergence_map import ConvergenceMap
        from .simulation import observe

        whole = ConvergenceMap(self.maps[number], wcs=self.wcs)
        truth = whole[tuple(slice((n - self.size) // 2, (n + self.size) // 2) for n in whole.shape)]
        galaxies = observe(whole, positions=self.catalog, axes=self.catalog.axes, seed=self.seed_of(number))
        shear = galaxies.to_map(wcs=truth.wcs, shape=truth.shape)
        return ConvergenceMap(truth.data, wcs=truth.wcs, mask=shear.mask), shear

    def seed_of(self, number: int) -> int:
        """Of the mock, and of what methods make of it."""
        return 10**6 * self.seed + number

    def settings(self, number: int) -> dict[str, Any]:
        """What decides a mock, in plain numbers and strings."""
        entry = self.maps.entries[number]
        return {
            "galaxies": len(self.catalog),
            "catalog": self._checksum,
            "map": f"{entry.box}, {entry.index}, {entry.realisation}",
            "size": self.size,
            "pixel_arcmin": round(float(np.degrees(self.maps.pixel_size) * 60), 6),
            "seed": self.seed_of(number),
        }

    @cached_property
    def _checksum(self):
        """Of the galaxies."""
        c = self.catalog
        columns = (c.coords.spherical.lon.deg, c.coords.spherical.lat.deg, c.g1, c.g2, c.weight)
        digest = hashlib.sha256(np.array(columns, dtype="<f8").tobytes())
        return digest.hexdigest()[:16]


def run_mocks(
    mocks: MockSurveys,
    methods: Mapping[str, Method],
    folder: File,
    *,
    numbers: Iterable[int] | None = None,
    progress: bool = True,
) -> None:
    """
    Map the mocks by every method, and write each map as soon as it is made.

    Parameters
    ----------
    mocks : MockSurveys
        Truths and what is seen of them.
    methods : dict
        Method objects by name, such as ``Wiener(n_samples=16)``. Their seeds are replaced by those of the mocks.
    folder : str or path-like
        Of the files ``mock_003_truth.fits`` and ``mock_003_NAME.fits``. Those that are there are kept.
    numbers : iterable of int, optional
        Which mocks; by default all.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        If a file is of another run, before any work begins.
    OSError
        If a file is damaged or cannot be written.

    Examples
    --------
    Maps of noise stand in for simulated ones:

    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import KaiserSquires, Wiener, datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import MockSurveys, compare, read_mocks, run_mocks
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> maps = MapSet.open(".", pixel_scale=1 * u.arcmin)
    >>> mocks = MockSurveys(datasets.demo()[::8], maps, size=32)
    >>> methods = {"kaiser_squires": KaiserSquires(), "wiener": Wiener(n_samples=0)}
    >>> run_mocks(mocks, methods, "validation", progress=False)
    >>> truths, kappas = read_mocks(mocks, methods, "validation")
    >>> comparison = compare(truths, kappas)
    >>> comparison.table["quantity", "wiener"][:1].pprint()
            quantity         wiener
    ------------------------ ------
    RMSE / Wiener, with data    1.0
    """
    numbers = _checked_numbers(mocks, numbers)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    asked = {TRUTH: None, **methods}
    todo = {i: [name for name, method in asked.items() if not is_there(folder, mocks, i, name, method)]
            for i in numbers}  # fmt: skip
    with progress_bar(total=sum(map(len, todo.values())), desc="maps", disable=not progress) as bar:
        for i, names in todo.items():
            if not names:
                continue
            truth, shear = mocks[i]
            for name in names:
                bar.set_postfix(mock=i, method=name)
                if is_there(folder, mocks, i, name, asked[name]):  # by now, thanks to another run
                    bar.update()
                    continue
                kappa = truth if name == TRUTH else shear.reconstruct(seeded(asked[name], mocks, i), progress=False)
                kappa.meta["validation"] = settings_of(mocks, i, asked[name])
                kappa.write(path_of(folder, i, name), format="fits", overwrite=True)
                bar.update()


def read_mocks(
    mocks: MockSurveys, methods: Mapping[str, Method], folder: File, *, numbers: Iterable[int] | None = None
) -> tuple[list[ConvergenceMap], dict[str, list[ConvergenceMap]]]:
    """
    What `run_mocks` wrote.

    Parameters
    ----------
    mocks, methods, folder, numbers
        As for `run_mocks`.

    Returns
    -------
    truths : list of ConvergenceMap
        Of the mocks that are there by all methods.
    maps : dict
        By name, a list of ConvergenceMap.

    Raises
    ------
    ValueError
        If a file is of another run.
    OSError
        If a file is damaged.

    Examples
    --------
    Nothing is there before `run_mocks`, whose example goes on from here:

    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import KaiserSquires, datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import MockSurveys, read_mocks
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> read_mocks(mocks, {"kaiser_squires": KaiserSquires()}, "nothing")
    ([], {'kaiser_squires': []})
    """
    folder, asked = Path(folder), {TRUTH: None, **methods}
    complete = [
        i
        for i in _checked_numbers(mocks, numbers)
        if all(is_there(folder, mocks, i, name, method) for name, method in asked.items())
    ]
    maps = {name: [read(path_of(folder, i, name)) for i in complete] for name in asked}
    return maps.pop(TRUTH), maps


@dataclasses.dataclass
class Comparison:
    """
    All methods against the truths of the same mocks.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        A row for each ``quantity``, a column of values for each method and one of their standard errors,
        ``"NAME error"``; NaN where a method does not have it.
    scores : dict
        By the name of a method, its ``Score`` (``values``, ``density``, ``ranks``, ``balls``), for figures.
    edges, density : ndarray
        Bins of the one-point distributions, and the density of the truths.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import ConvergenceMap, datasets
    >>> from astro_massmap.validation import compare
    >>> wcs, rng = datasets.demo_truth().wcs, np.random.default_rng(0)
    >>> skies = rng.normal(scale=0.03, size=(4, 2, 48, 48))
    >>> truths, maps = ([ConvergenceMap(sky, wcs=wcs) for sky in half] for half in skies.swapaxes(0, 1))
    >>> comparison = compare(truths, {"wiener": maps})
    >>> comparison.text()["quantity", "wiener"][:1].pprint()
            quantity         wiener
    ------------------------ ------
    RMSE / Wiener, with data      1
    """

    table: QTable
    scores: dict[str, Any]
    edges: np.ndarray
    density: np.ndarray

    def text(self) -> Table:
        """The table as it is printed: ``value +- error`` to two digits of the error."""
        from astropy.table import Table

        names = list(self.scores)
        cells = {n: [_told(*pair) for pair in zip(self.table[n], self.table[f"{n} error"], strict=True)] for n in names}
        return Table({"quantity": list(self.table["quantity"]), **cells})


def compare(
    truths: Sequence[ConvergenceMap],
    maps: Mapping[str, Sequence[ConvergenceMap]],
    wiener: str = "wiener",
    *,
    seed: int = 0,
) -> Comparison:
    """
    Compare maps of mocks with their truths.

    Means of samples have the scatter of their finite number taken off where it counts. Peaks, one-point distributions
    and calibration are those of maps smoothed by a Gaussian of 1 arcmin, less a border of three of it.

    Parameters
    ----------
    truths : sequence of ConvergenceMap
        One for each mock; their masks say where there are no data.
    maps : dict
        By the name of a method, a sequence of ConvergenceMap.
    wiener : str
        Which of them is the Wiener filter, that errors are compared with.
    seed : int
        Of what is random in the comparison.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there are no mocks or no Wiener filter, or fields are too small to be smoothed.

    Examples
    --------
    Truth and samples are drawn from one distribution, as if there were no data:

    >>> import numpy as np
    >>> from astro_massmap import ConvergenceMap, datasets
    >>> from astro_massmap.validation import compare
    >>> wcs, rng = datasets.demo_truth().wcs, np.random.default_rng(0)
    >>> skies = rng.normal(scale=0.03, size=(4, 9, 48, 48))
    >>> truths = [ConvergenceMap(sky[0], wcs=wcs) for sky in skies]
    >>> maps = [ConvergenceMap(sky[1:].mean(axis=0), wcs=wcs, samples=sky[1:]) for sky in skies]
    >>> comparison = compare(truths, {"wiener": maps})
    >>> len(comparison.table), comparison.table.colnames
    (41, ['quantity', 'wiener', 'wiener error'])
    """
    from ._scores import Truths, least_side, score

    if not truths:
        raise ValueError("truths: need at least one mock that was mapped by all methods")
    if wiener not in maps:
        raise ValueError(f"wiener: needs to be one of {', '.join(maps)}, got {wiener!r}")
    pixel_size = truths[0].pixel_scale.to_value("rad")
    if min(truths[0].shape) < least_side(pixel_size):
        raise ValueError(f"truths: fields need {least_side(pixel_size)} pixels on a side, got {truths[0].shape}")
    for name, kappas in maps.items():
        if len(kappas) != len(truths):
            raise ValueError(f"maps: {name!r} has {len(kappas)} of them, there are {len(truths)} truths")
        if kappas[0].samples is not None and len(kappas[0].samples) < 2:
            raise ValueError(f"maps: those of {name!r} have one sample; at least two are needed")
    data = {name: np.stack([k.data for k in kappas]).astype(float) for name, kappas in maps.items()}
    prepared = Truths(np.stack([t.data for t in truths]).astype(float), data[wiener],
                      np.stack([t.mask for t in truths]), pixel_size)  # fmt: skip
    scores = {}
    for name, kappas in maps.items():
        samples = None if kappas[0].samples is None else [k.samples.astype(float) for k in kappas]  # type: ignore[union-attr]
        of_map = data[name] if samples is None else np.stack([s.mean(axis=0) for s in samples])
        scores[name] = score(prepared, of_map, samples, [k.diagnostics for k in kappas], seed=seed)
    return Comparison(_table(scores, len(truths)), scores, prepared.edges, prepared.density)


def _table(scores, n_mocks):
    from astropy.table import QTable

    from ._scores import LABELS

    table = QTable({"quantity": [label for labels in LABELS.values() for label in labels]})
    for name, of_method in scores.items():
        cells = [of_method.values.get(key, np.full((2, len(labels)), np.nan)) for key, labels in LABELS.items()]
        table[name], table[f"{name} error"] = np.concatenate(cells, axis=1)
    table.meta |= {"mocks": n_mocks}
    return table


def _told(value, error):
    """``value +- error`` to two digits of the error, three at most after the point; nothing for NaN."""
    if not np.isfinite(value):
        return ""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.3g}"
    digits = min(max(1 - int(np.floor(np.log10(error))), 0), 3)
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def _checked_numbers(mocks, numbers):
    numbers = list(range(len(mocks)) if numbers is None else numbers)
    wrong = [i for i in numbers if not 0 <= i < len(mocks)]
    if wrong or not numbers:
        raise ValueError(f"numbers: need to be from 0 to {len(mocks) - 1}, one for each map, got {wrong or numbers}")
    return numbers
