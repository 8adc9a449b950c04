"""
All methods on the same mocks, for the documentation: ``python benchmarks/all_methods.py NAME=FOLDER ... --rst FOLDER``.

The folders are those of ``massmap validate``, of which ``validation.ecsv`` and ``differences.ecsv`` are read;
docs/validation has the commands. A row is a method, a column a quantity, and ``all_methods_NAME.rst`` is written for
each folder.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from list_table import list_table

COLUMNS = {
    "RMSE / Wiener, with data": "RMSE / Wiener, with data",
    "RMSE / Wiener, in gaps": "in gaps",
    "RMSE / Wiener, smoothed": "smoothed by 1 arcmin",
    "correlation with truth, with data": "correlation - Wiener",
    "peaks above 0.04: found at 10% false, by kappa": "peaks found at 10 % false",
    "peaks above 0.04: mean purity, by kappa": "mean purity of peaks",
    "CRPS / Wiener, smoothed": "CRPS / error of Wiener",
    "power of samples / truth, ell 300 to 4500": "power of samples / truth",
    "seconds a sample, or a map": "seconds a map or sample",
}
AS_DIFFERENCE = ("correlation - Wiener",)


def cell(row, name):
    """Return a value with its error as text, empty for NaN."""
    value, error = row[name], row[f"{name} error"]
    if not np.isfinite(value):
        return ""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.3g}"
    digits = min(max(1 - int(np.floor(np.log10(error))), 0), 3)
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def rows_of(folder):
    """Return the rows of the table of a folder, the header first."""
    table, off = (Table.read(folder / f"{name}.ecsv") for name in ("validation", "differences"))
    names = [name for name in table.colnames[1:] if not name.endswith(" error")]
    names.sort(key=lambda name: -table[name][list(table["quantity"]).index("RMSE / Wiener, with data")])
    rows = [["method", *COLUMNS.values()]]
    for name in names:
        cells = []
        for quantity, title in COLUMNS.items():
            source = off if title in AS_DIFFERENCE else table
            here = [row for row in source if row["quantity"] == quantity]
            cells.append(cell(here[0], name) if here and name in source.colnames else "")
        rows.append([f"``{name}``", *cells])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--rst", type=Path, default=Path("docs/tables"))
    arguments = parser.parse_args()
    for text in arguments.folders:
        name, _, folder = text.partition("=")
        rows = rows_of(Path(folder))
        (arguments.rst / f"all_methods_{name}.rst").write_text(list_table(rows))
        print(name, *("  ".join(f"{c:>20}" for c in row) for row in rows), sep="\n")


if __name__ == "__main__":
    main()
