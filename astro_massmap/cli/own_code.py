"""
Priors and methods from Python code of the user: ``FILE.py:NAME``, or ``MODULE:NAME`` of an installed module.

Code is imported only if its file or module is on the command line; a record in a file never leads to an import.
"""

import importlib
import sys
from pathlib import Path


def is_own_code(text):
    """Return whether the value of an option is code of the user."""
    where, _, name = str(text).rpartition(":")
    return bool(where) and name.isidentifier() and (where.endswith(".py") or _is_module(where))


def _is_module(text):
    return all(part.isidentifier() for part in text.split("."))


def file_of(text):
    """Return the path of the file in ``FILE.py:NAME``, or None for a module."""
    where = str(text).rpartition(":")[0]
    return Path(where) if where.endswith(".py") else None


def name_in(text):
    """Return the name in ``FILE.py:NAME``."""
    return str(text).rpartition(":")[2]


def load(text, option):
    """Return an object of a file or module; ValueError or OSError, which name the option, without it."""
    file, name = file_of(text), name_in(text)
    module = _module(str(text).rpartition(":")[0], option) if file is None else _module_of_file(file, option)
    try:
        return getattr(module, name)
    except AttributeError:
        raise ValueError(f"{option}: {text.rpartition(':')[0]!r} contains no {name!r}") from None


def _module(name, option):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # an import in the module
            raise
        raise ValueError(f"{option}: there is no installed module {name!r}; for a file give {name}.py:NAME") from None


def _module_of_file(file, option):
    """Import a file under its own name, so that worker processes can import it, too."""
    if not file.is_file():
        raise OSError(f"{option}: the file {str(file)!r} does not exist")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: its files replace no other module
    importlib.invalidate_caches()
    module = importlib.import_module(file.stem) if file.stem.isidentifier() else None
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file.resolve():
        raise ValueError(
            f"{option}: {file.name!r} has the name of another module, or is no valid name; rename the file"
        )
    return module
