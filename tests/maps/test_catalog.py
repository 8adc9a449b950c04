import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from astropy.wcs import WCS
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from regions import CircleSkyRegion

from astro_massmap import ShearCatalog

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

SHAPE = (12, 16)
GRID = tan_wcs(SHAPE)


def make(n=400, seed=0, **options):
    rng = np.random.default_rng(seed)
    e = rng.normal(scale=0.25, size=(2, n))
    options = {"axes": "west-north", "weight": rng.uniform(0.5, 2, n)} | options
    return ShearCatalog(scatter(GRID, SHAPE, n, seed), *e, **options)


# ---- binning


def test_pixels_contain_the_weighted_mean_and_its_noise():
    m = np.random.default_rng(2).uniform(-0.2, 0.1, 400)
    catalog = make(m_bias=m, c_bias=(0.01, -0.02))
    shear = catalog.to_map(wcs=GRID)
    x, y = (np.rint(p).astype(int) for p in GRID.world_to_pixel(catalog.coords))
    e1, e2, w = catalog.g1 - 0.01, catalog.g2 + 0.02, catalog.weight
    sigma = np.sqrt((w**2 * (e1**2 + e2**2)).sum() / (2 * (w**2).sum()))
    assert np.isclose(catalog.shape_noise, sigma)
    for pixel in [(3, 4), (0, 0), (11, 15), (5, 9)]:
        here = (y == pixel[0]) & (x == pixel[1])
        if not here.any():
            assert shear.mask[pixel]
            continue
        response = (w * (1 + m))[here].sum()
        n_eff = w[here].sum() ** 2 / (w[here] ** 2).sum()
        expected = sigma / np.sqrt(n_eff) * w[here].sum() / response
        assert np.isclose(shear.noise_std[pixel], expected)
        # the axes rotate by less than 0.2 deg over 6 arcmin
        assert np.allclose(
            shear.data[(slice(None), *pixel)], [(w * e)[here].sum() / response for e in (e1, e2)], atol=5e-3
        )
        assert np.isclose(shear.n_eff[pixel], (sigma / expected) ** 2)
    assert shear.meta["n_galaxies"] == 400


def test_shape_noise_is_that_of_the_whole_catalogue():
    catalog = make(4000)
    star = CircleSkyRegion(GRID.pixel_to_world(8, 6), 1.5 * u.arcmin)
    assert catalog.to_map(wcs=GRID, mask=star).meta["shape_noise"] == catalog.shape_noise


@pytest.mark.parametrize("exponent", [1000, 600, -600, -1000])
def test_maps_do_not_depend_on_the_scale_of_the_weights(exponent):
    catalog = make()
    scaled = make(weight=np.ldexp(catalog.weight, exponent))  # beyond the range of squares
    assert scaled.shape_noise == catalog.shape_noise
    a, b = catalog.to_map(wcs=GRID), scaled.to_map(wcs=GRID)
    assert np.array_equal(a.data, b.data) and np.array_equal(a.noise_std, b.noise_std)


def test_weights_of_any_range():
    # the weights of one pixel in ten are 1e-200 times smaller; the factor cancels within the pixel
    catalog = make(4000)
    x, y = (np.rint(p).astype(int) for p in GRID.world_to_pixel(catalog.coords))
    factor = np.where((x + 16 * y) % 10 == 0, 1e-200, 1e100)
    a, b = (make(4000, weight=catalog.weight * f, shape_noise=0.25).to_map(wcs=GRID) for f in (1, factor))
    assert np.allclose(a.data, b.data, rtol=1e-12, atol=1e-14) and np.allclose(a.noise_std, b.noise_std, rtol=1e-12)


def test_pixels_without_galaxies_have_no_data():
    shear = make(40).to_map(wcs=GRID)
    assert shear.mask.sum() > 100
    assert np.all(np.isinf(shear.noise_std[shear.mask]))
    assert np.all(shear.data[:, shear.mask] == 0)


def test_noise_of_the_map_is_that_of_random_ellipticities():
    # 2 x 192 pixels over 30 catalogues: chi^2 per pixel to 5 sigma, false alarm 1e-6
    z = []
    for seed in range(30):
        shear = make(2000, seed).to_map(wcs=GRID)
        z.append((shear.data / shear.noise_std)[:, ~shear.mask].ravel())
    z = np.concatenate(z)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)


