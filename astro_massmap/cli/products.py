"""The commands that draw a map, report on it, or convert it: ``massmap plot``, ``report``, ``reproject-to`` ..."""

import argparse
from pathlib import Path

from .map_commands import Z_SOURCE, add_command, needs_output, read_map, write_map
from .outputs import add_width_argument, check_picture, print_style, save_figure
from .sources import add_cosmology_argument, add_z_source_argument, cosmology_of, z_source_of
from .values import hdu, kept_columns, numbers, options, wcs_of


def add_commands(commands):
    _add_pictures(commands)
    _add_conversions(commands)


def _add_pictures(commands):
    plot = add_command(commands, "plot", _plot, "picture of the map, its standard deviation or its signal to noise")
    plot.add_argument("--quantity", choices=("map", "std", "signal_to_noise"), help="what is drawn (default: the map)")
    plot.add_argument(
        "--contours", type=numbers, metavar="3,4,5", help="levels of signal to noise at which contours are drawn"
    )
    summary = add_command(
        commands, "plot-summary", _plot_summary, "picture of the map, its standard deviation and its signal to noise"
    )
    samples = add_command(commands, "plot-samples", _plot_samples, "picture of some samples")
    for parser in (plot, summary, samples):
        parser.add_argument("--regions", type=Path, metavar="FILE", help="regions to draw: DS9, FITS, table")
        parser.add_argument("--labels", choices=("text", "numbers"), help="labels of the regions (default: text)")
        add_width_argument(parser)
    report = add_command(
        commands, "report", _report, "a report of one or several maps in one HTML file: figures, clusters, settings",
        several=True, source="FITS files of massmap reconstruct, or the folder of --bins",
    )  # fmt: skip
    report.add_argument("--regions", type=Path, metavar="FILE", help="clusters to measure")
    report.add_argument(
        "--threshold", type=float, default=0.015, help="mean convergence of a detection (default: %(default)s)"
    )
    report.add_argument(
        "--keep-columns", type=kept_columns, metavar="A,B", help="columns of the regions to show, or all"
    )
    report.add_argument("--title", help="title of the report (default: from the object or the centre)")
    report.add_argument("--object", metavar="NAME", help="name of the object (default: that of the map)")


def _plot(arguments):
    from ..plotting.panels import bin_title  # loads regions

    chosen = options(arguments, "quantity", "contours")
    _draw(arguments, lambda kappa, **regions: kappa.plot(title=bin_title(kappa), **chosen, **regions).figure)


def _plot_summary(arguments):
    _draw(arguments, lambda kappa, **regions: kappa.plot_summary(**regions))


def _plot_samples(arguments):
    _draw(arguments, lambda kappa, **regions: kappa.plot_samples(**regions))


def _draw(arguments, picture):
    needs_output(arguments)
    check_picture(arguments.output, overwrite=arguments.overwrite, name="--output")
    kappa = read_map(arguments)
    with print_style(arguments.width):
        figure = picture(kappa, **options(arguments, "regions", "labels"))
        save_figure(figure, arguments.output, overwrite=arguments.overwrite)


def _report(arguments):
    from .._utils.files import check_target
    from ..plotting.report import write_report  # loads regions

    needs_output(arguments)
    check_target(arguments.output, overwrite=arguments.overwrite)
    names = ("regions", "threshold", "keep_columns", "overwrite", "title", "object")
    write_report(arguments.output, _maps(arguments.map), **options(arguments, *names))
    print(f"wrote {arguments.output}")


def _maps(paths):
    """Yield names and maps of files and folders; tomographic bins of a folder have no name."""
    from ..maps.convergence_map import ConvergenceMap

    for path in paths:
        files = sorted(path.glob("*.fits"), key=lambda file: (len(file.name), file.name)) if path.is_dir() else [path]
        if not files:
            raise ValueError(f"MAP: needs a folder with FITS files, got {str(path)!r}, which has none")
        for file in files:
            kappa = ConvergenceMap.read(file, format="fits")
            yield None if path.is_dir() and "bin" in kappa.meta else file.name, kappa


def _add_conversions(commands):
    move = add_command(
        commands, "reproject-to", _reproject_to, "reproject the map and its samples to the grid of an image"
    )
    healpix = add_command(
        commands, "from-healpix", _from_healpix, "reproject a HEALPix map of the convergence to the grid of an image",
        source="FITS file of a HEALPix map",
    )  # fmt: skip
    for parser in (move, healpix):
        parser.add_argument("--wcs", type=Path, required=True, metavar="IMAGE", help="FITS image that defines the grid")
    healpix.add_argument("--field", type=hdu, metavar="N", help="column of the map: a name, or a number from 0")
    healpix.add_argument("--frame", metavar="NAME", help="icrs, galactic, ... (default: as in the header)")
    healpix.add_argument(
        "--nested", action=argparse.BooleanOptionalAction, help="order of the pixels (default: as in the header)"
    )

    density = add_command(commands, "surface-density", _surface_density, "convert the map to Msun / kpc2, as FITS")
    density.add_argument(
        "--z-lens", type=float, metavar="Z", help="redshift of the lens (default: that of massmap reconstruct --z-lens)"
    )
    add_z_source_argument(density, Z_SOURCE)
    add_cosmology_argument(density, "for distances (default: that of astropy)")


def _surface_density(arguments):
    needs_output(arguments)
    sources, cosmology = z_source_of(arguments), cosmology_of(arguments)
    write_map(read_map(arguments).surface_density(arguments.z_lens, sources, cosmology), arguments)


def _reproject_to(arguments):
    needs_output(arguments)
    write_map(read_map(arguments).reproject_to(wcs_of(arguments.wcs)), arguments)


def _from_healpix(arguments):
    from .._utils.files import check_target
    from ..maps.convergence_map import ConvergenceMap

    needs_output(arguments)
    check_target(arguments.output, overwrite=arguments.overwrite)
    sphere = options(arguments, "field", "frame", "nested")
    write_map(ConvergenceMap.from_healpix(arguments.map, wcs=wcs_of(arguments.wcs), **sphere), arguments)
