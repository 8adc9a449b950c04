"""The commands that measure a map, such as ``massmap detection-probability`` and ``massmap peaks``."""

import argparse
from pathlib import Path

from .map_commands import Z_SOURCE, add_command, add_smoothing, read_map
from .outputs import save_figure, show_table
from .sources import add_cosmology_argument, add_z_source_argument, cosmology_of, number_or_name, z_source_of
from .values import angle, angles, kept_columns, numbers, options


def add_commands(commands):
    _add_regions(commands)
    _add_statistics(commands)


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
    _add_redshifts(mass)

    for parser in (found, means, mass):
        parser.add_argument("--background", type=angles, metavar="IN,OUT", help="ring to subtract: '3,6 arcmin'")
        parser.add_argument(
            "--keep-columns", type=kept_columns, metavar="A,B", help="columns of the table of regions, or all"
        )
        add_cosmology_argument(parser, "for distances (default: that of astropy)")

    aperture = add_command(commands, "aperture-mass", _aperture_mass, "compensated aperture mass", regions=True)
    aperture.add_argument("--radius", type=angle, required=True, metavar="ANGLE", help="radius of the apertures")

    halo = add_command(commands, "nfw-mass", _nfw_mass, "M200c of NFW halos fitted to the samples", regions=True)
    _add_redshifts(halo)
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


def _add_redshifts(parser):
    parser.add_argument(
        "--z-lens",
        type=number_or_name,
        metavar="Z",
        help="redshift of the lens, or a column of redshifts (default: that of massmap reconstruct --z-lens)",
    )
    add_z_source_argument(parser, Z_SOURCE)


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


def _region_statistics(arguments):
    show_table(read_map(arguments).region_statistics(arguments.regions, **_of_regions(arguments)), arguments)


def _projected_mass(arguments):
    sources = z_source_of(arguments)
    kappa = read_map(arguments)
    show_table(kappa.projected_mass(arguments.regions, arguments.z_lens, sources, **_of_regions(arguments)), arguments)


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
