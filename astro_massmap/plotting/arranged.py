"""Labels that are moved, whenever a figure is drawn, so that they do not overlap. Imports matplotlib."""

import numpy as np

from .._utils.optional import require
from .._utils.progress import warn

_DIRECTIONS = np.radians([90, 270, 0, 180, 45, 135, 315, 225, 67.5, 112.5, 247.5, 292.5, 22.5, 157.5, 202.5, 337.5])
_RINGS = np.arange(9)  # distances from a region, in heights of the label
_CROSSED = 0.3  # cost of a point of an outline below a label; one ring further costs 1


class ArrangedLabels(require("matplotlib.collections", "plot").LineCollection):  # type: ignore[misc]
    """
    Labels of regions, and lines to those that are not next to their region.

    Each label, in order, is drawn at the free position next to its region, or if there is none as near as possible:
    within the axes, without overlap with other labels, and preferably not on the outline of a region.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Axes of the labels, to which this artist is added.
    texts : list of `~matplotlib.text.Annotation`
        Labels, with ``textcoords="offset points"``.
    outlines : list of ndarray
        Points ``(n, 2)`` around each region in data coordinates; those of labels first.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap.plotting.arranged import ArrangedLabels
    >>> ax = Figure().add_subplot()
    >>> same = [ax.annotate(name, (0.5, 0.5), xytext=(0, 1), textcoords="offset points") for name in "AB"]
    >>> labels = ArrangedLabels(ax, same, [np.array([[0.4, 0.4], [0.6, 0.6]])] * 2)
    >>> ax.figure.draw_without_rendering()
    >>> bool(same[0].get_window_extent().overlaps(same[1].get_window_extent()))
    False
    """

    def __init__(self, ax, texts, outlines):
        pixels = require("matplotlib.transforms", "plot").IdentityTransform()
        super().__init__([], transform=pixels, linewidths=0.5, zorder=2.9, clip_on=False)
        self._texts, self._outlines, self._left_out, self._warned = texts, outlines, [], False
        ax.add_artist(self)

    def draw(self, renderer):
        """Arrange the labels and draw the lines."""
        self._arrange(renderer)
        super().draw(renderer)

    def _arrange(self, renderer):
        ax, scale = self.axes, 72 / self.axes.figure.dpi
        outlines = [ax.transData.transform(outline) for outline in self._outlines]
        frame, points = ax.bbox.padded(-1 / scale).extents, np.concatenate(outlines)
        for text in self._left_out:
            text.set_visible(True)
        boxes = [
            a.get_window_extent(renderer).extents for a in ax.artists if hasattr(a, "get_child")
        ]  # scale bar, beam
        self._left_out, placed, lines, full = [], np.array(boxes).reshape(-1, 4), {}, 0
        for text, outline in zip(self._texts, outlines, strict=False):
            if not text.get_visible():
                continue
            low, high = outline.min(axis=0), outline.max(axis=0)
            inside = bool((low < ax.bbox.max).all() and (high > ax.bbox.min).all())  # at least in part
            low, high = np.clip(low, frame[:2], frame[2:]), np.clip(high, frame[:2], frame[2:])
            extent = text.get_window_extent(renderer)
            box = _best_box((low, high), np.array([extent.width, extent.height]), 1.5 / scale, frame, placed, points)
            if box is None or not inside:
                text.set_visible(False)
                self._left_out.append(text)
                full += inside
                continue
            placed = np.vstack([placed, box + np.array([-0.5, -0.5, 0.5, 0.5]) / scale])
            center = (box[:2] + box[2:]) / 2
            text.set(ha="center", va="center")
            text.set_position((center - ax.transData.transform(text.xy)) * scale)
            start = np.clip(center, low, high)
            end = np.clip(start, box[:2], box[2:])
            if np.hypot(*(end - start)) > extent.height:
                lines[text] = start, end
        self.set_segments(list(lines.values()))
        self.set_color([text.get_color() for text in lines] or "black")
        if full and not self._warned:
            self._warned = True
            warn(f"labels: no free position for {full} of {len(self._texts)}; use numbers, or a larger figure", 2)


def _best_box(region, size, gap, frame, placed, points):
    """Return left, low, right and high of the best position of a label around a region, None if there is none."""
    centers, cost = _candidates(*region, size, gap)
    centers = np.clip(centers, frame[:2] + size / 2, np.maximum(frame[2:] - size / 2, frame[:2] + size / 2))
    boxes = np.hstack([centers - size / 2, centers + size / 2])
    around = np.hstack([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    near = points[_inside(points, around[None])[0]]
    cost = cost + _CROSSED * _inside(near, boxes).sum(axis=1)
    cost[(boxes[:, 2:] > frame[2:] + 1e-6).any(axis=1)] = np.inf  # wider or higher than the axes
    cost[_overlap(boxes, placed).any(axis=1)] = np.inf
    best = int(np.argmin(cost))
    return boxes[best] if np.isfinite(cost[best]) else None


def _candidates(low, high, size, gap):
    """Return centres of a label around a region, ``(n, 2)``, and their costs."""
    direction, ring = np.meshgrid(_DIRECTIONS, _RINGS)
    along = np.stack([np.cos(direction.ravel()), np.sin(direction.ravel())], axis=-1)
    reach = (high - low) / 2 + gap + ring.ravel()[:, None] * size[1]
    centers = (low + high) / 2 + along * reach + np.clip(1.5 * along, -1, 1) * size / 2
    preference = np.arange(len(_DIRECTIONS)) * 0.05
    return centers, ring.ravel() + np.tile(preference, len(_RINGS))


def _inside(points, boxes):
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return ((points > low) & (points < high)).all(axis=-1)


def _overlap(boxes, placed):
    low = np.maximum(boxes[:, None, :2], placed[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], placed[None, :, 2:])
    return (low < high).all(axis=-1)
