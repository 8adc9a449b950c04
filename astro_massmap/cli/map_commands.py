"""Arguments, reading and writing that the commands of a map have in common."""

from pathlib import Path

from .outputs import check_picture
from .values import angle

Z_SOURCE = "redshift of the sources (default: n(z) in the map, or the reference source of a map with --z-lens)"


def add_command(
    commands, name, function, text, *, regions=False, several=False, source="FITS file of massmap reconstruct"
):
    parser = commands.add_parser(name, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("map", type=Path, metavar="MAP", help=source, nargs="+" if several else None)
    if regions:
        parser.add_argument("regions", type=Path, metavar="REGIONS", help="DS9, FITS, or table of positions and radii")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file of the result (ECSV, FITS, ...)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(command=function)
    return parser


def add_smoothing(parser):
    parser.add_argument(
        "--smoothing", type=angle, metavar="ANGLE", help="Gaussian smoothing of map and samples, such as '1 arcmin'"
    )


def read_map(arguments):
    """Read the map, after checking that the output files can be written."""
    from .._utils.files import check_target
    from ..maps.convergence_map import ConvergenceMap

    if arguments.output is not None:
        check_target(arguments.output, overwrite=arguments.overwrite)
    for picture in (getattr(arguments, name, None) for name in ("plot", "histogram")):
        if picture is not None:
            check_picture(picture, overwrite=arguments.overwrite)
    return ConvergenceMap.read(arguments.map, format="fits")


def needs_output(arguments):
    if arguments.output is None:
        raise ValueError("--output: needs the name of a file to write")


def write_map(kappa, arguments):
    kappa.write(arguments.output, format="fits", overwrite=arguments.overwrite)
    print(f"{kappa!r}\nwrote {arguments.output}")
