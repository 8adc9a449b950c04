"""Conversion of tables for the documentation: ``python benchmarks/list_table.py TABLE.ecsv ...`` writes TABLE.rst."""

import sys
from pathlib import Path

from astropy.table import Table


def list_table(rows):
    """Return a list table of reStructuredText; the first row is the header."""
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in rows:
        lines += [f"    {'*' if i == 0 else ' '} - {cell}".rstrip() for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def text(cell):
    """Return a value as reStructuredText: nothing for NaN, and options as literals."""
    return "" if cell == "nan" else f"``{cell}``" if cell.startswith("--") else cell


def main():
    for file in map(Path, sys.argv[1:]):
        table = Table.read(file)
        cells = [table[name].pformat(show_name=False, max_lines=-1) for name in table.colnames]
        rows = [[text(cell.strip()) for cell in row] for row in zip(*cells, strict=True)]
        file.with_suffix(".rst").write_text(list_table([table.colnames, *rows]))


if __name__ == "__main__":
    main()
