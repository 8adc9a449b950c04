"""
YAML from files: astropy builds its own objects from it, and is to build no others.

Three things in a text are dangerous although astropy's loader is a safe one: aliases, by which a few lines stand for
more than any memory; arrays of objects, whose bytes it takes for addresses; and units such as ``10**9999999999 m``,
which it computes.
"""

import re
from pathlib import PurePath

import numpy as np
import yaml
from astropy.io.fits.card import Undefined
from astropy.io.misc.yaml import AstropyDumper, AstropyLoader

_DEEPEST, _MOST_PARTS = 64, 10**6
_ARRAYS = ("!numpy.ndarray", "!numpy.void")
_ARRAY_KEYS = ("buffer", "dtype", "shape", "order")
_HUGE_POWER = re.compile(r"(?:\*\*|\^)[\s(+-]*\d{4,}|[⁰¹²³⁴⁵⁶⁷⁸⁹]{4,}")


class _Dumper(AstropyDumper):
    """Writes also what headers and tables have in their meta: cards without a value, masked numbers, paths."""


def _as_list(dumper, values):
    return dumper.represent_list(values.tolist())


_Dumper.add_representer(Undefined, lambda dumper, _: dumper.represent_none(None))
_Dumper.add_representer(type(np.ma.masked), lambda dumper, _: dumper.represent_none(None))
_Dumper.add_representer(np.ma.MaskedArray, _as_list)
_Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(str(path)))


def dump_yaml(value):
    """Text of plain data and objects of astropy; ValueError for anything else."""
    try:
        return yaml.dump(value, Dumper=_Dumper).strip()
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(f"a {type(value).__name__} cannot be written as YAML") from error


def check_unit(text):
    """ValueError for the text of a unit with a power of a thousand or more."""
    if _HUGE_POWER.search(text):
        raise ValueError(f"{text[:60]!r} is no unit")


def check_yaml(text):
    """ValueError, or an error of the parser, for a text that is not to be loaded."""
    depth = 0
    for event in yaml.parse(text, Loader=AstropyLoader):  # thousands of brackets would take the parser seconds
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it holds things in {depth} levels; more than {_DEEPEST} are not believed")
    node = yaml.compose(text, Loader=AstropyLoader)
    if node is not None:
        _Measure().of(node)


def load_yaml(text):
    """What a text holds: plain data, and objects of astropy."""
    check_yaml(text)
    return yaml.load(text, Loader=AstropyLoader)


class _Measure:
    """Sizes of nodes with all that their aliases stand for."""

    def __init__(self):
        self.known = {}  # by node, and whether astropy makes a unit of its texts: (parts, depth), None before the end

    def of(self, node, units=False):
        key = id(node), units
        if key not in self.known:
            self.known[key] = None
            self.known[key] = self._measured(node, units)
        if self.known[key] is None:
            raise ValueError("it holds a list or dictionary that contains itself")
        return self.known[key]

    def _measured(self, node, units):
        units = units or node.tag.startswith("!astropy")
        if isinstance(node, yaml.ScalarNode):
            if units:
                check_unit(node.value)
            return 1, 1
        if node.tag in _ARRAYS:
            _check_array(node)
        inner = list(self._inner(node, units))
        parts, depth = 1 + sum(p for p, _ in inner), 1 + max((d for _, d in inner), default=0)
        if parts > _MOST_PARTS or depth > _DEEPEST:
            raise ValueError(
                f"it holds {parts} things in {depth} levels; more than {_MOST_PARTS} in {_DEEPEST} are not believed"
            )
        return parts, depth

    def _inner(self, node, units):
        if isinstance(node, yaml.SequenceNode):
            yield from (self.of(value, units) for value in node.value)
        else:
            for key, value in node.value:
                yield self.of(key)
                yield self.of(value, units or key.value == "unit")


def _check_array(node):
    """ValueError for an array of objects, or one with strides, by which few bytes become many."""
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"it holds {node.tag} that is none")
    for key, value in node.value:
        if key.value not in _ARRAY_KEYS:
            raise ValueError(f"it holds an array with {key.value!r}")
        if key.value == "dtype" and any("O" in text or "object" in text for text in _texts(value)):
            raise ValueError("it holds an array of Python objects")


def _texts(node):
    if isinstance(node, yaml.ScalarNode):
        yield node.value
    else:
        for value in node.value:
            for part in value if isinstance(value, tuple) else (value,):
                yield from _texts(part)
