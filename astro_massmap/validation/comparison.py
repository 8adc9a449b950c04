"""All methods against the truths of the same mock surveys, in one table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, Table

from .metrics import BANDS, LABELS, THRESHOLDS, Truths, least_side, score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..maps.convergence_map import ConvergenceMap


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
    bands : sequence of float
        Edges in ell of the bands of the power.
    thresholds : sequence of float
        Convergence above which peaks are counted.

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
    bands: Sequence[float] = ()
    thresholds: Sequence[float] = ()

    def text(self) -> Table:
        """
        The table as it is printed.

        Returns
        -------
        `~astropy.table.Table`
            ``quantity``, and a column of texts for each method: ``value +- error`` to two digits of the error,
            three at most after the point.

        Examples
        --------
        >>> from astropy.table import QTable
        >>> from astro_massmap.validation import Comparison
        >>> table = QTable({"quantity": ["RMSE / Wiener"], "wiener": [0.98765], "wiener error": [0.01234]})
        >>> Comparison(table, scores={"wiener": None}, edges=None, density=None).text().pprint()
           quantity        wiener
        ------------- --------------
        RMSE / Wiener 0.988 +- 0.012
        """
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
    >>> skies = rng.normal(scale=0.03, size=(4, 40, 48, 48))
    >>> truths = [ConvergenceMap(sky[0], wcs=wcs) for sky in skies]
    >>> maps = [ConvergenceMap(sky[1:].mean(axis=0), wcs=wcs, samples=sky[1:]) for sky in skies]
    >>> comparison = compare(truths, {"wiener": maps})
    >>> len(comparison.table), comparison.table.colnames
    (41, ['quantity', 'wiener', 'wiener error'])
    """
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
    return Comparison(_table(scores, len(truths)), scores, prepared.edges, prepared.density, BANDS, THRESHOLDS)


def _table(scores, n_mocks):
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
