"""
Files of trained networks, in the safetensors format, which contains numbers and text but no executable code.

The header contains a JSON text with the settings and metadata of the network and a checksum of all tensors.
"""

import hashlib
import json

import numpy as np
import torch
from safetensors.torch import save_file

from .._utils.files import atomic_path
from .._utils.untrusted import parsing, read_tensors
from ..theory.spectrum import PowerSpectrum
from .correction import Correction, CorrectionTable
from .denoiser import CONDITIONS, HybridDenoiser
from .unet import UNet

_FORMAT = "astro_massmap score prior 2"
_MAX_WIDTH, _MAX_BLOCKS, _MAX_MARGIN = 1024, 32, 2**14  # limits on the memory that a header can request


def checksum(tensors):
    """Return the SHA-256 of a dictionary of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(str(tuple(tensors[name].shape)).encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_weights(file, header, network, tables, *, overwrite=False):
    """Write a network in single precision, tables (dict of ndarray) in double precision, and a header, atomically."""
    tensors = {f"network.{k}": v.detach().cpu().float() for k, v in network.state_dict().items()}
    tensors |= {k: torch.from_numpy(np.array(v, dtype=np.float64)) for k, v in tables.items()}
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    header = header | {"sha256": checksum(tensors)}
    with atomic_path(file, overwrite=overwrite) as temporary:
        save_file(tensors, temporary, {"prior": json.dumps(header)})


def read_weights(file, kind, build):
    """Return ``build(header, tensors)`` for a file of format ``kind``; OSError for any other file, or none."""
    name = str(file)
    fault = f"file: {name!r} is damaged, or contains no prior of this package"
    try:
        with parsing(fault):
            header, tensors = read_tensors(file, "prior")
            tensors = {key: tensor.clone() for key, tensor in tensors.items()}  # the file may change from here on
    except FileNotFoundError as error:
        raise OSError(f"file: {name!r} does not exist") from error
    try:
        if header["format"] != kind:
            raise ValueError(f"its format is {header['format']!r}, expected {kind!r}")
        if checksum(tensors) != header["sha256"]:
            raise ValueError("its checksum does not match")
        return build(header, tensors)
    except KeyError as error:
        raise OSError(f"{fault}: the entry {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise OSError(f"{fault}: {error}") from error


def spectrum_tables(name, spectrum):
    """Return the tables of a `~astro_massmap.PowerSpectrum` for `write_weights`."""
    return {f"{name}.ell": spectrum.ell, f"{name}.cl": spectrum.cl}


def read_spectrum(name, header, tensors):
    """Return the `~astro_massmap.PowerSpectrum` of the tables called ``name``."""
    return PowerSpectrum(tensors[f"{name}.ell"].numpy(), tensors[f"{name}.cl"].numpy(), name=header[name])


def read_network(header, tensors):
    """Return the `UNet`; raise a ValueError if its sizes exceed the limits or do not fit its tensors."""
    settings = header["network"]
    if not isinstance(settings, dict) or not isinstance(settings.get("widths"), list) or len(settings["widths"]) != 3:
        raise ValueError(f"the sizes of the network are invalid: {settings}")
    sizes = [*settings["widths"], *(settings[name] for name in ("embedding", "inputs", "blocks"))]
    sizes += settings.get("outputs", 1), settings.get("conditions", 9)
    if not all(type(size) is int and 0 < size <= _MAX_WIDTH for size in sizes) or settings["blocks"] > _MAX_BLOCKS:
        raise ValueError(f"the sizes of the network exceed the limits: {settings}")
    network = UNet(**{"conditions": 9} | settings, device="meta")  # allocate no memory before the tensors are checked
    weights = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    if {k: (v.shape, v.dtype) for k, v in weights.items()} != {
        k: (v.shape, torch.float32) for k, v in network.state_dict().items()
    }:
        raise ValueError(f"its tensors do not match a network of the sizes {settings}")
    network.load_state_dict(weights, assign=True)
    return network


def read_settings(header):
    """Return pixel_size, sigma_range, margin and card of a header; raise a ValueError if one is invalid."""
    low, high = header["sigma_range"]
    for name, value, limit in (("pixel_size", header["pixel_size"], 0.1), ("low", low, 1e3), ("high", high, 1e3)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limit:
            raise ValueError(f"{name}: needs a number in (0, {limit:g}], got {str(value)[:40]}")
    margin, card = header["margin"], header["card"]
    if low > high or type(margin) is not int or not 0 <= margin <= _MAX_MARGIN or not isinstance(card, dict):
        raise ValueError(
            f"sigma_range, margin, card: need an increasing range, an integer up to {_MAX_MARGIN} and a dictionary, "
            f"got {low:g} to {high:g}, {margin!r} and a {type(card).__name__}"
        )
    resolution = card.get("resolution") or [1, 1]
    if len(resolution) != 2 or not all(isinstance(p, int | float) and 0 < p < 1e9 for p in resolution):
        raise ValueError(f"card: resolution needs two positive numbers, got {resolution!r}")
    settings = {"pixel_size": float(header["pixel_size"]), "sigma_range": (float(low), float(high))}
    return settings | {"margin": margin, "card": card}


def _read_correction(tensors):
    names = Correction.__dataclass_fields__
    correction = Correction(**{name: tensors[f"correction.{name}"].numpy() for name in names})
    shape = (*correction.sigma.shape, *correction.ell.shape)
    for name in names:
        table = getattr(correction, name)
        if table.dtype != np.float64 or not np.isfinite(table).all():
            raise ValueError(f"correction: {name} needs finite numbers in double precision")
        if name in ("sigma", "ell") and (table.ndim != 1 or not (table > 0).all() or not (np.diff(table) > 0).all()):
            raise ValueError(f"correction: {name} needs positive, increasing numbers")
        if not table.size or (name not in ("sigma", "ell") and table.shape != shape):
            raise ValueError(f"correction: {name} needs the shape of sigma and ell, not empty, got {table.shape}")
    return correction


def _read_table(tensors):
    if "table.network" not in tensors:
        return None
    table = CorrectionTable(**{name: tensors[f"table.{name}"].numpy() for name in CorrectionTable.__dataclass_fields__})
    axes = (table.pixel_size, table.ratio, table.ell)
    shape = (len(table.pixel_size), table.signal.shape[-1], len(table.ratio), len(table.ell))
    rows = [table.signal.shape == shape[:2], *(x.ndim == 1 for x in axes)]
    rows += [getattr(table, name).shape == shape for name in ("network", "theory", "variance")]
    if not all(rows) or not min(shape):
        raise ValueError(f"table: its shapes do not match, such as {table.network.shape} and {table.signal.shape}")
    if not all(np.isfinite(x).all() and x.dtype == np.float64 for x in vars(table).values()):
        raise ValueError("table: needs finite numbers in double precision")
    if not all((x > 0).all() and (np.diff(x) > 0).all() for x in (*axes, table.signal)):
        raise ValueError("table: pixel_size, signal, ratio and ell need positive, increasing numbers")
    return table


def write_prior(file, prior, *, overwrite=False):
    """Write a `ScorePrior`."""
    tables = spectrum_tables("spectrum", prior.trained_spectrum) | {
        f"correction.{k}": getattr(prior.correction, k) for k in Correction.__dataclass_fields__
    }
    if prior.table is not None:
        tables |= {f"table.{k}": getattr(prior.table, k) for k in CorrectionTable.__dataclass_fields__}
    for name, spectrum in (("theory", prior.spectrum), ("factor", prior.factor)):
        if spectrum is not None:
            tables |= spectrum_tables(name, spectrum)
    header = {
        "format": _FORMAT,
        "network": prior.denoiser.network.settings,
        "pixel_size": prior.denoiser.pixel_size,
        "sigma_range": list(prior.sigma_range),
        "margin": prior.margin,
        "spectrum": prior.trained_spectrum.name,
        "theory": prior.theory.name,
        "factor": None if prior.factor is None else prior.factor.name,
        "card": prior.card,
    }
    write_weights(file, header, prior.denoiser.network, tables, overwrite=overwrite)


def read_prior(file):
    """Return the arguments of the `ScorePrior` in a file; errors are those of `read_weights`."""
    return read_weights(file, _FORMAT, _arguments)


def _arguments(header, tensors):
    spectrum, settings = read_spectrum("spectrum", header, tensors), read_settings(header)
    network = read_network(header, tensors)
    if [network.settings[name] for name in ("inputs", "outputs", "conditions")] != [2, 1, CONDITIONS]:
        raise ValueError(f"the network of a score prior has two inputs, one output and {CONDITIONS} conditions")
    return settings | {
        "denoiser": HybridDenoiser(network, spectrum, settings.pop("pixel_size")).requires_grad_(False),
        "trained_spectrum": spectrum,
        "spectrum": read_spectrum("theory", header, tensors) if "theory.ell" in tensors else None,
        "factor": read_spectrum("factor", header, tensors) if "factor.ell" in tensors else None,
        "correction": _read_correction(tensors),
        "table": _read_table(tensors),
    }
