"""Completeness of certain detections, of no halos, and of a method that records its calls."""

from dataclasses import dataclass, field

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, strategies as st
from regions import CircleSkyRegion

from astro_massmap import ConvergenceMap, KaiserSquires, ShearCatalog, Wiener
from astro_massmap.methods import Estimate
from astro_massmap.simulation import NFWHalo, inject_halo, observe
from astro_massmap.validation.completeness import completeness, random_centers

from helpers.cases import each_case
from helpers.skies import tan_wcs

SHAPE = (48, 52)
RADIUS = 2 * u.arcmin
METHOD = Wiener(n_samples=8, seed=3)


@pytest.fixture(scope="module")
def survey():
    """Noise only: 6 galaxies per arcmin2 on pixels of 1 arcmin, all at redshift 1."""
    wcs = tan_wcs(SHAPE, scale=1.0)
    seen = observe(ConvergenceMap(np.zeros(SHAPE), wcs=wcs), density=6 / u.arcmin**2, seed=1)
    catalog = ShearCatalog(seen.coords, seen.g1, seen.g2, axes=seen.axes, redshift=np.ones(len(seen)))
    return catalog, wcs, random_centers(np.zeros(SHAPE, dtype=bool), wcs, 12, 4 * RADIUS, seed=2)


def run(survey, masses, **changes):
    catalog, wcs, centers = survey
    options = {"method": METHOD, "threshold": 0.02, "radius": RADIUS, "z_source": 1.0, "wcs": wcs} | changes
    catalog, centers = options.pop("catalog", catalog), options.pop("centers", centers)
    return completeness(catalog, masses * u.Msun, 0.3, centers, **options)


@pytest.mark.slow
def test_completeness_increases_from_zero_to_one(survey):
    table = run(survey, np.array([1e6, 3e14, 8e14, 2e15, 1e16]))
    assert table.colnames == ["mass", "completeness", "error", "lower", "upper", "mean_probability"]
    assert np.array_equal(table["mass"].to_value(u.Msun), [0, 1e6, 3e14, 8e14, 2e15, 1e16])
    assert (np.diff(table["completeness"][1:]) >= 0).all() and (np.diff(table["mean_probability"][1:]) >= 0).all()
    # a negligible mass: the 96 samples differ from those of the survey, so that 0.03 has an error of 0.02
    assert abs(table["mean_probability"][1] - table["mean_probability"][0]) < 0.08
    assert abs(table["completeness"][1] - table["completeness"][0]) <= 1 / 12
    assert table["completeness"][0] < 0.2 and table["completeness"][-1] == 1 and table["mean_probability"][-1] > 0.95
    assert 0 < table["completeness"][2] < 1 or 0 < table["completeness"][3] < 1
    expected = {"redshift": 0.3, "threshold": 0.02, "radius": RADIUS, "probability": 0.5, "n_centers": 12}
    assert table.meta == expected


@pytest.mark.slow
def test_the_first_row_is_the_survey_and_the_others_have_halos(survey):
    catalog, wcs, centers = survey
    table = run(survey, np.array([4e14]), threshold=0.01, probability=0.3, concentration=6.0)
    halo = NFWHalo(4e14 * u.Msun, 0.3, 6.0)
    for row, seen in zip(table, (catalog, inject_halo(catalog, halo, centers, z_source=1.0)), strict=True):
        kappa = seen.reconstruct(METHOD, wcs=wcs, progress=False)
        circles = [CircleSkyRegion(c, RADIUS) for c in centers]
        found = (kappa.region_means(circles) > 0.01).mean(axis=0)
        assert row["completeness"] == (found >= 0.3).mean() and row["mean_probability"] == found.mean()


def test_the_interval_of_wilson(survey):
    table = run(survey, np.array([6e14]))
    n, z = 12, 1.0
    for row in table:
        p = row["completeness"]
        middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        bounds = (middle + np.array([-half, half])) / (1 + z**2 / n)
        assert np.allclose([row["lower"], row["upper"]], bounds, atol=1e-9)
        assert np.isclose(row["error"], half / (1 + z**2 / n)) and row["error"] > 0


