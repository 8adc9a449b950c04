"""What the commands share: arguments, and the reading of what they name."""

import argparse
import hashlib
import shlex
from contextlib import contextmanager
from pathlib import Path

import astropy.units as u

from ..maps.axes import AXES
from .sources import add_spectrum_arguments, read_spectrum

PLACES = "catalog", "map"  # what is told by its place, not by an option
FILES = (*PLACES, "exclude", "wcs", "spectrum", "n_z", "prior")  # what commands that make maps read
PRIORS = "default", "gaussian"  # that are no files
AXES_HELP = (
    f"axes of shear, x and y: {', '.join(list(AXES)[:4])}, or the same rotated by 180 degrees, such as south-west"
)


def add_galaxy_arguments(parser, *, required=True):
    """The catalogue, and how to read it."""
    many = {} if required else {"nargs": "?"}
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="table of galaxies: FITS, ECSV, CSV, ...", **many)
    parser.add_argument("--axes", required=required, choices=list(AXES), metavar="AXES", help=AXES_HELP)
    parser.add_argument(
        "--columns", type=columns, default={}, metavar="g1=e1,g2=e2", help="names of columns; 'redshift=' for none"
    )
    parser.add_argument(
        "--responsivity", type=float, metavar="R", help="of distortions, such as 1 - e_rms^2: g = e / 2R"
    )
    parser.add_argument("--response", type=float, metavar="R", help="mean response of the ellipticities: g = e / R")
    parser.add_argument(
        "--select", metavar="CONDITION", help="galaxies to use: a flag, or a condition such as 'z > 0.6 & mag < 24'"
    )
    parser.add_argument("--hdu", type=hdu, metavar="HDU", help="number or name of the table in a FITS file")
    parser.add_argument("--encoding", metavar="NAME", help="of a text file (default: UTF-8, or else latin-1)")


def add_catalog_arguments(parser):
    """The catalogue, how to read it, and its grid."""
    add_galaxy_arguments(parser)
    parser.add_argument("--pixel-scale", type=angle, metavar="ANGLE", help="such as '0.4 arcmin' (default)")
    parser.add_argument("--wcs", type=Path, metavar="IMAGE", help="map on the grid of this FITS image")


def add_exclude_argument(parser):
    """Regions without galaxies."""
    parser.add_argument("--exclude", metavar="FILE", help="regions whose galaxies are left out, around stars say")


def add_method_arguments(parser):
    """The method and its options."""
    parser.add_argument("--method", help="annealed_hmc (default), posterior_mean, wiener or kaiser_squires")
    parser.add_argument(
        "--prior",
        default="default",
        metavar="FILE",
        help="of annealed_hmc: a trained prior, default, or gaussian; of posterior_mean: a trained network",
    )
    add_spectrum_arguments(parser)
    parser.add_argument("--smoothing", type=angle, metavar="ANGLE", help="of kaiser_squires, such as '1 arcmin'")
    parser.add_argument("--schedule", help="of annealed_hmc: annealed (default), fast or tempered")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="of annealed_hmc: keep samples as they come")


def add_solver_arguments(parser, n_samples=64):
    """How many samples, where, and how to go about files."""
    parser.add_argument("--n-samples", type=int, metavar="N", help=f"posterior samples to draw (default: {n_samples})")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: 0)")
    parser.add_argument("--device", help="auto (default), cpu, cuda, ...")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_workers_argument(parser):
    """Who draws the chains."""
    parser.add_argument("--workers", type=int, metavar="N", help="of annealed_hmc: processes of one thread each")


@contextmanager
def workers(arguments):
    """The executor of ``--workers``, or None."""
    from .._utils.checks import check_integer

    if arguments.workers is None:
        yield None
        return
    check_integer(arguments.workers, "--workers", 1)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    import torch

    context = get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, torch.set_num_threads, (1,)) as executor:
        yield executor


def read_catalog(arguments):
    """The catalogue, as the arguments say."""
    from ..maps.catalog import ShearCatalog

    table = options(arguments, "axes", "columns", "responsivity", "response", "select", "hdu", "encoding")
    return ShearCatalog.read(arguments.catalog, **table)


def open_maps(arguments):
    """The simulated maps of --maps, --kind, --pixel-scale and --z-source."""
    from ..simulation import MapSet

    several_planes = {"redshift": arguments.z_source} if arguments.kind in ("massivenus", "kappatng") else {}
    return MapSet.open(arguments.maps, **options(arguments, "kind", "pixel_scale"), **several_planes)


def read_method(arguments):
    """The method that the arguments ask for; ValueError for options that do not belong to it."""
    from ..methods import resolve
    from ..priors import GaussianPrior, MeanNetwork, ScorePrior

    chosen = options(arguments, "n_samples", "seed", "device", "smoothing", "schedule", "checkpoint")
    spectrum = read_spectrum(arguments)
    if arguments.method in (None, "annealed_hmc"):
        gaussian = arguments.prior == "gaussian"
        chosen["prior"] = GaussianPrior(spectrum) if gaussian else ScorePrior.load(arguments.prior, spectrum)
    elif arguments.method == "posterior_mean":
        if spectrum is not None:
            raise ValueError("--spectrum, --n-z: have no meaning for posterior_mean, whose network knows one spectrum")
        if arguments.prior == "gaussian":
            raise ValueError("--prior: gaussian has no meaning for posterior_mean, which needs a trained network")
        chosen["network"] = MeanNetwork.load(arguments.prior)
    elif arguments.prior != "default":
        raise ValueError(f"--prior: has no meaning for the method {arguments.method!r}")
    elif spectrum is not None:
        chosen["spectrum"] = spectrum
    return resolve(arguments.method, chosen)


