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

    from ._typing import Background, File, MapParts, RegionsLike
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
            Where; by default a new figure.
        regions : regions, optional
            Drawn on top: a region, a list of them, a table of positions and radii, or a file.
        **kwargs
            Of `astro_massmap.plotting.plot_map`.

        Returns
        -------
        `~astropy.visualization.wcsaxes.WCSAxes`
        """
        from .plotting import plot_map

        return plot_map(self.data, self.wcs, ax=ax, regions=regions, mask=self.mask, **kwargs)

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
        ValueError
            If the map has no uncertainty.
        """
        from .figures import plot_summary

        if self.uncertainty is None:
            raise ValueError("uncertainty: the map has none")
        return plot_summary(self.data, self.uncertainty.array, self.wcs, self.mask, regions=regions, figure=figure)

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
        ValueError
            If the map has no samples.
        """
        from .figures import plot_samples

        options = {"n": n, "mean": self.data, "smoothing": smoothing, "regions": regions, "figure": figure}
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
        ValueError
            If the map has no samples.
        """
        from .figures import plot_cutouts

        if size is None:
            size = min(12 * u.arcmin, max(min(self.shape) / 3, 8) * self.pixel_scale)
        return plot_cutouts(self._need_samples(), self.wcs, center, size, n=n, regions=regions, figure=figure)

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
        ValueError
            If the map has no samples, or they do not reach the region.
        """
        from ._regions import as_regions
        from .figures import plot_detection

        values = self.region_means(region, background=background)
        if values.shape[1] != 1 or not np.isfinite(values).all():
            raise ValueError("region: needs one region that lies in the field")
        (found,) = as_regions(region)
        label = str(found.meta.get("text", "")) if label is None else label
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
            Replace an existing file, which is an OSError otherwise.
        title : str, optional
            Of the report.
        """
        from .report import write_report

        write_report(file, self, regions=regions, threshold=threshold, overwrite=overwrite, title=title)