@pytest.mark.slow
def test_redshifts_of_the_galaxies_are_used(survey):
    catalog, wcs, centers = survey
    masses = np.array([1e15])
    assert np.array_equal(list(run(survey, masses)[1])[1:], list(run(survey, masses, z_source=None)[1])[1:])
    near = ShearCatalog(catalog.coords, catalog.g1, catalog.g2, axes=catalog.axes, redshift=np.full(len(catalog), 0.2))
    in_front = run((near, wcs, centers), masses, z_source=None)
    assert np.array_equal(list(in_front[0])[1:], list(in_front[1])[1:])


@pytest.mark.slow
@pytest.mark.parametrize("axes", ["east-north", "north-east"])
def test_axes_do_not_matter(survey, axes):
    catalog, _, _ = survey
    e = catalog.g1 + 1j * catalog.g2
    e = e.conj() if axes == "east-north" else -e
    other = ShearCatalog(catalog.coords, e.real, e.imag, axes=axes)
    tables = [run(survey, np.array([5e14]), catalog=c)["completeness", "mean_probability"] for c in (catalog, other)]
    assert all(np.array_equal(tables[0][name], tables[1][name]) for name in tables[0].colnames)


@dataclass(frozen=True)
class Counted:
    """Method that returns constant samples and records the shapes of its observations."""

    value: float
    n_samples: int = 2
    shapes: list = field(default_factory=list)

    def solve(self, observation, *, progress=False):
        self.shapes.append(observation.shape)
        mean = np.full(observation.shape, self.value)
        samples = np.broadcast_to(mean, (self.n_samples, *mean.shape)) if self.n_samples else None
        return Estimate(mean, np.ones_like(mean), samples)


@pytest.mark.slow
def test_one_reconstruction_per_mass(survey):
    method = Counted(0.03)
    table = run(survey, np.array([1e14, 2e14, 3e14]), method=method)
    assert method.shapes == [SHAPE] * 4
    assert (table["completeness"] == 1).all() and (table["lower"] < 1).all()
    assert (run(survey, np.array([1e14]), method=Counted(0.01))["completeness"] == 0).all()


def test_a_background_is_subtracted(survey):
    method = Counted(0.03)
    assert (run(survey, np.array([1e14]), method=method, background=[3, 4] * u.arcmin)["completeness"] == 0).all()


def test_the_grid_is_given_or_made(survey):
    method = Counted(0.03)
    run(survey, np.array([1e14]), method=method, wcs=None, pixel_scale=2 * u.arcmin)
    run(survey, np.array([1e14]), method=method, shape=(48, 50))
    assert method.shapes[:2] == [(24, 26)] * 2 and method.shapes[2:] == [(48, 50)] * 2


@pytest.mark.slow
def test_one_mass_at_one_position_with_a_method_by_name(survey, capfd):
    catalog, wcs, centers = survey
    table = completeness(
        catalog, 1e16 * u.Msun, 0.3, centers[0], method="wiener", threshold=0.02, radius=RADIUS, wcs=wcs, progress=True
    )
    assert np.array_equal(table["completeness"], [0, 1])
    assert "completeness" in capfd.readouterr().err


@each_case(
    ("changes", "error", "message"),
    [
        ({"centers": SkyCoord([150, 150.1], [2.2, 2.2], unit="deg")}, ValueError, "centers: need to be 4 radii apart"),
        ({"centers": SkyCoord([150, 152], [2.2, 2.2], unit="deg")}, ValueError, "need to lie in the field, 1 of 2"),
        ({"catalog": np.zeros(3)}, TypeError, "catalog: needs a ShearCatalog"),
        ({"centers": (150, 2.2)}, TypeError, "centers: needs a SkyCoord"),
        ({"method": KaiserSquires()}, ValueError, "method: needs one that draws samples"),
        ({"method": Wiener(n_samples=0)}, ValueError, "method: needs one that draws samples"),
        ({"method": "guess"}, ValueError, "method: 'guess' is unknown"),
        ({"probability": 0}, ValueError, "probability: needs to be between 0 and 1"),
        ({"radius": 2}, u.UnitsError, "radius: needs an angle"),
        ({"z_source": 0.2}, ValueError, "z_source: needs to be larger than the redshift 0.3"),
        ({"threshold": np.nan}, ValueError, "threshold: needs a finite number"),
    ],
)
def test_invalid_arguments_of_the_completeness(survey, changes, error, message):
    with pytest.raises(error, match=message):
        run(survey, np.array([1e14]), **changes)


