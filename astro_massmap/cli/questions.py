"""The commands that ask a map: ``massmap clusters``, ``peaks``, ``mass``, ``spectrum``, ``report`` and others."""

import argparse
from pathlib import Path

from .arguments import angle, check_picture, save_figure, wcs_of


def add_commands(commands):
    """Add them to the subparsers of ``massmap``."""
    clusters = _command(commands, "clusters", _clusters, "how likely are these clusters to be there?", regions=True)
    clusters.add_argument("--threshold", type=float, required=True, help="mean convergence that makes a structure")
    clusters.add_argument("--background", type=angles, metavar="IN,OUT", help="ring to subtract: '3,6 arcmin'")
    clusters.add_argument("--plot", type=Path, metavar="FILE", help="picture: the first region in many samples")

    peaks = _command(commands, "peaks", _peaks, "peaks of the map, and the share of samples that hold them")
    peaks.add_argument("--threshold", type=float, required=True, help="least convergence of a peak")
    _add_smoothing(peaks)
    peaks.add_argument("--clusters", type=Path, metavar="FILE", help="positions to match: completeness, purity")

    counts = _command(commands, "counts", _counts, "number of peaks, or minima, by height")
    counts.add_argument("--edges", type=numbers, required=True, metavar="0.02,0.03,...", help="of the bins")
    counts.add_argument("--minima", action="store_true", help="count minima instead")
    _add_smoothing(counts)
    counts.add_argument("--plot", type=Path, metavar="FILE", help="picture of the counts")

    spectrum = _command(commands, "spectrum", _spectrum, "angular power spectrum of the map and of its samples")
    spectrum.add_argument("--edges", type=numbers, metavar="300,600,...", help="of the bands of ell")
    spectrum.add_argument("--measured-only", action="store_true", help="leave out pixels without data")
    spectrum.add_argument("--plot", type=Path, metavar="FILE", help="picture of the spectrum")

    mass = _command(commands, "mass", _mass, "projected masses in regions", regions=True)
    mass.add_argument("--background", type=angles, metavar="IN,OUT", help="ring to subtract: '3,6 arcmin'")
    density = _command(commands, "surface-density", _surface_density, "the map in Msun / kpc2, as a FITS file")
    for parser in (mass, density):
        parser.add_argument("--z-lens", type=float, required=True, help="redshift of the matter")
        parser.add_argument("--z-source", type=float, required=True, help="redshift of the galaxies behind")

    aperture = _command(commands, "aperture-mass", _aperture_mass, "compensated aperture mass", regions=True)
    aperture.add_argument("--radius", type=angle, required=True, metavar="ANGLE", help="of the apertures")

    report = _command(commands, "report", _report, "a report in one HTML file: figures, clusters, settings")
    report.add_argument("--regions", type=Path, metavar="FILE", help="clusters to ask about")
    report.add_argument("--threshold", type=float, default=0.015, help="of a detection (default: %(default)s)")

    move = _command(commands, "reproject", _reproject, "the map, sample by sample, on the grid of an image")
    move.add_argument("--wcs", type=Path, required=True, metavar="IMAGE", help="FITS image with the grid")

    healpix = _command(commands, "healpix", _healpix, "a HEALPix map of the convergence on the grid of an image")
    healpix.add_argument("--wcs", type=Path, required=True, metavar="IMAGE", help="FITS image with the grid")


def _command(commands, name, function, text, *, regions=False):
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:])
    parser.add_argument("map", type=Path, metavar="MAP", help="FITS file of massmap reconstruct")
    if regions:
        parser.add_argument("regions", type=Path, metavar="REGIONS", help="DS9, FITS, or table of positions and radii")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the answer (ECSV, FITS, ...)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(command=function)
    return parser


def _add_smoothing(parser):
    parser.add_argument("--smoothing", type=angle, metavar="ANGLE", help="of map and samples, such as '1 arcmin'")


def _read(arguments):
    """The map; errors for files that could not be written come first."""
    from .._files import check_target
    from ..convergence_map import ConvergenceMap

    if arguments.output is not None:
        check_target(arguments.output, overwrite=arguments.overwrite)
    if getattr(arguments, "plot", None) is not None:
        check_picture(arguments.plot, overwrite=arguments.overwrite)
    return ConvergenceMap.read(arguments.map, format="fits")


def _needs_output(arguments):
    if arguments.output is None:
        raise ValueError("--output: needs the name of a file")


