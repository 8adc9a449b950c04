"""Scores of any number of codes on one benchmark, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, vstack

from .._io.result_tables import ResultTable, printed
from .._utils.content import content_sha256
from .._utils.files import atomic_path
from .benchmark import Benchmark
from .comparison import Comparison, compare, texts
from .submissions import checked, files_in, read_maps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from astropy.table import Table

    from .._utils.typing import File
    from ..maps.convergence_map import ConvergenceMap

__all__ = ["Scores", "score"]

WIENER, ALL = "wiener", "all"


@dataclass(frozen=True)
class Scores:
    """
    Scores of methods on a benchmark.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A row for each label of simulations (``truths``: first ``"all"``, then each label if there are several) and
        ``quantity``; for each method its value, ``"NAME error"``, the difference from the exact Wiener filter,
        ``"NAME - wiener"``, and the error of this paired difference, ``"NAME - wiener error"``.
    comparisons : dict
        `Comparison` of each label, for figures; empty for scores that were read from files.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from astro_massmap.validation import Scores
    >>> table = QTable({"truths": ["all"], "quantity": ["RMSE / Wiener, with data"], "mine": [0.95],
    ...                 "mine error": [0.01], "mine - wiener": [-0.05], "mine - wiener error": [0.01]})
    >>> Scores(table).names
    ['mine']
    """

    table: QTable
    comparisons: Mapping[str, Comparison] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the methods."""
        return [name for name in self.table.colnames if f"{name} error" in self.table.colnames and " - " not in name]

    @classmethod
    def read(cls, file: File) -> Scores:
        """Read a file of `write`; OSError or ValueError if it is none."""
        if not Path(file).is_file():
            raise OSError(f"scores: the file {str(file)!r} does not exist")
        table = QTable.read(file, format="ascii.ecsv")
        if not {"truths", "quantity"} <= set(table.colnames) or "benchmark" not in table.meta:
            raise ValueError(f"scores: {str(file)!r} is no file of scores")
        return cls(table)

    def write(self, file: File, *, overwrite: bool = False) -> None:
        """Write the table to an ECSV file, atomically; OSError if it exists or cannot be written."""
        with atomic_path(file, overwrite=overwrite) as temporary:
            self.table.write(temporary, format="ascii.ecsv")

    def join(self, *others: Scores) -> Scores:
        """
        Return one table of these scores and others.

        Raises
        ------
        ValueError
            If the others are of another benchmark or other mocks, or a method other than the Wiener filter has the
            name of another one.
        """
        columns, meta = {name: self.table[name] for name in self.table.colnames}, self.table.meta
        for other in others:
            for key in ("benchmark", "mocks"):
                if other.table.meta.get(key) != meta.get(key):
                    raise ValueError(f"scores: need the same {key}, got those of {other.names} and {self.names}")
            if list(other.table["quantity"]) != list(self.table["quantity"]):
                raise ValueError(f"scores: need the same quantities, got others of {other.names}; score the maps again")
            for name in other.names:
                if name in columns and name != WIENER:
                    raise ValueError(f"scores: {name!r} is the name of two methods; rename one")
                columns |= {key: other.table[key] for key in _columns_of(name) if key in other.table.colnames}
        table = ResultTable(columns)
        table.meta |= meta
        return Scores(printed(table))

    def text(self, truths: str = ALL) -> Table:
        """Return ``quantity`` and a column of text for each method, of one label of the simulations."""
        return texts(self.table[self.table["truths"] == truths], self.names)

    def differences(self, truths: str = ALL) -> Table:
        """Return ``quantity`` and a column of text with the difference of each method from the Wiener filter."""
        chosen = self.table[self.table["truths"] == truths]
        return texts(chosen, self.names, " - wiener", leave_out=WIENER)

    def __str__(self) -> str:
        parts = []
        for label in dict.fromkeys(self.table["truths"]):
            title = "all mocks" if label == ALL else f"truths of {label}"
            parts += [title, *self.text(label).pformat(max_lines=-1, max_width=-1, align="<"), ""]
            below = self.differences(label)
            if len(below) and len(below.colnames) > 1:
                parts += [f"{title}: difference from the exact Wiener filter, with paired errors"]
                parts += [*below.pformat(max_lines=-1, max_width=-1, align="<"), ""]
        return "\n".join(parts).rstrip()


