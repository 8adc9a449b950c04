"""The commands that ask a map: ``massmap clusters``, ``peaks``, ``mass``, ``spectrum``, ``report`` and others."""

import argparse
from pathlib import Path

from .arguments import angle, check_picture, numbers, save_figure, tell, wcs_of


def add_commands(commands):
    """Add them to the subparsers of ``massmap``."""
    _add_statistics(commands)
    _add_masses(commands)
    _add_pictures(commands)
    _add_grids(commands)


def _add_statistics(commands):
    clusters = _command(commands, "clusters", _clusters, "how likely are these clusters to be there?", regions=True)
    clusters.add_argument("--threshold", type=float, required=True, help="mean convergence that makes a structure")
    clusters.add_argument("--background", type=angles, metavar="IN,OUT", help="ring to subtract: '3,6 arcmin'")
    clusters.add_argument("--plot", type=Path, metavar="FILE", help="picture: the most doubtful in many samples")
    clusters.add_argument("--histogram", type=Path, metavar="FILE", help="picture: its mean convergence in all samples")

    peaks = _command(commands, "peaks", _peaks, "peaks of the map, and the share of samples that hold them")
    peaks.add_argument("--threshold", type=float, required=True, help="least convergence of a peak")
    _add_smoothing(peaks)
    peaks.add_argument("--radius", type=angle, metavar="ANGLE", help="of the same place (default: 1.5 arcmin)")
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


def _add_masses(commands):
    mass = _command(commands, "mass", _mass, "projected masses in regions", regions=True)
    mass.add_argument("--background", type=angles, metavar="IN,OUT", help="ring to subtract: '3,6 arcmin'")
    density = _command(commands, "surface-density", _surface_density, "the map in Msun / kpc2, as a FITS file")
    for parser in (mass, density):
        parser.add_argument("--z-lens", type=float, required=True, help="redshift of the matter")
        parser.add_argument("--z-source", type=float, required=True, help="redshift of the galaxies behind")

    aperture = _command(commands, "aperture-mass", _aperture_mass, "compensated aperture mass", regions=True)
    aperture.add_argument("--radius", type=angle, required=True, metavar="ANGLE", help="of the apertures")


def _add_pictures(commands):
    _command(commands, "summary", _summary, "picture of the map, its error and their ratio")
    _command(commands, "gallery", _gallery, "picture of some samples")
    report = _command(commands, "report", _report, "a report in one HTML file: figures, clusters, settings")
    report.add_argument("--regions", type=Path, metavar="FILE", help="clusters to ask about")
    report.add_argument("--threshold", type=float, default=0.015, help="of a detection (default: %(default)s)")


def _add_grids(commands):
    move = _command(commands, "reproject", _reproject, "the map, sample by sample, on the grid of an image")
    move.add_argument("--wcs", type=Path, required=True, metavar="IMAGE", help="FITS image with the grid")

    healpix = _command(
        commands,
        "healpix",
        _healpix,
        "a HEALPix map of the convergence on the grid of an image",
        source="FITS file in HEALPix",
    )
    healpix.add_argument("--wcs", type=Path, required=True, metavar="IMAGE", help="FITS image with the grid")


def _command(commands, name, function, text, *, regions=False, source="FITS file of massmap reconstruct"):
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:])
    parser.add_argument("map", type=Path, metavar="MAP", help=source)
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
    for picture in (getattr(arguments, name, None) for name in ("plot", "histogram")):
        if picture is not None:
            check_picture(picture, overwrite=arguments.overwrite)
    return ConvergenceMap.read(arguments.map, format="fits")


def _needs_output(arguments):
    if arguments.output is None:
        raise ValueError("--output: needs the name of a file")


