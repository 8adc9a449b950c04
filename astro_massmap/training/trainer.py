"""
Denoising score matching: a network learns to remove noise, and so learns the score.

The loss is ``E || u + sigma (r(x + sigma u, sigma) + Gaussian score) ||^2`` with white u (Vincent 2011; equations 3
and 6 of Remy et al. 2020), divided by the part of it that the Gaussian half would leave: it is the mean of
``((x - D) / sp)^2`` with D and sp as in `~astro_massmap.priors.HybridDenoiser`, and near 1 before any training.
"""

import copy
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import distributed

from .._utils.files import atomic_path
from .._utils.progress import progress_bar
from .._utils.untrusted import parsing, read_tensors

LEVELS = (0.003, 0.01, 0.02, 0.03, 0.05, 0.08, 0.15, 0.3)


@dataclass(frozen=True)
class TrainingPlan:
    """
    How to train.

    Parameters
    ----------
    steps : int
        Of the optimiser.
    maps_per_step : int
        Maps in a step, on each worker; every map gives ``pieces`` pieces of ``size`` pixels.
    pieces, size, margin : int
        See `~astro_massmap.training.Noiser`.
    learning_rate : float
        Of Adam, after ``warm_up`` steps; it falls to 2 % by a cosine.
    warm_up : int
        Steps.
    sigma : tuple of float
        Range of noise levels, log-uniform.
    ema : float
        Memory of the running mean of the weights, which is what is kept.
    clip : float
        Largest norm of the gradient.
    bfloat16 : bool
        Evaluate the network in mixed precision.
    validate_every : int
        Steps between validations and checkpoints.
    validation_maps : int
        Maps of a validation.
    seed : int
        Of all that is random.

    Raises
    ------
    ValueError
        If a number of steps, maps or pixels is no integer or too small, or ``sigma`` is no range.

    Examples
    --------
    The learning rate rises in the warm-up, and falls to 2 % at the end:

    >>> from astro_massmap.training import TrainingPlan
    >>> plan = TrainingPlan(steps=1000, warm_up=100)
    >>> [round(plan.rate(step), 3) for step in (0, 49, 99, 500, 1000)]
    [0.01, 0.5, 1.0, 0.51, 0.02]
    """

    steps: int = 4000
    maps_per_step: int = 4
    pieces: int = 2
    size: int = 96
    margin: int = 48
    learning_rate: float = 2e-3
    warm_up: int = 100
    sigma: tuple = (0.003, 0.5)
    ema: float = 0.999
    clip: float = 1.0
    bfloat16: bool = True
    validate_every: int = 500
    validation_maps: int = 8
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "maps_per_step", "pieces", "size", "validate_every", "validation_maps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: needs a positive integer, got {value!r}")
        if not isinstance(self.margin, int) or self.margin < 0:
            raise ValueError(f"margin: needs a number of pixels, not negative, got {self.margin!r}")
        object.__setattr__(self, "sigma", tuple(float(s) for s in self.sigma))
        if len(self.sigma) != 2 or not 0 < self.sigma[0] < self.sigma[1]:
            raise ValueError(f"sigma: needs a range of two positive noise levels, got {self.sigma!r}")

    def rate(self, step):
        """Learning rate, relative to the largest, at a step."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1)))


class Trainer:
    """
    Trains a denoiser, and goes on where an earlier run stopped.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.HybridDenoiser`
        What is trained, in place.
    noiser : `~astro_massmap.training.Noiser`
        Of the training maps.
    plan : TrainingPlan
        How.
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
    train_prior : From maps to a prior in one call.

    Examples
    --------
    Two steps on lognormal maps. The loss of theory alone is about 1, and a network that has hardly learned is near it:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import HybridDenoiser, UNet
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, Noiser, Trainer, TrainingPlan
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 4, (48, 48), pixel), pixel)
    >>> noiser = Noiser(bank, spectrum, size=32, margin=8)
    >>> plan = TrainingPlan(steps=2, size=32, margin=8, validate_every=1)
    >>> _ = torch.manual_seed(0)  # of the first weights
    >>> denoiser = HybridDenoiser(UNet((4, 4, 4)), spectrum, pixel)
    >>> trainer = Trainer(denoiser, noiser, plan, checkpoint="state.safetensors")
    >>> trained = trainer.run(progress=False)
    >>> [(row["step"], 0.3 < row["loss"] < 3) for row in trainer.history]
    [(1, True), (2, True)]

    Another one goes on from the checkpoint:

    >>> Trainer(denoiser, noiser, plan, checkpoint="state.safetensors").step
    2
    """

    def __init__(self, denoiser, noiser, plan, *, validation=None, checkpoint=None, device="cpu"):
        self.device = torch.device(device)
        self.denoiser, self.noiser, self.plan = denoiser.to(self.device), noiser, plan
        self.validation, self.checkpoint = validation, None if checkpoint is None else Path(checkpoint)
        self.mean = copy.deepcopy(denoiser)
        self.optimizer = torch.optim.Adam(denoiser.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99))
        self.step, self.history = 0, []
        self.rank = distributed.get_rank() if distributed.is_initialized() else 0
        self.module = denoiser
        if distributed.is_initialized():
            self.module = torch.nn.parallel.DistributedDataParallel(denoiser)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume()

    def run(self, *, progress=True):
        """Train to the last step; returns the denoiser with the running mean of the weights."""
        with progress_bar(
            total=self.plan.steps, initial=self.step, desc="training", disable=not progress or self.rank > 0
        ) as bar:
            loss = float("nan")
            while self.step < self.plan.steps:
                loss = self._advance()
                bar.update()
                if self.step % self.plan.validate_every == 0 or self.step == self.plan.steps:
                    self._record(loss)
                    bar.set_postfix(loss=f"{float(loss):.3f}")
        return self.mean

    def loss(self, batch):
        """The loss of some pieces of maps."""
        with self._precision():
            added = self.module(batch.z, batch.wiener, batch.sigma)
        *_, spread = self.denoiser.spreads(batch.sigma)
        return ((batch.x - batch.wiener - added) / spread).square().mean()

    def judge(self):
        """Errors of the running mean on the validation maps, over those of theory."""
        return denoising_ratios(self.mean, self.validation, self.plan.validation_maps)

    def _precision(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bfloat16)

    def _advance(self):
        """One step of the optimiser. Its random numbers depend on the seed, the step and the worker."""
        plan, key = self.plan, [self.plan.seed, self.step, self.rank]
        choices = np.random.default_rng(key)
        noise = torch.Generator(self.device).manual_seed(int(choices.integers(2**62)))
        batch = self.noiser.batch(plan.maps_per_step, *plan.sigma, choices, noise).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * plan.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), plan.clip)
        with torch.device("cpu"):  # Adam makes its counts of steps at the first one, on the default device
            self.optimizer.step()
        self.step += 1
        memory = min(plan.ema, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.mean.parameters(), self.denoiser.parameters(), strict=True):
                kept.lerp_(new, 1 - memory)
        return loss.detach()

    def _record(self, loss):
        if not math.isfinite(float(loss)):
            raise ValueError(f"the loss is not finite after {self.step} steps: lower the learning_rate")
        if self.rank:
            return
        row = {"step": self.step, "loss": float(loss)}
        if self.validation is not None:
            row["ratio"] = self.judge()
        self.history.append(row)
        if self.checkpoint is not None:
            self._save()

    def _save(self):
        state = {f"now.{k}": v for k, v in self.denoiser.state_dict().items()}
        state |= {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam.{i}.{k}": v.float() for k, v in moments.items()}
        notes = {"step": self.step, "history": self.history, "run": self._settings()}
        with atomic_path(self.checkpoint, overwrite=True) as temporary:
            save_file({k: v.contiguous() for k, v in state.items()}, temporary, {"training": json.dumps(notes)})

    def _settings(self):
        """What a run that goes on must share with the one that stopped, as JSON has it: plan, network and theory."""
        levels = torch.tensor(LEVELS, dtype=torch.float32, device=self.device)
        spreads = [f"{float(s):.4e}" for spread in self.denoiser.spreads(levels) for s in spread.flatten()]
        settings = asdict(self.plan) | {"network": self.denoiser.network.settings, "theory": spreads}
        return json.loads(json.dumps(settings))

    def _resume(self):
        """Take up the state of the checkpoint; OSError if it is damaged, ValueError if it is of another run."""
        name = str(self.checkpoint)
        fault = f"checkpoint: {name!r} is damaged, or of something else"
        with parsing(fault):
            notes, state = read_tensors(self.checkpoint, "training", device=self.device)
            there, step, history = notes["run"], notes["step"], notes["history"]
        if not isinstance(there, dict):
            raise OSError(f"{fault}: it has no settings")
        changed = [key for key, value in self._settings().items() if there.get(key) != value]
        if changed:
            raise ValueError(
                f"checkpoint: {name!r} is of another run ({', '.join(changed)} differ); it was left as it is"
            )
        rows = isinstance(history, list) and all(isinstance(row, dict) for row in history)
        if not rows or type(step) is not int or not 0 <= step <= self.plan.steps:
            raise OSError(f"{fault}: it says that {str(step)[:40]} steps of {self.plan.steps} were made")
        if not self._fits(state):
            raise OSError(f"{fault}: its tensors are not those of the network")
        self.step, self.history = step, [] if self.rank else history
        for module, prefix in ((self.denoiser, "now."), (self.mean, "mean.")):
            module.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
        moments = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, index, kind = key.split(".")
                moments.setdefault(int(index), {})[kind] = value.clone()
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})

    def _fits(self, state):
        """Whether tensors are those that `_save` writes for this network."""
        needed, moments, count = {}, {}, torch.zeros((), dtype=torch.float32, device="cpu")
        for module, prefix in ((self.denoiser, "now."), (self.mean, "mean.")):
            needed |= {prefix + k: (v.shape, v.dtype) for k, v in module.state_dict().items()}
        for i, parameter in enumerate(self.denoiser.parameters()):
            kind = {"exp_avg": parameter, "exp_avg_sq": parameter, "step": count}
            kind = {f"adam.{i}.{name}": (like.shape, like.dtype) for name, like in kind.items()}
            if kind.keys() & state.keys():  # a parameter that has no part in the loss has no moments
                moments |= kind
        return {k: (v.shape, v.dtype) for k, v in state.items()} == needed | moments


@torch.no_grad()
def denoising_ratios(denoiser, noiser, n, levels=LEVELS, seed=0):
    """
    Mean squared error of the hybrid denoiser over that of the Wiener filter, away from the edges.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.HybridDenoiser`
        Which.
    noiser : `~astro_massmap.training.Noiser`
        Of held-out maps.
    n : int
        Maps, the first of the bank.
    levels : sequence of float
        Noise levels.
    seed : int
        Of the noise.

    Returns
    -------
    dict
        The ratio by noise level, as text with three digits after the point.

    Examples
    --------
    A network that has not been trained says nothing, and leaves the Wiener filter as it is:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import HybridDenoiser, UNet
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, Noiser, denoising_ratios
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 4, (48, 48), pixel), pixel)
    >>> noiser = Noiser(bank, spectrum, size=32, margin=8)
    >>> denoising_ratios(HybridDenoiser(UNet((4, 4, 4)), spectrum, pixel), noiser, 4, levels=(0.03, 0.3))
    {'0.030': 1.0, '0.300': 1.0}
    """
    device = noiser.device
    inner = (..., *(slice(noiser.margin, side - noiser.margin) for side in noiser.source.shape))
    errors = np.zeros((len(levels), 2))
    for i in range(min(n, len(noiser.source))):
        truth = noiser.source.maps[i : i + 1].to(device)
        for row, level in enumerate(levels):
            sigma = torch.full((1,), level, dtype=torch.float32, device=device)
            noise = torch.Generator(device).manual_seed(seed + i)
            z, wiener = noiser.noisy(truth, sigma, noise)
            added = denoiser(z, wiener, sigma)
            errors[row] += [float((truth - d)[inner].square().mean()) for d in (wiener + added, wiener)]
    return {f"{level:.3f}": float(hybrid / gauss) for level, (hybrid, gauss) in zip(levels, errors, strict=True)}


def start_workers(device):
    """
    Join the workers that ``torchrun`` has started, if it has.

    Parameters
    ----------
    device : `torch.device` or str
        Of torch; with ``"cuda"`` each worker gets a GPU of its own.

    Returns
    -------
    `torch.device`
        That of this worker.

    Examples
    --------
    A program that was started as usual is alone, and has the device that it asked for:

    >>> from astro_massmap.training import start_workers
    >>> print(start_workers("cpu"))
    cpu
    """
    if "RANK" not in os.environ:
        return torch.device(device)
    cuda = torch.device(device).type == "cuda"
    distributed.init_process_group("nccl" if cuda else "gloo")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device(device)
