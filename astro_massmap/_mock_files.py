"""The files of mock surveys: one for each estimate, with the settings that it was made with."""

import dataclasses
import hashlib


def path_of(folder, number, name):
    """Of the estimate ``name`` of a mock."""
    return folder / f"mock_{number:03d}_{name}.fits"


def read(file):
    """The map in a file."""
    from .convergence_map import ConvergenceMap

    return ConvergenceMap.read(file, format="fits")


def seeded(method, mocks, number):
    """The method with the random numbers of a mock."""
    if any(field.name == "seed" for field in dataclasses.fields(method)):
        return dataclasses.replace(method, seed=mocks.seed_of(number))
    return method


def settings_of(mocks, number, method):
    """What decides an estimate, or a truth where the method is None, in plain numbers and strings."""
    if method is None:
        return mocks.settings(number)
    return mocks.settings(number) | {"method": repr(seeded(method, mocks, number)), "network": _weights(method)}


def _weights(method):
    """A checksum of the networks of a method: two of the same size are not told apart by their names."""
    import torch

    digest, found = hashlib.sha256(), False
    for part in (method, *(getattr(method, field.name) for field in dataclasses.fields(method))):
        for network in vars(part).values() if hasattr(part, "__dict__") else ():
            if isinstance(network, torch.nn.Module):
                found = True
                for name, tensor in network.state_dict().items():
                    digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16] if found else ""


def is_there(folder, mocks, number, name, method):
    """Whether a file is there; ValueError if it was made with other settings."""
    file = path_of(folder, number, name)
    if not file.exists():
        return False
    found, wanted = read(file).meta.get("validation", {}), settings_of(mocks, number, method)
    wrong = [key for key in wanted if found.get(key) != wanted[key]]
    if wrong:
        told = "; ".join(f"{key} {found.get(key)} there, {wanted[key]} now" for key in wrong)
        raise ValueError(f"folder: {str(file)!r} is of another run ({told}); use another folder, or remove the file")
    return True
