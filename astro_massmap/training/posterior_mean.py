"""
Training of a posterior-mean network on mock surveys.

The loss is the mean of ``((x - mean) / s_p)^2`` over all pixels, with and without data, plus 0.2 times the mean of

    log V + (x - mean)^2 / V

for the variance V at fixed mean. The minimum of the second term is ``V = E[(x - mean)^2 | data]``, as for the squared
error of a moment network (Jeffrey & Wandelt 2020), but it is not dominated by the few pixels of clusters.
"""

from functools import cached_property

import numpy as np
import torch

from .._utils.version import __version__
from ..priors.mean_network import MeanNetwork, untrained
from .maps import MapBank
from .mocks import MockBatch, MockPieces, random_holes
from .trainer import Trainer

NOISE = (0.08, 0.15)  # noise levels of the validation
_SHARE = 0.2  # weight of the loss of the variance
_JUDGED = 32  # number of maps for the errors in the metadata


class MeanTrainer(Trainer):
    """
    Trainer of a posterior-mean network.

    Parameters and errors are those of `Trainer`, with a `~astro_massmap.priors.MomentDenoiser` as ``denoiser`` and
    `MockPieces` as ``noiser`` and ``validation``.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import MomentDenoiser, UNet
    >>> from astro_massmap.training import MapBank, MeanTrainer, MockPieces, TrainingPlan
    >>> spectrum, bank = PowerSpectrum.default(), MapBank(torch.ones(4, 48, 48), 1.2e-4)
    >>> surveys = MockPieces(bank, spectrum, size=32, margin=8)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8, sigma=(0.05, 0.3), validation_maps=2)
    >>> denoiser = MomentDenoiser(UNet((4, 4, 4), outputs=2, conditions=9), spectrum, bank.pixel_size)
    >>> trained = MeanTrainer(denoiser, surveys, plan, validation=surveys).run(progress=False)
    >>> trained.network.settings["outputs"]
    2
    """

    def loss(self, batch):
        with self._precision():
            added, std = self.module(batch.wiener, batch.share, batch.sigma)
        *_, spread = self.denoiser.spreads(batch.sigma)
        square = ((batch.x - batch.wiener - added) / spread).square()
        variance = (std / spread).square()
        return square.mean() + _SHARE * (variance.log() + square.detach() / variance).mean()

    def judge(self):
        return mean_ratios(self.mean, self._mocks)

    @cached_property
    def _mocks(self):
        return fixed_mocks(self.validation, self.plan.validation_maps)

    def _settings(self):
        return super()._settings() | {"task": "posterior mean"}


