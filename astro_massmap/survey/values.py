"""Files of clusters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from astropy.coordinates import SkyCoord

from .._sky.healpix import cells_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST = 100  # letters of the name of a cluster in that of a file


def cluster_files(clusters: Any, nside: int, cells: NDArray[np.int64]) -> tuple[dict[str, SkyCoord], int]:
    """Return the positions of clusters in some cells by the names of their files, and the number of those outside."""
    from .._sky.regions import as_regions  # loads regions

    files: dict[str, SkyCoord] = {}
    regions = as_regions(clusters)
    for i, region in enumerate(regions, start=1):
        center = getattr(region, "center", None)
        if not isinstance(center, SkyCoord):
            raise TypeError(f"clusters: needs regions with a centre on the sky, got {type(region).__name__}")
        if cells_of(center.reshape(1), nside)[0] in cells:
            name = re.sub(r"[^\w+.-]+", "_", str(region.meta.get("text") or i))[:_LONGEST]
            while f"cluster_{name}.fits" in files:
                name = f"{name}_{i}"
            files[f"cluster_{name}.fits"] = center
    return files, len(regions) - len(files)
