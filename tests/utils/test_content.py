"""Names and checksums of functions and objects by their content."""

import functools
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum
from astro_massmap._utils.content import content_sha256, description, name_of, text_of
from astro_massmap.inference import FourierGrid

SCALE = 2.0


def scaled(x):
    return SCALE * x


def made(code, **names):
    """Return the function ``f`` of a source text."""
    space = {"__name__": "__main__", **names}
    exec(code, space)
    return space["f"]


class Network(torch.nn.Module):
    def __init__(self, gain=1.0):
        super().__init__()
        self.gain, self.layer = gain, torch.nn.Conv2d(1, 1, 3)
        torch.nn.init.constant_(self.layer.weight, 0.1)
        torch.nn.init.constant_(self.layer.bias, 0.0)

    def forward(self, x):
        return self.gain * self.layer(x)


@dataclass
class Options:
    width: float = 1.0


def test_equal_content_has_equal_checksums():
    code = "def f(x, a=1):\n    return x + a"
    pairs = [
        (made(code), made(code)),
        (made(code), made("# a comment\n\n" + code)),
        (functools.partial(scaled, x=1), functools.partial(scaled, x=1)),
        (Network(), Network().eval()),
        (Options(), Options()),
        (np.arange(3), np.arange(3)),
        (PowerSpectrum.default(), PowerSpectrum(*(getattr(PowerSpectrum.default(), k) for k in ("ell", "cl")),
                                                name=PowerSpectrum.default().name)),
    ]  # fmt: skip
    for a, b in pairs:
        assert content_sha256(a) == content_sha256(b) is not None


def test_different_content_has_different_checksums():
    weights = Network()
    with torch.no_grad():
        weights.layer.weight[0, 0, 1, 1] = 0.2
    different = [
        made("def f(x): return x + 1"),
        made("def f(x): return x - 1"),
        made("def f(x): return x + 2"),
        made("def f(x, a=1): return x + a"),
        made("def f(x, a=2): return x + a"),
        made("def f(x, *, a=2): return x + a"),
        made("def f(x): return x * g", g=1.0),
        made("def f(x): return x * g", g=2.0),
        made("def f(x): return x * g", g=np.float32(2.0)),
        made("def f(x): return g(x)", g=made("def f(x): return 1")),
        made("def f(x): return g(x)", g=made("def f(x): return 2")),
        made("f = (lambda a: lambda x: a * x)(1)"),
        made("f = (lambda a: lambda x: a * x)(2)"),
        Network(),
        Network(gain=2.0),
        weights,
        Network().forward,
        Options(),
        Options(2.0),
        functools.partial(scaled, x=1),
        functools.partial(scaled, x=2),
        scaled,
        torch.sin,
        torch.cos,
        {"a": [1, 2]},
        {"a": [1, (2,)]},
    ]
    checksums = [content_sha256(thing) for thing in different]
    assert None not in checksums and len(set(checksums)) == len(different)


def test_a_global_variable_is_part_of_the_content(monkeypatch):
    before = content_sha256(scaled)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert content_sha256(scaled) != before


def test_caches_are_no_content():
    grid = FourierGrid((8, 8), 1e-4)
    before = content_sha256(lambda x: grid.to_modes(x))
    assert grid.longest > 0  # a cached property
    assert content_sha256(lambda x: grid.to_modes(x)) == before


def test_a_part_without_content_has_no_checksum():
    lines = (line for line in "ab")
    assert content_sha256(lambda x: next(lines)) is None
    assert description(lambda x: next(lines)).endswith(".<lambda> (cannot be identified)")


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
def test_torchscript(tmp_path):
    other = Network()
    with torch.no_grad():
        other.layer.weight[0, 0, 1, 1] = 0.2
    scripts = [torch.jit.script(network) for network in (Network(), Network(gain=2.0), other, Network().layer)]
    checksums = [content_sha256(script) for script in scripts]
    assert None not in checksums and len(set(checksums)) == 4
    scripts[0].save(tmp_path / "network.pt")
    first, second = (torch.jit.load(tmp_path / "network.pt") for _ in range(2))
    assert content_sha256(first) == content_sha256(second.eval()) == checksums[0]
    assert first.training and not second.training
    traced = [torch.jit.trace(Network(gain), torch.ones(1, 1, 4, 4)) for gain in (1.0, 1.0, 2.0)]
    assert content_sha256(traced[0]) == content_sha256(traced[1]) != content_sha256(traced[2])
    assert None not in map(content_sha256, traced)


def test_names_and_texts():
    assert name_of(scaled).endswith("test_content.scaled") and name_of(Network()).endswith("test_content.Network")
    assert name_of(functools.partial(scaled)) == f"{name_of(scaled)}()"
    bound = functools.partial(
        functools.partial(scaled, 2, np.ones(3)), a=0.5, b="hann", c="/home/me", d=None, e=30 * "x", g="é"
    )
    assert name_of(bound) == f"{name_of(scaled)}(2, ..., a=0.5, b='hann', c=..., d=None, e=..., g=...)"
    assert text_of(Options()) == "Options(width=1.0)"
    assert " at 0x" in repr(scaled) and text_of(scaled) == description(scaled)
    assert description(scaled) == f"{name_of(scaled)} (SHA-256 {content_sha256(scaled)[:12]})"


def test_another_process_has_the_same_checksum():
    code = (
        "import torch\nstate = {'a', 'b', 'c'}\ndef f(x):\n    return torch.sin(x) if x in state else {1: 'd', 2: 'e'}"
    )
    script = f"{code}\nfrom astro_massmap._utils.content import content_sha256\nprint(content_sha256(f))"
    for seed in "12":  # of the hashes of text
        run = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        )
        assert run.stdout.strip() == content_sha256(made(code))
