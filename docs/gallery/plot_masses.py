"""
From convergence to mass
========================

The convergence is the surface density of matter in units of the critical surface density, which depends on the
distances of lens and sources. For a cluster of known redshift, a convergence map gives a map of mass.
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
# credible intervals, under the learned prior. With a Gaussian prior, such as that of the Wiener filter, the measured
# mass of a massive halo is about half of its true mass; :doc:`../limits` has the measured bias by method and mass.

kappa.projected_mass(clusters, z_lens=0.3, z_source=1.0, background=[4, 8] * u.arcmin)

# %%
# The aperture mass does not change if a constant is added to the convergence, which shear does not constrain (the
# mass-sheet degeneracy):

centers = SkyCoord(clusters["ra"], clusters["dec"])
kappa.aperture_mass(centers, 5 * u.arcmin)

# %%
# M200 of the clusters, with the same ring: an NFW profile is fitted to the radial profile of each sample, so that each
# sample gives a mass. The concentration follows the mean relation of simulated halos, with a scatter of 30 % here.

masses = kappa.nfw_mass(centers, z_lens=0.3, z_source=1.0, background=[4, 8] * u.arcmin, scatter=0.3)
masses["center", "mass", "std", "lower", "upper"]

# %%
# The aperture densitometry zeta_c (Clowe et al. 1998), the mean within a radius minus that in a ring:

kappa.aperture_densitometry(centers[0], [1, 2, 3, 4] * u.arcmin, [4, 8] * u.arcmin)

# %%
# Would this survey detect a cluster of a given mass? The shear of a halo (Navarro, Frenk & White 1997) of 8e14 solar
# masses is added to the galaxies of the survey, which are then mapped as before. The Wiener filter is sufficient here:
# its bias of high peaks applies to all injected halos alike, and is part of the measured completeness. Each map takes a
# second.

halo = NFWHalo(8e14 * u.Msun, redshift=0.3)
center = SkyCoord(34.35, -5.1, unit="deg")
surveys = {"original": catalog, "with a halo of 8e14 Msun": inject_halo(catalog, halo, center, z_source=1.0)}

figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", subplot_kw={"projection": kappa.wcs})
for ax, (title, survey) in zip(axes, surveys.items(), strict=True):
    image = survey.reconstruct("wiener", wcs=kappa.wcs, n_samples=0, progress=False)
    image.plot(ax, vmin=-0.06, vmax=0.06, title=title, colorbar=survey is not catalog)
    ax.scatter(center.ra, center.dec, transform=ax.get_transform("world"), s=300, facecolor="none", edgecolor="k")

# %%
# Injecting halos of several masses at ten positions simultaneously gives the completeness as a function of mass. At
# mass zero it is the fraction of positions that exceed the threshold without a halo, by noise or real structure.

positions = random_centers(kappa.mask, kappa.wcs, 10, 6 * u.arcmin, seed=1)
curve = completeness(
    catalog,
    np.array([1e14, 2e14, 4e14, 8e14]) * u.Msun,
    0.3,
    positions,
    method="wiener",
    threshold=0.02,
    radius=1.5 * u.arcmin,
    z_source=1.0,
)
figures.plot_completeness(curve)

# %%
curve
