"""
A report of a reconstruction as one HTML file: figures, clusters, diagnostics, settings.

The file needs no other and loads nothing: the figures are inside. Whatever a map brings along is text, and is escaped.
Needs matplotlib: ``pip install "astro_massmap[plot]"``.
"""

import base64
import html
import io
import numbers
import re

import astropy.units as u
import numpy as np

from .._sky.regions import as_regions
from .._utils.files import atomic_path
from .._utils.optional import require
from .._utils.version import __version__
from ..analysis.detection import detection_probability
from ..analysis.statements import LOW_PEAKS, fit_statements, fit_summary, gaussian_prior

__all__ = ["write_report"]

_DPI = 100
_LONGEST = 24  # of the lists that are written out
_NOTHING = "n/a"
_STYLE = """
body { margin: 0; color: #222; background: #fff; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 0.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 0.6rem; padding-bottom: 0.2rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.4rem 0 0.4rem; }
dl { display: grid; grid-template-columns: fit-content(14rem) 1fr; gap: 0.15rem 1.2rem; margin: 0.5rem 0; }
dt { color: #666; } dd { margin: 0; } dt, dd { overflow-wrap: anywhere; }
figure { margin: 0.8rem 0; } figcaption, .note { color: #555; font-size: 0.9rem; }
.scroll { overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; }
@media screen and (max-width: 45rem) { img { max-width: none; zoom: 0.75; } }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } tbody th { font-weight: 600; } thead th { border-bottom: 2px solid #999; }
footer { margin-top: 2.5rem; color: #666; font-size: 0.9rem; }
"""


def write_report(file, kappa, *, regions=None, threshold=0.015, overwrite=False, title=None):
    """
    Write a report of a map of the convergence as one HTML file.

    Parameters
    ----------
    file : str or path-like
        Written whole or not at all.
    kappa : `~astro_massmap.ConvergenceMap`
        The map. Without samples the report has fewer parts.
    regions : regions, optional
        Clusters to ask about: a region, a list of them, a table of positions and radii, or a file.
    threshold : float
        Mean convergence of a region above which a structure counts as detected.
    overwrite : bool
        Replace an existing file.
    title : str, optional
        Of the report.

    Raises
    ------
    OSError
        If the file exists and must not be replaced, or cannot be written.
    TypeError, ValueError, `~astropy.units.UnitsError`
        If ``regions`` are none, ``threshold`` is no number, or the map is not of the convergence.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from astro_massmap import datasets
    >>> from astro_massmap.plotting.report import write_report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "truth.html"
    ...     write_report(file, datasets.demo_truth(), title="The truth behind the demonstration")
    ...     print(file.read_text(encoding="utf-8")[:15])
    <!DOCTYPE html>
    """
    if not isinstance(threshold, numbers.Real) or not np.isfinite(threshold):
        raise ValueError(f"threshold: needs a finite number, got {threshold!r}")
    if getattr(kappa, "unit", None) not in (None, u.dimensionless_unscaled):
        raise u.UnitsError(f"kappa: needs a map of the convergence, this one is in {kappa.unit}")
    regions = [] if regions is None else as_regions(regions)
    with atomic_path(file, overwrite=overwrite) as temporary:
        with require("matplotlib.style", "plot").context("default"):
            document = _document(kappa, regions, float(threshold), title)
        temporary.write_text(document, encoding="utf-8", errors="replace")


def _document(kappa, regions, threshold, title):
    title = f"Mass map around {_center(kappa)}" if title is None else str(title)
    sections = [_field(kappa), _maps(kappa, regions), _samples(kappa), _clusters(kappa, regions, threshold)]
    sections += [_spectrum(kappa), *_records(kappa)]
    head = _Markup(
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
    )
    footer = _element("footer", _element("p", f"Written by astro_massmap {__version__}."))
    body = _element("main", _element("header", _element("h1", title)), *(s for s in sections if s), footer)
    head = _element("head", head, _element("title", title), _element("style", _Markup(_STYLE)))
    return "<!DOCTYPE html>\n" + _element("html", head, _element("body", body), lang="en")


# ---- sections


