import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import NoOverlapError, StdDevUncertainty, VarianceUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from astropy_healpix import HEALPix
from hypothesis import given, strategies as st

from astro_massmap import AnnealedHMC, ConvergenceMap, GaussianPrior, KaiserSquires, PowerSpectrum, Wiener, datasets

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = (30, 40)
GRID = tan_wcs(SHAPE, rotation=20)


def smooth(seed=0, n=None):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(n or 1, 6, 4)) * [0.15, 0.15, 3, 0.01]
    maps = np.array([sum(a * np.cos(kx * x + ky * y + p) for kx, ky, p, a in w) for w in waves])
    return maps if n else maps[0]


def make(**options):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:5, :7] = True
    defaults = {"uncertainty": np.full(SHAPE, 0.01), "mask": mask, "samples": smooth(1, 6), "meta": {"field": "mock"}}
    b_mode = ConvergenceMap(smooth(3), wcs=GRID, uncertainty=np.full(SHAPE, 0.02), mask=mask)
    defaults |= {"diagnostics": {"residual": 1e-6, "bands": [1, 2.5], "settings": {"seed": 3}}, "b_mode": b_mode}
    return ConvergenceMap(smooth(), wcs=GRID, **defaults | options)


def same_sky(wcs, reference, shape=SHAPE):
    x, y = [0, shape[1] - 1, 3], [0, shape[0] - 1, 5]
    return (wcs.pixel_to_world(x, y).separation(reference.pixel_to_world(x, y)) < 1e-6 * u.arcsec).all()


# ---- the map


def test_it_is_an_nddata_with_a_unit_and_a_mask():
    kappa = ConvergenceMap(smooth(), wcs=GRID)
    assert kappa.unit == u.dimensionless_unscaled
    assert kappa.mask.dtype == bool and kappa.mask.shape == SHAPE
    assert kappa.uncertainty is kappa.samples is kappa.b_mode is None
    assert kappa.meta == {} and kappa.diagnostics == {}
    assert "30 x 40" in repr(kappa)


def test_the_arguments_are_copied():
    data = smooth()
    kappa = ConvergenceMap(data, wcs=GRID, samples=data[None])
    data[:] = 9
    assert kappa.data.max() < 1 and kappa.samples.max() < 1


def test_statistics_of_the_samples():
    kappa = make()
    assert np.allclose(kappa.median, np.median(kappa.samples, axis=0))
    expected = np.quantile(kappa.samples, [0.2, 0.8], axis=0, method="weibull")
    assert np.allclose(kappa.quantile([0.2, 0.8]), expected)
    assert kappa.distribution.shape == SHAPE
    assert np.allclose(kappa.distribution.pdf_mean(), kappa.samples.mean(axis=0))


@pytest.mark.filterwarnings("ignore:the noise seems")  # the map is smoother than its uncertainty
def test_a_noisy_map_can_be_reconstructed():
    # on a periodic box with white noise the Wiener filter is S / (S + N), mode by mode
    noise, spectrum = 0.02, PowerSpectrum.default()
    noisy = ConvergenceMap(smooth(), wcs=GRID, uncertainty=np.full(SHAPE, noise))
    with pytest.warns(AstropyUserWarning, match="wraps around"):
        method = Wiener(spectrum, n_samples=0, padding=1, dtype="float64", tolerance=1e-10)
    kappa = noisy.reconstruct(method, progress=False)
    size = kappa.pixel_scale.to_value(u.rad)
    ell = 2 * np.pi * np.hypot(np.fft.fftfreq(SHAPE[0], size)[:, None], np.fft.fftfreq(SHAPE[1], size))
    ell[0, 0] = ell.flat[1:].min()
    gain = 1 / (1 + noise**2 * size**2 / spectrum(ell))
    assert np.abs(kappa.data - np.fft.ifft2(gain * np.fft.fft2(noisy.data)).real).max() < 1e-9
    assert kappa.diagnostics["method"] == "Wiener" and kappa.b_mode is None


@pytest.mark.filterwarnings("ignore:the noise seems")
@pytest.mark.slow
def test_the_chains_of_a_noisy_map_agree_with_exact_draws():
    # 4 standard errors in the worst of the bands: false alarms in about 1 of 1000 seeds; the seed is fixed
    noisy = make(samples=None, b_mode=None, uncertainty=np.full(SHAPE, 0.05))
    method = AnnealedHMC(GaussianPrior(), n_samples=2, n_check=32)
    assert noisy.reconstruct(method, progress=False).diagnostics["gaussian_check"]["worst"] < 4


