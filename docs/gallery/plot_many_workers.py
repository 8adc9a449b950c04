"""
Many workers, and a GPU
=======================

Chains are independent, so that they can be drawn anywhere: by the cores of a laptop, the nodes of a cluster, a GPU. The
random numbers of a sample depend on the seed and its number alone: whoever draws it, it is the same. Here the workers
are two threads and the prior is Gaussian, which takes no network and a second; nothing else changes for more.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import astropy.units as u
import numpy as np

from astro_massmap import AnnealedHMC, ConvergenceMap, GaussianPrior, datasets, reconstruct_fields

catalog = datasets.demo()
method = AnnealedHMC(GaussianPrior(), n_samples=6, seed=1, n_check=0, device="cpu")
alone = catalog.reconstruct(method, pixel_scale=0.8 * u.arcmin, progress=False)
with ThreadPoolExecutor(2) as pool:
    shared = catalog.reconstruct(method, pixel_scale=0.8 * u.arcmin, progress=False, executor=pool)
print(f"largest difference: {np.abs(shared.samples - alone.samples).max():.1e}")

# %%
# On many cores, ``ProcessPoolExecutor`` with one thread a worker, on a cluster the executor of ``dask.distributed``
# take the place of the two threads; :doc:`/scaling_out` has their lines. From a shell it is
# ``massmap reconstruct ... --workers 8``.
#
# A checkpoint is a file to which each sample goes as it is done. The same call goes on where a run was killed; where
# all samples are there, it draws none.

folder = Path(tempfile.mkdtemp())
method = AnnealedHMC(GaussianPrior(), n_samples=8, seed=1, n_check=0, device="cpu", checkpoint=folder / "samples.fits")
for attempt in ("first", "second"):
    start = time.perf_counter()
    kappa = catalog.reconstruct(method, pixel_scale=0.8 * u.arcmin, progress=False)
    print(f"{attempt} call: {time.perf_counter() - start:.1f} s")
kappa.plot_samples(8, smoothing=1.2 * u.arcmin)

# %%
# The samples of such a map lie in the file, and may be more than the memory holds. A map that was written is opened the
# same way.

kappa.write(folder / "kappa.fits")
type(ConvergenceMap.read(folder / "kappa.fits", memmap=True).samples).__name__

# %%
# Several fields are tasks too. They come back in their order, each as soon as those before it are there.

north, south = (catalog[side] for side in (catalog.coords.dec > -5 * u.deg, catalog.coords.dec <= -5 * u.deg))
with ThreadPoolExecutor(2) as pool:
    for field in reconstruct_fields([north, south], "posterior_mean", executor=pool, progress=False):
        print(field)

# %%
# A GPU is taken where torch finds one (``device="auto"``), and 32 chains are then evaluated at a time;
# ``device="cuda:1"`` takes another one, ``device="cpu"`` none. What a run needs of memory is told before it begins, and
# one that does not fit is not begun.

print(AnnealedHMC(n_samples=64).memory((512, 512)))
