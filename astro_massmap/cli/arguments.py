"""Arguments that several commands share, and the functions that read their values."""

from contextlib import contextmanager
from pathlib import Path

from ..maps.axes import AXES
from .own_code import is_own_code, load
from .sources import INFER, add_spectrum_arguments, read_spectrum, read_table_of_spectrum
from .values import angle, columns, hdu, options

PRIORS = "default", "gaussian"  # names of priors, not of files
NETWORKS = "posterior_diffusion", "posterior_mean"  # methods with a network of the posterior
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
