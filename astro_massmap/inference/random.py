"""
Random numbers that belong to a sample, not to the order in which samples are drawn.

Sample i of seed s owns a generator seeded by (s, i) alone: it is the same whatever the batch size,
the number of samples or the worker that draws it.
"""

import numpy as np
import torch


def normals(seed, index, *shapes, dtype=torch.float32):
    """
    Standard normal tensors of the given shapes for the sample ``index`` of ``seed``, on the CPU.

    Parameters
    ----------
    seed, index : int
        Non-negative; together they fix every number.
    *shapes : tuple of int
        One tensor is drawn for each shape, in this order.
    dtype : `torch.dtype`
        Real type of the tensors.

    Returns
    -------
    list of `torch.Tensor`
    """
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state))
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
