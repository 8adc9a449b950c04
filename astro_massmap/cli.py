"""The command ``massmap``: from a catalogue to a map without leaving the shell."""

import argparse
import sys
import warnings
from pathlib import Path

import astropy.units as u

from . import __version__, _cli_prior
from ._axes import AXES


def main(argv=None):
    """
    Run ``massmap`` with the given arguments (those of the shell by default).

    Returns
    -------
    int
        0, or 1 after an error that was told in a line.
    """
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)  # of which AstropyUserWarning is one
        warnings.showwarning = _show_warning
        try:
            arguments.command(arguments)
        except (ValueError, TypeError, OSError, ImportError, u.UnitsError) as error:
            message = str(error).replace("give overwrite=True", "give --overwrite")
            print(f"massmap: error: {message}", file=sys.stderr)
            return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="massmap", description="Maps of dark matter from the shapes of galaxies.")
    parser.add_argument("--version", action="version", version=f"massmap {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="map the field embedded in the package",
        description="Map a mock survey that is embedded in the package, and write the map as FITS and as a picture.",
    )
    demo.add_argument("-o", "--output", type=Path, default=Path("massmap_demo.fits"), help="map (default: %(default)s)")
    _add_solver_arguments(demo, n_samples=16)
    demo.set_defaults(command=_demo)

    reconstruct = commands.add_parser(
        "reconstruct",
        help="map a shear catalogue",
        description="Map a shear catalogue: posterior mean, standard deviation and samples, with sky coordinates.",
    )
    reconstruct.add_argument("catalog", type=Path, metavar="CATALOG", help="table of galaxies: FITS, ECSV, CSV, ...")
    reconstruct.add_argument("-o", "--output", type=Path, required=True, help="FITS file for the map")
    reconstruct.add_argument("--axes", required=True, choices=list(AXES), help="axes along which shear is measured")
    reconstruct.add_argument(
        "--columns", type=_columns, default={}, metavar="g1=e1,g2=e2", help="which column holds what"
    )
    reconstruct.add_argument("--select", metavar="COLUMN", help="use only galaxies for which this column is true")
    reconstruct.add_argument("--pixel-scale", type=_angle, metavar="ANGLE", help="such as '0.4 arcmin' (default)")
    reconstruct.add_argument("--wcs", type=Path, metavar="IMAGE", help="map on the grid of this FITS image")
    reconstruct.add_argument("--exclude", metavar="FILE", help="regions whose galaxies are left out, around stars say")
    reconstruct.add_argument("--spectrum", type=Path, metavar="FILE", help="prior spectrum: table of ell and cl")
    reconstruct.add_argument("--smoothing", type=_angle, metavar="ANGLE", help="of kaiser_squires, such as '1 arcmin'")
    reconstruct.add_argument("--method", help="annealed_hmc (default), wiener or kaiser_squires")
    reconstruct.add_argument(
        "--prior", default="default", metavar="FILE", help="of annealed_hmc: a trained prior, default, or gaussian"
    )
    reconstruct.add_argument("--plot", type=Path, metavar="FILE", help="picture of the map (png, pdf, ...)")
    reconstruct.add_argument("--regions", metavar="FILE", help="drawn on the picture: DS9, FITS, table of positions")
    reconstruct.add_argument("--check-axes", action="store_true", help="ask the data whether the axes are right")
    reconstruct.add_argument("--schedule", help="of annealed_hmc: annealed (default), fast or tempered")
    reconstruct.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="of annealed_hmc: keep samples as they come"
    )
    _add_solver_arguments(reconstruct)
    reconstruct.set_defaults(command=_reconstruct)

    validate = commands.add_parser(
        "validate",
        help="check a sampler against exact answers",
        description="Check samplers on the embedded mock survey.",
    )
    validate.add_argument(
        "--gaussian", action="store_true", required=True, help="noise splitting without a network against exact draws"
    )
    validate.add_argument("--n-check", type=int, default=16, metavar="N", help="chains (default: %(default)s)")
    validate.add_argument("--seed", type=int, default=0, help="of the random numbers (default: %(default)s)")
    validate.set_defaults(command=_validate)
    _cli_prior.add_commands(commands, _angle)
    return parser


def _add_solver_arguments(parser, n_samples=64):
    parser.add_argument("--n-samples", type=int, metavar="N", help=f"posterior samples to draw (default: {n_samples})")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: 0)")
    parser.add_argument("--device", help="auto (default), cpu, cuda, ...")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _demo(arguments):
    from . import datasets

    picture = arguments.output.with_suffix(".png")
    options = _options(arguments, "n_samples", "seed", "device")
    # Made to be run again and again: the demonstration replaces its own files.
    overwrite = arguments.overwrite or arguments.output == Path("massmap_demo.fits")
    _check_targets(arguments.output, picture, overwrite=overwrite)
    kappa = datasets.demo().reconstruct(progress=not arguments.quiet, **({"n_samples": 16} | options))
    _save(kappa, arguments.output, picture, datasets.demo_clusters(), overwrite=overwrite)


