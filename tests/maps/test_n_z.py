"""Redshift distributions of catalogues and maps, and the prior spectrum that follows from them."""

import math
from functools import cache

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings, strategies as st

from astro_massmap import (
    AnnealedHMC,
    ConvergenceMap,
    GaussianPrior,
    KaiserSquires,
    PosteriorDiffusion,
    PosteriorMean,
    PowerSpectrum,
    ScorePrior,
    ShearCatalog,
    ShearMap,
    Wiener,
    datasets,
)
from astro_massmap.maps.n_z import as_n_z, histogram, mean_redshift, total_n_z
from astro_massmap.methods import METHODS
from astro_massmap.methods.sources import for_sources, statement
from astro_massmap.priors import PosteriorNetwork
from astro_massmap.theory.source_redshifts import read_n_z

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

SHAPE = (16, 20)
GRID = tan_wcs(SHAPE)
Z = np.linspace(0, 3, 301)
N = Z**2 * np.exp(-((Z / 0.5) ** 1.5))
SPECTRUM = PowerSpectrum([10, 1000, 100000], [1e-8, 3e-10, 1e-13], name="given")
MEAN_ONLY = {"n_samples": 0, "uncertainty": False}


def make(n=3000, seed=0, **options):
    e = np.random.default_rng(seed).normal(scale=0.25, size=(2, n))
    return ShearCatalog(scatter(GRID, SHAPE, n, seed), *e, **{"axes": "west-north"} | options)


def redshifts(n, seed=1):
    return np.random.default_rng(seed).gamma(4, 0.2, n)


# ---- histogram

COSMOLOGY = FlatLambdaCDM(70, 0.3)
CHI_OF_Z = np.linspace(0, 10, 4001)
CHI = COSMOLOGY.comoving_distance(CHI_OF_Z).to_value(u.Mpc)


def angular_power(z, weight):
    """C_ell by a Limber integral over P(k) = k / (1 + (k / 0.02)^2)^1.3, at 6 multipoles, up to a constant."""
    chi_source = np.interp(z, CHI_OF_Z, CHI)
    chi = np.linspace(0, chi_source.max(), 3001)[1:]
    order = np.argsort(chi_source)
    beyond = len(z) - np.searchsorted(chi_source[order], chi)
    tails = [np.append(np.cumsum(x[order][::-1])[::-1], 0) for x in (weight, weight / np.maximum(chi_source, 1e-9))]
    efficiency = tails[0][len(z) - beyond] - chi * tails[1][len(z) - beyond]
    k = np.geomspace(100, 10000, 6)[:, None] / chi
    growth = (1 + np.interp(chi, CHI, CHI_OF_Z)) ** 2
    return np.trapezoid(efficiency**2 * growth * k / (1 + (k / 0.02) ** 2) ** 1.3, chi)


SAMPLES = {
    "broad": redshifts(50_000),
    "low": np.abs(np.random.default_rng(2).normal(0.1, 0.03, 20_000)),
    "very low and broad": np.random.default_rng(3).exponential(0.3, 20_000),
    "two spikes": np.repeat([0.3, 1.1], 500),
    "one plane": np.full(100, 0.2),
    "rounded": np.round(redshifts(20_000), 2),
    "few": redshifts(30),
    "a tail to 4": np.append(redshifts(5000), np.linspace(2, 4, 300)),
}


@each_case("name", list(SAMPLES))
def test_the_histogram_has_the_power_of_the_galaxies_to_half_a_per_cent(name):
    z = np.minimum(SAMPLES[name], 9)
    w = np.random.default_rng(4).uniform(0.2, 2, len(z))
    n_z = histogram(z, w)
    sources = read_n_z(n_z)
    ratio = angular_power(sources.z, sources.weight) / angular_power(z, w / w.sum())
    assert np.abs(ratio - 1).max() < 0.005
    assert mean_redshift(n_z) == pytest.approx(np.average(z, weights=w), rel=1e-3)


def test_weights_change_the_histogram():
    z, w = np.repeat([0.4, 1.2], 100), np.repeat([3.0, 1.0], 100)
    assert mean_redshift(histogram(z, w)) == pytest.approx(0.6, rel=1e-9)
    assert mean_redshift(histogram(z, np.ones(200))) == pytest.approx(0.8, rel=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 9.9), min_size=2, max_size=30).filter(lambda z: max(z) > min(z) + 0.1))