def score(
    benchmark: File | Benchmark,
    maps: File | Mapping[str, Sequence[ConvergenceMap] | File],
    *,
    numbers: Iterable[int] | None = None,
    seed: int = 0,
) -> Scores:
    """
    Score maps of any code on a benchmark.

    Parameters
    ----------
    benchmark : str, path-like or Benchmark
        Folder of `write_benchmark`.
    maps : str, path-like or dict
        Folder of FITS files ``mock_000.fits`` of one method, with the name of the folder, or ``mock_000_NAME.fits`` of
        several, as of `run_mocks`; or a dict by name of such folders of one method, or of sequences of ConvergenceMap.
    numbers : sequence of int, optional
        Numbers of the mocks that are scored, by default all.
    seed : int
        Seed of ties, random points, permutations and bootstrap.

    Returns
    -------
    Scores
        Scores for all mocks and for those of each simulator, with those of the exact Wiener filter.

    Raises
    ------
    ValueError
        If maps are missing or have another shape or WCS, values are not finite, or numbers of samples differ.
    OSError
        If a folder or file does not exist or is damaged.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import Wiener, datasets
    >>> from astro_massmap.simulation import MapSet
    >>> from astro_massmap.validation import Benchmark, MockSurveys, score, write_benchmark
    >>> np.save("maps.npy", np.random.default_rng(1).normal(scale=0.03, size=(2, 48, 48)))
    >>> mocks = MockSurveys(datasets.demo()[::8], MapSet.open(".", pixel_scale=1 * u.arcmin), size=32)
    >>> write_benchmark("benchmark", mocks, Wiener(), progress=False)
    >>> same = [Benchmark.open("benchmark").wiener(i) for i in range(2)]
    >>> print(score("benchmark", {"same": same}).table["same"][0])
    1.0
    """
    benchmark = benchmark if isinstance(benchmark, Benchmark) else Benchmark.open(benchmark)
    chosen = _chosen(benchmark, numbers)
    truths = {i: benchmark.truth(i) for i in chosen["mock"].tolist()}
    given = {WIENER: [benchmark.wiener(i) for i in truths]} | _read(maps, truths)
    labels = chosen["truths"].astype(str)
    parts = {ALL: np.ones(len(chosen), dtype=bool)}
    if len(set(labels)) > 1:
        parts |= {label: labels == label for label in dict.fromkeys(labels.tolist())}
    groups, comparisons = np.array([f"{row['truths']}: {row['map']}" for row in chosen]), {}
    for label, part in parts.items():
        which = np.flatnonzero(part)
        comparisons[label] = compare(
            [list(truths.values())[i] for i in which],
            {name: [kappas[i] for i in which] for name, kappas in given.items()},
            groups=groups[which].tolist(),
            seed=seed,
        )
    table = vstack([_table(label, comparison) for label, comparison in comparisons.items()])
    table.meta = {
        "benchmark": _digest([*truths.values(), *given[WIENER]]),
        "mocks": chosen["mock"].tolist(),
        "seed": seed,
    }
    return Scores(printed(ResultTable(table)), comparisons)


def _read(maps: Any, truths: dict[int, ConvergenceMap]) -> dict[str, list[ConvergenceMap]]:
    """Return the maps of each method."""
    if not hasattr(maps, "items"):
        return {name: read_maps(name, files, truths) for name, files in files_in(maps).items() if name != WIENER}
    found = {}
    for name, of_method in maps.items():
        if name in (WIENER, ALL) or " - " in name:
            raise ValueError(f"maps: {name!r} cannot be the name of a method; rename it")
        if isinstance(of_method, list | tuple):
            found[name] = checked(name, of_method, truths)
            continue
        files = files_in(of_method)
        if len(files) > 1 and name not in files:
            raise ValueError(f"maps: {str(of_method)!r} has maps of {', '.join(files)}, but none of {name!r}")
        found[name] = read_maps(name, files.get(name, next(iter(files.values()))), truths)
    return found


def _chosen(benchmark, numbers):
    table = benchmark.table
    if numbers is None:
        return table
    numbers = list(numbers)
    wrong = sorted(set(numbers) - set(table["mock"].tolist()))
    if wrong or not numbers:
        raise ValueError(f"numbers: need to be some of the {len(table)} mocks of the benchmark, got {wrong or numbers}")
    return table[np.isin(table["mock"], numbers)]


def _table(label, comparison):
    table = QTable({"truths": [label] * len(comparison.table), "quantity": comparison.table["quantity"]})
    for name in comparison.metrics:
        keys = _columns_of(name)
        table[keys[0]], table[keys[1]] = comparison.table[name], comparison.table[f"{name} error"]
        if name != WIENER:
            table[keys[2]], table[keys[3]] = comparison.difference(name, WIENER)
    return table


def _columns_of(name):
    return name, f"{name} error", f"{name} - wiener", f"{name} - wiener error"


def _digest(maps):
    return content_sha256([kappa.data for kappa in maps])[:16]
