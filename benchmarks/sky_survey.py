"""
Map a mock survey of hundreds of square degrees: ``python benchmarks/sky_survey.py OUT``.

The Gaussian sky of ``tests/helpers/skies.py`` has the exact shear of a sphere. It lies across right ascension 0 at a
declination of 60 degrees. Its galaxies (5 per square arcminute) are behind a ragged footprint with holes, and are read
from a FITS file in pieces. The survey is mapped by the Wiener filter on two worker processes, and ``--alone`` of its
fields also on one; ``--chains`` fields are mapped under the learned prior.

It prints times and memory; differences along the edges of cells, and those of one field between its grid and a grid
shifted by half a pixel; the correlation of the mean with the truth, and its power in bands of ell over that of the
truth, both also for one map in the stereographic plane. With healpy and convolvecl, it also compares the power of the
mean on the sphere with its cross power with the truth, which is equal in expectation for a Wiener filter.
"""

import argparse
import copy
import resource
import shutil
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from astropy_healpix import healpix_to_lonlat
from scipy.ndimage import map_coordinates

from astro_massmap import AnnealedHMC, PowerSpectrum, ShearCatalog, SkyFields, Wiener
from astro_massmap._sky.healpix import cells_of
from astro_massmap.methods import resolve

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # skies that tests and benchmarks share

from helpers.skies import SphericalSky

CENTER, NOISE = SkyCoord(0, 60, unit="deg"), 0.26
LMAX = 2500  # of spectra on the sphere


def footprint(x, y, half, rng):
    """Return whether positions in arcmin are within a ragged edge and outside of holes."""
    phase = rng.uniform(0, 2 * np.pi, (2, 4))
    edge = [
        half * (1 - 0.04 * sum(np.sin((k + 2) * 3 * along / half + phase[i, k]) / (k + 2) for k in range(4)).clip(0))
        for i, along in enumerate((y, x))
    ]
    seen = (np.abs(x) < edge[0]) & (np.abs(y) < edge[1])
    for cx, cy in rng.uniform(-half, half, (int((half / 40) ** 2 * 4), 2)):
        near = np.abs(x - cx) < 20
        seen[near] &= np.hypot(x[near] - cx, y[near] - cy) > rng.uniform(2, 12)
    return seen


