"""
Layouts of published sets of maps: file of each map, and the simulated box that it shows.

MassiveNuS (Liu et al. 2018) consists of files ``WLconv_z1.00_0001r.fits``, 3.5 deg on a side. All realisations of a
cosmology are views of one box, so the folder of the cosmology is the box.

kappaTNG (Osato, Liu & Haiman 2021) consists of files ``LP001/LP001_run001_maps.hdf5``, 5 deg on a side, each with 40
source planes ``z01/kappa`` ... The maps of an LP folder share their lens planes and are therefore one box.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._utils.progress import warn
from ..theory.source_redshifts import read_n_z
from .map_files import Layout, MapFile, ending

# source redshifts of z01 to z40
# fmt: off
KAPPATNG_REDSHIFTS = (
    0.034467, 0.069515, 0.105182, 0.141510, 0.178545, 0.216332, 0.254921, 0.294363, 0.334713, 0.376027,
    0.418368, 0.461799, 0.506387, 0.552205, 0.599329, 0.647838, 0.697818, 0.749361, 0.802561, 0.857522,
    0.914352, 0.973168, 1.034093, 1.097260, 1.162811, 1.230896, 1.301678, 1.375330, 1.452040, 1.532007,
    1.615449, 1.702597, 1.793703, 1.889038, 1.988896, 2.093596, 2.203481, 2.318928, 2.440344, 2.568175,
)
# fmt: on
_PLANE_TOLERANCE = 0.05
_MASSIVENUS = re.compile(r"WLconv_z(\d+\.\d+)_(\d+)r\.fits(\.gz)?")
_KAPPATNG = re.compile(r"(LP\d+)_run(\d+)_maps\.hdf5")


@dataclass(frozen=True)
class Entry:
    """Location of a map: the weighted sum of one file for each source plane. A realisation is a view of the box."""

    files: tuple
    index: int
    box: str
    realisation: int


def massivenus(root, *, pixel_scale=None, redshift=None):
    """Return entries, weights and layout of MassiveNuS maps of one source plane."""
    found = list(_massivenus_files(root))
    redshifts = sorted({float(match[1]) for _, match in found})
    if redshift is None and len(redshifts) > 1:
        raise ValueError(
            f"redshift: needed, one of those of the maps in the folder: {', '.join(f'{z:g}' for z in redshifts)}"
        )
    if found:
        z = redshifts[0] if redshift is None else redshifts[nearest_plane(redshift, redshifts)]
        found = [(path, match) for path, match in found if float(match[1]) == z]
    entries = [Entry((MapFile(str(path)),), 0, _cosmology(path.parent, root), int(match[2])) for path, match in found]
    return entries, (1.0,), _published_layout(entries, np.radians(3.5), pixel_scale)


def kappatng(root, *, pixel_scale=None, redshift=None, n_z=None):
    """Return entries, weights and layout of kappaTNG maps of one source plane or a distribution of sources."""
    if (redshift is None) == (n_z is None):
        raise ValueError("redshift, n_z: kappaTNG needs one of them, a source plane or a distribution (z, n)")
    if n_z is None:
        weights = np.zeros(len(KAPPATNG_REDSHIFTS))
        weights[nearest_plane(redshift, KAPPATNG_REDSHIFTS)] = 1
    else:
        weights = plane_weights(n_z, KAPPATNG_REDSHIFTS)
        weights[weights < 1e-7] = 0  # negligible in single precision
    planes = np.flatnonzero(weights) + 1
    if not planes.size:
        raise ValueError("n_z: needs sources at redshifts above 0")
    entries = [
        Entry(tuple(MapFile(str(path), f"z{plane:02d}/kappa") for plane in planes), 0, match[1], int(match[2]))
        for path, match in _matching(root, "*_maps.hdf5", _KAPPATNG)
    ]
    return entries, tuple(weights[planes - 1].tolist()), _published_layout(entries, np.radians(5), pixel_scale)


def any_folder(root, *, pixel_scale=None, dataset="kappa"):
    """Return entries, weight and layout of a folder of files; each file is a box."""
    entries, first = [], None
    for path in _loose_files(root):
        file = MapFile(str(path), dataset)
        layout = file.layout()
        if layout.pixel_size is None and pixel_scale is None:
            raise ValueError(f"pixel_scale: needed, the file {file.path!r} does not contain it")
        first = first or Layout(0, layout.shape, pixel_scale or layout.pixel_size)
        if layout.shape != first.shape:
            raise file.unfit(f"has maps of shape {layout.shape}, the other files have {first.shape}")
        file.check_scale(layout.pixel_size, first.pixel_size)
        entries += [Entry((file,), index, path.name, index) for index in range(layout.count)]
    return entries, (1.0,), first


def _published_layout(entries, side, pixel_scale):
    """Return the layout of maps of a known side in radians, from the files of the first map."""
    if not entries:
        return None
    for file in entries[0].files:
        layout = file.layout()
        if layout.count != 1 or layout.shape[0] != layout.shape[1]:
            raise file.unfit(f"needs one square map, got {layout.count} of shape {layout.shape}")
        pixel_size = side / layout.shape[0]
        file.check_scale(layout.pixel_size, pixel_size)
        file.check_scale(pixel_size, pixel_scale or pixel_size)
    return Layout(1, layout.shape, float(pixel_size))


# ---- files


def _matching(root, glob, pattern):
    for path in sorted(root.rglob(glob)):
        match = pattern.fullmatch(path.name)
        if match:
            yield path, match


def _massivenus_files(root):
    return _matching(root, "WLconv_z*", _MASSIVENUS)


def _loose_files(root):
    """Yield the files of a known format, without hidden files, which may still be written."""
    for path in sorted(root.iterdir()):
        if path.is_file() and not path.name.startswith(".") and ending(path):
            yield path


def _cosmology(folder, root):
    """Return the path of the folder of a cosmology, without the folder of a source plane."""
    if re.fullmatch(r"Maps\d+", folder.name):
        folder = folder.parent
    below = folder != root and folder.is_relative_to(root)
    return folder.relative_to(root).as_posix() if below else folder.resolve().name


class _Kind(NamedTuple):
    read: Callable
    holds: Callable
    files: str


KINDS = {
    "massivenus": _Kind(massivenus, lambda root: any(_massivenus_files(root)), "WLconv_z*_*r.fits"),
    "kappatng": _Kind(
        kappatng,
        lambda root: any(_matching(root, "*_maps.hdf5", _KAPPATNG)),
        "LP*_run*_maps.hdf5 of the HDF5 release, not .dat files",
    ),
    "folder": _Kind(any_folder, lambda root: any(_loose_files(root)), "*.fits, *.npy, *.hdf5 or *.h5"),
}


# ---- source planes


def nearest_plane(redshift, planes):
    """Return the index of the nearest source plane; ValueError if none is within 0.05."""
    try:
        gaps = np.abs(np.asarray(planes) - float(redshift))
    except (TypeError, ValueError) as error:
        raise TypeError(f"redshift: needs a number, got {redshift!r}") from error
    nearest = int(np.argmin(gaps))
    if not gaps[nearest] <= _PLANE_TOLERANCE:
        raise ValueError(
            f"redshift: needs a source plane within {_PLANE_TOLERANCE}, got {redshift}; the nearest one is at "
            f"{planes[nearest]:g}, and the planes extend from {planes[0]:g} to {planes[-1]:g}"
        )
    return nearest


def plane_weights(n_z, planes):
    """
    Return the weights that combine source planes at the redshifts ``planes`` into a distribution of sources.

    The convergence is linear in redshift between planes, and from 0 at redshift 0 to the first plane: the weight of a
    plane is the integral of n(z) times a triangle over the two intervals beside it. The weights add up to 1 minus that
    of redshift 0. Sources beyond the last plane are assigned to it.
    """
    sources, nodes = read_n_z(n_z, "n_z"), np.concatenate([[0], planes])
    if sources.table is None:
        pieces, far = _triangles(sources.z, nodes) * sources.weight, sources.z >= planes[-1]
    else:
        pieces, far = _pieces(*sources.table, nodes)
    beyond = pieces[:, far].sum() / pieces.sum()
    if beyond > 0.01:
        warn(
            f"n_z: {beyond:.0%} of the sources lie beyond the last source plane, {planes[-1]:g}, and are assigned to it"
        )
    return pieces.sum(axis=1)[1:] / pieces.sum()


def _pieces(z, n, nodes):
    """Return integrals of n(z) times each triangle, ``(triangles, intervals)``, and those beyond the last node."""
    grid = np.union1d(z, nodes[(nodes > z[0]) & (nodes < z[-1])])
    triangles, density = _triangles(grid, nodes), np.interp(grid, z, n)
    # Simpson's rule: exact for the product of two straight lines
    ends, middle = triangles * density, (triangles[:, 1:] + triangles[:, :-1]) * (density[1:] + density[:-1])
    return (ends[:, 1:] + ends[:, :-1] + middle) * np.diff(grid) / 6, grid[:-1] >= nodes[-1]


def _triangles(z, nodes):
    return np.stack([np.interp(z, nodes, unit) for unit in np.eye(len(nodes))])
