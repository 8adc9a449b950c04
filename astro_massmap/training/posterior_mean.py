"""
Learning the posterior mean: a network that makes the mean squared error least on mock surveys.

The loss is the mean of ``((x - mean) / s_p)^2`` over all pixels, with and without data, plus a share of

    log V + (x - mean)^2 / V

for the variance V, with the mean held fixed. Its minimum is ``V = E[(x - mean)^2 | data]``, as that of the squared
error of a moment network (Jeffrey & Wandelt 2020), but the few pixels of clusters do not outweigh all others.
"""

from functools import cached_property

import numpy as np
import torch

from .._utils.version import __version__
from ..priors.mean_network import MeanNetwork, untrained
from .maps import MapBank
from .mocks import MockBatch, MockPieces, random_holes
from .trainer import Trainer

NOISE = (0.08, 0.15)  # levels of the validation
_SHARE = 0.2  # of the loss of the variance
_JUDGED = 32  # maps of the table of the card


class MeanTrainer(Trainer):
    """
    Trains a `~astro_massmap.priors.MomentDenoiser`; its parameters are those of a `Trainer`.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.MomentDenoiser`
        What is trained, in place.
    noiser : MockPieces
        Of the training maps.
    plan : TrainingPlan
        How.
    validation : MockPieces, optional
        Of held-out maps, a bank.
    checkpoint : path-like, optional
        File (safetensors) for the state of the run.
    device : `torch.device` or str
        Where to train.

    Raises
    ------
    OSError
        If the checkpoint is damaged, or of something else.
    ValueError
        If the checkpoint is of another run; and by ``run``, if the loss is not finite.

    See Also
    --------
    train_posterior_mean : From maps to a network in one call.

    Examples
    --------
    Two steps; the validation compares with the Wiener filter, where there are data and in gaps:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import MomentDenoiser, UNet
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, MeanTrainer, MockPieces, TrainingPlan
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 4, (48, 48), pixel), pixel)
    >>> surveys = MockPieces(bank, spectrum, size=32, margin=8)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8, sigma=(0.05, 0.3), validation_maps=2)
    >>> _ = torch.manual_seed(0)  # of the first weights
    >>> denoiser = MomentDenoiser(UNet((4, 4, 4), outputs=2), spectrum, pixel)
    >>> trainer = MeanTrainer(denoiser, surveys, plan, validation=surveys)
    >>> trained = trainer.run(progress=False)
    >>> {name: round(ratio, 1) for name, ratio in trainer.history[-1]["ratio"].items()}
    {'0.080': 1.0, '0.080 in gaps': 1.0, '0.150': 1.0, '0.150 in gaps': 1.0}
    """

    def loss(self, batch):
        """The loss of some mock surveys."""
        with self._precision():
            added, std = self.module(batch.wiener, batch.share, batch.sigma)
        *_, spread = self.denoiser.spreads(batch.sigma)
        square = ((batch.x - batch.wiener - added) / spread).square()
        variance = (std / spread).square()
        return square.mean() + _SHARE * (variance.log() + square.detach() / variance).mean()

    def judge(self):
        """Errors of the running mean on mock surveys of the validation maps, over those of the Wiener filter."""
        return mean_ratios(self.mean, self._mocks)

    @cached_property
    def _mocks(self):
        return fixed_mocks(self.validation, self.plan.validation_maps)

    def _settings(self):
        return super()._settings() | {"task": "posterior mean"}


def fixed_mocks(surveys, n, levels=NOISE, seed=0):
    """
    Mock surveys in the middle of some maps, always the same: one noise throughout, and holes.

    Parameters
    ----------
    surveys : MockPieces
        Of a bank.
    n : int
        Maps, the first of the bank.
    levels : sequence of float
        Noise levels; the holes of a map are the same at all.
    seed : int
        Of holes and noise.

    Returns
    -------
    dict of MockBatch
        By noise level, each of pieces ``(n, size, size)``.

    Examples
    --------
    A map is the same at all noise levels, with the same holes; what can be seen of it is not:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, MockPieces, fixed_mocks
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 4, (48, 48), pixel), pixel)
    >>> surveys = MockPieces(bank, spectrum, size=32, margin=8)
    >>> low, high = fixed_mocks(surveys, 4, levels=(0.05, 0.3)).values()
    >>> torch.equal(low.x, high.x), torch.equal(low.observed, high.observed)
    (True, True)
    >>> bool((low.wiener - low.x).square().mean() < (high.wiener - high.x).square().mean())
    True
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
    Mean squared error of the posterior mean over that of the Wiener filter.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.MomentDenoiser`
        Which.
    mocks : dict of MockBatch
        By noise level: those of `fixed_mocks`.

    Returns
    -------
    dict
        The ratio where there are data and in gaps, by noise level: ``"0.080"``, ``"0.080 in gaps"``, ...

    Examples
    --------
    A network that has not been trained says nothing, and leaves the Wiener filter as it is:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import MomentDenoiser, UNet
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, MockPieces, fixed_mocks, mean_ratios
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 4, (48, 48), pixel), pixel)
    >>> surveys = MockPieces(bank, spectrum, size=32, margin=8)
    >>> denoiser = MomentDenoiser(UNet((4, 4, 4), outputs=2), spectrum, pixel)
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
    Train a network for the mean of the posterior, and judge it.

    Parameters
    ----------
    training, validation : MapBank or LightConeMaps
        Maps of independent boxes, of one pixel size; the validation is a bank.
    spectrum : `~astro_massmap.PowerSpectrum`
        Of the maps, and of the Wiener filter.
    plan : TrainingPlan
        How to train; its ``sigma`` is the noise of a pixel and component of the shear.
    widths : sequence of int
        Of the network, one for each of its three scales.
    card : dict, optional
        What the maps are; goes into the network.
    checkpoint : path-like, optional
        Where the state of the training is kept.
    device : str
        Of torch.
    progress : bool
        Show a bar.

    Returns
    -------
    network : `~astro_massmap.priors.MeanNetwork`
        Its card holds the errors on the validation maps.
    history : list of dict
        Of the training.

    Raises
    ------
    OSError
        If the checkpoint is damaged, or of something else.
    ValueError
        If pieces of the plan do not fit into the maps, the checkpoint is of another run, or the loss is not finite.

    See Also
    --------
    train_prior : A prior to sample with.

    Examples
    --------
    Two steps on lognormal maps; a network takes some thousand:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, TrainingPlan, train_posterior_mean
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> maps = lognormal_maps(spectrum, 8, (48, 48), pixel)
    >>> training, validation = MapBank(maps[:4], pixel), MapBank(maps[4:], pixel)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8, sigma=(0.05, 0.3), validation_maps=2)
    >>> options = {"widths": (4, 4, 4), "card": {"maps": "lognormal maps"}, "progress": False}
    >>> network, history = train_posterior_mean(training, validation, spectrum, plan, **options)
    >>> network.sigma_range, network.card["maps"], network.card["steps"]
    ((0.05, 0.3), 'lognormal maps', 2)
    >>> {name: round(ratio, 1) for name, ratio in network.card["error_ratio"].items()}
    {'0.080': 1.0, '0.080 in gaps': 1.0, '0.150': 1.0, '0.150 in gaps': 1.0}
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
