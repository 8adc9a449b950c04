"""Sets of convergence maps on disk, read as they are asked for and split by the box that they show."""

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
    Maps of the convergence that lie in files. `MapSet.open` makes one.

    A set is a list of places: nothing is read before a map is asked for, and no file stays open.

    Attributes
    ----------
    kind : str
        Layout of the files.
    entries : tuple
        Where each map is.
    weights : tuple of float
        Of the source planes of an entry.
    layout : named tuple
        Shape and scale of the maps in the files.
    scales : tuple of float
        Pixel sizes in radians to which maps are resampled, one after another.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.simulation.map_sets import MapSet
    >>> for i in range(5):
    ...     np.save(f"box{i}.npy", np.random.default_rng(i).normal(size=(3, 32, 32)))
    >>> maps = MapSet.open(".", pixel_scale=1e-4)
    >>> maps
    <MapSet: 15 maps of 32 x 32 pixels of 0.3438 arcmin from 5 boxes, folder>
    >>> training, validation = maps.split(0.2)
    >>> len(training), len(validation), validation[0].shape
    (12, 3, (32, 32))
    >>> maps.resampled(2e-4).shape
    (16, 16)
    """

    kind: str
    entries: tuple
    weights: tuple
    layout: Layout
    scales: tuple = ()

    @classmethod
    def open(cls, folder, *, kind=None, pixel_scale=None, redshift=None, n_z=None, dataset=None):
        """
        List the maps of a folder. Heads of files may be read; maps are not, nor checked.

        Parameters
        ----------
        folder : str or path-like
            Where they are. Published sets are looked for in its folders too.
        kind : str, optional
            ``"massivenus"`` or ``"kappatng"``, laid out as published; ``"folder"``, any FITS, NumPy or HDF5 files of
            maps ``(ny, nx)`` or ``(n, ny, nx)``, a file a box. Recognised by the names of the files if None.
        pixel_scale : `~astropy.units.Quantity` or float, optional
            Side of a pixel, in radians if a number. Needed for files of a folder that do not say it; checked
            against those that do.
        redshift : float, optional
            Of the source plane, to 0.05; for published sets with more than one.
        n_z : pair of array-like, table, file, SACC object or ShearCatalog, optional
            Distribution of sources, such as ``(z, n)``, to which the planes of kappaTNG are combined; this or
            ``redshift``. As for `~astro_massmap.PowerSpectrum.from_cosmology`.
        dataset : str, optional
            Name of the maps in HDF5 files of a folder, ``"kappa"`` if None.

        Returns
        -------
        MapSet

        Raises
        ------
        OSError
            If the folder is not there or has no maps, or a file that was looked into is damaged.
        TypeError, ValueError, `~astropy.units.UnitsError`
            If an argument is not as described, or a file contradicts it or the others.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astro_massmap.simulation import MapSet
        >>> np.save("box.npy", np.zeros((4, 16, 16)))
        >>> MapSet.open(".", pixel_scale=0.4 * u.arcmin)
        <MapSet: 4 maps of 16 x 16 pixels of 0.4 arcmin from 1 box, folder>
        """
        root = Path(folder)
        if not root.is_dir():
            raise OSError(f"folder: {str(root)!r} is not there, or not a folder")
        kind = _recognised(root) if kind is None else kind
        if kind not in KINDS:
            raise ValueError(f"kind: needs to be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
        if not isinstance(dataset, str | None):
            raise TypeError(f"dataset: needs a name, got {dataset!r}")
        options = {"redshift": redshift, "n_z": n_z, "dataset": dataset}
        options = {name: value for name, value in options.items() if value is not None}
        for name in options.keys() - set(KINDS[kind].read.__kwdefaults__):
            raise ValueError(f"{name}: has no meaning for maps of the kind {kind!r}")
        if pixel_scale is not None:
            options["pixel_scale"] = to_radians(pixel_scale, "pixel_scale")
        entries, weights, layout = KINDS[kind].read(root, **options)
        if not entries:
            raise OSError(f"folder: {str(root)!r} has no files {KINDS[kind].files}, as the kind {kind!r} needs")
        return cls(kind, tuple(entries), weights, layout)

    # ---- maps

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, index):
        """A map ``(ny, nx)`` of float32, by its number; for more than one there are `select` and `stack`."""
        entry = self.entries[operator.index(index)]
        kappa = np.zeros(self.layout.shape, dtype=np.float32)
        for file, weight in zip(entry.files, self.weights, strict=True):
            kappa += np.float32(weight) * file.read(entry.index, self.layout.shape, self.layout.pixel_size)
        for ratio in self._ratios:
            kappa = resample(kappa, ratio)
        return np.ascontiguousarray(kappa)

    def stack(self, indices=None):
        """
        Read maps.

        Parameters
        ----------
        indices : slice, sequence of int or of bool, optional
            As for `select`; all by default.

        Returns
        -------
        ndarray
            ``(n, ny, nx)`` of float32.

        Raises
        ------
        IndexError, TypeError
            As `select` does.
        OSError, ValueError
            If a file is damaged, or holds something else than the others.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap.simulation import MapSet
        >>> for i in range(3):
        ...     np.save(f"box{i}.npy", np.full((2, 16, 16), i))
        >>> maps = MapSet.open(".", pixel_scale=1e-4)
        >>> maps.stack([0, -1]).mean(axis=(1, 2)).tolist()
        [0.0, 2.0]
        """
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
        """Which simulated box each map shows, a list of labels."""
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
        The set of some of the maps.

        Parameters
        ----------
        indices : slice, sequence of int or of bool
            Numbers of maps, in the order wanted, or which to take.

        Returns
        -------
        MapSet

        Raises
        ------
        IndexError
            If there is no map of a number, or not a bool for each map.
        TypeError
            If ``indices`` are none.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap.simulation import MapSet
        >>> for i in range(3):
        ...     np.save(f"box{i}.npy", np.full((2, 16, 16), i))
        >>> maps = MapSet.open(".", pixel_scale=1e-4)
        >>> maps.select([4, 0]).boxes
        ['box2.npy', 'box0.npy']
        """
        if isinstance(indices, slice):
            return replace(self, entries=self.entries[indices])
        indices = np.asarray(indices)
        if indices.dtype == bool and indices.shape != (len(self),):
            raise IndexError(f"indices: {indices.shape} bools do not go with {len(self)} maps")
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise TypeError(f"indices: needs a slice or a sequence of integers, got {indices!r}")
        return replace(self, entries=tuple(self.entries[int(i)] for i in indices))

    def split(self, validation=0.2, *, seed=0, by="box"):
        """
        Two sets that share no box, to learn from one and to judge by the other.

        Parameters
        ----------
        validation : float
            Share of the boxes for validation; one box at least, and all but one at most.
        seed : int
            Chooses them.
        by : str
            ``"box"``; or ``"realisation"``, for maps of a single box: those of the highest realisation numbers are
            for validation. They show the same structures as the others from elsewhere, of which a warning tells.

        Returns
        -------
        training, validation : MapSet

        Raises
        ------
        ValueError
            If an argument is out of range, or there are not two boxes (or realisations).

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            Of a split by realisation.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap.simulation import MapSet
        >>> for i in range(3):
        ...     np.save(f"box{i}.npy", np.full((2, 16, 16), i))
        >>> maps = MapSet.open(".", pixel_scale=1e-4)
        >>> training, validation = maps.split(0.3)
        >>> len(training), len(validation), set(training.boxes) & set(validation.boxes)
        (4, 2, set())
        """
        if not 0 < validation < 1:
            raise ValueError(f"validation: needs a share between 0 and 1, got {validation!r}")
        if by not in ("box", "realisation"):
            raise ValueError(f"by: needs to be 'box' or 'realisation', got {by!r}")
        parts = [getattr(entry, by) for entry in self.entries]
        names = sorted(set(parts))
        if len(names) < 2:
            hint = "; by='realisation' splits its views, which are not independent" if by == "box" else ""
            raise ValueError(f"by: a split needs two, but all maps are of one {by}: {', '.join(map(str, names))}{hint}")
        if by == "box":
            names = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
        else:
            warn("by: a split by realisation leaves maps of one box in both parts; validation will look too good")
        held = set(names[-min(max(round(validation * len(names)), 1), len(names) - 1) :])
        chosen = np.array([part in held for part in parts])
        return self.select(~chosen), self.select(chosen)

    def by_turns(self):
        """
        The same maps, a map of each box by turns, so that the first of them show as many boxes as there are.

        Returns
        -------
        MapSet

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap.simulation import MapSet
        >>> for i in range(3):
        ...     np.save(f"box{i}.npy", np.full((2, 16, 16), i))
        >>> maps = MapSet.open(".", pixel_scale=1e-4)
        >>> maps.by_turns().boxes[:4]
        ['box0.npy', 'box1.npy', 'box2.npy', 'box0.npy']
        """
        seen, turn = {}, []
        for box in self.boxes:
            turn.append(seen.get(box, 0))
            seen[box] = turn[-1] + 1
        return self.select(np.argsort(turn, kind="stable"))

    def resampled(self, pixel_scale):
        """
        The same maps on another pixel scale, about the same centre.

        Waves that the new pixels cannot hold are filtered out, the others are kept and interpolated: see
        the module ``resampling``. Smaller pixels add no structure.

        Parameters
        ----------
        pixel_scale : `~astropy.units.Quantity` or float
            Side of a pixel, in radians if a number.

        Returns
        -------
        MapSet

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If it is no angle, or a map would have no such pixel, or too many.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap.simulation import MapSet
        >>> for i in range(3):
        ...     np.save(f"box{i}.npy", np.full((2, 16, 16), i))
        >>> maps = MapSet.open(".", pixel_scale=1e-4)
        >>> maps.resampled(2e-4)
        <MapSet: 6 maps of 8 x 8 pixels of 0.6875 arcmin from 3 boxes, folder>
        >>> round(float(maps.resampled(2e-4)[5].mean()), 6)
        2.0
        """
        new = to_radians(pixel_scale, "pixel_scale")
        resampled_shape(self.shape, new / self.pixel_size)  # or an error, now
        return replace(self, scales=(*self.scales, new))


def _recognised(root):
    for kind, layout in KINDS.items():
        if layout.holds(root):
            return kind
    known = "; ".join(f"{kind}: {layout.files}" for kind, layout in KINDS.items())
    raise OSError(f"folder: {str(root)!r} holds no maps of a known kind ({known})")
