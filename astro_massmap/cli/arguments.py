"""Arguments that several commands share, and the functions that read their values."""

import argparse
import hashlib
import shlex
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import astropy.units as u

from ..maps.axes import AXES
from .own_code import file_of, is_own_code, load
from .sources import INFER, add_spectrum_arguments, read_spectrum, read_table_of_spectrum

PLACES = "catalog", "map"  # positional arguments
FILES = (*PLACES, "exclude", "wcs", "spectrum", "n_z", "prior")  # files that commands read to make a map
PRIORS = "default", "gaussian"  # names of priors, not of files
NETWORKS = "posterior_diffusion", "posterior_mean"  # methods with a network of the posterior
CODE = "prior", "method"  # options that may be code of the user
AXES_HELP = (
    f"axes of shear, x and y: {', '.join(list(AXES)[:4])}, or the same rotated by 180 degrees, such as south-west"
)


def add_galaxy_arguments(parser, *, required=True):
    """Add the catalogue and the options to read it."""
    many = {} if required else {"nargs": "?"}
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="table of galaxies: FITS, ECSV, CSV, ...", **many)
    parser.add_argument("--axes", required=required, choices=list(AXES), metavar="AXES", help=AXES_HELP)
    parser.add_argument(
        "--columns",
        type=columns,
        default={},
        metavar="g1=e1,g2=e2",
        help="names of columns; 'redshift=' for no redshifts",
    )
    parser.add_argument(
        "--responsivity", type=float, metavar="R", help="responsivity of distortions, such as 1 - e_rms^2: g = e / 2R"
    )
    parser.add_argument("--response", type=float, metavar="R", help="mean response of the ellipticities: g = e / R")
    parser.add_argument(
        "--select", metavar="CONDITION", help="galaxies to use: a flag, or a condition such as 'z > 0.6 & mag < 24'"
    )
    parser.add_argument("--hdu", type=hdu, metavar="HDU", help="number or name of the table in a FITS file")
    parser.add_argument("--encoding", metavar="NAME", help="encoding of a text file (default: UTF-8, or else latin-1)")


def add_catalog_arguments(parser):
    """Add the catalogue, the options to read it, and its grid."""
    add_galaxy_arguments(parser)
    parser.add_argument("--pixel-scale", type=angle, metavar="ANGLE", help="side of a pixel (default: by density)")
    parser.add_argument("--wcs", type=Path, metavar="IMAGE", help="FITS image whose grid the map uses")


def add_exclude_argument(parser):
    parser.add_argument("--exclude", metavar="FILE", help="regions whose galaxies are excluded, such as stars")


def add_method_arguments(parser):
    parser.add_argument(
        "--method",
        help="annealed_hmc (default), posterior_diffusion, posterior_mean, wiener, sparse, kaiser_squires, or "
        "FILE.py:NAME, a function of the observation in your own code",
    )
    parser.add_argument(
        "--prior",
        default="default",
        metavar="FILE",
        help="for annealed_hmc: file of a trained prior, default, gaussian, or FILE.py:NAME, a ScoreFunction in your "
        "own code; for posterior_diffusion and posterior_mean: file of a network",
    )
    parser.add_argument(
        "--field",
        choices=["random", "targeted"],
        help="fields of the default prior or network: random (default), or targeted, chosen for a cluster",
    )
    add_spectrum_arguments(parser)
    parser.add_argument(
        "--smoothing",
        type=angle,
        metavar="ANGLE",
        help="for kaiser_squires: standard deviation of the Gaussian, such as '1 arcmin'",
    )
    parser.add_argument("--n-sigma", type=float, metavar="K", help="for sparse: threshold in standard deviations")
    parser.add_argument(
        "--gaussian", choices=("on", "off"), help="for sparse: with a Gaussian component (default: on) or alone"
    )
    parser.add_argument("--n-noise", type=int, metavar="N", help="for sparse: number of noise realisations")
    parser.add_argument(
        "--inpaint",
        type=int,
        metavar="N",
        help="for kaiser_squires: iterations of the inpainting of pixels without galaxies (KS+), such as 100",
    )
    parser.add_argument("--schedule", help="for annealed_hmc: annealed (default), fast or tempered")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="of a method with samples: FITS file of finished samples; the same command continues from it",
    )


