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

from astro_massmap import datasets, figures
from astro_massmap.completeness import completeness, random_centers
from astro_massmap.simulation import NFWHalo, inject_halo

catalog = datasets.demo()
kappa = catalog.reconstruct("wiener", n_samples=64, progress=False)
clusters = datasets.demo_clusters()
sigma = kappa.surface_density(z_lens=0.3, z_source=1.0)
print(sigma.unit, sigma.meta["critical_surface_density"])

# %%
# Projected masses within the clusters' radii, less what the ring around them holds, with their credible intervals:

kappa.projected_mass(clusters, z_lens=0.3, z_source=1.0, background=[4, 8] * u.arcmin)

# %%
# The aperture mass does not mind a constant sheet, which shear does not measure:

centers = SkyCoord(clusters["ra"], clusters["dec"])
kappa.aperture_mass(centers, 5 * u.arcmin)

# %%
# Would a cluster of this mass have been seen here? A halo (Navarro, Frenk & White 1997) of 8e14 solar masses is put
# in front of the galaxies of the survey, which are then mapped like the real ones.

halo = NFWHalo(8e14 * u.Msun, redshift=0.3)
place = SkyCoord(34.35, -5.1, unit="deg")
with_halo = inject_halo(catalog, halo, place, z_source=1.0).reconstruct("wiener", n_samples=64, progress=False)

figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", subplot_kw={"projection": kappa.wcs})
for ax, image, title in zip(axes, (kappa, with_halo), ("as it is", "with a halo of 8e14 Msun"), strict=True):
    image.plot(ax, vmin=-0.06, vmax=0.06, title=title, colorbar=image is with_halo)
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