def test_the_histogram_is_a_normalised_density(z):
    grid, n = histogram(z, np.ones(len(z)))
    assert (n >= 0).all() and n[-1] == 0 and np.allclose(np.diff(grid), 0.005)
    assert np.trapezoid(n, grid) == pytest.approx(1)
    read_n_z((grid, n))


def test_missing_redshifts_are_counted_and_galaxies_kept():
    z = redshifts(3000)
    z[:7], z[7:10] = -99, np.nan
    catalog = make(redshift=z)
    with pytest.warns(AstropyUserWarning, match="redshift: 10 of 3000 galaxies have none"):
        n_z = catalog.n_z
    assert np.allclose(n_z, histogram(z[10:], np.ones(2990)))
    with pytest.warns(AstropyUserWarning, match="10 of 3000"):
        assert catalog.to_map(wcs=GRID).meta["n_galaxies"] == 3000
    with pytest.warns(AstropyUserWarning, match="there is no n"):
        assert make(redshift=np.full(3000, -99.0)).n_z is None


@pytest.mark.slow
def test_spectra_of_the_histogram_and_of_the_galaxies_agree():
    pytest.importorskip("camb")
    catalog = make(redshift=redshifts(3000), weight=np.random.default_rng(5).uniform(0.2, 2, 3000))
    options = {"As": 2.1e-9, "n_s": 0.97, "ell": np.geomspace(30, 2e4, 12)}
    cosmology = FlatLambdaCDM(70, 0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)
    of_galaxies = PowerSpectrum.from_cosmology(cosmology, n_z=catalog, **options)
    of_n_z = PowerSpectrum.from_cosmology(cosmology, n_z=catalog.n_z, **options)
    assert np.abs(of_n_z.cl / of_galaxies.cl - 1).max() < 0.005


# ---- catalogues


def test_the_given_distribution_has_priority():
    catalog = make(redshift=redshifts(3000), n_z=(Z, N))
    assert np.array_equal(catalog.n_z, (Z, N))
    catalog.n_z = None
    assert mean_redshift(catalog.n_z) == pytest.approx(redshifts(3000).mean())
    catalog.n_z = 0.7
    assert [column.tolist() for column in catalog.n_z] == [[0.7], [1.0]]
    assert make().n_z is None


def test_forms_of_the_distribution(tmp_path):
    table = Table({"z": Z, "n": N})
    table.write(tmp_path / "n_z.ecsv")
    for source in (table, tmp_path / "n_z.ecsv", (Z, N), [Z, N]):
        assert np.allclose(make(n_z=source).n_z, (Z, N))
    galaxies = Table({"z": redshifts(500), "weight": np.ones(500)})
    assert np.allclose(make(n_z=galaxies).n_z, histogram(redshifts(500), np.ones(500)))
    with pytest.raises(ValueError, match="n_z: needs increasing redshifts"):
        make(n_z=([1, 0.5], [1, 1]))


def test_selections():
    catalog = make(redshift=redshifts(3000))
    far = catalog.redshift > 1
    assert mean_redshift(catalog[far].n_z) == pytest.approx(catalog.redshift[far].mean())
    catalog.n_z = (Z, N)
    assert np.array_equal(catalog[::2].n_z, (Z, N))  # on the sky: the distribution is the same
    with pytest.warns(AstropyUserWarning, match="n_z: the given n.z. is kept for a selection"):
        assert np.array_equal(catalog[far].n_z, (Z, N))
    silent = make(n_z=(Z, N))
    assert np.array_equal(silent[np.arange(3000) < 10].n_z, (Z, N))


@each_case("name", ["survey.fits", "survey.fits.gz", "survey.ecsv"])
def test_files_keep_the_distribution(name, tmp_path):
    catalog = make(300, n_z=(Z, N), redshift=redshifts(300), tomo=np.arange(300) % 3, shape_noise=0.3)
    catalog.write(tmp_path / name)
    again = ShearCatalog.read(tmp_path / name, axes="west-north")
    assert np.allclose(again.n_z, (Z, N), rtol=1e-14)
    assert np.array_equal(again.tomo, catalog.tomo) and np.allclose(again.redshift, catalog.redshift)
    assert again.shape_noise == 0.3 and "n_z" not in again.meta
    assert mean_redshift(ShearCatalog.read(tmp_path / name, axes="west-north", n_z=0.4).n_z) == 0.4


