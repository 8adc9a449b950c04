"""
Conversion of messages to the syntax of the shell.

Errors and warnings name arguments of Python (``columns: cannot find ra ...; columns={'ra': '...'}``). This module
replaces them by options of the running command (``--columns: ...; --columns ra=...``).
"""

import ast
import re
import shlex

_POSITIONAL = ("catalog", "map", "maps", "regions", "sources")
_ALIASES = {  # if the command has one of these
    "edges": ("bins",),
    "mask": ("exclude",),
    "n": ("rotations",),
    "network": ("prior",),
    "table": ("catalog",),
    "n_z": ("sources",),
    "z": ("n_z", "sources"),
}
_PHRASES = {
    "or None, by columns=": "or nothing, by columns=",
    "(tracer.z, tracer.nz)": "--source-bin NAME",
    "read one with astropy.table.Table.read(file, hdu=...)": "choose one with --source-bin NAME",
}
_METHOD = re.compile(r"\b(AnnealedHMC|KaiserSquires|PosteriorDiffusion|PosteriorMean|Sparse|Wiener)\(([^()]*)\)")
_PRIOR = re.compile(r"\bGaussianPrior\(\)")
_BIN = re.compile(r"\btable\['[^']*', '([^']*)'\]")
_COLUMNS = re.compile(r"\bcolumns=(\{[^{}]*\})")
_VALUE = r"\[[^\]]*\](?: \* u\.\w+)?|'[^']*'|\"[^\"]*\"|\.\.\.|[-+]?\w[\w.+-]*(?: \* u\.\w+)?"
_GIVEN = re.compile(rf"(?<![\w-])([A-Za-z]\w*)=({_VALUE}|(?=\s|$|[,;.)]))")


def in_shell_syntax(message, arguments):
    """Replace arguments of Python in the text of an error or a warning by options of the running command."""
    names = {name: _option(name) for name in vars(arguments) if name != "command"}
    names = {old: names[new] for old, found in _ALIASES.items() for new in found if new in names} | names
    for phrase, other in _PHRASES.items():
        message = message.replace(phrase, other)
    message = _renamed_arguments(message, names)
    message = _BIN.sub(r"--source-bin \1", message)
    message = _COLUMNS.sub(lambda found: _pairs(found) if "columns" in names else found[0], message)
    message = _METHOD.sub(lambda found: _method(found) if "method" in names else found[0], message)
    message = _PRIOR.sub("--prior gaussian" if "prior" in names else "GaussianPrior()", message)
    return _GIVEN.sub(lambda found: _given(found, names), message)


def _option(name):
    return name.upper() if name in _POSITIONAL else f"--{name.replace('_', '-')}"


def _renamed_arguments(message, names):
    found = re.match(r"((?:bin|field) \w+: )?(\w+(?:, \w+)*)(?=: )", message)
    if found is None:
        return message
    arguments = ", ".join(names.get(name, name) for name in found[2].split(", "))
    return (found[1] or "") + arguments + message[found.end() :]


def _pairs(found):
    try:
        pairs = ast.literal_eval(found[1])
    except (ValueError, SyntaxError):
        return found[0]
    text = ",".join(f"{k}={'' if v is None else 'NAME' if v in (..., '...') else v}" for k, v in pairs.items())
    return f"--columns {shlex.quote(text)}"


def _method(found):
    """Convert ``Wiener(n_samples=16)`` to ``--method``; its arguments are converted later."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found[1]).lower()
    return " ".join([f"--method {name}", *re.split(r",\s*", found[2])]).strip()


def _given(found, names):
    name, value = found[1], found[2]
    if name not in names or name in _POSITIONAL:
        return found[0]
    if value in ("", "True"):
        return names[name]
    dot = "." if value.endswith(".") and value != "..." else ""  # the end of a sentence
    value = re.sub(r" \* u\.", " ", value.strip("'\"")).replace("[", "").replace("]", "")
    value = re.sub(r",\s+", ",", value.removesuffix(dot))
    return f"{names[name]} {'VALUE' if value == '...' else shlex.quote(value)}{dot}"
