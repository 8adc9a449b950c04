"""
A trained network in a file: safetensors, numbers and text, nothing that could be run.

The header holds a JSON text with the settings of the network, its card, and a checksum of all tensors.
"""

import hashlib
import json

import numpy as np
import torch
from safetensors.torch import save_file

from .._files import atomic_path
from .._untrusted import parsing, read_tensors
from ..spectrum import PowerSpectrum
from .correction import Correction
from .denoiser import HybridDenoiser
from .unet import UNet

_FORMAT = "astro_massmap score prior 1"
_MAX_WIDTH, _MAX_BLOCKS, _MAX_MARGIN = 1024, 32, 2**14  # what a header may make this package allocate


def checksum(tensors):
    """SHA-256 of tensors by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(str(tuple(tensors[name].shape)).encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_weights(file, header, network, tables, *, overwrite=False):
    """
    Write a network and what belongs to it.

    Parameters
    ----------
    file : path-like
        Where.
    header : dict
        What JSON can hold; ``"format"`` says what the file is.
    network : `~astro_massmap.priors.UNet`
        Its tensors are kept in single precision.
    tables : dict of ndarray
        By name; kept in double precision.
    overwrite : bool
        Replace a file that exists.
    """
    tensors = {f"network.{k}": v.detach().cpu().float() for k, v in network.state_dict().items()}
    tensors |= {k: torch.from_numpy(np.array(v, dtype=np.float64)) for k, v in tables.items()}
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    header = header | {"sha256": checksum(tensors)}
    with atomic_path(file, overwrite=overwrite) as temporary:
        save_file(tensors, temporary, {"prior": json.dumps(header)})


def read_weights(file, kind, build):
    """
    Read what `write_weights` wrote.

    Parameters
    ----------
    file : path-like
        Which.
    kind : str
        The format that it must have.
    build : callable
        Makes the result of header and tensors.

    Raises
    ------
    OSError
        If the file is not there, is damaged, or holds something else.
    """
    name = str(file)
    fault = f"file: {name!r} is damaged, or holds no prior of this package"
    try:
        with parsing(fault):
            header, tensors = read_tensors(file, "prior")
            tensors = {key: tensor.clone() for key, tensor in tensors.items()}  # the file may change from here on
    except FileNotFoundError as error:
        raise OSError(f"file: {name!r} does not exist") from error
    try:
        if header["format"] != kind:
            raise ValueError(f"its format is {header['format']!r}, needed is {kind!r}")
        if checksum(tensors) != header["sha256"]:
            raise ValueError("its checksum is wrong")
        return build(header, tensors)
    except KeyError as error:
        raise OSError(f"{fault}: it has no {error}") from error
    except (TypeError, ValueError) as error:
        raise OSError(f"{fault}: {error}") from error


def spectrum_tables(name, spectrum):
    """The tables of a `~astro_massmap.PowerSpectrum`, for `write_weights`."""
    return {f"{name}.ell": spectrum.ell, f"{name}.cl": spectrum.cl}


def read_spectrum(name, header, tensors):
    """The `~astro_massmap.PowerSpectrum` of the tables, which the header names."""
    return PowerSpectrum(tensors[f"{name}.ell"].numpy(), tensors[f"{name}.cl"].numpy(), name=header[name])


def read_network(header, tensors):
    """The `UNet`; ValueError if its sizes are not credible, or not those of the tensors."""
    settings = header["network"]
    if not isinstance(settings, dict) or not isinstance(settings.get("widths"), list) or len(settings["widths"]) != 3:
        raise ValueError(f"a network of the sizes {settings} is not credible")
    sizes = [*settings["widths"], *(settings[name] for name in ("embedding", "inputs", "blocks"))]
    sizes.append(settings.get("outputs", 1))
    if not all(type(size) is int and 0 < size <= _MAX_WIDTH for size in sizes) or settings["blocks"] > _MAX_BLOCKS:
        raise ValueError(f"a network of the sizes {settings} is not credible")
    network = UNet(**settings, device="meta")  # no memory is spent before the tensors are known to fit
    weights = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    if {k: (v.shape, v.dtype) for k, v in weights.items()} != {
        k: (v.shape, torch.float32) for k, v in network.state_dict().items()
    }:
        raise ValueError(f"its tensors are not those of a network of the sizes {settings}")
    network.load_state_dict(weights, assign=True)
    return network


def read_settings(header):
    """
    What a header says beside the network, by the names of `ScorePrior`: pixel_size, sigma_range, margin and card.

    Raises
    ------
    ValueError
        If it is not credible.
    """
    low, high = header["sigma_range"]
    for name, value, limit in (("pixel_size", header["pixel_size"], 0.1), ("low", low, 1e3), ("high", high, 1e3)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limit:
            raise ValueError(f"{name}: needs a number in (0, {limit:g}], got {str(value)[:40]}")
    margin, card = header["margin"], header["card"]
    if low > high or type(margin) is not int or not 0 <= margin <= _MAX_MARGIN or not isinstance(card, dict):
        raise ValueError(f"sigma_range, margin, card: got {low:g} to {high:g}, {margin!r} and a {type(card).__name__}")
    resolution = card.get("resolution") or [1, 1]
    if len(resolution) != 2 or not all(isinstance(p, int | float) and 0 < p < 1e9 for p in resolution):
        raise ValueError(f"card: its resolution needs two positive numbers, got {resolution!r}")
    settings = {"pixel_size": float(header["pixel_size"]), "sigma_range": (float(low), float(high))}
    return settings | {"margin": margin, "card": card}


def _read_correction(tensors):
    names = Correction.__dataclass_fields__
    correction = Correction(**{name: tensors[f"correction.{name}"].numpy() for name in names})
    shape = (*correction.sigma.shape, *correction.ell.shape)
    for name in names:
        table = getattr(correction, name)
        if table.dtype != np.float64 or not np.isfinite(table).all():
            raise ValueError(f"correction: its {name} is not of finite numbers")
        if name in ("sigma", "ell") and (table.ndim != 1 or not (table > 0).all() or not (np.diff(table) > 0).all()):
            raise ValueError(f"correction: its {name} is not positive and increasing")
        if not table.size or (name not in ("sigma", "ell") and table.shape != shape):
            raise ValueError(f"correction: its {name} has the shape {table.shape}")
    return correction


def write_prior(file, prior, *, overwrite=False):
    """Write a `ScorePrior`."""
    tables = spectrum_tables("spectrum", prior.trained_spectrum) | {
        f"correction.{k}": getattr(prior.correction, k) for k in Correction.__dataclass_fields__
    }
    if prior.spectrum is not None:
        tables |= spectrum_tables("theory", prior.spectrum)
    header = {
        "format": _FORMAT,
        "network": prior.denoiser.network.settings,
        "pixel_size": prior.pixel_size,
        "sigma_range": list(prior.sigma_range),
        "margin": prior.margin,
        "spectrum": prior.trained_spectrum.name,
        "theory": prior.theory.name,
        "card": prior.card,
    }
    write_weights(file, header, prior.denoiser.network, tables, overwrite=overwrite)


def read_prior(file):
    """The arguments of a `ScorePrior` in a file; OSError if it is not there, is damaged, or holds something else."""
    return read_weights(file, _FORMAT, _arguments)


def _arguments(header, tensors):
    spectrum, settings = read_spectrum("spectrum", header, tensors), read_settings(header)
    network = read_network(header, tensors)
    if network.settings["inputs"] != 2 or network.settings["outputs"] != 1:
        raise ValueError("the network of a score prior has two inputs and one output")
    return settings | {
        "denoiser": HybridDenoiser(network, spectrum, settings.pop("pixel_size")).requires_grad_(False),
        "trained_spectrum": spectrum,
        "spectrum": read_spectrum("theory", header, tensors) if "theory.ell" in tensors else None,
        "correction": _read_correction(tensors),
    }
