"""Simulated maps and mock surveys; only functions of catalogues and sky maps import astropy."""

from .calibrated_planes import PlaneFilter, matter_power
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
from .survey_maps import Survey, SurveyMaps
from .targeted_maps import TargetedMaps, TargetedSurvey, power_factor
from .training_set import Report, calibrate, light_cone, simulate_boxes, write_maps, write_tables

__all__ = [
    "RESOLUTION",
    "Cosmology",
    "LensPlanes",
    "LightCone",
    "MapSet",
    "NBody",
    "NFWHalo",
    "PlaneFilter",
    "Report",
    "Survey",
    "SurveyMaps",
    "TargetedMaps",
    "TargetedSurvey",
    "Transfer",
    "band_mean",
    "band_power",
    "calibrate",
    "declared_spectrum",
    "inject_halo",
    "lensing_weights",
    "light_cone",
    "lognormal_maps",
    "matter_power",
    "moments",
    "observe",
    "peak_density",
    "power_factor",
    "simulate_boxes",
    "smoothed",
    "write_maps",
    "write_tables",
]
