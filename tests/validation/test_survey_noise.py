"""Noise of a survey from randomly rotated galaxies, against maps of one rotated catalogue and the scatter of KS."""

import copy

import astropy.units as u
import numpy as np
import pytest

from astro_massmap import SkyFields, datasets
from astro_massmap.validation import survey_noise
from astro_massmap.validation.null_tests import rotated
from astro_massmap.validation.survey_noise import survey_noise_maps

GRID = {"nside": 64, "pixel_scale": 1.6 * u.arcmin}
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def pieces():
    demo = datasets.demo()[::3]
    return [demo[:9000], demo[9000:]]


@pytest.fixture(scope="module")
def fields(pieces):
    return SkyFields(pieces, **GRID)


@pytest.mark.parametrize("method", ["kaiser_squires", "wiener"])
def test_a_map_is_that_of_the_rotated_catalogue(fields, pieces, tmp_path, method):
    noise = survey_noise_maps(fields, pieces, tmp_path / "noise", 3, method=method, seed=5, **QUIET)
    turned = SkyFields([rotated(piece, [5, 2, k]) for k, piece in enumerate(pieces)], **GRID)
    options = {"n_samples": 0, "uncertainty": False} if method == "wiener" else {}
    for cell in fields:
        expected = turned[cell].reconstruct(method, **options, **QUIET)
        np.testing.assert_allclose(noise[cell].samples[2], expected.data, atol=1e-6)
        assert (noise[cell].mask == expected.mask).all()
    table, one = noise.healpix(), noise[noise.cells[0]]
    np.testing.assert_allclose(one.uncertainty.array, np.std(one.samples, axis=0, ddof=1), rtol=1e-5)
    assert table["std"].min() > 0


def test_the_standard_deviation_is_that_of_the_noise(fields, pieces, tmp_path):
    """The scatter of 40 maps is that of maps of Gaussian shear with the stated noise, to 6 % in the rms over pixels."""
    cell = max(fields, key=lambda cell: int((~fields[cell].mask).sum()))
    fields = copy.copy(fields)
    fields.cells = np.array([cell])
    noise = survey_noise_maps(fields, pieces, tmp_path / "noise", 40, **QUIET)
    smooth = noise[cell].uncertainty.array[~noise[cell].mask]
    rng, shear = np.random.default_rng(1), fields[cell]
    maps = []
    for _ in range(40):
        shear.data[:] = np.where(
            shear.mask, 0, rng.normal(size=shear.data.shape) * np.where(shear.mask, 0, shear.noise_std)
        )
        maps.append(shear.reconstruct("kaiser_squires", **QUIET).data)
    expected = np.std(maps, axis=0, ddof=1)[~shear.mask]
    assert np.sqrt(np.mean(smooth**2)) == pytest.approx(np.sqrt(np.mean(expected**2)), rel=0.06)


def test_a_run_continues_and_needs_the_same_galaxies(fields, pieces, tmp_path, monkeypatch):
    noise = survey_noise_maps(fields, pieces, tmp_path / "noise", 3, **QUIET)
    files = sorted((tmp_path / "noise").iterdir())
    kept, before = files[1].stat().st_mtime_ns, noise[noise.cells[0]].samples[1].copy()
    files[0].unlink()
    again = survey_noise_maps(fields, iter(pieces), tmp_path / "noise", 3, **QUIET)
    assert files[1].stat().st_mtime_ns == kept and (again[again.cells[0]].samples[1] == before).all()
    survey_noise_maps(fields, [], tmp_path / "noise", 3, **QUIET)  # nothing is left to do
    cases = [
        (lambda: survey_noise_maps(fields, pieces, tmp_path / "noise", 4, **QUIET), OSError, "map of other data"),
        (lambda: survey_noise_maps(fields, pieces[:1], tmp_path / "a", 3, **QUIET), ValueError, "catalog: needs the"),
        (lambda: survey_noise_maps(fields, pieces, tmp_path / "a", 1, **QUIET), ValueError, "n: needs"),
        (lambda: survey_noise_maps(pieces, pieces, tmp_path / "a", 3, **QUIET), TypeError, "fields: needs SkyFields"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    monkeypatch.setattr(survey_noise, "physical_memory", lambda: 10**6)
    with pytest.raises(ValueError, match=r"n: 3 maps of 4 fields need .* GiB of memory"):
        survey_noise_maps(fields, pieces, tmp_path / "a", 3, **QUIET)
