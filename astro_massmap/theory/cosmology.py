"""Checks of redshifts and cosmologies, and cosmologies as plain values for files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
    if cosmology is None:
        from astropy.cosmology import default_cosmology  # loads astropy.cosmology

        cosmology = default_cosmology.get()
    if not hasattr(cosmology, "comoving_transverse_distance"):
        raise TypeError(f"cosmology: needs a cosmology of astropy, such as FlatLambdaCDM(70, 0.3), got {cosmology!r}")
    return cosmology


def to_record(cosmology: FLRW) -> dict[str, Any] | None:
    """Return name and parameters of a cosmology as plain values; None for a class that is not one of astropy."""
    import astropy.cosmology  # loads astropy.cosmology

    name = type(cosmology).__name__
    if getattr(astropy.cosmology, name, None) is not type(cosmology):
        return None
    values = {key: getattr(value, "value", value) for key, value in cosmology.parameters.items()}
    plain = {key: value if value is None else np.asarray(value, dtype=float).tolist() for key, value in values.items()}
    return {"class": name, "name": cosmology.name, **plain}


def from_record(record: Any) -> FLRW:
    """Return the cosmology of `to_record`; ValueError if there is none, or it is damaged."""
    import astropy.cosmology  # loads astropy.cosmology

    values = dict(record) if isinstance(record, dict) else {}
    kind = getattr(astropy.cosmology, str(values.pop("class", "")), None)
    try:
        if isinstance(kind, type) and issubclass(kind, astropy.cosmology.FLRW):
            return kind(**values)
    except (TypeError, ValueError):
        pass
    raise ValueError("cosmology: the map contains none that can be read; give cosmology")
