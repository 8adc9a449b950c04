"""HDF5 files: what they declare must lie in them, and be of a size with them."""

import math
import os

from ._untrusted import check_allowance

_TABLE_NOTES = "__table_column_meta__"  # astropy's YAML


def check_maps(maps, path):
    """ValueError or OSError for a dataset of which no map, or no piece that is packed as a whole, is to be read."""
    size, sides = os.path.getsize(path), maps.shape[-2:]
    needed = max(math.prod(sides), math.prod(maps.chunks or (1,))) * maps.dtype.itemsize
    check_allowance(needed, size, f"maps of {' x '.join(map(str, sides))} pixels")


def check_place(dataset, file):
    """ValueError for a dataset that is not in the file itself."""
    if dataset.file != file or dataset.external or dataset.is_virtual:
        raise ValueError(f"its dataset {dataset.name!r} lies in another file")


def check_tables(path):
    """ValueError or OSError for a file of which not everything can be read; to be called within `parsing`."""
    from ._optional import require

    h5py = require("h5py", "hdf5")
    with h5py.File(path, "r") as file:
        needed = sum(_sizes(h5py, file, file, set()))
        check_allowance(needed, os.path.getsize(path), "tables")


def _sizes(h5py, group, file, seen):
    """Bytes of all datasets in a group, each once."""
    from ._yaml_text import check_yaml

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"its {name!r} lies elsewhere")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _sizes(h5py, item, file, seen)
        elif isinstance(item, h5py.Dataset):
            check_place(item, file)
            yield math.prod(item.shape or ()) * item.dtype.itemsize
            if _TABLE_NOTES in item.attrs:
                raise ValueError("its notes are of an old kind")
            if name.endswith(_TABLE_NOTES):
                check_allowance(
                    math.prod(item.shape or ()) * item.dtype.itemsize, os.path.getsize(file.filename), "notes"
                )
                check_yaml(b"\n".join(item[...]).decode())
