"""Interpolation of HEALPix maps of a known pattern on the sphere to images."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy_healpix import HEALPix

from astro_massmap._sky.healpix import from_healpix

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = (20, 26)
NSIDE = 128
UNSEEN = -1.6375e30
GRIDS = [
    tan_wcs(SHAPE, scale=8),
    tan_wcs(SHAPE, scale=8, center=(20.0, -85.0), rotation=30, flipped=True),
    tan_wcs(SHAPE, scale=8, center=(120.0, -50.0), frame="galactic"),
]


def pattern(coords):
    """Return a function of the direction in ICRS with waves of 40 HEALPix pixels."""
    x, y, z = coords.icrs.cartesian.xyz.value
    return np.cos(21 * x - 3) * np.cos(15 * y + 1) + 0.3 * np.sin(12 * z)


def centres(wcs):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return wcs.pixel_to_world(x, y)


def sphere(frame="icrs", order="ring", nside=NSIDE):
    healpix = HEALPix(nside, order=order)
    lon, lat = healpix.healpix_to_lonlat(np.arange(healpix.npix))
    return pattern(SkyCoord(lon, lat, frame=frame))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("frame", ["icrs", "galactic", FK5(equinox="J1975")])
@pytest.mark.parametrize("nested", [False, True])
def test_a_pattern_is_at_the_right_position(grid, frame, nested):
    data, mask = from_healpix(sphere(frame, "nested" if nested else "ring"), grid, nested=nested, frame=frame)
    # error of linear interpolation: h^2 / 8 times the second derivative, h = 0.46 deg, at most 700
    assert np.abs(data - pattern(centres(grid))).max() < 700 / 8 * np.radians(0.46) ** 2
    assert np.ptp(data) > 0.1
    assert not mask.any()


def test_the_frame_and_the_order_matter():
    right = from_healpix(sphere("galactic"), GRIDS[0], frame="galactic")[0]
    assert np.abs(from_healpix(sphere("galactic"), GRIDS[0], frame="icrs")[0] - right).max() > 0.3
    assert np.abs(from_healpix(sphere("galactic"), GRIDS[0], frame="galactic", nested=True)[0] - right).max() > 0.3


def test_samples_are_interpolated_independently():
    values = np.stack([sphere(), 2 * sphere(), np.ones(12 * NSIDE**2)]).astype(np.float32)
    data, mask = from_healpix(values, GRIDS[0], SHAPE)
    assert data.shape == (3, *SHAPE) and mask.shape == SHAPE and data.dtype == np.float32
    assert np.allclose(data[1], 2 * data[0], atol=1e-5) and np.allclose(data[2], 1)
    assert np.allclose(data[0], from_healpix(sphere(), GRIDS[0])[0], atol=1e-5)


@pytest.mark.parametrize("nothing", [UNSEEN, np.nan, np.float32(UNSEEN)])
def test_missing_pixels_are_masked(nothing):
    values = sphere()
    healpix = HEALPix(NSIDE, order="ring")
    star = GRIDS[0].pixel_to_world(10, 8)
    values[healpix.cone_search_lonlat(star.ra, star.dec, 0.6 * u.deg)] = nothing
    data, mask = from_healpix(values, GRIDS[0])
    distance = centres(GRIDS[0]).separation(star)
    assert mask[distance < 0.5 * u.deg].all()
    assert not mask[distance > 0.6 * u.deg + 2 * healpix.pixel_resolution].any()
    assert np.array_equal(np.isnan(data), mask)
    assert np.abs(data - pattern(centres(GRIDS[0])))[~mask].max() < 0.01


def test_a_pixel_missing_in_one_sample_is_masked():
    values = np.stack([sphere(), sphere()])
    values[1, :] = UNSEEN
    data, mask = from_healpix(np.ma.masked_less(values, -1e20), GRIDS[0])
    assert mask.all() and np.isfinite(data[0]).all()


def write(file, columns, **header):
    table = fits.BinTableHDU.from_columns([fits.Column(name=n, format=f, array=a) for n, f, a in columns])
    table.header.update(header)
    table.writeto(file, overwrite=True)


@pytest.mark.parametrize(("order", "system"), [("ring", "G"), ("nested", "C")])
def test_order_and_frame_are_read_from_the_header(order, system):
    values = sphere({"G": "galactic", "C": "icrs"}[system], order)
    columns = [("KAPPA", "1024D", values.reshape(-1, 1024)), ("OTHER", "1024E", np.zeros((len(values) // 1024, 1024)))]
    write("map.fits", columns, ORDERING=order.upper(), COORDSYS=system, NSIDE=NSIDE)
    data, mask = from_healpix("map.fits", GRIDS[1])
    assert np.abs(data - pattern(centres(GRIDS[1]))).max() < 0.01 and not mask.any()


def test_files_of_a_part_of_the_sky():
    pixels = np.sort(np.random.default_rng(0).permutation(12 * NSIDE**2)[: 11 * NSIDE**2])
    columns = [("PIXEL", "J", pixels), ("KAPPA", "E", sphere()[pixels])]
    write("part.fits", columns, ORDERING="RING", COORDSYS="C", NSIDE=NSIDE, INDXSCHM="EXPLICIT")
    data, mask = from_healpix("part.fits", GRIDS[0])
    assert 0 < mask.mean() < 0.5
    assert np.abs(data - pattern(centres(GRIDS[0])))[~mask].max() < 0.01


@pytest.mark.parametrize("nside", [64, 2048, 8192, 2**20])
@pytest.mark.parametrize("scheme", [{"INDXSCHM": "EXPLICIT"}, {"OBJECT": "PARTIAL"}])
def test_a_small_part_of_the_sky_at_any_resolution(nside, scheme):
    """Compare with interpolation of the full sky, or at high resolution with the pattern."""
    scale = 60 * 58.6 / nside  # the size of HEALPix pixels
    grid = tan_wcs(SHAPE, scale=scale, center=(150.0, 2.2))
    healpix = HEALPix(nside, order="nested")
    radius = scale * u.arcmin * SHAPE[1]
    pixels = healpix.cone_search_lonlat(150 * u.deg, 2.2 * u.deg, radius)
    pixels = np.random.default_rng(nside).permutation(pixels)  # unsorted
    values = pattern(SkyCoord(*healpix.healpix_to_lonlat(pixels)))
    columns = [("PIXEL", "K", pixels), ("KAPPA", "D", values)]
    write("part.fits", columns, ORDERING="NESTED", COORDSYS="C", NSIDE=nside, **scheme)
    data, mask = from_healpix("part.fits", grid)
    assert not mask.any()
    assert np.abs(data - pattern(centres(grid))).max() < 700 / 8 * np.radians(58.6 / nside) ** 2
    if nside == 64:
        assert np.array_equal(data, from_healpix(sphere(order="nested", nside=nside), grid, nested=True)[0])


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_full_map_in_a_file_agrees_with_the_array(packed):
    values = sphere("galactic").astype("f4")
    values[::7] = UNSEEN
    write(f"map.fits{packed}", [("KAPPA", "1024E", values.reshape(-1, 1024))], COORDSYS="G", BAD_DATA=UNSEEN)
    data, mask = from_healpix(f"map.fits{packed}", GRIDS[0])
    whole, whole_mask = from_healpix(values, GRIDS[0], frame="galactic")
    assert np.array_equal(data, whole, equal_nan=True) and np.array_equal(mask, whole_mask)
    assert 0 < mask.mean() < 1 and data.dtype == np.float32


def test_columns_by_name_and_number():
    pixels = np.arange(12 * 8**2)
    columns = [("kappa", "E", pixels), ("Sigma", "D", 2 * pixels)]
    write("full.fits", columns, COORDSYS="C")
    write("part.fits", [("SIGMA2", "E", 3 * pixels), ("PIXEL", "J", pixels), *columns], NSIDE=8, INDXSCHM="EXPLICIT")
    first = from_healpix(1.0 * pixels, GRIDS[0])[0]
    options = [("full.fits", 0, 1), ("full.fits", 1, 2), ("full.fits", "SIGMA", 2), ("part.fits", 0, 3)]
    options += [("part.fits", 1, 1), ("part.fits", 2, 2), ("part.fits", "Sigma", 2), ("part.fits", "KAPPA", 1)]
    for file, field, factor in options:
        assert np.allclose(from_healpix(file, GRIDS[0], field=field)[0], factor * first, rtol=1e-5), (file, field)
    for field in (3, -1, "NONE", "PIXEL", None, True, 0.0):
        with pytest.raises(ValueError, match=r"field: .*'kappa', 'Sigma'"):
            from_healpix("part.fits", GRIDS[0], field=field)


@each_case(
    ("system", "frame"),
    [
        *((system, "icrs") for system in ("C", "Q", "c ", "EQUATORIAL", "Celestial", "ICRS", "")),
        *((system, "galactic") for system in ("G", "GALACTIC", "galactic")),
        *((system, "barycentricmeanecliptic") for system in ("E", "ecliptic", "BarycentricMeanEcliptic")),
        ("FK4", "fk4"),
    ],
)
def test_names_of_frames(system, frame):
    write("map.fits", [("KAPPA", "D", sphere(frame))], COORDSYS=system)
    data, _ = from_healpix("map.fits", GRIDS[0])
    assert np.abs(data - pattern(centres(GRIDS[0]))).max() < 0.01


def test_the_ecliptic_is_that_of_healpix():
    """The pole of ICRS has the longitude 90 deg and the latitude 90 deg minus the obliquity of J2000."""
    from astro_massmap._sky.healpix import _frame

    pole = SkyCoord(0 * u.deg, 90 * u.deg).transform_to(_frame("E"))
    assert abs(pole.lon.deg - 90) < 1e-4 and abs(90 - pole.lat.deg - 23.4392911) < 1e-4


@pytest.mark.parametrize(("bad", "kind"), [(UNSEEN, "E"), (-999.0, "E"), (0, "D"), (-32768, "I")])
def test_bad_data_of_the_header_is_masked(bad, kind):
    values = np.round(100 + 50 * sphere())
    missing = np.random.default_rng(1).random(len(values)) < 0.01
    write("map.fits", [("KAPPA", kind, np.where(missing, bad, values))], COORDSYS="C", BAD_DATA=bad)
    data, mask = from_healpix("map.fits", GRIDS[0])
    right, right_mask = from_healpix(np.where(missing, np.nan, values), GRIDS[0])
    assert np.array_equal(mask, right_mask) and 0 < mask.mean() < 0.6
    assert np.allclose(data, right, equal_nan=True, rtol=1e-5)


def test_bad_data_that_is_not_a_number():
    write("map.fits", [("KAPPA", "E", sphere())], COORDSYS="C", BAD_DATA="UNSEEN")
    with pytest.warns(AstropyUserWarning, match="BAD_DATA = 'UNSEEN'"):
        assert not from_healpix("map.fits", GRIDS[0])[1].any()


@each_case(
    ("values", "options", "error", "message"),
    [
        (np.zeros(100), {}, ValueError, "12 nside"),
        (np.zeros((2, 3, 12)), {}, ValueError, "values"),
        (np.zeros(12 * 9), {"nested": True}, ValueError, "power of two"),
        (np.zeros(12), {"frame": "sideways"}, ValueError, "frame"),
        (np.zeros(12), {"frame": 3}, ValueError, "frame"),
        (np.zeros(12) * u.m, {}, u.UnitsError, "values"),
        ("missing.fits", {}, OSError, "no file"),
    ],
)
def test_invalid_healpix_maps(values, options, error, message):
    with pytest.raises(error, match=message):
        from_healpix(values, GRIDS[0], **options)


def test_files_without_a_map():
    fits.PrimaryHDU(np.zeros((3, 3))).writeto("image.fits")
    Path("junk.fits").write_text("nothing")
    write("unknown.fits", [("KAPPA", "D", np.zeros(12))], COORDSYS="X")
    write("multi_order.fits", [("UNIQ", "K", np.arange(12)), ("KAPPA", "D", np.zeros(12))], ORDERING="NUNIQ")
    write("lost.fits", [("PIXEL", "J", np.arange(4)), ("KAPPA", "D", np.zeros(4))], INDXSCHM="EXPLICIT")
    files = {"image.fits": "no table", "junk.fits": "", "lost.fits": "NSIDE", "unknown.fits": "'X'"}
    for name, message in (files | {"multi_order.fits": "NUNIQ"}).items():
        with pytest.raises(OSError, match=rf"{name}.*{message}"):
            from_healpix(name, GRIDS[0])


def test_pixels_off_the_sphere_are_masked():
    wide = tan_wcs((30, 30), scale=480, projection="SIN")  # 240 degrees: the corners are off the sphere
    data, mask = from_healpix(np.ones(12 * 4**2), wide)
    assert mask[0, 0] and not mask[15, 15]
    assert np.array_equal(np.isnan(data), mask) and np.allclose(data[~mask], 1)
