"""Tables of results with one row per region: names of the regions, and columns of the input."""

from .._io.result_tables import unique


def region_names(regions):
    """Return unique names of regions: text, name or label, else the tags, else the number of the region."""
    return unique([_name(region) or str(i) for i, region in enumerate(regions)])


def _name(region):
    names = (region.meta.get(key) for key in ("text", "name", "label"))
    name = next((str(name).strip() for name in names if name is not None and str(name).strip()), None)
    return name or ", ".join(str(tag) for tag in region.meta.get("tag") or ()).strip()


def keep_columns(table, regions, keep):
    """Add columns of the regions (True, False, or names) to results; existing names are followed by ``_input``."""
    if keep is False or keep is None:
        return table
    source = regions.table
    if source is None:
        raise ValueError(f"keep_columns: got {keep!r}, but the regions have no columns; give a table of clusters")
    names = source.colnames if keep is True else [keep] if isinstance(keep, str) else list(keep)
    for name in names:
        if name not in source.colnames:
            raise ValueError(f"keep_columns: no column {name!r} in the table, which has {source.colnames}")
        new = name
        while new in table.colnames:
            new += "_input"
        column = source[name]
        if getattr(getattr(column, "dtype", None), "kind", "") in "SU" and getattr(column, "unit", None) is not None:
            column = column.copy()
            column.unit = None  # such as h:m:s of VizieR; a QTable cannot make a quantity of text
        table[new] = column
    return table
