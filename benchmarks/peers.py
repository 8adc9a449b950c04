"""
Comparison with lenspack and DarkMappy: ``python benchmarks/peers.py [SECTION ...] [--cosmos] [--rst FOLDER]``.

Sections: versions, conventions, binning, demo, massivenus, peaks, takes; ``--cosmos`` adds the times on the COSMOS
catalogue. All run in one process, on one thread, in an environment with all three packages (``pip install lenspack
darkmappy``); a missing package is omitted and reported. ``massivenus`` and ``--cosmos`` need ``MASSMAP_DATA``.

Maps are compared with the truth as in the validation: root mean square error divided by that of the exact Wiener
filter, and correlation, in pixels with data and in gaps, for single pixels and for maps smoothed by a Gaussian of 1
arcmin. A method with a free parameter (a smoothing scale, a regularisation) has one more row, for the best of some
values: the one closest to the truth in pixels with data, chosen separately for single pixels and smoothed maps. This
choice is not possible for a real survey.

The section ``peaks`` has the mock survey of the package with other noise. Peaks are local maxima of the smoothed maps
in pixels with data; a true peak is higher than 3 standard deviations of the smoothed truth. From the highest peak of
all maps downwards, each is matched with the closest true peak within 1.5 arcmin. The completeness is the fraction of
true peaks that are found, at the lowest height for which a given fraction of the peaks is matched (purity).
Times are CPU times.
"""

import argparse
import logging
import os
import platform
import time
import warnings
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter

from astro_massmap import (
    AnnealedHMC,
    KaiserSquires,
    PosteriorMean,
    ShearCatalog,
    ShearMap,
    Sparse,
    Wiener,
    __version__,
    datasets,
)
from astro_massmap._sky.binning import bin_galaxies
from astro_massmap.analysis.peaks import local_maxima
from astro_massmap.inference import FourierGrid, LensingOperator, Observation
from astro_massmap.simulation import smoothed

from list_table import list_table

PACKAGES = ("lenspack", "darkmappy")
SIGMA_E = 0.37  # ellipticity noise assumed by DarkMappy, both components together
BEAM = np.radians(1 / 60)  # Gaussian of the smoothed maps, as in the validation
SCALES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.6)  # arcmin
TURNS = 15  # repetitions of a timing
HIGH, CLOSE = 3.0, np.radians(1.5 / 60)  # of peaks: height in standard deviations, distance of a match
PURITIES, NOISES = (0.5, 0.75, 0.9), 16  # purities of the table of peaks, and number of noise maps

Sky = namedtuple("Sky", "truth shear catalog")


