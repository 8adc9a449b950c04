"""
Parallel work on a CPU: one thread of torch for each piece, and as many pieces at a time as there are cores.

Threads of torch that share one piece wait for each other at every operation, the longer the busier the computer is.
Pieces with one thread each do not wait; torch releases the lock of Python while it computes.
"""

import functools
import math
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path

import torch

_lock, _here, _inside, _before = threading.Lock(), threading.local(), 0, 1
_LARGEST_KEPT = 2**25 - 2**16  # bytes; glibc raises its threshold up to 2^25


def available_cores():
    """
    Return the number of cores that this process may use, at least 1.

    It is that of the affinity mask, or the quota of the control group (Linux) if that is less.

    Examples
    --------
    >>> from astro_massmap.inference import available_cores
    >>> available_cores() >= 1
    True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(min(cores, _quota()), 1)


def _quota(root="/sys/fs/cgroup"):
    """Return the number of cores of the control group of this process, rounded down; infinite without a limit."""
    root = Path(root)
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((root / name).read_text() for name in files).split()
            return max(int(quota) // int(period), 1) if int(quota) > 0 else math.inf
        except (OSError, ValueError):  # missing, or "max"
            continue
    return math.inf


@contextmanager
def one_thread():
    """
    Use one thread of torch in a ``with`` block, also in several Python threads; restore the number afterwards.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import one_thread
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    global _inside, _before
    if getattr(_here, "alone", False):
        yield
        return
    _keep_freed_memory()
    with _lock:  # torch has a number for each Python thread, and one for later threads
        if not _inside:
            _before = torch.get_num_threads()
        _inside += 1
        _alone()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            _here.alone = False
            torch.set_num_threads(_before)


@functools.cache
def _keep_freed_memory():
    """
    Make glibc keep the memory of freed arrays; no effect with other C libraries.

    Otherwise a fifth of the time of a chain is spent on page faults, for which threads wait for each other. The
    threshold follows the largest array that was freed (``man mallopt``, ``M_MMAP_THRESHOLD``).
    """
    torch.empty(_LARGEST_KEPT, dtype=torch.uint8, device="cpu")


def _alone():
    """Make this Python thread use one thread of torch."""
    _here.alone = True
    torch.set_num_threads(1)


@contextmanager
def thread_pool(workers):
    """
    Provide a `concurrent.futures.ThreadPoolExecutor` of ``workers`` threads that use one thread of torch each.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import thread_pool
    >>> with thread_pool(2) as pool:
    ...     pool.submit(torch.get_num_threads).result()
    1
    """
    executor = ThreadPoolExecutor(workers, initializer=_alone)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(torch.get_num_threads())  # later threads get the number of this one again


def side_by_side(function, items, workers, ahead=2):
    """
    Call ``function`` on all items, several at a time, with one thread of torch each; yield the results in order.

    When a call fails, its error is raised and waiting calls are cancelled.

    Parameters
    ----------
    function, items : callable, sequence
        Function, whose result must not depend on the order of the calls, and its arguments.
    workers, ahead : int
        Number of Python threads, and of calls for each that are submitted before the next result is returned.

    Examples
    --------
    >>> import math
    >>> from astro_massmap.inference import side_by_side
    >>> list(side_by_side(math.factorial, range(6), workers=2))
    [1, 1, 2, 6, 24, 120]
    """
    workers = min(workers, len(items))
    if workers <= 1:
        for item in items:
            with one_thread():
                result = function(item)
            yield result
        return
    with thread_pool(workers) as executor:
        waiting = deque()
        for item in items:
            waiting.append(executor.submit(copy_context().run, function, item))
            if len(waiting) >= max(ahead, 1) * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
