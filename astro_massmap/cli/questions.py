"""The commands that measure, plot or convert a map, such as ``massmap detection-probability`` and ``peaks``."""

import argparse
from pathlib import Path

from .arguments import (
    add_width_argument,
    angle,
    check_picture,
    hdu,
    numbers,
    options,
    print_style,
    save_figure,
    show_table,
    wcs_of,
)
from .sources import add_cosmology_argument, add_z_source_argument, cosmology_of, number_or_name, z_source_of

_Z_SOURCE = "redshift of the sources (default: n(z) in the map, or the reference source of a map with --z-lens)"


def add_commands(commands):
    _add_regions(commands)
    _add_statistics(commands)
    _add_pictures(commands)
    _add_maps(commands)


def _add_regions(commands):
    found = add_command(
        commands,
        "detection-probability",
        _detection_probability,
        "probability that clusters are detected",
        regions=True,
    )
    found.add_argument(
        "--threshold", type=float, required=True, help="mean convergence above which a region is detected"
    )
    found.add_argument(
        "--plot", type=Path, metavar="FILE", help="picture: samples of the region with a probability closest to 50 %%"
    )
    found.add_argument("--histogram", type=Path, metavar="FILE", help="picture: distribution of its mean convergence")

    means = add_command(commands, "region-statistics", _region_statistics, "mean convergence in regions", regions=True)

    mass = add_command(commands, "projected-mass", _projected_mass, "projected masses in regions", regions=True)
    mass.add_argument(
        "--z-lens",
        type=number_or_name,
        metavar="Z",
        help="redshift of the lens, or a column of redshifts (default: that of massmap reconstruct --z-lens)",
    )
    add_z_source_argument(mass, _Z_SOURCE)

    for parser in (found, means, mass):
        parser.add_argument("--background", type=angles, metavar="IN,OUT", help="ring to subtract: '3,6 arcmin'")
        parser.add_argument(
            "--keep-columns", type=kept_columns, metavar="A,B", help="columns of the table of regions, or all"
        )
        add_cosmology_argument(parser, "for distances (default: that of astropy)")

    aperture = add_command(commands, "aperture-mass", _aperture_mass, "compensated aperture mass", regions=True)
    aperture.add_argument("--radius", type=angle, required=True, metavar="ANGLE", help="radius of the apertures")

    halo = add_command(commands, "nfw-mass", _nfw_mass, "M200c of NFW halos fitted to the samples", regions=True)
    halo.add_argument(
        "--z-lens",
        type=number_or_name,
        metavar="Z",
        help="redshift of the halos, or a column of redshifts (default: that of massmap reconstruct --z-lens)",
    )
    add_z_source_argument(halo, _Z_SOURCE)
    halo.add_argument(
        "--background", type=angles, required=True, metavar="IN,OUT", help="ring to subtract: '4,7 arcmin'"
    )
    halo.add_argument(
        "--concentration", type=float, metavar="C", help="r200 / r_s (default: mean of Duffy et al. 2008 at each mass)"
    )
    halo.add_argument("--scatter", type=float, metavar="S", help="standard deviation of ln C (default: 0)")
    halo.add_argument(
        "--structure",
        action=argparse.BooleanOptionalAction,
        help="add the scatter of structure along the line of sight (default: yes)",
    )
    add_cosmology_argument(halo, "for distances (default: that of astropy)")

    for parser in (found, means, mass, aperture, halo):
        parser.add_argument(
            "--select", metavar="CONDITION", help="rows of a table of regions, such as 'z < 0.5 & snr > 5'"
        )


