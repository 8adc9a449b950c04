"""Samples that are kept on disk as they come, so that a run that was killed goes on where it was."""

import hashlib
import json
from pathlib import Path

import numpy as np

from .._files import atomic_path


def fingerprint(observation, settings):
    """A checksum of the data and of the settings that decide the samples."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in (observation.shear, observation.noise_std):
        digest.update(tensor.numpy().tobytes())
    digest.update(repr(observation.pixel_size).encode())
    return digest.hexdigest()


class Checkpoint:
    """
    A file of samples, and beside it a file that says which of them are whole.

    Parameters
    ----------
    path : str or path-like
        Of the samples, a ``.npy`` file; the other one has ``.json`` added to its name.
    shape : tuple of int
        ``(n_samples, ny, nx)``.
    mark : str
        The `fingerprint` of the run.

    Raises
    ------
    ValueError
        If the file is of other data or settings; it is left as it is.
    OSError
        If it cannot be read or written.
    """

    def __init__(self, path, shape, mark):
        self.path, self.ledger = Path(path), Path(f"{path}.json")
        self.mark, self.records = mark, {}
        if self.ledger.exists():
            self._open(shape)
        else:
            if self.path.exists():
                raise OSError(f"checkpoint: {str(path)!r} exists, but is no checkpoint of this package")
            self.samples = np.lib.format.open_memmap(self.path, "w+", dtype=np.float32, shape=shape)
            self._write_ledger()

    def _open(self, shape):
        try:
            ledger = json.loads(self.ledger.read_text())
            mark, records = ledger["mark"], {int(i): r for i, r in ledger["records"].items()}
            self.samples = np.lib.format.open_memmap(self.path, "r+")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OSError(f"checkpoint: {str(self.path)!r} is damaged: {error}") from error
        if mark != self.mark or self.samples.shape != shape:
            raise ValueError(
                f"checkpoint: {str(self.path)!r} is of other data or other settings; it was left as it is. Use "
                "another file, or the same data and settings"
            )
        self.records = records

    def missing(self, indices):
        """Those of the sample numbers that are not there yet."""
        return [i for i in indices if i not in self.records]

    def add(self, indices, samples, records):
        """Keep finished samples, and what is recorded of each of them."""
        for i, sample, record in zip(indices, samples, records, strict=True):
            self.samples[i] = sample
            self.records[i] = record
        self.samples.flush()
        self._write_ledger()

    def _write_ledger(self):
        with atomic_path(self.ledger, overwrite=True) as temporary:
            temporary.write_text(json.dumps({"mark": self.mark, "records": self.records}))