def fixed_mocks(surveys, n, levels=NOISE, seed=0):
    """
    Make fixed mock surveys of the central pieces of some maps: a ``MockBatch`` for each noise level, in a dictionary.

    Parameters
    ----------
    surveys, n
        `MockPieces` of a bank, and number of maps, the first of the bank.
    levels, seed
        Noise levels, and seed of noise and holes, which are the same at all levels.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, MockPieces, fixed_mocks
    >>> surveys = MockPieces(MapBank(torch.ones(4, 48, 48), 1.2e-4), PowerSpectrum.default(), size=32, margin=8)
    >>> {level: tuple(mocks.x.shape) for level, mocks in fixed_mocks(surveys, 4, levels=(0.05, 0.3)).items()}
    {0.05: (4, 32, 32), 0.3: (4, 32, 32)}
    """
    middle = tuple(slice((side - surveys.size) // 2, (side + surveys.size) // 2) for side in surveys.source.shape)
    made = {level: [] for level in levels}
    for i in range(min(n, len(surveys.source))):
        truth = surveys.source.maps[i : i + 1].to(surveys.device)
        place = (0, ..., *middle)
        shear = surveys.shear(truth)[place]
        holes = random_holes(shear.shape[1:], np.random.default_rng([seed, i]))
        for level in levels:
            noise_std = np.where(holes, np.inf, level)
            generator = torch.Generator(surveys.device).manual_seed(seed + i)
            made[level].append(surveys.mock(truth[place], shear, noise_std, generator))
    return {
        level: MockBatch(*(torch.stack(parts) for parts in zip(*mocks, strict=True))) for level, mocks in made.items()
    }


@torch.no_grad()
def mean_ratios(denoiser, mocks):
    """
    Return the mean squared error of a posterior-mean network over that of the Wiener filter.

    Parameters
    ----------
    denoiser, mocks
        A `~astro_massmap.priors.MomentDenoiser`, and mock surveys of `fixed_mocks`, whose levels give the keys.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import MomentDenoiser, UNet
    >>> from astro_massmap.training import MapBank, MockPieces, fixed_mocks, mean_ratios
    >>> spectrum, bank = PowerSpectrum.default(), MapBank(torch.ones(2, 48, 48), 1.2e-4)
    >>> surveys = MockPieces(bank, spectrum, size=32, margin=8)
    >>> denoiser = MomentDenoiser(UNet((4, 4, 4), outputs=2, conditions=9), spectrum, bank.pixel_size)
    >>> mean_ratios(denoiser, fixed_mocks(surveys, 2, levels=(0.08,)))
    {'0.080': 1.0, '0.080 in gaps': 1.0}
    """
    ratios = {}
    for level, batch in mocks.items():
        added = torch.cat([denoiser(*(t[i : i + 1] for t in _seen(batch)))[0] for i in range(len(batch.x))])
        errors = [(batch.x - guess).square() for guess in (batch.wiener + added, batch.wiener)]
        for suffix, where in (("", batch.observed), (" in gaps", 1 - batch.observed)):
            if where.any():
                hybrid, wiener = (float((error * where).sum(dtype=torch.float64)) for error in errors)
                ratios[f"{level:.3f}{suffix}"] = hybrid / wiener
    return ratios


def _seen(batch):
    return batch.wiener, batch.share, batch.sigma


def train_posterior_mean(
    training,
    validation,
    spectrum,
    plan,
    *,
    widths=(16, 32, 64),
    card=None,
    checkpoint=None,
    device="cpu",
    progress=True,
):
    """
    Train a posterior-mean network and measure its errors; other parameters and errors are those of `train_prior`.

    Parameters
    ----------
    training, validation, spectrum
        Maps, and the power spectrum of the maps and of the Wiener filter.
    plan : TrainingPlan
        Settings of the training; ``sigma`` is the range of the noise per pixel and component of the shear.

    Returns
    -------
    network, history : `~astro_massmap.priors.MeanNetwork`, list of dict
        Trained network, with the errors on the validation maps in its metadata, and history of the training.

    Examples
    --------
    Two steps; a useful network needs some thousand:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, TrainingPlan, train_posterior_mean
    >>> bank = MapBank(torch.ones(4, 48, 48), 1.2e-4)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8, sigma=(0.05, 0.3), validation_maps=2)
    >>> options = {"widths": (4, 4, 4), "progress": False}
    >>> network, history = train_posterior_mean(bank, bank, PowerSpectrum.default(), plan, **options)
    >>> network.sigma_range, network.card["steps"]
    ((0.05, 0.3), 2)
    """
    torch.manual_seed(plan.seed)
    cut = {"size": plan.size, "margin": plan.margin, "pieces": plan.pieces, "device": device}
    surveys, judge = (MockPieces(maps, spectrum, **cut) for maps in (training, validation))
    denoiser = untrained(widths, spectrum, training.pixel_size)
    trainer = MeanTrainer(denoiser, surveys, plan, validation=judge, checkpoint=checkpoint, device=device)
    trained = trainer.run(progress=progress).eval()
    judged = min(_JUDGED, len(validation))
    made = {
        "version": __version__,
        "training_maps": len(training) if isinstance(training, MapBank) else "drawn on the fly",
        "validation_maps": judged,
        "steps": plan.steps,
        "plan": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(plan).items()},
        "parameters": int(np.sum([p.numel() for p in trained.network.parameters()])),
        "error_ratio": mean_ratios(trained, fixed_mocks(judge, judged, seed=2 * 10**6)),
    }
    return MeanNetwork(trained, spectrum, plan.sigma, card=made | (card or {})), trainer.history
