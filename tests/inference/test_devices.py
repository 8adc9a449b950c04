"""
No operation mixes tensors of different devices.

Fake tensors have shape, type and device, and no values; an operation on fake tensors of two devices is an error, as it
is on a GPU. A build of torch for CPUs creates and transforms fake CUDA tensors, but does not index, copy or read them:
`FakeGpu` uses other operators for this, so that these errors are found without a GPU.
"""

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from astro_massmap import GaussianPrior, PowerSpectrum, Schedule, ScorePrior
from astro_massmap.inference import (
    DiffusionPlan,
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    SplitPlan,
    Streams,
    TemperedPlan,
    gaussian_check,
    run_chains,
    split_step,
    targets,
)
from astro_massmap.inference.hmc import start
from astro_massmap.priors import HybridDenoiser, PosteriorNetwork, UNet

from helpers import small_priors
from helpers.chains import observation

# a build with CUDA looks for a driver before it makes a tensor, also a fake one
pytestmark = pytest.mark.skipif(
    torch.version.cuda is not None and not torch.cuda.is_available(), reason="torch with CUDA, and no driver"
)
THEORY = PowerSpectrum.default()
SIDE, BOX = 24, (48, 45)
DATA, PIXEL = observation(SIDE), observation().pixel_size
KEY = DATA.sha256  # key of the random numbers, computed before tensors are fake
TOLERANCE = 0.45
CUDA = torch.device("cuda", 0)


class FakeGpu(TorchFunctionMode):
    """
    Fake CUDA tensors in a build of torch for CPUs.

    Values that are read alternate between 0.5 and 0.4, above and below `TOLERANCE`: conjugate gradients take one
    step. A bool is False.
    """

    def __init__(self):
        super().__init__()
        self.fake, self.numbers = FakeTensorMode(allow_non_fake_inputs=True), cycle((0.5, 0.4))
        tensor = torch.Tensor
        self.instead = {
            tensor.__getitem__: self.part,
            tensor.__setitem__: lambda x, index, value: self.part(x, index).fill_(0),
            tensor.copy_: lambda x, other: x.fill_(0),
            tensor.__invert__: torch.logical_not,
            tensor.to: self.moved,
            tensor.numpy: self.array,
            tensor.item: lambda x: next(self.numbers),
            tensor.__float__: lambda x: next(self.numbers),
            tensor.__bool__: lambda x: False,
        }

    def __enter__(self):
        self.fake.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.fake.__exit__(*error)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in self.instead and isinstance(args[0], FakeTensor):
            function = self.instead[function]
        return function(*args, **kwargs or {})

    @staticmethod
    def part(x, index):
        index = index if isinstance(index, tuple) else (index,)
        if any(i is Ellipsis for i in index):
            at = next(k for k, i in enumerate(index) if i is Ellipsis)
            rest = x.ndim - sum(i is not None for i in index) + 1
            index = (*index[:at], *[slice(None)] * rest, *index[at + 1 :])
        axis = 0
        for i in index:
            if isinstance(i, int):
                x, axis = x.select(axis, i), axis - 1
            elif i is None:
                x = x.unsqueeze(axis)
            elif isinstance(i, torch.Tensor):
                x = x.flatten() if i.dtype == torch.bool else x.index_select(axis, i)  # a mask may select all
            elif i != slice(None):
                x = torch.ops.aten.slice(x, axis, i.start, i.stop)
            axis += 1
        return x

    @staticmethod
    def moved(x, *args, **kwargs):
        if isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype)
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        return torch.ops.aten._to_copy(x, device=device or x.device, dtype=dtype or x.dtype)

    @staticmethod
    def array(x):
        if x.device.type != "cpu":
            raise TypeError("a tensor on a GPU is not a numpy array")
        return np.ones(x.shape, str(x.dtype).removeprefix("torch."))


class CpuGenerator(torch.Generator):
    def __new__(cls, device):
        return super().__new__(cls, "cpu")


