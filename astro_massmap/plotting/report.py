"""
Report of a reconstruction as one self-contained HTML file: figures, clusters, diagnostics, settings.

The figures are embedded and the file loads nothing. All text of the map is escaped, and paths in its records are
reduced to the names of the files. Needs matplotlib: ``pip install "astro_massmap[plot]"``.
"""

import base64
import io
import numbers
import re

import astropy.units as u
import jinja2
import numpy as np

from .._sky.regions import as_regions
from .._utils.files import atomic_path, without_folders
from .._utils.optional import require
from .._utils.version import __version__
from ..analysis.detection import detection_probability, region_statistics
from ..analysis.statements import LOW_PEAKS, fit_statements, fit_summary, gaussian_prior
from .curves import plot_spectrum
from .panels import bin_title, plot_summary

__all__ = ["write_report"]

_DPI = 100
_LONGEST = 24  # entries of lists that are written in full
_NOTHING = "n/a"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # not allowed in HTML
_ENDS = r"\s'\"<>,;:()\[\]{}="  # characters around a path in a text
_STEP = rf"[^{_ENDS}/]+"
_PATHS = re.compile(
    rf"(?<![^{_ENDS}])(?:(?P<address>(?!file:)\w+://\S*)"
    rf"|(?:~[\w.-]*|\.\.?)?/+(?:{_STEP}/+)+(?P<absolute>{_STEP})?|(?:~[\w.-]*|\.\.?)/+(?P<near>{_STEP})"
    rf"|(?:{_STEP}/+)+(?P<relative>{_STEP}\.[a-zA-Z]\w*))"
)


def write_report(file, kappa, *, regions=None, threshold=0.015, overwrite=False, title=None, object=None):
    """
    Write a report of a convergence map as one HTML file.

    Parameters
    ----------
    file, overwrite
        Path of the output, written atomically, and whether to replace an existing file, an OSError otherwise.
    kappa : `~astro_massmap.ConvergenceMap`
        The map. A map without samples has a shorter report.
    regions : regions, optional
        Clusters to measure: a region, a table of positions and radii, a file, or a list of these.
    threshold : float
        Mean convergence of a region above which a structure counts as detected.
    title : str, optional
        Title of the report; by default the name of the object, or else the centre of the map, and its tomographic bin.
    object : str, optional
        Name of the object; by default ``meta["OBJECT"]`` of the map, as from the header of the catalogue.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If ``regions`` are not regions, ``threshold`` is not a finite number, or the map is not a convergence.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.plotting.report import write_report
    >>> write_report("truth.html", datasets.demo_truth(), title="The truth behind the demonstration")
    """
    if not isinstance(threshold, numbers.Real) or not np.isfinite(threshold):
        raise ValueError(f"threshold: needs a finite number, got {threshold!r}")
    if getattr(kappa, "unit", None) not in (None, u.dimensionless_unscaled):
        raise u.UnitsError(f"kappa: needs a map of the convergence, got one in {kappa.unit}")
    regions = [] if regions is None else as_regions(regions)
    with atomic_path(file, overwrite=overwrite) as temporary:
        with require("matplotlib.style", "plot").context("default"):
            document = _document(kappa, regions, float(threshold), title, object)
        temporary.write_text(document, encoding="utf-8", errors="replace")


def _document(kappa, regions, threshold, title, name):
    name = _object(kappa.meta) if name is None else str(name)
    if title is None:
        where = f"Mass map of {name}" if name else f"Mass map around {_center(kappa)}"
        title = ", ".join(filter(None, [where, bin_title(kappa)]))
    sections = [_field(kappa, name), _maps(kappa, regions), _samples(kappa), _clusters(kappa, regions, threshold)]
    sections += [_spectrum(kappa), *_records(kappa)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("astro_massmap", "data"), autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=lambda text: _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text)), trim_blocks=True,
    )  # fmt: skip
    template = environment.get_template("report.html.jinja")
    return template.render(title=str(title), version=__version__, sections=[s for s in sections if s])


# ---- sections: a heading and parts, pairs of a kind and its content that the template formats


def _object(meta):
    """Return the name of the object, a card OBJECT of a header for example, or None."""
    found = next((value for key, value in meta.items() if str(key).lower() == "object"), None)
    return _text(found).strip() or None if isinstance(found, str) else None


