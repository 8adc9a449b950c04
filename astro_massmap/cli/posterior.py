"""The commands on the posterior of a map: ``credible-intervals``, ``structure-test``, ``peak-offset``, ...."""

from pathlib import Path

from .map_commands import add_command, add_smoothing, read_map
from .outputs import save_figure, show_table
from .sources import add_cosmology_argument, cosmology_of
from .values import angle, kept_columns, numbers, options


def add_commands(commands):
    intervals = add_command(
        commands, "credible-intervals", _credible_intervals, "credible intervals of the means of super-pixels"
    )
    intervals.add_argument("--joint", action="store_true", help="intervals that together have the level")
    intervals.add_argument("--plot", type=Path, metavar="FILE", help="picture of the widths of the intervals")

    test = add_command(
        commands,
        "structure-test",
        _structure_test,
        "test whether the posterior contains the map without a structure, or another map",
        regions=True,
    )
    test.add_argument("--other", metavar="MAP", help="map on the same grid, or a number (default: without structure)")
    test.add_argument("--select", metavar="CONDITION", help="rows of a table of regions, such as 'z < 0.5 & snr > 5'")
    test.add_argument("--keep-columns", type=kept_columns, metavar="A,B", help="columns of the regions to keep, or all")
    add_cosmology_argument(test, "for distances (default: that of astropy)")
    for parser in (intervals, test):
        parser.add_argument("--size", type=angle, required=True, metavar="ANGLE", help="side of a super-pixel")

    offset = add_command(commands, "peak-offset", _peak_offset, "position of a peak relative to a galaxy or the gas")
    offset.add_argument("--center", type=numbers, required=True, metavar="RA,DEC", help="position of the search")
    offset.add_argument("--reference", type=numbers, required=True, metavar="RA,DEC", help="position in degrees")
    offset.add_argument("--radius", type=angle, metavar="ANGLE", help="radius of the search (default: 1 arcmin)")
    add_smoothing(offset)
    offset.add_argument("--farther", type=angle, metavar="ANGLE", help="print the probability of a larger offset")
    offset.add_argument("--contours", type=Path, metavar="FILE", help="credible region as a file for DS9")
    offset.add_argument("--plot", type=Path, metavar="FILE", help="picture of the map with the credible region")
    for parser, level in ((intervals, "0.95"), (offset, "0.68")):
        parser.add_argument("--level", type=float, help=f"probability of the interval or region (default: {level})")

    inferred = add_command(
        commands,
        "spectrum-posterior",
        _spectrum_posterior,
        "posterior of the power spectrum",
        source="FITS file of massmap reconstruct --method wiener --spectrum infer",
    )
    inferred.add_argument(
        "--spectrum", type=Path, metavar="FILE", help="write the median as a table of ell and cl, for other commands"
    )


def _credible_intervals(arguments):
    found = read_map(arguments).credible_intervals(arguments.size, **options(arguments, "level", "joint"))
    show_table(found.to_table(), arguments)
    print(found)
    if arguments.plot is not None:
        figure = found.width.plot(label="width of the interval").figure
        save_figure(figure, arguments.plot, overwrite=arguments.overwrite)


def _structure_test(arguments):
    from ..maps.convergence_map import ConvergenceMap

    kappa, chosen = read_map(arguments), options(arguments, "select", "keep_columns")
    if arguments.other is not None:
        try:
            chosen["other"] = float(arguments.other)
        except ValueError:
            chosen["other"] = ConvergenceMap.read(arguments.other, format="fits")
    cosmology = cosmology_of(arguments)
    show_table(kappa.structure_test(arguments.regions, arguments.size, cosmology=cosmology, **chosen), arguments)


def _peak_offset(arguments):
    from .._utils.files import atomic_path, check_target

    if arguments.contours is not None:
        check_target(arguments.contours, overwrite=arguments.overwrite)
    center, reference = (_position(getattr(arguments, name), name) for name in ("center", "reference"))
    kappa = read_map(arguments)
    offset = kappa.peak_offset(center, reference, **options(arguments, "radius", "smoothing"))
    level = options(arguments, "level")
    show_table(offset.summary(**level), arguments)
    print(offset)
    if arguments.farther is not None:
        p = offset.probability_farther(arguments.farther)
        print(f"farther than {arguments.farther:g}: probability {p:.3f} ({p.lower:.3f} to {p.upper:.3f})")
    contours = offset.credible_region(**level).contours
    if arguments.contours is not None:
        with atomic_path(arguments.contours, overwrite=arguments.overwrite) as temporary:
            contours.write(temporary, format="ds9")
        print(f"wrote {arguments.contours}")
    if arguments.plot is not None:
        save_figure(kappa.plot(regions=contours).figure, arguments.plot, overwrite=arguments.overwrite)


def _position(values, name):
    from astropy.coordinates import SkyCoord

    if len(values) != 2:
        raise ValueError(f"{name}: needs two numbers RA,DEC in degrees, got {values}")
    return SkyCoord(*values, unit="deg")


def _spectrum_posterior(arguments):
    from .._utils.files import atomic_path, check_target

    if arguments.spectrum is not None:
        check_target(arguments.spectrum, overwrite=arguments.overwrite)
    found = read_map(arguments).spectrum_posterior
    if found is None:
        raise ValueError("MAP: has no inferred spectrum; make it with --method wiener --spectrum infer")
    show_table(found.to_table(), arguments)
    if arguments.spectrum is not None:
        with atomic_path(arguments.spectrum, overwrite=arguments.overwrite) as temporary:
            found.spectrum().to_table().write(temporary)
        print(f"wrote {arguments.spectrum}")
