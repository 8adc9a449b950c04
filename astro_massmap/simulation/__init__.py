"""
Maps to learn from, and mock surveys to test with.

Light cones of the package's own N-body code (`NBody`, `LensPlanes`, `LightCone`), calibrated by a `Transfer`;
lognormal maps as the cheap tier; published sets of maps as a `MapSet`; `observe`, which makes a shear catalogue
of a map; and `inject_halo`, which adds an `NFWHalo` to a map or a catalogue. Nothing here needs astropy before it
touches the sky.
"""

from .calibration import RESOLUTION, Transfer, declared_spectrum
from .cosmology import Cosmology
from .halos import NFWHalo
from .injection import inject_halo
from .light_cone import LensPlanes, LightCone, lensing_weights
from .lognormal import lognormal_maps
from .map_sets import MapSet
from .mock_survey import observe
from .nbody import NBody
from .statistics import band_mean, band_power, moments, peak_density, smoothed
from .training_set import Report, calibrate, light_cone, simulate_boxes, write_maps, write_tables

__all__ = [
    "RESOLUTION",
    "Cosmology",
    "LensPlanes",
    "LightCone",
    "MapSet",
    "NBody",
    "NFWHalo",
    "Report",
    "Transfer",
    "band_mean",
    "band_power",
    "calibrate",
    "declared_spectrum",
    "inject_halo",
    "lensing_weights",
    "light_cone",
    "lognormal_maps",
    "moments",
    "observe",
    "peak_density",
    "simulate_boxes",
    "smoothed",
    "write_maps",
    "write_tables",
]
