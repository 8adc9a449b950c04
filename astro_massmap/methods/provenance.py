"""
Record of a run, from which its map can be made again.

A record is made of plain numbers, texts, lists and dictionaries:

- ``method``, ``settings`` and ``seed``, as the method object holds them;
- ``date`` (UTC), ``versions``, ``platform``, ``device`` and ``threads``, on which the last digits depend;
- ``prior``, the prior, network or spectrum of the method: its kind and name, whether it is Gaussian, plain options, and
  the SHA-256 of all its arrays, the spectrum of another theory included. For a trained network this is the checksum in
  its file of weights. A function of the user is recorded by its name and the SHA-256 of its content, see
  `astro_massmap._utils.content`;
- ``sources``, the name and origin of the spectrum, and the mean redshift of the sources if their n(z) is known;
- ``reduced_shear``, its setting, and the result as in the diagnostics; None for data that are a convergence;
- ``fallback``, the method that replaced the samples of this one, if there is one;
- ``input``, the SHA-256 of shear (or convergence), noise and pixel size as the method receives them; a pixel without
  data has infinite noise, so that the mask is part of it.

`astro_massmap.maps.provenance` adds what is known of a file: the command and the record of the input.
"""

import copy
import dataclasses
import hashlib
import platform
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from numbers import Integral, Real

import numpy as np
import torch

from .._utils.content import content_sha256, description, name_of, text_of
from .._utils.files import without_folders
from .._utils.progress import warn
from .._utils.version import __version__, now
from ..priors import GaussianPrior, PosteriorNetwork, ScorePrior
from ..priors.weights_file import checksum
from ..theory.spectrum import PowerSpectrum
from .inferred_spectrum import InferredSpectrum

# the names of the tables of a prior in its file
_TABLES = {"trained_spectrum": "spectrum", "spectrum": "theory"}
_IN_FILES = {"ScorePrior": _TABLES, "PosteriorNetwork": _TABLES}
_LONGEST_NAME = 200


@lru_cache(maxsize=1)
def versions():
    """Return the versions on which the numbers of a map depend, by name."""
    own = {"python": platform.python_version(), "astro_massmap": __version__}
    for name in ("astropy", "numpy", "scipy", "torch"):
        with suppress(metadata.PackageNotFoundError):
            own[name] = metadata.version(name)
    return own


def settings_of(method):
    """Return the options of a method as plain numbers and texts."""
    fields = dataclasses.fields(method) if dataclasses.is_dataclass(method) else ()
    return {f.name: _setting(f, getattr(method, f.name)) for f in fields}


def _setting(field, value):
    if value is None:
        return None
    if field.metadata.get("content"):
        return description(value)
    return without_folders(value) if field.name == "checkpoint" else _plain(value)


def record(method, observation, diagnostics):
    """Return the record of a finished run of a method on an observation, with its diagnostics."""
    return {
        "method": diagnostics["method"],
        "settings": dict(diagnostics["settings"]),
        "seed": _plain(getattr(method, "seed", None)),
        "date": now() + "Z",
        "versions": dict(diagnostics["versions"]),
        "platform": platform.platform(),
        "device": _device(diagnostics.get("device")),
        "threads": torch.get_num_threads(),
        "prior": identity(method),
        "sources": dict(diagnostics["sources"]),
        "reduced_shear": copy.copy(diagnostics.get("reduced_shear")),
        **({"fallback": diagnostics["fallback"]} if diagnostics.get("fallback") else {}),
        "input": {
            "kind": type(observation).__name__,
            "shape": [int(n) for n in observation.shape],
            "pixel_size": float(observation.pixel_size),
            "sha256": observation.sha256,
        },
    }


def _device(name):
    if name is None or not str(name).startswith("cuda"):
        return name
    return f"{name} ({torch.cuda.get_device_name(name)})"


def _plain(value):
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    text = str(value)
    return description(value) if " at 0x" in text else text


def identity(method):
    """Return the record of the prior, network or spectrum of a method, or None if it has none."""
    known = _known(method)
    if known is None:
        return None
    name, part = known
    tensors, options = {}, {}
    complete = _take(part, "" if dataclasses.is_dataclass(part) else name, tensors, options)
    pixel_size = getattr(part, "pixel_size", None)
    if pixel_size is not None:
        options["pixel_size"] = float(pixel_size)
    called = getattr(part, "name", None)
    return {
        "kind": type(part).__name__,
        "name": " ".join((text_of(part) if called is None else str(called)).split())[:_LONGEST_NAME],
        "gaussian": name == "spectrum" or isinstance(part, GaussianPrior),
        "sha256": checksum(tensors) if complete and tensors else None,
        "options": options,
    }


