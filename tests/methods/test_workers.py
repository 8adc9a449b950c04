"""Chains on the workers of executors: identical samples, also after the loss of a worker."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import (
    AnnealedHMC,
    ConvergenceMap,
    GaussianPrior,
    KaiserSquires,
    Wiener,
    datasets,
    reconstruct_fields,
)
from astro_massmap.methods import _workers, run, shared_out

from helpers.chains import FAST, GENTLE, observation

OPTIONS = {"n_samples": 6, "seed": 4, **FAST}
TESTS = [path for path in sys.path if path.endswith(("tests", "benchmarks"))]


def start_worker():
    """Use one thread for each worker, as in this process: the last digits depend on the number."""
    torch.set_num_threads(1)
    sys.path.extend(TESTS)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=start_worker) as executor:
        yield executor


class Here(Executor):
    """Executor that runs tasks in this thread, and loses all workers after some tasks."""

    def __init__(self, lost_after=10**9):
        self.tasks, self.lost_after = 0, lost_after

    def submit(self, function, *arguments):
        if self.tasks >= 2 * self.lost_after:
            raise BrokenExecutor("nobody is left")
        self.tasks += 1
        future = Future()
        try:
            if self.tasks > self.lost_after:
                raise BrokenExecutor("a worker was killed")
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


# ---- the same samples


@pytest.mark.parametrize("batch_size", [None, 4])
def test_threads_draw_the_same_samples(batch_size):
    method, data = AnnealedHMC(GENTLE, batch_size=batch_size, **OPTIONS), observation()
    alone = run(method, data, progress=False)
    with ThreadPoolExecutor(3) as executor:
        shared = run(method, data, progress=False, executor=executor)
    assert np.array_equal(shared.samples, alone.samples)
    assert np.array_equal(shared.mean, alone.mean) and np.array_equal(shared.std, alone.std)
    timed = {"wall_time", "provenance", "memory"}  # memory is that of a worker
    assert {k: v for k, v in shared.diagnostics.items() if k not in timed} == {
        k: v for k, v in alone.diagnostics.items() if k not in timed
    }


@pytest.mark.slow
def test_processes_draw_the_same_samples(processes):
    method, data = AnnealedHMC(GENTLE, **OPTIONS), observation()
    assert np.array_equal(method.solve(data, executor=processes).samples, method.solve(data).samples)


FORKED = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import torch
from astro_massmap import AnnealedHMC, GaussianPrior
from helpers.chains import FAST, observation

if __name__ == "__main__":
    kind, threads = sys.argv[1:]
    context, data = multiprocessing.get_context(kind), observation()
    start = {"initializer": torch.set_num_threads, "initargs": (int(threads),)}
    (torch.ones(1000, 1000) @ torch.ones(1000, 1000)).sum()  # uses both threads
    with ProcessPoolExecutor(2, mp_context=context, **start) as executor:
        method = AnnealedHMC(GaussianPrior(), n_samples=2, **FAST)
        try:
            print(method.solve(data, executor=executor).samples.shape)
        except ValueError as error:
            print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no forks on this system")
@pytest.mark.parametrize(
    ("kind", "threads", "printed"),
    [
        ("fork", 2, 'executor: needs spawned processes, got forked ones.*get_context("spawn")'),
        ("fork", 1, "(2, 24, 24)"),
        ("spawn", 2, "(2, 24, 24)"),
    ],
)
def test_forked_processes_with_several_threads_are_errors(tmp_path, kind, threads, printed):
    script = tmp_path / "script.py"
    script.write_text(FORKED)
    settings = {"OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script), kind, str(threads)]
    with subprocess.Popen(
        command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            if process.poll() is None:  # the process and its workers hang
                os.killpg(process.pid, signal.SIGKILL)
    assert all(part in output for part in printed.split(".*"))


@pytest.mark.slow
def test_the_learned_prior_is_pickled(processes):
    shear = datasets.demo().to_map(shape=(24, 24), pixel_scale=0.4 * u.arcmin)
    options = {"n_samples": 2, "schedule": FAST["schedule"], "n_check": 0, "progress": False}
    alone, shared = (shear.reconstruct(executor=executor, **options) for executor in (None, processes))
    assert np.array_equal(shared.samples, alone.samples)


def test_a_worker_prepares_a_run_once(monkeypatch):
    prepare, calls = AnnealedHMC.prepare, []
    monkeypatch.setattr(AnnealedHMC, "prepare", lambda *run: calls.append(threading.get_ident()) or prepare(*run))
    data = observation()
    with ThreadPoolExecutor(2) as executor:
        for _ in range(2):
            AnnealedHMC(GENTLE, **OPTIONS).solve(data, executor=executor)
    here = threading.get_ident()
    assert calls.count(here) == 2  # the plan is prepared in this process, too
    assert all(calls.count(worker) <= 2 for worker in set(calls))


def test_no_more_tasks_than_needed_wait(monkeypatch):
    monkeypatch.setattr(_workers, "_WAITING", 3)
    gate, waiting = threading.Event(), []
    with ThreadPoolExecutor(1) as executor:
        submit = executor.submit
        monkeypatch.setattr(executor, "submit", lambda *task: waiting.append(task) or submit(*task))
        results = shared_out(lambda piece: gate.wait(20) and piece, range(7), executor)
        threading.Timer(0.2, lambda: waiting.append(None) or gate.set()).start()
        assert sorted(results) == list(range(7))
    assert waiting.index(None) == 3


# ---- lost workers


@pytest.mark.parametrize("lost_after", [0, 1, 2, 4])
def test_tasks_of_lost_workers_are_done_here(lost_after):
    with pytest.warns(AstropyUserWarning, match=f"{7 - lost_after} tasks are done in this process"):
        results = list(shared_out(lambda piece: piece**2, range(7), Here(lost_after)))
    assert sorted(results) == [i**2 for i in range(7)]


def one_process():
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker)


def kill_its_worker(piece):
    if piece == 3 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


@pytest.mark.slow
def test_a_pool_whose_process_was_killed():
    with (
        one_process() as executor,
        pytest.warns(AstropyUserWarning, match="all workers are lost"),
    ):
        assert sorted(shared_out(kill_its_worker, range(6), executor)) == list(range(6))


def kill_each_time(piece):
    if piece == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


@pytest.mark.slow
def test_a_piece_that_kills_its_process_each_time_ends_neither_this_process_nor_other_pieces():
    with (
        one_process() as executor,
        pytest.warns(AstropyUserWarning, match="all workers are lost .* done in new processes"),
    ):
        results = list(shared_out(kill_each_time, range(3), executor, lambda piece, error: (piece, type(error))))
    assert len(results) == 3 and {0, 2, (1, BrokenProcessPool)} == {*results}


@pytest.mark.slow
def test_a_worker_of_dask_that_was_killed_in_the_middle():
    distributed = pytest.importorskip("distributed")
    method = AnnealedHMC(GENTLE, checkpoint="c.fits", **OPTIONS | {"n_samples": 40})
    alone = AnnealedHMC(GENTLE, **OPTIONS | {"n_samples": 40}).solve(observation())
    index = Path("c.fits.ledger").absolute()

    def finished():
        return index.read_bytes().count(b"\n") - 1 if index.exists() else 0

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(start_worker)
        victim = client.run(os.getpid)

        def kill_one():
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and finished() < 8:
                time.sleep(0.01)
            os.kill(min(victim.values()), signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        shared = method.solve(observation(), executor=client.get_executor())
        killer.join()
        assert set(client.run(os.getpid).values()) != set(victim.values())
    assert np.allclose(shared.samples, alone.samples, atol=1e-5)
    assert finished() == 40


def test_errors_of_a_task_are_raised_and_the_others_cancelled():
    def fail(piece):
        if piece == 1:
            raise ValueError("prior: it is broken")
        return piece

    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="it is broken"):
        list(shared_out(fail, range(100), executor))


def test_an_executor_for_a_method_without_chains_is_an_error():
    for method in (Wiener(), KaiserSquires()):
        with pytest.raises(TypeError, match=r"needs a method that draws .* which with GaussianPrior\(\) draws from"):
            run(method, observation(), progress=False, executor=Here())


# ---- fields


@pytest.mark.slow
def test_fields_are_mapped_in_their_order(processes):
    shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    catalog = datasets.demo()[::2]
    fields = [shear, catalog, shear]
    alone, shared = (
        list(reconstruct_fields(fields, "wiener", n_samples=2, progress=False, executor=executor))
        for executor in (None, processes)
    )
    for one, other in zip(alone, shared, strict=True):
        assert isinstance(other, ConvergenceMap)
        assert np.array_equal(one.samples, other.samples) and np.array_equal(one.data, other.data)
        assert one.wcs.wcs.compare(other.wcs.wcs, tolerance=1e-9) and one.unit == other.unit
        assert np.array_equal(one.uncertainty.array, other.uncertainty.array)
    assert [kappa.shape for kappa in shared] == [(32, 32), (128, 128), (32, 32)]


def test_a_field_is_returned_as_soon_as_those_before_it_are_finished():
    class Field:
        def __init__(self, wait, done):
            self.wait, self.done = wait, done

        def reconstruct(self, method, progress):
            assert self.wait is None or self.wait.wait(20)
            self.done.set()
            return kappa

    kappa = datasets.demo().reconstruct("kaiser_squires", pixel_scale=1.6 * u.arcmin, progress=False)
    second, third = threading.Event(), threading.Event()
    fields = [Field(second, threading.Event()), Field(None, second), Field(third, threading.Event())]
    with ThreadPoolExecutor(3) as executor:
        maps = reconstruct_fields(fields, "wiener", executor=executor, progress=False)
        next(maps), next(maps)
        assert not third.is_set()
        third.set()
        next(maps)


def test_invalid_fields_are_errors_before_the_run():
    shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    with pytest.raises(TypeError, match="got a str in fields"):
        reconstruct_fields([shear, "shear.fits"], "wiener")
    with pytest.raises(ValueError, match="method: 'magic' is unknown"):
        reconstruct_fields([shear], "magic")
    with pytest.raises(ValueError, match="checkpoint: needs a single field"):
        reconstruct_fields([shear], AnnealedHMC(GaussianPrior(), checkpoint="c.fits"))
    coarse = datasets.demo().to_map(pixel_scale=2.5 * u.arcmin)
    maps = reconstruct_fields([coarse, coarse], AnnealedHMC(), progress=False)
    with pytest.raises(ValueError, match="prior: needs pixels") as caught:
        next(maps)
    assert caught.value.__notes__ == ["in fields[0]"]
