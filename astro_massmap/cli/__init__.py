"""The command ``massmap``: from a catalogue to a map, and from a map to measurements."""

import argparse
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from functools import partial

import astropy.units as u

from .._utils.version import __version__
from . import prior, questions, reconstruct, repeat, survey, validate
from .hints import in_shell_syntax
from .parity import commands_by_task


def main(argv=None):
    """
    Run ``massmap`` with the given arguments (those of the shell by default).

    Returns
    -------
    int
        0, or 1 after an error, which is printed in one line, or 130 after an interruption.
    """
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings(), _termination_interrupts():
        warnings.simplefilter("default", UserWarning)  # of which AstropyUserWarning is one
        warnings.showwarning = partial(_show_warning, arguments)
        try:
            arguments.command(arguments)
        except (ValueError, TypeError, OSError, ImportError, u.UnitsError) as error:
            print(f"massmap: error: {in_shell_syntax(str(error), arguments)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            goes_on = getattr(arguments, "checkpoint", None) is not None
            print("massmap: interrupted" + "; the same command goes on from here" * goes_on, file=sys.stderr)
            return 130
    return 0


@contextmanager
def _termination_interrupts():
    """A request to terminate is taken for an interruption, so that temporary files vanish."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser():
    parser = argparse.ArgumentParser(
        prog="massmap",
        description="Maps of dark matter from the shapes of galaxies.",
        epilog=commands_by_task(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"massmap {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (reconstruct, repeat, questions, survey, validate, prior):
        module.add_commands(commands)
    return parser


def _show_warning(arguments, message, category, filename, lineno, file=None, line=None):
    print(f"massmap: warning: {in_shell_syntax(str(message), arguments)}", file=sys.stderr)
