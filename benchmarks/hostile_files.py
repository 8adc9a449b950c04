"""
Read damaged and malicious files, and count crashes, hangs and errors of other types.

``python benchmarks/hostile_files.py [--inputs 100000] [--minutes 60] [--seed 0] [--state FILE] [--table FILE]``

For each reader valid files are written and mutated (see `mutations`). A reader may read the result, or raise an
OSError, ValueError or TypeError with a message; everything else is a fault. Input number i of a reader depends on the
seed and on i only. A forked process reads inputs in blocks, with 1 GiB of additional memory and 10 seconds for each
input. A fault is counted and its input kept in the folder of faults; a crash, a hang or an excess of memory also ends
the block. The state is saved, and an interrupted run is resumed. With ``MALLOC_CHECK_=3`` and
``LD_PRELOAD=libc_malloc_debug.so.0`` (glibc), writes out of bounds end a block too.
"""

import argparse
import copy
import gc
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from functools import cache, partial
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS
from regions import CircleSkyRegion, PolygonSkyRegion, Regions, TextSkyRegion

from astro_massmap import ConvergenceMap, PowerSpectrum, ScorePrior, ShearCatalog, ShearMap
from astro_massmap._sky.regions import as_regions
from astro_massmap.cli.arguments import wcs_of
from astro_massmap.priors import MeanNetwork
from astro_massmap.simulation import LensPlanes, MapSet

from mutations import mutated

HANDLED = (OSError, ValueError, TypeError, u.UnitsError)
SECONDS, MEMORY, BLOCK = 10, 2**30, 250
SHAPE = (12, 14)
DS9 = """
fk5;ellipse(150,2.2,30",1',20) # color=red tag={a} tag={b}
image
box(3,4,2,2,0)
annulus(5,5,1,2,3)
icrs
circle(10:00:00.1,+2:12:00,30")
galactic;point(30,40) # point=x
"""
CRTF = """#CRTFv0
global coord=J2000, color=blue
circle[[150deg, 2.2deg], 30arcsec]
box[[150deg,2deg],[151deg,3deg]]
poly[[150.0deg, 2deg], [151deg, 2deg], [151deg, 3deg]], label='a b', range=[1, 2]
ann circle[[5pix,5pix],2pix]
"""


def grid(shape=SHAPE):
    """Return a small grid."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [150, 2.2], [-0.01, 0.01]
    wcs.wcs.crpix = [shape[1] / 2, shape[0] / 2]
    wcs.array_shape = shape
    return wcs


# ---- valid files by file extension


def _bytes(write, name):
    """Return the bytes of a file written by ``write``."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(Path(folder, name))
        return Path(folder, name).read_bytes()


def convergence_files():
    rng = np.random.default_rng(1)
    data, samples = rng.normal(size=SHAPE), rng.normal(size=(3, *SHAPE))
    meta = {"survey": "a", "list": [1, 2.5], "scale": 1 * u.arcmin, "table": np.arange(3.0)}
    b_mode = ConvergenceMap(data, wcs=grid(), uncertainty=np.ones(SHAPE))
    kappa = ConvergenceMap(data, wcs=grid(), uncertainty=np.ones(SHAPE), samples=samples, meta=meta, b_mode=b_mode)
    small = ConvergenceMap(data, wcs=grid(), mask=data > 1, diagnostics={"method": "wiener"})
    found = {".fits": [_bytes(kappa.write, "k.fits"), _bytes(small.write, "k.fits")]}
    found[".fits.gz"] = [_bytes(small.write, "k.fits.gz")]
    found[".fits.fz"] = [_packed(found[".fits"][1], kind) for kind in ("RICE_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1")]
    return found


