"""
The commands ``massmap repeat`` and ``massmap info``, which read the record of how a map was made.

The record is text from an untrusted file: only the commands and options listed below are used, their values are parsed
as those of the shell, and files are only read, if their checksum is the recorded one. Recorded outputs are ignored:
only ``-o`` is written.
"""

import argparse
import shlex
from pathlib import Path, PurePath

import numpy as np

from .._utils.progress import warn
from . import reconstruct
from .outputs import check_targets
from .own_code import is_own_code
from .records import CODE, FILES, file_sha256, is_name, shell_arguments
from .sources import MODEL_OPTIONS

MAKERS = {
    "demo": reconstruct.make_demo,
    "reconstruct": reconstruct.make_reconstruct,
    "denoise": reconstruct.make_denoise,
}
TAKEN: tuple[str, ...] = (*FILES, "axes", "columns", "responsivity", "response", "select", "hdu", "encoding")
TAKEN += ("pixel_scale", "check_axes", "method", "smoothing", "inpaint", "schedule", "n_samples", "seed", "device")
TAKEN += ("gaussian", "n_sigma", "n_noise")
TAKEN += ("object", "field", "reduced_shear", "z_lens", "z_source", "bins", "bin", "source_bin", *MODEL_OPTIONS)
LEFT = ("output", "overwrite", "quiet", "plot", "width", "report", "threshold", "regions", "checkpoint", "workers")
_LONGEST = 400  # characters of an error message


def add_commands(commands):
    repeat = commands.add_parser(
        "repeat",
        description="Make a map of massmap reconstruct, denoise or demo again from the record in its file, and compare "
        "both maps. The input files must be unchanged.",
    )
    repeat.add_argument("map", type=Path, metavar="MAP", help="FITS file of massmap reconstruct, denoise or demo")
    repeat.add_argument("-o", "--output", type=Path, required=True, metavar="NEW", help="FITS file for the new map")
    repeat.add_argument(
        "--input", type=Path, action="append", default=[], metavar="FILE",
        help="the catalogue or another input file, found by its checksum, or a folder of such files; may be repeated "
        "(default: the current folder and that of the map)",
    )  # fmt: skip
    repeat.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    repeat.add_argument("--quiet", action="store_true", help="no progress bar")
    repeat.set_defaults(command=_repeat)

    info = commands.add_parser("info", description="Print how a map was made.")
    info.add_argument("map", type=Path, metavar="MAP", help="FITS file of a map")
    info.set_defaults(command=_info)


def _repeat(arguments):
    old, made = _read(arguments.map)
    command = _command(made, arguments.map)
    check_targets(arguments.output, None, overwrite=arguments.overwrite)
    files = _find_inputs(command["inputs"], arguments.input, arguments.map.absolute().parent)
    for file in (arguments.map, *files.values()):
        if arguments.output.exists() and arguments.output.samefile(file):
            raise ValueError(f"--output: needs another file than the input {file.name!r}")
    again = _parsed(command, files, arguments)
    _warn_of_versions(made)
    kappa = _make(command["name"], again)
    reconstruct.save(kappa, arguments.output, None, None, overwrite=arguments.overwrite)
    print(_shown(f"{arguments.map}: {difference(old, kappa)}"))
    for line in _changes(made, kappa.meta["provenance"]):
        print(_shown(line))


def _read(file):
    from ..maps.convergence_map import ConvergenceMap

    kappa = ConvergenceMap.read(file, format="fits")
    made = kappa.meta.get("provenance")
    if not isinstance(made, dict) or "method" not in made:
        raise ValueError(f"MAP: {file.name!r} contains no record of how it was made")
    return kappa, made


def _part(made, name):
    """Return a dictionary of a record, empty if it is damaged."""
    return made[name] if isinstance(made.get(name), dict) else {}


# ---- what was recorded


