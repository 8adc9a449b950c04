"""What all tests share: the header of the report, steady property tests, and the data that are not ours."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady", deadline=None, derandomize=True, max_examples=40, suppress_health_check=list(HealthCheck)
)
settings.load_profile("steady")


def pytest_configure(config):
    # the maps of tests are small: a second thread only waits
    torch.set_num_threads(1)
    from pytest_astropy_header.display import PYTEST_HEADER_MODULES, TESTED_VERSIONS

    import astro_massmap

    PYTEST_HEADER_MODULES.clear()
    PYTEST_HEADER_MODULES.update(
        {"numpy": "numpy", "scipy": "scipy", "astropy": "astropy", "torch": "torch", "regions": "regions"}
    )
    TESTED_VERSIONS["astro_massmap"] = astro_massmap.__version__


@pytest.fixture(scope="session")
def massmap_data():
    """The folder of the public data, from MASSMAP_DATA; without it the test is skipped."""
    folder = os.environ.get("MASSMAP_DATA")
    if not folder:
        pytest.skip("needs the public data: set MASSMAP_DATA to their folder")
    return Path(folder)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
