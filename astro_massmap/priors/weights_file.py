"""
A trained prior in a file: safetensors, numbers and text, nothing that could be run.

The header holds a JSON text with the settings of the network, the card of the prior, and a checksum of all tensors.
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


def write_prior(file, prior, *, overwrite=False):
    """Write a `ScorePrior`."""
    tensors = {f"network.{k}": v.detach().cpu().float() for k, v in prior.denoiser.network.state_dict().items()}
    tables = {
        "spectrum.ell": prior.trained_spectrum.ell,
        "spectrum.cl": prior.trained_spectrum.cl,
        **{f"correction.{k}": getattr(prior.correction, k) for k in Correction.__dataclass_fields__},
    }
    if prior.spectrum is not None:
        tables |= {"theory.ell": prior.spectrum.ell, "theory.cl": prior.spectrum.cl}
    tensors |= {k: torch.from_numpy(np.array(v, dtype=np.float64)) for k, v in tables.items()}
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    header = {
        "format": _FORMAT,
        "network": prior.denoiser.network.settings,
        "pixel_size": prior.pixel_size,
        "sigma_range": list(prior.sigma_range),
        "margin": prior.margin,
        "spectrum": prior.trained_spectrum.name,
        "theory": prior.theory.name,
        "card": prior.card,
        "sha256": checksum(tensors),
    }
    with atomic_path(file, overwrite=overwrite) as temporary:
        save_file(tensors, temporary, {"prior": json.dumps(header)})


def read_prior(file):
    """
    Read what `write_prior` wrote.

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
        if header["format"] != _FORMAT:
            raise ValueError(f"its format is {header['format']!r}, this version reads {_FORMAT!r}")
        if checksum(tensors) != header["sha256"]:
            raise ValueError("its checksum is wrong")
        return _build(header, tensors)
    except FileNotFoundError as error:
        raise OSError(f"file: {name!r} does not exist") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise OSError(f"file: {name!r} is damaged, or holds no prior of this package: {error}") from error


def _build(header, tensors):
    settings = header["network"]
    sizes = [*settings["widths"], settings["embedding"], settings["inputs"], settings.get("outputs", 1)]
    if not all(0 < s <= _MAX_WIDTH for s in sizes) or not 0 < settings["blocks"] <= _MAX_BLOCKS:
        raise ValueError(f"a network of the sizes {settings} is not credible")
    network = UNet(**settings)
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    tables = {k: v.numpy() for k, v in tensors.items() if not k.startswith("network.")}
    spectrum = PowerSpectrum(tables["spectrum.ell"], tables["spectrum.cl"], name=header["spectrum"])
    theory = None
    if "theory.ell" in tables:
        theory = PowerSpectrum(tables["theory.ell"], tables["theory.cl"], name=header["theory"])
    correction = Correction(**{k: tables[f"correction.{k}"] for k in Correction.__dataclass_fields__})
    return ScorePrior(
        HybridDenoiser(network, spectrum, header["pixel_size"]).requires_grad_(False),
        spectrum,
        tuple(header["sigma_range"]),
        theory,
        correction=correction,
        margin=header["margin"],
        card=header["card"],
    )
