"""
Time of measurements on a large posterior: ``python benchmarks/detections.py``.

256 samples of 512 x 512 pixels, 1000 round regions of 1.5 arcmin.
"""

import time

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from regions import CircleSkyRegion

from astro_massmap import ConvergenceMap

SIDE, N_SAMPLES, N_REGIONS = 512, 256, 1000


def main():
    rng = np.random.default_rng(0)
    wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2, "CRPIX1": 256.5,
               "CRPIX2": 256.5, "CDELT1": -0.4 / 60, "CDELT2": 0.4 / 60})  # fmt: skip
    samples = rng.normal(scale=0.02, size=(N_SAMPLES, SIDE, SIDE)).astype(np.float32)
    kappa = ConvergenceMap(samples.mean(axis=0), wcs=wcs, samples=samples)
    regions = [CircleSkyRegion(c, 1.5 * u.arcmin) for c in wcs.pixel_to_world(*rng.uniform(0, SIDE, (2, N_REGIONS)))]
    measurements = {
        "detection_probability": lambda: kappa.detection_probability(regions, 0.001),
        "detection_probability above a ring": lambda: kappa.detection_probability(regions, 0.001, [3, 6] * u.arcmin),
        "region_statistics": lambda: kappa.region_statistics(regions),
        "peaks, smoothed": lambda: kappa.peaks(0.01, smoothing=1 * u.arcmin),
        "power_spectrum": kappa.power_spectrum,
    }
    for name, measure in measurements.items():
        start = time.perf_counter()
        measure()
        print(f"{name:40} {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
