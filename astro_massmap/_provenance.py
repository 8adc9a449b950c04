"""
Where a map comes from, so that it can be made again: the record in ``meta["provenance"]``, and its FITS cards.

A record is made of plain numbers, texts, lists and dictionaries:

- ``method``, ``settings`` and ``seed``, as the method object holds them;
- ``date`` (UTC), ``versions``, ``platform``, ``device`` and ``threads``, on which the last digits depend;
- ``prior``, what the method knew beforehand: its kind and name, whether it is Gaussian, plain options, and the SHA-256
  of all its arrays, the spectrum of another theory included. For a trained network it is the checksum in its file of
  weights;
- ``input``, the SHA-256 of shear (or convergence), noise and pixel size as the method sees them; a pixel without data
  has infinite noise, so that the mask is part of it;
- ``command``, for maps of the shell: the command, all its options, and the names and checksums of the files that it
  read (no folders outside the current one: files are published);
- ``of_input``, the record of the map (or whatever stood in its place) that was the input, where there is one.
"""

import dataclasses
import platform
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from numbers import Integral, Real
from pathlib import PurePath

import numpy as np

# the names of the tables of a prior in its file
_IN_FILES = {"ScorePrior": {"trained_spectrum": "spectrum", "spectrum": "theory"}}
_VERSION_CARDS = {"python": "VERS_PY", "numpy": "VERS_NPY", "scipy": "VERS_SCI", "torch": "VERS_TOR"} | {
    "astropy": "VERS_AST",
    "astro_massmap": "VERS_MAP",
}
_LONGEST_NAME = 200


# ---- the record


@lru_cache(maxsize=1)
def versions():
    """What the numbers of a map depend on, by name."""
    packages = ("astro_massmap", "astropy", "numpy", "scipy", "torch")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}


def settings_of(method):
    """The options of a method in plain numbers and texts."""
    fields = dataclasses.fields(method) if dataclasses.is_dataclass(method) else ()
    values = {f.name: getattr(method, f.name) for f in fields}
    return {k: v if v is None else without_folders(v) if k == "checkpoint" else _plain(v) for k, v in values.items()}


def without_folders(path):
    """A path as it may be published: one below the current folder as it is, of any other the name of the file."""
    path = PurePath(path)
    return path.name if path.is_absolute() or {"..", "~"} & set(path.parts) else str(path)


def record(method, observation, diagnostics):
    """
    The record of a run that is over.

    Parameters
    ----------
    method : method object
        Of the run.
    observation : `~astro_massmap.inference.Observation`
        Its data.
    diagnostics : dict
        With ``method``, ``settings`` and ``versions``; ``device`` where it is known.
    """
    import torch

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
        "input": {
            "kind": type(observation).__name__,
            "shape": [int(n) for n in observation.shape],
            "pixel_size": float(observation.pixel_size),
            "sha256": observation.sha256,
        },
    }


def into_meta(meta, made):
    """``meta`` with the record of a run; what stood in its place is kept as that of the input."""
    if made is None:
        return meta
    before = meta.get("provenance")
    return {**meta, "provenance": made if before is None else {**made, "of_input": before}}


def now():
    """Date and time in UTC as FITS has them."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _device(name):
    import torch

    if name is None or not str(name).startswith("cuda"):
        return name
    return f"{name} ({torch.cuda.get_device_name(name)})"


def _plain(value):
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else str(value)


# ---- what is known beforehand


def identity(method):
    """The record of the prior, network or spectrum of a method; None where it has none."""
    from .priors import GaussianPrior

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
        "name": " ".join(str(part if called is None else called).split())[:_LONGEST_NAME],
        "gaussian": name == "spectrum" or isinstance(part, GaussianPrior),
        "sha256": _checksum(tensors) if complete and tensors else None,
        "options": options,
    }


def _known(method):
    """The name of the option that holds what a method knows beforehand, and its value or default."""
    from .priors import GaussianPrior, MeanNetwork, ScorePrior
    from .spectrum import PowerSpectrum

    defaults = {
        "AnnealedHMC": ("prior", ScorePrior.load),
        "PosteriorMean": ("network", MeanNetwork.load),
        "Wiener": ("spectrum", PowerSpectrum.default),
    }
    name, default = next((defaults[c.__name__] for c in type(method).__mro__ if c.__name__ in defaults), (None, None))
    if name is None:  # a method of somebody else's
        name = next((n for n in ("prior", "network", "spectrum") if getattr(method, n, None) is not None), None)
        return None if name is None else (name, getattr(method, name))
    part = getattr(method, name)
    part = default() if part is None else part
    if isinstance(part, GaussianPrior) and part.spectrum is None:
        part = GaussianPrior(PowerSpectrum.default())
    return name, part


def _checksum(tensors):
    from .priors.weights_file import checksum

    return checksum(tensors)


def _take(part, name, tensors, options):
    """Add the arrays of a part to ``tensors`` and its plain values to ``options``; False if it has anything else."""
    import torch

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
    """Of a spectrum that is a function of somebody else's."""
    try:
        return np.asarray(spectrum(np.geomspace(10, 1e5, 64)))
    except Exception:  # the map is made: it must not be lost for its record
        return np.asarray(None)


