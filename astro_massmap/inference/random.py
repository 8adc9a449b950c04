"""Random numbers that do not depend on the order in which samples are drawn."""

import numpy as np
import torch


class Streams:
    """
    Streams of random numbers, one for each sample of a batch.

    Parameters
    ----------
    seed, indices : int, sequence of int
        Seed, and numbers of the samples, not negative.
    key : tuple of int
        Further integers below 2^32, on which the numbers depend; those of the data make fields independent.
    attempt : int
        Number of earlier attempts, for a sample that is drawn again with other numbers.
    device : `torch.device` or str
        Device that draws the numbers, on which their values depend.

    Raises
    ------
    ValueError
        If the seed or an index is negative.

    Examples
    --------
    Sample 7 has the same numbers alone as among others:

    >>> import torch
    >>> from astro_massmap.inference import Streams
    >>> together, alone = Streams(0, range(10)).normal(4, 5), Streams(0, [7]).normal(4, 5)
    >>> together.shape, torch.equal(together[7], alone[0])
    (torch.Size([10, 4, 5]), True)
    """

    def __init__(self, seed, indices, *, key=(), attempt=0, device="cpu"):
        self.indices = list(indices)
        self.device = torch.device(device)
        self._generators = [self._generator([seed, i] + [attempt] * (attempt > 0), key) for i in self.indices]

    def _generator(self, entropy, key):
        state = np.random.SeedSequence(entropy, spawn_key=key).generate_state(1, np.uint64)[0]
        return torch.Generator(self.device).manual_seed(int(state))

    def __len__(self):
        return len(self.indices)

    def normal(self, *shape, dtype=torch.float32):
        """Draw standard normal numbers ``(n, *shape)``."""
        drawn = [torch.randn(shape, generator=g, dtype=dtype, device=self.device) for g in self._generators]
        return torch.stack(drawn)

    def uniform(self):
        """Draw a number between 0 and 1 for each sample, ``(n,)``, in double precision."""
        drawn = [torch.rand((), generator=g, dtype=torch.float64, device=self.device) for g in self._generators]
        return torch.stack(drawn)