def wcs_of(file):
    """The WCS of the first image of a FITS file."""
    from astropy.wcs import WCS

    from .._io.fits_headers import open_fits
    from .._utils.untrusted import parsing

    with parsing(f"--wcs: cannot read {str(file)!r}"), open_fits(file, whole=False, images=False) as hdus:
        image = next((h for h in hdus if h.is_image and h.header["NAXIS"] >= 2), None)
        if image is not None:
            return WCS(image.header)
    raise ValueError(f"--wcs: {str(file)!r} holds no image")


def options(arguments, *names):
    """Those of the arguments that were given."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def record(name, arguments, method, **effective):
    """
    What a command was asked for, such that it can be asked again.

    Parameters
    ----------
    name : str
        Of the command.
    arguments : `argparse.Namespace`
        As they were given.
    method : method object
        Whose options stand in for those that were not given.
    **effective
        What stands in for others.

    Returns
    -------
    dict
        ``name``; ``options``, all of them, in the form that the shell takes; ``line``, the same as one command; and
        ``inputs``, by option the files that were read, with their SHA-256. Paths are those of `without_folders`.
    """
    from .._utils.files import without_folders
    from ..methods import METHODS

    chosen = vars(arguments).copy()
    del chosen["command"]
    effective |= {key: getattr(method, key, None) for key in ("n_samples", "seed", "device", "smoothing", "schedule")}
    if "method" in chosen:
        effective["method"] = next(key for key, kind in METHODS.items() if type(method) is kind)
    chosen = {key: effective.get(key) if value is None else value for key, value in chosen.items()}
    files = [key for key in FILES if chosen.get(key) is not None and (key != "prior" or chosen[key] not in PRIORS)]
    inputs = {key: {"given": without_folders(chosen[key]), "sha256": file_sha256(chosen[key])} for key in files}
    shown = {key: as_text(value) for key, value in chosen.items()}
    paths = [
        key
        for key, value in chosen.items()
        if value is not None and (isinstance(value, Path) or key in (*files, "regions"))
    ]
    shown |= {key: without_folders(chosen[key]) for key in paths}
    line = shlex.join(["massmap", *shell_arguments(name, shown)])
    return {"name": name, "line": line, "options": shown, "inputs": inputs}


def shell_arguments(name, chosen):
    """The name of a command and its options, from their texts by name, as the shell gives them."""
    places = [chosen[key] for key in PLACES if chosen.get(key) is not None]
    named = {f"--{key.replace('_', '-')}": value for key, value in chosen.items() if key not in PLACES}
    given = {option: value for option, value in named.items() if value is not None and value is not False}
    return [name, *places, *(option if value is True else f"{option}={value}" for option, value in given.items())]


def as_text(value):
    """An option that was read, as the shell gives it; flags, None and numbers stay what they are."""
    if isinstance(value, u.Quantity):
        return f"{float(value.value)!r} {value.unit}"
    if isinstance(value, dict):
        return ",".join(f"{key}={column or ''}" for key, column in value.items()) or None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def file_sha256(file):
    """SHA-256 of a regular file; None for anything else, which cannot be read twice."""
    if not Path(file).is_file():
        return None
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_targets(output, picture, *, overwrite):
    """Errors for a map or a picture that could not be written."""
    from .._utils.files import check_target

    check_target(output, overwrite=overwrite)
    if output.suffix.lower() not in (".fits", ".fit", ".gz"):
        raise ValueError(f"--output: needs a name that ends in .fits, got {str(output)!r}")
    if picture is not None:
        check_picture(picture, overwrite=overwrite)


def check_picture(picture, *, overwrite):
    """Errors for a picture that could not be written."""
    from .._utils.files import check_target
    from .._utils.optional import require

    check_target(picture, overwrite=overwrite)
    known = require("matplotlib.figure", "plot").Figure().canvas.get_supported_filetypes()
    if picture.suffix.lower()[1:] not in known:
        raise ValueError(f"--plot: {str(picture)!r} needs to end in one of {', '.join(known)}")


def save_figure(figure, file, *, overwrite):
    """Write a picture, and say so."""
    from .._utils.files import atomic_path
    from .._utils.optional import require

    with atomic_path(file, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=150)
    require("matplotlib.pyplot", "plot").close(figure)
    print(f"wrote {file}")


def columns(text):
    """Pairs such as g1=e1,g2=e2."""
    try:
        pairs = (part.split("=", 1) for part in text.split(",") if part.strip())
        return {key.strip(): name or None for key, name in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs pairs such as g1=e1,g2=e2, got {text!r}") from None


def hdu(text):
    """Number or name of an HDU."""
    return int(text) if text.isdecimal() else text


def angle(text):
    """An angle with its unit."""
    from .._sky.geometry import to_angle

    try:
        return to_angle(u.Quantity(text), "angle")
    except (TypeError, ValueError, u.UnitsError):
        raise argparse.ArgumentTypeError(f"needs an angle such as '0.4 arcmin', got {text!r}") from None


def numbers(text):
    """Numbers with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 1,2,3, got {text!r}") from None


def tell(table, arguments=None):
    """Print a table, and write it if the arguments ask for it."""
    from .._utils.files import atomic_path

    shown = table.copy()
    for name in shown.colnames:
        if getattr(getattr(shown[name], "dtype", None), "kind", "") == "f":
            shown[name].info.format = ".5g"
    print("\n".join(shown.pformat(max_lines=-1, max_width=-1)))
    if arguments is not None and arguments.output is not None:
        kept = table.copy()
        kept.meta = {key: str(value) if isinstance(value, u.Quantity) else value for key, value in table.meta.items()}
        with atomic_path(arguments.output, overwrite=arguments.overwrite) as temporary:
            kept.write(temporary)
        print(f"wrote {arguments.output}")
