"""
Halos at the detection limit: ``python benchmarks/two_modes.py PRIOR MAPS [--out FOLDER]``.

For a halo near the detection limit the posterior has two modes, with and without the halo. The fraction of samples with
the halo is the predicted probability that is tested. PRIOR and MAPS are as for ``score_prior.py``; truths are from
held-out boxes. Finished fields are stored in FOLDER, from which a stopped run continues.

Probabilities can be calibrated only if halos are as frequent as in the prior. A structure is therefore a mean
convergence of the aperture above a threshold, and there are two kinds of mocks. In both, the aperture is at a random
position without a structure in a simulated map; in one, a halo (NFW profile at the resolution of the maps) is injected
into it, with the amplitude that brings the aperture to a value drawn from those of the simulated structures. Both kinds
have the frequency of the simulations. Only mocks are used whose Wiener filter at the aperture is in a window at the
detection limit, a selection that depends on the data alone. The remaining difference from the prior is the shape of
structures, as not all structures of the simulations are halos. ``--control`` injects no halo and uses random apertures
in the same window; calibrated probabilities have to be correct there.
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
RADIUS, THRESHOLD = 1.5, 0.015  # arcmin, and the mean convergence of a structure
WINDOW = 0.010, 0.019  # convergence of the Wiener filter in the aperture
HALO = NFWHalo(1.5e14 * u.Msun, redshift=0.35)
BINS = np.array([0, 0.25, 0.5, 0.75, 1])


class World:
    """Simulated maps, the convergence of apertures in them, and the halo to inject."""

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
        self.fraction = (means > THRESHOLD).mean()
        self.structures = np.sort(means[means > THRESHOLD])

    def draw(self, seed):
        """
        Draw a field with an aperture at its centre.

        Returns
        -------
        truth : ndarray
            Convergence of the field.
        observation : Observation
            Noisy shear of the field.
        injected : bool
            True if a halo was injected.
        """
        rng = np.random.default_rng([seed, 7])
        large, injected = self.sky(rng), not self.control and rng.random() < self.fraction
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
        """Return a simulated map, shifted so that the aperture is at a random position of its inner part."""
        n = self.maps.shape[-1]
        shift = rng.integers(-n // 4, n // 4, 2)
        return np.roll(self.maps[rng.integers(len(self.maps))], shift, axis=(0, 1)).astype(float)

    def footprint(self, rng):
        """Return the observed pixels: four fifths of the field, with round holes outside of the aperture."""
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
        """Pixels of the aperture in the field."""
        low = self.maps.shape[-1] // 2 - self.side // 2
        cut = slice(low, low + self.side)
        return self.disc[cut, cut]

    def at_the_edge(self, observation):
        """Return whether the Wiener filter in the aperture is in the window."""
        posterior = GaussianPosterior(observation, self.spectrum, (2 * self.side,) * 2, tolerance=1e-3)
        expected = posterior.grid.to_field(posterior.mean_modes()).numpy()
        return WINDOW[0] < expected[self.aperture].mean() < WINDOW[1]


def measure(world, methods, seed):
    """Return the next mock in the window and the predicted probability of each method, in plain numbers."""
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
    """Read the stored fields; ValueError if they have other settings."""
    if file is None or not file.exists():
        return []
    known = json.loads(file.read_text())
    if known["settings"] != settings:
        raise ValueError(f"--out: {file} is from a run with other settings ({known['settings']})")
    return known["fields"]


def judged(fields, methods, noise, n_samples):
    """Yield lines that compare the predicted probabilities with the truth."""
    there, injected = (np.array([field[key] for field in fields]) for key in ("there", "injected"))
    error = there.std() / np.sqrt(len(there))
    yield (
        f"{len(there)} mocks of {fields[-1]['seed']} drawn, noise {noise}, {n_samples} samples; a halo was "
        f"injected in {np.mean(injected):.2f} of them, {there.mean():.3f} +- {error:.3f} contain a structure"
    )
    for key in methods:
        predicted = np.array([field[key] for field in fields])
        gap = predicted - there
        # contribution of the finite number of samples to the mean square error
        scatter = np.mean(predicted * (1 - predicted)) / (n_samples - 1)
        square, error = np.mean(gap**2) - scatter, gap.std(ddof=1) / np.sqrt(len(gap))
        yield (
            f"{key:10} mean probability {predicted.mean():.3f}, larger than the true fraction by {gap.mean():.3f} "
            f"+- {error:.3f}; mean square error of the probability {square:.3f}"
        )
        for row in reliability(predicted[:, None], there[:, None], bins=BINS, n_samples=n_samples):
            text = "predicted {claimed:.3f}  true {true:.3f} +- {error:.3f}  of {n}".format(**row)
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
    parser.add_argument("--control", action="store_true", help="random apertures, no halos")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    prior = ScorePrior.load(arguments.prior)
    held_out = MapSet.open(arguments.maps).split(arguments.validation)[1].stack()
    world = World(held_out, arguments.side, arguments.noise, prior.trained_spectrum, control=arguments.control)
    lines = [f"{world.fraction:.3f} of the apertures of the simulations contain a structure"]
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
        fields.append(measure(world, methods, fields[-1]["seed"] + 1 if fields else 1))
        print(len(fields), fields[-1], flush=True)
        if file is not None:
            file.write_text(json.dumps({"settings": settings, "fields": fields}, indent=1))
    lines += judged(fields, methods, arguments.noise, arguments.samples)
    print("\n".join(lines))
    if arguments.out is not None:
        (arguments.out / f"prior_{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
