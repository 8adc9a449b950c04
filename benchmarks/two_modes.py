"""
Halos at the edge of detection: ``python benchmarks/two_modes.py PRIOR MAPS [--out FOLDER]``.

A halo is there or it is not, and the data cannot tell for sure: the posterior has two modes, and the share of samples
that hold the halo is the claim that is tested. PRIOR and MAPS are as for ``score_prior.py``; truths are from held-out
boxes. Fields that are done are kept in FOLDER, from which a run that was stopped goes on.

Claims can be right only in a world that has as many halos as the prior has learned. So a structure is a mean
convergence of the aperture above a threshold, and the mocks are of two kinds. In both the aperture lies anywhere in a
simulated map where there is no structure; in one, a halo (the profile of Navarro, Frenk & White at the resolution of
the maps) is injected within it, with the amplitude that brings the aperture to a value drawn from those of the
simulated structures. Both are drawn as often as they come in the simulations, and of all only those are kept whose
Wiener filter at the aperture lies in a window at the edge of detection: a choice that depends on the data alone. What
is left of a difference from the prior is the shape of structures, which in the simulations are not all halos.
``--control`` injects nothing and takes apertures as they come, in the same window: there right claims have to be right.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.wcs import WCS
from score_prior import mock

from astro_massmap import AnnealedHMC, ConvergenceMap, GaussianPrior, ScorePrior
from astro_massmap.inference import FourierGrid, GaussianPosterior
from astro_massmap.simulation import RESOLUTION, MapSet, NFWHalo, inject_halo
from astro_massmap.validation.diagnostics import reliability

PIXEL = np.radians(0.4 / 60)
RADIUS, THRESHOLD = 1.5, 0.015  # arcmin, and the mean convergence that counts as a structure
WINDOW = 0.010, 0.019  # of the Wiener filter in the aperture
HALO = NFWHalo(1.5e14 * u.Msun, redshift=0.35)
BINS = np.array([0, 0.25, 0.5, 0.75, 1])


class World:
    """Simulated maps, what apertures in them hold, and the halo to inject."""

    def __init__(self, maps, side, noise, spectrum, *, control=False):
        self.maps, self.side, self.noise, self.spectrum, self.control = maps, side, noise, spectrum, control
        n = maps.shape[-1]
        y, x = np.mgrid[:n, :n] - n // 2
        self.disc = np.hypot(x, y) < RADIUS / 0.4
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ("RA---TAN", "DEC--TAN"), (150.0, 2.0)
        wcs.wcs.crpix, wcs.wcs.cdelt = (n // 2 + 1, n // 2 + 1), (-0.4 / 60, 0.4 / 60)
        empty = ConvergenceMap(np.zeros((n, n)), wcs=wcs)
        halo = inject_halo(empty, HALO, wcs.pixel_to_world(n // 2, n // 2), z_source=1.0).data
        ell = FourierGrid(halo.shape, PIXEL, dtype=torch.float64).ell.numpy()
        corner, slope = RESOLUTION
        self.halo = np.fft.irfft2(np.fft.rfft2(halo) / np.sqrt(1 + (ell / corner) ** slope), s=halo.shape)
        kernel = np.fft.rfft2(np.fft.ifftshift(self.disc)).conj() / self.disc.sum()
        inner = slice(n // 4, -n // 4)
        means = np.fft.irfft2(np.fft.rfft2(maps) * kernel, s=maps.shape[-2:])[:, inner, inner]
        self.share = (means > THRESHOLD).mean()
        self.structures = np.sort(means[means > THRESHOLD])

    def draw(self, seed):
        """
        A field with an aperture at its middle.

        Returns
        -------
        truth : ndarray
            Convergence of the field.
        observation : Observation
            Of it.
        injected : bool
            Whether a halo was.
        """
        rng = np.random.default_rng([seed, 7])
        large, injected = self.sky(rng), not self.control and rng.random() < self.share
        while not self.control and large[self.disc].mean() > THRESHOLD:
            large = self.sky(rng)
        if injected:
            row, column = rng.choice(np.argwhere(self.disc)) - len(self.disc) // 2
            halo = np.roll(self.halo, (row, column), axis=(0, 1))
            missing = rng.choice(self.structures) - large[self.disc].mean()
            large += missing / halo[self.disc].mean() * halo
        truth, observation = mock(large, self.side, self.noise, self.footprint(rng), seed)
        return truth, observation, injected

    def sky(self, rng):
        """A simulated map, the aperture anywhere in its inner part."""
        n = self.maps.shape[-1]
        shift = rng.integers(-n // 4, n // 4, 2)
        return np.roll(self.maps[rng.integers(len(self.maps))], shift, axis=(0, 1)).astype(float)

    def footprint(self, rng):
        """Round holes, none of them in the aperture: four fifths of the field has data."""
        y, x = np.mgrid[: self.side, : self.side]
        seen = np.ones((self.side, self.side), dtype=bool)
        while seen.mean() > 0.8:
            cx, cy = rng.uniform(0, self.side, 2)
            hole = np.hypot(x - cx, y - cy) < rng.uniform(2, 7)
            if not (hole & self.aperture).any():
                seen &= ~hole
        return seen

    @property
    def aperture(self):
        """The aperture, as pixels of the field."""
        low = self.maps.shape[-1] // 2 - self.side // 2
        cut = slice(low, low + self.side)
        return self.disc[cut, cut]

    def at_the_edge(self, observation):
        """Whether the data make it a close case."""
        posterior = GaussianPosterior(observation, self.spectrum, (2 * self.side,) * 2, tolerance=1e-3)
        expected = posterior.grid.to_field(posterior.mean_modes()).numpy()
        return WINDOW[0] < expected[self.aperture].mean() < WINDOW[1]


def ask(world, methods, seed):
    """The next close case from this seed on, and what each method claims of it, in plain numbers."""
    while not world.at_the_edge((drawn := world.draw(seed))[1]):
        seed += 1
    truth, observation, injected = drawn
    there = bool(truth[world.aperture].mean() > THRESHOLD)
    field = {"seed": seed, "injected": bool(injected), "there": there}
    for key, method in methods.items():
        samples = replace(method, seed=seed).solve(observation).samples
        field[key] = float((samples[:, world.aperture].mean(axis=1) > THRESHOLD).mean())
    return field


def kept(file, settings):
    """Fields of an earlier run with these settings; ValueError if it had others."""
    if file is None or not file.exists():
        return []
    known = json.loads(file.read_text())
    if known["settings"] != settings:
        raise ValueError(f"--out: {file} is of another run ({known['settings']})")
    return known["fields"]


def judged(fields, methods, noise, n_samples):
    """Lines that compare the claims with what is there."""
    there, injected = (np.array([field[key] for field in fields]) for key in ("there", "injected"))
    error = there.std() / np.sqrt(len(there))
    yield (
        f"{len(there)} mocks of {fields[-1]['seed']} drawn, noise {noise}, {n_samples} samples; a halo was "
        f"injected in {np.mean(injected):.2f} of them, {there.mean():.3f} +- {error:.3f} hold a structure"
    )
    for key in methods:
        claims = np.array([field[key] for field in fields])
        gap = claims - there
        # of the square of the error, what comes from the finite number of samples
        scatter = np.mean(claims * (1 - claims)) / (n_samples - 1)
        square, error = np.mean(gap**2) - scatter, gap.std(ddof=1) / np.sqrt(len(gap))
        yield (
            f"{key:10} claims {claims.mean():.3f} on the mean, too much by {gap.mean():.3f} "
            f"+- {error:.3f}; mean square of the claim's error {square:.3f}"
        )
        for row in reliability(claims[:, None], there[:, None], bins=BINS, n_samples=n_samples):
            text = "claimed {claimed:.3f}  true {true:.3f} +- {error:.3f}  of {n}".format(**row)
            yield f"{'':10} {row['low']:.2f} to {row['high']:.2f}  {text}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior")
    parser.add_argument("maps", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--mocks", type=int, default=64)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--noise", type=float, default=0.15)
    parser.add_argument("--validation", type=float, default=0.2, help="as in the training")
    parser.add_argument("--control", action="store_true", help="apertures as they come, no halos")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    prior = ScorePrior.load(arguments.prior)
    held_out = MapSet.open(arguments.maps).split(arguments.validation)[1].stack()
    world = World(held_out, arguments.side, arguments.noise, prior.trained_spectrum, control=arguments.control)
    lines = [f"{world.share:.3f} of the apertures of the simulations hold a structure"]
    print(lines[0], flush=True)
    options = {"n_samples": arguments.samples, "n_check": 0}
    methods = {"Gaussian": AnnealedHMC(GaussianPrior(prior.trained_spectrum), **options)}
    methods["neural"] = AnnealedHMC(prior, **options)
    name = "two_modes_control" if arguments.control else "two_modes"
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("out", "mocks", "threads")}
    file = None
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        file = arguments.out / f"{name}.json"
    fields = kept(file, settings)
    while len(fields) < arguments.mocks:
        fields.append(ask(world, methods, fields[-1]["seed"] + 1 if fields else 1))
        print(len(fields), fields[-1], flush=True)
        if file is not None:
            file.write_text(json.dumps({"settings": settings, "fields": fields}, indent=1))
    lines += judged(fields, methods, arguments.noise, arguments.samples)
    print("\n".join(lines))
    if arguments.out is not None:
        (arguments.out / f"prior_{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
