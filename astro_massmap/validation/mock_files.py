"""Files of mock surveys: one for each estimate, with its settings."""

import dataclasses

from .._utils.checks import is_object_with
from .._utils.content import description, text_of
from .._utils.version import __version__
from ..maps.convergence_map import ConvergenceMap
from ..methods.provenance import digest


def path_of(folder, number, name):
    return folder / f"mock_{number:03d}_{name}.fits"


def read(file):
    return ConvergenceMap.read(file, format="fits")


def seeded(method, mocks, number):
    if not is_object_with(method, "solve"):
        raise TypeError(f"methods: need objects with a method solve(), such as Wiener(), got {method!r}")
    if dataclasses.is_dataclass(method) and any(field.name == "seed" for field in dataclasses.fields(method)):
        return dataclasses.replace(method, seed=mocks.seed_of(number))
    return method


def settings_of(mocks, number, method, without=()):
    """
    Return the settings of an estimate, or of a truth if the method is None, as plain numbers and strings.

    Options of the method with the names in ``without`` are left out.
    """
    if method is None:
        return mocks.settings(number)
    # the repr omits weights of networks and values of spectra
    made = seeded(method, mocks, number)
    text = text_of(made) if dataclasses.is_dataclass(made) else description(made)
    for name in without:
        option = f"{name}={getattr(made, name)!r}"
        text = text.replace(f", {option}", "").replace(f"{option}, ", "")
    made = {"method": text, "numbers": digest(method, without)[:16], "version": __version__}
    return mocks.settings(number) | made


def _newer_options(method, text):
    """Return the options at their default that are not in the description of a method, which is older than they."""
    fields = dataclasses.fields(method) if dataclasses.is_dataclass(method) else ()
    unchanged = [field.name for field in fields if field.repr and getattr(method, field.name) == field.default]
    return [name for name in unchanged if f"{name}=" not in text]


def is_there(folder, mocks, number, name, method):
    """Return whether a file exists; raise ValueError if it was made with other settings."""
    file = path_of(folder, number, name)
    if not file.exists():
        return False
    found = read(file).meta.get("validation")
    found = found if isinstance(found, dict) else {}
    wanted = settings_of(mocks, number, method, _newer_options(method, str(found.get("method"))))
    wrong = [key for key in wanted if found.get(key) != wanted[key]]
    if wrong:
        changes = "; ".join(f"{key}: {found.get(key)} in the file, {wanted[key]} now" for key in wrong)
        raise ValueError(
            f"folder: {str(file)!r} was made with other settings ({changes}); use another folder, or remove the file"
        )
    return True
