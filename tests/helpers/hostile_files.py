"""Valid files of each reader, their mutations, and the judgement of what a reader does with one."""

import copy
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from regions import CircleSkyRegion, PolygonSkyRegion, Regions, TextSkyRegion

from astro_massmap import ConvergenceMap, PowerSpectrum, ScorePrior, ShearCatalog, ShearMap
from astro_massmap._sky.regions import as_regions
from astro_massmap.cli.values import wcs_of
from astro_massmap.priors import PosteriorNetwork
from astro_massmap.simulation import LensPlanes, MapSet

from helpers.mutations import mutated

HANDLED = (OSError, ValueError, TypeError, u.UnitsError)
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
def denoisers():
    import torch

    from astro_massmap.priors import HybridDenoiser, PosteriorDenoiser, UNet, posterior_unet

    spectrum = PowerSpectrum(np.geomspace(10, 1e4, 12), np.geomspace(1e-8, 1e-12, 12))
    torch.manual_seed(0)
    network = UNet((2, 2, 2), blocks=1, embedding=4)
    posterior = posterior_unet((2, 2, 2), blocks=1, embedding=4)
    return spectrum, HybridDenoiser(network, spectrum, 1e-4), PosteriorDenoiser(posterior, spectrum, 1e-4)


def prior_files():
    spectrum, denoiser, _ = denoisers()
    prior = ScorePrior(denoiser, spectrum, (0.003, 0.5), card={"maps": "a", "resolution": [5200.0, 2.2]})
    return {".safetensors": [_bytes(prior.save, "p.safetensors")]}


def network_files():
    spectrum, _, denoiser = denoisers()
    sizes, signals = np.full((2, 2), 1e-4), np.full((2, 2, 2), 0.02)
    network = PosteriorNetwork(denoiser, spectrum, (0.8, 60.0), sizes, signals, spectrum, card={"maps": "a"})
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

    return Trainer(copy.deepcopy(denoisers()[1]), None, TrainingPlan(steps=4), checkpoint=path)


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
    "PosteriorNetwork.load": (network_files, PosteriorNetwork.load),
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
