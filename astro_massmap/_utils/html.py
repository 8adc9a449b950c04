"""Summaries of objects in notebooks: rows of text and a thumbnail, as HTML without scripts."""

import base64
import html
import io

import numpy as np

_PIXELS = 128  # on the longer side of a thumbnail
_CARD = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:12px"
_TABLE = "border-collapse:collapse;font-size:90%"
_CELL = "text-align:left;vertical-align:top;padding:1px 8px"


def card(title, rows, picture=""):
    """
    Return HTML of a title, rows of text by name, and a picture.

    Parameters
    ----------
    title : str
        Name of the class.
    rows : dict
        Texts by name; all are escaped, and those that are None or empty are left out.
    picture : str
        Result of `image` or `curve`.
    """
    cells = "".join(
        f'<tr><th style="{_CELL}">{html.escape(str(name))}</th><td style="{_CELL}">{html.escape(str(text))}</td></tr>'
        for name, text in rows.items()
        if text is not None and str(text)
    )
    return (
        f'<div style="{_CARD}">{picture}<div><strong>{html.escape(title)}</strong>'
        f'<table style="{_TABLE}">{cells}</table></div></div>'
    )


def image(values, mask=None, *, signed=True):
    """Return an ``<img>`` of an image ``(ny, nx)``, first row below, grey where masked; empty without matplotlib."""

    def draw(file):
        from matplotlib import colormaps
        from matplotlib.image import imsave

        step = -(-max(np.shape(values)) // _PIXELS)
        part = np.s_[::step, ::step]
        small = np.ma.masked_invalid(np.asarray(values, dtype=float)[part])
        if mask is not None:
            small[np.asarray(mask)[part]] = np.ma.masked
        shown = small.compressed()
        high = np.percentile(abs(shown), 99.5) if shown.size else 1.0
        colors = colormaps["RdBu_r" if signed else "viridis"].resampled(32).with_extremes(bad="0.75")
        low = -high if signed else np.min(shown, initial=high)
        imsave(file, small, vmin=low, vmax=high, cmap=colors, origin="lower", format="png")

    return _img(draw)


def curve(x, y):
    """Return an ``<img>`` of a curve with logarithmic axes; empty without matplotlib."""

    def draw(file):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(2.2, 1.6))
        axes = figure.add_axes((0.2, 0.2, 0.77, 0.77))
        axes.plot(np.log10(x), np.log10(y))
        axes.tick_params(labelsize=6)
        axes.set_xlabel("log ell", fontsize=7, labelpad=1)
        axes.set_ylabel("log ell (ell + 1) C / 2 pi", fontsize=7, labelpad=1)
        figure.savefig(file, format="png", dpi=90)

    return _img(draw)


def _img(draw):
    file = io.BytesIO()
    try:
        draw(file)
    except Exception:  # no matplotlib, or nothing to draw: the text is enough
        return ""
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="" style="min-width:128px;image-rendering:pixelated" src="data:image/png;base64,{data}">'