def _take_fields(part, name, tensors, options):
    names = _IN_FILES.get(type(part).__name__, {})
    complete = True
    for field in dataclasses.fields(part):
        if field.name == "card":  # how it was trained, which its numbers do not depend on any more
            continue
        inner = names.get(field.name, field.name)
        inner = f"{name}.{inner}" if name else inner
        complete &= _take(getattr(part, field.name), inner, tensors, options)
    return complete


def gaussian_prior(meta, diagnostics):
    """Return whether a map was made with a Gaussian prior, from its record, or from the name of its method."""
    made = _dict(meta.get("provenance")) or diagnostics
    return made.get("method") == "Wiener" or _dict(made.get("prior")).get("gaussian") is True


# ---- in words


def cards(provenance, n_samples=None):
    """
    The cards of a FITS header, ``(keyword, value, comment)``, for a record.

    Parameters
    ----------
    provenance : dict
        A record. Whatever else stands there, as in the meta of a map of somebody else's, has no cards.
    n_samples : int, optional
        Samples of the map; by default those of the settings.
    """
    if not isinstance(provenance, dict) or "method" not in provenance:
        return []
    prior, given, recorded = (_dict(provenance.get(key)) for key in ("prior", "input", "versions"))
    if n_samples is None:
        n_samples = _dict(provenance.get("settings")).get("n_samples", 0)
    found = [
        ("METHOD", provenance["method"], "how the map was made; HISTORY has its settings"),
        ("DATE-RUN", str(provenance.get("date", "")).removesuffix("Z"), "UTC, when the map was computed"),
        ("NSAMPLES", n_samples, "posterior samples that were drawn"),
        ("SEED", provenance.get("seed"), "of the random numbers"),
        ("DEVICE", provenance.get("device"), "on which it was computed"),
        ("PLATFORM", provenance.get("platform"), ""),
        *((card, recorded.get(name), f"version of {name}, when computed") for name, card in _VERSION_CARDS.items()),
        ("PRIOR", prior.get("name"), "what was known beforehand"),
        ("COMMENT", "INPUTSHA: SHA-256 of data, noise and pixel size; PRIORSHA: of the prior.", ""),
        ("INPUTSHA", given.get("sha256"), ""),
        ("PRIORSHA", prior.get("sha256"), ""),
    ]
    found = [(keyword, value, comment) for keyword, value, comment in found if _is_for_a_card(value)]
    return found + [("HISTORY", line, "") for line in story(provenance)]


def _is_for_a_card(value):
    return (isinstance(value, str) and value != "") or (isinstance(value, int) and abs(value) < 2**63)


def story(provenance):
    """The lines of text that tell what a record holds of settings, command and files; they may hold any character."""
    lines = [f"settings of {provenance.get('method')}"]
    lines += [f"  {name} = {value}" for name, value in _dict(provenance.get("settings")).items()]
    command = _dict(provenance.get("command"))
    if command:
        lines.append(f"command: {command.get('line')}")
    for option, file in _dict(command.get("inputs")).items():
        lines += [f"{option}: {_dict(file).get('given')}", f"sha256 {_dict(file).get('sha256')}"]
    before = _dict(provenance.get("of_input"))
    if before:
        lines.append(f"input: a map that was made by {before.get('method')} on {before.get('date')}")
    return lines


def _dict(value):
    return value if isinstance(value, dict) else {}
