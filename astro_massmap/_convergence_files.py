"""How a map of the convergence lies in a FITS file."""

from ._fits import read_images, write_images
from ._provenance import cards


def write_map(kappa, file, *, overwrite, samples):
    """Write a map, with its samples or without; see ``ConvergenceMap.write``."""
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
    write_images(file, images, kappa.wcs, notes, unit=kappa.unit, cards=made, overwrite=overwrite)


def read_map(file, *, memmap=False):
    """The arguments of the map, and under ``b_mode`` those of its B mode, or None; OSError if it is not whole."""
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
        "b_mode": b_mode,
    }
