"""Training curves: loss and validation error, as a table and a figure."""

import csv
from pathlib import Path

from .._utils.files import atomic_path


def write_curves(history, stem):
    """
    Write the loss and the validation errors of a training as CSV and, with matplotlib, as PNG.

    Parameters
    ----------
    history : list of dict
        History of a `Trainer`: ``step``, ``loss`` and optionally ``ratio`` by noise level.
    stem : path-like
        File name without the extensions ``.csv`` and ``.png``; existing files are replaced.

    Raises
    ------
    OSError
        If the folder does not exist.

    Examples
    --------
    >>> from pathlib import Path
    >>> from astro_massmap.training import write_curves
    >>> history = [{"step": 500, "loss": 0.97, "ratio": {"0.030": 0.95, "0.300": 0.99}}]
    >>> write_curves(history, "prior")
    >>> print(Path("prior.csv").read_text().strip())
    step,loss,0.030,0.300
    500,0.97,0.95,0.99
    """
    rows = [{"step": h["step"], "loss": h["loss"]} | h.get("ratio", {}) for h in history]
    if not rows:
        return
    stem = Path(stem)
    with (
        atomic_path(stem.with_name(stem.name + ".csv"), overwrite=True) as temporary,
        open(temporary, "w", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["loss"] for row in rows], color="0.7", label="training, one step")
    levels = [key for key in rows[-1] if key not in ("step", "loss")]
    for i, level in enumerate(levels):
        colour = (0.2 + 0.7 * i / max(len(levels) - 1, 1), 0.2, 0.8 - 0.7 * i / max(len(levels) - 1, 1))
        axes.plot(steps, [row[level] for row in rows], color=colour, marker=".", label=f"noise {level}")
    axes.set(xlabel="step", ylabel="mean squared error / that of the Wiener filter", ylim=(0.85, 1.05))
    axes.axhline(1, color="k", lw=0.8)
    axes.legend(ncols=2, fontsize="small")
    with atomic_path(stem.with_name(stem.name + ".png"), overwrite=True) as temporary:
        figure.savefig(temporary, dpi=120)
