"""Figures and reports of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from .arguments import need_convergence

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.visualization.wcsaxes import WCSAxes
    from matplotlib.figure import Figure
    from regions import PixelRegion, SkyRegion

    from .._utils.typing import Background, File, KeepColumns, MapParts, RegionsLike
else:
    MapParts = object


class Pictures(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that draw. They need matplotlib."""

    def plot(
        self,
        ax: WCSAxes | None = None,
        *,
        quantity: str = "map",
        regions: RegionsLike | None = None,
        **kwargs: Any,
    ) -> WCSAxes:
        """
        Draw the map, its standard deviation or its signal to noise on sky coordinates.

        Other parameters and errors are those of `astro_massmap.plotting.plot_map`, without the map, mask and WCS.

        Parameters
        ----------
        quantity : str
            ``"map"``, ``"std"``, or ``"signal_to_noise"``, the map divided by its standard deviation; a ValueError if
            it is none of these, or the map has no standard deviation. Levels of ``contours`` are those of the signal
            to noise, and are not drawn on ``"std"``.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> truth = datasets.demo_truth()
        >>> ax = truth.plot(Figure().add_subplot(projection=truth.wcs), regions=datasets.demo_clusters())
        >>> [text.get_text() for text in ax.texts]
        ['A', 'B', 'C', 'D', 'E']
        """
        from ..plotting.contours import is_pair  # loads regions
        from ..plotting.panels import layers  # loads regions
        from ..plotting.sky import plot_map  # loads regions

        std = None if self.uncertainty is None else self.uncertainty.array
        options = {"mask": self.mask, "gap_size": self._gap_size, "std": std}
        if quantity == "map":
            options |= {"label": r"$\kappa$" if self._is_convergence else self._what} | kwargs
            return plot_map(self.data, self.wcs, ax=ax, regions=regions, **options)
        if quantity not in ("std", "signal_to_noise"):
            raise ValueError(f'quantity: needs "map", "std" or "signal_to_noise", got {quantity!r}')
        if std is None:
            raise ValueError(f"quantity: {quantity!r} needs a standard deviation, but the map has none")
        if quantity == "std" and kwargs.get("contours") is not None and not is_pair(kwargs["contours"]):
            raise ValueError('contours: levels need quantity="map" or quantity="signal_to_noise"')
        image, options["label"], scale = layers(self.data, std, "")[quantity]
        options["std"] = np.ones_like(std)  # of the signal to noise, for contours
        return plot_map(image, self.wcs, ax=ax, regions=regions, **(options | scale | kwargs))

    @property
    def _is_convergence(self) -> bool:
        return self.unit == u.dimensionless_unscaled

    @property
    def _gap_size(self) -> float:
        """Side of the pixels of galaxies in pixels of the map, which differ if it was reprojected."""
        try:
            binned = float(self.meta["provenance"]["input"]["pixel_size"])  # radians
        except (KeyError, TypeError, ValueError):
            return 1.0
        return binned / self.pixel_scale.to_value(u.rad)

    @property
    def _name(self) -> str:
        return "convergence" if self._is_convergence else "surface density"

    @property
    def _what(self) -> str:
        unit = self.unit.to_string("latex_inline")
        return r"convergence $\kappa$" if self._is_convergence else rf"surface density $\Sigma$ [{unit}]"

    def show(self, *, regions: RegionsLike | None = None, **kwargs: Any) -> Any:
        """
        Show the map in a notebook with Aladin Lite, on images of a sky survey; pixels without data are transparent.

        Parameters and errors are those of `astro_massmap.plotting.show`, without the map and WCS.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().show(regions=datasets.demo_clusters())  # doctest: +SKIP
        """
        from ..plotting import show  # loads regions

        data = np.where(self.mask, np.nan, self.data)
        return show(data, self.wcs, regions=regions, **({"name": self._name} | kwargs))

    def plot_summary(
        self, *, regions: RegionsLike | None = None, figure: Figure | None = None, **kwargs: Any
    ) -> Figure:
        """
        Draw the map, its standard deviation, and their ratio, side by side; ValueError without a standard deviation.

        Parameters and errors are those of `astro_massmap.plotting.plot_summary`, without the maps, mask and WCS.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=0, progress=False)
        >>> figure = kappa.plot_summary(regions=datasets.demo_clusters(), figure=Figure())
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['map', 'uncertainty', 'signal to noise']
        """
        from ..plotting import plot_summary  # loads regions

        if self.uncertainty is None:
            raise ValueError("uncertainty: needs a standard deviation, but the map has none; draw it with plot")
        options = {"regions": regions, "label": self._what, "figure": figure} | kwargs
        options = {"mask": self.mask, "gap_size": self._gap_size} | options
        return plot_summary(self.data, self.uncertainty.array, self.wcs, **options)

    def plot_samples(
        self,
        n: int = 8,
        *,
        smoothing: u.Quantity | None = None,
        regions: RegionsLike | None = None,
        figure: Figure | None = None,
        **kwargs: Any,
    ) -> Figure:
        """
        Draw samples and the mean of the map on one colour scale.

        Parameters and errors are those of `astro_massmap.plotting.plot_samples`, without the maps and WCS.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=4, progress=False)
        >>> figure = kappa.plot_samples(3, figure=Figure())
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['mean', 'sample 1', 'sample 2', 'sample 3']
        """
        from ..plotting import plot_samples  # loads regions

        options = {"n": n, "mean": self.data, "smoothing": smoothing, "regions": regions}
        options |= {"label": self._what, "figure": figure} | kwargs
        return plot_samples(self._need_samples(), self.wcs, **options)

    def plot_cutouts(
        self,
        center: SkyCoord,
        size: u.Quantity | None = None,
        n: int = 12,
        *,
        regions: RegionsLike | None = None,
        figure: Figure | None = None,
        **kwargs: Any,
    ) -> Figure:
        """
        Draw the samples around one position.

        Parameters and errors are those of `astro_massmap.plotting.plot_cutouts`, without the samples and WCS. By
        default ``size`` is a third of the field, at least 8 pixels and at most 12 arcmin.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=4, progress=False)
        >>> figure = kappa.plot_cutouts(kappa.wcs.pixel_to_world(40, 60), n=2, figure=Figure())
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['sample 1', 'sample 2']
        """
        from ..plotting import plot_cutouts  # loads regions

        if size is None:
            size = min(12 * u.arcmin, max(min(self.shape) / 3, 8) * self.pixel_scale)
        options = {"n": n, "regions": regions, "label": self._what, "figure": figure} | kwargs
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
        Draw a histogram of the mean convergence of one region in all samples, and the fraction above a threshold.

        Parameters ``threshold`` and ``background`` are those of `detection_probability`, ``label`` and ``figure`` those
        of `astro_massmap.plotting.plot_detection`; by default the label is that of the region. A region outside of the
        field is a ValueError.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from regions import CirclePixelRegion, PixCoord
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=4, progress=False)
        >>> figure = kappa.plot_detection(CirclePixelRegion(PixCoord(40, 60), 8), 0.015, figure=Figure())
        >>> figure.savefig("cluster.png")
        """
        from ..analysis.region_means import checked_maps, excess, listed  # loads regions
        from ..plotting import plot_detection  # loads regions

        need_convergence(self)
        mean, samples, mask = checked_maps(self.data, self.samples, self.mask)
        found = listed(region, "region")
        _, values = excess(mean, samples, self.wcs, mask, found, background)
        if len(found) != 1:
            raise ValueError(f"region: needs one region, got {len(found)}")
        if not np.isfinite(values).all():
            raise ValueError("region: needs one region with pixels in the field")
        label = str(found[0].meta.get("text", "")) if label is None else label
        return plot_detection(values[:, 0], threshold, label=label, figure=figure)

    def report(
        self,
        file: File,
        *,
        regions: RegionsLike | None = None,
        threshold: float = 0.015,
        keep_columns: KeepColumns = False,
        overwrite: bool = False,
        title: str | None = None,
        object: str | None = None,
    ) -> None:
        """
        Write a report of the map as one self-contained HTML file: figures, clusters, diagnostics and settings.

        Parameters and errors are those of `astro_massmap.plotting.report.write_report`, without the map.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().report("truth.html", title="The truth behind the demonstration")
        """
        from ..plotting.report import write_report  # loads regions

        options = {"regions": regions, "threshold": threshold, "keep_columns": keep_columns, "overwrite": overwrite}
        write_report(file, self, title=title, object=object, **options)