def test_default_grid_contains_the_survey():
    shear = make().to_map()
    assert shear.meta["n_galaxies"] == 400
    assert u.isclose(shear.pixel_scale, 0.4 * u.arcmin)
    assert make().to_map(pixel_scale=0.8 * u.arcmin).shape == (6, 8)
    assert make().to_map(shape=(40, 50)).shape == (40, 50)


def test_galaxies_off_the_grid_are_left_out():
    part = GRID[3:7, 2:9]
    shear = make().to_map(wcs=part)
    whole = make().to_map(wcs=GRID)
    assert shear.shape == (4, 7)
    assert np.allclose(shear.data, whole.data[:, 3:7, 2:9], atol=1e-12)


def test_masks_of_pixels_and_regions():
    catalog = make(4000)
    blank = np.zeros(SHAPE, dtype=bool)
    blank[2:5, 6] = True
    masked = catalog.to_map(wcs=GRID, mask=blank)
    assert np.array_equal(masked.mask, blank | catalog.to_map(wcs=GRID).mask)
    x, y = (np.rint(p).astype(int) for p in GRID.world_to_pixel(catalog.coords))
    assert masked.meta["n_galaxies"] == (~blank[y, x]).sum()
    star = CircleSkyRegion(GRID.pixel_to_world(8, 6), 0.8 * u.arcmin)
    shear = catalog.to_map(wcs=GRID, mask=[star])
    assert shear.meta["n_galaxies"] == (catalog.coords.separation(star.center) > star.radius).sum()
    assert shear.mask[6, 8] and not shear.mask[6, 12]


def test_celestial_axes_of_cubes_are_used():
    cube = WCS(naxis=3)
    cube.wcs.ctype = ["RA---TAN", "DEC--TAN", "FREQ"]
    cube.wcs.crval, cube.wcs.crpix, cube.wcs.cdelt = [150, 2.2, 1e9], [8.5, 6.5, 1], [-0.4 / 60, 0.4 / 60, 1e6]
    assert make().to_map(wcs=cube, shape=SHAPE).shape == SHAPE


# ---- selection and tables


def test_slices_masks_and_indices_select():
    catalog = make(redshift=np.linspace(0.1, 2, 400), m_bias=np.full(400, -0.1), c_bias=(np.zeros(400), 0.01))
    for item in (slice(10, 30), np.arange(400) % 3 == 0, [5, 7, 2]):
        part = catalog[item]
        assert np.array_equal(part.g1, catalog.g1[item])
        assert np.array_equal(part.redshift, catalog.redshift[item])
        assert part.m_bias.shape == part.g1.shape == part.c_bias[0].shape
        assert part.c_bias[1] == 0.01
        assert part.axes == catalog.axes
        assert len(part) == len(part.coords)
    with pytest.raises(TypeError, match="slice"):
        catalog[3]
    with pytest.raises(ValueError, match="no galaxy"):
        catalog[catalog.redshift > 5]


@pytest.mark.parametrize("name", ["c.ecsv", "c.fits", "c.csv", "c.fits.gz"])
def test_files_are_read_back(name):
    catalog = make(
        redshift=np.linspace(0.1, 2, 400), m_bias=-0.1, c_bias=(0.01, 0.02), shape_noise=0.3, axes="north-east"
    )
    with warnings.catch_warnings():
        if name == "c.csv":
            warnings.simplefilter("ignore", AstropyUserWarning)  # plain CSV has no units
        catalog.write(name)
        columns = {"m_bias": "m_bias", "c1": "c1", "c2": "c2"} if name == "c.csv" else None
        back = ShearCatalog.read(name, axes="north-east", columns=columns)
    assert back.coords.separation(catalog.coords).max() < 1e-6 * u.arcsec
    for column in ("g1", "g2", "weight", "redshift", "m_bias"):
        assert np.allclose(getattr(back, column), getattr(catalog, column))
    assert np.allclose(back.c_bias[1], 0.02)
    if name != "c.csv":
        assert back.shape_noise == 0.3
        assert not back.meta


