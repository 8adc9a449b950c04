"""Samples that are kept on disk as they come, so that a run that was interrupted goes on where it was."""

import hashlib
import json
import os
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from .._utils.files import atomic_path
from .._utils.progress import warn
from .._utils.untrusted import parsing
from ._sample_files import create_samples, open_samples, put_sample

# in the record of a sample
_COUNTS, _LISTS = ("evaluations", "restarts"), ("acceptance", "energy_error", "trace", "chi2", "power")


def fingerprint(observation, settings):
    """Checksum of the data and of the settings that decide the samples."""
    return hashlib.sha256(json.dumps({"data": observation.sha256} | settings, sort_keys=True).encode()).hexdigest()


class Checkpoint:
    """
    A file of samples, and beside it an index file of those that are finished.

    The index file is text, a line of JSON for each sample: it is written once the sample is on the disk, with its
    checksum. A sample whose line is incomplete or damaged is drawn again. An index file without samples is replaced,
    samples without an index file are left as they are.

    Parameters
    ----------
    path : str or path-like
        Of the samples, see `~astro_massmap.methods._sample_files`; the index file has ``.ledger`` added to its name.
    shape : tuple of int
        ``(n_samples, ny, nx)``.
    mark : str
        The `fingerprint` of the run.
    cards : sequence of (str, value)
        Of the header of the file.

    Attributes
    ----------
    samples : `numpy.memmap`
        Of all samples; what is not finished is zero.
    records : dict
        What is recorded of each finished sample, by its number.

    Raises
    ------
    ValueError
        If the file is of other data or settings; it is left as it is.
    OSError
        If it cannot be read or written.
    """

    def __init__(self, path, shape, mark, cards=()):
        self.path, self.ledger = Path(path), Path(f"{path}.ledger")
        self.records = {}
        if self.path.exists():
            if not self.ledger.exists():
                raise OSError(
                    f"checkpoint: {str(path)!r} exists without its index file {self.ledger.name!r}, so that it is no "
                    "checkpoint that a run can continue; remove it, or give another name"
                )
            self._open(shape, mark)
            return
        if self.ledger.exists():
            self._check_leftover()
        with atomic_path(self.ledger, overwrite=True) as temporary:
            temporary.write_text(json.dumps({"mark": mark}) + "\n")
        self.samples = create_samples(self.path, shape, cards)

    def _check_leftover(self):
        """Warn of an index file whose samples are lost, which is replaced; OSError if it is something else."""
        head, *lines = self.ledger.read_bytes().splitlines() or [b'{"mark": ""}']
        if not isinstance(_parsed(head).get("mark"), str):
            raise OSError(
                f"checkpoint: {str(self.ledger)!r} exists without samples, and is no index file of this package; "
                "remove it, or give another name"
            )
        if lines:
            warn(
                f"checkpoint: {str(self.path)!r} does not exist, but its index file lists {len(lines)} samples; all "
                "samples are drawn again"
            )

    def _open(self, shape, mark):
        with parsing(f"checkpoint: {str(self.path)!r} or its index file is damaged"):
            whole, _, torn = self.ledger.read_bytes().rpartition(b"\n")
            head, *lines = whole.split(b"\n")
            other = json.loads(head)["mark"] != mark
            if not other:
                self.samples = open_samples(self.path)
                other = self.samples.shape != shape
        if other:
            raise ValueError(
                f"checkpoint: {str(self.path)!r} is of other data or other settings; it was left as it is. Use "
                "another file, or the same data and settings"
            )
        if torn:
            os.truncate(self.ledger, len(whole) + 1)
        self._read_records(head, lines)

    def _read_records(self, head, lines):
        """Keep the records of undamaged samples; a sample whose data or record is damaged is drawn again."""
        entries = [_parsed(line) for line in lines]
        layouts = [_layout(entry, len(self.samples)) for entry in entries]
        usual = Counter(filter(None, layouts)).most_common(1)  # all records of a run have the same layout
        good = {e["sample"]: e for e, layout in zip(entries, layouts, strict=True) if usual and layout == usual[0][0]}
        crc32 = {i: zlib.crc32(self.samples[i].tobytes()) for i in good}
        self.records = {i: entry for i, entry in good.items() if crc32[i] == entry["crc32"]}
        damaged = len({repr(entry.get("sample")) for entry in entries} - {repr(i) for i in self.records})
        if damaged:
            warn(f"checkpoint: {damaged} samples of {str(self.path)!r} are damaged, and are drawn again")
            with atomic_path(self.ledger, overwrite=True) as temporary:
                kept_lines = [head, *(json.dumps(entry).encode() for entry in self.records.values())]
                temporary.write_bytes(b"".join(line + b"\n" for line in kept_lines))

    def add(self, indices, samples, records):
        """Keep finished samples, and what is recorded of each of them."""
        try:
            for i, sample, record in zip(indices, samples, records, strict=True):
                written = put_sample(self.path, self.samples, i, sample)
                entry = {"sample": i, "crc32": zlib.crc32(written)} | record
                self._write_line(json.dumps(entry) + "\n")
                self.records[i] = entry
        except OSError as error:
            raise OSError(
                f"checkpoint: cannot write {str(self.path)!r}: {error.strerror or error}; {len(self.records)} finished "
                "samples are kept, and the same run goes on from there"
            ) from error

    def without(self, lost):
        """All samples but those of some chains; a memory map of another file, with ``.good.npy`` added to the name."""
        if not lost:
            return self.samples
        kept = [i for i in range(len(self.samples)) if i not in lost]
        shape = (len(kept), *self.samples.shape[1:])
        good = np.lib.format.open_memmap(f"{self.path}.good.npy", mode="w+", dtype=np.float32, shape=shape)
        for row, i in enumerate(kept):
            good[row] = self.samples[i]
        return good

    def _write_line(self, line):
        """Add a line to the index file, or nothing."""
        size = self.ledger.stat().st_size
        with open(self.ledger, "ab", buffering=0) as ledger:
            try:
                if ledger.write(line.encode()) != len(line):
                    raise OSError("the disk is full")
                os.fsync(ledger.fileno())
            except OSError:
                os.truncate(self.ledger, size)
                raise


def _parsed(line):
    """The dictionary in a line of JSON; an empty one if the line is damaged."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _layout(entry, n_samples):
    """The shapes of what is recorded of a sample; None for a record that lacks something, or has it of a wrong type."""
    wholes = [entry.get(key) for key in ("sample", "crc32", *_COUNTS)]
    if not isinstance(entry.get("failure", 0), str | None):
        return None
    if not all(type(n) is int and n >= 0 for n in wholes) or entry["sample"] >= n_samples:
        return None
    try:
        arrays = [np.asarray(entry.get(key)) for key in _LISTS]
    except ValueError:  # lists of different lengths
        return None
    return tuple(a.shape for a in arrays) if all(a.dtype.kind in "if" and a.ndim for a in arrays) else None
