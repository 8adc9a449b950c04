"""From maps to a prior in one call."""

import numpy as np
import torch

from .._progress import progress_bar
from .._utils.version import __version__
from ..priors import HybridDenoiser, ScorePrior, UNet
from ..spectrum import PowerSpectrum
from .maps import MapBank, Noiser
from .regression import fit_correction
from .trainer import Trainer, denoising_ratios

_JUDGED = 32  # maps of the table of the card, the first of the bank


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
    Train a network, put its power right, and judge it.

    Parameters
    ----------
    training, validation : MapBank or LightConeMaps
        Maps of independent boxes, of one pixel size; the validation is a bank.
    spectrum : `~astro_massmap.PowerSpectrum`
        Of the maps: the Gaussian half.
    plan : TrainingPlan
        How to train.
    widths : sequence of int
        Of the network, one for each of its three scales.
    card : dict, optional
        What the maps are; goes into the prior.
    theory : bool
        False trains equation 3 of Remy et al. (2020) alone, for comparison: the network is told no more of theory
        than the variance of a pixel, as if the spectrum were white.
    n_correction : int
        Maps of the training that the correction is fitted to; 0 for none.
    checkpoint : path-like, optional
        Where the state of the training is kept.
    device : str
        Of torch.
    progress : bool
        Show bars.

    Returns
    -------
    prior : ScorePrior
        Its card holds the denoising error by noise level on the validation maps.
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
    train_energy : A prior with a density.
    train_posterior_mean : The mean of the posterior in one step.

    Examples
    --------
    Two steps on lognormal maps; a prior takes some thousand:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, TrainingPlan, train_prior
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> maps = lognormal_maps(spectrum, 8, (48, 48), pixel)
    >>> training, validation = MapBank(maps[:4], pixel), MapBank(maps[4:], pixel)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8)
    >>> options = {"widths": (4, 4, 4), "n_correction": 4, "card": {"maps": "lognormal maps"}, "progress": False}
    >>> prior, history = train_prior(training, validation, spectrum, plan, **options)
    >>> prior.sigma_range, prior.card["maps"], prior.card["training_maps"]
    ((0.003, 0.5), 'lognormal maps', 4)
    >>> ratio = prior.card["denoising_ratio"]  # of the error to that of theory; nothing was learned yet
    >>> print(f"{ratio['0.030']:.1f} {ratio['0.300']:.1f}")
    1.0 1.0
    """
    torch.manual_seed(plan.seed)
    pixel_size, gaussian = training.pixel_size, spectrum
    denoiser = HybridDenoiser(UNet(widths), spectrum, pixel_size)
    if not theory:
        gaussian = PowerSpectrum([1, 1e6], [denoiser.variance * pixel_size**2] * 2, name="white")
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
            "version": __version__,
            "training_maps": len(training) if isinstance(training, MapBank) else "drawn on the fly",
            "validation_maps": judged,
            "steps": plan.steps,
            "plan": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(plan).items()},
            "parameters": int(np.sum([p.numel() for p in trained.network.parameters()])),
            "denoising_ratio": ratios,
            **(card or {}),
        }
    )
    return prior, trainer.history


def _bank(maps, n, seed):
    """Some maps of those that are drawn on the fly, kept."""
    return MapBank(maps.draw(n, np.random.default_rng([seed, 2])).cpu(), maps.pixel_size)
