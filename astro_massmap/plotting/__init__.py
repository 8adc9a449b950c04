"""
Figures of maps, samples, measurements, and checks on mock surveys.

`plot_map`, `plot_shear`, `new_axes` and `draw_regions` draw on sky coordinates, on axes of the map or of another WCS;
`style` sets the size and fonts of figures for print, and `show` opens a map in a notebook.
Each of the others draws into ``figure``, a `~matplotlib.figure.Figure` or by default a new one, and returns it. The
convergence is blue below and red above zero on one scale for all panels of a figure; samples are blue, values above a
threshold are red, and the map itself is black. North is up and East is left as far as the grid allows. Needs
matplotlib: ``pip install "astro_massmap[plot]"``.
"""

from .axes import new_axes
from .curves import plot_detection, plot_peak_counts, plot_spectrum
from .decorations import unmeasured
from .interactive import show
from .labels import draw_regions
from .panels import plot_cutouts, plot_maps, plot_samples, plot_summary
from .sky import plot_map, plot_shear
from .style import style
from .survey_tests import plot_b_modes, plot_calibration, plot_completeness, plot_reliability
from .validation import plot_validation

__all__ = [
    "draw_regions",
    "new_axes",
    "plot_b_modes",
    "plot_calibration",
    "plot_completeness",
    "plot_cutouts",
    "plot_detection",
    "plot_map",
    "plot_maps",
    "plot_peak_counts",
    "plot_reliability",
    "plot_samples",
    "plot_shear",
    "plot_spectrum",
    "plot_summary",
    "plot_validation",
    "show",
    "style",
    "unmeasured",
]