def _add_statistics(commands):
    peaks = add_command(commands, "peaks", _peaks, "peaks of the map, and the fraction of samples that contain them")
    peaks.add_argument("--threshold", type=float, required=True, help="minimum convergence of a peak")
    add_smoothing(peaks)
    peaks.add_argument(
        "--radius", type=angle, metavar="ANGLE", help="largest distance of a match (default: 1.5 arcmin)"
    )
    peaks.add_argument("--clusters", type=Path, metavar="FILE", help="table of clusters to match with the peaks")

    counts = add_command(commands, "peak-counts", _peak_counts, "number of peaks, or minima, by height")
    counts.add_argument("--edges", type=numbers, required=True, metavar="0.02,0.03,...", help="edges of the bins")
    counts.add_argument("--minima", action="store_true", help="count minima instead")
    add_smoothing(counts)
    counts.add_argument("--plot", type=Path, metavar="FILE", help="picture of the counts")

    spectrum = add_command(commands, "power-spectrum", _power_spectrum, "angular power spectrum of map and samples")
    spectrum.add_argument("--edges", type=numbers, metavar="300,600,...", help="edges of the bands in ell")
    spectrum.add_argument("--measured-only", action="store_true", help="exclude pixels without data")
    spectrum.add_argument("--plot", type=Path, metavar="FILE", help="picture of the spectrum")


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
    report = add_command(commands, "report", _report, "a report in one HTML file: figures, clusters, settings")
    report.add_argument("--regions", type=Path, metavar="FILE", help="clusters to measure")
    report.add_argument(
        "--threshold", type=float, default=0.015, help="mean convergence of a detection (default: %(default)s)"
    )
    report.add_argument("--title", help="title of the report (default: from the object or the centre)")
    report.add_argument("--object", metavar="NAME", help="name of the object (default: that of the map)")


def _add_maps(commands):
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
    add_z_source_argument(density, _Z_SOURCE)
    add_cosmology_argument(density, "for distances (default: that of astropy)")