def test_direct_smoothing_of_a_noisy_map_has_no_b_mode():
    noisy = make(samples=None)
    kappa = noisy.reconstruct(KaiserSquires(smoothing=0 * u.arcmin))
    assert kappa.b_mode is None
    assert np.array_equal(kappa.mask, noisy.mask)


def test_a_map_without_noise_is_rejected():
    with pytest.raises(ValueError, match="uncertainty: needs the standard deviation"):
        make(uncertainty=None).reconstruct("wiener")
    with pytest.raises(ValueError, match="needs to be positive and finite"):
        make(uncertainty=np.zeros(SHAPE)).reconstruct("wiener")
    with pytest.raises(ValueError, match="needs a pixel with data"):
        make(mask=np.ones(SHAPE, dtype=bool)).reconstruct("wiener")


def test_a_healpix_map_is_interpolated():
    sphere = HEALPix(128, order="ring")
    lon, lat = sphere.healpix_to_lonlat(np.arange(sphere.npix))
    pattern = np.sin(3 * lon.rad) * np.cos(2 * lat.rad)
    kappa = ConvergenceMap.from_healpix(pattern, wcs=GRID, samples=np.stack([pattern, 2 * pattern]))
    where = kappa.wcs.pixel_to_world(*np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0])))
    expected = np.sin(3 * where.ra.rad) * np.cos(2 * where.dec.rad)
    assert np.abs(kappa.data - expected).max() < 1e-3
    assert np.allclose(kappa.samples[1], 2 * kappa.data, atol=1e-6)
    pattern[np.argmin(np.hypot(lon.deg - 150, lat.deg - 2.2))] = np.nan
    noisy = ConvergenceMap.from_healpix(pattern, wcs=GRID, uncertainty=np.full(sphere.npix, 0.1))
    assert noisy.mask.mean() > 0 and np.allclose(noisy.uncertainty.array[~noisy.mask], 0.1)
    # arrays given with a file have its order and frame: here nested, in Galactic coordinates
    nested = fits.BinTableHDU.from_columns([fits.Column("KAPPA", "D", array=np.arange(12.0 * 64**2))])
    nested.header["ORDERING"], nested.header["COORDSYS"], nested.header["NSIDE"] = "NESTED", "G", 64
    nested.writeto("sphere.fits")
    both = ConvergenceMap.from_healpix("sphere.fits", wcs=GRID, uncertainty=np.arange(12.0 * 64**2))
    assert np.allclose(both.data, both.uncertainty.array)
    with pytest.raises(ValueError, match="values: needs pixels on the grid"):
        ConvergenceMap.from_healpix(pattern * np.nan, wcs=GRID)


def test_a_point_estimate_has_no_samples():
    kappa = make(samples=None)
    for measure in (lambda: kappa.median, lambda: kappa.distribution, lambda: kappa.quantile(0.5)):
        with pytest.raises(ValueError, match="n_samples"):
            measure()


def test_masked_values_become_zero():
    data = smooth()
    data[0, 0] = np.nan
    assert ConvergenceMap(data, wcs=GRID, mask=make().mask).data[0, 0] == 0


@each_case(
    ("change", "error", "message"),
    [
        ({"uncertainty": np.ones((2, 2))}, ValueError, "uncertainty"),
        ({"uncertainty": np.full(SHAPE, -1.0)}, ValueError, "uncertainty: needs to be zero or positive"),
        ({"uncertainty": VarianceUncertainty(np.ones(SHAPE))}, TypeError, "StdDevUncertainty"),
        ({"mask": np.zeros((2, 2), dtype=bool)}, ValueError, "mask"),
        ({"mask": np.zeros(SHAPE)}, ValueError, "mask"),
        ({"samples": np.zeros(SHAPE)}, ValueError, "samples"),
        ({"samples": np.zeros((0, *SHAPE))}, ValueError, "samples"),
        ({"b_mode": ConvergenceMap(np.zeros((3, 3)), wcs=tan_wcs((3, 3)))}, ValueError, "b_mode"),
    ],
)
def test_errors_name_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


@each_case(
    ("data", "error"),
    [
        (np.zeros(5), ValueError),
        (np.full(SHAPE, np.nan), ValueError),
        (np.zeros(SHAPE) * u.Msun, u.UnitsError),
        ("kappa", TypeError),
    ],
)
def test_bad_data(data, error):
    with pytest.raises(error, match="data"):
        ConvergenceMap(data, wcs=GRID)


