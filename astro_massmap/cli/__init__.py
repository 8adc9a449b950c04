"""The command ``massmap``: from a catalogue to a map, and from a map to answers, without leaving the shell."""

import argparse
import sys
import warnings

import astropy.units as u

from .. import __version__
from . import prior, questions, reconstruct, survey, validate


def main(argv=None):
    """
    Run ``massmap`` with the given arguments (those of the shell by default).

    Returns
    -------
    int
        0, or 1 after an error that was told in a line.
    """
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)  # of which AstropyUserWarning is one
        warnings.showwarning = _show_warning
        try:
            arguments.command(arguments)
        except (ValueError, TypeError, OSError, ImportError, u.UnitsError) as error:
            message = str(error).replace("give overwrite=True", "give --overwrite")
            print(f"massmap: error: {message}", file=sys.stderr)
            return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="massmap", description="Maps of dark matter from the shapes of galaxies.")
    parser.add_argument("--version", action="version", version=f"massmap {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (reconstruct, questions, survey, validate, prior):
        room.add_commands(commands)
    return parser


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"massmap: warning: {message}", file=sys.stderr)
