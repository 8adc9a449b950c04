import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, strategies as st

from astro_massmap import KaiserSquires, ShearMap, Wiener

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = (20, 24)
GRID = tan_wcs(SHAPE)


def make(**options):
    data = np.random.default_rng(0).normal(scale=0.1, size=(2, *SHAPE))
    return ShearMap(**{"data": data, "wcs": GRID, "noise_std": 0.1} | options)


def test_one_noise_value_for_all_pixels():
    shear = make(noise_std=0.2)
    assert shear.noise_std.shape == shear.mask.shape == shear.shape == SHAPE
    assert not shear.mask.any()
    assert u.isclose(shear.pixel_scale, 0.4 * u.arcmin)


def test_mask_and_infinite_noise_both_mean_no_data():
    data = np.zeros((2, *SHAPE))
    data[:, 3, 4] = np.nan
    data[0, 5, 6] = 7
    noise = np.full(SHAPE, 0.1)
    noise[3, 4] = np.inf
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5, 6] = True
    shear = make(data=data, noise_std=noise, mask=mask)
    assert np.argwhere(shear.mask).tolist() == [[3, 4], [5, 6]]
    assert np.isinf(shear.noise_std[5, 6])
    assert not shear.data.any()


def test_the_arguments_are_copied():
    data, noise = np.zeros((2, *SHAPE)), np.full(SHAPE, 0.1)
    shear = make(data=data, noise_std=noise)
    data[:], noise[:] = 5, 5
    meta = {"nested": {"a": 1}}
    kappa = make(meta=meta).reconstruct("kaiser_squires")
    kappa.meta["nested"]["a"] = kappa.meta["new"] = 2
    assert meta == {"nested": {"a": 1}}
    assert shear.data.max() == 0
    assert shear.noise_std.max() == 0.1


def test_a_file_round_trip():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:4] = True
    shear = make(mask=mask, meta={"survey": "mock", "limits": [1.5, 2]})
    shear.write("shear.fits")
    back = ShearMap.read("shear.fits")
    assert np.array_equal(back.data, shear.data)
    assert np.array_equal(back.noise_std, shear.noise_std)
    assert np.array_equal(back.mask, mask)
    assert back.meta == shear.meta
    assert back.wcs.wcs.compare(shear.wcs.wcs, tolerance=1e-12) or _same_sky(back.wcs)
    with fits.open("shear.fits") as hdus:
        assert [h.name for h in hdus] == ["G1", "G2", "NOISE_STD", "MASK", "NOTES"]
        assert all(_same_sky(WCS(h.header)) for h in hdus[:4])


def _same_sky(wcs):
    x, y = [0, 23, 5], [0, 19, 7]
    return (wcs.pixel_to_world(x, y).separation(GRID.pixel_to_world(x, y)) < 1e-6 * u.arcsec).all()


@each_case(
    ("change", "error", "message"),
    [
        ({"data": np.zeros((3, *SHAPE))}, ValueError, "data: needs the shape"),
        ({"data": np.zeros(SHAPE)}, ValueError, "data: needs the shape"),
        ({"data": np.full((2, *SHAPE), np.nan)}, ValueError, "480 pixels are not finite"),
        ({"data": "shear"}, TypeError, "data"),
        ({"data": np.zeros((2, *SHAPE)) * u.m}, u.UnitsError, "data"),
        ({"noise_std": np.ones((3, 3))}, ValueError, "noise_std"),
        ({"noise_std": 0.0}, ValueError, "noise_std: needs to be positive"),
        ({"noise_std": -1.0}, ValueError, "noise_std"),
        ({"noise_std": np.nan}, ValueError, "noise_std"),
        ({"noise_std": np.inf}, ValueError, "need a pixel with data"),
        ({"mask": np.ones(SHAPE, dtype=bool)}, ValueError, "need a pixel with data"),
        ({"mask": np.zeros(SHAPE)}, ValueError, "mask"),
        ({"mask": np.zeros((3, 3), dtype=bool)}, ValueError, "mask"),
        ({"wcs": None}, TypeError, "wcs"),
        ({"wcs": WCS(naxis=2)}, ValueError, "celestial"),
    ],
)
def test_errors_name_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


