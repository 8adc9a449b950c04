"""
Training of the network of a posterior: the mean of the convergence given data and a noisy map, and the error of it.

The loss is the mean of ``((x - D) / s_p)^2`` over all pixels, with and without data, plus 0.2 times the mean of

    log V + (x - D)^2 / V

for the variance V at fixed D. The minimum of the second term is ``V = E[(x - D)^2]`` given the data, as for the squared
error of a moment network (Jeffrey & Wandelt 2020), but it is not dominated by the few pixels of clusters.
"""

import hashlib

import numpy as np
import torch

from ..priors import PosteriorDenoiser, PosteriorNetwork, posterior_unet
from ..theory.spectrum import PowerSpectrum
from .maps import MapBank, OneSurvey
from .posterior_mocks import NOISE, PosteriorMocks
from .trainer import Trainer

RATIOS = (0.6, 2.0, 6.0, 60.0)  # noise of the noisy maps of the validation, over the standard deviation of a pixel
_SHARE = 0.2  # weight of the loss of the variance


class PosteriorTrainer(Trainer):
    """
    Trainer of a `~astro_massmap.priors.PosteriorDenoiser`; parameters and errors are those of `Trainer`.

    ``noiser`` are `PosteriorMocks`, ``validation`` is a dictionary of `PosteriorBatch` such as that of `fixed_pairs`.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import PosteriorDenoiser, posterior_unet
    >>> from astro_massmap.training import MapBank, OneSurvey, PosteriorMocks
    >>> from astro_massmap.training import PosteriorTrainer, TrainingPlan, fixed_pairs
    >>> source = OneSurvey(MapBank(np.zeros((4, 48, 48)), 1.2e-4), PowerSpectrum.default())
    >>> mocks = PosteriorMocks((source, source), size=32, margin=8)
    >>> denoiser = PosteriorDenoiser(posterior_unet((4, 4, 4)), source.spectrum, source.pixel_size)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8, sigma=(0.3, 60))
    >>> trainer = PosteriorTrainer(denoiser, mocks, plan, validation=fixed_pairs(mocks, 2, (0.6, 60)))
    >>> trained = trainer.run(progress=False)
    >>> trainer.step, "60" in trainer.history[0]["ratio"]
    (2, True)
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
        seen = [hashlib.sha256(np.packbits(f).tobytes()).hexdigest()[:16] for f in self.noiser.footprints]
        return super()._settings() | {"task": "posterior", "footprints": seen}


def fixed_pairs(mocks, n, levels, seed=0):
    """
    Draw ``n`` maps of `PosteriorMocks` at each noise level, in a dictionary of `PosteriorBatch`.

    Parameters
    ----------
    mocks, n
        `PosteriorMocks`, and number of maps.
    levels, seed
        Noise of the noisy maps in units of the standard deviation of a pixel, which give the keys, and random seed.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, OneSurvey, PosteriorMocks, fixed_pairs
    >>> source = OneSurvey(MapBank(np.zeros((4, 48, 48)), 1.2e-4), PowerSpectrum.default())
    >>> pairs = fixed_pairs(PosteriorMocks((source, source), size=32, margin=8), 3, (0.6, 60))
    >>> {level: tuple(batch.x.shape) for level, batch in pairs.items()}
    {'0.6': (3, 32, 32), '60': (3, 32, 32)}
    """
    return {
        f"{level:g}": mocks.batch(
            n, 0.999 * level, level, np.random.default_rng([seed, i]), torch.Generator(mocks.device).manual_seed(seed)
        )
        for i, level in enumerate(levels)
    }


@torch.no_grad()
def posterior_ratios(denoiser, batches):
    """
    Return the mean squared errors, in units of s_p, of a denoiser over those of the Gaussian mean.

    The keys are those of ``batches``, a dictionary of `PosteriorBatch`; those "in gaps" are for pixels without data.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import PosteriorDenoiser, posterior_unet
    >>> from astro_massmap.training import MapBank, OneSurvey, PosteriorMocks, fixed_pairs, posterior_ratios
    >>> source = OneSurvey(MapBank(np.zeros((4, 48, 48)), 1.2e-4), PowerSpectrum.default())
    >>> pairs = fixed_pairs(PosteriorMocks((source, source), size=32, margin=8), 3, (60,))
    >>> posterior_ratios(PosteriorDenoiser(posterior_unet((4, 4, 4)), source.spectrum, source.pixel_size), pairs)
    {'60': 1.0, '60 in gaps': 1.0}
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