def to_device(module, device):
    """Replacement of `torch.nn.Module.to`, which cannot exchange fake parameters."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            part._parameters[name] = torch.nn.Parameter(parameter.to(device), requires_grad=False)
        part._buffers.update({name: buffer.to(device) for name, buffer in part._buffers.items()})
    return module


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch, "Generator", CpuGenerator)  # CUDA generators need a GPU
    monkeypatch.setattr(torch.nn.Module, "to", to_device)
    monkeypatch.setattr(targets, "_VELOCITY", TOLERANCE)
    monkeypatch.setattr(targets, "_KICK", TOLERANCE)
    ScorePrior.load("default")  # files are read before tensors are fake
    with FakeGpu():
        yield


def modes(n=2):
    return torch.zeros((n, BOX[0], BOX[1] // 2 + 1), dtype=torch.complex64, device=CUDA)


def shipped():
    """Return the shipped prior with a network of fake parameters of the same shapes."""
    prior = ScorePrior.load("default")
    network = UNet(**prior.denoiser.network.settings).requires_grad_(False)
    return replace(prior, denoiser=HybridDenoiser(network, THEORY, PIXEL), table=None)


def plan(prior, kind=SplitPlan, schedule=None):
    schedule = Schedule(trajectories=2, reverse_steps=2) if schedule is None else schedule
    return kind(DATA, prior, schedule, BOX, device=CUDA, tolerance=TOLERANCE)


def streams(n=2):
    return Streams(0, range(n), device=CUDA)


def on_gpu(*tensors):
    return all(t.device == CUDA for t in tensors)


PRIORS = {"gaussian": GaussianPrior, "shipped": shipped}


# ---- functions on a GPU


def test_operator_and_its_adjoint(gpu):
    operator = LensingOperator(FourierGrid((SIDE, SIDE), PIXEL, BOX, device=CUDA))
    shear = operator.forward(modes())
    assert shear.shape == (2, 2, SIDE, SIDE) and on_gpu(shear, operator.adjoint(shear))
    assert on_gpu(*operator.e_and_b_modes(shear))


@pytest.mark.parametrize("given", ["spectrum", "variance"])
def test_gaussian_posterior(gpu, given):
    spectrum = THEORY if given == "spectrum" else torch.ones(modes().shape[1:], device=CUDA)
    posterior = GaussianPosterior(DATA, spectrum, BOX, tolerance=TOLERANCE, device=CUDA)
    draw, shifts = posterior.draw(streams())
    assert on_gpu(posterior.precision(modes()), posterior.mean_modes(), draw, shifts, posterior.variance(shifts[0]))
    assert posterior.iterations == 1  # the steps of the conjugate gradients ran


@pytest.mark.parametrize("prior", PRIORS)
def test_a_step_of_the_kernel(gpu, prior):
    (target,) = plan(PRIORS[prior]()).targets
    trajectory, inner = Schedule.fast().trajectory, target.split.grid.inner
    state = split_step(target, start(target, modes(), streams()), trajectory, streams(), inner)
    assert on_gpu(state.modes, state.force, state.kick, state.accepted, state.energy_error)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", [SplitPlan, TemperedPlan])
def test_chains(gpu, prior, kind):
    tempered = Schedule((0.2, 0.1), 1, splitting=False)
    run = run_chains(plan(PRIORS[prior](), kind, tempered if kind is TemperedPlan else None), streams())
    assert on_gpu(run.modes) and run.acceptance.device.type == run.trace.device.type == "cpu"


def test_gaussian_check(gpu):
    assert len(gaussian_check(plan(GaussianPrior()), 0, 2)["power_ratio"]) == 8


def test_network_of_the_posterior(gpu, monkeypatch):
    solve = GaussianPosterior.solve
    monkeypatch.setattr(GaussianPosterior, "solve", lambda self, b, *_: solve(self, b, TOLERANCE))
    monkeypatch.setattr(PosteriorNetwork, "fault", lambda *_: None)  # values are not those of the data
    plan = DiffusionPlan(DATA, small_priors.untrained_posterior(), 2, BOX, device=CUDA, tolerance=TOLERANCE)
    assert on_gpu(*plan.prior.moments(modes(1), modes(1)), plan.prior.contribution(modes(), modes(), 0.1))
    run = run_chains(plan, streams())
    assert on_gpu(run.modes) and run.acceptance.device.type == run.trace.device.type == "cpu"


# ---- faults that the tests find


def test_a_constant_on_the_cpu_is_found(gpu, monkeypatch):
    monkeypatch.setattr(FourierGrid, "real", lambda grid, tensor: tensor.to(grid.dtype))
    grid = FourierGrid((SIDE, SIDE), PIXEL, BOX, device=CUDA)
    with pytest.raises(RuntimeError, match="device"):
        LensingOperator(grid).forward(modes())


def test_random_numbers_on_the_cpu_are_found(gpu):
    posterior = GaussianPosterior(DATA, THEORY, BOX, tolerance=TOLERANCE, device=CUDA)
    with pytest.raises(RuntimeError, match="device"):
        posterior.fluctuations(Streams(0, [0]))


def test_a_constant_in_the_network_is_found(gpu, monkeypatch):
    on_grid, arange = plan(shipped()).prior, torch.arange
    monkeypatch.setattr(torch, "arange", lambda *args, **options: arange(*args, **options | {"device": "cpu"}))
    with pytest.raises(RuntimeError, match="device"):
        on_grid.residual(modes(), 0.1)


def test_a_table_made_of_a_tensor_on_the_gpu_is_found(gpu):
    with pytest.raises(TypeError, match="not a numpy array"):
        THEORY(torch.full((3,), 1000.0, device=CUDA).numpy())
