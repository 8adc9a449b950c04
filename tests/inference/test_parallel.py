"""Parallel work: identical results, one thread each, and the number of threads restored afterwards."""

import math
import threading
import time

import numpy as np
import pytest
import torch

from astro_massmap import AnnealedHMC, Wiener
from astro_massmap.inference import available_cores, one_thread, parallel, side_by_side

from helpers.cases import each_case
from helpers.chains import FAST, GENTLE, observation


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers):
    def slowly(i):
        time.sleep(0.02 * (i % 3))
        return i, torch.get_num_threads(), threading.get_ident()

    results = list(side_by_side(slowly, range(12), workers))
    assert [i for i, _, _ in results] == list(range(12))
    assert {threads for _, threads, _ in results} == {1}
    assert len({ident for _, _, ident in results}) <= workers
    assert torch.get_num_threads() == 2


def test_few_calls_are_submitted_ahead_and_errors_cancel_them():
    begun = []

    def work(i):
        begun.append(i)
        if i == 3:
            raise ValueError("number 3")
        return i

    with pytest.raises(ValueError, match="number 3"):
        list(side_by_side(work, range(1000), 2))
    assert len(begun) < 20
    assert torch.get_num_threads() == 2


def test_one_thread_may_be_nested():
    with one_thread():
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_quota_of_a_control_group(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert parallel._quota(tmp_path) == expected


def test_cores_are_those_of_the_affinity_mask(monkeypatch):
    monkeypatch.setattr(parallel, "_quota", lambda: math.inf)
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.setattr(parallel, "_quota", lambda: 2)
    assert available_cores() == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", [AnnealedHMC(GENTLE, n_samples=5, **FAST), Wiener(n_samples=5)])
def test_samples_do_not_depend_on_n_jobs(method):
    from dataclasses import replace

    estimates = [replace(method, n_jobs=n).solve(observation()) for n in (1, 3, None)]
    for other in estimates[1:]:
        assert np.array_equal(other.samples, estimates[0].samples)
        assert np.array_equal(other.std, estimates[0].std)
    assert torch.get_num_threads() == 2


@each_case("kind", [AnnealedHMC, Wiener])
def test_invalid_n_jobs(kind):
    for n_jobs in (0, -1, 1.5):
        with pytest.raises((TypeError, ValueError), match="n_jobs"):
            kind(n_jobs=n_jobs)
