"""
Names and checksums of functions and objects of the user, by their content and without memory addresses.

The checksum of a function covers its bytecode, defaults, closure, and the global variables that it uses; that of an
object its class and its attributes, with the parameters of a module of torch. Functions and classes of installed
packages are identified by their name. The bytecode depends on the version of Python.
"""

import copy
import copyreg
import functools
import hashlib
import io
import re
import sys
import sysconfig
import types
import zipfile
from pathlib import Path

import numpy as np

_LIBRARIES = {Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")}
_THIS = __name__.partition(".")[0]
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, slice, np.dtype, Path)
_FUNCTION = (types.FunctionType, type)
_DESCRIPTOR = (types.MemberDescriptorType, types.GetSetDescriptorType)
_COMPILED = {"_orig_mod", "_torchdynamo_orig_callable"}  # attributes of the results of torch.compile
_MOST_PARTS, _LONGEST_VALUE = 10**5, 24
_MANGLED = re.compile(rb"[./]?___torch_mangle_\d+")  # in names of classes of TorchScript that are compiled again


def name_of(thing):
    """
    Return the qualified name of a function or class with its module, or that of the class of an object.

    The name of a partial function contains its arguments: ``module.f(width=3.0)``.
    """
    if isinstance(thing, functools.partial):
        bound = [_short(value) for value in thing.args] + [f"{k}={_short(v)}" for k, v in thing.keywords.items()]
        return f"{name_of(thing.func)}({', '.join(bound)})"
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module = getattr(named, "__module__", None)
    return named.__qualname__ if module in (None, "__main__", "builtins") else f"{module}.{named.__qualname__}"


def _short(value):
    """Return the repr of a short plain value in ASCII that is no path, otherwise dots."""
    plain = isinstance(value, bool | int | float | complex | str | None) and not isinstance(value, np.generic)
    text = ascii(value) if plain else "..."
    return "..." if len(text) > _LONGEST_VALUE or "/" in text or "\\" in text else text


def content_sha256(thing):
    """Return the SHA-256 of the content of a function or object, or None if a part of it cannot be identified."""
    content = _Content()
    try:
        content.add(thing)
    except Exception:  # attributes and reductions of unknown objects raise errors of any type
        return None
    return content.digest.hexdigest()


def description(thing):
    """Return the name of a function or object and the first digits of its checksum, if it has one."""
    sha256 = content_sha256(thing)
    return f"{name_of(thing)} ({'cannot be identified' if sha256 is None else f'SHA-256 {sha256[:12]}'})"


def text_of(thing):
    """Return the repr of an object, or its `description` if the repr contains a memory address."""
    text = repr(thing)
    return description(thing) if " at 0x" in text else text


