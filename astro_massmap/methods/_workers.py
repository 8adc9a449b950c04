"""Work that is shared out to the workers of an executor, and what one of them does with its part."""

import multiprocessing
import threading
import uuid
from collections import deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

import torch

from .._utils.progress import warn

_WAITING = 256  # tasks that wait or run at a time: their arguments are kept until they are done
_here = threading.local()


def shared_out(function, pieces, executor):
    """
    Call ``function`` on every piece, by the workers of an executor.

    When all its workers are lost, as a process pool is when one of its processes is killed, the pieces that are left
    are done in this process, with a warning. An executor that gives the task of a lost worker to another one, as that
    of dask does, is left to it.

    Parameters
    ----------
    function : callable
        Takes a piece; it and its results must be known to `pickle` where workers are other processes.
    pieces : iterable
        All of them.
    executor : `concurrent.futures.Executor`
        The workers.

    Yields
    ------
    result
        As they come.

    Raises
    ------
    ValueError
        If the workers are forked processes in which torch would use several threads.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If all workers are lost.

    Examples
    --------
    The order of the results is that in which they are done:

    >>> import math
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from astro_massmap.methods import shared_out
    >>> with ThreadPoolExecutor(2) as executor:
    ...     sorted(shared_out(math.factorial, range(6), executor))
    [1, 1, 2, 6, 24, 120]
    """
    left, waiting, called = deque(pieces), {}, _by_a_worker(function, executor)
    try:
        while left or waiting:
            while left and len(waiting) < _WAITING:
                future = executor.submit(called, left[0])
                waiting[future] = left.popleft()
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda f: f.exception() is not None):  # what is finished is not lost
                result = future.result()
                del waiting[future]
                yield result
    except BrokenExecutor as error:
        done = [future for future in waiting if future.done() and future.exception() is None]
        yield from (future.result() for future in done)
        left.extend(piece for future, piece in waiting.items() if future not in done)
        waiting = {}
        warn(f"executor: its workers are gone ({error}); {len(left)} tasks are done in this process")
        for piece in left:
            yield function(piece)
    finally:
        for future in waiting:
            future.cancel()


@dataclass(frozen=True)
class RunContext:
    """
    What every task of a run has in common; a worker prepares it once.

    Parameters
    ----------
    method : method object
        Has ``prepare(observation)``, whatever takes long and is the same for all tasks.
    observation : `~astro_massmap.inference.Observation`
        The data.
    """

    method: object
    observation: object
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def prepared(self):
        """What the method has prepared, made at the first call in each thread, and kept until there is another job."""
        if getattr(_here, "key", None) != self.key:
            _here.key, _here.prepared = None, self.method.prepare(self.observation)
            _here.key = self.key
        return _here.prepared


def _by_a_worker(function, executor):
    """``function`` as it is given to the workers of an executor: processes of a pool are checked before each call."""
    return partial(_checked, function) if isinstance(executor, ProcessPoolExecutor) else function


def _checked(function, piece):
    """
    ``function(piece)``; ValueError in a forked process in which torch would use several threads.

    The threads of the caller do not exist in a process forked from it, but OpenMP and MKL wait for them, for ever.
    Whether the caller had used them before the fork cannot be found out; with one thread there is nothing to wait for.
    """
    forked = getattr(multiprocessing.current_process(), "_start_method", None) == "fork"
    if forked and torch.get_num_threads() > 1:
        raise ValueError(
            f"executor: its processes were forked, and torch would use {torch.get_num_threads()} threads in each of "
            "them, which can wait for ever for threads of the caller; needs spawned processes: "
            'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))'
        )
    return function(piece)