def _field(kappa, name):
    ny, nx = kappa.shape
    size = (kappa.pixel_scale * (nx, ny)).to_value(u.arcmin)
    galaxies, seen = kappa.meta.get("n_galaxies"), ~kappa.mask
    area = (seen.sum() * kappa.pixel_scale**2).to_value(u.arcmin**2)
    facts = {
        "object": name,
        "sources": bin_title(kappa),
        "centre": _center(kappa),
        "size": f"{size[0]:.4g} x {size[1]:.4g} arcmin",
        "grid": f"{nx} x {ny} pixels of {kappa.pixel_scale:.4g}",
        "galaxies": f"{galaxies:,}" if isinstance(galaxies, int) else None,
        "measured": f"{seen.mean():.1%} of the pixels ({area:,.4g} square arcminutes); the rest is inferred",
        "samples": f"{len(kappa.samples)} of the posterior" if kappa.samples is not None else "none: a point estimate",
        "method": kappa.diagnostics.get("method"),
        "prior": kappa.diagnostics.get("prior"),
        "spectrum": kappa.diagnostics.get("spectrum"),
    }
    fit = kappa.diagnostics.get("fit")
    statements = fit_statements(fit)
    if fit_summary(fit):
        verdict = "; ".join(short for short, _ in statements) or "the data agree with the noise and the prior"
        facts["fit"] = f"{verdict}. {fit_summary(fit)}".replace("chi^2", "χ²").replace("+-", "±")
    notes = [_note(f"Warning: {statement}.") for _, statement in statements]
    return _section("The field", _facts({name: value for name, value in facts.items() if value}), *notes)


def _maps(kappa, regions):
    std = None if kappa.uncertainty is None else kappa.uncertainty.array
    figure = plot_summary(kappa.data, std, kappa.wcs, kappa.mask, regions=regions)
    low, high = float(kappa.data.min()), float(kappa.data.max())
    alt = f"Map of the convergence, from {low:.3g} to {high:.3g}"
    caption = "The convergence" if kappa.samples is None else "The mean of the posterior"
    if std is not None:
        alt += f"; its standard deviation, {np.nanmedian(std):.3g} in the median; and their ratio"
        caption += ", its standard deviation, and their ratio"
    caption += ". Pixels without data are under a grey overlay."
    return _section("The map", _figure(figure, alt + ".", caption))


def _samples(kappa):
    if kappa.samples is None:
        return None
    figure = kappa.plot_samples()
    shown = min(8, len(kappa.samples))
    alt = f"The mean of the posterior and {shown} of its samples, on one scale."
    caption = (
        f"{shown} of {len(kappa.samples)} equally likely maps, and their mean. Structures in all of them are "
        "well determined; structures that differ between them are not."
    )
    return _section("Samples", _figure(figure, alt, caption))


def _clusters(kappa, regions, threshold):
    if not regions:
        return None
    if kappa.samples is None or len(kappa.samples) < 2:
        return _section("Clusters", _note("The map has too few samples for detection probabilities."))
    found = detection_probability(kappa.data, kappa.samples, kappa.wcs, kappa.mask, regions, threshold)
    statistics = region_statistics(kappa.data, kappa.samples, kappa.wcs, kappa.mask, regions)
    level = statistics.meta["level"]
    parts = [_cluster_table(found, statistics, threshold), _note(
        f"Mean convergence of each region, with its standard deviation and {level:.0%} interval over "
        f"the {len(kappa.samples)} samples, and the fraction of the samples in which it exceeds {threshold:g}, with "
        f"its {found.meta['level']:.0%} interval. Sorted by this fraction, then by signal to noise; regions with "
        "(almost) no data, marked as prior only, are last."
    )]  # fmt: skip
    if gaussian_prior(kappa.meta, kappa.diagnostics):
        parts.append(_note(f"The map was made with {LOW_PEAKS}."))
    certain = np.where(found["measured"], statistics["signal_to_noise"], np.nan)
    if np.isfinite(certain).any():
        strongest = int(np.nanargmax(certain))
        name = str(found["region"][strongest])
        figure = kappa.plot_cutouts(found["center"][strongest], regions=regions)
        shown = min(12, len(kappa.samples))
        alt = f"Region {name} in {shown} samples."
        caption = f"The region with the highest signal to noise, {name}, in {shown} of the samples."
        parts.append(_figure(figure, alt, caption))
    return _section("Clusters", *parts)