def test_arguments_of_a_file_are_those_of_the_catalogue_and_of_its_reader():
    catalog = make(redshift=np.linspace(0.1, 2, 400))
    for name in ("c.fits", "c.ecsv"):
        catalog.write(name)
        back = ShearCatalog.read(name, axes="west-north", shape_noise=0.31, m_bias=-0.02, n_z=0.7)
        assert back.shape_noise == 0.31 and back.m_bias == -0.02 and back.n_z[0] == 0.7
        with pytest.raises(TypeError, match="shape_nois: neither a known argument"):
            ShearCatalog.read(name, axes="west-north", shape_nois=0.3)
    assert len(ShearCatalog.read("c.ecsv", axes="west-north", format="ascii.ecsv")) == 400


def test_existing_files_are_replaced_only_with_overwrite():
    make().write("c.ecsv")
    with pytest.raises(OSError, match="exists"):
        make().write("c.ecsv")
    make()[:5].write("c.ecsv", overwrite=True)
    assert len(ShearCatalog.read("c.ecsv", axes="west-north")) == 5


def test_csv_files_warn_of_lost_metadata():
    with pytest.warns(AstropyUserWarning, match="write an ECSV file"):
        make().write("c.csv")


def test_tables_in_another_frame_are_rotated_to_icrs():
    catalog = make()
    galactic = ShearCatalog(
        catalog.coords.galactic, catalog.g1, catalog.g2, axes="west-north", weight=catalog.weight, c_bias=(0.01, 0)
    )
    back = ShearCatalog.from_table(galactic.to_table(), axes="west-north")
    assert np.allclose(back.to_map(wcs=GRID).data, galactic.to_map(wcs=GRID).data, atol=1e-6)


def test_columns_are_found_by_their_usual_names():
    table = Table({"RAJ2000": [10.0, 10.1], "DEJ2000": [1.0, 1.1], "e1": [0.1, 0.2], "e2": [0.0, 0.1], "w": [1, 2.0]})
    with pytest.warns(AstropyUserWarning, match="degrees"):
        catalog = ShearCatalog.from_table(table, axes="west-north")
    assert catalog.weight.tolist() == [1, 2]
    table["RAJ2000"].unit = table["DEJ2000"].unit = "deg"
    other = ShearCatalog.from_table(table, axes="west-north", columns={"g1": "e2", "g2": "e1", "weight": None})
    assert other.g1.tolist() == [0, 0.1]
    assert other.weight.tolist() == [1, 1]


def test_columns_with_names_of_biases_are_not_used_by_default():
    table = make().to_table()
    del table.meta["CREATOR"]
    table["m"] = np.linspace(20, 26, 400)  # magnitudes
    table["m_bias"], table["c1"] = 0.1, 0.01
    table.meta["SIGMA_E"] = 0.4
    with pytest.warns(AstropyUserWarning, match="'m_bias' is not used as m_bias"):  # nor 'm', a magnitude
        catalog = ShearCatalog.from_table(table, axes="west-north")
    assert catalog.m_bias is None
    assert catalog.c_bias == (0, 0)
    assert abs(catalog.shape_noise - 0.25) < 0.02
    with pytest.raises(ValueError, match="m_bias not between -1 and 10"):
        ShearCatalog.from_table(table, axes="west-north", columns={"m_bias": "m"})


def test_arguments_have_priority_over_columns():
    catalog = ShearCatalog.from_table(make().to_table(), axes="west-north", weight=np.full(400, 3.0), m_bias=0.1)
    assert catalog.weight.max() == 3 and catalog.m_bias == 0.1


def test_distances_do_not_matter():
    catalog = make()
    far = SkyCoord(catalog.coords.ra, catalog.coords.dec, distance=np.linspace(1, 9, 400) * u.Mpc)
    shear = ShearCatalog(far, catalog.g1, catalog.g2, weight=catalog.weight, axes="west-north").to_map()
    assert np.array_equal(shear.data, catalog.to_map().data)


def test_shape_noise_is_needed_if_it_cannot_be_measured():
    silent = ShearCatalog(scatter(GRID, SHAPE, 50), np.zeros(50), np.zeros(50), axes="west-north")
    with pytest.raises(ValueError, match="shape_noise"):
        silent.to_map()


