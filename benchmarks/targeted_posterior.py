"""
Posterior samples of fields chosen for a cluster: ``python benchmarks/targeted_posterior.py OUT``.

Halos at redshift 0.3 in maps of the held-out box of ``benchmarks/survey_prior.py``, with sources at redshift 1, pixels
of 0.2 arcmin, and shear (not reduced shear). The prior is ``OUT/targeted.safetensors``. Halos have the concentrations
of Duffy et al. (2008). For each mass and density of galaxies: mean convergence within 1 arcmin of the centre of the
halo, after subtracting the mean of the ring of 4 to 6 arcmin, over the true one; rms error in units of the standard
deviation of the samples; fraction of mocks whose truth is in the central 68 % interval; restarts; acceptance. The mass
0 is a random field, for which the error over that of the Wiener filter of random fields is given. Every mock is kept in
``OUT/targeted_mocks.csv`` as soon as it is mapped: an interrupted run continues.
"""

import argparse
import csv
import dataclasses
from pathlib import Path

import numpy as np
import torch
from score_prior import mock
from survey_prior import Skies, survey

from astro_massmap import AnnealedHMC, PosteriorDiffusion, ScorePrior, Wiener
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import PosteriorNetwork
from astro_massmap.simulation import Cosmology, LensPlanes, LightCone, PlaneFilter, SurveyMaps, matter_power
from astro_massmap.simulation.targeted_maps import Halo
from astro_massmap.theory.matter_power import MatterPower

PIXEL, ELLIPTICITY, Z_LENS, Z_SOURCE, H = 0.2, 0.26, 0.3, 1.0, 0.7
RADIUS, RING = 1.0, (4.0, 6.0)  # arcmin
NAMES = "mass", "density", "seed", "prior", "true", "mean", "std", "rank", "restarts", "acceptance", "error", "wiener"


class Simulated:
    """Held-out maps from the boxes of ``massmap simulate``, with filters of their own."""

    def __init__(self, folder, shape):
        cubes = [LensPlanes.load(file) for file in sorted(folder.glob("box_*.safetensors"))]
        power = matter_power(MatterPower.default())
        filters = PlaneFilter.fit([(cubes, power)])
        cone = LightCone([filters.apply(cube) for cube in cubes], np.ones(len(cubes[0].distance)), "cpu")
        self.held_out = SurveyMaps([cone], [Cosmology.default()], [power], filters, shape)


class Mocks:
    """Mocks of halos in maps of the held-out box, and their maps under a prior."""

    def __init__(self, skies, prior, side, n_samples, diffusion=False):
        self.source, self.prior, self.side, self.n_samples = skies.held_out, prior, side, n_samples
        self.diffusion = diffusion
        self.name = "diffusion" if diffusion else prior.card.get("field", "random")
        self.survey = survey(self.source, Z_SOURCE, PIXEL)
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        radius = PIXEL * np.hypot(x, y)
        self.disc, self.ring = radius < RADIUS, (radius > RING[0]) & (radius < RING[1])

    def truth(self, mass, seed):
        """Return a map of twice the side, with a halo of ``mass`` in solar masses, 0 for none."""
        image = self.source.draw(self.survey, np.random.default_rng(seed)).numpy()
        if not mass:
            return image
        cosmology = self.source.cosmologies[0]
        halo = Halo.average(mass * H, Z_LENS)
        sources = cosmology.distance([Z_SOURCE]), np.ones(1)
        return image + halo.convergence(image.shape, self.survey.pixel_size, cosmology, sources)

    def row(self, mass, density, seed):
        noise = ELLIPTICITY / np.sqrt(density * PIXEL**2)
        everything = np.ones((self.side, self.side), dtype=bool)
        truth, observation = mock(self.truth(mass, seed), self.side, noise, everything, seed, self.survey.pixel_size)
        options = {"n_samples": self.n_samples, "n_check": 0, "seed": seed}
        method = (PosteriorDiffusion if self.diffusion else AnnealedHMC)(self.prior, **options)
        estimate = method.solve(observation)
        filtered = Wiener(self.survey.spectrum, n_samples=0).solve(observation).mean
        true, found = (self.central(maps) for maps in (truth[None], estimate.samples))
        square = (estimate.mean - truth) ** 2 - estimate.samples.var(axis=0, ddof=1) / self.n_samples
        values = (
            mass, density, seed, self.name, true[0], found.mean(), found.std(ddof=1),
            (found < true[0]).mean(), estimate.diagnostics.get("restarts", 0), acceptance(estimate),
            square.mean(), ((filtered - truth) ** 2).mean(),
        )  # fmt: skip
        return dict(zip(NAMES, values, strict=True))

    def central(self, maps):
        """Return the mean within the aperture after subtracting that of the ring, ``(n,)``."""
        return maps[:, self.disc].mean(axis=1) - maps[:, self.ring].mean(axis=1)