def _packed(content, kind):
    """Return a FITS file with tile-compressed images."""

    def write(path):
        Path("of.fits").write_bytes(content)
        with fits.open("of.fits") as hdus:
            packed = [fits.PrimaryHDU()]
            for hdu in hdus:
                whole = kind in ("PLIO_1", "HCOMPRESS_1")
                image = hdu.is_image and hdu.data is not None
                data = np.abs(10 * hdu.data).astype("i2") if image and whole else hdu.data
                tiles = {"tile_shape": data.shape} if whole else {}
                packed.append(
                    fits.CompImageHDU(data, hdu.header, compression_type=kind, **tiles) if image else hdu.copy()
                )
            fits.HDUList(packed).writeto(path)
        Path("of.fits").unlink()

    return _bytes(write, "packed.fits")


def shear_files():
    rng = np.random.default_rng(2)
    data, mask = rng.normal(size=(2, *SHAPE)), rng.random(SHAPE) < 0.1
    shear = ShearMap(data, wcs=grid(), noise_std=0.3, mask=mask, meta={"a": 1})
    return {".fits": [_bytes(shear.write, "s.fits")], ".fits.gz": [_bytes(shear.write, "s.fits.gz")]}


def catalog_files():
    rng = np.random.default_rng(3)
    place = SkyCoord(rng.uniform(150, 150.1, 12) * u.deg, rng.uniform(2, 2.1, 12) * u.deg)
    shapes, options = rng.normal(scale=0.2, size=(2, 12)), {"weight": np.ones(12), "redshift": rng.uniform(size=12)}
    full = ShearCatalog(
        place,
        *shapes,
        axes="west-north",
        m_bias=0.01,
        shape_noise=0.2,
        response=np.eye(2),
        meta={"a": [1, 2]},
        **options,
    )
    plain = ShearCatalog(place, *shapes, axes="west-north")
    found = {end: [_bytes(c.write, f"c{end}") for c in (full, plain)] for end in (".ecsv", ".csv")}
    found[".vot"] = [_bytes(partial(full.write, format="votable"), "c.vot")]
    plain.meta = {"name": "a"}
    table = plain.to_table()
    table["center"] = place  # stored as YAML in comments
    table["name"] = [f"galaxy {i}" for i in range(12)]
    variable = fits.BinTableHDU.from_columns(
        [
            *fits.table_to_hdu(plain.to_table()).columns,
            fits.Column("pdf", "PE()", array=np.array([np.ones(i + 1, "f4") for i in range(12)], dtype=object)),
            fits.Column("bits", "9X", array=np.ones((12, 9), bool)),
            fits.Column("flag", "L", array=np.ones(12, bool)),
        ]
    )
    ascii_table = fits.TableHDU.from_columns(
        [fits.Column(name, "E15.7", ascii=True, array=np.ones(5, "f4")) for name in ("ra", "dec", "g1", "g2")]
    )
    writers = [plain.write, table.write, variable.writeto, ascii_table.writeto]
    found[".fits"] = [_bytes(write, "c.fits") for write in writers]
    found[".fits.gz"] = [_bytes(plain.write, "c.fits.gz")]
    found[".txt"] = [found[".ecsv"][1], found[".csv"][1].replace(b",", b" ")]
    return found


def region_files():
    place = SkyCoord([150, 150.05] * u.deg, [2.2, 2.25] * u.deg)
    shapes = [CircleSkyRegion(c, 2 * u.arcmin, meta={"text": f"cluster {i}"}) for i, c in enumerate(place)]
    corners = SkyCoord([150, 150.1, 150.1] * u.deg, [2.2, 2.2, 2.3] * u.deg)
    regions = Regions([*shapes, PolygonSkyRegion(corners), TextSkyRegion(place[0], "a label")])
    ds9 = regions.serialize(format="ds9") + DS9
    pixels = Regions([shape.to_pixel(grid()) for shape in (*shapes, PolygonSkyRegion(corners))])
    table = QTable({"ra": place.ra, "dec": place.dec, "r500": [1, 2] * u.arcmin, "name": ["one", "two"]})
    return {
        ".reg": [ds9.encode()],
        ".crtf": [CRTF.encode()],
        ".ecsv": [_bytes(table.write, "r.ecsv")],
        ".fits": [_bytes(partial(pixels.write, format="fits"), "r.fits"), _bytes(table.write, "t.fits")],
    }