def test_masses_need_a_unit_and_galaxies_a_redshift(survey):
    catalog, wcs, centers = survey
    options = {"method": METHOD, "threshold": 0.02, "radius": RADIUS, "wcs": wcs}
    with pytest.raises(u.UnitsError, match="mass: needs a mass"):
        completeness(catalog, [1e14], 0.3, centers, **options)
    bare = ShearCatalog(catalog.coords, catalog.g1, catalog.g2, axes=catalog.axes)
    with pytest.raises(ValueError, match="z_source: the catalogue has no redshifts"):
        completeness(bare, [1e14] * u.Msun, 0.3, centers, **options)


# ---- positions


@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 6),
    rotation=st.floats(-180, 180),
    flipped=st.booleans(),
    lat=st.sampled_from([0.0, 60.0, -89.9]),
)
def test_positions_are_apart_and_on_data(seed, n, rotation, flipped, lat):
    wcs = tan_wcs(SHAPE, scale=1.0, center=(20.0, lat), rotation=rotation, flipped=flipped)
    mask = np.random.default_rng(seed).random(SHAPE) < 0.5
    places = random_centers(mask, wcs, n, 8 * u.arcmin, seed)
    x, y = wcs.world_to_pixel(places)
    assert len(places) == n and not mask[np.round(y).astype(int), np.round(x).astype(int)].any()
    assert min(x.min(), y.min()) > 3.49 and x.max() < 47.51 and y.max() < 43.51  # 4 pixels from the edges
    separations = places[:, None].separation(places)[np.triu_indices(n, 1)]
    assert (separations >= 8 * u.arcmin).all()
    again = random_centers(mask, wcs, n, 8 * u.arcmin, seed=seed)
    assert (again.separation(places) == 0).all()


@pytest.mark.slow
def test_positions_are_uniform_in_the_field():
    wcs, mask = tan_wcs(SHAPE), np.zeros(SHAPE, dtype=bool)
    one = [wcs.world_to_pixel(random_centers(mask, wcs, 1, 0.1 * u.arcmin, seed=s)) for s in range(200)]
    # the mean of 200 uniform deviates over 52 pixels has an error of 1.06; beyond 4 sigma in 1 of 16000
    assert np.allclose(np.mean(one, axis=0), [25.5, 23.5], atol=4.2)
    assert np.allclose(np.std(one, axis=0), np.array([52, 48]) / np.sqrt(12), rtol=0.15)


@each_case(
    ("changes", "error", "message"),
    [
        ({"n": 200}, ValueError, "n, separation: .* only .* positions of 200 were found 8 arcmin apart"),
        ({"mask": np.ones(SHAPE, dtype=bool)}, ValueError, "n, separation: .* only 0 positions"),
        ({"separation": 200 * u.arcmin}, ValueError, "n, separation: .* only 0 positions"),
        ({"separation": 8}, u.UnitsError, "separation: needs an angle"),
        ({"n": 0}, ValueError, "n: needs to be at least 1"),
        ({"n": 2.5}, TypeError, "n: needs an integer"),
        ({"seed": -1}, ValueError, "seed: needs to be at least 0"),
        ({"mask": np.zeros(SHAPE)}, ValueError, "mask: needs a bool array"),
        ({"mask": None}, ValueError, "mask: needs a bool array"),
    ],
)
def test_positions_that_cannot_be_found(changes, error, message):
    arguments = {"mask": np.zeros(SHAPE, dtype=bool), "n": 3, "separation": 8 * u.arcmin, "seed": 0} | changes
    with pytest.raises(error, match=message):
        random_centers(wcs=tan_wcs(SHAPE, scale=1.0), **arguments)


def test_a_method_without_samples_is_refused(survey):
    with pytest.raises(ValueError, match="method: needs one that draws samples"):
        run(survey, np.array([1e14]), method=KaiserSquires())