def test_masked_values_are_dropped():
    table = QTable({"ra": [1, 2, 3] * u.deg, "dec": [1, 2, 3] * u.deg, "g1": [0.1, 0.2, 0.3], "g2": [0.1, 0.2, 0.3]})
    table = Table(table, masked=True)
    table["g1"].mask[1] = True
    with pytest.warns(AstropyUserWarning, match="1 of 3 galaxies dropped: shear not finite"):
        assert len(ShearCatalog.from_table(table, axes="west-north")) == 2


def test_other_axes_in_the_header_raise_a_warning():
    table = make(axes="east-north").to_table()
    with pytest.warns(AstropyUserWarning, match="east-north"):
        ShearCatalog.from_table(table, axes="west-north")


# ---- bad input


@given(arrays(float, 6, elements=st.floats(-3, 3) | st.sampled_from([np.nan, np.inf, -np.inf])), st.floats(0.1, 3))
def test_invalid_shear_is_dropped_and_counted(g1, limit):
    good = np.isfinite(g1) & (np.abs(g1) <= limit)
    arguments = (scatter(GRID, SHAPE, 6), g1, np.zeros(6))
    if not good.any():
        with warnings.catch_warnings(), pytest.raises(ValueError, match="no galaxy has valid values"):
            warnings.simplefilter("ignore")
            ShearCatalog(*arguments, axes="west-north", max_shear=limit)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        catalog = ShearCatalog(*arguments, axes="west-north", max_shear=limit)
    assert np.array_equal(catalog.g1, g1[good])
    assert sum(int(str(w.message).split()[0]) for w in caught) == (~good).sum()
    assert all(issubclass(w.category, AstropyUserWarning) for w in caught)


