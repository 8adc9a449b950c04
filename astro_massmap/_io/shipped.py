"""Read the tables that the package contains."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_shipped(name: str) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the columns and the columns ``(n_columns, n_rows)`` of an ECSV table, without astropy."""
    text = (resources.files("astro_massmap") / "data" / name).read_text(encoding="utf-8")
    names, *rows = [line for line in text.splitlines() if not line.startswith("#")]
    return names.split(), np.loadtxt(rows, unpack=True)