def _command(made, file):
    """Return the command of a record, after checking its options and inputs."""
    command = made.get("command")
    if command is None:
        there = ", ".join(f"{key} {made[key]!r}" for key in ("method", "seed", "date") if made.get(key) is not None)
        raise ValueError(
            f"MAP: {file.name!r} was made in Python and records no command; it can be made again in Python with "
            f"{there} and the settings, versions and checksums of input and prior that massmap info prints"
        )
    parts = [command.get(key) if isinstance(command, dict) else None for key in ("options", "inputs")]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"MAP: the recorded command of {file.name!r} is damaged")
    if command.get("name") not in list(MAKERS):
        raise ValueError(f"MAP: needs a map of {', '.join(MAKERS)}, got the command {command.get('name')!r}")
    for key, value in command["options"].items():
        if key not in TAKEN and key not in LEFT:
            raise ValueError(f"MAP: the recorded option {key!r} does not exist in this version")
        if not (value is None or isinstance(value, str | bool | int | float)):
            raise ValueError(f"MAP: the recorded option {key!r} needs text or a number, got {value!r}")
        if key in CODE and is_own_code(value):
            raise ValueError(f"MAP: made with code of its author, {value!r}, which is not run from a record")
    return command


def _find_inputs(inputs, given, folder):
    """Return the input files by option, after checking them; ``folder`` is that of the map."""
    for option, file in inputs.items():
        if option not in FILES or not (isinstance(file, dict) and all(isinstance(v, str) for v in file.values())):
            raise ValueError(f"MAP: the record of the input {option!r} is damaged, or the input was not a regular file")
    moved, folders = {}, [file for file in given if file.is_dir()]
    for file in given:
        if file in folders:
            continue
        if not file.is_file():
            raise OSError(f"--input: the file {str(file)!r} does not exist")
        moved[file_sha256(file)] = file.absolute()
    wanted = {file.get("sha256"): option for option, file in inputs.items()}
    for found, file in moved.items():
        if found not in wanted:
            known = ", ".join(f"{o} {f.get('given')!r} ({_short(f.get('sha256'))})" for o, f in inputs.items())
            raise ValueError(
                f"--input: {file.name!r} ({_short(found)}) is not among the recorded inputs: {known or 'none'}"
            )
    folders += [Path.cwd(), folder]
    return {
        option: moved[file["sha256"]] if file.get("sha256") in moved else _checked(option, file, folders)
        for option, file in inputs.items()
    }


def _checked(option, file, folders):
    """Return the path of a recorded file that is unchanged, in one of the folders or at its recorded full path."""
    given = file.get("given") or ""
    paths = [Path(file["path"]).absolute()] if file.get("path") else []
    paths += [folder.absolute() / name for folder in folders for name in (given, PurePath(given).name) if name]
    found = {path: file_sha256(path) for path in paths if _is_file(path)}
    for path, found_sha256 in found.items():
        if found_sha256 == file.get("sha256"):
            return path
    if not found:
        raise OSError(
            f"{option}: {file.get('path') or given!r} is neither in the current folder nor in that of the map; give "
            "the file or its folder with --input"
        )
    path, found_sha256 = next(iter(found.items()))
    raise ValueError(
        f"{option}: {str(path)!r} has changed: its SHA-256 was {_short(file.get('sha256'))}, now it is "
        f"{_short(found_sha256)}; give the unchanged file with --input"
    )


def _is_file(path):
    try:
        return path.is_file()
    except (OSError, ValueError):  # not a valid file name
        return False


class _Parser(argparse.ArgumentParser):
    """Argument parser for a recorded command, which raises ValueError."""

    def error(self, message):
        raise ValueError(_shown(f"MAP: the recorded command is not valid: {message}"))


def _parsed(command, files, arguments):
    chosen = {key: value for key, value in command["options"].items() if key in TAKEN}
    for key in FILES:
        value = chosen.get(key)
        if key in files:
            chosen[key] = str(files[key])
        elif value is not None and not is_name(key, value):
            raise ValueError(f"MAP: the record has no checksum of the file {value!r} of {key!r}")
    parser = _Parser(prog="massmap", allow_abbrev=False)
    reconstruct.add_commands(parser.add_subparsers(required=True))
    words = shell_arguments(command["name"], chosen)
    print(_shown(shlex.join(["massmap", *words])))
    again = parser.parse_args([*words, f"--output={arguments.output}"])
    again.quiet = arguments.quiet
    return again


def _make(name, again):
    """Make the map; any failure of a recorded command becomes a ValueError."""
    try:
        return MAKERS[name](again)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError, ArithmeticError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(_shown(f"MAP: the recorded command failed: {reason[:_LONGEST]}")) from error


