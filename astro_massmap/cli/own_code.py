"""
Priors and methods from Python code of the user: ``FILE.py:NAME``, or ``MODULE:NAME`` of an installed module.

For a method, ``MODULE.NAME`` is possible, too.

Code is imported only if its file or module is on the command line; a record in a file never leads to an import.
"""

import importlib
import sys
import traceback
from pathlib import Path


def is_own_code(text):
    """Return whether the value of an option is code of the user."""
    where, _, name = str(text).rpartition(":")
    return where.endswith(".py") or name.endswith(".py") or (_is_module(where) and name.isidentifier())


def with_colon(text):
    """Return ``package.module.NAME`` as ``package.module:NAME``; other values as they are."""
    where, dot, name = text.rpartition(".")
    return f"{where}:{name}" if dot and name != "py" and _is_module(where) and name.isidentifier() else text


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
    if not name_in(text).isidentifier():
        file = text if text.endswith(".py") else text.rpartition(":")[0]
        raise ValueError(f"{option}: give {file}:NAME, with the name of an object in the file, got {text!r}")
    file, name = file_of(text), name_in(text)
    module = _module(str(text).rpartition(":")[0], option) if file is None else _module_of_file(file, option)
    try:
        return getattr(module, name)
    except AttributeError:
        raise ValueError(f"{option}: {text.rpartition(':')[0]!r} contains no {name!r}") from None


def place_in_code(error, arguments):
    """Return the last line of the traceback in code of the user, such as ``mine.py:4, denoised``, or None."""
    texts = [getattr(arguments, "prior", None), getattr(arguments, "method", None)]
    files = {_source(text) for text in [*texts, *(getattr(arguments, "methods", None) or [])] if is_own_code(text)}
    lines = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    places = [(code.co_filename, line, code.co_qualname) for code, line in lines]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno, "<module>"))
    for file, line, name in reversed(places):
        if Path(file).resolve() in files:
            return f"{Path(file).name}:{line}" + ("" if name == "<module>" else f", {name}")
    return None


def _source(text):
    file = file_of(text) or getattr(sys.modules.get(str(text).rpartition(":")[0]), "__file__", None)
    return None if file is None else Path(file).resolve()


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
