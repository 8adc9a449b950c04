"""
Comparison of methods on mock surveys with the footprint, noise and density of a real catalogue.

The truth of a mock is a simulated map, larger than the field, centred on the catalogue. It shears the galaxies of the
catalogue: real positions and weights, real ellipticities rotated at random. They are binned on a grid in the middle of
the map, so that matter beyond the field acts as on the sky. Bilinear interpolation of the shear, and its mean over the
galaxies of a pixel, smooth the truth by about a pixel, which the methods do not model.

Every estimate is written to a file as soon as it is made, with its settings: an interrupted run continues, and several
processes can share the work.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from .._sky.geometry import fitting_wcs
from .._utils.checks import check_integer
from .._utils.progress import progress_bar
from ..maps.catalog import ShearCatalog
from ..maps.convergence_map import ConvergenceMap
from ..methods import resolve
from ..simulation import observe
from .comparison import Comparison, compare
from .metrics import least_side
from .mock_files import is_there, path_of, read, seeded, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._utils.typing import File
    from ..maps.shear_map import ShearMap
    from ..methods import MethodLike
    from ..simulation import MapSet

__all__ = ["Comparison", "MockSurveys", "compare", "read_mocks", "run_mocks"]

TRUTH = "truth"


class MockSurveys:
    """
    Mock surveys of a catalogue behind simulated maps, indexed by number.

    Parameters
    ----------
    catalog : ShearCatalog
        Real galaxies. Galaxies outside the maps are left out. Their redshifts are not used: the sources are those of
        the maps.
    maps : `~astro_massmap.simulation.MapSet`
        True convergence, one map for each mock.
    size : int
        Side of the field in pixels: at most that of a map, and large enough for smoothing by 1 arcmin.
    seed : int
        Seed of the rotations and of the methods; each mock has its own random numbers.
    n_mocks : int, optional
        Number of mocks, by default that of the maps. More mocks than maps repeat the maps with other noise, behind
        which the catalogue stands rotated by multiples of 90 degrees and mirrored; maps that are not square are turned
        by 180 degrees.

    Attributes
    ----------
    truths : list of str
        Name of the map of each mock, for the ``groups`` of `compare`: mocks of the same map are not independent.

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
    >>> truth, shear = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)[0]
    >>> shear
    <ShearMap: 32 x 32 pixels of 1 arcmin, 96% with data>
    """

    def __init__(
        self, catalog: ShearCatalog, maps: MapSet, *, size: int = 192, seed: int = 0, n_mocks: int | None = None
    ) -> None:
        if not isinstance(catalog, ShearCatalog):
            raise TypeError(f"catalog: needs a ShearCatalog, got {type(catalog).__name__}")
        check_integer(size, "size", least_side(maps.pixel_size))
        check_integer(seed, "seed", 0)
        if size > min(maps.shape):
            raise ValueError(f"size: needs to be at most {min(maps.shape)}, the side of the maps, got {size}")
        n_mocks = len(maps) if n_mocks is None else n_mocks
        check_integer(n_mocks, "n_mocks", 1)
        self.maps, self.size, self.seed, self._n_mocks = maps, size, seed, n_mocks
        self.wcs = fitting_wcs(catalog.coords, (maps.pixel_size * u.rad).to(u.arcmin), maps.shape)
        x, y = self.wcs.world_to_pixel(catalog.coords)
        ny, nx = maps.shape
        on_map = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
        if not on_map.any():
            raise ValueError("catalog: needs galaxies on the maps, which are centred on the catalogue; none lies there")
        self.catalog = catalog[on_map]
        self.catalog.redshift = self.catalog.n_z = None  # the sources of the mocks are those of the maps

    def __len__(self) -> int:
        return self._n_mocks

    def __repr__(self) -> str:
        repeated = f"{len(self)} mocks of " if len(self) > len(self.maps) else ""
        n = min(len(self), len(self.maps))
        return f"<MockSurveys: {repeated}{n} maps, {self.size} x {self.size} pixels, of {self.catalog!r}>"

    def __getitem__(self, number: int) -> tuple[ConvergenceMap, ShearMap]:
        """Return the truth, a ConvergenceMap, and its mock data, a ShearMap, of the middle of a map."""
        turn, index = self._place_of(number)
        whole = ConvergenceMap(_turned(self.maps[index], turn), wcs=self.wcs)
        truth = whole[tuple(slice((n - self.size) // 2, (n + self.size) // 2) for n in whole.shape)]
        galaxies = observe(whole, positions=self.catalog, axes=self.catalog.axes, seed=self.seed_of(number))
        shear = galaxies.to_map(wcs=truth.wcs, shape=truth.shape)
        return ConvergenceMap(truth.data, wcs=truth.wcs, mask=shear.mask), shear

    def seed_of(self, number: int) -> int:
        """Return the seed, an int, of a mock and of its methods, different for each number and each ``seed``."""
        return 10**6 * self.seed + number

    def settings(self, number: int) -> dict[str, Any]:
        """Return the settings that determine a mock, a dict of numbers and strings; IndexError without such a mock."""
        turn, index = self._place_of(number)
        settings = {
            "galaxies": len(self.catalog),
            "catalog": self._checksum,
            "map": self._name_of(index),
            "size": self.size,
            "pixel_arcmin": round(float(np.degrees(self.maps.pixel_size) * 60), 6),
            "seed": self.seed_of(number),
        }
        return settings | ({"turn": turn} if turn else {})

    @property
    def truths(self) -> list[str]:
        """Name of the map of each mock."""
        return [self._name_of(self._place_of(number)[1]) for number in range(len(self))]

    def _place_of(self, number):
        """Return how often the maps were used before the mock of this number, and the number of its map."""
        if not 0 <= number < len(self):
            raise IndexError(f"mocks: need a number from 0 to {len(self) - 1}, got {number}")
        return divmod(number, len(self.maps))

    def _name_of(self, index):
        entry = self.maps.entries[index]
        return f"{entry.box}, {entry.index}, {entry.realisation}"

    @cached_property
    def _checksum(self):
        c = self.catalog
        columns = (c.coords.spherical.lon.deg, c.coords.spherical.lat.deg, c.g1, c.g2, c.weight)
        digest = hashlib.sha256(np.array(columns, dtype="<f8").tobytes())
        if c.response is not None:
            digest.update(np.asarray(c.response, dtype="<f8").tobytes())
        return digest.hexdigest()[:16]


def run_mocks(
    mocks: MockSurveys,
    methods: Mapping[str, MethodLike],
    folder: File,
    *,
    numbers: Iterable[int] | None = None,
    progress: bool = True,
) -> None:
    """
    Map the mocks by every method, and write each map as soon as it is made.

    Parameters
    ----------
    mocks, methods
        Mocks, and methods by name, such as ``Wiener(n_samples=16)`` or a function of the observation. Seeds are
        replaced by those of the mocks.
    folder : str or path-like
        Folder of the files ``mock_003_truth.fits`` and ``mock_003_NAME.fits``. Existing files are kept.
    numbers, progress
        Numbers of the mocks, by default all, and progress bar.

    Raises
    ------
    ValueError
        If a file was made with other settings, before any computation.
    OSError
        If a file is damaged or cannot be written.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import Wiener, datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import MockSurveys, compare, read_mocks, run_mocks
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> methods = {"wiener": Wiener(n_samples=0)}
    >>> run_mocks(mocks, methods, "validation", progress=False)
    >>> print(compare(*read_mocks(mocks, methods, "validation")).table["wiener"][0])
    1.0
    """
    numbers = _checked_numbers(mocks, numbers)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _wanted(methods)
    todo = {i: [name for name, method in wanted.items() if not is_there(folder, mocks, i, name, method)]
            for i in numbers}  # fmt: skip
    with progress_bar(total=sum(map(len, todo.values())), desc="maps", disable=not progress) as bar:
        for i, names in todo.items():
            if not names:
                continue
            truth, shear = mocks[i]
            for name in names:
                bar.set_postfix(mock=i, method=name)
                if is_there(folder, mocks, i, name, wanted[name]):  # written by another process meanwhile
                    bar.update()
                    continue
                kappa = truth if name == TRUTH else shear.reconstruct(seeded(wanted[name], mocks, i), progress=False)
                kappa.meta["validation"] = settings_of(mocks, i, wanted[name])
                kappa.write(path_of(folder, i, name), format="fits", overwrite=True)
                bar.update()


def read_mocks(
    mocks: MockSurveys, methods: Mapping[str, MethodLike], folder: File, *, numbers: Iterable[int] | None = None
) -> tuple[list[ConvergenceMap], dict[str, list[ConvergenceMap]]]:
    """
    Read the files of `run_mocks`, with its parameters and errors.

    Returns
    -------
    truths : list of ConvergenceMap
        Truths of the mocks with files of all methods.
    maps : dict
        List of ConvergenceMap by name of the method.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import MockSurveys, read_mocks
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> read_mocks(mocks, {}, "nothing")
    ([], {})
    """
    folder, wanted = Path(folder), _wanted(methods)
    complete = [
        i
        for i in _checked_numbers(mocks, numbers)
        if all(is_there(folder, mocks, i, name, method) for name, method in wanted.items())
    ]
    maps = {name: [read(path_of(folder, i, name)) for i in complete] for name in wanted}
    return maps.pop(TRUTH), maps


def _turned(kappa, turn):
    """Return a map turned and mirrored in the way of this number: 8 ways for square maps, 4 for others."""
    square = kappa.shape[0] == kappa.shape[1]
    quarters = turn % 4 if square else 2 * (turn % 2)
    mirrored = (turn // (4 if square else 2)) % 2
    kappa = np.rot90(kappa, quarters)
    return np.ascontiguousarray(kappa[:, ::-1] if mirrored else kappa)


def _wanted(methods):
    """Return the methods, also those of functions, by name, and None for the truth."""
    wrong = [name for name in methods if name == TRUTH or not re.fullmatch(r"[\w.+-]+", str(name))]
    if wrong:
        raise ValueError(
            f"methods: names are parts of file names, and need to consist of letters, digits and . _ + -, got {wrong}"
        )
    return {TRUTH: None, **{name: resolve(method) for name, method in methods.items()}}


def _checked_numbers(mocks, numbers):
    numbers = list(range(len(mocks)) if numbers is None else numbers)
    wrong = [i for i in numbers if not 0 <= i < len(mocks)]
    if wrong or not numbers:
        raise ValueError(f"numbers: need to be from 0 to {len(mocks) - 1}, as the mocks, got {wrong or numbers}")
    return numbers
