"""The commands that test a survey, such as ``massmap null-test``, ``inject-halo`` and ``completeness``."""

from pathlib import Path

from .arguments import (
    add_catalog_arguments,
    add_exclude_argument,
    add_galaxy_arguments,
    add_method_arguments,
    add_solver_arguments,
    read_catalog,
    read_method,
)
from .outputs import check_picture, save_figure, show_table
from .sources import add_z_source_argument, z_source_of
from .values import angle, numbers, options, table_file, wcs_of


def add_commands(commands):
    _add_null_test(commands)
    _add_property_test(commands)
    _add_inject(commands)
    _add_completeness(commands)
    _add_calibration(commands)


def _add_null_test(commands):
    null = commands.add_parser(
        "null-test",
        description="Compare the power of the E and B modes with that of maps of randomly rotated galaxies.",
    )
    add_catalog_arguments(null)
    null.add_argument(
        "--rotations",
        type=int,
        default=128,
        metavar="N",
        help="number of maps of rotated galaxies; a B mode is detected with 99 or more (default: %(default)s)",
    )
    add_exclude_argument(null)
    null.add_argument("--seed", type=int, default=0, help="seed of the rotations (default: %(default)s)")
    null.add_argument("--plot", type=Path, metavar="FILE", help="picture of both modes")
    null.add_argument("--noise", type=Path, metavar="FILE", help="file for the maps of rotated galaxies (FITS)")
    null.add_argument("--jackknife", type=Path, metavar="FILE", help="file for the maps of subsets of galaxies (FITS)")
    null.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    null.set_defaults(command=_null_test)


def _add_property_test(commands):
    test = commands.add_parser(
        "property-test",
        description="Test whether the shear depends on a property of the survey, such as the depth or the PSF.",
    )
    add_galaxy_arguments(test)
    test.add_argument(
        "--property", required=True, metavar="COLUMN|FILE", help="column of the catalogue, or file of a HEALPix map"
    )
    test.add_argument("--field", metavar="NAME", help="column of the HEALPix map (default: the first)")
    test.add_argument("-o", "--output", type=table_file, help="file of the table of quantiles of the property")
    test.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    test.set_defaults(command=_property_test)


def _add_inject(commands):
    inject = commands.add_parser(
        "inject-halo",
        description="Add the shear of an NFW halo to the galaxies of a catalogue, and write the new catalogue.",
    )
    add_catalog_arguments(inject)
    inject.add_argument("-o", "--output", type=Path, required=True, help="catalogue to write")
    inject.add_argument(
        "--position", type=numbers, required=True, metavar="RA,DEC", help="position of the halo in degrees"
    )
    inject.add_argument("--mass", type=float, required=True, help="M200c in Msun")
    inject.add_argument("--redshift", type=float, required=True, help="redshift of the halo")
    add_z_source_argument(inject, "redshift of all galaxies (default: their own redshifts)")
    inject.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    inject.set_defaults(command=_inject)


def _add_completeness(commands):
    complete = commands.add_parser(
        "completeness",
        description="Inject halos of several masses into the catalogue, map it each time, and count detections.",
    )
    add_catalog_arguments(complete)
    complete.add_argument("-o", "--output", type=table_file, help="file of the table")
    complete.add_argument("--plot", type=Path, metavar="FILE", help="picture of the curve")
    complete.add_argument("--masses", type=numbers, required=True, metavar="1e14,3e14", help="M200c in Msun")
    complete.add_argument("--redshift", type=float, required=True, help="redshift of the halos")
    add_z_source_argument(complete, "redshift of all galaxies (default: their own redshifts)", source_bin=False)
    complete.add_argument("--threshold", type=float, required=True, help="mean convergence of a structure")
    complete.add_argument("--radius", type=angle, required=True, metavar="ANGLE", help="radius of the apertures")
    complete.add_argument("--probability", type=float, default=0.5, help="probability of a detection (default: 0.5)")
    complete.add_argument(
        "--places", type=int, default=12, metavar="N", help="positions of halos in a map (default: 12)"
    )
    add_method_arguments(complete)
    add_solver_arguments(complete)
    complete.set_defaults(command=_completeness)


def _add_calibration(commands):
    calibration = commands.add_parser(
        "calibration",
        description="Coverage of credible intervals, ranks and TARP of maps, corrected for the number of samples.",
    )
    calibration.add_argument("maps", type=Path, nargs="+", metavar="MAP", help="FITS files of massmap reconstruct")
    calibration.add_argument(
        "--truths", type=Path, nargs="+", required=True, metavar="TRUTH", help="true maps, in order"
    )
    calibration.add_argument("--seed", type=int, default=0, help="seed of the reference points (default: %(default)s)")
    calibration.add_argument("--plot", type=Path, metavar="FILE", help="picture of all three")
    calibration.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    calibration.set_defaults(command=_calibration)


def _grid(arguments):
    return {
        "wcs": None if arguments.wcs is None else wcs_of(arguments.wcs),
        "pixel_scale": arguments.pixel_scale,
    }


