"""Distribute the work of a run to the workers of an executor."""

import multiprocessing
import threading
import uuid
from collections import deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from multiprocessing.reduction import ForkingPickler

import torch

from .._utils.progress import warn

_WAITING = 256  # number of tasks that wait or run at a time; their arguments stay in memory until they are done
_here = threading.local()


def shared_out(function, pieces, executor, failed=None):
    """
    Call ``function`` on every piece, by the workers of an executor; yield the results as they are finished.

    When all workers are lost, as in a process pool of which one process is killed, the remaining pieces are done in
    this process, with an AstropyUserWarning. With ``failed``, each of the remaining pieces of a process pool is done in
    a process of its own instead, so that a piece that kills its process does so twice, and ends neither this process
    nor another piece. The executor of Dask itself repeats the tasks of lost workers.

    Parameters
    ----------
    function : callable
        Function of a piece; for workers in other processes, `pickle` needs to support it and its results.
    pieces, executor
        Arguments of the function, an iterable of which at most 256 are taken ahead, and a
        `concurrent.futures.Executor`.
    failed : callable, optional
        Function of a piece and of an error that is not one of the function, such as that of Dask for a piece whose
        workers die again and again, or of a killed process; its result is yielded. By default the error is raised.

    Raises
    ------
    ValueError
        If the workers are forked processes in which torch would use several threads.
    TypeError
        If the workers are processes, and the function or the first piece cannot be sent to them.

    Examples
    --------
    >>> import math
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from astro_massmap.methods import shared_out
    >>> with ThreadPoolExecutor(2) as executor:
    ...     sorted(shared_out(math.factorial, range(6), executor))
    [1, 1, 2, 6, 24, 120]
    """
    pieces, waiting = iter(pieces), {}
    left = deque(islice(pieces, 1))
    called = _by_a_worker(function, executor, left[0] if left else None)
    try:
        while left or waiting:
            while left and len(waiting) < _WAITING:
                future = executor.submit(called, left[0])
                waiting[future] = left.popleft()
                left.extend(islice(pieces, 1))
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda f: f.exception() is not None):  # results before errors
                error = future.exception()
                if failed is None or error is None or isinstance(error, BrokenExecutor):
                    result = future.result()
                else:
                    result = failed(waiting[future], error)
                del waiting[future]
                yield result
    except BrokenExecutor as error:
        done = [future for future in waiting if future.done() and future.exception() is None]
        yield from (future.result() for future in done)
        left.extend(piece for future, piece in waiting.items() if future not in done)
        waiting = {}
        if failed is not None and isinstance(executor, ProcessPoolExecutor):
            warn(f"executor: all workers are lost ({error}); the remaining tasks are done in new processes")
            with ThreadPoolExecutor(executor._max_workers) as threads:
                yield from shared_out(partial(_in_new_process, called, executor, failed), chain(left, pieces), threads)
            return
        left.extend(pieces)
        warn(f"executor: all workers are lost ({error}); {len(left)} tasks are done in this process")
        for piece in left:
            yield function(piece)
    finally:
        for future in waiting:
            future.cancel()


@dataclass(frozen=True)
class RunContext:
    """Method and data of a run, common to all tasks; each worker calls ``method.prepare(observation)`` once."""

    method: object
    observation: object
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def prepared(self):
        """Return the result of ``method.prepare``, kept in each thread until another run begins."""
        if getattr(_here, "key", None) != self.key:
            _here.key, _here.prepared = None, self.method.prepare(self.observation)
            _here.key = self.key
        return _here.prepared


def _by_a_worker(function, executor, piece):
    """Return the function to submit: in a pool of processes, each call is checked by `_checked`."""
    if not isinstance(executor, ProcessPoolExecutor):
        return function
    try:
        ForkingPickler.dumps((function, piece))
    except Exception as error:  # objects that cannot be sent raise errors of several types
        raise TypeError(
            f"executor: the method cannot be sent to its processes ({error}); define your functions at the top of a "
            "module, not as a lambda or in another function, or use threads or Dask"
        ) from error
    return partial(_checked, function)


def _in_new_process(called, lost, failed, piece):
    """Return the result of a piece in a process like those of a lost pool, or that of ``failed``."""
    with ProcessPoolExecutor(1, lost._mp_context, lost._initializer, lost._initargs) as pool:
        try:
            return pool.submit(called, piece).result()
        except Exception as error:
            return failed(piece, error)


def _checked(function, piece):
    """
    Return ``function(piece)``; ValueError in a forked process in which torch would use several threads.

    The threads of the caller do not exist in a process forked from it, but OpenMP and MKL may wait for them for ever.
    """
    forked = getattr(multiprocessing.current_process(), "_start_method", None) == "fork"
    if forked and torch.get_num_threads() > 1:
        raise ValueError(
            f"executor: needs spawned processes, got forked ones with {torch.get_num_threads()} threads of torch each, "
            "which can wait for ever for threads of the caller; use "
            'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))'
        )
    return function(piece)
