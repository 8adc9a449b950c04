"""
Training of the network of a posterior: the mean of the convergence given data and a noisy map, and the error of it.

The loss is the mean of ``((x - D) / s_p)^2`` over all pixels, with and without data, plus 0.2 times the mean of

    log V + (x - D)^2 / V

for the variance V at fixed D. The minimum of the second term is ``V = E[(x - D)^2]`` given the data, as for the squared
error of a moment network (Jeffrey & Wandelt 2020), but it is not dominated by the few pixels of clusters.
"""

import numpy as np
import torch

from .trainer import Trainer

_SHARE = 0.2  # weight of the loss of the variance


class PosteriorTrainer(Trainer):
    """
    Trainer of a `~astro_massmap.priors.PosteriorDenoiser`; parameters and errors are those of `Trainer`.

    ``noiser`` are `PosteriorMocks`, ``validation`` a list of `PosteriorBatch` such as that of `fixed_pairs`.
    """

    def loss(self, batch):
        with self._precision():
            added, std = self.module(batch.pair, batch.field)
        *_, spread = self.denoiser.scales(batch.pair, batch.field)
        square = ((batch.x - batch.mean - added) / spread).square()
        variance = (std / spread).square()
        return square.mean() + _SHARE * (variance.log() + square.detach() / variance).mean()

    def judge(self):
        return posterior_ratios(self.mean, self.validation)

    def _settings(self):
        return super()._settings() | {"task": "posterior"}


@torch.no_grad()
def posterior_ratios(denoiser, batches):
    """
    Return the mean squared errors, in units of s_p, of a denoiser over those of the Gaussian mean.

    The keys are those of ``batches``, a dictionary of `PosteriorBatch`; those "in gaps" are for pixels without data.
    """
    ratios = {}
    for key, batch in batches.items():
        added, _ = denoiser(batch.pair, batch.field)
        *_, spread = denoiser.scales(batch.pair, batch.field)
        errors = [((batch.x - guess) / spread).square() for guess in (batch.mean + added, batch.mean)]
        for suffix, where in (("", batch.weight > 0), (" in gaps", batch.weight == 0)):
            if where.any():
                own, gaussian = (float(error[where].sum(dtype=torch.float64)) for error in errors)
                ratios[key + suffix] = own / gaussian
    return ratios


def fixed_pairs(mocks, n, levels, seed=0):
    """Draw ``n`` maps of `PosteriorMocks` at each noise level, in a dictionary of `PosteriorBatch`."""
    return {
        f"{level:g}": mocks.batch(
            n, 0.999 * level, level, np.random.default_rng([seed, i]), torch.Generator(mocks.device).manual_seed(seed)
        )
        for i, level in enumerate(levels)
    }
