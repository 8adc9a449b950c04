"""
Work on a CPU side by side: one thread of torch for each piece, as many pieces at a time as there are cores.

Threads of torch that share one piece wait for each other at every operation, the longer the busier the machine is.
Pieces that run side by side, with one thread each, never wait; torch releases Python's lock while it computes.
"""

import math
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

_AHEAD = 2  # pieces for each worker that are started before their turn
_lock, _inside, _before = threading.Lock(), 0, 1


def available_cores():
    """
    Number of cores that this process may use.

    Returns
    -------
    int
        Cores of its affinity mask, or the quota of its control group (Linux) if that is less; at least 1.

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
    """Cores that the control group of this process may use, rounded down; infinite without a limit."""
    root = Path(root)
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((root / name).read_text() for name in files).split()
            return max(int(quota) // int(period), 1) if int(quota) > 0 else math.inf
        except (OSError, ValueError):  # not there, or "max"
            continue
    return math.inf


@contextmanager
def one_thread():
    """
    Use one thread of torch in a ``with`` block, also of several Python threads; then as many as before.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import one_thread
    >>> before = torch.get_num_threads()
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.set_num_threads(_before)


def side_by_side(function, items, workers):
    """
    Call ``function`` on all items, several at a time, with one thread of torch each.

    Parameters
    ----------
    function : callable
        Function of an item. What it returns must not depend on the order of the calls.
    items : sequence
        All of them.
    workers : int
        Number of Python threads.

    Yields
    ------
    result
        Results in the order of the items. When one fails, its error is raised and those that wait are cancelled.

    Examples
    --------
    >>> import math
    >>> from astro_massmap.inference import side_by_side
    >>> list(side_by_side(math.factorial, range(6), workers=2))
    [1, 1, 2, 6, 24, 120]
    """

    def alone(item):
        with one_thread():
            return function(item)

    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(alone, items)
        return
    executor, waiting = ThreadPoolExecutor(workers), deque()
    try:
        for item in items:
            waiting.append(executor.submit(alone, item))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
