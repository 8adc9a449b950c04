"""What a user is told on the way, also on machines that have neither tqdm nor astropy."""

import warnings


class _Silent:
    """A progress bar that shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def update(self, n=1):
        """Nothing."""

    def set_postfix(self, **values):
        """Nothing."""


def progress_bar(**options):
    """The progress bar of tqdm, or a silent one without it."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Silent()
    return tqdm(**options)


def warn(message, stacklevel=3):
    """Warn as astropy does, if it is there."""
    try:
        from astropy.utils.exceptions import AstropyUserWarning as category
    except ImportError:
        category = UserWarning
    warnings.warn(message, category, stacklevel=stacklevel)