def _validate(arguments):
    from . import datasets
    from .methods import AnnealedHMC
    from .priors import GaussianPrior

    method = AnnealedHMC(GaussianPrior(), n_samples=2, seed=arguments.seed, n_check=arguments.n_check)
    check = datasets.demo().reconstruct(method, progress=False).diagnostics["gaussian_check"]
    print(f"{'ell':>8}  power over that of exact draws ({check['n']} each)")
    for ell, ratio, error in zip(check["ell"], check["power_ratio"], check["power_error"], strict=True):
        print(f"{ell:8.0f}  {ratio:.3f} +- {error:.3f}")
    print(f"standard deviation: {check['std_data']:.3f} with data, {check['std_holes']:.3f} without")
    print(f"largest deviation: {check['worst']:.1f} standard errors")
    if check["worst"] > 4:
        raise ValueError("the sampler is off by more than 4 standard errors")


def _reconstruct(arguments):
    from ._regions import as_regions
    from .catalog import ShearCatalog
    from .methods import resolve
    from .priors import GaussianPrior, ScorePrior
    from .spectrum import PowerSpectrum

    # Whatever can be wrong is found before the work begins.
    _check_targets(arguments.output, arguments.plot, overwrite=arguments.overwrite)
    if arguments.output.resolve() == arguments.catalog.resolve():
        raise ValueError("--output: is the catalogue itself")
    regions = None if arguments.regions is None else as_regions(arguments.regions)
    exclude = None if arguments.exclude is None else as_regions(arguments.exclude)
    options = _options(arguments, "n_samples", "seed", "device", "smoothing", "schedule", "checkpoint")
    spectrum = None if arguments.spectrum is None else PowerSpectrum.read(arguments.spectrum)
    if arguments.method in (None, "annealed_hmc"):
        gaussian = arguments.prior == "gaussian"
        options["prior"] = GaussianPrior(spectrum) if gaussian else ScorePrior.load(arguments.prior, spectrum)
    elif arguments.prior != "default":
        raise ValueError(f"--prior: has no meaning for the method {arguments.method!r}")
    elif spectrum is not None:
        options["spectrum"] = spectrum
    method = resolve(arguments.method, options)
    catalog = _catalog(arguments, ShearCatalog)
    if arguments.check_axes:
        catalog.meta["axes_check"] = str(catalog.check_axes())
        print(catalog.meta["axes_check"])
    catalog.meta["catalog"] = arguments.catalog.name
    wcs = None if arguments.wcs is None else _wcs_of(arguments.wcs)
    shear = catalog.to_map(wcs=wcs, pixel_scale=arguments.pixel_scale, mask=exclude)
    print(f"{shear!r} from {shear.meta['n_galaxies']} of {len(catalog)} galaxies")
    kappa = shear.reconstruct(method, progress=not arguments.quiet)
    _save(kappa, arguments.output, arguments.plot, regions, overwrite=arguments.overwrite)


def _wcs_of(file):
    """The WCS of the first image of a FITS file."""
    from astropy.io import fits
    from astropy.wcs import WCS

    with fits.open(file) as hdus:
        image = next((h for h in hdus if h.is_image and h.header["NAXIS"] >= 2), None)
        if image is None:
            raise ValueError(f"--wcs: {str(file)!r} holds no image")
        return WCS(image.header)


def _catalog(arguments, cls):
    from ._columns import read_table

    catalog_options = {"axes": arguments.axes, "columns": arguments.columns}
    if arguments.select is None:
        return cls.read(arguments.catalog, **catalog_options)
    table = read_table(arguments.catalog, "catalog")
    if arguments.select not in table.colnames:
        raise ValueError(f"--select: no column {arguments.select!r} among {table.colnames}")
    return cls.from_table(table[table[arguments.select].astype(bool)], **catalog_options)


def _options(arguments, *names):
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def _check_targets(*files, overwrite):
    from ._files import check_target

    for file in files:
        if file is not None:
            check_target(file, overwrite=overwrite)
    output, picture = files
    if output.suffix.lower() not in (".fits", ".fit", ".gz"):
        raise ValueError(f"--output: needs a name that ends in .fits, got {str(output)!r}")
    if picture is not None:
        from ._optional import require

        known = require("matplotlib.figure", "plot").Figure().canvas.get_supported_filetypes()
        if picture.suffix.lower()[1:] not in known:
            raise ValueError(f"--plot: {str(picture)!r} needs to end in one of {', '.join(known)}")


def _save(kappa, output, picture, regions, *, overwrite):
    kappa.write(output, format="fits", overwrite=overwrite)
    print(f"{kappa!r}\nwrote {output}")
    if picture is not None:
        from matplotlib.figure import Figure

        from ._files import atomic_path

        figure = Figure(figsize=(8, 7), layout="constrained")
        title = f"{kappa.diagnostics['method']}, {kappa.meta['n_galaxies']} galaxies"
        kappa.plot(figure.add_subplot(projection=kappa.wcs), regions=regions, title=title)
        with atomic_path(picture, overwrite=overwrite) as temporary:
            figure.savefig(temporary, dpi=150)
        print(f"wrote {picture}")


def _columns(text):
    try:
        return dict(part.split("=") for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs pairs such as g1=e1,g2=e2, got {text!r}") from None


def _angle(text):
    from ._geometry import to_angle

    try:
        return to_angle(u.Quantity(text), "angle")
    except (TypeError, ValueError, u.UnitsError):
        raise argparse.ArgumentTypeError(f"needs an angle such as '0.4 arcmin', got {text!r}") from None


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"massmap: warning: {message}", file=sys.stderr)