def version(package):
    """Return the version of an installed package, else None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def clock(function):
    """Return the result of a function and its CPU time in seconds; the minimum of three for short times."""
    times = []
    while len(times) < 3 and sum(times) < 2:
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return result, min(times)


# ---- calls of the other packages


def edges(wcs, shape):
    """Return the ``extent`` of `lenspack.utils.bin2d` in radians (x to the West): the outer edges of the grid."""
    side = np.radians(abs(wcs.wcs.cdelt[0]))
    low = -(wcs.wcs.crpix - 0.5) * side
    return low[0], low[0] + shape[1] * side, low[1], low[1] + shape[0] * side


def lenspack_bins(catalog, wcs, shape):
    """Return shear ``(2, ny, nx)`` by `lenspack`, on a tangential grid with North up and East left."""
    from lenspack.geometry.projections.gnom import radec2xy
    from lenspack.utils import bin2d

    east, north = radec2xy(*wcs.wcs.crval, catalog.coords.ra.deg, catalog.coords.dec.deg)
    values = catalog.g1, catalog.g2
    return bin2d(-east, north, npix=shape[::-1], v=values, w=catalog.weight, extent=edges(wcs, shape))


def lenspack_shear(sky):
    """Return the shear binned by `lenspack`, or the map if there is no catalogue."""
    return sky.shear.data if sky.catalog is None else lenspack_bins(sky.catalog, sky.shear.wcs, sky.truth.shape)


def lenspack_map(shear, pixels):
    """Return E and B mode by `lenspack`, smoothed by a Gaussian of ``pixels`` pixels."""
    from lenspack.image.inversion import ks93

    return [gaussian_filter(mode, pixels, mode="constant") if pixels else mode for mode in ks93(*shear)]


def lenspack_inpainted(sky):
    """Return both components with gaps inpainted by the discrete cosine transform of `lenspack`."""
    from lenspack.image.inpainting import inpaint

    return [inpaint(g, ~sky.shear.mask) for g in sky.shear.data]


def darkmappy_map(sky, mu, *, tutorial=True, real=False):
    """
    Return the MAP of DarkMappy on the plane, with the settings of its README (defaults) or its tutorial.

    The first axis of DarkMappy is x: maps are transposed before and after. It uses galaxies per pixel instead of the
    noise, N with ``noise_std^2 = SIGMA_E^2 / 2N``.
    """
    from darkmappy.estimators import DarkMappyPlane

    seen = ~sky.shear.mask
    data = sky.shear.data[0] + 1j * sky.shear.data[1]
    galaxies = SIGMA_E**2 / 2 / sky.shear.noise_std**2
    more = {"wav": ["db1", "db4", "db6"], "levels": 6} if tutorial else {}
    np.random.seed(0)  # noqa: NPY002, its power method draws from it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warning of the wavelets about six levels
        estimator = DarkMappyPlane(n=len(data), data=data.T, mask=seen.T, ngal=galaxies.T, **more)
        if tutorial:
            estimator.options |= {"tol": 1e-4, "iter": 1000, "constrained": False, "real": real}
        return estimator.run_estimator(mu=mu)[0].real.T


# ---- comparison with the truth


def judge(truth, wiener, kappa, mask, pixel_size):
    """
    Return errors divided by those of the Wiener filter, and correlations, ``(2, 4)``: for pixels and smoothed maps.

    The columns are the error with data and in gaps, and the correlation with data and in gaps.
    """
    pairs = [((truth, wiener, kappa), mask), _smoothed([truth, wiener, kappa], mask, pixel_size)]
    return np.array([_judge(*maps, gaps) for maps, gaps in pairs])


def _smoothed(maps, mask, pixel_size):
    """Return smoothed maps without their edges, and the mask of the same pixels."""
    maps = smoothed(maps, pixel_size, BEAM)
    edge = (len(mask) - maps.shape[1]) // 2
    return maps, mask[edge : len(mask) - edge, edge : mask.shape[1] - edge]


def _judge(truth, wiener, kappa, gaps):
    areas = ~gaps, gaps
    rms = [np.sqrt(np.mean((kappa - truth)[p] ** 2) / np.mean((wiener - truth)[p] ** 2)) for p in areas]
    return [*rms, *(np.corrcoef(kappa[p], truth[p])[0, 1] for p in areas)]


def peaks_found(truth, kappas, mask, pixel_size):
    """
    Return the completeness at each of the `PURITIES`, for all maps of the same truth together, and the true peaks.

    The completeness is the fraction of true peaks that are found, on average over the maps.
    """
    (truth, *kappas), gaps = _smoothed([truth, *kappas], mask, pixel_size)
    true = np.argwhere(local_maxima(truth) & ~gaps)
    true = true[truth[tuple(true.T)] > HIGH * truth[~gaps].std()]
    listed = [_peaks(kappa, true, gaps, pixel_size) for kappa in kappas]
    heights, matched = (np.concatenate(parts) for parts in zip(*listed, strict=True))
    found = matched[np.argsort(-heights, kind="stable")].cumsum()
    purity = found / np.arange(1, len(found) + 1)
    return [found[purity >= p].max(initial=0) / (len(kappas) * len(true)) for p in PURITIES], len(true)


def _peaks(kappa, true, gaps, pixel_size):
    """Return heights of peaks, in falling order, and which of them are matched, each with another true peak."""
    peaks = np.argwhere(local_maxima(kappa) & ~gaps)
    peaks = peaks[np.argsort(-kappa[tuple(peaks.T)], kind="stable")]
    free, matched = np.ones(len(true), dtype=bool), np.zeros(len(peaks), dtype=int)
    for number, peak in enumerate(peaks):
        distance = np.where(free, np.hypot(*(true - peak).T), np.inf)
        if distance.min(initial=np.inf) * pixel_size <= CLOSE:
            free[distance.argmin()], matched[number] = False, 1
    return kappa[tuple(peaks.T)], matched


def best_of(judgements):
    """Return the index of the best map for pixels and for smoothed maps, and its scores."""
    judgements = np.array(judgements)
    best = judgements[:, :, 0].argmin(axis=0)
    return best, judgements[best, [0, 1]]


def cells_of(judgement):
    """Return four cells: errors and correlations, with data / in gaps."""
    return [f"{a:.3f} / {b:.3f}" for a, b in np.reshape(judgement, (4, 2))]


# ---- the methods


def methods(sky, n_samples):
    """Yield (package, name, function that makes the map), with the settings of a user."""
    pixels = BEAM / sky.shear.pixel_scale.to_value(u.rad)
    if version("lenspack"):
        binned = lenspack_shear(sky)
        yield "lenspack", "ks93, 1 arcmin", lambda: lenspack_map(binned, pixels)[0]
        yield "lenspack", "inpaint, ks93, 1 arcmin", lambda: lenspack_map(lenspack_inpainted(sky), pixels)[0]
    if version("darkmappy"):
        yield "DarkMappy", "defaults", lambda: darkmappy_map(sky, 1e-3, tutorial=False)
        yield "DarkMappy", "as in its tutorial, mu = 7", lambda: darkmappy_map(sky, 7)
    ours = {
        "KaiserSquires, 1 arcmin": KaiserSquires(),
        "Sparse": Sparse(n_noise=0),
        "Sparse(gaussian=False)": Sparse(gaussian=False, n_noise=0),
        "Wiener": Wiener(n_samples=0),
        "PosteriorMean": PosteriorMean(),
        f"AnnealedHMC, mean of {n_samples}": AnnealedHMC(n_samples=max(n_samples, 1), seed=1),
    }
    if not n_samples:
        del ours["AnnealedHMC, mean of 0"]
    for name, method in ours.items():
        yield "astro_massmap", name, lambda m=method: sky.shear.reconstruct(m, progress=False).data


def families(sky):
    """Yield (package, name, {parameter value: function that makes the map})."""
    side = sky.shear.pixel_scale.to_value(u.arcmin)
    if version("lenspack"):
        binned = lenspack_shear(sky)
        yield "lenspack", "ks93", {f"{s}'": lambda s=s: lenspack_map(binned, s / side)[0] for s in SCALES}
    if version("darkmappy"):
        tries = [(mu, real) for mu in (2, 3, 4, 5, 6) for real in (False, True)]
        names = [f"mu = {mu}{', real' * real}" for mu, real in tries]
        maps = [lambda mu=mu, real=real: darkmappy_map(sky, mu, real=real) for mu, real in tries]
        yield "DarkMappy", "tutorial", dict(zip(names, maps, strict=True))
    ours = {f"{s}'": KaiserSquires(s * u.arcmin) for s in SCALES}
    maps = {n: lambda m=m: sky.shear.reconstruct(m, progress=False).data for n, m in ours.items()}
    yield "astro_massmap", "KaiserSquires", maps


def compared(sky, n_samples):
    """Yield the table of one field."""
    yield (
        "package",
        "method",
        "RMSE / Wiener, pixels (data / gaps)",
        "correlation, pixels",
        "RMSE / Wiener, 1 arcmin",
        "correlation, 1 arcmin",
        "seconds of a core",
    )
    wiener = sky.shear.reconstruct(Wiener(n_samples=0), progress=False).data
    size = sky.shear.pixel_scale.to_value(u.rad)

    def judged(kappa):
        return judge(sky.truth, wiener, kappa, sky.shear.mask, size)

    for package, name, run in methods(sky, n_samples):
        kappa, seconds = clock(run)
        yield package, name, *cells_of(judged(kappa)), f"{seconds:.3g}"
    for package, name, runs in families(sky):
        best, judgement = best_of([judged(run()) for run in runs.values()])
        found = ", ".join(dict.fromkeys(list(runs)[i] for i in best))
        yield package, f"{name}, best: {found}", *cells_of(judgement), ""


# ---- sections


def demo(arguments):
    """Yield the table of the mock survey of the package, from its catalogue."""
    catalog, truth = datasets.demo(), datasets.demo_truth()
    shear = catalog.to_map(wcs=truth.wcs, shape=truth.shape)
    yield from compared(Sky(truth.data.astype(float), shear, catalog), arguments.samples)


def massivenus(arguments):
    """Yield the table of a MassiveNuS field (Liu et al. 2018), not used in training, with a noise of 0.15 per pixel."""
    folder = arguments.data / "massivenus"
    truth, measured, seen = (np.load(folder / f"{name}.npy") for name in ("kappa", "shear_bright", "mask"))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.1, 2.2]
    wcs.wcs.crpix, wcs.wcs.cdelt = (np.array(truth.shape) + 1) / 2, [-0.4 / 60, 0.4 / 60]
    shear = ShearMap(np.moveaxis(measured, -1, 0), wcs=wcs, noise_std=np.where(seen, 0.15, np.inf))
    yield from compared(Sky(truth.astype(float), shear, None), arguments.samples)


def peaks(arguments):
    """Yield the completeness of peaks in the mock survey of the package with `NOISES` other noise maps."""
    yield "package", "method", *(f"completeness at a purity of {p}" for p in PURITIES)
    truth, size = datasets.demo_truth(), BEAM * 0.4
    shear = datasets.demo().to_map(wcs=truth.wcs, shape=truth.shape)
    kappa, rng, found = truth.data.astype(float), np.random.default_rng(1), {}
    grid = FourierGrid(kappa.shape, size, [2 * side for side in kappa.shape], dtype=torch.float64)
    clean = LensingOperator(grid).forward(grid.to_modes(torch.from_numpy(kappa))).numpy()
    for _ in range(NOISES):
        data = clean + rng.normal(size=clean.shape) * np.where(shear.mask, 0, shear.noise_std)
        noisy = ShearMap(np.where(shear.mask, 0, data), wcs=truth.wcs, noise_std=shear.noise_std, mask=shear.mask)
        for package, name, run in methods(Sky(kappa, noisy, None), 0):
            found.setdefault((package, name), []).append(run())
    for names, maps in found.items():
        yield *names, *(f"{c:.2f}" for c in peaks_found(kappa, maps, shear.mask, size)[0])


def conventions(arguments):
    """Yield the correlation with two different halos, which is high only for the correct axes and signs."""
    yield "package", "convention", "correlation with the halos", "used"
    y, x = np.mgrid[:64, :64]
    kappa = np.exp(-((x - 20) ** 2 + (y - 12) ** 2) / 20) + 0.5 * np.exp(-((x - 45) ** 2 + (y - 30) ** 2) / 50)
    grid = FourierGrid((64, 64), BEAM, dtype=torch.float64)
    g1, g2 = LensingOperator(grid).forward(grid.to_modes(torch.from_numpy(kappa))).numpy()
    given = {
        "x is the last axis, g1 + i g2": (g1, g2),
        "x is the first axis (transposed)": (g1.T, g2.T),
        "g2 reversed": (g1, -g2),
        "g1 and g2 reversed (rotated by 90 deg)": (-g1, -g2),
    }
    for number, (name, shear) in enumerate(given.items()):
        back = (lambda m: m.T) if "first" in name else (lambda m: m)
        if version("lenspack"):
            yield "lenspack", name, f"{_like(back(lenspack_map(shear, 0)[0]), kappa):.3f}", number == 0
        if version("darkmappy"):
            from darkmappy.forward_models import PlanarForwardModel

            found = PlanarForwardModel(n=64).ks_estimate(shear[0] + 1j * shear[1]).real
            yield "DarkMappy", name, f"{_like(back(found), kappa):.3f}", number == 1


def _like(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def binning(arguments):
    """Yield the difference of the binned shear of both packages, for the same galaxies and grid."""
    yield "catalogue", "pixels", "rms of a component", "rms of the difference", "the same, axes not rotated"
    if not version("lenspack"):
        return
    catalog, truth = datasets.demo(), datasets.demo_truth()
    yield _binning_row("demo", catalog, truth.wcs, truth.shape)
    if arguments.data:
        catalog = cosmos_catalog(arguments)
        shear = catalog.to_map()
        yield _binning_row("COSMOS", catalog, shear.wcs, shear.shape)


def _binning_row(name, catalog, wcs, shape):
    """Return the difference of both packages, and the same without rotation of our shear to the grid."""
    ours, theirs = catalog.to_map(wcs=wcs, shape=shape), lenspack_bins(catalog, wcs, shape)
    x, y = wcs.world_to_pixel(catalog.coords)
    shear = catalog.g1 + 1j * catalog.g2
    not_rotated, _, _ = bin_galaxies(x, y, shear, weight=catalog.weight, response=1.0, shape_noise=1.0, shape=shape)

    parts = ours.data, ours.data - theirs, not_rotated - theirs
    return name, f"{shape[0]} x {shape[1]}", *(f"{np.sqrt(np.mean(np.square(part))):.2g}" for part in parts)


def cosmos_catalog(arguments):
    file = arguments.data / "cosmos" / "cosmos_shear.fits.gz"
    return ShearCatalog.read(file, axes="west-north", columns={"g1": "e1", "g2": "e2"})


def race(theirs, ours, turns=TURNS):
    """Return minimum and median CPU time in seconds of two interleaved functions: ``(2, 2)``."""
    times = []
    for _ in range(turns):
        for function in (theirs, ours):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
    times = np.reshape(times, (turns, 2))
    return np.stack([times.min(axis=0), np.median(times, axis=0)])


def cosmos(arguments):
    """Yield interleaved timings of gridding and Kaiser-Squires on the COSMOS catalogue."""
    yield "task", "lenspack, ms (median)", "astro_massmap, ms (median)", "ratio (of medians)", "at most 1"
    if not version("lenspack"):
        return
    for name, theirs, ours in _races(cosmos_catalog(arguments)):
        times = race(theirs, ours)
        (a, b), ratios = 1e3 * times.T, times[:, 1] / times[:, 0]
        cells = [f"{least:.1f} ({median:.1f})" for least, median in (a, b)]
        yield name, *cells, f"{ratios[0]:.2f} ({ratios[1]:.2f})", bool(ratios[0] <= 1)


def _races(catalog):
    """Yield (task, function of lenspack, function of this package)."""
    from lenspack.utils import bin2d

    shear = catalog.to_map()
    wcs, shape, pixels = shear.wcs, shear.shape, BEAM / shear.pixel_scale.to_value(u.rad)
    ra, dec, values = catalog.coords.ra.deg, catalog.coords.dec.deg, (catalog.g1, catalog.g2)
    x, y = wcs.world_to_pixel(catalog.coords)
    e, extent = catalog.g1 + 1j * catalog.g2, (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    method = KaiserSquires()
    observation = Observation.from_arrays(shear.data, shear.noise_std, shear.pixel_scale.to_value(u.rad))
    tensor = observation.shear

    def plain():  # equivalent of ks93: no padding, weights, smoothing or errors
        grid = FourierGrid(shape, observation.pixel_size, dtype=torch.float64)
        return [grid.to_field(m).numpy() for m in LensingOperator(grid).e_and_b_modes(tensor)]

    def all_of_it():
        return catalog.to_map(wcs=wcs, shape=shape).reconstruct(method)

    yield (
        "galaxies to smoothed E and B maps, on a given grid",
        lambda: lenspack_map(lenspack_bins(catalog, wcs, shape), pixels),
        all_of_it,
    )
    yield (
        "the same, no grid given (lenspack: right ascension and declination as they are)",
        lambda: lenspack_map(bin2d(ra, dec, npix=shape[::-1], v=values, w=catalog.weight), pixels),
        lambda: catalog.to_map().reconstruct(method),
    )
    yield (
        "galaxies to a shear map (to_map: axes rotated to the grid, noise)",
        lambda: lenspack_bins(catalog, wcs, shape),
        lambda: catalog.to_map(wcs=wcs, shape=shape),
    )
    yield (
        "binning alone, from positions in pixels (bin2d; bin_galaxies)",
        lambda: bin2d(x, y, npix=shape[::-1], v=values, w=catalog.weight, extent=extent),
        lambda: bin_galaxies(x, y, e, weight=catalog.weight, response=1.0, shape_noise=1.0, shape=shape),
    )
    yield (
        "shear map to smoothed E and B maps (ours in a box twice as large, weighted, with errors)",
        lambda: lenspack_map(shear.data, pixels),
        lambda: shear.reconstruct(method),
    )
    yield "the inversion alone, E and B, no padding", lambda: lenspack_map(shear.data, 0), plain


def versions(arguments):
    yield "package", "version"
    yield "Python", platform.python_version()
    for package in (*PACKAGES, "numpy", "scipy", "astropy", "torch"):
        yield package, version(package) or "not installed here: left out"
    yield "astro_massmap", __version__


def takes(arguments):
    """Yield input and output of each package, from the source code of these versions."""
    yield "", "lenspack 1.0.0", "DarkMappy 0.1.0", "astro_massmap"
    yield (
        "input",
        "positions and two components, or two maps",
        "a complex map of the shear, galaxies per pixel, a mask",
        "a catalogue (SkyCoord, table, file), or a map with its noise; a noisy map of kappa",
    )
    yield (
        "coordinates",
        "a gnomonic projection of ra and dec in degrees; shear is not rotated",
        "none",
        "any celestial WCS; the shear of each galaxy is rotated to the grid",
    )
    yield "shape", "any rectangle", "n x n, n even (of an odd n the wave numbers are off by a half)", "any rectangle"
    yield (
        "whole sphere",
        "no",
        "DarkMappySphere; in this version its kernel is 1 for all modes but one",
        "reads HEALPix maps; methods are flat",
    )
    yield (
        "gaps",
        "zero shear in empty pixels; inpaint fills an image in",
        "a mask: not fitted; inferred from the prior",
        "not fitted; inferred from the prior (KaiserSquires: zero shear)",
    )
    yield (
        "noise that varies",
        "weights while binning; none in ks93",
        "galaxies per pixel, of 0.37 each",
        "a noise map, measured from the catalogue",
    )
    yield "calibration biases", "no", "no", "m and c, of the catalogue or of each galaxy"
    yield "edges", "periodic", "periodic", "a box twice as large"
    yield (
        "prior",
        "none",
        "sparse in wavelets",
        "Gaussian with a spectrum, sparse in wavelets, both, or learned from simulations",
    )
    yield (
        "uncertainty",
        "no",
        "none of its own calls; local credible intervals are in its solver, optimusprimal",
        "standard deviation with every map",
    )
    yield "samples", "no", "no", "Wiener, AnnealedHMC"
    yield "B mode", "yes", "the imaginary part (not with real)", "KaiserSquires, with its error; null tests"
    yield "finer pixels than the data", "no", "supersample", "no"
    yield "output", "arrays", "an array", "NDData with unit, WCS, mask; FITS"
    yield (
        "also",
        "peaks, starlets, aperture mass, moments, halo fits",
        "any linear operator in the place of the wavelets",
        "peaks, aperture mass, detections, cluster masses, spectra, null tests, mock surveys",
    )
    yield "licence", "MIT", "GPL 3 (its repository adds: not for commercial use)", "BSD 3-clause"


SECTIONS = {f.__name__: f for f in (versions, conventions, binning, demo, massivenus, peaks, cosmos, takes)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=[])
    parser.add_argument("--cosmos", action="store_true", help="also time gridding and Kaiser-Squires on COSMOS")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rst", type=Path, help="folder for the tables of the documentation")
    arguments = parser.parse_args()
    arguments.data = Path(os.environ["MASSMAP_DATA"]) if "MASSMAP_DATA" in os.environ else None
    torch.set_num_threads(1)
    logging.getLogger("Optimus Primal").setLevel(logging.WARNING)
    for name in _chosen(arguments, parser):
        table = []
        for row in SECTIONS[name](arguments):
            table.append([{True: "yes", False: "no"}.get(cell, str(cell)) for cell in row])
            print("  |  ".join(table[-1]), flush=True)
        print(flush=True)
        if arguments.rst:
            (arguments.rst / f"peers_{name}.rst").write_text(list_table(table))


def _chosen(arguments, parser):
    """Return the sections to run; by default all with available data, except the timings."""
    need = {"massivenus", "cosmos"}
    default = [n for n in SECTIONS if n not in need or (n != "cosmos" and arguments.data)]
    chosen = [*(arguments.sections or default), *["cosmos"] * arguments.cosmos]
    if need & set(chosen) and not arguments.data:
        parser.error("massivenus and cosmos need MASSMAP_DATA, the folder of the public data")
    return dict.fromkeys(chosen)


if __name__ == "__main__":
    main()