def spectrum_files():
    spectrum = PowerSpectrum(np.geomspace(10, 1e4, 12), np.geomspace(1e-8, 1e-12, 12), name="a name")
    return {end: [_bytes(spectrum.to_table().write, f"s{end}")] for end in (".ecsv", ".csv", ".fits")}


@cache
def _denoisers():
    import torch

    from astro_massmap.priors import HybridDenoiser, UNet
    from astro_massmap.priors.mean_network import untrained

    spectrum = PowerSpectrum(np.geomspace(10, 1e4, 12), np.geomspace(1e-8, 1e-12, 12))
    torch.manual_seed(0)
    network = UNet((2, 2, 2), blocks=1, embedding=4)
    return spectrum, HybridDenoiser(network, spectrum, 1e-4), untrained((2, 2, 2), spectrum, 1e-4)


def prior_files():
    spectrum, denoiser, _ = _denoisers()
    prior = ScorePrior(denoiser, spectrum, (0.003, 0.5), card={"maps": "a", "resolution": [5200.0, 2.2]})
    return {".safetensors": [_bytes(prior.save, "p.safetensors")]}


def network_files():
    spectrum, _, denoiser = _denoisers()
    network = MeanNetwork(denoiser, spectrum, (0.08, 0.15), card={"maps": "a"})
    return {".safetensors": [_bytes(network.save, "m.safetensors")]}


def checkpoint_files():
    def write(path):
        made = _trainer(path)
        for parameter in made.denoiser.parameters():
            parameter.grad = parameter.detach().clone()
        made.optimizer.step()
        made.step, made.history = 1, [{"step": 1, "loss": 1.0}]
        made._save()

    return {".safetensors": [_bytes(write, "c.safetensors")]}


def _trainer(path):
    from astro_massmap.training.trainer import Trainer, TrainingPlan

    return Trainer(copy.deepcopy(_denoisers()[1]), None, TrainingPlan(steps=4), checkpoint=path)


def planes_files():
    import torch

    distance, scale_factor = np.array([32.0, 96.0]), np.array([0.99, 0.95])
    planes = LensPlanes(torch.zeros(2, 3, 4, 4).half(), 64.0, 0.3, distance, scale_factor, {"a": 1})
    return {".safetensors": [_bytes(planes.save, "box.safetensors")]}


def healpix_files():
    nside, rng = 8, np.random.default_rng(4)
    whole = fits.BinTableHDU.from_columns([fits.Column("T", "E", array=rng.normal(size=12 * nside**2))])
    some = fits.BinTableHDU.from_columns(
        [
            fits.Column("PIXEL", "J", array=np.arange(100, 400)),
            fits.Column("T", "D", array=rng.normal(size=300)),
        ]
    )
    for hdu, scheme in ((whole, "IMPLICIT"), (some, "EXPLICIT")):
        hdu.header.update(PIXTYPE="HEALPIX", ORDERING="RING", NSIDE=nside, INDXSCHM=scheme, COORDSYS="C")
    return {".fits": [_bytes(hdu.writeto, "h.fits") for hdu in (whole, some)]}


def map_files():
    import h5py

    maps = np.random.default_rng(5).normal(size=(2, 8, 8)).astype("f4")

    def write_hdf5(path, **options):
        with h5py.File(path, "w") as file:
            file.create_dataset("kappa", data=maps, **options)

    image = fits.PrimaryHDU(maps[0], grid((8, 8)).to_header())
    found = {".fits": [_bytes(image.writeto, "m.fits")], ".fits.gz": [_bytes(image.writeto, "m.fits.gz")]}
    found[".fits.fz"] = [_packed(found[".fits"][0], kind) for kind in ("RICE_1", "GZIP_1")]
    found[".npy"] = [_bytes(partial(np.save, arr=arr), "m.npy") for arr in (maps, maps.astype("i2").T)]
    chunks = partial(write_hdf5, compression="gzip", chunks=(1, 4, 4))
    found[".h5"] = [_bytes(write, "m.h5") for write in (write_hdf5, chunks)]
    return found


