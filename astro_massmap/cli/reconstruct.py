"""The commands that make maps: ``massmap demo``, ``reconstruct`` and ``denoise``."""

from pathlib import Path

from .._utils.optional import require
from .arguments import (
    add_catalog_arguments,
    add_exclude_argument,
    add_method_arguments,
    add_solver_arguments,
    add_workers_argument,
    read_catalog,
    read_method,
    workers,
)
from .duration import print_duration
from .outputs import add_width_argument, check_picture, check_targets, print_style, save_figure, show_table
from .records import record
from .sources import add_bins_argument, check_bins_arguments, cosmology_of, edges_or_column, read_n_z_argument
from .values import options, wcs_of


def add_commands(commands):
    demo = commands.add_parser(
        "demo",
        description="Map the mock survey of the package, and write the map as FITS and as a picture. The expected "
        "duration, a minute on two cores, is printed first.",
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
    reconstruct.add_argument(
        "-o", "--output", type=Path, required=True, help="FITS file for the map; with --bins, folder for the maps"
    )
    add_bins_argument(reconstruct)
    reconstruct.add_argument("--bin", metavar="NUMBER", help="map of this bin of --bins only, or of all")
    add_exclude_argument(reconstruct)
    reconstruct.add_argument(
        "--reduced-shear",
        choices=("auto", "on", "off"),
        default="auto",
        help="treat ellipticities as reduced shear; auto: where a massive cluster is seen (default: %(default)s)",
    )
    reconstruct.add_argument(
        "--z-lens",
        type=float,
        metavar="Z",
        help="redshift of a lens: scale each galaxy by its redshift to the convergence of sources at --z-source",
    )
    reconstruct.add_argument(
        "--check-axes", action="store_true", help="test the axes of shear with the data (without those of --exclude)"
    )
    add_method_arguments(reconstruct)
    _add_z_source_argument(reconstruct)
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
    _add_z_source_argument(denoise)
    _add_picture_arguments(denoise)
    add_solver_arguments(denoise)
    add_workers_argument(denoise)
    denoise.set_defaults(command=_denoise)


def _add_z_source_argument(parser):
    parser.add_argument(
        "--z-source",
        "--redshift",
        type=float,
        metavar="Z",
        help="redshift of the sources for the prior spectrum, instead of --n-z",
    )


def _add_picture_arguments(parser):
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="picture of the map, or of the maps of all --bins (png, pdf, ...)"
    )
    add_width_argument(parser)
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="report of the map, or of those of all --bins, in one HTML file"
    )
    parser.add_argument("--object", metavar="NAME", help="name of the object, for meta of the map and the report")
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
    if arguments.bins is not None and arguments.bin is None:
        _reconstruct_bins(arguments)
        return
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
        if not arguments.quiet:
            print_duration(method, datasets.demo().to_map(), arguments.workers)
        kappa = datasets.demo().reconstruct(method, progress=not arguments.quiet, executor=executor)
    return _recorded(kappa, record("demo", arguments, method))


def make_reconstruct(arguments):
    """Make the map of ``massmap reconstruct``; no file is written."""
    return next(_reconstructed(arguments))


def _reconstruct_bins(arguments):
    from .._sky.regions import as_regions
    from .._utils.files import check_target
    from ..maps.convergence_map import ConvergenceMap
    from ..maps.fields import write_fields

    if arguments.checkpoint is not None:
        raise ValueError("--checkpoint: needs a single map; give the bin with --bin")
    if arguments.report is not None:
        check_target(arguments.report, overwrite=arguments.overwrite)
    if arguments.plot is not None:
        check_picture(arguments.plot, overwrite=arguments.overwrite)
    regions = None if arguments.regions is None else as_regions(arguments.regions)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise ValueError(f"--output: needs a folder for the maps of the bins, got the file {str(arguments.output)!r}")
    table = write_fields(_reconstructed(arguments), arguments.output, overwrite=arguments.overwrite)
    show_table(table)
    print(f"wrote {len(table)} maps and bins.ecsv to {arguments.output}")
    files = dict(zip(table["bin"], table["file"], strict=True))
    maps = (
        (key, ConvergenceMap.read(arguments.output / file, format="fits", memmap=True)) for key, file in files.items()
    )
    if arguments.plot is not None:
        from ..plotting import plot_maps

        maps = dict(maps)
        with print_style(arguments.width):
            save_figure(plot_maps(maps, regions=regions), arguments.plot, overwrite=arguments.overwrite)
    _report(maps, arguments, regions)