def digest(method, without=()):
    """
    Return the SHA-256 of the arrays and plain values of a method, with its prior, network or spectrum.

    Options of the method with the names in ``without`` are left out.
    """
    tensors, options = {}, {}
    _take(method, "", tensors, options)
    options = {name: value for name, value in options.items() if name not in without}
    return hashlib.sha256((checksum(tensors) + repr(sorted(options.items()))).encode()).hexdigest()


def _known(method):
    """Return the name of the option for the prior, network or spectrum of a method, and its value or default."""
    defaults = {
        "AnnealedHMC": ("prior", ScorePrior.load),
        "PosteriorDiffusion": ("network", PosteriorNetwork.load),
        "PosteriorMean": ("network", PosteriorNetwork.load),
        "Sparse": ("spectrum", PowerSpectrum.default),
        "Wiener": ("spectrum", PowerSpectrum.default),
    }
    name, default = next((defaults[c.__name__] for c in type(method).__mro__ if c.__name__ in defaults), (None, None))
    if name is None:  # a method from outside the package
        name = next((n for n in ("prior", "network", "spectrum") if getattr(method, n, None) is not None), None)
        return None if name is None else (name, getattr(method, name))
    if getattr(method, "gaussian", True) is False:  # a sparse map without a Gaussian component
        return None
    part = getattr(method, name)
    part = default() if part is None else part
    if isinstance(part, GaussianPrior) and part.spectrum is None:
        part = GaussianPrior(PowerSpectrum.default())
    if isinstance(part, InferredSpectrum):
        part = part.with_reference(part.theory)
    return name, part


def _take(part, name, tensors, options):
    """Add arrays of a part to ``tensors`` and plain values to ``options``; return False if it has anything else."""
    if part is None:
        return True
    if isinstance(part, str | Real):
        options[name] = _plain(part)
    elif isinstance(part, list | tuple) and all(isinstance(p, str | Real) for p in part):
        options[name] = [_plain(p) for p in part]
    elif isinstance(part, torch.nn.Module):
        # the file of a trained prior has the tensors of its denoiser under their own names
        prefix = "" if name == "denoiser" else f"{name}."
        tensors |= {prefix + k: v.detach().cpu().float() for k, v in part.state_dict().items()}
        options[name] = type(part).__name__
    elif isinstance(part, np.ndarray | torch.Tensor):
        array = part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part)
        if array.dtype.kind not in "fiub":
            return False
        tensors[name] = torch.from_numpy(np.array(array, dtype=np.float64))
    elif hasattr(part, "ell") and hasattr(part, "cl"):
        options[name] = str(getattr(part, "name", type(part).__name__))
        return all([_take(np.asarray(getattr(part, k)), f"{name}.{k}", tensors, options) for k in ("ell", "cl")])
    elif dataclasses.is_dataclass(part):
        return _take_fields(part, name, tensors, options)
    elif callable(part):
        return _take(_values(part), f"{name}.cl", tensors, options)
    else:
        return False
    return True


def _values(spectrum):
    """Return values of a spectrum that is a plain function."""
    try:
        return np.asarray(spectrum(np.geomspace(10, 1e5, 64)))
    except Exception:  # the map exists already and must not be lost because of its record
        return np.asarray(None)


def _take_fields(part, name, tensors, options):
    names = _IN_FILES.get(type(part).__name__, {})
    complete = True
    for field in dataclasses.fields(part):
        if field.name == "card":  # metadata of the training, on which the numbers do not depend
            continue
        inner = names.get(field.name, field.name)
        inner = f"{name}.{inner}" if name else inner
        take = _take_content if field.metadata.get("content") else _take
        complete &= take(getattr(part, field.name), inner, tensors, options)
    return complete


def _take_content(part, name, tensors, options):
    """Add the name and the checksum of a function of the user."""
    options[name], sha256 = name_of(part), content_sha256(part)
    if sha256 is None:
        warn(
            f"{name}: {options[name]} cannot be identified by its content; the record of the map has no checksum of it"
        )
    else:
        tensors[name] = torch.tensor([*bytes.fromhex(sha256)], dtype=torch.uint8, device="cpu")
    return sha256 is not None