def _open_maps(path):
    """Return the first map of a folder."""
    return MapSet.open(path.parent, kind="folder", pixel_scale=0.01 * u.deg)[0]


READERS = {
    "ConvergenceMap.read": (convergence_files, ConvergenceMap.read),
    "ShearMap.read": (shear_files, ShearMap.read),
    "ShearCatalog.read": (catalog_files, partial(ShearCatalog.read, axes="west-north")),
    "as_regions": (region_files, lambda path: as_regions(path, grid())),
    "PowerSpectrum.read": (spectrum_files, PowerSpectrum.read),
    "ScorePrior.load": (prior_files, ScorePrior.load),
    "MeanNetwork.load": (network_files, MeanNetwork.load),
    "Trainer": (checkpoint_files, _trainer),
    "LensPlanes.load": (planes_files, LensPlanes.load),
    "from_healpix": (healpix_files, lambda path: ConvergenceMap.from_healpix(path, wcs=grid())),
    "MapSet.open": (map_files, _open_maps),
    "--wcs": (convergence_files, wcs_of),
}
KINDS = {end: "text" for end in (".vot", ".csv", ".txt", ".reg", ".crtf")} | {".ecsv": "table"}
KINDS |= {end: "fits" for end in (".fits", ".fits.gz", ".fits.fz")}
KINDS |= {".safetensors": "tensors", ".npy": "binary", ".h5": "binary"}


@cache
def files_of(name):
    """Return the valid files of a reader."""
    return READERS[name][0]()


def hostile(files, seed, number):
    """Return file extension and bytes of the input ``number``."""
    rng = np.random.default_rng([seed, number])
    ends = list(files)
    end = ends[int(rng.integers(len(ends)))]
    seeds = files[end]
    content = seeds[int(rng.integers(len(seeds)))]
    content = mutated(content, KINDS[end], rng, packed=end.endswith(".gz"))
    if rng.random() < 0.02:  # a wrong file extension
        end = ends[int(rng.integers(len(ends)))]
    return end, content


