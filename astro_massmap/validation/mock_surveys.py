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

import hashlib
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
from ..simulation import observe
from .comparison import Comparison, compare
from .metrics import least_side
from .mock_files import is_there, path_of, read, seeded, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._utils.typing import File
    from ..maps.shear_map import ShearMap
    from ..methods import Method
    from ..simulation import MapSet

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
        whole = ConvergenceMap(self.maps[number], wcs=self.wcs)
        truth = whole[tuple(slice((n - self.size) // 2, (n + self.size) // 2) for n in whole.shape)]
        galaxies = observe(whole, positions=self.catalog, axes=self.catalog.axes, seed=self.seed_of(number))
        shear = galaxies.to_map(wcs=truth.wcs, shape=truth.shape)
        return ConvergenceMap(truth.data, wcs=truth.wcs, mask=shear.mask), shear

    def seed_of(self, number: int) -> int:
        """
        The seed of a mock, and of what methods make of it.

        Parameters
        ----------
        number : int
            Which mock.

        Returns
        -------
        int
            Each has its own, which depends on ``seed`` too.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astro_massmap import datasets
        >>> from astro_massmap.simulation import MapSet
        >>> from astro_massmap.validation import MockSurveys
        >>> np.save("maps.npy", np.zeros((2, 48, 48)))
        >>> maps = MapSet.open(".", pixel_scale=1 * u.arcmin)
        >>> mocks = MockSurveys(datasets.demo()[::8], maps, size=32, seed=3)
        >>> mocks.seed_of(0), mocks.seed_of(1)
        (3000000, 3000001)
        """
        return 10**6 * self.seed + number

    def settings(self, number: int) -> dict[str, Any]:
        """
        What decides a mock, in plain numbers and strings.

        Parameters
        ----------
        number : int
            Which mock.

        Returns
        -------
        dict

        Raises
        ------
        IndexError
            If there is no such mock.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astro_massmap import datasets
        >>> from astro_massmap.simulation import MapSet
        >>> from astro_massmap.validation import MockSurveys
        >>> np.save("maps.npy", np.zeros((2, 48, 48)))
        >>> maps = MapSet.open(".", pixel_scale=1 * u.arcmin)
        >>> settings = MockSurveys(datasets.demo()[::8], maps, size=32).settings(1)
        >>> settings["map"], settings["pixel_arcmin"], settings["seed"]
        ('maps.npy, 1, 1', 1.0, 1)
        """
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
        if c.response is not None:
            digest.update(np.asarray(c.response, dtype="<f8").tobytes())
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


def _checked_numbers(mocks, numbers):
    numbers = list(range(len(mocks)) if numbers is None else numbers)
    wrong = [i for i in numbers if not 0 <= i < len(mocks)]
    if wrong or not numbers:
        raise ValueError(f"numbers: need to be from 0 to {len(mocks) - 1}, one for each map, got {wrong or numbers}")
    return numbers
