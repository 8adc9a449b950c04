"""Write files atomically."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePath


@contextmanager
def atomic_path(file, *, overwrite=False):
    """
    Provide a temporary path that replaces ``file`` at the end, and is deleted after an error.

    Symbolic links are followed. OSError if the file exists and must not be overwritten, or cannot be written.
    """
    file = check_target(file, overwrite=overwrite)
    # the file extensions are kept: writers choose the format by them
    suffix, file = "".join(file.suffixes[-2:]), Path(os.path.realpath(file))
    handle, name = tempfile.mkstemp(suffix=suffix, prefix=f".{file.name[:40]}.", dir=file.parent)
    os.close(handle)
    os.unlink(name)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def check_space(file, needed):
    """Raise OSError if less than ``needed`` bytes are free on the disk of ``file``."""
    free = shutil.disk_usage(Path(os.path.realpath(file)).parent).free
    if needed > free:
        raise OSError(
            f"file: {str(file)!r} needs {needed / 2**20:.4g} MiB, but {free / 2**20:.4g} MiB are free on its disk"
        )


def check_target(file, *, overwrite=False):
    """Return ``file`` as a path; OSError if it cannot be written."""
    file = Path(file)
    if file.is_dir():
        raise OSError(f"file: {str(file)!r} is a folder")
    if file.exists() and not overwrite:
        raise OSError(f"file: {str(file)!r} exists; give overwrite=True to replace it")
    target = Path(os.path.realpath(file))
    if target.is_symlink():
        raise OSError(f"file: {str(file)!r} is a circular symbolic link")
    folder = target.parent if file.is_symlink() else file.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise OSError(f"file: the folder {str(folder)!r} does not exist or cannot be written")
    return file


def without_folders(path):
    """Return a path as it may be published: unchanged below the current folder, otherwise the name of the file."""
    path = PurePath(path)
    return path.name if path.is_absolute() or {"..", "~"} & set(path.parts) else str(path)
