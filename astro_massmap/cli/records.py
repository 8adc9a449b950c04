"""Record of a command, from which ``massmap repeat`` runs it again."""

import hashlib
import shlex
from pathlib import Path

import astropy.units as u

from .arguments import PRIORS
from .own_code import file_of, is_own_code
from .sources import INFER

PLACES = "catalog", "map"  # positional arguments
FILES = (*PLACES, "exclude", "wcs", "spectrum", "n_z", "prior")  # files that commands read to make a map
CODE = "prior", "method"  # options that may be code of the user


def record(name, arguments, method, **effective):
    """
    Return the record of a command from which ``massmap repeat`` runs it again.

    Arguments that are None are replaced by settings of ``method`` and by ``effective``. The record contains ``name``;
    ``options``, all of them in the syntax of the shell; ``line``, the same as one command; and ``inputs``, the files
    that were read by option, with their SHA-256. Paths are those of `without_folders`.
    """
    from .._utils.files import without_folders
    from ..methods import METHODS

    chosen = vars(arguments).copy()
    del chosen["command"]
    names = "n_samples", "seed", "device", "smoothing", "inpaint", "schedule", "n_sigma", "n_noise"
    effective |= {key: getattr(method, key, None) for key in names}
    effective["gaussian"] = {True: "on", False: "off"}.get(getattr(method, "gaussian", None))
    if "method" in chosen:
        effective["method"] = next((key for key, kind in METHODS.items() if type(method) is kind), None)
    chosen = {key: effective.get(key) if value is None else value for key, value in chosen.items()}
    files = [key for key in FILES if chosen.get(key) is not None and not is_name(key, chosen[key])]
    codes = [key for key in CODE if key in chosen and is_own_code(chosen[key])]
    files += [key for key in codes if key not in files]
    read = {key: (file_of(chosen[key]) if key in codes else chosen[key]) for key in files}
    inputs = {
        key: {"given": without_folders(chosen[key]), "sha256": None if file is None else file_sha256(file)}
        for key, file in read.items()
    }
    shown = {key: as_text(value) for key, value in chosen.items()}
    paths = [
        key
        for key, value in chosen.items()
        if value is not None and (isinstance(value, Path) or key in (*files, "regions"))
    ]
    shown |= {key: without_folders(chosen[key]) for key in paths}
    line = shlex.join(["massmap", *shell_arguments(name, shown)])
    return {"name": name, "line": line, "options": shown, "inputs": inputs}


def is_name(key, value):
    """Return whether the value of an option for files is the name of a prior, or an inferred spectrum."""
    return (key == "prior" and value in PRIORS) or (key == "spectrum" and value == INFER)


def shell_arguments(name, chosen):
    """Return the command line as a list, from the texts of the options by name."""
    places = [chosen[key] for key in PLACES if chosen.get(key) is not None]
    named = {f"--{key.replace('_', '-')}": value for key, value in chosen.items() if key not in PLACES}
    given = {option: value for option, value in named.items() if value is not None and value is not False}
    return [name, *places, *(option if value is True else f"{option}={value}" for option, value in given.items())]


def as_text(value):
    """Return a parsed option in the syntax of the shell; flags, None and numbers are unchanged."""
    if isinstance(value, u.Quantity):
        return f"{float(value.value)!r} {value.unit}"
    if isinstance(value, dict):
        return ",".join(f"{key}={column or ''}" for key, column in value.items()) or None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def file_sha256(file):
    """Return the SHA-256 of a regular file; None for anything else (a pipe cannot be read twice)."""
    if not Path(file).is_file():
        return None
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