def test_methods_by_name_object_or_default():
    shear = make()
    assert shear.reconstruct("wiener", n_samples=0, progress=False).diagnostics["method"] == "Wiener"
    assert (
        shear.reconstruct("kaiser_squires", smoothing=2 * u.arcmin).diagnostics["settings"]["smoothing"] == "2.0 arcmin"
    )
    assert shear.reconstruct(KaiserSquires()).samples is None


@each_case(
    ("method", "options", "error", "message"),
    [
        (
            "magic",
            {},
            ValueError,
            "known are 'annealed_hmc', 'kaiser_squires', 'posterior_diffusion', 'posterior_mean', 'sparse', 'wiener'",
        ),
        (Wiener(n_samples=0), {"seed": 3}, TypeError, "set seed there"),
        (Wiener, {}, TypeError, r"object such as Wiener\(\)"),
        (3, {}, TypeError, "method"),
        ("wiener", {"smoothing": 3}, TypeError, "no option smoothing; it has spectrum"),
    ],
)
def test_bad_methods(method, options, error, message):
    with pytest.raises(error, match=message):
        make().reconstruct(method, **options)


def test_results_keep_the_sky_the_mask_and_meta():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:8, 10:12] = True
    kappa = make(mask=mask, meta={"survey": "mock"}).reconstruct("wiener", n_samples=3, progress=False)
    assert np.array_equal(kappa.mask, mask)
    assert kappa.meta["survey"] == "mock"
    assert _same_sky(kappa.wcs)
    assert kappa.unit == u.dimensionless_unscaled
    assert np.isfinite(kappa.data).all()
    assert kappa.uncertainty.array.shape == SHAPE
    assert kappa.samples.shape == (3, *SHAPE)
    for key in ("settings", "versions", "wall_time", "device", "residual", "iterations"):
        assert key in kappa.diagnostics


def test_the_progress_bar_can_be_switched_off(capsys):
    make().reconstruct("wiener", n_samples=1, progress=False)
    assert not capsys.readouterr().err
    make().reconstruct("wiener", n_samples=1)
    assert "Wiener draws for samples and uncertainty: " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the noise", "ignore:the power", "ignore:the residuals")  # the data are zero
@given(st.integers(1, 5), st.integers(1, 5))
def test_any_rectangle_can_be_mapped(ny, nx):
    shear = ShearMap(np.zeros((2, ny, nx)), wcs=tan_wcs((ny, nx)), noise_std=0.1)
    kappa = shear.reconstruct("wiener", n_samples=1, progress=False)
    assert np.isfinite(kappa.data).all()
    assert kappa.samples.shape == (1, ny, nx)


def test_damaged_files(tmp_path):
    make().write("shear.fits")
    content = (tmp_path / "shear.fits").read_bytes()
    for kept in (100, *range(2880, len(content), 2880)):  # also at the boundaries of FITS blocks
        (tmp_path / "cut.fits").write_bytes(content[:kept])
        with pytest.raises(OSError, match=r"cut\.fits"):
            ShearMap.read("cut.fits")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto("other.fits")
    with pytest.raises(OSError, match="has no image G1"):
        ShearMap.read("other.fits")
    with pytest.raises(OSError):
        ShearMap.read("missing.fits")


def test_files_are_not_overwritten_by_default(tmp_path):
    make().write("shear.fits")
    before = (tmp_path / "shear.fits").read_bytes()
    with pytest.raises(OSError, match="overwrite=True"):
        make(noise_std=0.5).write("shear.fits")
    assert (tmp_path / "shear.fits").read_bytes() == before
    make(noise_std=0.5).write("shear.fits", overwrite=True)
    assert ShearMap.read("shear.fits").noise_std.max() == 0.5