def add_solver_arguments(parser, n_samples=64):
    """Add the number of samples, the seed, the device, and the options of output."""
    parser.add_argument(
        "--n-samples", type=int, metavar="N", help=f"number of posterior samples (default: {n_samples})"
    )
    parser.add_argument("--seed", type=int, help="seed of the random numbers (default: 0)")
    parser.add_argument("--device", help="auto (default), cpu, cuda, ...")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_workers_argument(parser):
    parser.add_argument("--workers", type=int, metavar="N", help="of a method with samples: number of processes")


@contextmanager
def workers(arguments):
    """Yield the executor of ``--workers``, or None."""
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


def read_catalog(arguments, **columns):
    from ..maps.catalog import ShearCatalog

    table = options(arguments, "axes", "columns", "responsivity", "response", "select", "hdu", "encoding")
    return ShearCatalog.read(arguments.catalog, **table | {"columns": table["columns"] | columns})


def open_maps(arguments):
    """Open the simulated maps of --maps, --kind, --pixel-scale and --z-source."""
    from ..simulation import MapSet

    several_planes = {"redshift": arguments.z_source} if arguments.kind in ("massivenus", "kappatng") else {}
    return MapSet.open(arguments.maps, **options(arguments, "kind", "pixel_scale"), **several_planes)


def read_method(arguments, redshift=None, *, spectrum=True):
    """
    Return the method; ValueError for options that it does not have.

    Its spectrum is that of the options, or of sources at ``redshift``; without ``spectrum`` only that of a file.
    """
    from ..methods import InferredSpectrum, resolve
    from ..priors import GaussianPrior, PosteriorNetwork, ScorePrior

    names = "n_samples", "seed", "device", "smoothing", "inpaint", "schedule", "checkpoint", "n_sigma", "n_noise"
    chosen = options(arguments, *names)
    if arguments.gaussian is not None:
        chosen["gaussian"] = arguments.gaussian == "on"
    spectrum = read_spectrum(arguments, redshift) if spectrum else read_table_of_spectrum(arguments)
    field, inferred = arguments.field, arguments.spectrum == INFER
    if inferred and arguments.method != "wiener":
        raise ValueError(f"--spectrum: {INFER!r} needs --method wiener; give the table that it infers to other methods")
    sampled, network = arguments.method in (None, "annealed_hmc"), arguments.method in NETWORKS
    if field == "targeted" and (arguments.prior in PRIORS[1:] or not (sampled or network)):
        raise ValueError("--field: a choice of the default prior; omit --prior and --method")
    if arguments.method is not None and is_own_code(arguments.method):
        if arguments.prior != "default" or spectrum is not None:
            raise ValueError(f"--prior, --spectrum, --n-z: not used by the method {arguments.method!r}")
        return resolve(load(arguments.method, "--method"), chosen)
    if sampled:
        if is_own_code(arguments.prior):
            if spectrum is not None:
                raise ValueError(f"--spectrum, --n-z: not used by the prior {arguments.prior!r}, which has its own")
            chosen["prior"] = load(arguments.prior, "--prior")
        elif arguments.prior == "gaussian":
            chosen["prior"] = GaussianPrior(spectrum)
        elif arguments.prior != "default" or field == "targeted" or spectrum is not None:  # else from n(z) of the data
            chosen["prior"] = ScorePrior.load(arguments.prior, spectrum, field=field or "random")
    elif network:
        if arguments.prior == "gaussian":
            raise ValueError(f"--prior: {arguments.method} needs the file of a trained network, got 'gaussian'")
        chosen["network"] = PosteriorNetwork.load(arguments.prior, spectrum, field=field)
    elif arguments.prior != "default":
        raise ValueError(f"--prior: not used by the method {arguments.method!r}")
    elif spectrum is not None or inferred:
        chosen["spectrum"] = InferredSpectrum(spectrum) if inferred else spectrum
    return resolve(arguments.method, chosen)


