"""Parts of a report: texts without paths, facts, tables and figures, which its template formats."""

import base64
import io
import numbers
import re

import numpy as np

from .._utils.files import without_folders
from .._utils.optional import require

_DPI = 100
_LONGEST = 24  # entries of lists that are written in full
NOTHING = "n/a"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # not allowed in HTML
_ENDS = r"\s'\"<>,;:()\[\]{}="  # characters around a path in a text
_STEP = rf"[^{_ENDS}/]+"
_PATHS = re.compile(
    rf"(?<![^{_ENDS}])(?:(?P<address>(?!file:)\w+://\S*)"
    rf"|(?:~[\w.-]*|\.\.?)?/+(?:{_STEP}/+)+(?P<absolute>{_STEP})?|(?:~[\w.-]*|\.\.?)/+(?P<near>{_STEP})"
    rf"|(?:{_STEP}/+)+(?P<relative>{_STEP}\.[a-zA-Z]\w*))"
)


def number(value, how):
    return format(float(value), how) if np.isfinite(value) else NOTHING


def _is_plain(value):
    return value is None or isinstance(value, str | numbers.Number | np.bool_)


def text_of(value):
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value):.5g}"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(v) for v in value[:_LONGEST]) + (", ..." if len(value) > _LONGEST else "")
    return _without_paths(str(value))


def _without_paths(text):
    """Reduce the paths in a text to the names of the files; addresses of the web are kept."""
    text = without_folders(text) if text.startswith(("/", "~/", "../", "./")) else text
    return _PATHS.sub(lambda path: path[path.lastgroup] if path.lastgroup else "", text)


def section(heading, *parts, style=""):
    return {"heading": heading, "parts": parts, "style": style}


def note(text):
    return "note", text


def facts_of(facts):
    return "facts", [(text_of(name), text_of(value)) for name, value in facts.items()]


def table_of(head, rows, *, linked=False):
    """Return a table; the rows of a linked one are links to the chapters."""
    return "table", {"head": head, "rows": rows, "linked": linked}


def figure_of(figure, alt, caption):
    """Return a matplotlib figure as an embedded PNG, and close it."""
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=_DPI)
        width, height = (round(side * _DPI) for side in figure.get_size_inches())
    finally:
        require("matplotlib.pyplot", "plot").close(figure)
    png = base64.b64encode(buffer.getvalue()).decode()
    return "figure", {"png": png, "alt": alt, "caption": caption, "width": width, "height": height}


def parts_of(record):
    """Return parts of a dictionary: lists of equal length as columns of a table, inner dictionaries under headings."""
    if not isinstance(record, dict):
        return [note(text_of(record))]
    lists = {k: v for k, v in record.items() if isinstance(v, list | tuple) and 2 < len(v) <= _LONGEST}
    lengths = [len(v) for v in lists.values()]
    columns = {k: v for k, v in lists.items() if lengths.count(len(v)) > 1 and all(map(_is_plain, v))}
    inner = {k: v for k, v in record.items() if isinstance(v, dict) and v}
    parts = [facts_of({k: v for k, v in record.items() if k not in columns and k not in inner})]
    for length in dict.fromkeys(len(v) for v in columns.values()):
        alike = {k: v for k, v in columns.items() if len(v) == length}
        rows = [[text_of(value) for value in row] for row in zip(*alike.values(), strict=True)]
        parts.append(table_of([text_of(name) for name in alike], rows))
    for name, values in inner.items():
        parts += [("heading", text_of(name)), *parts_of(values)]
    return parts
