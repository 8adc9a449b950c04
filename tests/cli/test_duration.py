"""The expected duration of a run."""

import astropy.units as u
import pytest

from astro_massmap import AnnealedHMC, datasets
from astro_massmap.cli import duration


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["fast", "annealed"])
def test_the_number_of_evaluations_is_that_of_the_run(schedule):
    shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    method = AnnealedHMC(n_samples=2, schedule=schedule, n_check=0)
    jobs, batch, evaluations, seconds = duration._measured(method, shear, 4)
    kappa = shear.reconstruct(method, progress=False)
    assert (jobs, batch, evaluations) == (2, 1, kappa.diagnostics["score_evaluations"])
    assert 0 < seconds < kappa.diagnostics["wall_time"]


@pytest.mark.parametrize(("n", "shown"), [(16, "about 69 s if"), (17, "about 78 s if"), (64, "about 4.6 min if")])
def test_the_expected_duration_is_printed(n, shown, monkeypatch, capsys):
    monkeypatch.setattr(duration, "_measured", lambda *arguments: (2, 1, 75, 0.1))
    duration.print_duration(AnnealedHMC(n_samples=n), None)
    assert f"{n} samples, 2 at a time: {shown}" in capsys.readouterr().err
