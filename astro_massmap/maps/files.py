"""Read and write convergence maps in FITS files, and register them for the unified I/O of astropy."""

from astropy.io import registry

from .._io.fits import read_images, unwritable, write_images
from .._utils.progress import warn
from .provenance import cards


def write_map(kappa, file, *, overwrite, samples):
    images = {"KAPPA": kappa.data, "STD": None, "MASK": kappa.mask, "SAMPLES": None, "B_MODE": None, "B_STD": None}
    if kappa.uncertainty is not None:
        images["STD"] = kappa.uncertainty.array
    if samples:
        images["SAMPLES"] = kappa.samples
    if kappa.b_mode is not None:
        images["B_MODE"] = kappa.b_mode.data
        if kappa.b_mode.uncertainty is not None:
            images["B_STD"] = kappa.b_mode.uncertainty.array
    images = {name: image for name, image in images.items() if image is not None}
    notes = {"meta": dict(kappa.meta), "diagnostics": kappa.diagnostics}
    made = cards(kappa.meta.get("provenance"), None if kappa.samples is None else len(kappa.samples))
    options = {"unit": kappa.unit, "cards": made, "n_z": kappa.n_z, "overwrite": overwrite}
    write_images(file, images, kappa.wcs, notes, **options)


def warn_of_meta(meta):
    """Warn of entries of ``meta`` that cannot be written, before a map is made."""
    for value in unwritable(meta).values():
        warn(f"meta: {value} cannot be written to a file; remove it before the map is written", stacklevel=4)


def read_map(file, *, memmap=False):
    """Return the arguments of a map, and under ``b_mode`` those of its B mode or None; OSError if incomplete."""
    images, wcs, notes, unit = read_images(file, required=("KAPPA", "MASK"), memmap=memmap)
    grid = {"wcs": wcs, "mask": images["MASK"].astype(bool), "unit": unit}
    b_mode = None
    if "B_MODE" in images:
        b_mode = grid | {"data": images["B_MODE"], "uncertainty": images.get("B_STD")}
    return grid | {
        "data": images["KAPPA"],
        "uncertainty": images.get("STD"),
        "samples": images.get("SAMPLES"),
        "meta": notes.get("meta"),
        "diagnostics": notes.get("diagnostics"),
        "n_z": notes.get("n_z"),
        "b_mode": b_mode,
    }


def register_fits(map_class):
    def write_fits(kappa, file, *, overwrite=False, samples=True):
        """
        Write a FITS file in which every image has the WCS: KAPPA, STD, MASK, SAMPLES, B_MODE and B_STD.

        The table N_Z contains n(z) of the sources, if it is known.

        Parameters
        ----------
        file : str or path-like
            Output file, written atomically.
        overwrite : bool
            Replacement of an existing file, which is an OSError otherwise.
        samples : bool
            False to leave out the samples.
        """
        write_map(kappa, file, overwrite=overwrite, samples=samples)

    def read_fits(file, *, memmap=False):
        """
        Read a map written by `write`; OSError if the file is missing or incomplete.

        Parameters
        ----------
        file : str or path-like
            Input file.
        memmap : bool
            Memory map of the samples, which are read from the file when they are used.
        """
        parts = read_map(file, memmap=memmap)
        b_mode = parts.pop("b_mode")
        return map_class(b_mode=None if b_mode is None else map_class(**b_mode), **parts)

    registry.register_writer("fits", map_class, write_fits)
    registry.register_reader("fits", map_class, read_fits)
    registry.register_identifier("fits", map_class, _is_fits)


def _is_fits(origin, path, fileobj, *args, **kwargs):
    return path is not None and str(path).lower().endswith((".fits", ".fits.gz", ".fit", ".fits.fz"))