def judged(read, path):
    """Return the result for a file: "read", type and message of an allowed error, or a fault after "!"."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except HANDLED as error:
        chain, text = error, str(error).strip()
        while chain is not None:
            if isinstance(chain, MemoryError):
                return f"!memory: {chain}"
            chain = chain.__cause__ or chain.__context__
        if not text:
            return f"!empty {type(error).__name__}"
        if isinstance(error, OSError) and path.name not in text and path.parent.name not in text:
            return f"!nameless {type(error).__name__}: {text}"
        kind = next(kind for kind in HANDLED if isinstance(error, kind))
        return f"{kind.__name__}: {text}"
    except Exception as error:
        return f"!{type(error).__name__}: {error}"
    return "read"


def _block(name, seed, first, last, folder, report):
    """Read inputs and write one line for each to the report; the process ends afterwards."""
    files, read = files_of(name), READERS[name][1]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in range(first, last):
        end, content = hostile(files, seed, number)
        path = folder / f"h{end}"
        path.write_bytes(content)
        peak, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        signal.alarm(SECONDS)
        outcome = judged(read, path)
        signal.alarm(0)
        seconds = time.perf_counter() - begin
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
        if grown > MEMORY:
            outcome = f"!memory: grew by {grown / 2**20:.0f} MiB"
        path.unlink()
        others = sorted(str(p) for p in folder.parent.parent.rglob("*") if p not in (folder, folder.parent))
        if others:
            outcome = f"!wrote {others}"
        line = json.dumps([number, end, seconds, outcome[:300]], ensure_ascii=True)
        os.write(report, f"{line}\n".encode())
    gc.collect()  # glibc detects writes out of bounds when the memory is freed


def run_block(name, seed, first, last):
    """Return the outcomes of a block of inputs; the last one is a fault if the process ended early."""
    with tempfile.TemporaryDirectory() as top, tempfile.TemporaryFile() as report:
        folder = Path(top, "a", "b")
        folder.mkdir(parents=True)
        files_of(name)  # before the fork, so that all processes have the same files
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.chdir(folder)
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                _block(name, seed, first, last, folder, report.fileno())
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        report.seek(0)
        outcomes = [json.loads(line) for line in report.read().splitlines()]
    if status:
        ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        number = outcomes[-1][0] + 1 if outcomes else first
        outcomes.append([number, "", float(SECONDS if hung else 0), "!hang" if hung else f"!died: {ended}"])
    return outcomes


def keep(name, seed, number, outcome, folder):
    """Save an input that is a fault."""
    folder.mkdir(parents=True, exist_ok=True)
    end, content = hostile(files_of(name), seed, number)
    (folder / f"{re.sub(r'[^A-Za-z]+', '_', name)}_{number}{end}").write_bytes(content)
    with open(folder / "faults.txt", "a") as log:
        log.write(f"{name} {number} {end} {outcome}\n")


def fuzz(name, seed, first, last, state, folder):
    """Read a block of inputs, and update the state of its reader."""
    outcomes = run_block(name, seed, first, last)
    for number, _, seconds, outcome in outcomes:
        kind = "fault" if outcome.startswith("!") else outcome.partition(":")[0]
        state["counts"][kind] = state["counts"].get(kind, 0) + 1
        state["seconds"] += seconds
        state["slowest"] = max(state["slowest"], seconds)
        if kind == "fault":
            keep(name, seed, number, outcome, folder)
        else:
            message = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "#", outcome)[:110]
            state["messages"][message] = state["messages"].get(message, 0) + 1
    state["next"] = outcomes[-1][0] + 1


def table_of(states):
    """Return the table of counts by reader."""
    kinds = ("read", "OSError", "ValueError", "TypeError", "UnitsError", "fault")
    rows = []
    for name, state in states.items():
        counts = [state["counts"].get(kind, 0) for kind in kinds]
        rows.append((name, sum(counts), *counts, 1e3 * state["seconds"] / max(sum(counts), 1), state["slowest"]))
    table = Table(rows=rows, names=("reader", "inputs", *kinds, "mean_ms", "slowest_s"))
    table["mean_ms"].info.format, table["slowest_s"].info.format = ".1f", ".2f"
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument(
        "--inputs", type=int, default=100_000, help="number of inputs of all readers together (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=60, help="time limit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", choices=list(READERS), default=list(READERS), metavar="READER")
    parser.add_argument("--state", type=Path, default=Path("hostile_state.json"))
    parser.add_argument("--faults", type=Path, default=Path("hostile_faults"), help="folder for inputs that are faults")
    parser.add_argument("--table", type=Path, help="ECSV file for the counts")
    arguments = parser.parse_args()
    end, most = time.monotonic() + 60 * arguments.minutes, -(-arguments.inputs // len(arguments.readers))
    states = json.loads(arguments.state.read_text()) if arguments.state.exists() else {}
    for name in arguments.readers:
        states.setdefault(name, {"next": 0, "counts": {}, "seconds": 0.0, "slowest": 0.0, "messages": {}})
    _denoisers()
    while time.monotonic() < end:
        name = min(arguments.readers, key=lambda name: states[name]["next"])
        first = states[name]["next"]
        if first >= most:
            break
        fuzz(name, arguments.seed, first, min(first + BLOCK, most), states[name], arguments.faults)
        arguments.state.write_text(json.dumps(states))
    table = table_of(states)
    table.meta = {"seed": arguments.seed, "limits": f"{SECONDS} s and {MEMORY / 2**30:g} GiB an input"}
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)), f"{sum(table['inputs'])} inputs", sep="\n")
    if arguments.table is not None:
        table.write(arguments.table, overwrite=True)
    return int(sum(table["fault"]) > 0)


if __name__ == "__main__":
    sys.exit(main())
