"""Maps in a notebook, with a small module in place of ipyaladin that records what it is given."""

import io
import json
import sys
from types import ModuleType

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from regions import CircleAnnulusSkyRegion, CirclePixelRegion, CircleSkyRegion, PixCoord, PointSkyRegion

from astro_massmap import ConvergenceMap

from helpers.skies import tan_wcs

SHAPE = (40, 52)
GRID = tan_wcs(SHAPE)


class RecordingAladin:
    """The part of ``ipyaladin.Aladin`` 0.8 that is used; it keeps its arguments."""

    def __init__(self, **options):
        self.options, self.images, self.overlays, self.observers = options, [], [], []

    def observe(self, function, names):
        self.observers.append((function, names))

    def add_fits(self, hdus, **options):
        buffer = io.BytesIO()
        hdus.writeto(buffer)
        json.dumps(options)  # they are sent to the browser
        self.images.append((buffer.getvalue(), options))

    def add_graphic_overlay_from_region(self, regions, **options):
        self.overlays.append((regions, options))


@pytest.fixture
def _ipyaladin(monkeypatch):
    module = ModuleType("ipyaladin")
    module.Aladin = RecordingAladin
    monkeypatch.setitem(sys.modules, "ipyaladin", module)


def kappa():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:5] = True
    return ConvergenceMap(np.random.default_rng(0).normal(size=SHAPE), wcs=GRID, mask=mask)


@pytest.mark.usefixtures("_ipyaladin")
def test_a_map_is_shown_at_its_position_with_regions():
    here = GRID.pixel_to_world(20, 10)
    regions = [CircleSkyRegion(here, 2 * u.arcmin), CirclePixelRegion(PixCoord(20, 10), 3)]
    widget = kappa().show(regions=regions, height=300, opacity=0.5)
    assert widget.options["height"] == 300
    assert widget.options["target"].separation(GRID.pixel_to_world(25.5, 19.5)).arcsec < 1
    assert 52 * 0.4 / 60 < widget.options["fov"] < 2 * 52 * 0.4 / 60
    ((fit, name),) = widget.observers
    assert name == "_is_loaded"
    for sides, needed in (((2, 1), 80), ((1, 1), 52), ((1, 2), 52)):  # of the widget, in any unit; 40 x 52 pixels
        widget.fov_xy = sides * u.deg
        fit({})
        assert needed * 0.4 / 60 < widget.fov < 1.2 * needed * 0.4 / 60
    ((content, options),) = widget.images
    with fits.open(io.BytesIO(content)) as hdus:
        shown, wcs = hdus[0].data, WCS(hdus[0].header)
    assert np.array_equal(np.isnan(shown), kappa().mask)
    assert np.allclose(shown[5:], kappa().data[5:])
    assert wcs.pixel_to_world(20, 10).separation(here).arcsec < 0.01
    assert options["opacity"] == 0.5 and options["min_cut"] == -options["max_cut"] < 0
    ((drawn, _),) = widget.overlays
    assert all(region.center.separation(here).arcsec < 0.01 for region in drawn)


@pytest.mark.usefixtures("_ipyaladin")
def test_a_given_field_of_view_is_kept():
    widget = kappa().show(fov=3)
    assert widget.options["fov"] == 3 and not widget.observers


@pytest.mark.usefixtures("_ipyaladin")
def test_points_are_circles_of_a_pixel_and_other_shapes_are_an_error():
    here = GRID.pixel_to_world(20, 10)
    (((circle,), _),) = kappa().show(regions=[PointSkyRegion(here)]).overlays
    assert isinstance(circle, CircleSkyRegion) and circle.center.separation(here).arcsec < 0.01
    assert circle.radius.to_value("arcmin") == pytest.approx(0.4, rel=1e-3)
    with pytest.raises(ValueError, match=r"regions: Aladin Lite draws circles, .* got a CircleAnnulusSkyRegion"):
        kappa().show(regions=[CircleAnnulusSkyRegion(here, 1 * u.arcmin, 2 * u.arcmin)])


@pytest.mark.usefixtures("_ipyaladin")
def test_invalid_opacity():
    with pytest.raises(ValueError, match="opacity: needs a number from 0 to 1, got 2"):
        kappa().show(opacity=2)


def test_without_ipyaladin_the_error_has_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyaladin", None)
    with pytest.raises(ImportError, match=r'pip install ipyaladin, or "astro_massmap\[notebook\]"'):
        kappa().show()
