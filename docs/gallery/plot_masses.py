"""
From convergence to mass
========================

The convergence is the surface density of matter in units of a critical density, which depends on the distances of
lens and sources. At the redshift of a known cluster, a map of it becomes a map of mass.
"""

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from astropy.coordinates import SkyCoord

from astro_massmap import datasets, plotting as figures
from astro_massmap.simulation import NFWHalo, inject_halo
from astro_massmap.validation.completeness import completeness, random_centers

catalog = datasets.demo()
kappa = catalog.reconstruct(n_samples=16, progress=False)
clusters = datasets.demo_clusters()
sigma = kappa.surface_density(z_lens=0.3, z_source=1.0)
print(sigma.unit, sigma.meta["critical_surface_density"])

# %%
# Projected masses within the radii of the clusters, after subtracting the mean of a ring around each, with their
# credible intervals. They are posterior masses under the learned prior. A Gaussian prior, as that of the Wiener filter,
# gives half of the mass of a massive halo; :doc:`../limits` has the measured bias by method and mass.

kappa.projected_mass(clusters, z_lens=0.3, z_source=1.0, background=[4, 8] * u.arcmin)

# %%
# The aperture mass does not depend on a mass sheet, which shear does not measure:

centers = SkyCoord(clusters["ra"], clusters["dec"])
kappa.aperture_mass(centers, 5 * u.arcmin)

# %%
# Would a cluster of this mass have been seen here? A halo (Navarro, Frenk & White 1997) of 8e14 solar masses is put
# in front of the galaxies of the survey, which are then mapped like the real ones. Here the Wiener filter is enough:
# its peaks are low, but this bias is the same for all halos that are put in, and part of the completeness that is
# measured. It takes a second per map.

halo = NFWHalo(8e14 * u.Msun, redshift=0.3)
place = SkyCoord(34.35, -5.1, unit="deg")
surveys = {"as it is": catalog, "with a halo of 8e14 Msun": inject_halo(catalog, halo, place, z_source=1.0)}

figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", subplot_kw={"projection": kappa.wcs})
for ax, (title, survey) in zip(axes, surveys.items(), strict=True):
    image = survey.reconstruct("wiener", wcs=kappa.wcs, n_samples=0, progress=False)
    image.plot(ax, vmin=-0.06, vmax=0.06, title=title, colorbar=survey is not catalog)
    ax.scatter(place.ra, place.dec, transform=ax.get_transform("world"), s=300, facecolor="none", edgecolor="k")

# %%
# In ten places at once and for several masses, that makes a curve of completeness. At mass zero it
# counts what stands there already, by chance or as real structure.

places = random_centers(kappa.mask, kappa.wcs, 10, 6 * u.arcmin, seed=1)
curve = completeness(
    catalog,
    np.array([1e14, 2e14, 4e14, 8e14]) * u.Msun,
    0.3,
    places,
    method="wiener",
    threshold=0.02,
    radius=1.5 * u.arcmin,
    z_source=1.0,
)
figures.plot_completeness(curve)

# %%
curve
