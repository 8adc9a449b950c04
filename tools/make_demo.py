"""
Make the mock survey that the package embeds: ``python tools/make_demo.py``.

A lognormal convergence field with the default spectrum, five clusters put on it, the shear of both at
the positions of 30 galaxies per square arcminute with a shape noise of 0.26, and a footprint with
holes around stars and an irregular edge.
"""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates

from astro_massmap import ConvergenceMap, PowerSpectrum
from astro_massmap._sky.geometry import shear_in_pixels

DATA = Path(__file__).parents[1] / "astro_massmap" / "data"
SIDE, BOX, SCALE = 128, 384, 0.4 * u.arcmin
DENSITY, SHAPE_NOISE, SHIFT = 30, 0.26, 0.03
# x, y in pixels of the field, scale radius in pixels, convergence at the scale radius
CLUSTERS = [(40, 88, 4, 0.055), (86, 94, 3, 0.040), (76, 38, 4, 0.045), (30, 30, 2.5, 0.035), (104, 58, 3, 0.028)]


def lognormal_field(rng):
    """Shifted lognormal convergence with the default spectrum, smoothed by the pixel scale, periodic."""
    ell = 2 * np.pi * np.hypot(*np.meshgrid(*[np.fft.fftfreq(BOX, SCALE.to_value(u.rad))] * 2))
    ell[0, 0] = ell[0, 1]
    power = PowerSpectrum.default()(ell) / SCALE.to_value(u.rad) ** 2 / (1 + (ell / 5200) ** 2.2)
    power[0, 0] = 0
    covariance = np.fft.ifft2(power).real
    gaussian_power = np.fft.fft2(np.log1p(covariance / SHIFT**2)).real.clip(min=0)
    gaussian = np.fft.ifft2(np.sqrt(gaussian_power) * np.fft.fft2(rng.normal(size=(BOX, BOX)))).real
    variance = np.log1p(covariance[0, 0] / SHIFT**2)
    return SHIFT * (np.exp(gaussian - variance / 2) - 1)


def nfw(x, y, radius, amplitude):
    """Projected NFW profile (Wright & Brainerd 2000), ``amplitude`` at its scale radius, on the box."""
    yy, xx = np.mgrid[:BOX, :BOX] - (BOX - SIDE) / 2
    r = np.hypot(xx - x, yy - y) / radius
    r = np.where(np.abs(r - 1) < 1e-3, 1.001, np.maximum(r, 0.3))
    inside = np.arccosh(1 / np.minimum(r, 1)) / np.sqrt(np.abs(1 - r**2))
    outside = np.arccos(1 / np.maximum(r, 1)) / np.sqrt(np.abs(r**2 - 1))
    return 3 * amplitude * (1 - np.where(r < 1, inside, outside)) / (r**2 - 1)


def shear_of(kappa):
    """Complex shear along the pixel axes of a periodic convergence map."""
    l1, l2 = np.meshgrid(np.fft.fftfreq(BOX), np.fft.fftfreq(BOX))
    square = l1**2 + l2**2
    square[0, 0] = 1
    return np.fft.ifft2((l1 + 1j * l2) ** 2 / square * np.fft.fft2(kappa))


def footprint(rng):
    """Bool image of the observed area, with twice the resolution of the field."""
    n = 2 * SIDE
    y, x = np.mgrid[:n, :n]
    tiles = np.ones((16, 16), dtype=bool)
    for edge in (tiles[0], tiles[-1], tiles[:, 0], tiles[:, -1]):
        edge &= rng.random(16) > 0.4
    tiles[:2, 13:] = tiles[14:, :2] = False
    seen = np.kron(tiles, np.ones((16, 16), dtype=bool))
    for _ in range(28):
        cx, cy, r = rng.uniform(0, n), rng.uniform(0, n), rng.choice([3, 4, 6, 10], p=[0.4, 0.3, 0.2, 0.1])
        seen &= np.hypot(x - cx, y - cy) > r
    return seen


def main():
    rng = np.random.default_rng(20)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [34.5, -5.0], [SIDE / 2 + 0.5] * 2
    wcs.wcs.cdelt = np.array([-1, 1]) * SCALE.to_value(u.deg)
    wcs.wcs.radesys = "ICRS"
    wcs.array_shape = (SIDE, SIDE)

    kappa = lognormal_field(rng) + sum(nfw(*cluster) for cluster in CLUSTERS)
    gamma, offset = shear_of(kappa), (BOX - SIDE) // 2
    field = np.s_[offset : offset + SIDE, offset : offset + SIDE]
    truth = ConvergenceMap(kappa[field].astype(np.float32), wcs=wcs, meta={"what": "truth of the demonstration field"})
    truth.write(DATA / "demo_truth.fits", format="fits", overwrite=True)

    n = rng.poisson(DENSITY * (SIDE * SCALE.to_value(u.arcmin)) ** 2)
    x, y = rng.uniform(-0.5, SIDE - 0.5, (2, n))
    seen = footprint(rng)[(2 * (y + 0.5)).astype(int), (2 * (x + 0.5)).astype(int)]
    x, y = x[seen], y[seen]
    coords = wcs.pixel_to_world(x, y)
    coords = SkyCoord(coords.ra.deg.astype("f4") * u.deg, coords.dec.deg.astype("f4") * u.deg)
    at = np.array([y, x]) + offset
    shear = map_coordinates(gamma.real, at, order=1) + 1j * map_coordinates(gamma.imag, at, order=1)
    _, _, phase = shear_in_pixels(coords, np.ones(len(coords)), wcs, mirrored=False)
    intrinsic = rng.normal(scale=SHAPE_NOISE, size=(2, len(coords)))
    e = shear / phase + intrinsic[0] + 1j * intrinsic[1]
    table = QTable({"ra": coords.ra.astype("f4"), "dec": coords.dec.astype("f4")})
    table["g1"], table["g2"] = e.real.round(4).astype("f4"), e.imag.round(4).astype("f4")
    table["weight"] = rng.choice(np.array([0.8, 1.0, 1.2], dtype="f4"), len(coords))
    table.meta["SOURCE"] = "mock survey of astro_massmap"
    table.write(DATA / "demo_catalog.fits.gz", overwrite=True)

    where = wcs.pixel_to_world(*np.array([c[:2] for c in CLUSTERS], dtype=float).T)
    clusters = QTable({"name": list("ABCDE"), "ra": where.ra.round(4), "dec": where.dec.round(4)})
    clusters["radius"] = [1.6, 1.2, 1.6, 1.0, 1.2] * u.arcmin
    clusters.write(DATA / "demo_clusters.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