def _cluster_table(found, statistics, threshold):
    level = statistics.meta["level"]
    head = ["region", "RA [deg]", "Dec [deg]", "κ", "std", f"{level:.0%} interval", "S/N", f"P(κ > {threshold:g})"]
    rows = []
    for one, other in sorted(zip(found, statistics, strict=True), key=_certainty):
        center = one["center"].icrs
        low, high = (_number(other[name], ".4f") for name in ("lower", "upper"))
        row = [str(one["region"]), _number(center.ra.deg, ".4f"), _number(center.dec.deg, ".4f")]
        row += [_number(one["kappa"], ".4f"), _number(other["std"], ".4f")]
        row += [_NOTHING if _NOTHING in (low, high) else f"{low} to {high}", _number(other["signal_to_noise"], ".1f")]
        probability, least, most = (_number(one[name], ".2f") for name in ("probability", "lower", "upper"))
        row.append(_NOTHING if probability == _NOTHING else f"{probability} ({least} to {most})")
        rows.append([*row, _number(one["data_fraction"], ".0%") + ("" if one["measured"] else ", prior only")])
    return _table([*head, "measured"], rows)


def _certainty(rows):
    """Return the key that sorts measured regions first, by probability and then by signal to noise."""
    one, other = rows
    return not one["measured"], -np.nan_to_num(one["probability"], nan=-1), -np.nan_to_num(other["signal_to_noise"])


def _spectrum(kappa):
    try:
        table = kappa.power_spectrum()
    except ValueError:  # a field of a few pixels
        return None
    if not (table["cl"] > 0).any():
        return None
    alt = f"Angular power spectrum of the map from multipole {table['low'][0]:.0f} to {table['high'][-1]:.0f}."
    caption = "Power in bands of multipoles, corrected for the mask and the edges of the field."
    if kappa.samples is not None:
        caption += " The posterior mean has less power than the true map; the samples have the power of the prior."
    return _section("Power spectrum", _figure(plot_spectrum(table), alt, caption))


def _records(kappa):
    """Return sections of the provenance (without it, settings and versions), the diagnostics and notes."""
    diagnostics, notes = dict(kappa.diagnostics), dict(kappa.meta)
    settings, versions = diagnostics.pop("settings", None), diagnostics.pop("versions", None)
    made = notes.pop("provenance", None)
    if isinstance(made, dict):  # has a copy of most
        diagnostics = {k: v for k, v in diagnostics.items() if not isinstance(v, dict) or made.get(k) != v}
    parts = {"How it was made": made} if made else {"Settings": settings, "Versions": versions}
    parts |= {"Diagnostics": diagnostics, "Notes": notes}
    return [_section(name, *_record(record), style="records") for name, record in parts.items() if record]


def _record(record):
    """Return parts of a dictionary: lists of equal length as columns of a table, inner dictionaries under headings."""
    if not isinstance(record, dict):
        return [_note(_text(record))]
    lists = {k: v for k, v in record.items() if isinstance(v, list | tuple) and 2 < len(v) <= _LONGEST}
    lengths = [len(v) for v in lists.values()]
    columns = {k: v for k, v in lists.items() if lengths.count(len(v)) > 1 and all(map(_is_plain, v))}
    inner = {k: v for k, v in record.items() if isinstance(v, dict) and v}
    parts = [_facts({k: v for k, v in record.items() if k not in columns and k not in inner})]
    for length in dict.fromkeys(len(v) for v in columns.values()):
        alike = {k: v for k, v in columns.items() if len(v) == length}
        rows = [[_text(value) for value in row] for row in zip(*alike.values(), strict=True)]
        parts.append(_table([_text(name) for name in alike], rows))
    for name, values in inner.items():
        parts += [("heading", _text(name)), *_record(values)]
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
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value):.5g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value[:_LONGEST]) + (", ..." if len(value) > _LONGEST else "")
    return _without_paths(str(value))


def _without_paths(text):
    """Reduce the paths in a text to the names of the files; addresses of the web are kept."""
    text = without_folders(text) if text.startswith(("/", "~/", "../", "./")) else text
    return _PATHS.sub(lambda path: path[path.lastgroup] if path.lastgroup else "", text)


# ---- parts


def _section(heading, *parts, style=""):
    return {"heading": heading, "parts": parts, "style": style}


def _note(text):
    return "note", text


def _facts(facts):
    return "facts", [(_text(name), _text(value)) for name, value in facts.items()]


def _table(head, rows):
    return "table", {"head": head, "rows": rows}


def _figure(figure, alt, caption):
    """Return a matplotlib figure as an embedded PNG, and close it."""
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=_DPI)
        width, height = (round(side * _DPI) for side in figure.get_size_inches())
    finally:
        require("matplotlib.pyplot", "plot").close(figure)
    png = base64.b64encode(buffer.getvalue()).decode()
    return "figure", {"png": png, "alt": alt, "caption": caption, "width": width, "height": height}