def test_samples_are_finite_outside_of_the_mask():
    samples = np.ones((3, *SHAPE))
    samples[1, 15, 19:21] = np.nan
    with pytest.raises(ValueError, match="samples: 2 pixels are not finite; mask them"):
        ConvergenceMap(smooth(), wcs=GRID, samples=samples)  # regions were measured without these pixels
    kappa = ConvergenceMap(smooth(), wcs=GRID, samples=samples, mask=np.isnan(samples[1]))
    moved = kappa.reproject_to(tan_wcs((25, 25), rotation=30))
    assert moved.mask.any() and np.isfinite(moved.samples[:, ~moved.mask]).all()


def test_oblong_pixels_are_rejected():
    wcs = tan_wcs(SHAPE)
    wcs.wcs.cd = np.diag([-0.4, 0.5]) / 60
    with pytest.raises(ValueError, match="oblong"):
        ConvergenceMap(smooth(), wcs=wcs)


def test_quantities_and_uncertainties_of_astropy_are_accepted():
    kappa = ConvergenceMap(smooth() * 100 * u.percent, wcs=GRID, uncertainty=StdDevUncertainty(np.ones(SHAPE)))
    assert np.allclose(kappa.data, smooth())
    assert kappa.uncertainty.array.max() == 1
    percent = StdDevUncertainty(np.ones(SHAPE), unit=u.percent)
    assert np.allclose(ConvergenceMap(smooth(), wcs=GRID, uncertainty=percent).uncertainty.array, 0.01)
    with pytest.raises(u.UnitsError, match="uncertainty"):
        ConvergenceMap(smooth(), wcs=GRID, uncertainty=StdDevUncertainty(np.ones(SHAPE), unit=u.Msun))


@each_case("unit", ["percent", u.deg, u.Msun])
def test_units_that_are_not_those_of_maps_are_errors(unit):
    with pytest.raises(u.UnitsError, match=f"unit: needs that of a surface density, .* got {u.Unit(unit)}"):
        ConvergenceMap(smooth(), wcs=GRID, unit=unit)  # the unit was dropped: percentages became the convergence


# ---- parts


@pytest.mark.slow
@given(st.tuples(*[st.slices(n).filter(lambda s: s.step in (None, 1)) for n in SHAPE]))
def test_slices_of_all_arrays_agree(item):
    kappa = make()
    if 0 in kappa.data[item].shape:
        with pytest.raises(IndexError, match="selects no pixel"):
            kappa[item]
        return
    part = kappa[item]
    assert np.array_equal(part.data, kappa.data[item])
    assert np.array_equal(part.samples, kappa.samples[(slice(None), *item)])
    assert np.array_equal(part.mask, kappa.mask[item])
    assert np.array_equal(part.b_mode.data, kappa.b_mode.data[item])
    assert part.meta == kappa.meta and part.diagnostics == kappa.diagnostics
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    here, there = part.wcs.pixel_to_world(0, 0), kappa.wcs.pixel_to_world(x[item].min(), y[item].min())
    assert here.separation(there) < 1e-6 * u.arcsec
    assert part.wcs.array_shape == part.shape


def test_one_axis_and_ellipsis():
    assert make()[3:5].shape == (2, 40)
    assert make()[:, 3:5].shape == (30, 2)
    assert make()[...].shape == SHAPE


@each_case("item", [3, (3, 4), (slice(0, 9, 2),), "x", (slice(None),) * 3, np.ones(SHAPE, dtype=bool)])
def test_other_indices_are_rejected(item):
    with pytest.raises(IndexError):
        make()[item]


def test_cutouts_on_the_sky():
    kappa = make()
    center = GRID.pixel_to_world(12, 9)
    part = kappa.cutout(center, 4 * u.arcmin)
    assert part.shape == (10, 10)
    x, y = part.wcs.world_to_pixel(center)
    assert abs(x - 4.5) <= 0.51 and abs(y - 4.5) <= 0.51
    assert kappa.cutout(GRID.pixel_to_world(1, 1), 4 * u.arcmin).shape == (7, 7)
    assert kappa.cutout(center, (4 * u.arcmin, 2 * u.arcmin)).shape == (10, 5)
    with pytest.raises(NoOverlapError, match="center: the cut-out of size"):
        kappa.cutout(SkyCoord(150, 10, unit="deg"), 4 * u.arcmin)
    with pytest.raises(NoOverlapError, match="center: needs a position on the projection"):
        kappa.cutout(SkyCoord(10, 10, unit="deg"), 4 * u.arcmin)


