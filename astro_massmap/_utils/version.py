"""Version of the package, and the time, for the headers of files."""

from datetime import UTC, datetime

try:
    from .._version import version as __version__
except ImportError:  # a source tree that was never built
    __version__ = "unknown"


def now():
    """Return the date and time in UTC as FITS writes them."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
