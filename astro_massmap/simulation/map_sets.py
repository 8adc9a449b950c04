"""Sets of convergence maps on disk, read one at a time and split by simulated box."""

import operator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .._utils.progress import warn
from .map_files import Layout
from .map_layouts import KINDS
from .resampling import in_arcmin, resample, resampled_shape, to_radians


@dataclass(frozen=True, repr=False, eq=False)
class MapSet:
    """
    Convergence maps in files; use `MapSet.open` to make a set.

    A set is a list of file positions: maps are read when they are indexed, and no file stays open.

    Attributes
    ----------
    kind : str
        Layout of the files.
    entries, weights : tuple
        Location of each map, and weights of the source planes of an entry.
    layout : named tuple
        Shape and pixel scale of the maps in the files.
    scales : tuple of float
        Pixel sizes in radians to which maps are resampled, one after another.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation import MapSet
    >>> np.save("box0.npy", np.zeros((3, 32, 32))), np.save("box1.npy", np.ones((3, 32, 32)))
    (None, None)
    >>> maps = MapSet.open(".", pixel_scale=1e-4)
    >>> maps, maps[0].shape, maps.resampled(2e-4).shape
    (<MapSet: 6 maps of 32 x 32 pixels of 0.3438 arcmin from 2 boxes, folder>, (32, 32), (16, 16))
    >>> training, validation = maps.split(0.5)
    >>> set(training.boxes) & set(validation.boxes), maps.by_turns().boxes[:2]
    (set(), ['box0.npy', 'box1.npy'])
    """

    kind: str
    entries: tuple
    weights: tuple
    layout: Layout
    scales: tuple = ()

    @classmethod
    def open(cls, folder, *, kind=None, pixel_scale=None, redshift=None, n_z=None, dataset=None):
        """
        List the maps of a folder; headers may be read, pixels are not.

        Parameters
        ----------
        folder : str or path-like
            Folder of the maps; for published sets including its subfolders.
        kind : str, optional
            ``"massivenus"`` or ``"kappatng"``, laid out as published, or ``"folder"``, any FITS, NumPy or HDF5 files of
            maps ``(ny, nx)`` or ``(n, ny, nx)``, each file a box. By default found from the names of the files.
        pixel_scale : `~astropy.units.Quantity` or float, optional
            Side of a pixel, in radians if a number. Required for files that do not contain it; compared with those that
            do.
        redshift, n_z : optional
            Redshift of the source plane, to 0.05, for published sets with more than one; or, for kappaTNG, distribution
            of the sources, as for `~astro_massmap.PowerSpectrum.from_cosmology`, for which the planes are combined.
        dataset : str, optional
            Name of the maps in HDF5 files of a folder, ``"kappa"`` by default.

        Raises
        ------
        OSError
            If the folder does not exist or has no maps, or a file is damaged.
        TypeError, ValueError, `~astropy.units.UnitsError`
            If an argument is not as described, or contradicts a file or another argument.
        """
        root = Path(folder)
        if not root.is_dir():
            raise OSError(f"folder: {str(root)!r} does not exist or is not a folder")
        kind = _recognised(root) if kind is None else kind
        if kind not in KINDS:
            raise ValueError(f"kind: needs to be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
        if not isinstance(dataset, str | None):
            raise TypeError(f"dataset: needs a name, got {dataset!r}")
        options = {"redshift": redshift, "n_z": n_z, "dataset": dataset}
        options = {name: value for name, value in options.items() if value is not None}
        for name in options.keys() - set(KINDS[kind].read.__kwdefaults__):
            raise ValueError(f"{name}: not used by maps of the kind {kind!r}")
        if pixel_scale is not None:
            options["pixel_scale"] = to_radians(pixel_scale, "pixel_scale")
        entries, weights, layout = KINDS[kind].read(root, **options)
        if not entries:
            raise OSError(f"folder: {str(root)!r} has no files {KINDS[kind].files}, needed for the kind {kind!r}")
        return cls(kind, tuple(entries), weights, layout)

    # ---- maps

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, index):
        """Read a map ``(ny, nx)`` of float32 by its number; see `select` and `stack` for several."""
        entry = self.entries[operator.index(index)]
        kappa = np.zeros(self.layout.shape, dtype=np.float32)
        for file, weight in zip(entry.files, self.weights, strict=True):
            kappa += np.float32(weight) * file.read(entry.index, self.layout.shape, self.layout.pixel_size)
        for ratio in self._ratios:
            kappa = resample(kappa, ratio)
        return np.ascontiguousarray(kappa)

    def stack(self, indices=None):
        """Read maps ``(n, ny, nx)`` of float32, all or those of `select`; OSError or ValueError for damaged files."""
        chosen = self if indices is None else self.select(indices)
        maps = np.empty((len(chosen), *self.shape), dtype=np.float32)
        for number, kappa in enumerate(maps):
            kappa[...] = chosen[number]
        return maps

    @property
    def shape(self):
        """Rows and columns of a map."""
        shape = self.layout.shape
        for ratio in self._ratios:
            shape = resampled_shape(shape, ratio)
        return shape

    @property
    def pixel_size(self):
        """Side of a pixel in radians."""
        return (self.layout.pixel_size, *self.scales)[-1]

    @property
    def boxes(self):
        """Name of the simulated box of each map."""
        return [entry.box for entry in self.entries]

    @property
    def _ratios(self):
        return [new / old for old, new in zip((self.layout.pixel_size, *self.scales), self.scales, strict=False)]

    def __repr__(self):
        (ny, nx), boxes = self.shape, len(set(self.boxes))
        return (
            f"<MapSet: {len(self)} maps of {ny} x {nx} pixels of {in_arcmin(self.pixel_size)} from {boxes} "
            f"{'box' if boxes == 1 else 'boxes'}, {self.kind}>"
        )

    # ---- other sets

    def select(self, indices):
        """
        Return the set of some of the maps, given by a slice, their numbers, or a bool for each map.

        IndexError for a number out of range or another number of bools, TypeError for other ``indices``.
        """
        if isinstance(indices, slice):
            return replace(self, entries=self.entries[indices])
        indices = np.asarray(indices)
        if indices.dtype == bool and indices.shape != (len(self),):
            raise IndexError(f"indices: need one bool for each of {len(self)} maps, got the shape {indices.shape}")
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise TypeError(f"indices: needs a slice or a sequence of integers, got {indices!r}")
        return replace(self, entries=tuple(self.entries[int(i)] for i in indices))

    def split(self, validation=0.2, *, seed=0, by="box"):
        """
        Return two sets without a common box, for training and validation.

        Parameters
        ----------
        validation : float
            Fraction of the boxes for validation; at least one box and at most all but one.
        seed : int
            Seed of the choice.
        by : str
            ``"box"``; or ``"realisation"``, for maps of a single box: the highest realisation numbers are for
            validation, with a warning, as these maps show the structures of the training maps from other directions.

        Raises
        ------
        ValueError
            If an argument is out of range, or there are less than two boxes (or realisations).
        """
        if not 0 < validation < 1:
            raise ValueError(f"validation: needs a fraction between 0 and 1, got {validation!r}")
        if by not in ("box", "realisation"):
            raise ValueError(f"by: needs to be 'box' or 'realisation', got {by!r}")
        parts = [getattr(entry, by) for entry in self.entries]
        names = sorted(set(parts))
        if len(names) < 2:
            hint = "; by='realisation' splits the views of the box, which are not independent" if by == "box" else ""
            raise ValueError(f"by: a split needs two of them, got maps of one {by}: {', '.join(map(str, names))}{hint}")
        if by == "box":
            names = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
        else:
            warn(
                "by: after a split by realisation both parts have maps of one box; validation errors will be too small"
            )
        held = set(names[-min(max(round(validation * len(names)), 1), len(names) - 1) :])
        chosen = np.array([part in held for part in parts])
        return self.select(~chosen), self.select(chosen)

    def by_turns(self):
        """Return the set with the boxes interleaved, so that the first maps show as many boxes as possible."""
        counts, rank = {}, []
        for box in self.boxes:
            rank.append(counts.get(box, 0))
            counts[box] = rank[-1] + 1
        return self.select(np.argsort(rank, kind="stable"))

    def resampled(self, pixel_scale):
        """
        Return the set resampled about the same centre to pixels of another side, in radians if a number.

        Modes beyond the new Nyquist frequency are removed, others are interpolated; smaller pixels add no structure.
        TypeError, ValueError or UnitsError if the side is not an angle, or a map would have no pixel or too many.
        """
        new = to_radians(pixel_scale, "pixel_scale")
        resampled_shape(self.shape, new / self.pixel_size)  # raises an error before a map is read
        return replace(self, scales=(*self.scales, new))


def _recognised(root):
    for kind, layout in KINDS.items():
        if layout.holds(root):
            return kind
    known = "; ".join(f"{kind}: {layout.files}" for kind, layout in KINDS.items())
    raise OSError(f"folder: {str(root)!r} contains no maps of a known kind ({known})")
