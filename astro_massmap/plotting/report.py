"""
Report of one or several maps as one self-contained HTML file: figures, clusters, diagnostics, settings.

The figures are embedded and the file loads nothing. All text of the map is escaped, and paths in its records are
reduced to the names of the files. Needs matplotlib: ``pip install "astro_massmap[plot]"``.
"""

import numbers
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import astropy.units as u
import jinja2
import numpy as np

from .._sky.geometry import same_grid
from .._sky.regions import as_regions
from .._utils.files import atomic_path
from .._utils.optional import require
from .._utils.version import __version__
from ..analysis.detection import detection_probability, region_statistics
from ..analysis.peaks import find_peaks
from ..analysis.region_tables import keep_columns as with_columns
from ..analysis.statements import LOW_PEAKS, fit_statements, fit_summary, fit_verdict, gaussian_prior
from ..theory.source_redshifts import read_n_z
from .curves import plot_spectrum
from .panels import bin_title, plot_maps, plot_summary
from .report_parts import CONTROL, NOTHING, facts_of, figure_of, note, number, parts_of, section, table_of, text_of

__all__ = ["write_report"]

_PEAK = 3  # signal to noise of the peaks that are counted


def write_report(
    file, kappa, *, regions=None, threshold=0.015, keep_columns=False, overwrite=False, title=None, object=None
):
    """
    Write a report of one or several convergence maps as one HTML file.

    Parameters
    ----------
    file, overwrite
        Path of the output, written atomically, and whether to replace an existing file, an OSError otherwise.
    kappa : `~astro_massmap.ConvergenceMap`, or a dict or iterable of these
        Map, or several, such as the tomographic bins of `~astro_massmap.reconstruct_fields`, or maps by name. Several
        have a table first, and one chapter each; an iterable is read map by map. A map without samples has a shorter
        report.
    regions : regions, optional
        Clusters to measure: a region, a table of positions and radii, a file, or a list of these.
    threshold : float
        Mean convergence of a region above which a structure counts as detected.
    keep_columns : bool, str or list of str
        Columns of the table of regions to show, such as ``"redshift"``, or all.
    title : str, optional
        Title of the report; by default the name of the object, or else the centre of the map, and its tomographic bin.
    object : str, optional
        Name of the object; by default ``meta["OBJECT"]`` of the map, as from the header of the catalogue.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If ``regions`` are not regions, ``threshold`` is not a finite number, there is no map, or one is not a
        convergence.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.plotting.report import write_report
    >>> write_report("truth.html", datasets.demo_truth(), title="The truth behind the demonstration")
    """
    if not isinstance(threshold, numbers.Real) or not np.isfinite(threshold):
        raise ValueError(f"threshold: needs a finite number, got {threshold!r}")
    regions = [] if regions is None else as_regions(regions)
    with atomic_path(file, overwrite=overwrite) as temporary:
        with require("matplotlib.style", "plot").context("default"):
            options = regions, float(threshold), keep_columns
            maps = [_chapter(name, image, object, *options) for name, image in _named(kappa)]
            if not maps:
                raise ValueError("kappa: needs at least one map, got none")
            chapters = [("", maps[0].sections)]
            if len(maps) > 1:
                chapters = [("", [_overview(maps, regions)]), *((one.heading, one.sections) for one in maps)]
        document = _rendered(_title(maps) if title is None else str(title), chapters)
        temporary.write_text(document, encoding="utf-8", errors="replace")


def _rendered(title, chapters):
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("astro_massmap", "data"), autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=lambda text: CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text)), trim_blocks=True,
    )  # fmt: skip
    template = environment.get_template("report.html.jinja")
    return template.render(title=title, version=__version__, chapters=chapters)


def _title(maps):
    where = {f"of {c.object}" if c.object else f"around {_center(c.image)}" for c in maps}
    if len(maps) > 1:
        return f"Mass maps {where.pop()}" if len(where) == 1 else f"{len(maps)} mass maps"
    return ", ".join(filter(None, [f"Mass map {where.pop()}", bin_title(maps[0].image)]))


# ---- several maps


class _Chapter(NamedTuple):
    """One map: its sections, row of the table, and the map without uncertainty and samples."""

    heading: str
    name: str
    object: str | None
    sections: list[dict[str, Any]]
    row: dict[str, str | None]
    image: Any


def _named(maps):
    """Yield pairs of a name, or None, and a map."""
    if hasattr(maps, "wcs") or not isinstance(maps, Iterable):
        maps = [maps]
    for pair in maps.items() if isinstance(maps, Mapping) else maps:
        name, kappa = pair if isinstance(pair, tuple) and len(pair) == 2 else (None, pair)
        if not hasattr(kappa, "wcs"):
            raise TypeError(f"kappa: needs a ConvergenceMap, or several, got a {type(kappa).__name__}")
        if kappa.unit not in (None, u.dimensionless_unscaled):
            raise u.UnitsError(f"kappa: needs a map of the convergence, got one in {kappa.unit}")
        yield name, kappa