def test_maps_keep_the_distribution(tmp_path):
    shear = make(n_z=(Z, N)).to_map(wcs=GRID)
    shear.write(tmp_path / "shear.fits")
    assert np.array_equal(ShearMap.read(tmp_path / "shear.fits").n_z, (Z, N))
    kappa = shear.reconstruct(KaiserSquires(), progress=False)
    kappa.write(tmp_path / "kappa.fits")
    for found in (kappa, kappa[2:8, 3:9], kappa.reproject_to(GRID), ConvergenceMap.read(tmp_path / "kappa.fits")):
        assert np.array_equal(found.n_z, (Z, N))
    with pytest.raises(OSError, match=r"has no image|incomplete"):
        content = (tmp_path / "shear.fits").read_bytes()
        (tmp_path / "half.fits").write_bytes(content[: len(content) // 2 // 2880 * 2880])
        ShearMap.read(tmp_path / "half.fits")


def test_only_galaxies_on_the_map_count():
    z = redshifts(3000)
    catalog = make(redshift=z)
    x, _ = GRID.world_to_pixel(catalog.coords)
    left = GRID[:, :10]
    inside = np.rint(x) < 10
    assert mean_redshift(catalog.to_map(wcs=left, shape=(16, 10)).n_z) == pytest.approx(z[inside].mean(), rel=1e-6)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 10:] = True
    assert mean_redshift(catalog.to_map(wcs=GRID, mask=mask).n_z) == pytest.approx(z[inside].mean(), rel=1e-6)


def test_the_sum_of_distributions():
    total = total_n_z([(Z, N), as_n_z(0.5)], [3.0, 1.0])
    assert mean_redshift(total) == pytest.approx(0.75 * mean_redshift((Z, N)) + 0.125, rel=1e-4)


# ---- the prior spectrum


@cache
def by_n_z():
    return PowerSpectrum.from_n_z(Z, N)


@each_case("method", [Wiener(**MEAN_ONLY), AnnealedHMC(GaussianPrior(), n_samples=1, n_check=0)])
def test_methods_take_the_spectrum_from_the_data(method):
    shear = make(n_z=(Z, N)).to_map(wcs=GRID)
    kappa = shear.reconstruct(method, progress=False)
    if isinstance(method, Wiener):
        explicit = Wiener(by_n_z(), **MEAN_ONLY)
    else:
        explicit = AnnealedHMC(GaussianPrior(by_n_z()), n_samples=1, n_check=0)
    expected = shear.reconstruct(explicit, progress=False)
    assert np.array_equal(kappa.data, expected.data)
    assert kappa.meta["provenance"]["prior"] == expected.meta["provenance"]["prior"]
    found = kappa.diagnostics["sources"]
    assert found == kappa.meta["provenance"]["sources"]
    assert found["spectrum"] == by_n_z().name and found["origin"] == "n(z) of the data"
    assert found["mean_redshift"] == pytest.approx(mean_redshift((Z, N)))
    assert expected.diagnostics["sources"]["origin"] == "method"
    # another distribution gives another map
    shear.n_z = None
    default = shear.reconstruct(method, progress=False)
    assert not np.allclose(kappa.data, default.data, atol=1e-5)
    assert default.diagnostics["sources"] == {
        "spectrum": "default: z_s = 1", "origin": "default", "mean_redshift": None,
    }  # fmt: skip


@each_case(
    ("kind", "name", "part"),
    [
        (AnnealedHMC, "prior", ScorePrior),
        (PosteriorDiffusion, "network", PosteriorNetwork),
        (PosteriorMean, "network", PosteriorNetwork),
    ],
)
def test_shipped_networks_have_the_spectrum_of_the_data(kind, name, part):
    for field in (None, "random", "targeted"):
        own = None if field is None else part.load("default", field=field)
        method, record = for_sources(kind(own, padding=1.7), (np.array([0.9]), np.ones(1)))
        assert method.padding == 1.7 and record["origin"] == "n(z) of the data"
        plane = PowerSpectrum.from_n_z(0.9)
        ratio = getattr(method, name).theory([500.0, 2000.0]) / plane([500.0, 2000.0])
        power = getattr(method, name).factor([500.0, 2000.0]) if field == "targeted" else 1.0
        # multiplied by the resolution of the training maps
        assert (ratio <= power * (1 + 1e-9)).all() and (ratio > 0.8 * power).all()
    own = kind(part.load("default", plane))
    assert for_sources(own, (Z, N))[0] is own


def test_methods_with_their_own_prior_or_without_one_do_not_change():
    given = [Wiener(SPECTRUM), AnnealedHMC(GaussianPrior(SPECTRUM)), KaiserSquires()]
    for method in given:
        assert for_sources(method, (Z, N))[0] is method
    for name in METHODS:
        method = METHODS[name]()
        assert for_sources(method, None)[0] is method
    assert for_sources(given[0], None)[1]["spectrum"] == "given" == for_sources(given[1], None)[1]["spectrum"]
    assert statement(for_sources(KaiserSquires(), (Z, N))[1]) is None


def test_a_noisy_map_of_the_convergence_has_its_distribution_too():
    noisy = ConvergenceMap(
        np.random.default_rng(1).normal(scale=0.1, size=SHAPE), wcs=GRID, uncertainty=np.full(SHAPE, 0.1), n_z=(Z, N)
    )
    found = noisy.reconstruct(Wiener(**MEAN_ONLY), progress=False)
    assert np.array_equal(found.data, noisy.reconstruct(Wiener(by_n_z(), **MEAN_ONLY), progress=False).data)


def test_one_line_names_the_spectrum(capsys):
    shear = make(n_z=(Z, N)).to_map(wcs=GRID)
    shear.reconstruct(Wiener(**MEAN_ONLY))
    error = capsys.readouterr().err
    assert f"prior spectrum: {by_n_z().name!r}, from n(z) of the data, sources at a mean redshift of 0.752" in error
    make().to_map(wcs=GRID).reconstruct(Wiener(**MEAN_ONLY))
    assert "'default: z_s = 1', because the data have no n(z)" in capsys.readouterr().err
    shear.reconstruct(Wiener(**MEAN_ONLY), progress=False)
    assert "prior spectrum" not in capsys.readouterr().err


def test_catalogues_without_redshifts_are_mapped_as_before():
    """The mean of the demonstration by the default spectrum."""
    catalog = datasets.demo()
    assert catalog.n_z is None
    shear = catalog.to_map()
    assert shear.n_z is None and shear.shape == (128, 128)
    found = shear.reconstruct(Wiener(**MEAN_ONLY), progress=False).data
    assert np.array_equal(found, shear.reconstruct(Wiener(PowerSpectrum.default(), **MEAN_ONLY), progress=False).data)


def test_positions_do_not_matter_for_a_plane():
    sky = SkyCoord([10, 10.01, 10.02], [0, 0.01, 0], unit="deg")
    assert mean_redshift(ShearCatalog(sky, [0.1] * 3, [0.1] * 3, axes="west-north", redshift=[0.5] * 3).n_z) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("density", "mean", "side", "scale"),
    [(1.4, 0.94, 48, 1.0), (18, 0.8, 20, 0.4), (30, 1.2, 16, 0.4)],
    ids=["DES bin", "HSC", "Euclid"],
)
def test_a_table_with_redshifts_is_mapped_without_another_argument(density, mean, side, scale):
    rng = np.random.default_rng(3)
    n = int(density * side**2)
    ra, dec = 30 + rng.uniform(0, side / 60, (2, n))
    g1, g2 = rng.normal(scale=0.26, size=(2, n))
    z = rng.normal(mean, 0.2, n).clip(0.1)
    columns = {"ra": ra * u.deg, "dec": (dec - 30) * u.deg, "g1": g1, "g2": g2, "z": z}
    Table(columns).write("survey.fits")
    catalog = ShearCatalog.read("survey.fits", axes="west-north")
    kappa = catalog.reconstruct(n_samples=2, n_check=0, progress=False)
    assert kappa.pixel_scale.to_value(u.arcmin) == pytest.approx(scale, rel=1e-4)
    sources = kappa.diagnostics["sources"]
    assert sources["origin"] == "n(z) of the data" and sources["mean_redshift"] == pytest.approx(mean, abs=0.03)
    # noise alone: samples have the power of the prior
    expected = ScorePrior.load("default", PowerSpectrum.from_n_z(*catalog.n_z)).of_pixels(math.radians(scale / 60))
    assert kappa.samples.std() == pytest.approx(expected.denoiser.signal, rel=0.4)
