"""Progress bars and warnings, also without tqdm and astropy."""

import sys
import warnings

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of notebooks without ipywidgets, where the bars are text
        from tqdm.auto import tqdm
except ImportError:
    tqdm = None


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
    warnings.warn(message, category, stacklevel=stacklevel)