def wcs_of(file):
    """Read the WCS of the first image of a FITS file."""
    from astropy.wcs import WCS

    from .._io.fits_headers import open_fits
    from .._utils.untrusted import parsing

    with parsing(f"--wcs: cannot read {str(file)!r}"), open_fits(file, whole=False, images=False) as hdus:
        image = next((h for h in hdus if h.is_image and h.header["NAXIS"] >= 2), None)
        if image is not None:
            return WCS(image.header)
    raise ValueError(f"--wcs: {str(file)!r} contains no image")


def options(arguments, *names):
    """Return the arguments of these names that are not None."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def record(name, arguments, method, **effective):
    """
    Return the record of a command from which ``massmap repeat`` runs it again.

    Arguments that are None are replaced by settings of ``method`` and by ``effective``. The record contains ``name``;
    ``options``, all of them in the syntax of the shell; ``line``, the same as one command; and ``inputs``, the files
    that were read by option, with their SHA-256. Paths are those of `without_folders`.
    """
    from .._utils.files import without_folders
    from ..methods import METHODS

    chosen = vars(arguments).copy()
    del chosen["command"]
    names = "n_samples", "seed", "device", "smoothing", "inpaint", "schedule", "n_sigma", "n_noise"
    effective |= {key: getattr(method, key, None) for key in names}
    effective["gaussian"] = {True: "on", False: "off"}.get(getattr(method, "gaussian", None))
    if "method" in chosen:
        effective["method"] = next((key for key, kind in METHODS.items() if type(method) is kind), None)
    chosen = {key: effective.get(key) if value is None else value for key, value in chosen.items()}
    files = [key for key in FILES if chosen.get(key) is not None and not is_name(key, chosen[key])]
    codes = [key for key in CODE if key in chosen and is_own_code(chosen[key])]
    files += [key for key in codes if key not in files]
    read = {key: (file_of(chosen[key]) if key in codes else chosen[key]) for key in files}
    inputs = {
        key: {"given": without_folders(chosen[key]), "sha256": None if file is None else file_sha256(file)}
        for key, file in read.items()
    }
    shown = {key: as_text(value) for key, value in chosen.items()}
    paths = [
        key
        for key, value in chosen.items()
        if value is not None and (isinstance(value, Path) or key in (*files, "regions"))
    ]
    shown |= {key: without_folders(chosen[key]) for key in paths}
    line = shlex.join(["massmap", *shell_arguments(name, shown)])
    return {"name": name, "line": line, "options": shown, "inputs": inputs}


def is_name(key, value):
    """Return whether the value of an option for files is the name of a prior, or an inferred spectrum."""
    return (key == "prior" and value in PRIORS) or (key == "spectrum" and value == INFER)


def shell_arguments(name, chosen):
    """Return the command line as a list, from the texts of the options by name."""
    places = [chosen[key] for key in PLACES if chosen.get(key) is not None]
    named = {f"--{key.replace('_', '-')}": value for key, value in chosen.items() if key not in PLACES}
    given = {option: value for option, value in named.items() if value is not None and value is not False}
    return [name, *places, *(option if value is True else f"{option}={value}" for option, value in given.items())]


def as_text(value):
    """Return a parsed option in the syntax of the shell; flags, None and numbers are unchanged."""
    if isinstance(value, u.Quantity):
        return f"{float(value.value)!r} {value.unit}"
    if isinstance(value, dict):
        return ",".join(f"{key}={column or ''}" for key, column in value.items()) or None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def file_sha256(file):
    """Return the SHA-256 of a regular file; None for anything else (a pipe cannot be read twice)."""
    if not Path(file).is_file():
        return None
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_targets(output, picture, *, overwrite):
    """Raise an error if a map or a picture cannot be written."""
    from .._utils.files import check_target

    check_target(output, overwrite=overwrite)
    if output.suffix.lower() not in (".fits", ".fit", ".gz"):
        raise ValueError(f"--output: needs a name that ends in .fits, got {str(output)!r}")
    if picture is not None:
        check_picture(picture, overwrite=overwrite)


def check_picture(picture, *, overwrite):
    from .._utils.files import check_target
    from .._utils.optional import require

    check_target(picture, overwrite=overwrite)
    known = require("matplotlib.figure", "plot").Figure().canvas.get_supported_filetypes()
    if picture.suffix.lower()[1:] not in known:
        raise ValueError(f"--plot: needs one of the extensions {', '.join(known)}, got {str(picture)!r}")


def add_width_argument(parser):
    parser.add_argument(
        "--width", choices=("column", "page"), help="width of the picture in print: that of a column or a page"
    )


def print_style(width):
    """Return the context of a figure with a ``width`` of `plotting.style`, or for the screen."""
    from ..plotting.style import style  # loads regions

    return nullcontext() if width is None else style(width)


def save_figure(figure, file, *, overwrite):
    """Write a figure, with TrueType fonts in PDF and EPS files, and print the name of the file."""
    from .._utils.files import atomic_path
    from .._utils.optional import require
    from ..plotting.style import print_width  # loads regions

    fonts = {"pdf.fonttype": 42, "ps.fonttype": 42}
    with atomic_path(file, overwrite=overwrite) as temporary, require("matplotlib", "plot").rc_context(fonts):
        figure.savefig(temporary, dpi=150 if print_width() is None else 300)
    require("matplotlib.pyplot", "plot").close(figure)
    print(f"wrote {file}")


def columns(text):
    try:
        pairs = (part.split("=", 1) for part in text.split(",") if part.strip())
        return {key.strip(): name or None for key, name in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs pairs such as g1=e1,g2=e2, got {text!r}") from None


def hdu(text):
    return int(text) if text.isdecimal() else text


def angle(text):
    from .._sky.geometry import to_angle

    try:
        return to_angle(u.Quantity(text), "angle")
    except (TypeError, ValueError, u.UnitsError):
        raise argparse.ArgumentTypeError(f"needs an angle such as '0.4 arcmin', got {text!r}") from None


def numbers(text):
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 1,2,3, got {text!r}") from None


def table_file(text):
    """Return the path of a table, or raise the error of argparse if no table format has its extension."""
    from astropy.io import registry
    from astropy.table import QTable

    if not registry.identify_format("write", QTable, text, None, [text], {}):
        raise argparse.ArgumentTypeError(f"{text!r} needs the extension of a table format, such as .ecsv or .fits")
    return Path(text)


def show_table(table, arguments=None):
    """
    Print a table, and write it if ``arguments.output`` is given.

    In a terminal the middle columns that do not fit its width are left out, and listed below.
    """
    from .._utils.files import atomic_path

    lines = table.pformat(max_lines=-1, max_width=None if sys.stdout.isatty() else -1)
    print("\n".join(lines))
    if "..." in (header := lines[0].split()):
        hidden = ", ".join(name for name in table.colnames if name not in header)
        print(f"columns not shown: {hidden}; -o FILE writes all columns")
    if arguments is not None and arguments.output is not None:
        kept, is_csv = table.copy(), arguments.output.suffix.lower() == ".csv"
        kept.remove_columns([name for name in kept.colnames if is_csv and kept[name].ndim > 1])
        kept.meta = {key: str(value) if isinstance(value, u.Quantity) else value for key, value in table.meta.items()}
        with atomic_path(arguments.output, overwrite=arguments.overwrite) as temporary:
            kept.write(temporary)
        print(f"wrote {arguments.output}")