def _reconstructed(arguments):
    """Yield the maps of ``massmap reconstruct``: one, or one of each tomographic bin."""
    from .._utils.files import check_target
    from .._utils.progress import part_named
    from ..analysis.region_means import listed
    from .dry_run import check_result

    exclude = None if arguments.exclude is None else listed(arguments.exclude, "mask", areas=True)
    method = _method(arguments)
    reduced_shear = {"on": True, "off": False}.get(arguments.reduced_shear, "auto")
    parts = _parts(arguments, exclude)
    grid, scale, note = _grid(parts, method, arguments)
    chosen = list(parts) if arguments.bin is None else [arguments.bin]
    if arguments.bin not in (None, *parts):
        raise ValueError(f"--bin: needs one of {', '.join(parts)}, got {arguments.bin!r}")
    if arguments.output.is_dir():
        for key in chosen:
            check_target(arguments.output / f"bin_{key}.fits", overwrite=arguments.overwrite)
    for key in chosen:
        catalog = parts[key]
        effective = {} if scale is None else {"pixel_scale": scale}
        command = record("reconstruct", arguments, method, **effective | ({} if key is None else {"bin": key}))
        name = None if key is None else f"bin {key}"
        with part_named(name):
            shear = catalog.to_map(**grid, mask=exclude)
        shear.meta |= note
        reason = f", pixels of {note['pixel_scale']}" if note else ""
        print(f"{shear!r} from {shear.meta['n_galaxies']} of {len(catalog)} galaxies{reason}")
        check_result(arguments.output, shear, getattr(method, "n_samples", 0), command)
        with part_named(name), workers(arguments) as executor:
            kappa = shear.reconstruct(
                method, reduced_shear=reduced_shear, progress=not arguments.quiet, executor=executor
            )
        yield _recorded(kappa, command)


def _method(arguments):
    if arguments.bins is None:
        if arguments.bin is not None:
            raise ValueError("--bin: needs --bins, the column of bin numbers or the edges of the bins")
        if arguments.z_lens is not None:  # the spectrum is that of the reference source, from n(z) of the catalogue
            return read_method(arguments, spectrum=False)
        return read_method(arguments, arguments.z_source)
    check_bins_arguments(arguments)
    return read_method(arguments, spectrum=False)


def _parts(arguments, exclude):
    """Return the catalogues by tomographic bin as text, or the whole catalogue by None."""
    from .._sky.geometry import celestial_wcs

    edges, tomo = edges_or_column(arguments)
    catalog = read_catalog(arguments, **tomo)
    if arguments.check_axes:
        wcs = None if arguments.wcs is None else celestial_wcs(wcs_of(arguments.wcs))[0]
        kept = catalog if exclude is None else catalog.outside(exclude, wcs)
        catalog.meta["axes_check"] = str(kept.check_axes())
        print(catalog.meta["axes_check"])
    catalog.meta["catalog"] = arguments.catalog.name
    _name_object(catalog.meta, arguments.object)
    if arguments.bins is not None:
        if arguments.z_lens is not None:
            raise ValueError("--z-lens: not with --bins; maps of bins are those of their own sources")
        bins = catalog.bins(edges=edges, n_z=arguments.n_z, total=True)
        return {str(key): part for key, part in bins.items()}
    if arguments.z_lens is not None:
        if arguments.z_source is None:
            raise ValueError("z_lens: needs --z-source, the redshift of the reference source")
        return {None: catalog.for_lens(arguments.z_lens, arguments.z_source, cosmology_of(arguments))}
    given = read_n_z_argument(arguments, arguments.z_source)
    if given is not None:
        catalog.n_z = given
    return {None: catalog}