def posterior_means(mocks, masses, densities, n):
    """
    Yield rows of the posterior mean of maps with white noise, which one evaluation of the denoiser gives.

    The noise of the convergence is that of the shear, as if the shear were known everywhere. A row is mass, density,
    true mean within the aperture after subtracting that of the ring, its ratio to the truth with its standard error,
    scatter, and the error of the map over that of the Wiener filter with the spectrum of random fields and with that
    of the prior.
    """
    random, side = mocks.survey.spectrum, 2 * mocks.side
    grid = FourierGrid((side, side), mocks.survey.pixel_size)
    prior, inner = mocks.prior.on(grid), (slice(side // 4, -(side // 4)),) * 2
    for density in densities:
        noise = ELLIPTICITY / np.sqrt(density * PIXEL**2)
        filters = [v / (v + noise**2) for v in (grid.mode_variance(random), prior.variance)]
        for mass in masses:
            rows, errors = [], []
            for seed in range(n):
                truth = mocks.truth(mass, seed)
                white = torch.randn(side, side, generator=torch.Generator().manual_seed(seed))
                modes = grid.to_modes((torch.from_numpy(truth).float() + noise * white)[None])
                mean = filters[1] * modes + noise**2 * prior.residual(modes, noise)
                maps = [grid.to_field(m)[0].numpy()[inner] for m in (mean, *(f * modes for f in filters))]
                errors.append([((m - truth[inner]) ** 2).mean() for m in maps])
                rows.append(mocks.central(np.stack([truth[inner], maps[0]])))
            (true, found), square = np.transpose(rows), np.sum(errors, axis=0)
            scatter, ratio = (found - true).std(), found.mean() / true.mean()
            error = scatter / np.sqrt(n) / true.mean()
            yield mass, density, true.mean(), ratio, error, scatter, *np.sqrt(square[0] / square[1:])


def acceptance(estimate):
    values = estimate.diagnostics.get("acceptance")
    return np.nan if values is None else np.nanmean(np.array(values, dtype=float))


def summary(rows, n_samples):
    """Yield a line for each prior, mass and density."""
    for key in sorted({(r["prior"], float(r["mass"]), float(r["density"])) for r in rows}):
        of_key = [r for r in rows if (r["prior"], float(r["mass"]), float(r["density"])) == key]
        true, mean, std, rank, restarts, accepted, error, wiener = (
            np.array([float(r[name]) for r in of_key]) for name in NAMES[4:]
        )
        n, z = len(true), (mean - true) / std / np.sqrt(1 + 1 / n_samples)
        ratio = mean.sum() / true.sum()
        left = (mean.sum() - mean) / (true.sum() - true) if n > 1 else np.array([np.nan])
        covered = np.mean(np.abs(rank - 0.5) < 0.34)
        yield (
            f"{key[0]:9} {key[1]:.0e} {key[2]:4.0f} {n:3} ratio {ratio:.3f} +- {np.sqrt((n - 1) * left.var()):.3f} "
            f"rms z {np.sqrt(np.mean(z**2)):.2f} in 68 % {covered:.2f} restarts {restarts.sum():.0f} acceptance "
            f"{accepted.min():.2f} RMSE / Wiener {np.sqrt(error.sum() / wiener.sum()):.3f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prior", type=Path, help="default: OUT/targeted.safetensors")
    parser.add_argument("--diffusion", action="store_true", help="samples of PosteriorDiffusion")
    parser.add_argument("--masses", type=float, nargs="+", default=[5e14, 1e15, 2e15, 0])
    parser.add_argument("--densities", type=float, nargs="+", default=[30, 100])
    parser.add_argument("--mocks", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--means", type=int, default=0, help="posterior means of this number of mocks, no samples")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--boxes", type=int, default=1)
    parser.add_argument("--simulated", type=Path, help="folder of ``massmap simulate``, for its boxes")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.simulated:
        return measure(arguments, Simulated(arguments.simulated, (2 * arguments.side,) * 2))
    options = {"box_size": 256.0, "size": 2 * arguments.side, "device": "cpu"}
    measure(arguments, Skies(argparse.Namespace(**vars(arguments) | options)))


def measure(arguments, skies):
    """Map the mocks that are not in the table yet, and print the summary."""
    if arguments.diffusion:
        prior = PosteriorNetwork.load("default", field="targeted")
    else:
        prior = ScorePrior.load(arguments.prior or arguments.out / "targeted.safetensors")
    spectrum = survey(skies.held_out, Z_SOURCE, PIXEL).spectrum  # that of the maps, with their resolution
    prior = dataclasses.replace(prior, spectrum=spectrum if prior.factor is None else spectrum.times(prior.factor))
    mocks = Mocks(skies, prior, arguments.side, arguments.samples, arguments.diffusion)
    if arguments.means:
        for row in posterior_means(mocks, arguments.masses, arguments.densities, arguments.means):
            print(*(f"{x:.3g}" for x in row), flush=True)
        return
    file = arguments.out / "targeted_mocks.csv"
    rows = list(csv.DictReader(file.open())) if file.exists() else []
    done = {(r["prior"], float(r["mass"]), float(r["density"]), int(r["seed"])) for r in rows}
    for seed in range(arguments.mocks):
        for mass in arguments.masses:
            for density in arguments.densities:
                if (mocks.name, mass, density, seed) in done:
                    continue
                rows.append(mocks.row(mass, density, seed))
                with file.open("a", newline="") as stream:
                    writer = csv.DictWriter(stream, NAMES)
                    if len(rows) == 1:
                        writer.writeheader()
                    writer.writerow(rows[-1])
                print(*rows[-1].values(), flush=True)
    lines = list(summary(rows, arguments.samples))
    print(*lines, sep="\n")
    (arguments.out / "targeted_posterior.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
