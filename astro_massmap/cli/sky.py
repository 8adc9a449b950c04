"""The command ``massmap survey``: maps of a survey of any extent, field by field, and their products."""

import argparse
from pathlib import Path

from .arguments import (
    add_galaxy_arguments,
    add_method_arguments,
    add_solver_arguments,
    add_workers_argument,
    read_method,
    workers,
)
from .outputs import show_table
from .sources import add_bins_argument, check_bins_arguments, edges_or_column, read_n_z_argument
from .values import angle, options, table_file

_ROWS = 1_000_000


def add_commands(commands):
    survey = commands.add_parser(
        "survey",
        description="Map a survey of any extent on overlapping fields around HEALPix cells. The same command continues "
        "an interrupted run. FITS and Parquet tables are read in pieces.",
    )
    add_galaxy_arguments(survey)
    add_bins_argument(survey)
    survey.add_argument("--pixel-scale", type=angle, metavar="ANGLE", help="side of a pixel (default: by density)")
    survey.add_argument(
        "--nside",
        "--fields",
        type=int,
        help="of the HEALPix cells, from 16, of 3.7 degrees (default: cells of at least 128 pixels)",
    )
    survey.add_argument("--margin", type=angle, metavar="ANGLE", help="margin around a cell (default: 90 pixels)")
    survey.add_argument(
        "--rows", type=int, default=_ROWS, help="rows of a table that are read at a time (default: %(default)s)"
    )
    add_method_arguments(survey)
    add_solver_arguments(survey)
    add_workers_argument(survey)
    survey.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder of the maps")
    survey.add_argument("--healpix", type=Path, metavar="FILE", help="HEALPix map of all fields (FITS)")
    survey.add_argument("--peaks", type=table_file, metavar="FILE", help="table of peaks above --threshold")
    survey.add_argument(
        "--threshold", type=float, help="convergence of peaks, and of the probability in the HEALPix map of samples"
    )
    survey.add_argument("--clusters", metavar="FILE", help="positions of clusters, of which maps are cut out")
    survey.add_argument(
        "--size", type=angle, default="30 arcmin", metavar="ANGLE", help="side of these maps (default: %(default)s)"
    )
    survey.add_argument(
        "--noise",
        type=int,
        metavar="N",
        help="number of catalogues of randomly rotated galaxies, such as 100, mapped to the folder noise of --output",
    )
    survey.set_defaults(command=_survey)


def _survey(arguments):
    from .._sky.regions import as_regions  # loads regions
    from .._utils.checks import check_integer
    from .._utils.files import check_target

    for file in (arguments.healpix, arguments.peaks):
        if file is not None:
            check_target(file, overwrite=arguments.overwrite)
    if arguments.noise is not None:
        check_integer(arguments.noise, "--noise", 2)
        if arguments.method in (None, "annealed_hmc"):
            raise ValueError("--noise: maps of chains take too long; needs another --method, such as wiener")
        if arguments.healpix is not None:
            check_target(_of_bin(arguments.healpix, "noise"), overwrite=arguments.overwrite)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise OSError(f"--output: {str(arguments.output)!r} exists and is not a folder")
    if arguments.clusters is not None:
        as_regions(arguments.clusters)
    if arguments.peaks is not None and arguments.threshold is None:
        raise ValueError("--peaks: needs --threshold, the convergence that peaks exceed")
    if arguments.bins is not None:
        check_bins_arguments(arguments)
    if arguments.checkpoint is not None:
        raise ValueError("--checkpoint: not with survey, which keeps the maps of finished fields in the folder")
    method = read_method(arguments, spectrum=arguments.bins is None)
    for key, fields in _surveys(arguments).items():
        name = "" if key is None else f"bin_{key}"
        with workers(arguments) as executor:
            _map_survey(fields, method, arguments, name, executor)
            if arguments.noise is not None:
                _map_noise(fields, method, arguments, name, executor, _galaxies(arguments, key))


def _galaxies(arguments, key=None):
    """Return the catalogue or its pieces, of one tomographic bin with ``key``."""
    from .._io.parquet import is_parquet
    from ..maps.catalog import ShearCatalog
    from ..survey.bins import galaxies_of_bin

    edges, tomo = edges_or_column(arguments)
    table = options(arguments, "axes", "columns", "responsivity", "response", "select", "hdu", "encoding")
    if tomo:
        table["columns"] = table.get("columns", {}) | tomo
    if arguments.catalog.suffix.lower() in (".fits", ".fit") or is_parquet(arguments.catalog):
        catalog = ShearCatalog.pieces(arguments.catalog, rows=arguments.rows, **table)
    else:
        catalog = ShearCatalog.read(arguments.catalog, **table)
    return catalog if key is None else galaxies_of_bin(catalog, key, edges=edges)


def _surveys(arguments):
    """Return the fields of the survey by tomographic bin, or of all galaxies by None."""
    from ..survey.bins import fields_of_bins
    from ..survey.fields import SkyFields

    catalog, (edges, _) = _galaxies(arguments), edges_or_column(arguments)
    grid = options(arguments, "pixel_scale", "nside", "margin")
    if arguments.bins is not None:
        return fields_of_bins(catalog, edges=edges, n_z=arguments.n_z, total=True, **grid)
    fields = SkyFields(catalog, **grid)
    given = read_n_z_argument(arguments)
    if given is not None:
        fields.n_z = given
    return {None: fields}


def _map_noise(fields, method, arguments, name, executor, catalog):
    """Map the randomly rotated galaxies of a survey, or of a bin, and write the HEALPix map."""
    from ..validation.survey_noise import survey_noise_maps

    options = {"method": method, "seed": arguments.seed or 0, "executor": executor, "progress": not arguments.quiet}
    noise = survey_noise_maps(fields, catalog, arguments.output / name / "noise", arguments.noise, **options)
    print(f"wrote {len(noise)} maps to {noise.folder}")
    if arguments.healpix is not None:
        file = _of_bin(arguments.healpix, f"{name}_noise".lstrip("_"))
        noise.write_healpix(file, overwrite=arguments.overwrite)
        print(f"wrote {file}")


def _map_survey(fields, method, arguments, name, executor):
    """Map a survey, or the bin of this name, whose files have the name in theirs, and write the products."""
    folder = arguments.output / name
    maps = fields.reconstruct(folder, method, executor=executor, progress=not arguments.quiet)
    print(f"{maps!r}\nwrote {len(maps)} maps to {folder}")
    if arguments.healpix is not None:
        threshold = arguments.threshold if maps[maps.cells[0]].samples is not None else None
        file = _of_bin(arguments.healpix, name)
        maps.write_healpix(file, threshold=threshold, overwrite=arguments.overwrite)
        print(f"wrote {file}")
    if arguments.clusters is not None:
        written = maps.write_cutouts(
            arguments.clusters, arguments.size, folder / "clusters", overwrite=arguments.overwrite
        )
        print(f"wrote {len(written)} maps to {folder / 'clusters'}")
    if arguments.peaks is not None:
        target = argparse.Namespace(output=_of_bin(arguments.peaks, name), overwrite=arguments.overwrite)
        show_table(maps.peaks(arguments.threshold), target)


def _of_bin(file, name):
    """Return the name of a file for a bin, such as ``peaks_bin_1.ecsv``."""
    return file.with_stem(f"{file.stem}_{name}") if name else file
