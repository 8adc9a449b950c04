"""Tables in Parquet files that are read in pieces, by pyarrow."""

from pathlib import Path

import numpy as np
from astropy.table import MaskedColumn, Table

from .._utils.optional import require
from .._utils.untrusted import parsing

_SUFFIXES = ".parquet", ".parq", ".pq"
_ALL_ROWS, _BATCH = 2**40, 2**17


def is_parquet(file):
    """Return whether a file has an extension of Parquet, or is a folder, of Parquet files."""
    return Path(file).suffix.lower() in _SUFFIXES or Path(file).is_dir()


def parquet_pieces(file, name, rows):
    """
    Yield tables of ``rows`` rows of a Parquet file, or of a folder of these, such as the partitions of HATS.

    Text is Unicode, null values are masked, and nested columns are left out. OSError, after ``name``, if reading fails.
    """
    arrow, dataset = require("pyarrow", "parquet"), require("pyarrow.dataset", "parquet")
    with parsing(f"{name}: cannot read a table from {str(file)!r}"):
        found = dataset.dataset(_files(Path(file)), format="parquet")
        flat = [field.name for field in found.schema if not arrow.types.is_nested(field.type)]
        batches, n = [], 0
        for batch in found.to_batches(
            columns=flat, batch_size=min(rows, _BATCH), batch_readahead=2, fragment_readahead=1
        ):
            batches.append(batch)
            n += len(batch)
            while n >= rows:
                whole = arrow.Table.from_batches(batches)
                yield _table(whole[:rows])
                batches, n = whole[rows:].to_batches(), n - rows
        if n:
            yield _table(arrow.Table.from_batches(batches))


def whole_parquet(file, name):
    """
    Return the table of a Parquet file, or of a folder of these, as `parquet_pieces`.

    None for a file of astropy, whose own reader restores the units.
    """
    if Path(file).is_file():
        parquet = require("pyarrow.parquet", "parquet")
        with parsing(f"{name}: cannot read a table from {str(file)!r}"):
            schema = parquet.read_schema(file)
        if b"table_meta_yaml" in (schema.metadata or {}):
            return None
    return next(parquet_pieces(file, name, _ALL_ROWS), Table())


def _files(path):
    """Return the names of the Parquet files of a folder, or that of the file."""
    if not path.is_dir():
        return [str(path)]
    files = sorted(str(file) for file in path.rglob("[!_.]*") if file.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError("the folder contains no Parquet file")
    return files


def _table(piece):
    return Table({name: _column(piece[name]) for name in piece.column_names})


def _column(values):
    values = values.combine_chunks()
    values = values.dictionary_decode() if hasattr(values, "dictionary_decode") else values
    missing = values.is_null().to_numpy(zero_copy_only=False)
    array = values.to_numpy(zero_copy_only=False)
    if array.dtype == object:  # text, or flags of which some are missing
        array = np.where(missing, "", array).astype(str)
    return MaskedColumn(array, mask=missing) if missing.any() else array