def train_posterior(
    training,
    validation,
    spectrum,
    plan,
    *,
    footprints=(),
    widths=(16, 32, 64),
    card=None,
    checkpoint=None,
    device="cpu",
    progress=True,
):
    """
    Train a network of the posterior on random fields of one survey, and measure its errors.

    Parameters
    ----------
    training, validation : MapBank or LightConeMaps
        Maps from independent boxes with the same pixel size.
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the maps, that of the Gaussian component.
    plan : TrainingPlan
        Settings of the training; ``sigma`` is the range of the noise of the noisy maps, in units of the standard
        deviation of a pixel, and contains 0.6 to 60, the levels of `~astro_massmap.PosteriorDiffusion`.
    footprints
        Masks of the survey, see `PosteriorMocks`.
    widths, card, checkpoint, device, progress
        As for `train_prior`.

    Returns
    -------
    network, history : `~astro_massmap.priors.PosteriorNetwork`, list of dict
        Trained network, with the errors on the validation maps in its metadata, and history of the training. It is
        valid for random fields with this pixel size and standard deviation of a pixel, and noise of 0.8 to 60 times
        the latter.

    Raises
    ------
    OSError, ValueError
        As for `train_prior`; ValueError also if ``plan.sigma`` does not contain 0.6 to 60, and as for `PosteriorMocks`.

    Examples
    --------
    Two steps; a useful network needs some thousand:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.training import MapBank, TrainingPlan, train_posterior
    >>> bank = MapBank(torch.ones(4, 48, 48), 1.2e-4)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8, sigma=(0.3, 60), validation_maps=2)
    >>> options = {"widths": (4, 4, 4), "progress": False}
    >>> network, history = train_posterior(bank, bank, PowerSpectrum.default(), plan, **options)
    >>> print(network.pixel_scale.round(2), network.card["steps"])
    [0.41 0.41] arcmin 2
    """
    (low, high), needed = plan.sigma, (RATIOS[0], RATIOS[-1])
    if not low <= needed[0] < needed[1] <= high:
        raise ValueError(
            f"plan: sigma needs to contain {needed[0]:g} to {needed[1]:g} (standard deviations of a pixel), the levels "
            f"of PosteriorDiffusion, got {low:g} to {high:g}"
        )
    torch.manual_seed(plan.seed)
    denoiser = PosteriorDenoiser(posterior_unet(widths), spectrum, training.pixel_size)
    kinds = ([OneSurvey(maps, spectrum)] * 2 for maps in (training, validation))
    maps = len(training) if isinstance(training, MapBank) else "drawn on the fly"
    options = {"checkpoint": checkpoint, "device": device, "progress": progress, "footprints": footprints}
    made = {"training_maps": maps, "footprints": len(footprints)} | (card or {})
    trained, made, history = trained_posterior(denoiser, *kinds, plan, targeted=0, card=made, **options)
    sizes = np.array([[training.pixel_size] * 2, [np.inf] * 2])
    signals = np.full((2, 2, 2), float(denoiser.field.variance) ** 0.5)
    factor = PowerSpectrum([1, 1e6], [1, 1], name="factor 1")
    return PosteriorNetwork(trained, spectrum, NOISE, sizes, signals, factor, card=made), history


def trained_posterior(
    denoiser, sources, held_out, plan, *, targeted=0.3, footprints=(), maps=None, card=None, device="cpu",
    progress=True, **options
):  # fmt: skip
    """
    Train a denoiser on random surveys; return it, its card with the errors on held-out maps, and the history.

    ``sources`` and ``held_out`` are those of `PosteriorMocks`, ``maps`` is the number of held-out maps at each noise
    level in the history (half of those of the card), and ``options`` are those of `Trainer`.
    """
    maps = plan.validation_maps if maps is None else maps
    cut = {"size": plan.size, "margin": plan.margin, "pieces": plan.pieces, "device": device}
    cut |= {"targeted": targeted, "footprints": footprints}
    judge = PosteriorMocks(held_out, **cut)
    validation = fixed_pairs(judge, maps, RATIOS)
    trainer = PosteriorTrainer(
        denoiser, PosteriorMocks(sources, **cut), plan, validation=validation, device=device, **options
    )
    trained = trainer.run(progress=progress).eval()
    ratios = posterior_ratios(trained, fixed_pairs(judge, 2 * maps, RATIOS, seed=1))
    made = {**plan.card(trained), "validation_maps": 2 * maps, "error_ratio": ratios, **(card or {})}
    return trained, made, trainer.history