def make_catalogue(sky, file, half, density, seed=1):
    """Write the galaxies of a sky to a FITS file."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-half, half, (2, int(density * (2 * half) ** 2)))
    seen = footprint(x, y, half, np.random.default_rng(seed + 1))
    x, y = x[seen], y[seen]
    parts = []
    for i in range(0, len(x), 500_000):
        coords, shear = sky.observe(x[i : i + 500_000], y[i : i + 500_000])
        e = shear + NOISE * (rng.normal(size=len(shear)) + 1j * rng.normal(size=len(shear)))
        parts.append((coords.ra.deg, coords.dec.deg, e.real.astype("f4"), e.imag.astype("f4")))
    ra, dec, e1, e2 = map(np.concatenate, zip(*parts, strict=True))
    Table({"ra": ra * u.deg, "dec": dec * u.deg, "g1": e1, "g2": e2}).write(file, overwrite=True)
    return len(x)


def plane_wcs(side, pixel):
    """Return the stereographic WCS of the plane of `SphericalSky`."""
    n = round(side / pixel)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---STG", "DEC--STG"], [CENTER.ra.deg, CENTER.dec.deg]
    wcs.wcs.crpix, wcs.wcs.cdelt = [(n + 1) / 2] * 2, [-pixel / 60, pixel / 60]
    wcs.array_shape = (n, n)
    return wcs


def band_power(image, pixel, edges):
    """Return the mean power in bands of ell of an image with a tapered edge."""
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
    modes = np.abs(np.fft.fft2((image - (image * window).sum() / window.sum()) * window)) ** 2
    ell = 2 * np.pi * np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, np.radians(pixel / 60)) for n in image.shape)))
    which = np.digitize(ell, edges)
    return np.array([modes[which == i].mean() for i in range(1, len(edges))])


def read(file):
    return ShearCatalog.pieces(file, axes="west-north", shape_noise=NOISE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=float, default=22.4, help="of the survey in degrees")
    parser.add_argument("--density", type=float, default=5.0, help="galaxies per square arcminute")
    parser.add_argument("--pixel", type=float, default=2.0, help="side of a pixel in arcmin")
    parser.add_argument("--margin", type=int, default=90, help="pixels of a field around its cell")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--alone", type=int, default=8, help="fields that are also mapped by one process")
    parser.add_argument("--chains", type=int, default=0, help="fields that are also mapped under the learned prior")
    parser.add_argument("--sky", type=int, default=4, metavar="SEED", help="seed of the sky")
    a = parser.parse_args()
    a.out.mkdir(exist_ok=True)
    lines = []

    def log(text):
        print(text, flush=True)
        lines.append(text)

    warnings.simplefilter("ignore", AstropyUserWarning)
    half = 30 * a.side
    sky = SphericalSky(CENTER, side=2.4 * half, pixel=a.pixel / 2, seed=a.sky)
    file = a.out / "galaxies.fits"
    if not file.exists():
        make_catalogue(sky, file, half, a.density)
    begin = time.perf_counter()
    pixel = a.pixel * u.arcmin
    fields = SkyFields(read(file), pixel_scale=pixel, nside=16, margin=a.margin * pixel)
    binning = time.perf_counter() - begin
    log(f"{fields!r}, {fields.area:.0f}; binned in {binning:.0f} s")
    folder, wiener = a.out / "maps", Wiener(n_samples=a.samples)
    shutil.rmtree(folder, ignore_errors=True)
    context = get_context("spawn")
    with ProcessPoolExecutor(2, context, torch.set_num_threads, (1,)) as pool:
        list(pool.map(ready, range(2)))
        begin = time.perf_counter()
        maps = fields.reconstruct(folder, wiener, executor=pool, progress=False)
        seconds = time.perf_counter() - begin
    area = fields.area.to_value(u.deg**2)
    log(f"Wiener filter, {a.samples} samples, two processes: {seconds:.0f} s, {seconds / area:.2f} s per square degree")
    own, worker = (
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    log(f"largest memory: {own:.1f} GiB, and {worker:.1f} GiB of the larger worker")
    alone(fields, a, context, log)
    seams = maps.seams()
    weights = seams["n_pixels"]
    rms, mean = (np.sqrt(np.average(np.asarray(seams[name]) ** 2, weights=weights)) for name in ("rms", "mean"))
    log(f"difference along the edges of {len(seams)} pairs of cells in standard deviations: rms {rms:.3f}")
    log(f"rms of its mean along each edge: {mean:.3f}")
    found, expected = shifted(fields, maps, file), shifted_expected(a.pixel, a.density)
    log(f"rms difference of a field between two grids: {found:.3f}, expected for its pixels: {expected:.3f}")
    compare(sky, maps, file, a, log)
    on_sphere(sky, maps, half, log)
    begin = time.perf_counter()
    maps.write_healpix(a.out / "sky.fits", overwrite=True)
    log(f"HEALPix map: {time.perf_counter() - begin:.0f} s; {len(maps.peaks(0.02))} peaks above 0.02")
    (a.out / "sky_survey.txt").write_text("\n".join(lines) + "\n")


def ready(i):
    """Import what a worker needs, which is not timed."""
    resolve(AnnealedHMC())
    time.sleep(2)  # so that each worker takes one


def part_of(fields, number):
    """Return the survey with its fields of the largest area only."""
    part = copy.copy(fields)
    area = [fields.area_of(cell).value for cell in fields]
    part.cells = fields.cells[np.argsort(area)[::-1][:number]]
    return part


def alone(fields, a, context, log):
    """Map some fields on two processes and on one, and some under the learned prior."""
    times = {}
    cases = [("wiener", a.alone, 2), ("wiener", a.alone, 1), ("chains", a.chains, 2)]
    for name, number, workers in cases:
        if not number:
            continue
        part, folder = part_of(fields, number), a.out / f"{name}_{workers}"
        shutil.rmtree(folder, ignore_errors=True)
        method = Wiener(n_samples=a.samples) if name == "wiener" else AnnealedHMC(n_samples=4)
        with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
            list(pool.map(ready, range(workers)))
            begin = time.perf_counter()
            part.reconstruct(folder, method, executor=pool, progress=False)
            times[name, workers] = time.perf_counter() - begin
        if name == "chains":
            area = part.area.to_value(u.deg**2)
            log(f"chains, 4 samples, two processes: {times[name, 2]:.0f} s for {area:.0f} square degrees")
    if a.alone:
        log(f"{a.alone} fields: two processes are {times['wiener', 1] / times['wiener', 2]:.2f} times as fast as one")


def shifted(fields, maps, file):
    """Return the rms difference of the middle field between its grid and a grid shifted by half a pixel."""
    cell = int(fields.cells[len(fields) // 2])
    kappa = maps[cell]
    wcs = kappa.wcs.deepcopy()
    wcs.wcs.crpix += 0.5
    wcs.array_shape = kappa.shape
    inside = (kappa.wcs.pixel_to_world(*np.indices(kappa.shape)[::-1])).ravel()
    inside = inside[cells_of(inside, fields.nside) == cell]
    moved = ShearCatalog.read(file, axes="west-north", shape_noise=NOISE).to_map(wcs=wcs)
    moved = moved.reconstruct(Wiener(n_samples=1), progress=False)
    x, y = moved.wcs.world_to_pixel(inside)
    again = map_coordinates(moved.data, [y, x], order=3, mode="nearest")
    here = maps.at(inside)
    return np.sqrt(np.nanmean((again - here["mean"]) ** 2)) / np.nanmedian(here["std"])


def shifted_expected(pixel, density):
    """
    Return the expectation of `shifted` for white noise N, the filter W = C / (C + N) and a field without edges.

    The noise of a mode k has the correlation cos(k_x p / 2) cos(k_y p / 2) between both grids of pixels p, because
    three quarters of the galaxies change their pixel.
    """
    side, n = np.radians(pixel / 60), 1000
    k = 2 * np.pi * np.fft.fftfreq(n, side)
    signal = PowerSpectrum.default()(np.maximum(np.hypot(k, k[:, None]), k[1]))
    noise = NOISE**2 / density * np.radians(1 / 60) ** 2
    filtered = signal / (signal + noise)
    apart = 2 * (1 - np.cos(k * side / 2) * np.cos(k[:, None] * side / 2))
    return np.sqrt((filtered**2 * noise * apart).sum() / (filtered * noise).sum())


def compare(sky, maps, file, a, log):
    """Compare the stitched mean with the truth and with one map in the stereographic plane of the sky."""
    wcs = plane_wcs(60 * a.side, a.pixel)
    shear = ShearCatalog.read(file, axes="west-north", shape_noise=NOISE).to_map(wcs=wcs)
    begin = time.perf_counter()
    one = shear.reconstruct(Wiener(n_samples=1), progress=False)
    log(f"one map of {one.shape[0]} x {one.shape[1]} pixels: {time.perf_counter() - begin:.0f} s")
    n = one.shape[0]
    cut = slice(n // 10, -(n // 10))
    y, x = np.mgrid[cut.start : n + cut.stop, cut.start : n + cut.stop]
    coords = wcs.pixel_to_world(x, y)
    found = np.asarray(maps.at(coords.ravel())["mean"]).reshape(x.shape)
    measured = np.isfinite(found) & ~one.mask[cut, cut]
    truth, single = sky.convergence(coords), one.data[cut, cut]
    r = [np.corrcoef(truth[measured], image[measured])[0, 1] for image in (found, single)]
    log(f"correlation with the truth: stitched {r[0]:.4f}, one map {r[1]:.4f}")
    edges = np.array([100, 200, 400, 700, 1000, 1400, 2000])
    power = [band_power(np.where(measured, image, 0), a.pixel, edges) for image in (found, single, truth)]
    for name, of in (("stitched", 0), ("one map", 1)):
        ratios = " ".join(f"{ratio:.3f}" for ratio in power[of] / power[2])
        log(f"power of the {name} over that of the truth, ell {edges.tolist()}: {ratios}")


def on_sphere(sky, maps, half, log):
    """
    Compare the power of the stitched mean on the sphere with its expectation, by spectra of healpy.

    With the window p of a pixel, the fraction f of the power that the mean has, and the ratio c of the power of the sky
    to that of the prior, the expectation of the power over the cross power is (p^2 f + (1 - f) / c) / p: the data are
    means over pixels, and the noise is not. Away from the centre, c is larger than 1 by some per cent, because the sky
    is conformal to a plane. The decoupled spectra are corrected for the coupling of modes by footprint and holes.
    """
    try:
        import healpy
        from convolvecl import mixmat
    except ImportError:
        return
    table = maps.healpix(nside=2048)
    coords = SkyCoord(*healpix_to_lonlat(table["pixel"], 2048, order="nested"))
    places = np.abs(sky._plane(coords)) / np.radians(half / 60) / 0.96
    taper = np.prod(np.sin(np.pi / 2 * ((1 - places) / 0.1).clip(0, 1)) ** 2, axis=0)
    modes = []
    for values, lmax in ((np.asarray(table["mean"]), LMAX), (sky.convergence(coords), LMAX), (1, 2 * LMAX)):
        image = np.zeros(12 * 2048**2)
        image[healpy.nest2ring(2048, np.asarray(table["pixel"]))] = values * taper
        modes.append(healpy.map2alm(image, lmax=lmax, iter=0))
    spectra = np.array([healpy.alm2cl(modes[i], modes[j]) for i, j in ((0, 0), (0, 1), (1, 1))])
    ell, edges = np.arange(LMAX + 1), [100, 200, 400, 700, 1000, 1400, 2000]
    weights = np.array([(2 * ell + 1) * ((ell >= low) & (ell < high)) for low, high in pairwise([0, *edges, LMAX + 1])])
    bands = weights / weights.sum(axis=1, keepdims=True) @ spectra.T
    window = 1 - (ell * maps.pixel_scale.to_value(u.rad)) ** 2 / 24
    area = (taper**2).sum() ** 2 / (taper**4).sum() / (12 * 2048**2)
    omega, spectrum = 1 / (1 + np.square(sky._plane(coords)).sum(axis=0) / 4), PowerSpectrum.default()
    centres = weights @ ell / weights.sum(axis=1)
    c = [np.average(spectrum(omega * k) / spectrum(k) / omega**2, weights=taper**2) for k in centres]
    mixing = mixmat(healpy.alm2cl(modes[2]), LMAX)
    for name, (w, x, t) in (("pseudo", bands.T), ("decoupled", decoupled(bands, weights, mixing).T)):
        p = weights @ window / weights.sum(axis=1)
        ratios = w / x / ((p**2 * x / t + (1 - x / t) / c) / p)
        errors = np.sqrt((t - x) / w / area / weights.sum(axis=1))
        text = ", ".join(f"{ratio:.3f} +- {error:.3f}" for ratio, error in zip(ratios[1:-1], errors[1:-1], strict=True))
        log(f"power over that expected from the cross power, on the sphere, {name} spectra, ell {edges}: {text}")


def decoupled(bands, weights, mixing):
    """Return band powers ``(bands, n)`` that are corrected for a mixing matrix, of spectra as ell^-1.2 in each band."""
    shape = (weights > 0) * np.maximum(np.arange(weights.shape[1]), 1.0) ** -1.2
    means = weights / weights.sum(axis=1, keepdims=True)
    return (means @ shape.T) @ np.linalg.solve(means @ mixing @ shape.T, bands)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