# ---- old and new


def _warn_of_versions(made):
    from ..methods.provenance import versions

    was, now = _part(made, "versions"), versions()
    other = [f"{name} {was.get(name)}, here {now[name]}" for name in now if was.get(name) != now[name]]
    if other:
        warn(_shown(f"MAP: made with {'; '.join(other)}: numbers may differ"))


def difference(old, new):
    """Describe the difference of two maps of the same data, with or without samples, for a sentence."""
    if old.shape != new.shape or old.unit != new.unit or not _same_grid(old, new):
        return "not compared, the grids or units differ"
    pairs = {"map": (old.data, new.data)}
    pairs["standard deviation"] = tuple(None if k.uncertainty is None else k.uncertainty.array for k in (old, new))
    pairs["B mode"] = tuple(None if k.b_mode is None else k.b_mode.data for k in (old, new))
    pairs |= _sample_pairs(old.samples, new.samples)
    pairs = {name: pair for name, pair in pairs.items() if pair[0] is not None}
    same = {name: b is not None and np.array_equal(a, b, equal_nan=True) for name, (a, b) in pairs.items()}
    if all(same.values()) and np.array_equal(old.mask, new.mask):
        return f"identical, bit by bit{'' if old.samples is None else f', with {len(old.samples)} samples'}"
    scale = np.where(old.uncertainty.array > 0, old.uncertainty.array, np.nan) if old.uncertainty is not None else 1.0
    far = max((_farthest(*pairs[name], scale) for name, is_same in same.items() if not is_same), default=0.0)
    unit = "" if old.uncertainty is None else " standard deviations"
    lost = [name for name, (_, b) in pairs.items() if b is None]
    missing = f"; without {', '.join(lost)}" if lost else ""
    return f"not identical, the largest difference is {far:.3g}{unit}{missing}"


def _sample_pairs(old, new):
    if old is None:
        return {}
    if new is None or len(new) != len(old):
        return {"samples": (old, None)}
    return {f"sample {i}": pair for i, pair in enumerate(zip(old, new, strict=True))}


def _farthest(a, b, scale):
    if b is None:
        return 0.0
    far = np.abs(np.asarray(a, float) - np.asarray(b, float)) / scale
    return float(np.nanmax(far)) if np.isfinite(far).any() else np.inf


def _same_grid(old, new):
    """Return whether three corners agree to a thousandth of a pixel."""
    ny, nx = old.shape
    corners = [k.wcs.pixel_to_world([0, nx - 1, 0], [0, 0, ny - 1]) for k in (old, new)]
    return bool((corners[0].separation(corners[1]) < 1e-3 * old.pixel_scale).all())


def _changes(was, now):
    """Yield the differences in data, prior and computer."""
    for name in ("input", "prior"):
        before, after = (_part(record, name).get("sha256") for record in (was, now))
        if before != after:
            yield f"the {name} differs: its SHA-256 was {_short(before)}, now it is {_short(after)}"
    for name in ("device", "platform"):
        if was.get(name) != now.get(name):
            yield f"the {name} was {was.get(name)}, now it is {now.get(name)}"


# ---- in words


def _info(arguments):
    from ..analysis.statements import fit_statements, fit_summary
    from ..maps.provenance import story

    kappa, made = _read(arguments.map)
    print(kappa)
    fit = kappa.diagnostics.get("fit")
    if fit_summary(fit):
        print(_shown(fit_summary(fit)))
    for _, statement in fit_statements(fit):
        print(_shown(f"warning: {statement}"))
    print(_shown(f"made by {made['method']} on {made.get('date')}, with the seed {made.get('seed')}"))
    if "platform" in made:
        print(_shown(f"on {made.get('device')}, {made.get('platform')}, threads: {made.get('threads')}"))
    print(_shown("with " + ", ".join(f"{name} {version}" for name, version in _part(made, "versions").items())))
    for name in ("input", "prior"):
        part = _part(made, name)
        if part:
            print(_shown(f"{name}: {part.get('name', part.get('kind'))}"))
            print(_shown(f"sha256 {part.get('sha256')}"))
    for line in story(made):
        print(_shown(line))


def _short(sha256):
    return _shown(str(sha256)[:12])


def _shown(text):
    """Escape control characters of text from a file, which a terminal could execute."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
