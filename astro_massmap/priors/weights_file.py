"""
A trained network in a file: safetensors, numbers and text, nothing that could be run.

The header holds a JSON text with the settings of the network, its card, and a checksum of all tensors.
"""

import hashlib
import json

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .._files import atomic_path
from ..spectrum import PowerSpectrum
from .correction import Correction
from .denoiser import HybridDenoiser
from .energy import EnergyDenoiser
from .score import ScorePrior
from .unet import UNet

_FORMAT = "astro_massmap score prior 1"
_MAX_WIDTH, _MAX_BLOCKS = 1024, 32  # what a header may make this package allocate


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
    try:
        with safe_open(name, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})["prior"])
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        if header["format"] != kind:
            raise ValueError(f"its format is {header['format']!r}, needed is {kind!r}")
        if checksum(tensors) != header["sha256"]:
            raise ValueError("its checksum is wrong")
        return build(header, tensors)
    except FileNotFoundError as error:
        raise OSError(f"file: {name!r} does not exist") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise OSError(f"file: {name!r} is damaged, or holds no prior of this package: {error}") from error


def spectrum_tables(name, spectrum):
    """The tables of a `~astro_massmap.PowerSpectrum`, for `write_weights`."""
    return {f"{name}.ell": spectrum.ell, f"{name}.cl": spectrum.cl}


def read_spectrum(name, header, tensors):
    """The `~astro_massmap.PowerSpectrum` of the tables, which the header names."""
    return PowerSpectrum(tensors[f"{name}.ell"].numpy(), tensors[f"{name}.cl"].numpy(), name=header[name])


def read_network(header, tensors):
    """The `UNet`; ValueError if its sizes are not credible."""
    settings = header["network"]
    sizes = [*settings["widths"], settings["embedding"], settings["inputs"], settings.get("outputs", 1)]
    if not all(0 < s <= _MAX_WIDTH for s in sizes) or not 0 < settings["blocks"] <= _MAX_BLOCKS:
        raise ValueError(f"a network of the sizes {settings} is not credible")
    network = UNet(**settings)
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    return network


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
        "energy": isinstance(prior.denoiser, EnergyDenoiser),
        "pixel_size": prior.pixel_size,
        "sigma_range": list(prior.sigma_range),
        "margin": prior.margin,
        "spectrum": prior.trained_spectrum.name,
        "theory": prior.theory.name,
        "card": prior.card,
    }
    write_weights(file, header, prior.denoiser.network, tables, overwrite=overwrite)


def read_prior(file):
    """Read what `write_prior` wrote; OSError if it is not there, is damaged, or holds something else."""
    return read_weights(file, _FORMAT, _build)


def _build(header, tensors):
    spectrum = read_spectrum("spectrum", header, tensors)
    correction = Correction(**{k: tensors[f"correction.{k}"].numpy() for k in Correction.__dataclass_fields__})
    denoiser = EnergyDenoiser if header.get("energy", False) else HybridDenoiser
    return ScorePrior(
        denoiser(read_network(header, tensors), spectrum, header["pixel_size"]).requires_grad_(False),
        spectrum,
        tuple(header["sigma_range"]),
        read_spectrum("theory", header, tensors) if "theory.ell" in tensors else None,
        correction=correction,
        margin=header["margin"],
        card=header["card"],
    )