def _field(kappa):
    ny, nx = kappa.shape
    size = (kappa.pixel_scale * (nx, ny)).to_value(u.arcmin)
    facts = {
        "centre": _center(kappa),
        "size": f"{size[0]:.4g} x {size[1]:.4g} arcmin",
        "grid": f"{nx} x {ny} pixels of {kappa.pixel_scale:.4g}",
        "measured": f"{(~kappa.mask).mean():.1%} of the pixels; the rest is inferred",
        "samples": f"{len(kappa.samples)} of the posterior" if kappa.samples is not None else "none: a point estimate",
        "method": kappa.diagnostics.get("method"),
        "prior": kappa.diagnostics.get("prior") or kappa.diagnostics.get("spectrum"),
    }
    fit = kappa.diagnostics.get("fit")
    facts["fit"] = fit_summary(fit)
    notes = [_note(f"Warning: {statement}.") for _, statement in fit_statements(fit)]
    return _section("The field", _facts({name: value for name, value in facts.items() if value}), *notes)


def _maps(kappa, regions):
    from .panels import plot_summary

    std = None if kappa.uncertainty is None else kappa.uncertainty.array
    figure = plot_summary(kappa.data, std, kappa.wcs, kappa.mask, regions=regions)
    low, high = float(kappa.data.min()), float(kappa.data.max())
    alt = f"Map of the convergence, from {low:.3g} to {high:.3g}"
    caption = "The convergence" if kappa.samples is None else "The mean of the posterior"
    if std is not None:
        alt += f"; its standard deviation, {np.nanmedian(std):.3g} in the median; and their ratio"
        caption += ", its standard deviation, and their ratio"
    caption += ". Under the grey veil nothing was measured."
    return _section("The map", _figure(figure, alt + ".", caption))


def _samples(kappa):
    if kappa.samples is None:
        return None
    figure = kappa.plot_samples()
    shown = min(8, len(kappa.samples))
    alt = f"The mean of the posterior and {shown} of its samples, on one scale."
    caption = (
        f"{shown} of {len(kappa.samples)} equally likely maps, and their mean. What all of them share is known; what "
        "differs from one to the next is not."
    )
    return _section("Samples", _figure(figure, alt, caption))


def _clusters(kappa, regions, threshold):
    if not regions:
        return None
    if kappa.samples is None or len(kappa.samples) < 2:
        return _section("Clusters", _note("The map has too few samples to say how likely its structures are."))
    found = detection_probability(kappa.data, kappa.samples, kappa.wcs, kappa.mask, regions, threshold)
    spread = kappa.region_statistics(regions)
    parts = [_cluster_table(found, spread, threshold), _note(
        f"Mean convergence of each region, with its standard deviation and {spread.meta['level']:.0%} interval over "
        f"the {len(kappa.samples)} samples, and the fraction of the samples in which it exceeds {threshold:g}, with "
        f"its {found.meta['level']:.0%} interval. Regions with (almost) no data are marked as prior only."
    )]  # fmt: skip
    if gaussian_prior(kappa.meta, kappa.diagnostics):
        parts.append(_note(f"The map was made with {LOW_PEAKS}."))
    certain = np.where(found["measured"], spread["signal_to_noise"], np.nan)
    if np.isfinite(certain).any():
        strongest = int(np.nanargmax(certain))
        name = str(found["region"][strongest])
        figure = kappa.plot_cutouts(found["center"][strongest], regions=regions)
        alt = f"Region {name} in {min(12, len(kappa.samples))} samples."
        caption = f"The region of the highest signal to noise, {name}, in some of the samples."
        parts.append(_figure(figure, alt, caption))
    return _section("Clusters", *parts)


def _cluster_table(found, spread, threshold):
    level = spread.meta["level"]
    head = ["region", "RA [deg]", "Dec [deg]", "κ", "std", f"{level:.0%} interval", "S/N", f"P(κ > {threshold:g})"]
    rows = []
    for one, other in zip(found, spread, strict=True):
        place = one["center"].icrs
        low, high = (_number(other[name], ".4f") for name in ("lower", "upper"))
        row = [str(one["region"]), _number(place.ra.deg, ".4f"), _number(place.dec.deg, ".4f")]
        row += [_number(one["kappa"], ".4f"), _number(other["std"], ".4f")]
        row += [_NOTHING if _NOTHING in (low, high) else f"{low} to {high}", _number(other["signal_to_noise"], ".1f")]
        probability, least, most = (_number(one[name], ".2f") for name in ("probability", "lower", "upper"))
        row.append(_NOTHING if probability == _NOTHING else f"{probability} ({least} to {most})")
        rows.append([*row, _number(one["data_fraction"], ".0%") + ("" if one["measured"] else ", prior only")])
    return _table([*head, "measured"], rows)