class _Content:
    """SHA-256 of a nested object; ``add`` raises an error of any type for a part that cannot be identified."""

    def __init__(self):
        self.digest, self._seen = hashlib.sha256(), {}

    def add(self, part):
        if isinstance(part, _PLAIN):
            return self._put(type(part).__name__, repr(part))
        if id(part) in self._seen:
            return self._put("again", self._seen[id(part)][0])
        if len(self._seen) >= _MOST_PARTS:
            raise ValueError("too many parts")
        self._seen[id(part)] = len(self._seen), part  # a reference, so that no other object has the same id
        return self._add_object(part)

    def _put(self, *parts):
        for part in parts:
            data = part if isinstance(part, bytes) else str(part).encode()
            self.digest.update(len(data).to_bytes(8, "big") + data)

    def _add_all(self, kind, parts):
        parts = list(parts)
        self._put(kind, len(parts))
        for part in parts:
            self.add(part)

    def _add_object(self, part):
        torch = sys.modules.get("torch")
        compiled = vars(part).keys() & _COMPILED if hasattr(part, "__dict__") else ()
        if compiled:
            self.add(getattr(part, *compiled))
        elif isinstance(part, list | tuple):
            self._add_all(type(part).__name__, part)
        elif isinstance(part, dict):
            self._add_all("dict", part.items())
        elif isinstance(part, set | frozenset):
            self._put("set", *sorted(content_sha256(item) or _unknown(item) for item in part))
        elif isinstance(part, np.ndarray | np.generic):
            if part.dtype.hasobject:
                _unknown(part)
            self._put("array", part.dtype.str, part.shape, part.tobytes())
        elif isinstance(part, types.ModuleType):
            self._add_module(part)
        elif isinstance(part, types.CodeType):
            self._add_all("code", (part.co_code, part.co_consts, part.co_names, part.co_varnames, part.co_freevars))
        elif isinstance(part, types.FunctionType):
            self._add_function(part)
        elif isinstance(part, types.MethodType):
            self._add_all("method", (part.__func__, part.__self__))
        elif isinstance(part, type):
            self._add_class(part)
        elif isinstance(part, types.BuiltinFunctionType):
            owner = part.__self__ if not isinstance(part.__self__, types.ModuleType | None) else None
            self._add_all(name_of(part), (owner,))
        elif isinstance(part, functools.partial):
            self._add_all("partial", (part.func, part.args, part.keywords))
        elif torch is not None and isinstance(part, torch.Tensor):
            values = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            self._put("tensor", part.dtype, tuple(part.shape), values.numpy().tobytes())
        elif torch is not None and isinstance(part, torch.dtype | torch.device):
            self._put("torch", part)
        elif torch is not None and isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self._add_script(part)
        elif torch is not None and isinstance(part, torch.nn.Module):
            idle = vars(torch.nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
            self._add_state(part, idle)
        elif type(part) in copyreg.dispatch_table:  # such as a regular expression
            self._add_all("reduced", copyreg.dispatch_table[type(part)](part)[:3])
        elif hasattr(part, "__wrapped__"):  # such as a function with a cache
            self._add_all(type(part).__name__, (part.__wrapped__,))
        elif type(part).__reduce_ex__ is object.__reduce_ex__ and type(part).__reduce__ is object.__reduce__:
            self._add_state(part)
        else:
            self._add_all("reduced", part.__reduce_ex__(2)[:3])

    def _add_state(self, part, idle=()):
        """Add the class and the attributes of an object, except ``idle`` ones and cached properties."""
        if not hasattr(part, "__dict__"):
            return self._add_all("reduced", part.__reduce_ex__(2)[:3])
        kind = type(part)
        state = {k: v for k, v in vars(part).items() if k not in idle}
        cached = [k for k in state if isinstance(getattr(kind, k, None), functools.cached_property)]
        return self._add_all("object", (kind, {k: v for k, v in state.items() if k not in cached}))

    def _add_function(self, function):
        self._put(name_of(function))
        if _is_installed(function.__module__):
            return
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        known = function.__globals__
        used = {name: known[name] for name in sorted(_names(function.__code__)) if name in known}
        self._add_all("function", (function.__code__, function.__defaults__, function.__kwdefaults__, cells, used))

    def _add_script(self, script):
        """Add TorchScript as it is saved: code, constants, attributes and weights, in evaluation mode on the CPU."""
        if hasattr(script, "eval"):
            with sys.modules["torch"].no_grad():  # the copies of weights are leaves
                script = copy.deepcopy(script).cpu().eval()
        with zipfile.ZipFile(io.BytesIO(script.save_to_buffer())) as file:
            names = [n for n in file.namelist() if not n.endswith((".debug_pkl", "/version", "/serialization_id"))]
            parts = [(_MANGLED.sub(b"", n.encode()), _MANGLED.sub(b"", file.read(n))) for n in names]
        self._put("script", *(text for part in sorted(parts) for text in part))

    def _add_class(self, kind):
        self._put(name_of(kind))
        if not _is_installed(kind.__module__):
            own = {k: _unwrapped(v) for k, v in sorted(vars(kind).items()) if not k.startswith("_abc_")}
            own = {k: v for k, v in own.items() if isinstance(v, _FUNCTION) or not k.startswith("__")}
            self._add_all("class", (kind.__bases__, {k: v for k, v in own.items() if not isinstance(v, _DESCRIPTOR)}))

    def _add_module(self, module):
        self._put("module", module.__name__)
        if not _is_installed(module.__name__):
            self._put(Path(module.__file__).read_bytes())


def _unknown(part):
    raise TypeError(f"{type(part).__name__} cannot be identified")


def _names(code):
    """Return the names of global variables and attributes in a code object and those within it."""
    inner = (_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*inner)


def _unwrapped(member):
    """Return the function or functions of a member of a class."""
    if isinstance(member, property):
        return member.fget, member.fset
    if isinstance(member, staticmethod | classmethod):
        return member.__func__
    return getattr(member, "func", member) if isinstance(member, functools.cached_property) else member


def _is_installed(module):
    """Return whether a module is part of Python, an installed package, or this package."""
    top = (module or "").partition(".")[0]
    if top in ("__main__", "__mp_main__") or module not in sys.modules:
        return False
    file = getattr(sys.modules[module], "__file__", None)
    if top == _THIS or file is None:
        return True
    file = Path(file).resolve()
    depth = module.count(".") + (file.stem == "__init__")
    return _is_library(file.parents[depth])


@functools.cache
def _is_library(folder):
    """Return whether a folder contains the library of Python, or is one to which packages are installed."""
    return any(folder.is_relative_to(path) for path in _LIBRARIES) or next(folder.glob("*.dist-info"), None) is not None
