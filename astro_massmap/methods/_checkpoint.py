"""Samples that are kept on disk as they come, so that a run that was interrupted goes on where it was."""

import hashlib
import json
import os
import zlib
from pathlib import Path

from .._files import atomic_path
from .._progress import warn
from ._sample_files import create_samples, open_samples, put_sample


def fingerprint(observation, settings):
    """Checksum of the data and of the settings that decide the samples."""
    return hashlib.sha256(json.dumps({"data": observation.sha256} | settings, sort_keys=True).encode()).hexdigest()


class Checkpoint:
    """
    A file of samples, and beside it a ledger of those that are finished.

    The ledger is text, a line of JSON for each sample: it is written once the sample is on the disk, with its
    checksum. What a kill leaves of a line is no line, and its sample is drawn again.

    Parameters
    ----------
    path : str or path-like
        Of the samples, see `~astro_massmap.methods._sample_files`; the ledger has ``.ledger`` added to its name.
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
        if self.ledger.exists():
            self._open(shape, mark)
        elif self.path.exists():
            raise OSError(f"checkpoint: {str(path)!r} exists, but is no checkpoint of this package")
        else:
            with atomic_path(self.ledger) as temporary:
                temporary.write_text(json.dumps({"mark": mark}) + "\n")
        if not self.path.exists() and not self.records:  # killed before it was there
            self.samples = create_samples(self.path, shape, cards)

    def _open(self, shape, mark):
        try:
            whole, _, torn = self.ledger.read_bytes().rpartition(b"\n")
            there, *entries = [json.loads(line) for line in whole.split(b"\n")]
            self.records = {int(entry["sample"]): entry for entry in entries}
            other = there["mark"] != mark
            if not other and (self.records or self.path.exists()):
                self.samples = open_samples(self.path)
                other = self.samples.shape != shape
                self._drop_damaged()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise OSError(f"checkpoint: {str(self.path)!r} or its ledger is damaged: {error}") from error
        if other:
            raise ValueError(
                f"checkpoint: {str(self.path)!r} is of other data or other settings; it was left as it is. Use "
                "another file, or the same data and settings"
            )
        if torn:
            os.truncate(self.ledger, len(whole) + 1)

    def _drop_damaged(self):
        """Forget samples that are not what was written."""
        damaged = [i for i, entry in self.records.items() if zlib.crc32(self.samples[i].tobytes()) != entry["crc32"]]
        for i in damaged:
            del self.records[i]
        if damaged:
            warn(f"checkpoint: {len(damaged)} samples of {str(self.path)!r} are damaged, and are drawn again")

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

    def _write_line(self, line):
        """Add a line to the ledger, or nothing."""
        size = self.ledger.stat().st_size
        with open(self.ledger, "ab", buffering=0) as ledger:
            try:
                if ledger.write(line.encode()) != len(line):
                    raise OSError("the disk is full")
                os.fsync(ledger.fileno())
            except OSError:
                os.truncate(self.ledger, size)
                raise
