"""
A survey across right ascension 0
=================================

A survey of more than some degrees is mapped field by field, and its maps are combined on the sphere (:doc:`/surveys`).
The mock survey of this page covers 11 x 11 degrees across right ascension 0, with 40 halos and two galaxies per square
arcminute.
"""

import tempfile
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from astro_massmap import ConvergenceMap, ShearCatalog, SkyFields
from astro_massmap.simulation import NFWHalo, inject_halo

rng = np.random.default_rng(3)
center = SkyCoord(0, 30, unit="deg")


def positions(n):
    x, y = rng.uniform(-5.5, 5.5, (2, n)) * u.deg
    return center.directional_offset_by(np.arctan2(x, y), np.hypot(x, y))


halos, coords = positions(40), positions(871_200)
g1, g2 = rng.normal(scale=0.26, size=(2, len(coords)))
catalog = ShearCatalog(coords, g1, g2, axes="west-north", shape_noise=0.26)
for halo in halos:
    catalog = inject_halo(catalog, NFWHalo(2e15 * u.Msun, 0.25), halo, z_source=1.0)

# %%
# Each field is a HEALPix cell with a margin. The maps are written to a folder, from which the same call would continue.

folder = Path(tempfile.mkdtemp())
fields = SkyFields(catalog, pixel_scale=3 * u.arcmin, nside=16)
maps = fields.reconstruct(folder / "maps", "wiener", n_samples=16, progress=False)
print(fields, maps, sep="\n")

# %%
# The HEALPix map has each position once. For a picture it is moved to a zenithal equal-area projection.

maps.write_healpix(folder / "kappa.fits")
wcs = WCS(naxis=2)
wcs.wcs.ctype, wcs.wcs.crval = ["RA---ZEA", "DEC--ZEA"], [0, 30]
wcs.wcs.crpix, wcs.wcs.cdelt = [125.5, 125.5], [-0.05, 0.05]
image = ConvergenceMap.from_healpix(folder / "kappa.fits", wcs=wcs, shape=(250, 250), field="MEAN")
image.plot()

# %%
# Every peak is listed once, and belongs to the cell that contains it.

peaks = maps.peaks(0.03, smoothing=3 * u.arcmin)
nearest = peaks["center"].match_to_catalog_sky(halos)[1]
print(f"{(nearest < 3 * u.arcmin).sum()} of {len(peaks)} peaks are within 3 arcmin of a halo")
peaks["center", "cell", "kappa", "signal_to_noise"][:6]

# %%
# The maps of neighbouring fields differ little along the edges of their cells, in units of the standard deviation.

maps.seams()
