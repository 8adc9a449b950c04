"""Checks of redshifts and cosmologies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.cosmology import default_cosmology

from .._io.quantities import floats

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from numpy.typing import ArrayLike


def redshift(z: ArrayLike, name: str) -> float:
    """Return ``z`` as a float; ValueError, which names the argument, unless it is one positive number."""
    z = floats(z, name)
    if z.ndim or not 0 < z < np.inf:
        raise ValueError(f"{name}: needs one positive redshift, got {z}")
    return float(z)


def checked_cosmology(cosmology: FLRW | None) -> FLRW:
    """Return ``cosmology``, by default that of astropy's settings; TypeError unless it has distances."""
    cosmology = default_cosmology.get() if cosmology is None else cosmology
    if not hasattr(cosmology, "comoving_transverse_distance"):
        raise TypeError(f"cosmology: needs a cosmology of astropy, such as FlatLambdaCDM(70, 0.3), got {cosmology!r}")
    return cosmology