def _grid(parts, method, arguments):
    """Return the grid as arguments of ``to_map``, its pixel scale or None, and a note on the scale for ``meta``."""
    from ..maps.fields import common_grid, common_pixel_scale

    catalogs = list(parts.values())
    if arguments.wcs is not None:
        if arguments.pixel_scale is not None:
            raise ValueError("wcs, pixel_scale: give only one of them; the WCS defines the pixel scale")
        return {"wcs": wcs_of(arguments.wcs)}, None, {}
    if arguments.bins is None:
        scale, note = catalogs[0]._pixel_scale(arguments.pixel_scale, method)
        return {"pixel_scale": scale}, scale, note
    scale, note = common_pixel_scale(catalogs, [method], arguments.pixel_scale)
    return {"wcs": common_grid(catalogs, scale)}, scale, note


def make_denoise(arguments):
    """Make the map of ``massmap denoise``; no file is written."""
    from ..maps.convergence_map import ConvergenceMap
    from .dry_run import check_result

    method = read_method(arguments, arguments.z_source)
    noisy = ConvergenceMap.read(arguments.map, format="fits")
    _name_object(noisy.meta, arguments.object)
    given = read_n_z_argument(arguments, arguments.z_source)
    if given is not None:
        noisy.n_z = given
    command = record("denoise", arguments, method)
    check_result(arguments.output, noisy, getattr(method, "n_samples", 0), command)
    with workers(arguments) as executor:
        kappa = noisy.reconstruct(method, progress=not arguments.quiet, executor=executor)
    return _recorded(kappa, command)


def _name_object(meta, name):
    if name is not None:
        for key in [key for key in meta if str(key).lower() == "object"]:
            del meta[key]
        meta["object"] = name


def _recorded(kappa, command):
    kappa.meta["provenance"]["command"] = command
    return kappa


def _check_output(arguments, source):
    """Return the regions of the arguments; raise an error if an output file cannot be written."""
    from .._sky.regions import as_regions
    from .._utils.files import check_target

    check_targets(arguments.output, arguments.plot, overwrite=arguments.overwrite)
    if arguments.width is not None and arguments.plot is None:
        raise ValueError("--width: needs --plot, the file of the picture")
    if arguments.report is not None:
        check_target(arguments.report, overwrite=arguments.overwrite)
    if arguments.output.resolve() == source.resolve():
        raise ValueError(f"--output: needs another file than the input {source.name!r}")
    return None if arguments.regions is None else as_regions(arguments.regions)


def _save_all(kappa, arguments, regions):
    save(kappa, arguments.output, arguments.plot, regions, overwrite=arguments.overwrite, width=arguments.width)
    _report(kappa, arguments, regions)


def _report(maps, arguments, regions):
    from ..plotting.report import write_report  # loads regions

    if arguments.report is not None:
        write_report(arguments.report, maps, regions=regions, **options(arguments, "threshold", "overwrite"))
        print(f"wrote {arguments.report}")


def save(kappa, output, picture, regions, *, overwrite, width=None):
    """Write a map and its picture, in print with a ``width`` of `plotting.style`, and print their names."""
    kappa.write(output, format="fits", overwrite=overwrite)
    print(f"{kappa!r}\nwrote {output}")
    if picture is not None:
        with print_style(width):
            save_figure(_picture(kappa, regions, width), picture, overwrite=overwrite)


def _picture(kappa, regions, width):
    from ..plotting.panels import bin_title  # loads regions

    options = {"regions": regions, "title": bin_title(kappa)}
    if width is not None:
        return kappa.plot(**options).figure
    figure = require("matplotlib.figure", "plot").Figure(figsize=(8, 7), layout="compressed")
    return kappa.plot(figure.add_subplot(projection=kappa.wcs), **options).figure
