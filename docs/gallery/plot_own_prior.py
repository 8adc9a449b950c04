"""
A prior of your own simulations
===============================

The shipped prior knows one kind of sky: sources at redshift 1, one cosmology, one code. Here a prior is trained from
other maps, small enough to be done while this page is built; the numbers for a real one stand at its end.
"""

# %%
# Maps of the convergence come from anywhere: the light cones of ``massmap simulate``, published sets such as
# MassiveNuS or kappaTNG, a folder of FITS, numpy or HDF5 files. They should come in *boxes*, independent simulations,
# for what the network has learned by heart shows only on boxes that it has not seen. Here they are lognormal maps,
# drawn in a second, which are as skewed as real ones but have no filaments.

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
# The Gaussian half of the prior is a power spectrum, the one the maps are drawn from; of maps whose spectrum is not
# known, ``massmap simulate`` writes it down, and `~astro_massmap.PowerSpectrum.from_cosmology` computes it. The network
# learns what it misses, by removing noise from noisy maps. The plan is that of ``massmap train``, cut short.

plan = TrainingPlan(steps=150, maps_per_step=4, size=48, margin=24, warm_up=20, validate_every=50, validation_maps=8)
banks = [MapBank(part.stack(), part.pixel_size) for part in (training, held_out)]
prior, history = train_prior(*banks, spectrum, plan, widths=(8, 16, 32), n_correction=48, progress=False)
prior

# %%
# What it has learned: the squared error of the denoised held-out maps, over that of the Wiener filter, which is the
# best that theory alone can do. Below 1 the network knows more than the spectrum.

plt.figure(figsize=(6, 3.4), layout="constrained")
for row in history:
    levels, ratios = zip(*((float(k), v) for k, v in row["ratio"].items()), strict=True)
    plt.semilogx(levels, ratios, ".-", label=f"{row['step']} steps")
plt.axhline(1, color="0.3", lw=1)
plt.xlabel("noise level")
plt.ylabel("error / that of theory")
plt.legend()

# %%
# A prior is a file of numbers and text, which holds nothing that could be run. It knows its pixel scale, and refuses
# maps on another one.

prior.save(folder / "prior.safetensors")
mine = AnnealedHMC(ScorePrior.load(folder / "prior.safetensors"), n_samples=8, seed=1)
kappa = datasets.demo().reconstruct(mine, pixel_scale=scale, progress=False)
kappa.plot_samples(4, smoothing=1.2 * u.arcmin)

# %%
# Whether it is any good, mocks of your survey tell: ``massmap validate`` (see :doc:`/validation`) draws skies from the
# held-out boxes, observes them as your catalogue was observed, and judges every method by them.
#
# For work, take sixteen boxes and more, and the defaults of ``massmap train``::
#
#     massmap simulate --boxes 16 -o maps
#     massmap train --maps maps --spectrum maps/spectrum.ecsv -o prior.safetensors --checkpoint training.safetensors
#
# The shipped prior is of fourteen such boxes, some three minutes each on two cores, and of 6000 steps, 24 minutes of a
# core: :doc:`/model_card` holds its figures. :doc:`/scaling_out` has the command for several GPUs.
