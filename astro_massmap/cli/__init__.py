"""The command ``massmap``."""

import argparse
import difflib
import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from functools import partial

import astropy.units as u

from .._utils.version import __version__
from . import (
    measurements,
    posterior,
    prior,
    products,
    reconstruct,
    repeat,
    score,
    sky,
    survey,
    validate,
)
from .hints import in_shell_syntax
from .own_code import place_in_code
from .parity import commands_by_task


def main(argv=None):
    """Run ``massmap``; return 0, 1 after an error (printed without traceback), or 130 after an interruption."""
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings(), _termination_interrupts():
        warnings.simplefilter("default", UserWarning)  # of which AstropyUserWarning is one
        warnings.showwarning = partial(_show_warning, arguments)
        try:
            arguments.command(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of the output, such as head, has finished
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except Exception as error:
            text = _text(error, arguments)
            if text is None:
                raise
            print(f"massmap: error: {text}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            goes_on = getattr(arguments, "checkpoint", None) is not None
            print("massmap: interrupted" + "; run the same command again to continue" * goes_on, file=sys.stderr)
            return 130
    return 0


def _text(error, arguments):
    """Return the message of an error with its notes, and its place in code of the user; None for other exceptions."""
    notes, place = "".join(f" ({note})" for note in getattr(error, "__notes__", ())), place_in_code(error, arguments)
    if place is not None:
        return f"in {place}: {type(error).__name__}: {error}{notes}"
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no file {str(error.filename)!r}"
    if isinstance(error, IsADirectoryError) and error.filename is not None:
        return f"{str(error.filename)!r} is a folder; give one of the files in it"
    if isinstance(error, (ValueError, TypeError, OSError, ImportError, u.UnitsError)):
        return in_shell_syntax(str(error), arguments) + notes
    return f"{type(error).__name__}: {error}{notes}" if notes else None


@contextmanager
def _termination_interrupts():
    """Treat SIGTERM as an interruption, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _CommandParser(argparse.ArgumentParser):
    """Parser of one command, whose errors are one line, with similar options for an unknown one."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}; {self.prog} --help lists the options\n")

    def parse_known_args(self, args=None, namespace=None):
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:
            similar = difflib.get_close_matches(unknown[0].partition("=")[0], self._option_string_actions, n=1)
            advice = f"; similar: {similar[0]}" if similar else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{advice}")
        return arguments, unknown


def _parser():
    parser = argparse.ArgumentParser(
        prog="massmap",
        description="Weak-lensing mass maps from the shapes of galaxies.",
        epilog=commands_by_task(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"massmap {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_CommandParser)
    for module in (reconstruct, sky, repeat, measurements, posterior, products, survey, validate, score, prior):
        module.add_commands(commands)
    return parser


def _show_warning(arguments, message, category, filename, lineno, file=None, line=None):
    print(f"massmap: warning: {in_shell_syntax(str(message), arguments)}", file=sys.stderr)
