"""What a map looks like, on screen and on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.visualization.wcsaxes import WCSAxes
    from matplotlib.figure import Figure
    from regions import PixelRegion, SkyRegion

    from .._utils.typing import Background, File, MapParts, RegionsLike
else:
    MapParts = object


class Pictures(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that draw. They need matplotlib."""

    def plot(self, ax: WCSAxes | None = None, *, regions: RegionsLike | None = None, **kwargs: Any) -> WCSAxes:
        """
        Draw the map on sky coordinates.

        Parameters
        ----------
        ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
            Axes of any celestial WCS, on which the map is drawn at its position on the sky; by default those of a
            new figure. Axes of another WCS that show something keep their limits.
        regions : regions, optional
            Drawn on top: a region, a list of them, a table of positions and radii, or a file.
        **kwargs
            Of `astro_massmap.plotting.plot_map`.

        Returns
        -------
        `~astropy.visualization.wcsaxes.WCSAxes`

        Raises
        ------
        TypeError, ValueError, OSError
            If ``ax`` has no sky coordinates, or ``regions`` are none or cannot be read.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> truth = datasets.demo_truth()
        >>> figure = Figure(figsize=(7, 6))
        >>> ax = truth.plot(figure.add_subplot(projection=truth.wcs), regions=datasets.demo_clusters())
        >>> [text.get_text() for text in ax.texts]
        ['A', 'B', 'C', 'D', 'E']
        >>> figure.savefig("truth.png")
        """
        from ..plotting.sky import plot_map

        options = {"label": r"$\kappa$" if self._is_convergence else self._what} | kwargs
        return plot_map(self.data, self.wcs, ax=ax, regions=regions, mask=self.mask, **options)

    @property
    def _is_convergence(self) -> bool:
        return self.unit == u.dimensionless_unscaled

    @property
    def _what(self) -> str:
        """What the values are, for a colour bar."""
        unit = self.unit.to_string("latex_inline")
        return r"convergence $\kappa$" if self._is_convergence else rf"surface density $\Sigma$ [{unit}]"

    def plot_summary(self, *, regions: RegionsLike | None = None, figure: Figure | None = None) -> Figure:
        """
        The map, its standard deviation, and their ratio, side by side.

        Parameters
        ----------
        regions : regions, optional
            Drawn on top, as for ``plot``.
        figure : `~matplotlib.figure.Figure`, optional
            Where; by default a new one.

        Returns
        -------
        `~matplotlib.figure.Figure`

        Raises
        ------
        TypeError, ValueError, OSError
            If the map has no uncertainty, or ``regions`` are none or cannot be read.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import astropy.units as u
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=0, progress=False)
        >>> figure = kappa.plot_summary(regions=datasets.demo_clusters(), figure=Figure())
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['map', 'uncertainty', 'signal to noise']
        """
        from ..plotting import plot_summary

        if self.uncertainty is None:
            raise ValueError("uncertainty: the map has none")
        options = {"regions": regions, "label": self._what, "figure": figure}
        return plot_summary(self.data, self.uncertainty.array, self.wcs, self.mask, **options)

    def plot_samples(
        self,
        n: int = 8,
        *,
        smoothing: u.Quantity | None = None,
        regions: RegionsLike | None = None,
        figure: Figure | None = None,
    ) -> Figure:
        """
        Some of the samples, and their mean, on one scale.

        Parameters
        ----------
        n : int
            How many.
        smoothing : `~astropy.units.Quantity`, optional
            Standard deviation of a Gaussian that they are smoothed with.
        regions, figure
            As for `plot_summary`.

        Returns
        -------
        `~matplotlib.figure.Figure`

        Raises
        ------
        TypeError, ValueError, OSError
            If the map has no samples, an argument is not as described, or ``regions`` cannot be read.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import astropy.units as u
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=4, progress=False)
        >>> figure = kappa.plot_samples(3, smoothing=2 * u.arcmin, figure=Figure())
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['mean', 'sample 1', 'sample 2', 'sample 3']
        """
        from ..plotting import plot_samples

        options = {"n": n, "mean": self.data, "smoothing": smoothing, "regions": regions}
        options |= {"label": self._what, "figure": figure}
        return plot_samples(self._need_samples(), self.wcs, **options)

    def plot_cutouts(
        self,
        center: SkyCoord,
        size: u.Quantity | None = None,
        n: int = 12,
        *,
        regions: RegionsLike | None = None,
        figure: Figure | None = None,
    ) -> Figure:
        """
        One place in some of the samples: what is there in some of them may be absent in others.

        Parameters
        ----------
        center : `~astropy.coordinates.SkyCoord`
            The place.
        size : `~astropy.units.Quantity`, optional
            Side of the cut-outs; by default a third of the field, at least 8 pixels and at most 12 arcmin.
        n : int
            How many samples.
        regions, figure
            As for `plot_summary`.

        Returns
        -------
        `~matplotlib.figure.Figure`

        Raises
        ------
        TypeError, ValueError, OSError
            If the map has no samples, an argument is not as described, the place is not in the field, or ``regions``
            cannot be read.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.coordinates import SkyCoord
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=4, progress=False)
        >>> cluster = SkyCoord(34.4163, -5.17, unit="deg")
        >>> figure = kappa.plot_cutouts(cluster, 12 * u.arcmin, n=2, figure=Figure())
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['sample 1', 'sample 2']
        """
        from ..plotting import plot_cutouts

        if size is None:
            size = min(12 * u.arcmin, max(min(self.shape) / 3, 8) * self.pixel_scale)
        options = {"n": n, "regions": regions, "label": self._what, "figure": figure}
        return plot_cutouts(self._need_samples(), self.wcs, center, size, **options)

    def plot_detection(
        self,
        region: SkyRegion | PixelRegion,
        threshold: float,
        *,
        background: Background | None = None,
        label: str | None = None,
        figure: Figure | None = None,
    ) -> Figure:
        """
        The mean convergence of a region in all samples, as a histogram, and the share above a threshold.

        Parameters
        ----------
        region : region
            Of the sky or of pixels.
        threshold : float
            As for ``detection_probability``.
        background : regions or `~astropy.units.Quantity`, optional
            Whose mean is subtracted, as for ``region_statistics``.
        label : str, optional
            Of the figure; by default that of the region.
        figure : `~matplotlib.figure.Figure`, optional
            Where; by default a new one.

        Returns
        -------
        `~matplotlib.figure.Figure`

        Raises
        ------
        TypeError, ValueError, OSError, `~astropy.units.UnitsError`
            As for ``region_means``; if it is not one region, or lies outside of the field.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.coordinates import SkyCoord
        >>> from matplotlib.figure import Figure
        >>> from regions import CircleSkyRegion
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=4, progress=False)
        >>> circle = CircleSkyRegion(SkyCoord(34.4163, -5.17, unit="deg"), 3 * u.arcmin)
        >>> figure = kappa.plot_detection(circle, 0.015, label="cluster C", figure=Figure())
        >>> figure.savefig("cluster.png")
        """
        from ..analysis.region_means import listed
        from ..plotting import plot_detection

        found = listed(region, "region")
        values = self.region_means(found, background=background)
        if values.shape[1] != 1 or not np.isfinite(values).all():
            raise ValueError("region: needs one region that lies in the field")
        label = str(found[0].meta.get("text", "")) if label is None else label
        return plot_detection(values[:, 0], threshold, label=label, figure=figure)

    def report(
        self,
        file: File,
        *,
        regions: RegionsLike | None = None,
        threshold: float = 0.015,
        overwrite: bool = False,
        title: str | None = None,
    ) -> None:
        """
        Write a report of the map as one HTML file that needs no other: figures, clusters, diagnostics, settings.

        Parameters
        ----------
        file : str or path-like
            Written whole or not at all.
        regions : regions, optional
            Clusters to ask about, as for ``region_statistics``.
        threshold : float
            Of ``detection_probability``.
        overwrite : bool
            Replace an existing file.
        title : str, optional
            Of the report.

        Raises
        ------
        OSError
            If the file exists and ``overwrite`` is False, it cannot be written, or that of the regions cannot be
            read.
        TypeError, ValueError, `~astropy.units.UnitsError`
            If an argument is not as described, or of a map in units of a surface density.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from pathlib import Path
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().report("truth.html", title="The truth behind the demonstration")
        >>> "<h1>The truth behind the demonstration</h1>" in Path("truth.html").read_text(encoding="utf-8")
        True
        """
        from ..plotting.report import write_report

        write_report(file, self, regions=regions, threshold=threshold, overwrite=overwrite, title=title)