def _chapter(name, kappa, about, regions, threshold, keep):
    about, of_bin = _object(kappa.meta) if about is None else str(about), bin_title(kappa)
    sections = [
        _field(kappa, about),
        _maps(kappa, regions),
        _samples(kappa),
        _clusters(kappa, regions, threshold, keep),
    ]
    sections = [part for part in [*sections, _spectrum(kappa), *_records(kappa)] if part]
    image = type(kappa)(kappa.data, wcs=kappa.wcs, mask=kappa.mask, meta={"bin": kappa.meta.get("bin")}, n_z=kappa.n_z)
    is_key = of_bin is not None and str(name) == str(kappa.meta["bin"])  # in a dictionary by bin
    name = (of_bin or about or _center(kappa)) if name is None or is_key else text_of(name)
    heading = f"{name} ({of_bin})" if of_bin and name != of_bin else name
    return _Chapter(heading, name.partition(",")[0], about, sections, _row(kappa, about, name != of_bin), image)


def _row(kappa, about, named):
    """Return entries of the table of all maps; None if unknown."""
    galaxies, std = kappa.meta.get("n_galaxies"), None if kappa.uncertainty is None else kappa.uncertainty.array
    area = ((~kappa.mask).sum() * kappa.pixel_scale**2).to_value(u.arcmin**2)
    density = kappa.meta.get("galaxies_per_arcmin2", galaxies / area if isinstance(galaxies, int) and area else None)
    fit, peaks = kappa.diagnostics.get("fit"), None
    if std is not None:
        found = find_peaks(kappa.data, None, std, kappa.wcs, kappa.mask, 0.0)
        heights = found["signal_to_noise"][found["measured"]]
        peaks = f"{(heights > _PEAK).sum()}" + (f" (highest {heights.max():.1f})" if len(heights) else "")
    return {
        "object": about,
        "bin": text_of(kappa.meta["bin"]) if "bin" in kappa.meta and named else None,
        "mean redshift": None if kappa.n_z is None else f"{read_n_z(kappa.n_z, 'n_z').mean:.2f}",
        "galaxies": f"{galaxies:,}" if isinstance(galaxies, int) else None,
        "per arcmin²": None if density is None else f"{density:.1f}",
        "method": kappa.diagnostics.get("method"),
        "fit": "; ".join(short for short, _ in fit_statements(fit)) or ("good" if fit_summary(fit) else None),
        "χ²": f"{fit['chi2']:.3f}" if fit_summary(fit) else None,
        f"peaks of S/N > {_PEAK}": peaks,
    }


def _overview(maps, regions):
    shown = [name for name in maps[0].row if any(one.row[name] for one in maps)]
    if len({one.object for one in maps}) == 1:  # in the title
        shown = [name for name in shown if name != "object"]
    rows = [[one.name, *(one.row[name] or NOTHING for name in shown)] for one in maps]
    parts = [table_of(["map", *shown], rows, linked=True)]
    images, first = {one.heading: one.image for one in maps}, maps[0].image
    if all(same_grid(image.wcs, first.wcs, first.shape) and image.shape == first.shape for image in images.values()):
        alt = f"The convergence of {len(maps)} maps on one colour scale."
        parts.append(figure_of(plot_maps(images, regions=regions), alt, alt))
    return section("All maps", *parts)


# ---- sections: a heading and parts, pairs of a kind and its content that the template formats


def _object(meta):
    """Return the name of the object, a card OBJECT of a header for example, or None."""
    found = next((value for key, value in meta.items() if str(key).lower() == "object"), None)
    return text_of(found).strip() or None if isinstance(found, str) else None


def _field(kappa, name):
    ny, nx = kappa.shape
    size = (kappa.pixel_scale * (nx, ny)).to_value(u.arcmin)
    galaxies, seen = kappa.meta.get("n_galaxies"), ~kappa.mask
    area = (seen.sum() * kappa.pixel_scale**2).to_value(u.arcmin**2)
    area = f"{area:,.0f}" if area >= 100 else f"{area:.3g}"
    facts = {
        "object": name,
        "sources": bin_title(kappa),
        "centre": _center(kappa),
        "size": f"{size[0]:.4g} x {size[1]:.4g} arcmin",
        "grid": f"{nx} x {ny} pixels of {kappa.pixel_scale:.4g}",
        "galaxies": f"{galaxies:,}" if isinstance(galaxies, int) else None,
        "measured": f"{seen.mean():.1%} of the pixels ({area} square arcminutes); the rest is inferred",
        "samples": f"{len(kappa.samples)} of the posterior" if kappa.samples is not None else "none: a point estimate",
        "method": kappa.diagnostics.get("method"),
        "prior": kappa.diagnostics.get("prior"),
        "spectrum": kappa.diagnostics.get("spectrum"),
    }
    fit = kappa.diagnostics.get("fit")
    statements = fit_statements(fit)
    if fit_summary(fit):
        facts["fit"] = f"{fit_verdict(fit)}. {fit_summary(fit)}".replace("chi^2", "χ²").replace("+-", "±")
    notes = [note(f"Warning: {statement}.") for _, statement in statements]
    return section("The field", facts_of({name: value for name, value in facts.items() if value}), *notes)


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
    return section("The map", figure_of(figure, alt + ".", caption))


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
    return section("Samples", figure_of(figure, alt, caption))


