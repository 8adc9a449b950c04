"""
Figures for a paper
===================

Maps, samples and spectra in the width of a column or of a page, as journals take them.
"""

# %%
# Within ``plotting.style``, new figures are 3.4 (``"column"``) or 7 inches (``"page"``) wide, their text has 7 and 8
# points, and PDF files embed TrueType fonts if they are saved there as well. A table of clusters becomes circles;
# ``labels="numbers"`` numbers its rows and adds a key. Labels do not overlap.

import io

import astropy.units as u
import matplotlib.pyplot as plt

from astro_massmap import PowerSpectrum, datasets, plotting

catalog = datasets.demo()
kappa = catalog.reconstruct("wiener", n_samples=32, progress=False)
clusters = datasets.demo_clusters()

with plotting.style("column"):
    kappa.plot(regions=clusters, labels="numbers", contours=[1, 1.5], scalebar=True)
    plt.savefig(io.BytesIO(), format="pdf")  # or "map.pdf", a file

# %%
# Contours are levels of the map divided by its standard deviation. Contours of another image are a pair, as in
# ``contours=("xray.fits", [1, 2, 4])``. Areas without data are grey; a pixel that is
# empty by chance, because galaxies are few, is not. ``mask=None`` shows the inferred values there.
#
# A strong cluster saturates the linear colours, and everything else is pale. ``norm="asinh"`` is logarithmic above the
# median of the absolute values. Here a halo with the profile of an isothermal sphere is added to the map. The scale bar
# is a length at the redshift of the lens, and the disk is the full width at half maximum of a smoothing by 1 arcmin.

import numpy as np

y, x = np.mgrid[: kappa.shape[0], : kappa.shape[1]]
halo = 0.8 / (1 + np.hypot(x - 80, y - 90) / 2)
strong = np.asarray(kappa.data) + halo
options = {"scalebar": 5 * u.Mpc, "redshift": 0.3, "beam": 1 * u.arcmin}
with plotting.style("column"):
    plotting.plot_map(strong, kappa.wcs, norm="asinh", **options)

# %%
# The colour bar takes the place of a panel that would be empty.

with plotting.style("page"):
    kappa.plot_samples(6, smoothing=1 * u.arcmin, regions=clusters)

# %%
# Power of the map, of its samples, of the theory and of the shape noise. The data constrain the power of the map; what
# is missing to the power of the samples comes from the prior, most of it where the noise exceeds the theory.

density = len(catalog) / (kappa.data.size * kappa.pixel_scale**2 * (~kappa.mask).mean())
with plotting.style("column"):
    noise = kappa.meta["shape_noise"] ** 2 / density
    plotting.plot_spectrum(kappa.power_spectrum(), PowerSpectrum.default(), noise=noise)

# %%
# In a notebook, ``kappa.show(regions=clusters)`` opens the map in Aladin Lite on images of a sky survey, if ipyaladin
# is installed (``pip install ipyaladin``).
