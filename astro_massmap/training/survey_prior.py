"""One prior for many surveys: training on maps of random surveys, and its correction and errors on a grid of fields."""

import numpy as np
import torch

from .._utils.progress import progress_bar
from ..priors import CorrectionTable, HybridDenoiser, ScorePrior, UNet
from .maps import MapBank, Noiser, SurveyNoiser
from .regression import fit_correction
from .trainer import Trainer, denoising_ratios

RATIOS = (0.15, 0.4, 0.9, 1.8, 3.6, 7.0, 14.0, 30.0)  # noise levels over the standard deviation of a pixel
_MAPS, _JUDGED = 40, 24  # maps of a field for the correction and for the errors


def train_survey_prior(
    source,
    validation,
    reference,
    fields,
    plan,
    *,
    widths=(16, 32, 64),
    embedding=128,
    start=None,
    card=None,
    n_correction=_MAPS,
    checkpoint=None,
    device="cpu",
    workers=0,
    progress=True,
):
    """
    Train a network on maps of random surveys, correct its power and measure its denoising error on a grid of fields.

    Parameters
    ----------
    source : `~astro_massmap.simulation.SurveyMaps`
        Source of the training maps.
    validation : MapBank
        Held-out maps of the survey ``reference``, for the history of the training.
    reference : `~astro_massmap.simulation.Survey`
        Default sources and pixels, which define the spectrum of the prior when none is given.
    fields : sequence of sequences of `~astro_massmap.simulation.Survey`
        Surveys of the correction: for each pixel size, in increasing order, the same number of surveys with increasing
        standard deviation of a pixel.
    plan : TrainingPlan
        Settings of the training; ``sigma`` is in units of the standard deviation of a pixel.
    widths, embedding : sequence of int, int
        Channels of the network at its three scales, and length of the embedding of its conditions.
    start : `~astro_massmap.priors.UNet`, optional
        Network with whose weights the training starts, of the same ``widths`` and ``embedding``; by default random
        weights.
    card, checkpoint, device, workers, progress
        As for `train_prior` and `Trainer`.
    n_correction : int
        Maps of each field for the correction.

    Returns
    -------
    prior, history : ScorePrior, list of dict
        Trained prior, and history of the training.

    Raises
    ------
    OSError, ValueError
        As for `train_prior`.

    Examples
    --------
    Two steps on maps of a tiny simulation; a useful prior needs some thousand steps:

    >>> import numpy as np
    >>> from astro_massmap.simulation import (
    ...     Cosmology, LensPlanes, LightCone, NBody, PlaneFilter, SurveyMaps, matter_power
    ... )
    >>> from astro_massmap.theory.matter_power import MatterPower
    >>> from astro_massmap.training import MapBank, TrainingPlan, train_survey_prior
    >>> power, choices = matter_power(MatterPower.default()), np.random.default_rng(0)
    >>> planes = LensPlanes.simulate(NBody(16, 256.0, longest_step=0.2), 1, cells=64, z_max=3.0)
    >>> filters = PlaneFilter.fit([([planes], power)])
    >>> cone = LightCone([filters.apply(planes)], np.ones(len(planes.distance)))
    >>> source = SurveyMaps([cone], [Cosmology.default()], [power], filters, (48, 48))
    >>> fields = [[source.survey(choices, redshift=z, pixel_size=size) for z in (0.5, 2)] for size in (1e-4, 5e-4)]
    >>> bank = MapBank(source.draw(fields[0][0], choices)[None], 1e-4)
    >>> plan = TrainingPlan(steps=2, size=16, margin=16, sigma=(0.12, 40))
    >>> options = {"widths": (4, 4, 4), "n_correction": 2, "progress": False}
    >>> prior, history = train_survey_prior(source, bank, fields[0][0], fields, plan, **options)
    >>> prior.pixel_size, prior.table.signal.shape
    (None, (2, 2))
    """
    torch.manual_seed(plan.seed)
    network = UNet(widths, embedding=embedding)
    if start is not None:
        network.load_state_dict(start.state_dict())
    denoiser = HybridDenoiser(network, reference.spectrum, reference.pixel_size)
    cut = {"size": plan.size, "margin": plan.margin, "pieces": plan.pieces, "device": device}
    judge = Noiser(validation, reference.spectrum, **cut)
    trainer = Trainer(
        denoiser,
        SurveyNoiser(source, **cut),
        plan,
        validation=judge,
        checkpoint=checkpoint,
        device=device,
        workers=workers,
    )
    trained = trainer.run(progress=progress).eval()
    sigma_range = tuple(float(s) * denoiser.signal for s in plan.sigma)
    prior = ScorePrior(trained, reference.spectrum, sigma_range)
    if not trainer.rank:
        table = correction_table(trained.network, source, fields, n_correction, cut, seed=plan.seed, progress=progress)
        prior = ScorePrior(trained, reference.spectrum, sigma_range, table=table)
    ratios = denoising_ratios(trained, judge, _JUDGED, seed=2 * 10**6)
    prior.card.update({**plan.card(trained), "denoising_ratio": ratios, **(card or {})})
    return prior, trainer.history


def correction_table(network, source, fields, n, cut, *, ratios=RATIOS, seed=0, progress=True):
    """Return the `~astro_massmap.priors.CorrectionTable` of a network on a grid of surveys, from ``n`` maps of each."""
    rows = []
    with progress_bar(total=sum(map(len, fields)), desc="correction", disable=not progress) as bar:
        for surveys in fields:
            rows.append([])
            for survey in surveys:
                rows[-1].append(
                    _corrected(network, source, survey, n, cut, ratios, [seed, 2, len(rows), len(rows[-1])])
                )
                bar.update()
    factors = {
        name: np.array([[getattr(correction, name) for _, correction in row] for row in rows])
        for name in ("network", "theory", "variance")
    }
    signal = np.array([[signal for signal, _ in row] for row in rows])
    pixel_size = np.array([surveys[0].pixel_size for surveys in fields])
    return CorrectionTable(pixel_size, signal, np.array(ratios), rows[0][0][1].ell, **factors)


def _corrected(network, source, survey, n, cut, ratios, seed):
    denoiser = HybridDenoiser(network, survey.spectrum, survey.pixel_size).to(cut["device"])
    noiser = Noiser(survey_bank(source, survey, n, seed), survey.spectrum, **cut)
    levels = [ratio * denoiser.signal for ratio in ratios]
    return denoiser.signal, fit_correction(denoiser, noiser, n, levels=levels, seed=10**6)


def survey_bank(source, survey, n, seed):
    """Return a `MapBank` of ``n`` maps of a survey."""
    choices = np.random.default_rng(seed)
    return MapBank(torch.stack([source.draw(survey, choices) for _ in range(n)]).cpu(), survey.pixel_size)


def survey_ratios(network, source, survey, n, *, ratios=RATIOS, margin=48, seed=0, device="cpu"):
    """
    Return the mean squared error over that of the Wiener filter at noise ``ratios``, on ``n`` maps of a survey.

    The keys are the noise levels in units of the standard deviation of a pixel.
    """
    denoiser = HybridDenoiser(network, survey.spectrum, survey.pixel_size).to(device).eval()
    noiser = Noiser(survey_bank(source, survey, n, [seed, 3]), survey.spectrum, size=32, margin=margin, device=device)
    levels = [ratio * denoiser.signal for ratio in ratios]
    found = denoising_ratios(denoiser, noiser, n, levels=levels, seed=seed)
    return dict(zip(ratios, found.values(), strict=True))
