"""Summaries of catalogues and maps in notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from .._utils.html import card, image
from ..analysis.statements import fit_statements, fit_summary
from .n_z import mean_redshift

if TYPE_CHECKING:
    from .catalog import ShearCatalog
    from .convergence_map import ConvergenceMap
    from .shear_map import ShearMap

_SHOWN = 200_000  # galaxies of a thumbnail, at most
_CELLS = 64  # of its histogram, along an axis


def catalog_card(catalog: ShearCatalog) -> str:
    part = catalog.coords[:: -(-len(catalog) // _SHOWN)]
    center = SkyCoord(part.cartesian.mean(), frame=part.frame.replicate_without_data())
    offsets = part.transform_to(center.skyoffset_frame())
    x, y = offsets.spherical.lon.wrap_at(180 * u.deg).deg, offsets.spherical.lat.deg
    side = max(np.ptp(x), np.ptp(y), 1e-9)
    edges = np.linspace(-side / 2, side / 2, _CELLS + 1)
    middle = (x.max() + x.min()) / 2, (y.max() + y.min()) / 2
    counts, _, _ = np.histogram2d(y - middle[1], x - middle[0], edges)
    redshift = catalog.redshift if catalog.redshift is None or np.isfinite(catalog.redshift).any() else None
    rows = {
        "galaxies": f"{len(catalog):,}",
        "centre": _position(center),
        "size": f"{np.ptp(x):.3g} x {np.ptp(y):.3g} deg",
        "axes": catalog.axes,
        "shape noise": repr(catalog).rpartition("shape noise ")[2].rstrip(">"),
        "mean redshift": None if redshift is None else f"{np.nanmean(redshift):.3g}",
        "columns": ", ".join(f"{name}={column}" for name, column in catalog.columns.items()),
    }
    return card(type(catalog).__name__, rows, image(counts[:, ::-1], counts[:, ::-1] == 0, signed=False))


def shear_card(shear: ShearMap) -> str:
    noise = shear.noise_std[~shear.mask]
    rows = {
        **_grid(shear),
        "noise": f"{np.median(noise):.3g} per pixel and component (median)",
        "galaxies": shear.meta.get("n_galaxies"),
        "mean redshift": _redshift(shear),
    }
    return card(type(shear).__name__, rows, image(shear.noise_std, shear.mask, signed=False))


def map_card(kappa: ConvergenceMap) -> str:
    std = None if kappa.uncertainty is None else np.nanmedian(kappa.uncertainty.array)
    fit = kappa.diagnostics.get("fit")
    rows = {
        **_grid(kappa),
        "unit": kappa.unit.to_string(),
        "range": f"{kappa.data.min():.3g} to {kappa.data.max():.3g}",
        "standard deviation": None if std is None else f"{std:.3g} (median)",
        "samples": "none" if kappa.samples is None else len(kappa.samples),
        "mean redshift": _redshift(kappa),
        "method": kappa.diagnostics.get("method"),
        "fit": fit_summary(fit),
        "warning": "; ".join(sentence for _, sentence in fit_statements(fit)),
    }
    return card(type(kappa).__name__, rows, image(kappa.data, kappa.mask))


def _grid(kappa: Any) -> dict[str, str]:
    ny, nx = kappa.shape
    height, width = (n * kappa.pixel_scale.to(u.deg) for n in (ny, nx))
    return {
        "centre": _position(kappa.wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)),
        "size": f"{width.value:.3g} x {height:.3g}",
        "pixels": f"{nx} x {ny} of {kappa.pixel_scale:.3g}, {(~kappa.mask).mean():.0%} with data",
    }


def _position(center: SkyCoord) -> str:
    lon, lat = center.spherical.lon.deg, center.spherical.lat.deg
    return f"{lon:.4f}, {lat:+.4f} deg ({center.frame.name})"


def _redshift(kappa: Any) -> str | None:
    mean = mean_redshift(kappa.n_z)
    return None if mean is None else f"{mean:.3g}"
