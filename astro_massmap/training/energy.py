"""
Training of an energy: denoising score matching through a gradient.

The loss is that of `~astro_massmap.training.Trainer`, with ``D - D_G = d phi / d z + W (d phi / d D_G)`` of
`~astro_massmap.priors.EnergyDenoiser`. A network on a piece of a map knows only the terms of the energy that lie in
the piece. So pieces are larger by a border on each side, which takes part in the energy and not in the loss. W acts on
whole maps: the derivative with respect to D_G is set into an empty map, filtered, and cut out again; where in the map,
which is periodic, does not matter.
"""

import torch
from torch.nn import functional as F

from ..priors import EnergyDenoiser, ScorePrior, UNet
from ..priors.denoiser import wiener_filter
from .maps import Noiser
from .trainer import Trainer


class EnergyTrainer(Trainer):
    """
    Trains an energy.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.EnergyDenoiser`
        What is trained, in place.
    noiser : `~astro_massmap.training.Noiser`
        Of the training maps; its pieces are larger than those of the plan, by a border on each side.
    plan : TrainingPlan
        How; its pieces are those of the loss.
    validation : `~astro_massmap.training.Noiser`, optional
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
    train_energy : From maps to a prior in one call.

    Examples
    --------
    Pieces of 32 pixels, 4 of which are a border; the loss of theory alone is about 1:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import EnergyDenoiser, UNet
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import EnergyTrainer, MapBank, Noiser, TrainingPlan
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 4, (48, 48), pixel), pixel)
    >>> noiser, plan = Noiser(bank, spectrum, size=32, margin=8), TrainingPlan(steps=2, size=24, margin=12)
    >>> _ = torch.manual_seed(0)  # of the first weights
    >>> denoiser = EnergyDenoiser(UNet((4, 4, 4), outputs=2), spectrum, pixel)
    >>> trainer = EnergyTrainer(denoiser, noiser, plan)
    >>> trained = trainer.run(progress=False)
    >>> [(row["step"], 0.3 < row["loss"] < 3) for row in trainer.history]
    [(2, True)]
    """

    def loss(self, batch):
        """The loss of some pieces of maps, in the inside of them."""
        border = (self.noiser.size - self.plan.size) // 2
        inside = slice(border, border + self.plan.size)
        with self._precision():
            added = self.module(batch.z, batch.wiener, batch.sigma, lambda piece: self._smooth(piece, batch.sigma))
        *_, spread = self.denoiser.spreads(batch.sigma)
        return ((batch.x - batch.wiener - added) / spread)[:, inside, inside].square().mean()

    def _smooth(self, pieces, sigma):
        """W of maps that are zero but for the pieces, in the pieces."""
        (rows, columns), (ny, nx) = pieces.shape[-2:], self.noiser.source.shape
        maps = F.pad(pieces, (0, nx - columns, 0, ny - rows))
        return wiener_filter(maps, self.noiser.variance, sigma)[:, :rows, :columns]


def train_energy(
    training,
    validation,
    spectrum,
    plan,
    *,
    widths=(16, 32, 64),
    border=16,
    card=None,
    checkpoint=None,
    device="cpu",
    progress=True,
):
    """
    Train an energy; nothing is corrected.

    Parameters
    ----------
    training, validation : MapBank or LightConeMaps
        Maps of independent boxes, of one pixel size; the validation is a bank.
    spectrum : `~astro_massmap.PowerSpectrum`
        Of the maps: the Gaussian half.
    plan : TrainingPlan
        How to train. Its pieces are those of the loss: a direct training with the same plan sees the same of them.
    widths : sequence of int
        Of the network, one for each of its three scales.
    border : int
        Pixels around a piece that only take part in the energy, at most ``plan.margin``.
    card : dict, optional
        What the maps are; goes into the prior.
    checkpoint : path-like, optional
        Where the state of the training is kept.
    device : str
        Of torch.
    progress : bool
        Show a bar.

    Returns
    -------
    prior : ScorePrior
        With a density.
    history : list of dict
        Of the training.

    Raises
    ------
    OSError
        If the checkpoint is damaged, or of something else.
    ValueError
        If the border is no number of pixels or larger than the margin, pieces of the plan do not fit into the maps,
        the checkpoint is of another run, or the loss is not finite.

    See Also
    --------
    train_prior : A prior that tells the score only.

    Examples
    --------
    Two steps on lognormal maps, for a prior that tells the log density of maps, less that of a Gaussian:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import FourierGrid
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, TrainingPlan, train_energy
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> maps = lognormal_maps(spectrum, 8, (48, 48), pixel)
    >>> training, validation = MapBank(maps[:4], pixel), MapBank(maps[4:], pixel)
    >>> plan, options = TrainingPlan(steps=2, size=24, margin=12), {"widths": (4, 4, 4), "border": 4}
    >>> prior, history = train_energy(training, validation, spectrum, plan, **options, progress=False)
    >>> grid = FourierGrid((48, 48), pixel)
    >>> prior.on(grid).log_ratio(grid.to_modes(maps), 0.1).shape
    torch.Size([8])
    """
    if not (isinstance(border, int) and 0 <= border <= plan.margin):
        raise ValueError(f"border: needs a number of pixels up to the margin of the plan {plan.margin}, got {border!r}")
    torch.manual_seed(plan.seed)
    denoiser = EnergyDenoiser(UNet(widths, outputs=2), spectrum, training.pixel_size)
    cut = {"size": plan.size + 2 * border, "margin": plan.margin - border, "pieces": plan.pieces, "device": device}
    noiser = Noiser(training, spectrum, **cut)
    judge = Noiser(validation, spectrum, size=plan.size, margin=plan.margin, device=device)
    trainer = EnergyTrainer(denoiser, noiser, plan, validation=judge, checkpoint=checkpoint, device=device)
    trained = trainer.run(progress=progress).eval()
    return ScorePrior(trained, spectrum, plan.sigma, card=dict(card or {})), trainer.history
