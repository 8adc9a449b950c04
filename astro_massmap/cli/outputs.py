"""Output of the commands: tables, pictures, and checks of the files that they will write."""

import sys
from contextlib import nullcontext

import astropy.units as u


def check_targets(output, picture, *, overwrite):
    """Raise an error if a map or a picture cannot be written."""
    from .._utils.files import check_target

    check_target(output, overwrite=overwrite)
    if output.suffix.lower() not in (".fits", ".fit", ".gz"):
        raise ValueError(f"--output: needs a name that ends in .fits, got {str(output)!r}")
    if picture is not None:
        check_picture(picture, overwrite=overwrite)


def check_picture(picture, *, overwrite, name="--plot"):
    from .._utils.files import check_target
    from .._utils.optional import require

    check_target(picture, overwrite=overwrite)
    known = require("matplotlib.figure", "plot").Figure().canvas.get_supported_filetypes()
    if picture.suffix.lower()[1:] not in known:
        raise ValueError(f"{name}: needs one of the extensions {', '.join(known)}, got {str(picture)!r}")


def add_width_argument(parser):
    parser.add_argument(
        "--width", choices=("column", "page"), help="width of the picture in print: that of a column or a page"
    )


def print_style(width):
    """Return the context of a figure with a ``width`` of `plotting.style`, or for the screen."""
    from ..plotting.style import style  # loads regions

    return nullcontext() if width is None else style(width)


def save_figure(figure, file, *, overwrite):
    """Write a figure, with TrueType fonts in PDF and EPS files, and print the name of the file."""
    from .._utils.files import atomic_path
    from .._utils.optional import require
    from ..plotting.style import print_width  # loads regions

    fonts = {"pdf.fonttype": 42, "ps.fonttype": 42}
    with atomic_path(file, overwrite=overwrite) as temporary, require("matplotlib", "plot").rc_context(fonts):
        figure.savefig(temporary, dpi=150 if print_width() is None else 300)
    require("matplotlib.pyplot", "plot").close(figure)
    print(f"wrote {file}")


def show_table(table, arguments=None):
    """
    Print a table, and write it if ``arguments.output`` is given.

    In a terminal the middle columns that do not fit its width are left out, and listed below.
    """
    from .._utils.files import atomic_path

    lines = table.pformat(max_lines=-1, max_width=None if sys.stdout.isatty() else -1)
    print("\n".join(lines))
    if "..." in (header := lines[0].split()):
        hidden = ", ".join(name for name in table.colnames if name not in header)
        print(f"columns not shown: {hidden}; -o FILE writes all columns")
    if arguments is not None and arguments.output is not None:
        kept, is_csv = table.copy(), arguments.output.suffix.lower() == ".csv"
        kept.remove_columns([name for name in kept.colnames if is_csv and kept[name].ndim > 1])
        kept.meta = {key: str(value) if isinstance(value, u.Quantity) else value for key, value in table.meta.items()}
        with atomic_path(arguments.output, overwrite=arguments.overwrite) as temporary:
            kept.write(temporary)
        print(f"wrote {arguments.output}")
