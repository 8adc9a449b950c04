"""From maps to a trained prior in one call."""

import numpy as np
import torch

from .._utils.progress import progress_bar
from ..priors import HybridDenoiser, ScorePrior, UNet
from ..theory.spectrum import PowerSpectrum
from .maps import MapBank, Noiser
from .regression import fit_correction
from .trainer import Trainer, denoising_ratios

_JUDGED = 32  # number of maps for the errors in the metadata, the first of the bank


def train_prior(
    training,
    validation,
    spectrum,
    plan,
    *,
    widths=(16, 32, 64),
    card=None,
    theory=True,
    n_correction=200,
    checkpoint=None,
    device="cpu",
    progress=True,
):
    """
    Train a network, correct its power and measure its denoising error.

    Parameters
    ----------
    training, validation : MapBank or LightConeMaps
        Maps from independent boxes with the same pixel size; ``validation`` is a bank.
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the maps, that of the Gaussian component.
    plan : TrainingPlan
        Settings of the training, whose pieces must fit into the maps.
    widths : sequence of int
        Channels of the network at its three scales.
    card : dict, optional
        Metadata of the maps, for the prior.
    theory : bool
        False replaces the spectrum by a white one with the same variance of a pixel: equation 3 of Remy et al. (2020)
        alone, for comparison.
    n_correction : int
        Number of training maps for `fit_correction`; 0 for no correction.
    checkpoint : path-like, optional
        File for the state of the training, from which an interrupted run continues.
    device, progress : str, bool
        Torch device, and progress bars.

    Returns
    -------
    prior, history : ScorePrior, list of dict
        Trained prior, with the denoising error on the validation maps in its metadata, and history of the training.

    Raises
    ------
    OSError
        If the checkpoint is damaged or contains something else.
    ValueError
        If the pieces do not fit, the checkpoint is from another run, or the loss is not finite.

    Examples
    --------
    Two steps on lognormal maps; a useful prior needs some thousand steps:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, TrainingPlan, train_prior
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 4, (48, 48), pixel), pixel)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8)
    >>> options = {"widths": (4, 4, 4), "n_correction": 4, "card": {"maps": "lognormal maps"}, "progress": False}
    >>> prior, history = train_prior(bank, bank, spectrum, plan, **options)
    >>> prior.sigma_range, prior.card["maps"], prior.card["training_maps"]
    ((0.003, 0.5), 'lognormal maps', 4)
    """
    torch.manual_seed(plan.seed)
    pixel_size, gaussian = training.pixel_size, spectrum
    denoiser = HybridDenoiser(UNet(widths), spectrum, pixel_size)
    if not theory:
        gaussian = PowerSpectrum([1, 1e6], [denoiser.signal**2 * pixel_size**2] * 2, name="white")
        denoiser = HybridDenoiser(denoiser.network, gaussian, pixel_size)
    cut = {"size": plan.size, "margin": plan.margin, "pieces": plan.pieces, "device": device}
    noiser, judge = (Noiser(maps, gaussian, **cut) for maps in (training, validation))
    trainer = Trainer(denoiser, noiser, plan, validation=judge, checkpoint=checkpoint, device=device)
    trained = trainer.run(progress=progress).eval()
    prior = ScorePrior(trained, gaussian, plan.sigma)
    if n_correction and not trainer.rank:
        known = training if isinstance(training, MapBank) else _bank(training, n_correction, plan.seed)
        bank = Noiser(known, gaussian, **cut)
        with progress_bar(total=min(n_correction, len(known)), desc="correction", disable=not progress) as bar:
            correction = fit_correction(trained, bank, n_correction, seed=10**6, on_map=bar.update)
        prior = ScorePrior(trained, gaussian, plan.sigma, correction=correction)
    judged = min(_JUDGED, len(validation))
    ratios = denoising_ratios(trained, judge, judged, seed=2 * 10**6)
    prior.card.update(
        {
            **plan.card(trained),
            "training_maps": len(training) if isinstance(training, MapBank) else "drawn on the fly",
            "validation_maps": judged,
            "denoising_ratio": ratios,
            **(card or {}),
        }
    )
    return prior, trainer.history


def _bank(maps, n, seed):
    return MapBank(maps.draw(n, np.random.default_rng([seed, 2])).cpu(), maps.pixel_size)
