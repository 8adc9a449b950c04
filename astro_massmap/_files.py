"""Files are written whole or not at all."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(file, *, overwrite=False):
    """
    A temporary path beside ``file`` that takes its place if all goes well, and vanishes if not.

    Raises OSError at once if the file exists and must not be overwritten, or its folder does not
    exist or cannot be written.
    """
    file = check_target(file, overwrite=overwrite)
    # The endings stay: writers tell the format by them.
    suffix = "".join(file.suffixes[-2:])
    handle, name = tempfile.mkstemp(suffix=suffix, prefix=f".{file.name[:40]}.", dir=file.parent)
    os.close(handle)
    os.unlink(name)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def check_target(file, *, overwrite=False):
    """``file`` as a path that can be written, else OSError; for asking before the work begins."""
    file = Path(file)
    if file.is_dir():
        raise OSError(f"file: {str(file)!r} is a folder")
    if file.exists() and not overwrite:
        raise OSError(f"file: {str(file)!r} exists; give overwrite=True to replace it")
    if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        raise OSError(f"file: the folder {str(file.parent)!r} does not exist or cannot be written")
    return file
