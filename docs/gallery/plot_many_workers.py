"""
Many workers, and a GPU
=======================

Chains are independent, so they can run on the cores of a laptop, the nodes of a cluster, or a GPU. The random numbers
of a sample depend only on the data, the seed and the number of the sample, so the result does not depend on the
workers. Here the workers are two threads and the prior is Gaussian, which needs no network and takes a second; the
calls for more workers are the same.
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
# On many cores, use ``ProcessPoolExecutor`` with one thread per worker instead of the two threads; on a cluster, use
# the executor of ``dask.distributed``. :doc:`/scaling_out` has the code. In the shell, use the option ``--workers 8``
# of ``massmap reconstruct``.
#
# Each sample is written to a checkpoint file as soon as it is finished. After an interruption, the same call draws only
# the missing samples; if the file is complete, it draws none.

folder = Path(tempfile.mkdtemp())
method = AnnealedHMC(GaussianPrior(), n_samples=8, seed=1, n_check=0, device="cpu", checkpoint=folder / "samples.fits")
for attempt in ("first", "second"):
    start = time.perf_counter()
    kappa = catalog.reconstruct(method, pixel_scale=0.8 * u.arcmin, progress=False)
    print(f"{attempt} call: {time.perf_counter() - start:.1f} s")
kappa.plot_samples(8, smoothing=1.2 * u.arcmin)

# %%
# The samples of such a map are memory-mapped from the file, and may exceed the memory. Maps that were written to a file
# can be opened in the same way:

kappa.write(folder / "kappa.fits")
type(ConvergenceMap.read(folder / "kappa.fits", memmap=True).samples).__name__

# %%
# Several fields can be mapped in parallel. The maps are returned in the order of the fields, each as soon as the maps
# before it are done.

north, south = (catalog[side] for side in (catalog.coords.dec > -5 * u.deg, catalog.coords.dec <= -5 * u.deg))
with ThreadPoolExecutor(2) as pool:
    for field in reconstruct_fields([north, south], "posterior_mean", executor=pool, progress=False):
        print(field)

# %%
# A GPU is used if torch finds one (``device="auto"``), and then evaluates 32 chains at a time; ``device="cuda:1"``
# selects another GPU, and ``device="cpu"`` the CPU. The memory of a run is estimated before it starts; if it exceeds
# the available memory, an error is raised.

print(AnnealedHMC(n_samples=64).memory((512, 512)))
