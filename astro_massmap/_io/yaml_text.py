"""
Read and write YAML with objects of astropy.

astropy's loader is safe except for aliases, which expand without limit; arrays of Python objects, whose bytes are used
as addresses; and units such as ``10**9999999999 m``, which are computed. Texts with these are rejected.
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
    """Dumper of astropy that also writes cards without a value, masked numbers and paths."""


def _as_list(dumper, values):
    return dumper.represent_list(values.tolist())


_Dumper.add_representer(Undefined, lambda dumper, _: dumper.represent_none(None))
_Dumper.add_representer(type(np.ma.masked), lambda dumper, _: dumper.represent_none(None))
_Dumper.add_representer(np.ma.MaskedArray, _as_list)
_Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(str(path)))


def dump_yaml(value):
    """Return plain data and objects of astropy as text; ValueError for anything else."""
    try:
        return yaml.dump(value, Dumper=_Dumper).strip()
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(f"a {type(value).__name__} cannot be written as YAML") from error


def check_unit(text):
    """Raise ValueError for the text of a unit with a power of a thousand or more."""
    if _HUGE_POWER.search(text):
        raise ValueError(f"{text[:60]!r} is not a unit: powers need to be less than 1000")


def check_yaml(text):
    """Raise ValueError, or an error of the parser, for a text that is not safe to load."""
    depth = 0
    for event in yaml.parse(text, Loader=AstropyLoader):  # thousands of brackets would take the parser seconds
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested in {depth} levels, the limit is {_DEEPEST}")
    node = yaml.compose(text, Loader=AstropyLoader)
    if node is not None:
        _Measure().of(node)


def load_yaml(text):
    check_yaml(text)
    return yaml.load(text, Loader=AstropyLoader)


class _Measure:
    """Number of parts and depth of nodes, with aliases expanded."""

    def __init__(self):
        self.known = {}  # (parts, depth), None while measured; by node, and True if its texts become units

    def of(self, node, units=False):
        key = id(node), units
        if key not in self.known:
            self.known[key] = None
            self.known[key] = self._measured(node, units)
        if self.known[key] is None:
            raise ValueError("it contains a list or dictionary that contains itself")
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
                f"it contains {parts} parts in {depth} levels, the limits are {_MOST_PARTS} and {_DEEPEST}"
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
    """Raise ValueError for an array of objects, or with strides, by which few bytes become many."""
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"it contains {node.tag} that is not a dictionary")
    for key, value in node.value:
        if key.value not in _ARRAY_KEYS:
            raise ValueError(f"it contains an array with {key.value!r}; allowed are {', '.join(_ARRAY_KEYS)}")
        if key.value == "dtype" and any("O" in text or "object" in text for text in _texts(value)):
            raise ValueError("it contains an array of Python objects")


def _texts(node):
    if isinstance(node, yaml.ScalarNode):
        yield node.value
    else:
        for value in node.value:
            for part in value if isinstance(value, tuple) else (value,):
                yield from _texts(part)