def _spectrum(kappa):
    from .curves import plot_spectrum

    try:
        table = kappa.power_spectrum()
    except ValueError:  # a field of a few pixels
        return None
    if not (table["cl"] > 0).any():
        return None
    alt = f"Angular power spectrum of the map from multipole {table['low'][0]:.0f} to {table['high'][-1]:.0f}."
    caption = "Power in bands of multipoles, freed from what the edges of the field do to it."
    if kappa.samples is not None:
        caption += " The mean of a posterior has less power than the sky; its samples have what the prior expects."
    return _section("Power spectrum", _figure(plot_spectrum(table), alt, caption))


def _records(kappa):
    """How the map was made (or the settings and versions, where it has no record of that), how that went, and notes."""
    diagnostics, notes = dict(kappa.diagnostics), dict(kappa.meta)
    settings, versions = diagnostics.pop("settings", None), diagnostics.pop("versions", None)
    made = notes.pop("provenance", None)
    parts = {"How it was made": made} if made else {"Settings": settings, "Versions": versions}
    parts |= {"Diagnostics": diagnostics, "Notes": notes}
    return [_section(name, *_record(record)) for name, record in parts.items() if record]


def _record(record):
    """A dictionary: its lists that are equally long side by side in a table, and dictionaries in it under headings."""
    if not isinstance(record, dict):
        return [_note(_text(record))]
    lists = {k: v for k, v in record.items() if isinstance(v, list | tuple) and 2 < len(v) <= _LONGEST}
    lengths = [len(v) for v in lists.values()]
    columns = {k: v for k, v in lists.items() if lengths.count(len(v)) > 1 and all(map(_is_plain, v))}
    inner = {k: v for k, v in record.items() if isinstance(v, dict) and v}
    parts = [_facts({k: v for k, v in record.items() if k not in columns and k not in inner})]
    for length in dict.fromkeys(len(v) for v in columns.values()):
        alike = {k: v for k, v in columns.items() if len(v) == length}
        rows = [map(_text, row) for row in zip(*alike.values(), strict=True)]
        parts.append(_table(alike, rows))
    for name, values in inner.items():
        parts += [_element("h3", _text(name)), *_record(values)]
    return parts


# ---- text


def _center(kappa):
    ny, nx = kappa.shape
    center = kappa.wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
    return f"{center.to_string('decimal', precision=4)} ({center.frame.name.upper()})"


def _number(value, how):
    return format(float(value), how) if np.isfinite(value) else _NOTHING


def _is_plain(value):
    return value is None or isinstance(value, str | numbers.Number | np.bool_)


def _text(value):
    """A value in words, short."""
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value):.5g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value[:_LONGEST]) + (", ..." if len(value) > _LONGEST else "")
    return str(value)


# ---- elements


class _Markup(str):
    """Text that is HTML. All other text is escaped when it becomes part of an element."""


def _escape(value):
    value = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", str(value))
    return html.escape(value, quote=True)


def _element(name, *children, **attributes):
    inside = "".join(child if isinstance(child, _Markup) else _escape(child) for child in children)
    written = "".join(f' {key.rstrip("_")}="{_escape(value)}"' for key, value in attributes.items())
    return _Markup(f"<{name}{written}>{inside}</{name}>\n")


def _section(heading, *children):
    return _element("section", _element("h2", heading), *children)


def _note(text):
    return _element("p", text, class_="note")


def _facts(facts):
    return _element("dl", *(part for k, v in facts.items() for part in (_element("dt", k), _element("dd", _text(v)))))


def _table(head, rows):
    head = _element("thead", _element("tr", *(_element("th", name, scope="col") for name in head)))
    body = [
        _element("tr", _element("th", first, scope="row"), *(_element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    return _element("div", _element("table", head, _element("tbody", *body)), class_="scroll")


def _figure(figure, alt, caption):
    """A figure of matplotlib, which is closed, as an element with the picture in it."""
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=_DPI)
        width, height = (round(side * _DPI) for side in figure.get_size_inches())
    finally:
        require("matplotlib.pyplot", "plot").close(figure)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    picture = _Markup(f'<img src="{source}" alt="{_escape(alt)}" width="{width}" height="{height}">')
    return _element("figure", _element("div", picture, class_="scroll"), _element("figcaption", caption))
