"""
Figures of a map, of its samples, and of checks on mock surveys.

Each function draws into a given figure or a new one and returns it. The convergence is blue below and red above zero
on one scale for all panels of a figure; samples are blue, values above a threshold are red, and the map itself is
black. North is up and East is left as far as the grid allows. Needs matplotlib: ``pip install "astro_massmap[plot]"``.
"""

from .checks import plot_b_modes, plot_calibration, plot_completeness, plot_reliability
from .curves import plot_detection, plot_peak_counts, plot_spectrum
from .sky import plot_cutouts, plot_samples, plot_summary
from .validation import plot_validation

__all__ = [
    "plot_b_modes",
    "plot_calibration",
    "plot_completeness",
    "plot_cutouts",
    "plot_detection",
    "plot_peak_counts",
    "plot_reliability",
    "plot_samples",
    "plot_spectrum",
    "plot_summary",
    "plot_validation",
]
