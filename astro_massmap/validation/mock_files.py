"""Files of mock surveys: one for each estimate, with its settings."""

import dataclasses
import hashlib

import numpy as np
import torch

from .._utils.version import __version__
from ..maps.convergence_map import ConvergenceMap


def path_of(folder, number, name):
    return folder / f"mock_{number:03d}_{name}.fits"


def read(file):
    return ConvergenceMap.read(file, format="fits")


def seeded(method, mocks, number):
    """Return the method with the seed of a mock."""
    if not dataclasses.is_dataclass(method):
        raise TypeError(f"methods: need frozen dataclasses such as Wiener(), got {method!r}")
    if any(field.name == "seed" for field in dataclasses.fields(method)):
        return dataclasses.replace(method, seed=mocks.seed_of(number))
    return method


def settings_of(mocks, number, method):
    """Return the settings of an estimate, or of a truth if the method is None, as plain numbers and strings."""
    if method is None:
        return mocks.settings(number)
    digest = hashlib.sha256()
    _add_numbers(digest, method)
    made = {"method": repr(seeded(method, mocks, number)), "numbers": digest.hexdigest()[:16], "version": __version__}
    return mocks.settings(number) | made


def _add_numbers(digest, part):
    """Add all arrays of a method to a digest, because its repr omits weights of networks and values of spectra."""
    if isinstance(part, torch.nn.Module):
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    elif isinstance(part, np.ndarray):
        digest.update(np.asarray(part).tobytes())  # the unit of a quantity is in the repr
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            digest.update(field.name.encode())
            _add_numbers(digest, getattr(part, field.name))
    elif callable(part) and hasattr(part, "cl"):  # a spectrum
        _add_numbers(digest, np.array([part.ell, part.cl]))
    elif isinstance(part, bool | float | tuple):
        digest.update(repr(part).encode())


def is_there(folder, mocks, number, name, method):
    """Return whether a file exists; raise ValueError if it was made with other settings."""
    file = path_of(folder, number, name)
    if not file.exists():
        return False
    found, wanted = read(file).meta.get("validation"), settings_of(mocks, number, method)
    found = found if isinstance(found, dict) else {}
    wrong = [key for key in wanted if found.get(key) != wanted[key]]
    if wrong:
        changes = "; ".join(f"{key}: {found.get(key)} in the file, {wanted[key]} now" for key in wrong)
        raise ValueError(
            f"folder: {str(file)!r} was made with other settings ({changes}); use another folder, or remove the file"
        )
    return True
