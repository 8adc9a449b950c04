"""Check before the first draw that the result of a command can be written."""

import io

import numpy as np

from .._io.fits import unwritable
from .._utils.files import check_space
from .._utils.progress import warn
from ..maps.convergence_map import ConvergenceMap
from ..maps.files import read_map, write_map
from ..maps.provenance import into_meta


def check_result(file, data, n_samples, command):
    """
    Write an empty map to memory and read it again; OSError or ValueError if the result could not be written.

    Entries of ``data.meta`` that cannot be written are removed with a warning; ``command`` is the record.
    """
    for key, value in unwritable(data.meta).items():
        warn(f"meta: {value} cannot be written to a file and is left out")
        del data.meta[key]
    zeros, memory = np.zeros(data.shape), io.BytesIO()
    layers = {"wcs": data.wcs, "uncertainty": zeros, "mask": data.mask}
    meta = into_meta(data.meta, {"method": "", "command": command})
    samples = np.zeros((1, *data.shape), np.float32)
    empty = ConvergenceMap(zeros, samples=samples, meta=meta, b_mode=ConvergenceMap(zeros, **layers), **layers)
    write_map(empty, memory, overwrite=False, samples=True)
    size = memory.tell() + (n_samples - 1) * samples.nbytes
    read_map(memory)
    if not str(file).lower().endswith(".gz"):
        check_space(file, size)
