"""The commands of ``massmap`` by task, with the equivalent functions of Python."""

# task: command: (description, functions and methods in Python)
TASKS = {
    "Maps": {
        "reconstruct": ("map a catalogue of galaxies", ("ShearCatalog.reconstruct", "ShearCatalog.read")),
        "survey": (
            "map a survey of any extent, field by field",
            ("SkyFields.reconstruct", "SkyMaps.write_healpix", "SkyMaps.peaks", "SkyMaps.write_cutouts"),
        ),
        "denoise": ("reconstruct a noisy convergence map", ("ConvergenceMap.reconstruct",)),
        "demo": ("map the example survey of the package", ("datasets.demo",)),
        "from-healpix": ("reproject a HEALPix map to the grid of an image", ("ConvergenceMap.from_healpix",)),
        "reproject-to": ("reproject a map to the grid of an image", ("ConvergenceMap.reproject_to",)),
        "surface-density": ("convert a map to Msun / kpc2", ("ConvergenceMap.surface_density",)),
    },
    "Clusters and other regions": {
        "detection-probability": ("probability that each is detected", ("ConvergenceMap.detection_probability",)),
        "region-statistics": ("mean convergence", ("ConvergenceMap.region_statistics",)),
        "projected-mass": ("projected mass", ("ConvergenceMap.projected_mass",)),
        "aperture-mass": ("aperture mass", ("ConvergenceMap.aperture_mass",)),
        "nfw-mass": ("M200c of NFW halos", ("ConvergenceMap.nfw_mass",)),
    },
    "Credible regions": {
        "credible-intervals": ("intervals of super-pixels", ("ConvergenceMap.credible_intervals",)),
        "structure-test": ("test of structures in regions", ("ConvergenceMap.structure_test",)),
        "peak-offset": ("position of a peak relative to another", ("ConvergenceMap.peak_offset",)),
    },
    "Peaks and power": {
        "peaks": (
            "peaks, and the fraction of samples with them",
            ("ConvergenceMap.peaks", "analysis.peaks.match_clusters"),
        ),
        "peak-counts": ("number of peaks, or minima, by height", ("ConvergenceMap.peak_counts",)),
        "power-spectrum": ("angular power spectrum", ("ConvergenceMap.power_spectrum",)),
        "spectrum-posterior": ("posterior of an inferred power spectrum", ("ConvergenceMap.spectrum_posterior",)),
    },
    "Figures and reports": {
        "plot": ("plot the map, its error or signal to noise", ("ConvergenceMap.plot",)),
        "plot-summary": ("plot all three side by side", ("ConvergenceMap.plot_summary",)),
        "plot-samples": ("plot some samples", ("ConvergenceMap.plot_samples",)),
        "report": (
            "write figures, clusters and settings as HTML",
            ("ConvergenceMap.report", "plotting.report.write_report"),
        ),
    },
    "Tests of a survey": {
        "null-test": (
            "test for a B mode by random rotations",
            (
                "validation.null_tests.b_mode_test",
                "validation.null_tests.noise_maps",
                "validation.null_tests.jackknife",
            ),
        ),
        "property-test": ("test for a dependence on a property", ("validation.survey_properties.property_test",)),
        "inject-halo": ("add the shear of a halo to a catalogue", ("simulation.inject_halo",)),
        "completeness": ("detected fraction of injected halos by mass", ("validation.completeness.completeness",)),
        "calibration": (
            "calibration of posteriors on mock surveys",
            ("validation.diagnostics.coverage", "validation.diagnostics.rank_histogram", "validation.diagnostics.tarp"),
        ),
        "validate": (
            "compare the methods on mock surveys",
            ("validation.compare", "validation.run_mocks", "validation.write_benchmark"),
        ),
        "score": ("compare maps of any code on a benchmark", ("validation.score",)),
    },
    "Spectra and priors": {
        "spectrum": (
            "power spectrum for given source redshifts",
            ("PowerSpectrum.from_n_z", "PowerSpectrum.from_cosmology"),
        ),
        "simulate": ("simulate maps to train a prior with", ("simulation.simulate_boxes", "simulation.write_maps")),
        "train": ("train a prior on maps", ("training.train_prior", "training.train_posterior")),
    },
    "Provenance": {
        "info": ("print how a map was made", ("ConvergenceMap.meta",)),
        "repeat": ("make a map again and compare both", ("ConvergenceMap.meta",)),
    },
}

# functions of Python that correspond to options
OPTIONS = {
    "ShearCatalog.check_axes": "reconstruct --check-axes",
    "ShearCatalog.pieces": "survey --rows",
    "ShearCatalog.to_map": "reconstruct --wcs, --pixel-scale, --exclude",
    "ShearCatalog.bins": "reconstruct --bins",
    "ShearCatalog.for_lens": "reconstruct --z-lens",
    "ShearCatalog.write": "inject-halo -o",
    "ShearMap.reconstruct": "reconstruct",
    "ConvergenceMap.read": "MAP",
    "ConvergenceMap.write": "reconstruct -o",
    "ConvergenceMap.plot_cutouts": "detection-probability --plot",
    "ConvergenceMap.plot_detection": "detection-probability --histogram",
    "ShearMap.plot": "reconstruct --plot",
    "validation.completeness.random_centers": "completeness --places",
    "PowerSpectrum.read": "reconstruct --spectrum",
    "PowerSpectrum.from_n_z": "reconstruct --n-z, --z-source",
    "PowerSpectrum.to_table": "spectrum -o",
    "SkyMaps.healpix": "survey --healpix",
    "validation.survey_noise.survey_noise_maps": "survey --noise",
}

# functions of Python without a command
PYTHON_ONLY = (
    "ShearCatalog.from_table",
    "ShearCatalog.to_table",
    "ShearCatalog.to_treecorr",
    "ShearCatalog.outside",
    "ShearCatalog.healpix_values",
    "ShearCatalog.with_shear",
    "ShearMap.read",
    "ShearMap.write",
    "ConvergenceMap.add",
    "ConvergenceMap.aperture_densitometry",
    "ConvergenceMap.block_average",
    "ConvergenceMap.cutout",
    "ConvergenceMap.distribution",
    "ConvergenceMap.divide",
    "ConvergenceMap.healpix",
    "ConvergenceMap.median",
    "ConvergenceMap.multiply",
    "ConvergenceMap.quantile",
    "ConvergenceMap.region_means",
    "ConvergenceMap.show",
    "ConvergenceMap.subtract",
    "ConvergenceMap.to_healsparse",
    "ConvergenceMap.to_moc",
    "ConvergenceMap.to_sacc",
    "ConvergenceMap.to_xarray",
    "ConvergenceMap.without",
    "ConvergenceMap.write_healpix",
    "PowerSpectrum.default",
    "PowerSpectrum.resolved",
    "PowerSpectrum.times",
    "SkyFields.area_of",
    "SkyMaps.at",
    "SkyMaps.cutout",
    "SkyMaps.read",
    "SkyMaps.seams",
    "SkyMaps.to_healsparse",
    "SkyMaps.to_moc",
    "validation.diagnostics.ranks",
    "validation.diagnostics.reliability",
    "validation.null_tests.rotated",
)


def commands_by_task():
    """Return the list of commands for the end of ``massmap --help``."""
    lines = []
    for task, commands in TASKS.items():
        lines.append(f"{task}:")
        for command, (text, functions) in commands.items():
            lines.append(f"  {command:<22} {text:<48} {functions[0]}")
        lines.append("")
    return "\n".join([*lines, "Right column: the same in Python. massmap COMMAND --help lists the options."])
