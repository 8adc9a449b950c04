"""Table of the metrics of all methods on the same mock surveys."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from .._io.result_tables import ResultTable, printed
from .metrics import BANDS, LABELS, THRESHOLDS, Truths, least_side, measure
from .replicates import spread
from .sample_metrics import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.table import QTable

    from ..maps.convergence_map import ConvergenceMap


@dataclasses.dataclass
class Comparison:
    """
    Metrics of all methods on the same mocks.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        A row for each ``quantity``, and for each method a column of values and a column ``"NAME error"`` of standard
        errors; NaN where a method does not have the quantity.
    metrics : dict
        ``Metrics`` of each method by name (``values``, ``density``, ``ranks``, ``balls``), for figures.
    edges, density : ndarray
        Bins of the one-point distributions, and the density of the truths.
    bands, thresholds : sequence of float
        Edges in ell of the bands of the power, and convergence above which peaks are counted.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from astro_massmap.validation import Comparison
    >>> table = QTable({"quantity": ["RMSE / Wiener"], "wiener": [0.98765], "wiener error": [0.01234]})
    >>> print(Comparison(table, metrics={"wiener": None}, edges=None, density=None).text()["wiener"][0])
    0.988 +- 0.012
    """

    table: QTable
    metrics: dict[str, Any]
    edges: np.ndarray
    density: np.ndarray
    bands: Sequence[float] = ()
    thresholds: Sequence[float] = ()

    def text(self) -> Table:
        """
        Return ``quantity``, and a column of text for each method.

        Texts are ``value +- error`` to two digits of the error, with at most three decimals.
        """
        return texts(self.table, list(self.metrics))

    def difference(self, name: str, reference: str = "wiener") -> tuple[np.ndarray, np.ndarray]:
        """
        Return the difference of two methods for each quantity, and the error of the paired difference.

        The error is that of the differences of both methods on the same mocks, without what they share. NaN for
        quantities that one of them does not have, and those that are not averages over mocks, such as p-values.
        """
        value, error = [], []
        for key, labels in LABELS.items():
            both = [self.metrics[n].replicates.get(key) for n in (name, reference)]
            if any(replicates is None for replicates in both):
                value.append(np.full(len(labels), np.nan))
                error.append(np.full(len(labels), np.nan))
                continue
            value.append(self.metrics[name].values[key][0] - self.metrics[reference].values[key][0])
            error.append(spread(both[0] - both[1]))
        return np.concatenate(value), np.concatenate(error)

    def differences(self, reference: str = "wiener") -> QTable:
        """
        Return the differences of all other methods from a reference.

        Parameters
        ----------
        reference : str
            Name of the method that is subtracted: the Wiener filter, or for quantities of samples another one.

        Returns
        -------
        `~astropy.table.QTable`
            ``quantity``, and for each other method ``NAME`` and ``"NAME error"``, see `difference`; without quantities
            that no pair of methods has.

        Raises
        ------
        ValueError
            If there is no method of this name.
        """
        if reference not in self.metrics:
            raise ValueError(f"reference: needs to be one of {', '.join(self.metrics)}, got {reference!r}")
        table = ResultTable({"quantity": self.table["quantity"]})
        others = [name for name in self.metrics if name != reference]
        for name in others:
            table[name], table[f"{name} error"] = self.difference(name, reference)
        known = np.any([np.isfinite(table[name]) for name in others] or [[False] * len(table)], axis=0)
        return printed(table[known])

    def __str__(self) -> str:
        numbers = {m.ranks.meta["n_samples"] for m in self.metrics.values() if getattr(m, "ranks", None) is not None}
        lines = self.text().pformat(max_lines=-1, max_width=-1, align="<")
        return "\n".join([*lines, *map(_intervals_of, sorted(numbers))])

    def _repr_html_(self) -> str:
        return self.text()._repr_html_()


def compare(
    truths: Sequence[ConvergenceMap],
    maps: Mapping[str, Sequence[ConvergenceMap]],
    wiener: str = "wiener",
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Comparison:
    """
    Compare maps of mocks with their truths.

    The scatter of the mean of a finite number of samples is subtracted from its error, correlation, variance and power.
    Peaks, one-point distributions and calibration are those of maps smoothed by a Gaussian of 1 arcmin, without a
    border of 3 arcmin.

    Parameters
    ----------
    truths, maps
        Truth of each mock, masked without data, and by name of the method a sequence of ConvergenceMap.
    wiener : str
        Name of the Wiener filter, with which errors are compared.
    groups : sequence of str, optional
        Name of the truth of each mock, if some have the same: these are not independent, and the errors are those of
        independent truths. By default all differ.
    seed : int
        Seed of ties, random points and permutations.

    Raises
    ------
    ValueError
        If there are no mocks or no Wiener filter, or fields are too small to be smoothed.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import ConvergenceMap, datasets
    >>> from astro_massmap.validation import compare
    >>> wcs, rng = datasets.demo_truth().wcs, np.random.default_rng(0)
    >>> skies = rng.normal(scale=0.03, size=(4, 40, 48, 48))
    >>> truths = [ConvergenceMap(sky[0], wcs=wcs) for sky in skies]
    >>> maps = [ConvergenceMap(sky[1:].mean(axis=0), wcs=wcs, samples=sky[1:]) for sky in skies]
    >>> compare(truths, {"wiener": maps}).table.colnames
    ['quantity', 'wiener', 'wiener error']
    """
    if not truths:
        raise ValueError("truths: need at least one mock that all methods have mapped, got none")
    if wiener not in maps:
        raise ValueError(f"wiener: needs to be one of {', '.join(maps)}, got {wiener!r}")
    pixel_size = truths[0].pixel_scale.to_value("rad")
    if min(truths[0].shape) < least_side(pixel_size):
        side, shape = least_side(pixel_size), truths[0].shape
        raise ValueError(f"truths: need fields of at least {side} pixels on a side, got {shape}")
    for name, kappas in maps.items():
        if len(kappas) != len(truths):
            raise ValueError(f"maps: need one map per truth, got {len(kappas)} of {name!r} and {len(truths)} truths")
        if kappas[0].samples is not None and len(kappas[0].samples) < 2:
            raise ValueError(f"maps: need no samples or at least two, got one in those of {name!r}")
    if groups is not None and len(groups) != len(truths):
        raise ValueError(f"groups: need one name for each of {len(truths)} truths, got {len(groups)}")
    data = {name: np.stack([k.data for k in kappas]).astype(float) for name, kappas in maps.items()}
    prepared = Truths(np.stack([t.data for t in truths]).astype(float), data[wiener],
                      np.stack([t.mask for t in truths]), pixel_size)  # fmt: skip
    metrics = {}
    for name, kappas in maps.items():
        samples = None if kappas[0].samples is None else [k.samples.astype(float) for k in kappas]  # type: ignore[union-attr]
        of_map = data[name] if samples is None else np.stack([s.mean(axis=0) for s in samples])
        metrics[name] = measure(prepared, of_map, samples, [k.diagnostics for k in kappas],
                                stds=_stds(kappas), groups=groups, seed=seed)  # fmt: skip
    return Comparison(_table(metrics, len(truths)), metrics, prepared.edges, prepared.density, BANDS, THRESHOLDS)


def _stds(kappas):
    """Return standard deviations ``(n_mocks, ny, nx)``, infinite where unknown, or None if a map has none."""
    if any(kappa.uncertainty is None for kappa in kappas):
        return None
    return np.nan_to_num(np.stack([k.uncertainty.array for k in kappas]).astype(float), nan=np.inf)


def _table(metrics, n_mocks):
    table = ResultTable({"quantity": [label for labels in LABELS.values() for label in labels]})
    for name, of_method in metrics.items():
        cells = [of_method.values.get(key, np.full((2, len(labels)), np.nan)) for key, labels in LABELS.items()]
        table[name], table[f"{name} error"] = np.concatenate(cells, axis=1)
    table.meta |= {"mocks": n_mocks}
    return printed(table)


def _intervals_of(n):
    """Return a line on the levels of the credible intervals of n samples."""
    exact = [f"{1 - 2 * rank / (n + 1):.3g}" for rank in range(1, n // 2 + 1)]
    exact = ", ".join(exact[:3]) + ", ..." * (len(exact) > 3)
    between = "" if n < 4 else "; the ends of other intervals are interpolated"
    low = [f"{level:.0%}" for level in LEVELS if (n - 1) / (n + 1) < level - 1e-9]
    reduced = f", the expected coverage of {', '.join(low)}" if low else ""
    return (
        f"coverage with {n} samples: intervals of the levels {exact} end at samples{between}. The widest, "
        f"from the lowest to the highest sample, contains {(n - 1) / (n + 1):.3g} of the truths{reduced}."
    )


def texts(table: Table, names: Sequence[str], suffix: str = "", leave_out: str = "") -> Table:
    """Return ``quantity`` and a column of text for each method, of columns NAME + suffix; without empty differences."""
    names = [n for n in names if n != leave_out and f"{n}{suffix}" in table.colnames]
    columns = {n: (table[f"{n}{suffix}"], table[f"{n}{suffix} error"]) for n in names}
    cells = {n: [_cell(*pair) for pair in zip(*both, strict=True)] for n, both in columns.items()}
    text = Table({"quantity": list(table["quantity"]), **cells})
    known = [any(cell) for cell in zip(*cells.values(), strict=True)] if cells else [False] * len(text)
    return text[known] if suffix else text


def _cell(value, error):
    if not np.isfinite(value):
        return ""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.3g}"
    digits = min(max(1 - int(np.floor(np.log10(error))), 0), 3)
    return f"{value:.{digits}f} +- {error:.{digits}f}"
