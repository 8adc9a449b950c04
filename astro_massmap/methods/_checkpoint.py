"""Checkpoints: samples written to disk as they are finished, from which an interrupted run continues."""

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

# entries of the record of a sample
_COUNTS, _LISTS = ("evaluations", "restarts"), ("acceptance", "energy_error", "trace", "chi2", "power")


def fingerprint(observation, settings):
    """Return the checksum of the data and of the settings on which the samples depend."""
    return hashlib.sha256(json.dumps({"data": observation.sha256} | settings, sort_keys=True).encode()).hexdigest()


class Checkpoint:
    """
    File of samples, and its index file with the records of those that are finished.

    The index file has a line of JSON with the checksum of each sample, written once the sample is on the disk. A sample
    whose line is incomplete or damaged is drawn again. An index file without samples is replaced; samples without an
    index file are an error, and are left unchanged.

    ``path`` is the name of a FITS file of samples; the name of the index file has ``.ledger`` added. ``shape`` is
    ``(n_samples, ny, nx)``, ``mark`` the `fingerprint` of the run, and ``cards`` are keywords and values for the
    header. A file with samples of other data or settings raises ValueError, one that cannot be read or written OSError.
    Unfinished ``samples`` are zero in the memory map; ``records`` has those of finished samples by number.
    """

    def __init__(self, path, shape, mark, cards=()):
        self.path, self.index = Path(path), Path(f"{path}.ledger")
        self.records, self._cards = {}, cards
        if self.path.exists():
            if not self.index.exists():
                raise OSError(
                    f"checkpoint: {str(path)!r} exists without its index file {self.index.name!r}, so that no run can "
                    "continue from it; remove it, or give another name"
                )
            self._open(shape, mark)
            return
        if self.index.exists():
            self._check_leftover()
        with atomic_path(self.index, overwrite=True) as temporary:
            temporary.write_text(json.dumps({"mark": mark}) + "\n")
        self.samples = create_samples(self.path, shape, cards)

    def _check_leftover(self):
        """Warn of an index file whose samples are lost, which is replaced; OSError for any other file."""
        head, *lines = self.index.read_bytes().splitlines() or [b'{"mark": ""}']
        if not isinstance(_parsed(head).get("mark"), str):
            raise OSError(
                f"checkpoint: {str(self.index)!r} exists without samples, and is not an index file of this package; "
                "remove it, or give another name"
            )
        if lines:
            warn(
                f"checkpoint: {str(self.path)!r} does not exist, but its index file lists {len(lines)} samples; all "
                "samples are drawn again"
            )

    def _open(self, shape, mark):
        with parsing(f"checkpoint: {str(self.path)!r} or its index file is damaged"):
            whole, _, torn = self.index.read_bytes().rpartition(b"\n")
            head, *lines = whole.split(b"\n")
            other = json.loads(head)["mark"] != mark
            if not other:
                self.samples = open_samples(self.path)
                other = self.samples.shape[1:] != shape[1:]
        if other:
            raise ValueError(
                f"checkpoint: {str(self.path)!r} holds samples of other data or other settings, and was not changed; "
                "give another name, or use the same data and settings"
            )
        if len(self.samples) > shape[0]:
            raise ValueError(
                f"n_samples: the checkpoint {str(self.path)!r} is for {len(self.samples)} samples; give at least this "
                f"number, or another name, got {shape[0]}"
            )
        if torn:
            os.truncate(self.index, len(whole) + 1)
        if len(self.samples) < shape[0]:
            self._extend(shape)
        self._read_records(head, lines)

    def _extend(self, shape):
        """Replace the file of samples by one with space for more, atomically."""
        larger = f"{self.path}.more.fits"
        samples = create_samples(larger, shape, self._cards, overwrite=True)
        for i, sample in enumerate(self.samples):
            put_sample(larger, samples, i, sample)
        os.replace(larger, self.path)
        self.samples = open_samples(self.path)

    def _read_records(self, head, lines):
        """Read the records of undamaged samples; a sample whose data or record is damaged is drawn again."""
        entries = [_parsed(line) for line in lines]
        layouts = [_layout(entry, len(self.samples)) for entry in entries]
        usual = Counter(filter(None, layouts)).most_common(1)  # all records of a run have the same layout
        good = {e["sample"]: e for e, layout in zip(entries, layouts, strict=True) if usual and layout == usual[0][0]}
        crc32 = {i: zlib.crc32(self.samples[i].tobytes()) for i in good}
        self.records = {i: entry for i, entry in good.items() if crc32[i] == entry["crc32"]}
        damaged = len({repr(entry.get("sample")) for entry in entries} - {repr(i) for i in self.records})
        if damaged:
            warn(f"checkpoint: {damaged} samples of {str(self.path)!r} are damaged, and are drawn again")
            with atomic_path(self.index, overwrite=True) as temporary:
                kept_lines = [head, *(json.dumps(entry).encode() for entry in self.records.values())]
                temporary.write_bytes(b"".join(line + b"\n" for line in kept_lines))

    def add(self, indices, samples, records):
        try:
            for i, sample, record in zip(indices, samples, records, strict=True):
                written = put_sample(self.path, self.samples, i, sample)
                entry = {"sample": i, "crc32": zlib.crc32(written)} | record
                self._write_line(json.dumps(entry) + "\n")
                self.records[i] = entry
        except OSError as error:
            raise OSError(
                f"checkpoint: cannot write {str(self.path)!r}: {error.strerror or error}; {len(self.records)} finished "
                "samples are kept, and the same run continues from them"
            ) from error

    def without(self, lost):
        """Return the samples except ``lost`` ones, a memory map of another file with the extension ``.good.fits``."""
        if not lost:
            return self.samples
        kept, path = [i for i in range(len(self.samples)) if i not in lost], f"{self.path}.good.fits"
        good = create_samples(path, (len(kept), *self.samples.shape[1:]), self._cards, overwrite=True)
        for row, i in enumerate(kept):
            put_sample(path, good, row, self.samples[i])
        return good

    def _write_line(self, line):
        """Add a line to the index file atomically."""
        size = self.index.stat().st_size
        with open(self.index, "ab", buffering=0) as file:
            try:
                if file.write(line.encode()) != len(line):
                    raise OSError("the disk is full")
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.index, size)
                raise


def _parsed(line):
    """Return the dictionary in a line of JSON; an empty one if the line is damaged."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _layout(entry, n_samples):
    """Return the shapes of the entries of a record; None if an entry is missing or of a wrong type."""
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
