"""
Read damaged and malicious files, and count crashes, hangs and errors of other types.

``python benchmarks/hostile_files.py [--inputs 100000] [--minutes 60] [--seed 0] [--state FILE] [--table FILE]``

For each reader valid files are written and mutated (``tests/helpers/mutations.py``). A reader may read the result, or
raise an OSError, ValueError or TypeError with a message; everything else is a fault. Input number i of a reader depends
on the seed and on i only. A forked process reads inputs in blocks, with 1 GiB of additional memory and 10 seconds for
each input. A fault is counted and its input kept in the folder of faults; a crash, a hang or an excess of memory also
ends the block. The state is saved, and an interrupted run is resumed. With ``MALLOC_CHECK_=3`` and
``LD_PRELOAD=libc_malloc_debug.so.0`` (glibc), writes out of bounds end a block too.
"""

import argparse
import gc
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from astropy.table import Table

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # files that tests and benchmarks share

from helpers.hostile_files import READERS, denoisers, files_of, hostile, judged

SECONDS, MEMORY, BLOCK = 10, 2**30, 250


def _block(name, seed, first, last, folder, report):
    """Read inputs and write one line for each to the report; the process ends afterwards."""
    files, read = files_of(name), READERS[name][1]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in range(first, last):
        end, content = hostile(files, seed, number)
        path = folder / f"h{end}"
        path.write_bytes(content)
        peak, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        signal.alarm(SECONDS)
        outcome = judged(read, path)
        signal.alarm(0)
        seconds = time.perf_counter() - begin
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
        if grown > MEMORY:
            outcome = f"!memory: grew by {grown / 2**20:.0f} MiB"
        path.unlink()
        others = sorted(str(p) for p in folder.parent.parent.rglob("*") if p not in (folder, folder.parent))
        if others:
            outcome = f"!wrote {others}"
        line = json.dumps([number, end, seconds, outcome[:300]], ensure_ascii=True)
        os.write(report, f"{line}\n".encode())
    gc.collect()  # glibc detects writes out of bounds when the memory is freed


def run_block(name, seed, first, last):
    """Return the outcomes of a block of inputs; the last one is a fault if the process ended early."""
    with tempfile.TemporaryDirectory() as top, tempfile.TemporaryFile() as report:
        folder = Path(top, "a", "b")
        folder.mkdir(parents=True)
        files_of(name)  # before the fork, so that all processes have the same files
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.chdir(folder)
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                _block(name, seed, first, last, folder, report.fileno())
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        report.seek(0)
        outcomes = [json.loads(line) for line in report.read().splitlines()]
    if status:
        ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        number = outcomes[-1][0] + 1 if outcomes else first
        outcomes.append([number, "", float(SECONDS if hung else 0), "!hang" if hung else f"!died: {ended}"])
    return outcomes


def keep(name, seed, number, outcome, folder):
    """Save an input that is a fault."""
    folder.mkdir(parents=True, exist_ok=True)
    end, content = hostile(files_of(name), seed, number)
    (folder / f"{re.sub(r'[^A-Za-z]+', '_', name)}_{number}{end}").write_bytes(content)
    with open(folder / "faults.txt", "a") as log:
        log.write(f"{name} {number} {end} {outcome}\n")


def fuzz(name, seed, first, last, state, folder):
    """Read a block of inputs, and update the state of its reader."""
    outcomes = run_block(name, seed, first, last)
    for number, _, seconds, outcome in outcomes:
        kind = "fault" if outcome.startswith("!") else outcome.partition(":")[0]
        state["counts"][kind] = state["counts"].get(kind, 0) + 1
        state["seconds"] += seconds
        state["slowest"] = max(state["slowest"], seconds)
        if kind == "fault":
            keep(name, seed, number, outcome, folder)
        else:
            message = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "#", outcome)[:110]
            state["messages"][message] = state["messages"].get(message, 0) + 1
    state["next"] = outcomes[-1][0] + 1


def table_of(states):
    """Return the table of counts by reader."""
    kinds = ("read", "OSError", "ValueError", "TypeError", "UnitsError", "fault")
    rows = []
    for name, state in states.items():
        counts = [state["counts"].get(kind, 0) for kind in kinds]
        rows.append((name, sum(counts), *counts, 1e3 * state["seconds"] / max(sum(counts), 1), state["slowest"]))
    table = Table(rows=rows, names=("reader", "inputs", *kinds, "mean_ms", "slowest_s"))
    table["mean_ms"].info.format, table["slowest_s"].info.format = ".1f", ".2f"
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument(
        "--inputs", type=int, default=100_000, help="number of inputs of all readers together (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=60, help="time limit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", choices=list(READERS), default=list(READERS), metavar="READER")
    parser.add_argument("--state", type=Path, default=Path("hostile_state.json"))
    parser.add_argument("--faults", type=Path, default=Path("hostile_faults"), help="folder for inputs that are faults")
    parser.add_argument("--table", type=Path, help="ECSV file for the counts")
    arguments = parser.parse_args()
    end, most = time.monotonic() + 60 * arguments.minutes, -(-arguments.inputs // len(arguments.readers))
    states = json.loads(arguments.state.read_text()) if arguments.state.exists() else {}
    for name in arguments.readers:
        states.setdefault(name, {"next": 0, "counts": {}, "seconds": 0.0, "slowest": 0.0, "messages": {}})
    denoisers()
    while time.monotonic() < end:
        name = min(arguments.readers, key=lambda name: states[name]["next"])
        first = states[name]["next"]
        if first >= most:
            break
        fuzz(name, arguments.seed, first, min(first + BLOCK, most), states[name], arguments.faults)
        arguments.state.write_text(json.dumps(states))
    table = table_of(states)
    table.meta = {"seed": arguments.seed, "limits": f"{SECONDS} s and {MEMORY / 2**30:g} GiB an input"}
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)), f"{sum(table['inputs'])} inputs", sep="\n")
    if arguments.table is not None:
        table.write(arguments.table, overwrite=True)
    return int(sum(table["fault"]) > 0)


if __name__ == "__main__":
    sys.exit(main())