@each_case("size", [[1, 2, 3] * u.arcmin, [1, 2, 3], "4 arcmin", 0, [], 2.5])
def test_sizes_of_cutouts_that_are_errors(size):
    with pytest.raises(ValueError, match="size: needs one angle or two"):
        make().cutout(GRID.pixel_to_world(12, 9), size)


def test_a_map_is_not_iterable():
    with pytest.raises(TypeError, match="not iterable"):
        list(make())  # was empty


# ---- other grids


def test_a_map_moved_by_whole_pixels_is_the_same():
    kappa = make()
    moved = kappa.reproject_to(GRID[4:20, 6:30])
    assert moved.shape == (16, 24)
    assert np.allclose(moved.data, kappa.data[4:20, 6:30], atol=1e-9)
    assert np.allclose(moved.samples, kappa.samples[:, 4:20, 6:30], atol=1e-9)
    assert np.allclose(moved.uncertainty.array, 0.01)  # six samples would determine it to 30 % only
    assert np.array_equal(moved.mask, kappa.mask[4:20, 6:30])
    assert np.allclose(moved.b_mode.data, kappa.b_mode.data[4:20, 6:30], atol=1e-9)


def test_a_map_on_a_rotated_grid_keeps_its_values_on_the_sky():
    kappa = make(mask=None, samples=smooth(1, 20))
    wcs = tan_wcs((25, 25), scale=0.3, rotation=-40)
    moved = kappa.reproject_to(wcs)
    sky = wcs.pixel_to_world(12, 7)
    x, y = (int(np.rint(p)) for p in GRID.world_to_pixel(sky))
    assert np.isclose(moved.data[7, 12], kappa.data[y, x], atol=0.01)
    # the standard deviation is that of the samples on the new grid
    assert np.allclose(moved.uncertainty.array, moved.samples.std(axis=0, ddof=1))
    assert moved.meta == kappa.meta


def test_coordinates_of_samples_are_computed_once(monkeypatch):
    from reproject import reproject_interp

    transform, calls = WCS.pixel_to_world_values, []

    def counted(self, *pixels):
        calls.append(np.size(pixels[0]))
        return transform(self, *pixels)

    monkeypatch.setattr(WCS, "pixel_to_world_values", counted)
    wcs, computed = tan_wcs((25, 25), scale=0.3, rotation=-40), []
    for n in (16, 40):
        kappa = make(mask=None, samples=smooth(1, n).astype(np.float32))
        calls.clear()
        moved = kappa.reproject_to(wcs)
        computed.append(sum(calls))
        for before, after in zip(kappa.samples, moved.samples, strict=True):
            alone = reproject_interp((before, kappa.wcs), wcs, shape_out=(25, 25), return_footprint=False)
            assert np.allclose(after, alone, rtol=1e-12, atol=0, equal_nan=True)
    assert computed[0] == computed[1] > 0


def test_pixels_outside_of_the_old_map_are_masked():
    kappa = make(mask=None, samples=None)
    moved = kappa.reproject_to(tan_wcs((80, 80), rotation=20))
    assert moved.mask.sum() > 80 * 80 - 1300
    assert np.isfinite(moved.data).all()
    assert np.isnan(moved.uncertainty.array[moved.mask]).all()
    assert np.allclose(moved.uncertainty.array[~moved.mask], 0.01)


def test_pixels_without_a_value_do_not_enter_those_of_another_grid():
    one = ConvergenceMap(np.ones(SHAPE), wcs=GRID)
    wider = one.reproject_to(tan_wcs((50, 60), rotation=20))
    again = wider.reproject_to(tan_wcs((45, 55)))
    assert np.allclose(again.data[~again.mask], 1)  # 0.3 at the edges if they were interpolated with zeros
    assert (~again.mask).sum() > 0.9 * one.data.size


def test_grids_far_apart_are_an_error():
    with pytest.raises(ValueError, match="overlap"):
        make().reproject_to(tan_wcs((10, 10), center=(10, -40)))
    with pytest.raises(TypeError, match="wcs"):
        make().reproject_to("here")


# ---- files