def _null_test(arguments):
    from .._utils.files import check_target
    from ..plotting import plot_b_modes
    from ..validation.null_tests import b_mode_test, jackknife, noise_maps

    wanted = {noise_maps: arguments.noise, jackknife: arguments.jackknife}
    for file in filter(None, wanted.values()):
        check_target(file, overwrite=arguments.overwrite)
    if arguments.plot is not None:
        check_picture(arguments.plot, overwrite=arguments.overwrite)
    catalog = read_catalog(arguments)
    options = {"seed": arguments.seed, "mask": arguments.exclude, **_grid(arguments)}
    report = b_mode_test(catalog, arguments.rotations, **options)
    print(report)
    if arguments.plot is not None:
        save_figure(plot_b_modes(report.table), arguments.plot, overwrite=arguments.overwrite)
    for make, file in wanted.items():
        if file is not None:
            make(catalog, arguments.rotations, **options).write(file, format="fits", overwrite=arguments.overwrite)
            print(f"wrote {file}")


def _property_test(arguments):
    from .._io.columns import read_table
    from .._utils.files import check_target
    from ..validation.survey_properties import property_test

    if arguments.output is not None:
        check_target(arguments.output, overwrite=arguments.overwrite)
    catalog, values = read_catalog(arguments), arguments.property
    if not Path(values).exists():
        found = options(arguments, "hdu", "encoding") | {"galaxies": arguments.columns}  # as for the catalogue
        table = read_table(arguments.catalog, "file", **found)
        if values not in table.colnames:
            raise ValueError(f"--property: {values!r} is neither a file nor a column, which are {table.colnames}")
        values = table[values]
    report = property_test(catalog, values, **options(arguments, "field"))
    print(report)
    show_table(report.table, arguments)


def _inject(arguments):
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    from .._utils.files import check_target
    from ..simulation import NFWHalo, inject_halo

    check_target(arguments.output, overwrite=arguments.overwrite)
    if len(arguments.position) != 2:
        raise ValueError(f"--position: needs two numbers RA,DEC in degrees, got {arguments.position}")
    halo = NFWHalo(arguments.mass * u.Msun, arguments.redshift)
    center = SkyCoord(*arguments.position, unit="deg")
    injected = inject_halo(read_catalog(arguments), halo, center, z_source=z_source_of(arguments))
    injected.write(arguments.output, overwrite=arguments.overwrite)
    print(f"{injected!r}\nwrote {arguments.output}")


def _completeness(arguments):
    import astropy.units as u

    from .._utils.files import check_target
    from ..plotting import plot_completeness
    from ..validation.completeness import completeness, random_centers

    if arguments.output is not None:
        check_target(arguments.output, overwrite=arguments.overwrite)
    if arguments.plot is not None:
        check_picture(arguments.plot, overwrite=arguments.overwrite)
    method, catalog, grid = read_method(arguments), read_catalog(arguments), _grid(arguments)
    shear = catalog.to_map(**grid)
    centers = random_centers(shear.mask, shear.wcs, arguments.places, 4 * arguments.radius, seed=arguments.seed or 0)
    table = completeness(
        catalog,
        arguments.masses * u.Msun,
        arguments.redshift,
        centers,
        method=method,
        threshold=arguments.threshold,
        radius=arguments.radius,
        z_source=z_source_of(arguments),
        probability=arguments.probability,
        progress=not arguments.quiet,
        **grid,
    )
    show_table(table, arguments)
    if arguments.plot is not None:
        save_figure(plot_completeness(table), arguments.plot, overwrite=arguments.overwrite)


def _calibration(arguments):
    from ..maps.convergence_map import ConvergenceMap
    from ..plotting import plot_calibration
    from ..validation.diagnostics import coverage, rank_histogram, tarp

    if len(arguments.maps) != len(arguments.truths):
        raise ValueError(
            f"--truths: needs one file for each map, got {len(arguments.truths)} for {len(arguments.maps)} maps"
        )
    if arguments.plot is not None:
        check_picture(arguments.plot, overwrite=arguments.overwrite)
    samples, truths = (
        [ConvergenceMap.read(file, format="fits") for file in files] for files in (arguments.maps, arguments.truths)
    )
    fractions = coverage(samples, truths)
    histogram = rank_histogram(samples, truths, seed=arguments.seed)
    show_table(fractions)
    print()
    show_table(histogram)
    print(f"ranks: chi2 = {histogram.meta['chi2']:.1f}, p = {histogram.meta['p_value']:.3f}\n")
    tarp_table = None
    if len(truths) < 3:
        print("TARP needs at least three maps")
    else:
        tarp_table = tarp(samples, truths, seed=arguments.seed)
        show_table(tarp_table)
    if arguments.plot is not None:
        save_figure(plot_calibration(fractions, histogram, tarp_table), arguments.plot, overwrite=arguments.overwrite)
