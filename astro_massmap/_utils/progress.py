"""Progress bars and warnings, also without tqdm and astropy."""

import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of notebooks without ipywidgets, where the bars are text
        from tqdm.auto import tqdm
except ImportError:
    tqdm = None


_part = ContextVar("part", default="")  # the threads of `inference.side_by_side` inherit it


@contextmanager
def part_named(name):
    """Begin the warnings and lines of a ``with`` block with the name of a bin or field, or None for no name."""
    token = _part.set("" if name is None else f"{name}: ")
    try:
        yield
    finally:
        _part.reset(token)


class _Silent:
    """Progress bar without output."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def update(self, n=1):
        """Do nothing."""

    def set_postfix(self, **values):
        """Do nothing."""


def progress_bar(**options):
    """Return the progress bar of tqdm, or a silent one if tqdm is not installed."""
    return _Silent() if tqdm is None else tqdm(**options)


def write_line(text):
    """Write a line to the standard error, above the progress bars of tqdm if it is installed."""
    text = f"{_part.get()}{text}"
    try:
        from tqdm.auto import tqdm
    except ImportError:
        print(text, file=sys.stderr)
    else:
        tqdm.write(text, file=sys.stderr)


def warn(message, stacklevel=3):
    """Give an `AstropyUserWarning`, or a `UserWarning` if astropy is not installed."""
    try:
        from astropy.utils.exceptions import AstropyUserWarning as category
    except ImportError:
        category = UserWarning
    warnings.warn(f"{_part.get()}{message}", category, stacklevel=stacklevel)