def _clusters(arguments):
    from .._places import listed

    kappa, regions = _read(arguments), listed(arguments.regions)
    found = kappa.detection_probability(regions, arguments.threshold, arguments.background)
    spread = kappa.region_statistics(regions, background=arguments.background)
    found["std"], found["signal_to_noise"] = spread["std"], spread["signal_to_noise"]
    tell(found, arguments)
    print(f"lower, upper: {found.meta['level']:.0%} interval of the probability")
    inside = found[found["measured"]]
    if not len(inside):
        return
    doubtful = inside[abs(inside["probability"] - 0.5).argmin()]
    if arguments.plot is not None:
        figure = kappa.plot_cutouts(doubtful["center"], regions=arguments.regions)
        save_figure(figure, arguments.plot, overwrite=arguments.overwrite)
    if arguments.histogram is not None:
        number = list(found["region"]).index(doubtful["region"])
        region = regions[number : number + 1]
        figure = kappa.plot_detection(region, arguments.threshold, background=arguments.background)
        save_figure(figure, arguments.histogram, overwrite=arguments.overwrite)


def _peaks(arguments):
    import astropy.units as u

    from ..peaks import match_clusters

    kappa = _read(arguments)
    radius = 1.5 * u.arcmin if arguments.radius is None else arguments.radius
    peaks = kappa.peaks(arguments.threshold, smoothing=arguments.smoothing, radius=radius)
    tell(peaks, arguments)
    if arguments.clusters is not None:
        from .._columns import read_table

        clusters = read_table(arguments.clusters, "--clusters")
        print(match_clusters(peaks, clusters, radius, wcs=kappa.wcs, mask=kappa.mask))


def _counts(arguments):
    kappa = _read(arguments)
    table = kappa.peak_counts(arguments.edges, smoothing=arguments.smoothing, minima=arguments.minima)
    tell(table, arguments)
    if arguments.plot is not None:
        from ..figures import plot_peak_counts

        save_figure(plot_peak_counts(table), arguments.plot, overwrite=arguments.overwrite)


def _spectrum(arguments):
    table = _read(arguments).power_spectrum(arguments.edges, measured_only=arguments.measured_only)
    tell(table, arguments)
    if arguments.plot is not None:
        from ..figures import plot_spectrum

        save_figure(plot_spectrum(table), arguments.plot, overwrite=arguments.overwrite)


def _mass(arguments):
    kappa = _read(arguments)
    table = kappa.projected_mass(
        arguments.regions, arguments.z_lens, arguments.z_source, background=arguments.background
    )
    tell(table, arguments)


def _aperture_mass(arguments):
    kappa = _read(arguments)
    places = kappa.region_statistics(arguments.regions)
    table = kappa.aperture_mass(places["center"], arguments.radius)
    table.add_column(places["region"], index=0)
    tell(table, arguments)


def _surface_density(arguments):
    _needs_output(arguments)
    _write(_read(arguments).surface_density(arguments.z_lens, arguments.z_source), arguments)


def _reproject(arguments):
    _needs_output(arguments)
    _write(_read(arguments).reproject_to(wcs_of(arguments.wcs)), arguments)


def _healpix(arguments):
    from .._files import check_target
    from ..convergence_map import ConvergenceMap

    _needs_output(arguments)
    check_target(arguments.output, overwrite=arguments.overwrite)
    _write(ConvergenceMap.from_healpix(arguments.map, wcs=wcs_of(arguments.wcs)), arguments)


def _report(arguments):
    _needs_output(arguments)
    _read(arguments).report(
        arguments.output, regions=arguments.regions, threshold=arguments.threshold, overwrite=arguments.overwrite
    )
    print(f"wrote {arguments.output}")


def _summary(arguments):
    _draw(arguments, lambda kappa: kappa.plot_summary())


def _gallery(arguments):
    _draw(arguments, lambda kappa: kappa.plot_samples())


def _draw(arguments, picture):
    _needs_output(arguments)
    check_picture(arguments.output, overwrite=arguments.overwrite)
    save_figure(picture(_read(arguments)), arguments.output, overwrite=arguments.overwrite)


def _write(kappa, arguments):
    kappa.write(arguments.output, format="fits", overwrite=arguments.overwrite)
    print(f"{kappa!r}\nwrote {arguments.output}")


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
