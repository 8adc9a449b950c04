"""The commands of ``massmap`` by task, with the functions of Python that do the same."""

# task: command: (what it does, functions and methods in Python)
TASKS = {
    "Maps": {
        "reconstruct": ("map a catalogue of galaxies", ("ShearCatalog.reconstruct", "ShearCatalog.read")),
        "denoise": ("infer the convergence behind a noisy map of it", ("ConvergenceMap.reconstruct",)),
        "demo": ("map the field embedded in the package", ("datasets.demo",)),
        "from-healpix": ("a HEALPix map on the grid of an image", ("ConvergenceMap.from_healpix",)),
        "reproject-to": ("a map on the grid of an image", ("ConvergenceMap.reproject_to",)),
        "surface-density": ("a map in Msun / kpc2", ("ConvergenceMap.surface_density",)),
    },
    "Clusters and other regions": {
        "detection-probability": ("is each of them there?", ("ConvergenceMap.detection_probability",)),
        "region-statistics": ("their mean convergence", ("ConvergenceMap.region_statistics",)),
        "projected-mass": ("their mass", ("ConvergenceMap.projected_mass",)),
        "aperture-mass": ("their aperture mass", ("ConvergenceMap.aperture_mass",)),
    },
    "Peaks and power": {
        "peaks": ("peaks, and how many samples have them", ("ConvergenceMap.peaks", "analysis.peaks.match_clusters")),
        "peak-counts": ("number of peaks, or minima, by height", ("ConvergenceMap.peak_counts",)),
        "power-spectrum": ("angular power spectrum", ("ConvergenceMap.power_spectrum",)),
    },
    "Figures and reports": {
        "plot-summary": ("the map, its error and their ratio", ("ConvergenceMap.plot_summary",)),
        "plot-samples": ("some samples", ("ConvergenceMap.plot_samples",)),
        "report": ("figures, clusters and settings in HTML", ("ConvergenceMap.report",)),
    },
    "Tests of a survey": {
        "null-test": (
            "is there a B mode?",
            (
                "validation.null_tests.b_mode_test",
                "validation.null_tests.noise_maps",
                "validation.null_tests.jackknife",
            ),
        ),
        "inject-halo": ("put a halo in front of the galaxies", ("simulation.inject_halo",)),
        "completeness": ("would a cluster have been seen?", ("validation.completeness.completeness",)),
        "calibration": (
            "are credible intervals right on mock surveys?",
            ("validation.diagnostics.coverage", "validation.diagnostics.rank_histogram", "validation.diagnostics.tarp"),
        ),
        "validate": ("all methods on mock surveys", ("validation.compare", "validation.run_mocks")),
    },
    "Spectra and priors": {
        "from-cosmology": ("power spectrum for the redshifts of the sources", ("PowerSpectrum.from_cosmology",)),
        "simulate": ("simulate maps to train a prior with", ("simulation.simulate_boxes", "simulation.write_maps")),
        "train": ("train a prior on maps", ("training.train_prior", "training.train_posterior_mean")),
    },
    "Provenance": {
        "info": ("how a map was made", ("ConvergenceMap.meta",)),
        "repeat": ("make a map again, and compare", ("ConvergenceMap.meta",)),
    },
}

# functions of Python that are options of commands
OPTIONS = {
    "ShearCatalog.check_axes": "reconstruct --check-axes",
    "ShearCatalog.to_map": "reconstruct --wcs, --pixel-scale, --exclude",
    "ShearCatalog.write": "inject-halo -o",
    "ShearMap.reconstruct": "reconstruct",
    "ConvergenceMap.read": "MAP",
    "ConvergenceMap.write": "reconstruct -o",
    "ConvergenceMap.plot": "reconstruct --plot",
    "ConvergenceMap.plot_cutouts": "detection-probability --plot",
    "ConvergenceMap.plot_detection": "detection-probability --histogram",
    "ShearMap.plot": "reconstruct --plot",
    "validation.completeness.random_centers": "completeness --places",
    "PowerSpectrum.read": "reconstruct --spectrum",
    "PowerSpectrum.to_table": "from-cosmology -o",
}

# what has no command: parts of a program rather than tasks
PYTHON_ONLY = (
    "ShearCatalog.from_table",
    "ShearCatalog.to_table",
    "ShearMap.read",
    "ShearMap.write",
    "ConvergenceMap.cutout",
    "ConvergenceMap.distribution",
    "ConvergenceMap.median",
    "ConvergenceMap.quantile",
    "ConvergenceMap.region_means",
    "PowerSpectrum.default",
    "PowerSpectrum.resolved",
    "validation.diagnostics.ranks",
    "validation.diagnostics.reliability",
    "validation.null_tests.rotated",
)


def commands_by_task():
    """The commands as text, for the end of ``massmap --help``."""
    lines = []
    for task, commands in TASKS.items():
        lines.append(f"{task}:")
        for command, (text, functions) in commands.items():
            lines.append(f"  {command:<22} {text:<48} {functions[0]}")
        lines.append("")
    return "\n".join([*lines, "On the right the same in Python. massmap COMMAND --help lists the options."])