def test_a_file_round_trip():
    kappa = make(meta={"field": "mock", "size": 3 * u.deg, "nested": {"a": [1, 2.5, None, True]}, "point": (1, 2)})
    kappa.write("kappa.fits")
    back = ConvergenceMap.read("kappa.fits")
    assert np.array_equal(back.data, kappa.data)
    assert back.unit == kappa.unit
    assert np.array_equal(back.uncertainty.array, kappa.uncertainty.array)
    assert np.array_equal(back.mask, kappa.mask)
    assert np.array_equal(back.samples, kappa.samples)
    assert np.array_equal(back.b_mode.data, kappa.b_mode.data)
    assert np.array_equal(back.b_mode.uncertainty.array, kappa.b_mode.uncertainty.array)
    assert back.meta == kappa.meta
    assert back.diagnostics == kappa.diagnostics
    assert same_sky(back.wcs, GRID)
    assert back.data.dtype.isnative


def test_single_precision_stays_single():
    make(samples=smooth(1, 2).astype("f4")).write("kappa.fits")
    assert ConvergenceMap.read("kappa.fits").samples.dtype == np.float32


def test_every_image_of_the_file_has_the_wcs():
    make()[3:20, 5:31].write("kappa.fits")
    with fits.open("kappa.fits") as hdus:
        names = [h.name for h in hdus]
        assert names == ["KAPPA", "STD", "MASK", "SAMPLES", "B_MODE", "B_STD", "NOTES"]
        for hdu in hdus[:-1]:
            assert same_sky(WCS(hdu.header).celestial, GRID[3:20, 5:31], (17, 26)), hdu.name
            hdu.verify("exception")
        assert WCS(hdus["SAMPLES"].header).naxis == 3


@pytest.mark.parametrize(
    "options", [{"frame": "galactic"}, {"projection": "ZEA", "flipped": True}, {"center": (0.01, 89.9)}]
)
def test_a_file_round_trip_of_other_projections(options):
    wcs = tan_wcs(SHAPE, **options)
    ConvergenceMap(smooth(), wcs=wcs).write("kappa.fits")
    assert same_sky(ConvergenceMap.read("kappa.fits").wcs, wcs)


def test_samples_can_be_left_out():
    make().write("kappa.fits", samples=False)
    assert ConvergenceMap.read("kappa.fits").samples is None


def test_targets(tmp_path):
    kappa = make()
    kappa.write("kappa.fits")
    before = (tmp_path / "kappa.fits").read_bytes()
    with pytest.raises(OSError, match="overwrite=True"):
        kappa.write("kappa.fits")
    for target in ("no/such/kappa.fits", "kappa.fits/kappa.fits"):
        with pytest.raises(OSError, match="folder"):
            kappa.write(target)
    with pytest.raises(OSError, match="folder"):
        kappa.write(tmp_path, format="fits")
    # a failed write leaves the old file intact, and no temporary file
    with pytest.raises(ValueError, match="meta: 'what', a object, cannot"):
        make(meta={"what": object()}).write("kappa.fits", overwrite=True)
    assert (tmp_path / "kappa.fits").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["kappa.fits"]


def test_damaged_files(tmp_path):
    make().write("kappa.fits")
    content = (tmp_path / "kappa.fits").read_bytes()
    for kept in (0, 100, *range(2880, len(content), 2880)):  # also at the boundaries of FITS blocks
        (tmp_path / "cut.fits").write_bytes(content[:kept])
        with pytest.raises(OSError, match=r"cut\.fits"):
            ConvergenceMap.read("cut.fits", format="fits")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto("other.fits")
    with pytest.raises(OSError, match="has no image KAPPA"):
        ConvergenceMap.read("other.fits")


def test_a_file_round_trip_of_a_reconstruction():
    kappa = datasets.demo().reconstruct(KaiserSquires(), pixel_scale=0.8 * u.arcmin)
    kappa.write("kappa.fits")
    back = ConvergenceMap.read("kappa.fits")
    assert back.diagnostics == kappa.diagnostics
    assert back.meta == kappa.meta
    assert np.array_equal(back.b_mode.data, kappa.b_mode.data)


def test_a_cutout_needs_one_position():
    with pytest.raises(TypeError, match="center: needs a SkyCoord of one position"):
        make().cutout(GRID.pixel_to_world([3, 4], [5, 6]), 4 * u.arcmin)


@each_case("size", [-3, 0, np.nan, "8 arcmin", (3, 4, 5), 2.5])
def test_invalid_sizes_of_cutouts(size):
    with pytest.raises(ValueError, match="size: needs one angle or two, or positive numbers of pixels"):
        make().cutout(GRID.pixel_to_world(20, 15), size)


def test_a_cutout_in_kilograms():
    with pytest.raises(u.UnitsError, match="size: needs an angle"):
        make().cutout(GRID.pixel_to_world(20, 15), 8 * u.kg)
