"""
Denoising score matching: a network that removes noise gives the score of the noisy maps.

The loss is ``E || u + sigma (r(x + sigma u, sigma) + Gaussian score) ||^2`` with white u (Vincent 2011; equations 3
and 6 of Remy et al. 2020), in units of its value for the Gaussian component alone: the mean of ``((x - D) / sp)^2``,
with D and sp as in `~astro_massmap.priors.HybridDenoiser`. It is near 1 before training.
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
from torch.utils.data import DataLoader, Dataset

from .._utils.files import atomic_path
from .._utils.progress import progress_bar
from .._utils.untrusted import parsing, read_tensors
from .._utils.version import __version__

LEVELS = (0.003, 0.01, 0.02, 0.03, 0.05, 0.08, 0.15, 0.3)


@dataclass(frozen=True)
class TrainingPlan:
    """
    Settings of a training.

    Parameters
    ----------
    steps, warm_up, validate_every : int
        Number of optimiser steps, of those in which the learning rate rises, and of those between checkpoints.
    maps_per_step : int
        Number of maps per step and worker; every map gives ``pieces`` pieces of ``size`` pixels.
    pieces, size, margin : int
        See `~astro_massmap.training.Noiser`.
    learning_rate : float
        Learning rate of Adam after ``warm_up`` steps; it falls to 2 % of this value by a cosine.
    sigma : tuple of float
        Range of noise levels, log-uniform.
    ema : float
        Decay of the exponential moving average of the weights; the average is the result.
    clip, bfloat16 : float, bool
        Largest norm of the gradient, and mixed precision of the network.
    validation_maps, seed : int
        Number of maps in a validation, and random seed.

    Raises
    ------
    ValueError
        If a number of steps, maps or pixels is not an integer or too small, or ``sigma`` is not a range.

    Examples
    --------
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
            raise ValueError(f"margin: needs a non-negative integer (pixels), got {self.margin!r}")
        object.__setattr__(self, "sigma", tuple(float(s) for s in self.sigma))
        if len(self.sigma) != 2 or not 0 < self.sigma[0] < self.sigma[1]:
            raise ValueError(f"sigma: needs a range of two positive noise levels, got {self.sigma!r}")

    def rate(self, step):
        """Return the learning rate at a step, relative to its maximum."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1)))

    def card(self, denoiser):
        """Return version, settings and number of parameters, for the metadata of a trained network."""
        plan = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        parameters = sum(p.numel() for p in denoiser.parameters())
        return {"version": __version__, "steps": self.steps, "plan": plan, "parameters": parameters}


class Trainer:
    """
    Trainer of a denoiser, which continues from the checkpoint of an interrupted run.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.HybridDenoiser`
        Denoiser, trained in place.
    noiser, validation : `~astro_massmap.training.Noiser`
        Noisy pieces of the training maps and, optionally, of held-out maps (a bank).
    plan : TrainingPlan
        Settings of the training.
    checkpoint, device
        File (safetensors) for the state of the run, or None, and device of the training.
    workers : int
        Processes that draw the next batches meanwhile, on a processor; by default the training draws them itself.
        The batches are the same.

    Raises
    ------
    OSError
        If the checkpoint is damaged or contains something else.
    ValueError
        If the checkpoint is from another run; from ``run``, if the loss is not finite.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import HybridDenoiser, UNet
    >>> from astro_massmap.training import MapBank, Noiser, Trainer, TrainingPlan
    >>> spectrum, bank = PowerSpectrum.default(), MapBank(torch.ones(4, 48, 48), 1.2e-4)
    >>> noiser, plan = Noiser(bank, spectrum, size=32, margin=8), TrainingPlan(steps=2, size=32, margin=8)
    >>> denoiser = HybridDenoiser(UNet((4, 4, 4)), spectrum, bank.pixel_size)
    >>> trained = Trainer(denoiser, noiser, plan, checkpoint="state.safetensors").run(progress=False)
    >>> Trainer(denoiser, noiser, plan, checkpoint="state.safetensors").step  # continues from the checkpoint
    2
    """

    def __init__(self, denoiser, noiser, plan, *, validation=None, checkpoint=None, device="cpu", workers=0):
        self.device = torch.device(device)
        self.denoiser, self.noiser, self.plan, self.workers = denoiser.to(self.device), noiser, plan, workers
        self.validation, self.checkpoint = validation, None if checkpoint is None else Path(checkpoint)
        self.mean = copy.deepcopy(denoiser)
        self.optimizer = torch.optim.Adam(denoiser.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99))
        self.step, self.history = 0, []
        self.rank = distributed.get_rank() if distributed.is_initialized() else 0
        self.batches = _Batches(self)
        self.module = denoiser
        if distributed.is_initialized():
            self.module = torch.nn.parallel.DistributedDataParallel(denoiser)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume()

    def run(self, *, progress=True):
        """Train to the last step and return the denoiser with the averaged weights."""
        with progress_bar(
            total=self.plan.steps, initial=self.step, desc="training", disable=not progress or self.rank > 0
        ) as bar:
            steps = range(self.step, self.plan.steps)
            with torch.device("cpu"):  # the loader draws a seed on the default device
                batches = iter(DataLoader(self.batches, None, sampler=steps, num_workers=self.workers))
            for batch in batches:
                loss = self._advance(batch.to(self.device))
                bar.update()
                if self.step % self.plan.validate_every == 0 or self.step == self.plan.steps:
                    self._record(loss)
                    bar.set_postfix(loss=f"{float(loss):.3f}")
        return self.mean

    def loss(self, batch):
        """Return the loss of a batch."""
        with self._precision():
            added = self.module(batch.z, batch.wiener, batch.sigma, batch.field)
        *_, spread = batch.field.spreads(batch.sigma)
        return ((batch.x - batch.wiener - added) / spread).square().mean()

    def judge(self):
        """Return the validation errors of the averaged weights in units of those of the Wiener filter."""
        return denoising_ratios(self.mean, self.validation, self.plan.validation_maps)

    def _precision(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bfloat16)

    def _advance(self, batch):
        """Make one optimiser step and return its loss."""
        plan = self.plan
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * plan.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), plan.clip)
        with torch.device("cpu"):  # Adam creates its step counters on the default device
            self.optimizer.step()
        self.step += 1
        memory = min(plan.ema, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.mean.parameters(), self.denoiser.parameters(), strict=True):
                kept.lerp_(new, 1 - memory)
        return loss.detach()

    def _record(self, loss):
        if not math.isfinite(float(loss)):
            raise ValueError(f"learning_rate: the loss is not finite after {self.step} steps; use a lower rate")
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
        """Return, as in JSON, the settings that must agree with those of a checkpoint: plan, network and theory."""
        levels = torch.tensor(LEVELS, dtype=torch.float32, device=self.device)
        spreads = [f"{float(s):.4e}" for spread in self.denoiser.spreads(levels) for s in spread.flatten()]
        settings = asdict(self.plan) | {"network": self.denoiser.network.settings, "theory": spreads}
        return json.loads(json.dumps(settings))

    def _resume(self):
        """Restore the state of the checkpoint; OSError if it is damaged, ValueError if it is from another run."""
        name = str(self.checkpoint)
        fault = f"checkpoint: {name!r} is damaged, or is not a checkpoint of a training"
        with parsing(fault):
            notes, state = read_tensors(self.checkpoint, "training", device=self.device)
            there, step, history = notes["run"], notes["step"], notes["history"]
        if not isinstance(there, dict):
            raise OSError(f"{fault}: its settings are missing")
        changed = [key for key, value in self._settings().items() if there.get(key) != value]
        if changed:
            raise ValueError(
                f"checkpoint: {name!r} is from another run ({', '.join(changed)} differ) and was not changed; "
                "choose another file"
            )
        rows = isinstance(history, list) and all(isinstance(row, dict) for row in history)
        if not rows or type(step) is not int or not 0 <= step <= self.plan.steps:
            raise OSError(f"{fault}: it records {str(step)[:40]} of {self.plan.steps} steps")
        if not self._fits(state):
            raise OSError(f"{fault}: its tensors do not match the network")
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
        """Return True if the tensors are those that `_save` writes for this network."""
        needed, moments, count = {}, {}, torch.zeros((), dtype=torch.float32, device="cpu")
        for module, prefix in ((self.denoiser, "now."), (self.mean, "mean.")):
            needed |= {prefix + k: (v.shape, v.dtype) for k, v in module.state_dict().items()}
        for i, parameter in enumerate(self.denoiser.parameters()):
            kind = {"exp_avg": parameter, "exp_avg_sq": parameter, "step": count}
            kind = {f"adam.{i}.{name}": (like.shape, like.dtype) for name, like in kind.items()}
            if kind.keys() & state.keys():  # a parameter that does not enter the loss has no moments
                moments |= kind
        return {k: (v.shape, v.dtype) for k, v in state.items()} == needed | moments


class _Batches(Dataset):
    """The batch of each step; its random numbers depend on the seed, the step and the rank of the process."""

    def __init__(self, trainer):
        self.noiser, self.plan, self.rank = trainer.noiser, trainer.plan, trainer.rank

    def __getitem__(self, step):
        choices = np.random.default_rng([self.plan.seed, step, self.rank])
        noise = torch.Generator(self.noiser.device).manual_seed(int(choices.integers(2**62)))
        return self.noiser.batch(self.plan.maps_per_step, *self.plan.sigma, choices, noise)


@torch.no_grad()
def denoising_ratios(denoiser, noiser, n, levels=LEVELS, seed=0):
    """
    Return the mean squared error of a denoiser over that of the Wiener filter, away from the edges.

    Parameters
    ----------
    denoiser, noiser
        A `~astro_massmap.priors.HybridDenoiser`, and a `Noiser` of the maps of a bank.
    n : int
        Number of maps, the first of the bank.
    levels, seed
        Noise levels, which are the keys of the result, with three decimals; seed of the noise.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import HybridDenoiser, UNet
    >>> from astro_massmap.training import MapBank, Noiser, denoising_ratios
    >>> spectrum, bank = PowerSpectrum.default(), MapBank(torch.ones(4, 48, 48), 1.2e-4)
    >>> denoiser = HybridDenoiser(UNet((4, 4, 4)), spectrum, bank.pixel_size)
    >>> denoising_ratios(denoiser, Noiser(bank, spectrum, size=32, margin=8), 4, levels=(0.03, 0.3))
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
    Join the workers started by ``torchrun``, if any; return the device of this one, with ``"cuda"`` its own GPU.

    Examples
    --------
    >>> from astro_massmap.training import start_workers
    >>> print(start_workers("cpu"))
    cpu
    """
    if "RANK" not in os.environ:
        return torch.device(device)
    cuda = torch.device(device).type == "cuda"
    distributed.init_process_group("nccl" if cuda else "gloo")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device(device)
