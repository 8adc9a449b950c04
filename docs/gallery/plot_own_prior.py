"""
A prior from your own simulations
=================================

The prior in the package is for sources at redshift 1, in one cosmology, from one simulation code. This page trains a
small prior from other maps; the commands and times for a full prior are at the end.
"""

# %%
# Convergence maps can be light cones of ``massmap simulate``, published sets such as MassiveNuS or kappaTNG, or a
# folder of FITS, numpy or HDF5 files. They should be grouped in *boxes*, independent simulations, because overfitting
# is visible only on boxes that were not used in training. This page uses lognormal maps, which are drawn in a second
# and have realistic skewness, but no filaments. A network that was trained with another package becomes a prior in one
# line, see :doc:`/your_own`.

import tempfile
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from astro_massmap import AnnealedHMC, PowerSpectrum, ScorePrior, datasets
from astro_massmap.simulation import MapSet, lognormal_maps
from astro_massmap.training import MapBank, TrainingPlan, train_prior

folder = Path(tempfile.mkdtemp())
scale = 0.8 * u.arcmin
spectrum = PowerSpectrum.default()
for box in range(8):
    maps = lognormal_maps(spectrum, 16, (160, 160), scale.to_value(u.rad), shift=0.04, seed=box)
    np.save(folder / f"box{box}.npy", maps.numpy())

maps = MapSet.open(folder, pixel_scale=scale)
training, held_out = maps.split(0.25, seed=0, by="box")
maps, training, held_out

# %%
# The Gaussian component of the prior is the power spectrum from which the maps are drawn. ``massmap simulate`` writes
# the spectrum of its maps; for other maps, `~astro_massmap.PowerSpectrum.from_cosmology` computes it. The network is
# trained to remove noise from maps, and represents the non-Gaussian part of the prior. The training plan is that of
# ``massmap train``, with fewer steps.

plan = TrainingPlan(steps=150, maps_per_step=4, size=48, margin=24, warm_up=20, validate_every=50, validation_maps=8)
banks = [MapBank(part.stack(), part.pixel_size) for part in (training, held_out)]
prior, history = train_prior(*banks, spectrum, plan, widths=(8, 16, 32), n_correction=48, progress=False)
prior

# %%
# Mean square error of the denoised held-out maps relative to the Wiener filter, the optimum under the power spectrum
# alone. Values below 1 are the improvement by the network.

plt.figure(figsize=(6, 3.4), layout="constrained")
for row in history:
    levels, ratios = zip(*((float(k), v) for k, v in row["ratio"].items()), strict=True)
    plt.semilogx(levels, ratios, ".-", label=f"{row['step']} steps")
plt.axhline(1, color="0.3", lw=1)
plt.xlabel("noise level")
plt.ylabel("error / Wiener filter")
plt.legend()

# %%
# A prior file contains only numbers and text, no executable code. The file contains the pixel scale of the maps; a
# reconstruction with another pixel scale gives an error.

prior.save(folder / "prior.safetensors")
mine = AnnealedHMC(ScorePrior.load(folder / "prior.safetensors"), n_samples=8, seed=1)
kappa = datasets.demo().reconstruct(mine, pixel_scale=scale, progress=False)
kappa.plot_samples(4, smoothing=1.2 * u.arcmin)

# %%
# To measure the accuracy of the prior, use ``massmap validate`` (see :doc:`/validation`): it draws skies from the
# held-out boxes, makes mock surveys with the footprint and noise of your catalogue, and compares all methods with the
# truth.
#
# For scientific use, take sixteen or more boxes, and the defaults of ``massmap train``::
#
#     massmap simulate --boxes 16 -o maps
#     massmap train --maps maps --spectrum maps/spectrum.ecsv -o prior.safetensors --checkpoint training.safetensors
#
# The prior in the package was trained on fourteen such boxes, of about three minutes each on two cores, with 6000
# steps, which took 24 minutes on one core; :doc:`/model_card` describes it. :doc:`/scaling_out` has the command for
# several GPUs.