def add_command(commands, name, function, text, *, regions=False, source="FITS file of massmap reconstruct"):
    parser = commands.add_parser(name, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("map", type=Path, metavar="MAP", help=source)
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


def _needs_output(arguments):
    if arguments.output is None:
        raise ValueError("--output: needs the name of a file to write")


def _detection_probability(arguments):
    from ..analysis.region_means import listed

    kappa = read_map(arguments)
    regions = listed(arguments.regions, cosmology=cosmology_of(arguments), select=arguments.select)
    chosen = options(arguments, "background", "keep_columns")
    found = kappa.detection_probability(regions, arguments.threshold, **chosen)
    show_table(found, arguments)
    print(f"lower, upper: {found.meta['level']:.0%} interval of the probability")
    inside = found[found["measured"]]
    if not len(inside):
        return
    doubtful = inside[abs(inside["probability"] - 0.5).argmin()]
    if arguments.plot is not None:
        drawn = arguments.regions if regions.table is None else regions
        figure = kappa.plot_cutouts(doubtful["center"], regions=drawn)
        save_figure(figure, arguments.plot, overwrite=arguments.overwrite)
    if arguments.histogram is not None:
        number = list(found["region"]).index(doubtful["region"])
        region = regions[number : number + 1]
        figure = kappa.plot_detection(region, arguments.threshold, background=arguments.background)
        save_figure(figure, arguments.histogram, overwrite=arguments.overwrite)


def _peaks(arguments):
    import astropy.units as u

    from ..analysis.peaks import match_clusters

    kappa = read_map(arguments)
    radius = 1.5 * u.arcmin if arguments.radius is None else arguments.radius
    peaks = kappa.peaks(arguments.threshold, smoothing=arguments.smoothing, radius=radius)
    if arguments.clusters is None:
        show_table(peaks, arguments)
        return
    from .._io.columns import read_table

    clusters = read_table(arguments.clusters, "--clusters")
    matches = match_clusters(peaks, clusters, radius, wcs=kappa.wcs, mask=kappa.mask)
    show_table(_with_clusters(peaks, matches.table), arguments)
    print("\npairs of a peak and a cluster:")
    show_table(matches.table)
    print(matches)


def _with_clusters(peaks, pairs):
    """Add the name of the cluster of each peak, empty without one, and its separation, NaN without one."""
    import numpy as np

    from .._io.result_tables import printed

    names, separation = np.zeros(len(peaks), pairs["cluster_name"].dtype), np.full(len(peaks), np.nan)
    names[pairs["peak"]] = pairs["cluster_name"]
    separation[pairs["peak"]] = pairs["separation"].value
    peaks["cluster_name"], peaks["separation"] = names, separation * pairs["separation"].unit
    return printed(peaks)


def _peak_counts(arguments):
    kappa = read_map(arguments)
    table = kappa.peak_counts(arguments.edges, smoothing=arguments.smoothing, minima=arguments.minima)
    show_table(table, arguments)
    if arguments.plot is not None:
        from ..plotting import plot_peak_counts

        save_figure(plot_peak_counts(table), arguments.plot, overwrite=arguments.overwrite)


def _power_spectrum(arguments):
    table = read_map(arguments).power_spectrum(arguments.edges, measured_only=arguments.measured_only)
    show_table(table, arguments)
    if arguments.plot is not None:
        from ..plotting import plot_spectrum

        save_figure(plot_spectrum(table), arguments.plot, overwrite=arguments.overwrite)


def _projected_mass(arguments):
    sources = z_source_of(arguments)
    kappa = read_map(arguments)
    show_table(kappa.projected_mass(arguments.regions, arguments.z_lens, sources, **_of_regions(arguments)), arguments)


def _region_statistics(arguments):
    show_table(read_map(arguments).region_statistics(arguments.regions, **_of_regions(arguments)), arguments)


def _of_regions(arguments):
    return options(arguments, "background", "keep_columns", "select") | {"cosmology": cosmology_of(arguments)}


def _aperture_mass(arguments):
    from ..analysis.region_means import listed

    regions = listed(arguments.regions, select=arguments.select)
    show_table(read_map(arguments).aperture_mass(regions, arguments.radius), arguments)


def _nfw_mass(arguments):
    from ..analysis.region_means import listed

    sources, cosmology = z_source_of(arguments), cosmology_of(arguments)
    kappa = read_map(arguments)
    regions = listed(arguments.regions, cosmology=cosmology, select=arguments.select)
    chosen = options(arguments, "background", "concentration", "scatter", "structure") | {"cosmology": cosmology}
    show_table(kappa.nfw_mass(regions, arguments.z_lens, sources, **chosen), arguments)


def _surface_density(arguments):
    _needs_output(arguments)
    sources, cosmology = z_source_of(arguments), cosmology_of(arguments)
    _write(read_map(arguments).surface_density(arguments.z_lens, sources, cosmology), arguments)


def _reproject_to(arguments):
    _needs_output(arguments)
    _write(read_map(arguments).reproject_to(wcs_of(arguments.wcs)), arguments)


def _from_healpix(arguments):
    from .._utils.files import check_target
    from ..maps.convergence_map import ConvergenceMap

    _needs_output(arguments)
    check_target(arguments.output, overwrite=arguments.overwrite)
    sphere = options(arguments, "field", "frame", "nested")
    _write(ConvergenceMap.from_healpix(arguments.map, wcs=wcs_of(arguments.wcs), **sphere), arguments)


def _report(arguments):
    _needs_output(arguments)
    names = ("regions", "threshold", "overwrite", "title", "object")
    read_map(arguments).report(arguments.output, **{name: getattr(arguments, name) for name in names})
    print(f"wrote {arguments.output}")


def _plot(arguments):
    from ..plotting.panels import bin_title  # loads regions

    chosen = options(arguments, "quantity", "contours")
    _draw(arguments, lambda kappa, **regions: kappa.plot(title=bin_title(kappa), **chosen, **regions).figure)


def _plot_summary(arguments):
    _draw(arguments, lambda kappa, **regions: kappa.plot_summary(**regions))


def _plot_samples(arguments):
    _draw(arguments, lambda kappa, **regions: kappa.plot_samples(**regions))


def _draw(arguments, picture):
    _needs_output(arguments)
    check_picture(arguments.output, overwrite=arguments.overwrite)
    kappa = read_map(arguments)
    with print_style(arguments.width):
        figure = picture(kappa, **options(arguments, "regions", "labels"))
        save_figure(figure, arguments.output, overwrite=arguments.overwrite)


def _write(kappa, arguments):
    kappa.write(arguments.output, format="fits", overwrite=arguments.overwrite)
    print(f"{kappa!r}\nwrote {arguments.output}")


def angles(text):
    """Parse two numbers and an angular unit, such as '3,6 arcmin'."""
    import astropy.units as u

    values, _, unit = text.strip().rpartition(" ")
    try:
        pair = numbers(values) * u.Unit(unit)
        if len(pair) != 2 or not pair.unit.is_equivalent(u.rad):
            raise ValueError
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"needs two radii such as '3,6 arcmin', got {text!r}") from None
    return pair


def kept_columns(text):
    """Parse names separated by commas; True for "all"."""
    return True if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