@given(arrays(float, 5, elements=st.floats(-1, 2) | st.sampled_from([np.nan, np.inf])))
def test_galaxies_without_weight_are_dropped(weight):
    good = np.isfinite(weight) & (weight > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        if good.any():
            assert len(make(5, weight=weight)) == good.sum()
        else:
            with pytest.raises(ValueError, match="weight"):
                make(5, weight=weight)


@given(st.integers(0, 8), st.sampled_from(["g1", "g2", "weight", "redshift", "m_bias"]))
def test_lengths_must_be_equal(n, name):
    columns = {"g1": np.zeros(5), "g2": np.zeros(5)} | {name: np.full(n, 0.1)}
    g1, g2 = columns.pop("g1"), columns.pop("g2")
    if n == 5:
        return
    with pytest.raises(ValueError, match=f"{name}: needs the shape"):
        ShearCatalog(scatter(GRID, SHAPE, 5), g1, g2, axes="west-north", **columns)


@each_case(
    ("change", "error", "message"),
    [
        ({"axes": "up"}, ValueError, "axes: needs one of .*, got 'up'"),
        ({"coords": np.zeros((5, 2))}, TypeError, "coords: needs a one-dimensional SkyCoord"),
        ({"coords": SkyCoord(1 * u.deg, 2 * u.deg)}, TypeError, "coords"),
        ({"g1": ["a"] * 5}, TypeError, "g1"),
        ({"g1": np.zeros(5) * u.m}, u.UnitsError, "g1"),
        ({"m_bias": -1.5}, ValueError, "m_bias"),
        ({"c_bias": 0.1}, ValueError, "c_bias"),
        ({"c_bias": (0.1, np.nan)}, ValueError, "c_bias"),
        ({"shape_noise": 0}, ValueError, "shape_noise"),
        ({"shape_noise": "x"}, ValueError, "shape_noise"),
        ({"axes": ["west-north"]}, ValueError, "axes"),
        ({"max_shear": np.nan}, ValueError, "max_shear"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    arguments = {"coords": scatter(GRID, SHAPE, 5), "g1": np.zeros(5), "g2": np.zeros(5), "axes": "west-north"}
    with pytest.raises(error, match=message):
        ShearCatalog(**arguments | change)


def test_axes_must_be_given():
    with pytest.raises(TypeError, match="axes"):
        ShearCatalog(scatter(GRID, SHAPE, 5), np.zeros(5), np.zeros(5))
    with pytest.raises(TypeError, match="axes"):
        ShearCatalog.read("never_opened.fits")


def test_empty_catalogues():
    nowhere = SkyCoord([] * u.deg, [] * u.deg)
    with pytest.raises(ValueError, match="needs at least one galaxy, got none"):
        ShearCatalog(nowhere, [], [], axes="west-north")
    with pytest.raises(ValueError, match="needs at least one galaxy, got none"):
        ShearCatalog.from_table(make().to_table()[:0], axes="west-north")


def test_maps_need_two_galaxies():
    with pytest.raises(ValueError, match="at least two galaxies"):
        make()[:1].to_map()


def test_tables_with_bad_columns():
    table = make().to_table()
    with pytest.raises(ValueError, match="no column 'nope'"):
        ShearCatalog.from_table(table, axes="west-north", columns={"g1": "nope"})
    with pytest.raises(ValueError, match="'gee' is unknown"):
        ShearCatalog.from_table(table, axes="west-north", columns={"gee": "g1"})
    del table["g2"]
    with pytest.raises(ValueError, match="cannot find g2"):
        ShearCatalog.from_table(table, axes="west-north")
    with pytest.raises(TypeError, match="table"):
        ShearCatalog.from_table({"ra": 1}, axes="west-north")


@each_case(
    ("column", "error"), [([1, 2] * u.m, u.UnitsError), ([1.0, 2.0], u.UnitsError), ([91, 0] * u.deg, ValueError)]
)
def test_positions_need_their_units(column, error):
    table = QTable({"ra": [1, 2] * u.deg, "dec": column, "g1": [0.1, 0], "g2": [0.0, 0.1]})
    with pytest.raises(error, match="dec"):
        ShearCatalog.from_table(table, axes="west-north")


@given(st.binary(max_size=300))
def test_files_that_are_not_tables(content):
    with open("junk.fits", "wb") as file:
        file.write(content)
    with pytest.raises(OSError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ShearCatalog.read("junk.fits", axes="west-north")


@each_case("kept", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_an_error(kept):
    make().write("c.fits", overwrite=True)
    with open("c.fits", "rb") as file:
        content = file.read()
    with open("cut.fits", "wb") as file:
        file.write(content[: int(kept * len(content))])
    with pytest.raises(OSError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ShearCatalog.read("cut.fits", axes="west-north")


def test_missing_files():
    with pytest.raises(OSError):
        ShearCatalog.read("missing.fits", axes="west-north")
    with pytest.raises(OSError, match="folder"):
        make().write("no/such/folder/c.fits")


@each_case(
    ("options", "error", "message"),
    [
        ({"wcs": "a grid"}, TypeError, "wcs"),
        ({"wcs": WCS(naxis=2)}, ValueError, "celestial"),
        ({"wcs": tan_wcs(SHAPE, center=(10, 60))}, ValueError, "contains no galaxy"),
        ({"wcs": GRID, "pixel_scale": 1 * u.arcmin}, ValueError, "pixel_scale"),
        ({"pixel_scale": 0.4}, u.UnitsError, "pixel_scale"),
        ({"pixel_scale": 1e-7 * u.arcsec}, ValueError, "GiB"),
        ({"wcs": GRID, "mask": np.ones(SHAPE, dtype=bool)}, ValueError, "no galaxy"),
        ({"wcs": GRID, "mask": np.ones((3, 3), dtype=bool)}, ValueError, "mask"),
        ({"wcs": GRID, "mask": np.ones(SHAPE)}, ValueError, "mask"),
        ({"wcs": GRID, "mask": [1, 2]}, TypeError, "mask"),
        ({"shape": (0, 3)}, ValueError, "shape"),
    ],
)
def test_bad_grids(options, error, message):
    with pytest.raises(error, match=message):
        make().to_map(**options)


def test_a_grid_without_a_shape_needs_one():
    wcs = tan_wcs(SHAPE)
    wcs.array_shape = None
    with pytest.raises(ValueError, match="shape: needs to be given"):
        make().to_map(wcs=wcs)
    assert make().to_map(wcs=wcs, shape=SHAPE).shape == SHAPE


def test_points_as_masks_are_an_error():
    with pytest.raises(ValueError, match="without an area to exclude"):
        make().to_map(wcs=GRID, mask=make()[:3].to_table()["ra", "dec"])


def test_regions_that_exclude_all_galaxies():
    with pytest.raises(ValueError, match="exclude every galaxy"):
        make().to_map(wcs=GRID, mask=CircleSkyRegion(GRID.pixel_to_world(8, 6), 1 * u.deg))


def test_methods_are_checked_before_binning():
    with pytest.raises(ValueError, match="kaiser_squires"):
        make().reconstruct("magic", wcs="never looked at")


def test_a_column_of_positions_keeps_its_frame():
    catalog = make()
    table = QTable({"where": catalog.coords.galactic, "g1": catalog.g1, "g2": catalog.g2})
    read = ShearCatalog.from_table(table, axes="west-north")
    assert read.coords.frame.name == "galactic"
    assert (read.coords.separation(catalog.coords) < 1e-6 * u.arcsec).all()
    table["other"] = catalog.coords
    with pytest.raises(ValueError, match="cannot find ra, dec"):
        ShearCatalog.from_table(table, axes="west-north")


def test_a_mask_may_be_a_list():
    catalog = make()
    blank = np.zeros(SHAPE, dtype=bool)
    blank[:, :4] = True
    assert np.array_equal(catalog.to_map(wcs=GRID, mask=blank.tolist()).mask, catalog.to_map(wcs=GRID, mask=blank).mask)
    with pytest.raises(ValueError, match="mask: needs a bool array of shape"):
        catalog.to_map(wcs=GRID, mask=[[False] * 3] * 2)
    with pytest.raises(TypeError, match="mask: needs regions"):
        catalog.to_map(wcs=GRID, mask=[3])


def test_columns_that_are_set_are_checked():
    catalog = make(redshift=np.ones(400))
    catalog.redshift = np.ma.array(np.full(400, 0.7), mask=np.arange(400) % 2, fill_value=3)
    assert np.isnan(catalog.redshift[1::2]).all()  # the values under the mask were used
    assert np.allclose(catalog.redshift[::2], 0.7)
    for name in ("g1", "weight", "redshift", "tomo"):
        with pytest.raises(ValueError, match=rf"{name}: needs the shape \(400,\) of coords"):
            setattr(catalog, name, np.ones(5))
    for name, values in (("weight", np.arange(400.0)), ("g2", np.full(400, np.nan))):
        with pytest.raises(ValueError, match=f"{name}: needs finite numbers, weights positive ones"):
            setattr(catalog, name, values)
    with pytest.raises(ValueError, match=r"axes: needs one of 'west-north', .*, got 'north'"):
        catalog.axes = "north"
    catalog.redshift = None
    assert catalog.n_z is None


def test_integers_0_and_1_for_each_galaxy_are_flags():
    catalog = make()
    flag = (catalog.g1 > 0).astype(int)
    assert np.array_equal(catalog[flag].rows, np.flatnonzero(flag))  # it was galaxies 0 and 1, many times
    assert len(catalog[[0, 1]]) == 2 and np.array_equal(catalog[np.arange(400)[::-1]].rows, np.arange(400)[::-1])


def test_masked_positions_are_missing_and_proper_motions_are_ignored():
    catalog = make()
    ra, dec, mask = catalog.coords.ra, catalog.coords.dec, np.arange(400) % 4 == 0
    masked = SkyCoord(Masked(ra, mask=mask), Masked(dec, mask=mask))
    with pytest.warns(AstropyUserWarning, match="100 of 400 galaxies dropped: position missing"):
        part = ShearCatalog(masked, catalog.g1, catalog.g2, axes="west-north")
    assert np.array_equal(part.rows, np.flatnonzero(~mask)) and part.to_map(wcs=GRID).meta["n_galaxies"] == 300
    moving = SkyCoord(ra, dec, pm_ra_cosdec=np.ones(400) * u.mas / u.yr, pm_dec=np.ones(400) * u.mas / u.yr)
    known = ShearCatalog(moving, catalog.g1, catalog.g2, axes="west-north", weight=catalog.weight)
    assert np.allclose(known.to_map(pixel_scale=1 * u.arcmin).data, catalog.to_map(pixel_scale=1 * u.arcmin).data)
