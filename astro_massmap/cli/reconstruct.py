"""The commands that make maps: ``massmap demo``, ``reconstruct`` and ``denoise``."""

from pathlib import Path

from .._utils.optional import require
from .arguments import (
    add_catalog_arguments,
    add_exclude_argument,
    add_method_arguments,
    add_solver_arguments,
    add_workers_argument,
    check_targets,
    options,
    read_catalog,
    read_method,
    record,
    save_figure,
    wcs_of,
    workers,
)


def add_commands(commands):
    demo = commands.add_parser(
        "demo",
        description="Map the mock survey of the package, and write the map as FITS and as a picture.",
    )
    demo.add_argument("-o", "--output", type=Path, default=Path("massmap_demo.fits"), help="map (default: %(default)s)")
    add_solver_arguments(demo, n_samples=16)
    add_workers_argument(demo)
    demo.set_defaults(command=_demo)

    reconstruct = commands.add_parser(
        "reconstruct",
        description="Reconstruct the convergence of a shear catalogue: posterior mean, standard deviation and samples.",
    )
    add_catalog_arguments(reconstruct)
    reconstruct.add_argument("-o", "--output", type=Path, required=True, help="FITS file for the map")
    add_exclude_argument(reconstruct)
    reconstruct.add_argument("--check-axes", action="store_true", help="test the axes of shear with the data")
    add_method_arguments(reconstruct)
    _add_picture_arguments(reconstruct)
    add_solver_arguments(reconstruct)
    add_workers_argument(reconstruct)
    reconstruct.set_defaults(command=_reconstruct)

    denoise = commands.add_parser(
        "denoise",
        description="Reconstruct the convergence from a noisy convergence map with uncertainty and mask: a FITS file "
        "of ConvergenceMap(kappa, wcs=..., uncertainty=..., mask=...).write(). Its noise must be independent between "
        "pixels.",
    )
    denoise.add_argument("map", type=Path, metavar="MAP", help="FITS file of a noisy map")
    denoise.add_argument("-o", "--output", type=Path, required=True, help="FITS file for the map")
    add_method_arguments(denoise)
    _add_picture_arguments(denoise)
    add_solver_arguments(denoise)
    add_workers_argument(denoise)
    denoise.set_defaults(command=_denoise)


def _add_picture_arguments(parser):
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of the map (png, pdf, ...)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="report in one HTML file")
    parser.add_argument(
        "--threshold", type=float, default=0.015, help="convergence of a detection in the report (default: 0.015)"
    )
    parser.add_argument(
        "--regions", metavar="FILE", help="regions in picture and report: DS9, FITS, table of positions"
    )


def _demo(arguments):
    from .. import datasets

    picture = arguments.output.with_suffix(".png")
    # The demonstration replaces its own files.
    overwrite = arguments.overwrite or arguments.output == Path("massmap_demo.fits")
    check_targets(arguments.output, picture, overwrite=overwrite)
    save(make_demo(arguments), arguments.output, picture, datasets.demo_clusters(), overwrite=overwrite)


def _reconstruct(arguments):
    # Check all input and output before the computation.
    regions = _check_output(arguments, arguments.catalog)
    _save_all(make_reconstruct(arguments), arguments, regions)


def _denoise(arguments):
    regions = _check_output(arguments, arguments.map)
    _save_all(make_denoise(arguments), arguments, regions)


def make_demo(arguments):
    from .. import datasets
    from ..methods import resolve

    method = resolve(None, {"n_samples": 16} | options(arguments, "n_samples", "seed", "device"))
    with workers(arguments) as executor:
        kappa = datasets.demo().reconstruct(method, progress=not arguments.quiet, executor=executor)
    return _recorded(kappa, record("demo", arguments, method))


def make_reconstruct(arguments):
    """Make the map of ``massmap reconstruct``; no file is written."""
    from .._sky.geometry import DEFAULT_PIXEL_SCALE
    from .._sky.regions import as_regions
    from .dry_run import check_result

    exclude = None if arguments.exclude is None else as_regions(arguments.exclude)
    method = read_method(arguments)
    catalog = read_catalog(arguments)
    wcs = None if arguments.wcs is None else wcs_of(arguments.wcs)
    scale = {"pixel_scale": DEFAULT_PIXEL_SCALE} if wcs is None else {}
    command = record("reconstruct", arguments, method, **scale)
    if arguments.check_axes:
        catalog.meta["axes_check"] = str(catalog.check_axes())
        print(catalog.meta["axes_check"])
    catalog.meta["catalog"] = arguments.catalog.name
    shear = catalog.to_map(wcs=wcs, pixel_scale=arguments.pixel_scale, mask=exclude)
    print(f"{shear!r} from {shear.meta['n_galaxies']} of {len(catalog)} galaxies")
    check_result(arguments.output, shear, getattr(method, "n_samples", 0), command)
    with workers(arguments) as executor:
        kappa = shear.reconstruct(method, progress=not arguments.quiet, executor=executor)
    return _recorded(kappa, command)


def make_denoise(arguments):
    """Make the map of ``massmap denoise``; no file is written."""
    from ..maps.convergence_map import ConvergenceMap
    from .dry_run import check_result

    method = read_method(arguments)
    noisy = ConvergenceMap.read(arguments.map, format="fits")
    command = record("denoise", arguments, method)
    check_result(arguments.output, noisy, getattr(method, "n_samples", 0), command)
    with workers(arguments) as executor:
        kappa = noisy.reconstruct(method, progress=not arguments.quiet, executor=executor)
    return _recorded(kappa, command)


def _recorded(kappa, command):
    kappa.meta["provenance"]["command"] = command
    return kappa


def _check_output(arguments, source):
    """Return the regions of the arguments; raise an error if an output file cannot be written."""
    from .._sky.regions import as_regions
    from .._utils.files import check_target

    check_targets(arguments.output, arguments.plot, overwrite=arguments.overwrite)
    if arguments.report is not None:
        check_target(arguments.report, overwrite=arguments.overwrite)
    if arguments.output.resolve() == source.resolve():
        raise ValueError(f"--output: needs another file than the input {source.name!r}")
    return None if arguments.regions is None else as_regions(arguments.regions)


def _save_all(kappa, arguments, regions):
    save(kappa, arguments.output, arguments.plot, regions, overwrite=arguments.overwrite)
    if arguments.report is not None:
        kappa.report(arguments.report, regions=regions, threshold=arguments.threshold, overwrite=arguments.overwrite)
        print(f"wrote {arguments.report}")


def save(kappa, output, picture, regions, *, overwrite):
    """Write a map and its picture, and print their names."""
    kappa.write(output, format="fits", overwrite=overwrite)
    print(f"{kappa!r}\nwrote {output}")
    if picture is not None:
        title = kappa.diagnostics["method"]
        if "n_galaxies" in kappa.meta:
            title += f", {kappa.meta['n_galaxies']} galaxies"
        figure = require("matplotlib.figure", "plot").Figure(figsize=(8, 7), layout="constrained")
        kappa.plot(figure.add_subplot(projection=kappa.wcs), regions=regions, title=title)
        save_figure(figure, picture, overwrite=overwrite)
