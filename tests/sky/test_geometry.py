"""Shear of halos on grids of many projections, compared with the tangential pattern on the sphere."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from hypothesis import given, settings, strategies as st

from astro_massmap import KaiserSquires, ShearCatalog
from astro_massmap._sky.geometry import (
    celestial_wcs,
    check_shape,
    fitting_wcs,
    north_in_pixels,
    pixel_scale,
    shear_to_icrs,
    to_angle,
)

from helpers.cases import each_case
from helpers.skies import halo_shear, scatter, tan_wcs

SHAPE = (60, 64)
GRIDS = {
    "plain": {},
    "rotated": {"rotation": 37},
    "flipped": {"flipped": True},
    "flipped and rotated": {"flipped": True, "rotation": -110},
    "at the pole": {"center": (40.0, 89.93)},
    "on the pole, rotated": {"center": (0.0, -90.0), "rotation": 20},
    "across 0 h": {"center": (0.02, -31.0)},
    "ZEA": {"projection": "ZEA", "center": (210.0, 54.0)},
    "CAR": {"projection": "CAR", "center": (0.0, 0.0)},
    "Galactic": {"frame": "galactic", "center": (120.0, -40.0)},
}


def _wcs(options):
    return tan_wcs(SHAPE, scale=0.5, **options)


@pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
def test_a_halo_is_recovered_at_its_position_with_a_tangential_pattern(options):
    wcs = _wcs(options)
    galaxies = scatter(wcs, SHAPE, 40000).icrs
    center = wcs.pixel_to_world(39.0, 22.0).icrs
    e = halo_shear(galaxies, center)
    catalog = ShearCatalog(galaxies, e.real, e.imag, axes="west-north", shape_noise=0.25)
    shear = catalog.to_map(wcs=wcs)

    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    phi, r = np.arctan2(y - 22.0, x - 39.0), np.hypot(y - 22.0, x - 39.0)
    g1, g2 = shear.data
    ring = (r > 3) & (r < 20) & ~shear.mask
    tangential = -(g1 * np.cos(2 * phi) + g2 * np.sin(2 * phi))[ring]
    cross = (g1 * np.sin(2 * phi) - g2 * np.cos(2 * phi))[ring]
    assert tangential.min() > 0
    assert np.abs(cross.mean()) < 0.01 * tangential.mean()
    assert cross.std() < 0.1 * tangential.mean()  # galaxies are off the centres of pixels

    kappa = shear.reconstruct(KaiserSquires(smoothing=0.5 * u.arcmin))
    peak = np.unravel_index(kappa.data.argmax(), SHAPE)
    assert kappa.wcs.pixel_to_world(peak[1], peak[0]).separation(center) < 0.5 * u.arcmin
    assert np.abs(kappa.b_mode.data[ring]).max() < 0.1 * kappa.data.max()


@pytest.mark.parametrize("axes", ["west-north", "east-north", "north-east", "south-east"])
def test_all_axes_give_the_same_shear(axes):
    wcs = _wcs({"rotation": 25})
    galaxies = scatter(wcs, SHAPE, 2000)
    e = halo_shear(galaxies, wcs.pixel_to_world(30, 30))
    reference = ShearCatalog(galaxies, e.real, e.imag, axes="west-north").to_map(wcs=wcs)
    # position angle pa from North through East: at 90 deg + pa from West,
    # at 90 deg - pa from East, at 180 deg - pa from South
    pa = np.angle(e) / 2 - np.pi / 2
    angle = {"west-north": pa + np.pi / 2, "east-north": np.pi / 2 - pa, "north-east": pa, "south-east": np.pi - pa}
    own = np.abs(e) * np.exp(2j * angle[axes])
    assert np.allclose(
        ShearCatalog(galaxies, own.real, own.imag, axes=axes).to_map(wcs=wcs).data, reference.data, atol=1e-12
    )


def test_shear_measured_in_galactic_axes_maps_the_same_halo():
    wcs = _wcs({"center": (200.0, 40.0)})
    galaxies = scatter(wcs, SHAPE, 3000)
    center = wcs.pixel_to_world(30, 30)
    maps = []
    for frame in ("icrs", "galactic"):
        coords = galaxies.transform_to(frame)
        e = halo_shear(coords, center.transform_to(frame))
        maps.append(ShearCatalog(coords, e.real, e.imag, axes="west-north").to_map(wcs=wcs).data)
    assert np.allclose(*maps, atol=1e-5)


def test_shear_is_rotated_to_icrs():
    coords = SkyCoord(scatter(_wcs({}), SHAPE, 50).galactic)
    center = SkyCoord(150.1, 2.1, unit="deg")
    assert np.allclose(
        shear_to_icrs(coords, halo_shear(coords, center.galactic)), halo_shear(coords.icrs, center), atol=1e-6
    )


@given(
    lon=st.floats(0, 359.9),
    lat=st.floats(-89.99, 89.99),
    rotation=st.floats(-180, 180),
    flipped=st.booleans(),
)
def test_north_agrees_with_the_grid(lon, lat, rotation, flipped):
    wcs = tan_wcs(SHAPE, center=(lon, lat), rotation=rotation, flipped=flipped)
    here = SkyCoord([lon] * u.deg, [lat] * u.deg)
    x, y, (right, up) = north_in_pixels(here, wcs)
    assert np.allclose([x[0], y[0]], [31.5, 29.5], atol=1e-6)
    # at the tangent point the projection is the CD matrix: North is the image of (0, 1)
    direction = np.linalg.solve(wcs.wcs.cd, [0, 1])
    assert np.isclose(
        (right + 1j * up)[0] / np.hypot(right, up)[0], complex(*direction) / np.hypot(*direction), atol=1e-5
    )
    scale, mirrored = pixel_scale(wcs, SHAPE)
    assert np.isclose(scale.to_value(u.arcmin), 0.4)
    assert mirrored == flipped


@given(
    lon=st.floats(0, 360),
    lat=st.floats(-90, 90),
    rotation=st.floats(-180, 180),
    flipped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_positions_on_a_tangent_plane_agree_with_wcslib(lon, lat, rotation, flipped, seed):
    wcs = tan_wcs(SHAPE, center=(lon, lat), rotation=rotation, flipped=flipped)
    rng = np.random.default_rng(seed)
    anywhere = SkyCoord(rng.uniform(0, 360, 20), np.degrees(np.arcsin(rng.uniform(-1, 1, 20))), unit="deg")
    near = SkyCoord(lon * u.deg, lat * u.deg).directional_offset_by(
        rng.uniform(0, 360, 20) * u.deg, rng.uniform(0, 3, 20) * u.deg
    )
    x, y, _ = north_in_pixels(near, wcs)
    assert np.allclose([x, y], wcs.world_to_pixel(near), rtol=0, atol=1e-6)
    x, y, _ = north_in_pixels(anywhere, wcs)
    behind = anywhere.separation(SkyCoord(lon * u.deg, lat * u.deg)) > 90 * u.deg
    assert np.array_equal(np.isnan(x + y), behind)


@pytest.mark.parametrize("center", [(150.0, 2.0), (0.01, 60.0), (359.99, -20.0), (33.0, 89.99)])
@pytest.mark.parametrize("frame", ["icrs", "galactic", "fk5"])
def test_the_fitting_grid_contains_all_galaxies(center, frame):
    galaxies = scatter(tan_wcs(SHAPE, center=center), SHAPE, 300).transform_to(frame)
    wcs = fitting_wcs(galaxies, 0.4 * u.arcmin)
    x, y = wcs.world_to_pixel(galaxies)
    ny, nx = wcs.array_shape
    assert x.min() > -0.5 and x.max() < nx - 0.5 and y.min() > -0.5 and y.max() < ny - 0.5
    if frame == "icrs" and abs(center[1]) < 80:
        assert abs(nx - SHAPE[1]) <= 2 and abs(ny - SHAPE[0]) <= 2
    scale, mirrored = pixel_scale(wcs, wcs.array_shape)
    assert np.isclose(scale.to_value(u.arcmin), 0.4)
    assert not mirrored


def test_galaxies_all_over_the_sky_need_a_grid():
    with pytest.raises(ValueError, match="half of the sky"):
        fitting_wcs(SkyCoord([0, 90, 180, 270] * u.deg, [0, 0, 0, 0] * u.deg), 1 * u.arcmin)
    with pytest.raises(ValueError, match="too wide"):
        fitting_wcs(SkyCoord([0, 0, 0, 120] * u.deg, [0, 0, 0, 0] * u.deg), 1 * u.deg)


def test_oblong_pixels_are_rejected():
    wcs = tan_wcs(SHAPE)
    wcs.wcs.cd = np.diag([-0.4, 0.41]) / 60
    with pytest.raises(ValueError, match=r"oblong or sheared by 2\.5%"):
        pixel_scale(wcs, SHAPE)
    skewed = tan_wcs(SHAPE)
    skewed.wcs.cd = np.array([[-0.4, 0.02], [0, 0.4]]) / 60
    with pytest.raises(ValueError, match="sheared"):
        pixel_scale(skewed, SHAPE)
    # plate carree far from its equator: steps in RA shrink by cos(dec)
    wide = WCS(naxis=2)
    wide.wcs.ctype, wide.wcs.crval = ["RA---CAR", "DEC--CAR"], [30, 0]
    wide.wcs.cdelt, wide.wcs.crpix = [-0.01, 0.01], [30, -2000]
    with pytest.raises(ValueError, match="oblong"):
        pixel_scale(wide, SHAPE)


def test_warning_for_a_field_too_large_for_a_flat_sky():
    wcs = tan_wcs((90, 90), scale=12)
    with pytest.warns(AstropyUserWarning, match="flat sky"):
        pixel_scale(wcs, (90, 90))


def test_a_grid_off_the_sky_is_rejected():
    wcs = tan_wcs(SHAPE, projection="ZEA", scale=600)
    wcs.wcs.crpix = [5000, 5000]
    with warnings.catch_warnings(), pytest.raises(ValueError, match="not on the sky"):
        warnings.simplefilter("ignore")
        pixel_scale(wcs, SHAPE)


@each_case("shape", [(0, 4), (3,), (3, 4, 5), (2.5, 3), "ab", None, (-1, 4)])
def test_a_shape_is_two_positive_integers(shape):
    with pytest.raises(ValueError, match="shape"):
        check_shape(shape)


def test_a_grid_too_large_for_memory_is_rejected():
    with pytest.raises(ValueError, match="GiB"):
        check_shape((10**6, 10**6))


@each_case(
    ("value", "error"), [(0.4, u.UnitsError), ("x", TypeError), (1 * u.m, u.UnitsError), (-1 * u.deg, ValueError)]
)
def test_invalid_angles(value, error):
    with pytest.raises(error, match="pixel_scale"):
        to_angle(value, "pixel_scale")


AXES = {
    "lon": ("RA---TAN", 150.0, -0.01, "deg"),
    "lat": ("DEC--TAN", 2.2, 0.01, "deg"),
    "freq": ("FREQ", 1.4e9, 1e6, "Hz"),
    "stokes": ("STOKES", 1.0, 1.0, ""),
}


def _cube(order, sides):
    header = fits.Header({"NAXIS": len(sides), "WCSAXES": len(order)})
    for i, side in enumerate(sides, 1):
        header[f"NAXIS{i}"] = side
    for i, axis in enumerate(order, 1):
        header[f"CTYPE{i}"], header[f"CRVAL{i}"], header[f"CDELT{i}"], header[f"CUNIT{i}"] = AXES[axis]
        header[f"CRPIX{i}"] = 1 + (i % 2)
    return header


def _wcs_of(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about axes missing in the array
        return WCS(header)


@settings(max_examples=40, deadline=None)
@given(st.permutations(list(AXES)), st.integers(2, 4), st.data())
def test_the_sky_axes_of_a_cube_are_found_wherever_they_are(order, n_axes, data):
    order = [axis for axis in order if axis in [*AXES][:n_axes]]
    sides = [data.draw(st.integers(1, 40), label=axis) for axis in order]
    cube = _wcs_of(_cube(order, sides))
    wcs, shape = celestial_wcs(cube)
    sky = [i for i, axis in enumerate(order) if axis in ("lon", "lat")]
    assert shape == wcs.array_shape == (sides[sky[1]], sides[sky[0]])
    pixel = [3.0 * (i in sky) for i in range(n_axes)]
    pixel[sky[1]] = 7.0
    world = np.array(cube.pixel_to_world_values(*pixel))[sky]
    np.testing.assert_allclose(wcs.pixel_to_world_values(3.0, 7.0), world, rtol=1e-12)
    assert celestial_wcs(cube, (11, 12))[1] == (11, 12)


def test_a_header_may_have_more_axes_than_its_array():
    assert celestial_wcs(_wcs_of(_cube(["lon", "lat", "freq", "stokes"], [60, 50])))[1] == (50, 60)
    assert celestial_wcs(_wcs_of(_cube(["freq", "lon", "lat"], [60, 50])))[1] == (1, 50)  # missing axes have one pixel


def test_sky_axes_mixed_with_others_are_rejected():
    header = _cube(["lon", "lat", "freq"], [60, 50, 4])
    header["PC1_3"] = 0.5
    with pytest.raises(ValueError, match="celestial axes need to be independent"):
        celestial_wcs(_wcs_of(header))


def test_a_catalogue_on_the_grid_of_a_cube():
    catalog = ShearCatalog(
        SkyCoord([149.99, 150.0] * u.deg, [2.2, 2.21] * u.deg), [0.1, 0.2], [0, 0.1], axes="west-north"
    )
    flat = catalog.to_map(wcs=_wcs_of(_cube(["lon", "lat"], [9, 7])))
    cube = catalog.to_map(wcs=_wcs_of(_cube(["stokes", "lon", "lat"], [4, 9, 7])))
    assert flat.shape == cube.shape == (7, 9)
