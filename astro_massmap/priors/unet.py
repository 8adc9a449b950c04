"""
A residual U-net of three scales, conditioned on numbers such as the noise level.

The weights of its convolutions are normalised (Salimans & Kingma 2016), not the outputs: batch statistics would couple
the chains of a batch, and statistics of a map would depend on its size.
"""

import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


class Convolution(nn.Conv2d):
    """A convolution whose filters have unit norm times a learned gain."""

    def __init__(self, inputs, outputs, size=3, stride=1, gain=1.0, device="cpu"):
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, dtype=torch.float32, device=device)
        self.gain = nn.Parameter(torch.full((outputs,), float(gain), dtype=torch.float32, device=device))

    def forward(self, x):
        norm = torch.linalg.vector_norm(self.weight, dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
        weight = self.weight * (self.gain.view(-1, 1, 1, 1) / norm)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Block(nn.Module):
    """Residual block of two convolutions; the conditions scale and shift the features between them."""

    def __init__(self, width, embedding, device):
        super().__init__()
        self.first = Convolution(width, width, gain=math.sqrt(2), device=device)
        self.second = Convolution(width, width, gain=0.3, device=device)
        self.film = nn.Linear(embedding, 2 * width, dtype=torch.float32, device=device)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x, level):
        scale, shift = self.film(level)[..., None, None].chunk(2, dim=1)
        h = self.first(F.silu(x))
        if torch.is_grad_enabled():
            return x + self.second(F.silu(torch.addcmul(shift, h, 1 + scale)))
        h = F.silu(torch.addcmul(shift, h, 1 + scale, out=h), inplace=True)
        return self.second(h).add_(x)


class UNet(nn.Module):
    """
    A U-net with three scales of residual blocks, in single precision.

    Parameters
    ----------
    widths : sequence of three int
        Number of channels at each scale.
    blocks : int
        Number of residual blocks at each scale of the encoder and of the decoder.
    inputs, outputs : int
        Number of input and output channels.
    embedding, conditions : int
        Length of the embedding of the conditions, and number of conditions.
    device : `torch.device` or str
        Device of the parameters.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.priors import UNet
    >>> network = UNet((8, 16, 16), conditions=3)
    >>> network(torch.randn(2, 2, 33, 50), torch.randn(2, 3)).shape
    torch.Size([2, 1, 33, 50])
    """

    def __init__(
        self, widths=(16, 32, 64), blocks=2, inputs=2, embedding=64, outputs=1, *, conditions=15, device="cpu"
    ):
        super().__init__()
        self.settings = {
            "widths": list(widths),
            "blocks": blocks,
            "inputs": inputs,
            "embedding": embedding,
            "outputs": outputs,
            "conditions": conditions,
        }
        top, middle, bottom = widths

        def stage(width):
            return nn.ModuleList(Block(width, embedding, device) for _ in range(blocks))

        def linear(length):
            return nn.Linear(length, embedding, dtype=torch.float32, device=device)

        convolution = partial(Convolution, device=device)
        self.level = nn.Sequential(linear(conditions), nn.SiLU(), linear(embedding), nn.SiLU())
        self.enter = convolution(inputs, top)
        self.down = nn.ModuleList([stage(top), stage(middle), stage(bottom)])
        self.shrink = nn.ModuleList([convolution(top, middle, stride=2), convolution(middle, bottom, stride=2)])
        self.grow = nn.ModuleList([convolution(bottom, middle, 1), convolution(middle, top, 1)])
        self.up = nn.ModuleList([stage(middle), stage(top)])
        self.leave = convolution(top, outputs, gain=0.0)
        nn.init.zeros_(self.leave.bias)

    @property
    def reach(self):
        """Half width of the receptive field: largest distance along an axis between an output pixel and its inputs."""
        n, reach = 2 * self.settings["blocks"], 0  # convolutions of a stage
        for pixel in range(4):
            low, high = pixel - 1 - n, pixel + 1 + n
            for _ in self.up:  # from a scale to the next coarser one, and its stage
                low, high = low // 2 - n, high // 2 + n
            for _ in self.shrink:
                low, high = 2 * low - 1 - n, 2 * high + 1 + n
            reach = max(reach, pixel - low + 1, high + 1 - pixel)
        return reach

    def forward(self, x, conditions):
        """
        Evaluate inputs ``(n, inputs, ny, nx)`` under conditions ``(n, conditions)``, for any ny and nx.

        The conditions are of order one. The result is ``(n, outputs, ny, nx)``.
        """
        ny, nx = x.shape[-2:]
        x = F.pad(x, (0, -nx % 4, 0, -ny % 4), mode="replicate")
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        level = self.level(conditions)
        x, skips = self.enter(x), []
        for scale, stage in enumerate(self.down):
            for block in stage:
                x = block(x, level)
            if scale < 2:
                skips.append(x)
                x = self.shrink[scale](F.silu(x))
        for grow, stage in zip(self.grow, self.up, strict=True):
            x = F.interpolate(grow(x), scale_factor=2, mode="nearest") + skips.pop()
            for block in stage:
                x = block(x, level)
        return self.leave(F.silu(x))[..., :ny, :nx]
