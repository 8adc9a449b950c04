"""Statements on the fit of the model to the data, in the map itself, warnings, the report and the terminal."""

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import ConvergenceMap, ShearMap
from astro_massmap.cli import main

from helpers.skies import tan_wcs

SIDE = 24


def shear(noise):
    """Shear map with ``noise`` times the stated noise."""
    rng = np.random.default_rng(0)
    data = 0.1 * noise * rng.normal(size=(2, SIDE, SIDE))
    return ShearMap(data, wcs=tan_wcs((SIDE, SIDE)), noise_std=0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:prior. the samples have")
@pytest.mark.parametrize("method", ["wiener", "posterior_mean", "posterior_diffusion", "annealed_hmc"])
def test_noise_that_is_wrong_by_a_factor_of_three_gives_a_warning(method):
    options = {} if method == "posterior_mean" else {"n_samples": 2}
    if method == "posterior_diffusion":
        options |= {"steps": 3, "n_check": 0}
    if method == "annealed_hmc":
        options |= {"schedule": "fast", "n_check": 0}
    with pytest.warns(AstropyUserWarning, match=r"the noise seems (2\.9|3|3\.0).* times as large as stated"):
        kappa = shear(3.0).reconstruct(method, progress=False, **options)
    assert abs(kappa.diagnostics["fit"]["noise_factor"] - 3) < 0.2
    assert "times the stated value" in repr(kappa)
    kappa = shear(1.0).reconstruct(method, progress=False, **options)  # warnings are errors here
    assert "stated" not in repr(kappa)


@pytest.mark.slow
def test_descriptions_of_a_map_include_the_fit(capsys):
    with pytest.warns(AstropyUserWarning):
        kappa = shear(3.0).reconstruct("wiener", n_samples=8, progress=False)
    kappa.write("kappa.fits")
    kappa.report("kappa.html")
    with open("kappa.html", encoding="utf-8") as file:
        page = file.read()
    assert "χ² of the residuals over its expectation" in page and "Warning: the noise seems" in page
    assert main(["info", "kappa.fits"]) == 0
    shown = capsys.readouterr().out
    assert "chi^2 of the residuals over its expectation" in shown and "warning: the noise seems" in shown
    assert "times the stated value" in repr(ConvergenceMap.read("kappa.fits"))


def test_a_map_without_a_fit_has_a_description():
    kappa = shear(1.0).reconstruct("wiener", n_samples=0, uncertainty=False, progress=False)
    assert kappa.diagnostics["fit"] is None and kappa.uncertainty is None
    assert repr(kappa).endswith("no samples>")