def _tell(table, arguments):
    """Print a table, and write it if asked for."""
    from .._files import atomic_path

    table.round(5)
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    if arguments.output is not None:
        with atomic_path(arguments.output, overwrite=arguments.overwrite) as temporary:
            table.write(temporary)
        print(f"wrote {arguments.output}")


def _clusters(arguments):
    kappa = _read(arguments)
    found = kappa.detection_probability(arguments.regions, arguments.threshold, arguments.background)
    spread = kappa.region_statistics(arguments.regions, background=arguments.background)
    found["std"], found["signal_to_noise"] = spread["std"], spread["signal_to_noise"]
    _tell(found, arguments)
    if arguments.plot is not None:
        from ..figures import plot_cutouts

        inside = found["data_fraction"] > 0
        if not inside.any():
            raise ValueError("--plot: no region lies in the field")
        figure = plot_cutouts(
            kappa.samples, kappa.wcs, found["center"][inside][0], _room(kappa), regions=arguments.regions
        )
        save_figure(figure, arguments.plot, overwrite=arguments.overwrite)


def _room(kappa):
    """Side of a cut-out: a third of the field, and 12 arcmin at most."""
    import astropy.units as u

    return min(12 * u.arcmin, kappa.pixel_scale * min(kappa.shape) / 3)


def _peaks(arguments):
    from ..peaks import match_clusters

    kappa = _read(arguments)
    peaks = kappa.peaks(arguments.threshold, smoothing=arguments.smoothing)
    _tell(peaks, arguments)
    if arguments.clusters is not None:
        from .._columns import read_table

        print(match_clusters(peaks, read_table(arguments.clusters, "--clusters")))


def _counts(arguments):
    kappa = _read(arguments)
    table = kappa.peak_counts(arguments.edges, smoothing=arguments.smoothing, minima=arguments.minima)
    _tell(table, arguments)
    if arguments.plot is not None:
        from ..figures import plot_peak_counts

        save_figure(plot_peak_counts(table), arguments.plot, overwrite=arguments.overwrite)


def _spectrum(arguments):
    table = _read(arguments).power_spectrum(arguments.edges, measured_only=arguments.measured_only)
    _tell(table, arguments)
    if arguments.plot is not None:
        from ..figures import plot_spectrum

        save_figure(plot_spectrum(table), arguments.plot, overwrite=arguments.overwrite)


def _mass(arguments):
    kappa = _read(arguments)
    table = kappa.projected_mass(
        arguments.regions, arguments.z_lens, arguments.z_source, background=arguments.background
    )
    _tell(table, arguments)


def _aperture_mass(arguments):
    from astropy.coordinates import SkyCoord

    from .._regions import as_regions

    kappa = _read(arguments)
    centers = SkyCoord([region.center for region in as_regions(arguments.regions)])
    _tell(kappa.aperture_mass(centers, arguments.radius), arguments)


def _surface_density(arguments):
    _needs_output(arguments)
    _write(_read(arguments).surface_density(arguments.z_lens, arguments.z_source), arguments)


def _reproject(arguments):
    _needs_output(arguments)
    _write(_read(arguments).reproject_to(wcs_of(arguments.wcs)), arguments)


def _healpix(arguments):
    from ..convergence_map import ConvergenceMap

    _needs_output(arguments)
    _write(ConvergenceMap.from_healpix(arguments.map, wcs=wcs_of(arguments.wcs)), arguments)


def _report(arguments):
    _needs_output(arguments)
    _read(arguments).report(
        arguments.output, regions=arguments.regions, threshold=arguments.threshold, overwrite=arguments.overwrite
    )
    print(f"wrote {arguments.output}")


def _write(kappa, arguments):
    kappa.write(arguments.output, format="fits", overwrite=arguments.overwrite)
    print(f"{kappa!r}\nwrote {arguments.output}")


def numbers(text):
    """Numbers with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 1,2,3, got {text!r}") from None


def angles(text):
    """Two numbers and an angular unit, such as '3,6 arcmin'."""
    import astropy.units as u

    values, _, unit = text.strip().rpartition(" ")
    try:
        pair = numbers(values) * u.Unit(unit)
        if len(pair) != 2 or not pair.unit.is_equivalent(u.rad):
            raise ValueError
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"needs two radii such as '3,6 arcmin', got {text!r}") from None
    return pair