def _clusters(kappa, regions, threshold, keep):
    if not regions:
        return None
    if kappa.samples is None or len(kappa.samples) < 2:
        return section("Clusters", note("The map has too few samples for detection probabilities."))
    maps = kappa.data, kappa.samples, kappa.wcs, kappa.mask
    found = detection_probability(*maps, regions, threshold)
    statistics = region_statistics(*maps, regions)
    kept = with_columns(found.copy(), regions, keep)
    kept = {name: kept[name] for name in kept.colnames if name not in found.colnames}
    level = statistics.meta["level"]
    parts = [_cluster_table(found, statistics, kept, threshold), note(
        f"Mean convergence of each region, with its standard deviation and {level:.0%} interval over "
        f"the {len(kappa.samples)} samples, and the fraction of the samples in which it exceeds {threshold:g}, with "
        f"its {found.meta['level']:.0%} interval. Sorted by this fraction, then by signal to noise; regions with "
        "(almost) no data, marked as prior only, are last."
    )]  # fmt: skip
    if gaussian_prior(kappa.meta, kappa.diagnostics):
        parts.append(note(f"The map was made with {LOW_PEAKS}."))
    certain = np.where(found["measured"], statistics["signal_to_noise"], np.nan)
    if np.isfinite(certain).any():
        strongest = int(np.nanargmax(certain))
        name = str(found["region"][strongest])
        figure = kappa.plot_cutouts(found["center"][strongest], regions=regions)
        shown = min(12, len(kappa.samples))
        alt = f"Region {name} in {shown} samples."
        caption = f"The region with the highest signal to noise, {name}, in {shown} of the samples."
        parts.append(figure_of(figure, alt, caption))
    return section("Clusters", *parts)


def _cluster_table(found, statistics, kept, threshold):
    level = statistics.meta["level"]
    more = {
        f"{name} [{x.unit}]" if getattr(x, "unit", None) else name: getattr(x, "value", x) for name, x in kept.items()
    }
    head = ["region", *map(text_of, more), "RA [deg]", "Dec [deg]"]
    head += ["κ", "std", f"{level:.0%} interval", "S/N", f"P(κ > {threshold:g})"]
    rows = []
    columns = zip(*more.values(), strict=True) if more else [()] * len(found)
    for one, other, values in sorted(zip(found, statistics, columns, strict=True), key=_certainty):
        center = one["center"].icrs
        low, high = (number(other[name], ".4f") for name in ("lower", "upper"))
        row = [str(one["region"]), *map(text_of, values), number(center.ra.deg, ".4f"), number(center.dec.deg, ".4f")]
        row += [number(one["kappa"], ".4f"), number(other["std"], ".4f")]
        row += [NOTHING if NOTHING in (low, high) else f"{low} to {high}", number(other["signal_to_noise"], ".1f")]
        probability, least, most = (number(one[name], ".2f") for name in ("probability", "lower", "upper"))
        row.append(NOTHING if probability == NOTHING else f"{probability} ({least} to {most})")
        rows.append([*row, number(one["data_fraction"], ".0%") + ("" if one["measured"] else ", prior only")])
    return table_of([*head, "measured"], rows)


def _certainty(rows):
    """Return the key that sorts measured regions first, by probability and then by signal to noise."""
    one, other, _ = rows
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
    return section("Power spectrum", figure_of(plot_spectrum(table), alt, caption))


def _records(kappa):
    """Return sections of the provenance (without it, settings and versions), the diagnostics and notes."""
    diagnostics, notes = dict(kappa.diagnostics), dict(kappa.meta)
    settings, versions = diagnostics.pop("settings", None), diagnostics.pop("versions", None)
    made = notes.pop("provenance", None)
    if isinstance(made, dict):  # has a copy of most
        diagnostics = {k: v for k, v in diagnostics.items() if not isinstance(v, dict) or made.get(k) != v}
    parts = {"How it was made": made} if made else {"Settings": settings, "Versions": versions}
    parts |= {"Diagnostics": diagnostics, "Notes": notes}
    return [section(name, *parts_of(record), style="records") for name, record in parts.items() if record]


def _center(kappa):
    ny, nx = kappa.shape
    center = kappa.wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
    return f"{center.to_string('decimal', precision=4)} ({center.frame.name.upper()})"
