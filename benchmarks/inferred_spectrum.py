"""
Wiener filter with an inferred spectrum: ``python benchmarks/inferred_spectrum.py SECTION ... [--mocks N]``.

Sections, each of which writes a table:

- ``speed``: CPU time of a step at 128 x 128 pixels, on one thread, and change of the samples with the tolerance of the
  linear systems;
- ``mixing``: autocorrelation times with and without the parts of a step;
- ``ranks``: simulation-based calibration of the amplitudes in a masked field of 32 x 32 pixels;
- ``padding``: amplitudes of fields cut from a much larger sky, by size of the box, with and without uniform shear;
- ``cosmos``: COSMOS, bright galaxies, from ``cosmos/`` in the folder ``MASSMAP_DATA``, and the figure.
"""

import argparse
import os
import time
from itertools import pairwise
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.table import QTable
from scipy.stats import chi2

from astro_massmap import InferredSpectrum, KaiserSquires, PowerSpectrum, ShearCatalog, ShearMap, Wiener
from astro_massmap.analysis.angular_power import power_spectrum
from astro_massmap.inference import (
    Bands,
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    Observation,
    SpectrumGibbs,
    posterior_shape,
    spectrum_gibbs,
)
from astro_massmap.methods._spectrum_summary import mixing

from list_table import list_table

DOCS = Path(__file__).parents[1] / "docs"
THEORY, ARCMIN = PowerSpectrum.default(), np.radians(1 / 60)


def holes(side, noise, seed=0, *, counts=None):
    """Return a noise map with round holes over a tenth of the field, homogeneous or of Poisson counts."""
    rng = np.random.default_rng(seed)
    noise_std = np.full((side, side), noise)
    if counts is not None:
        noise_std = noise_std / np.sqrt(np.maximum(rng.poisson(counts, noise_std.shape), 1) / counts)
    y, x = np.mgrid[:side, :side]
    for cx, cy in rng.uniform(0, side, (12, 2)):
        noise_std[np.hypot(x - cx, y - cy) < 0.05 * side] = np.inf
    return noise_std


def observe(seed, noise_std, pixel, box, variance):
    """Return the data of a periodic sky with this variance of its modes."""
    rng = np.random.default_rng([seed, 11])
    grid = FourierGrid(noise_std.shape, pixel, box, dtype=torch.float64)
    shear = LensingOperator(grid).forward(variance(grid).sqrt() * grid.to_modes(torch.from_numpy(rng.normal(size=box))))
    noise = np.where(np.isfinite(noise_std), noise_std, 0) * rng.normal(size=shear.shape)
    return Observation.from_arrays(shear.numpy() + noise, noise_std, pixel)


def of_theory(grid):
    return grid.mode_variance(THEORY)


def field(side, *, counts=None):
    """Return data of 30 galaxies per square arcminute in pixels of 0.4 arcmin."""
    noise_std = holes(side, 0.123, counts=counts)
    return observe(1, noise_std, 0.4 * ARCMIN, (4 * side, 4 * side), of_theory)


def sampler(observation, padding=2.0, spectrum=None, tolerance=1e-5, *, uniform_shear=True):
    box = posterior_shape(observation.shape, padding)
    posterior = GaussianPosterior(observation, THEORY, box, tolerance=tolerance, uniform_shear=uniform_shear)
    spectrum = InferredSpectrum() if spectrum is None else spectrum
    return SpectrumGibbs(posterior, spectrum.on(posterior), limits=spectrum.limits)


def chain(gibbs, observation, n, chains=(0,)):
    """Return amplitudes ``(n, chains, bands)`` and the CPU time of a step."""
    streams, amplitudes, kept = observation.streams(0, chains), np.ones((len(chains), gibbs.bands.n)), []
    start = time.process_time()
    for _ in range(n):
        amplitudes = gibbs.step(streams, amplitudes).amplitudes
        kept.append(amplitudes)
    return np.array(kept), (time.process_time() - start) / n


def speed(_):
    """Return the CPU time of a step, and the change of a map compared with that of the tolerance 1e-6."""
    observation = field(128)
    rows = [
        ["tolerance", "CPU time of a step (ms)", "500 steps (s)", "largest change of a pixel (standard deviations)"]
    ]
    maps = {}
    for tolerance in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        gibbs = sampler(observation, 3.0, tolerance=tolerance)
        posterior = gibbs.given(np.ones((1, gibbs.bands.n)))
        streams = observation.streams(0, [0])
        maps[tolerance] = posterior.grid.to_field(posterior.fluctuations(streams))[0]
        if tolerance > 2e-6:
            _, seconds = chain(gibbs, observation, 30)
            change = float((maps[tolerance] - maps[1e-6]).abs().max() / maps[1e-6].std())
            rows.append([f"{tolerance:g}", f"{1e3 * seconds:.0f}", f"{500 * seconds:.0f}", f"{change:.1g}"])
    return rows


def mixed(_, n=900):
    """Return the largest autocorrelation time of a band, of four samplers."""
    rows = [["step", "homogeneous noise", "Poisson counts, 4.8 per pixel", "CPU time of a step (ms)"]]
    whole = SpectrumGibbs._complete, SpectrumGibbs._interweave
    variants = {
        "Gibbs alone": (1, _unchanged, _gibbs_alone),
        "and whitened modes": (1, _unchanged, whole[1]),
        "and completed data, once": (1, *whole),
        "and completed data, three times (default)": (3, *whole),
    }
    for name, (spectrum_gibbs._COMPLETIONS, SpectrumGibbs._complete, SpectrumGibbs._interweave) in variants.items():
        cells = []
        for counts in (None, 4.8):
            observation = field(64, counts=counts)
            drawn, seconds = chain(sampler(observation, tolerance=1e-4), observation, n)
            times = mixing([np.log(drawn[n // 10 :, 0])])["autocorrelation_time"]
            cells.append(f"{np.median(times):.1f}, at most {max(times):.0f}")
        rows.append([name, *cells, f"{1e3 * seconds:.1f}"])
    return rows


def _unchanged(self, streams, rngs, amplitudes, modes):
    return amplitudes, modes, modes, None


def _gibbs_alone(self, u, beta, matrix, vector, rng):
    n = np.log(rng.gamma(self._n / 2 + self.k - 1))
    return np.clip(np.log(beta) - n, *self._log_limits), np.ones_like(u)


def ranks(mocks, side=32, chains=19):
    """Return counts of the ranks of true amplitudes, which are drawn from the prior, among samples."""
    spectrum = InferredSpectrum(bands=[0, 1000, 2000, 4000, 8000, 1e6], limits=(0.1, 10))
    noise_std, pixel, box = holes(side, 0.05, counts=4.8), 1.0 * ARCMIN, (2 * side, 2 * side)
    rng, found = np.random.default_rng(3), []
    for i in range(mocks):
        truth = rng.uniform(*spectrum.limits, size=5)

        def variance(grid, truth=truth):
            number = Bands(grid, edges=spectrum.bands).number.long()
            return of_theory(grid) * torch.tensor([*truth, 1.0], dtype=torch.float64)[number]

        observation = observe(i, noise_std, pixel, box, variance)
        drawn, _ = chain(sampler(observation, 2.0, spectrum, 1e-4), observation, 12, range(chains))
        found.append((drawn[-1] < truth).sum(axis=0))
    rows = [["ell", "ranks in fifths", "chi^2 test", "mean rank"]]
    for b, of_band in enumerate(np.array(found).T):
        counts = np.bincount(of_band * 5 // (chains + 1), minlength=5)
        p = chi2.sf(((counts - mocks / 5) ** 2 / (mocks / 5)).sum(), 4)
        mean = f"{of_band.mean() / chains:.3f} +- {1 / np.sqrt(12 * mocks):.3f}"
        low, high = spectrum.bands[b : b + 2]
        rows.append([f"{low:g} to {high:g}" if b < 4 else "above 8000", " ".join(map(str, counts)), f"{p:.2f}", mean])
    return rows


def padding(mocks, side=48):
    """Return the median amplitude of the lowest bands, of skies of eight times the side of the field or of the box."""
    pixel, noise_std, rows = 0.8 * ARCMIN, np.full((side, side), 0.03), None
    for size, of_sky, uniform in [(2, 8, False), (3, 8, False), (2, 8, True), (3, 8, True), (3, 3, True)]:
        medians, low, spectrum = [], [], InferredSpectrum(bands=6)
        for i in range(mocks):
            observation = observe(i, noise_std, pixel, (of_sky * side, of_sky * side), of_theory)
            gibbs = sampler(observation, size, spectrum, tolerance=1e-3, uniform_shear=uniform)
            drawn = chain(gibbs, observation, 45, range(3))[0][15:].reshape(-1, gibbs.bands.n)
            medians.append(np.log(np.median(drawn, axis=0)))
            low.append(np.mean(drawn < 1, axis=0))
        if rows is None:
            edges = gibbs.bands.edges.tolist()
            rows = [
                ["box, sky", "uniform shear", *(f"ell = {a:.0f} to {b:.0f}" for a, b in pairwise(edges[:5]))],
            ]
        cells = [
            f"{np.exp(m.mean()):.2f} +- {np.exp(m.mean()) * m.std() / np.sqrt(mocks):.2f} ({p.mean():.2f})"
            for m, p in zip(np.transpose(medians), np.transpose(low), strict=True)
        ]
        rows.append([f"{size}, {of_sky}", "free" if uniform else "none", *cells[:4]])
    return rows


# ---- COSMOS


def bright():
    galaxies = QTable.read(Path(os.environ["MASSMAP_DATA"]) / "cosmos/cosmos_shear.fits.gz")
    columns = {"g1": "e1", "g2": "e2"}
    catalog = ShearCatalog.from_table(galaxies[galaxies["bright"]], axes="west-north", columns=columns)
    return catalog.to_map(pixel_scale=0.8 * u.arcmin)


def cosmos(_):
    shear = bright()
    kappa = shear.reconstruct(Wiener(InferredSpectrum(thin=1), n_samples=500))
    found = kappa.spectrum_posterior
    low, high = np.array(found.low), np.array(found.high)
    inside = np.flatnonzero(high < np.pi / shear.pixel_scale.to_value(u.rad) * 1.01)[1:]  # within the field, to Nyquist
    edges = np.append(low[inside], high[inside[-1]])
    master, error = band_powers(shear, edges)
    draw(kappa, inside, master, error)
    table, record = found.to_table(), kappa.diagnostics["spectrum_posterior"]
    print(record["autocorrelation_time"], record["r_hat"], kappa.diagnostics["wall_time"], kappa.diagnostics["fit"])
    rows = [["ell", "theory", "inferred (68 %)", "MASTER", "amplitude (68 %)", "effective samples"]]
    for i, row in enumerate(table):
        k = np.flatnonzero(inside == i)
        scale = row["ell"] * (row["ell"] + 1) / (2 * np.pi) * 1e5
        span = f"{scale * row['cl']:.2f} ({scale * row['lower']:.2f} to {scale * row['upper']:.2f})"
        other = f"{scale * master[k[0]]:.2f} +- {scale * error[k[0]]:.2f}" if len(k) else ""
        a, b, theory = row["lower"] / found.reference[i], row["upper"] / found.reference[i], scale * found.reference[i]
        share = f"{row['amplitude']:.2f} ({a:.2f} to {b:.2f})"
        ells = f"{row['low']:.0f} to {row['high']:.0f}"
        rows.append([ells, f"{theory:.2f}", span, other, share, f"{row['effective_samples']:.0f}"])
    return rows


def band_powers(shear, edges, n=40):
    """
    Return band powers of the E mode by MASTER after subtracting those of noise, and their standard deviation.

    The scatter is that of mock data: skies of the theory, with the noise of the survey.
    """
    method, pixel = KaiserSquires(smoothing=0 * u.arcmin), shear.pixel_scale.to_value(u.rad)

    def power(data):
        kappa = ShearMap(data, wcs=shear.wcs, noise_std=shear.noise_std, mask=shear.mask).reconstruct(
            method, reduced_shear=False, progress=False
        )
        return power_spectrum([kappa.data], shear.mask, pixel, edges).cl[0]

    noise_std, box = np.where(shear.mask, np.inf, shear.noise_std), tuple(4 * side for side in shear.shape)
    rng = np.random.default_rng(0)
    noise = [power(np.where(shear.mask, 0, shear.noise_std) * rng.normal(size=(2, *shear.shape))) for _ in range(n)]
    mocks = [power(observe(i, noise_std, pixel, box, of_theory).shear.numpy()) for i in range(n)]
    return power(shear.data) - np.mean(noise, axis=0), np.std(mocks, axis=0)


def draw(kappa, inside, master, error):
    from matplotlib.figure import Figure

    found, table = kappa.spectrum_posterior, kappa.spectrum_posterior.to_table()
    scale = table["ell"] * (table["ell"] + 1) / (2 * np.pi)
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    ax = figure.add_subplot(xscale="log", yscale="log")
    ell = np.geomspace(60, 14000, 200)
    ax.plot(ell, ell * (ell + 1) / (2 * np.pi) * THEORY(ell), color="#222222", label="theory, sources at redshift 1")
    for i, row in enumerate(table):
        style = {"color": "#3a76af", "alpha": 0.3 if i in inside else 0.12, "linewidth": 0}
        span = [row["low"], row["high"]]
        ax.fill_between(span, [scale[i] * row["lower"]] * 2, [scale[i] * row["upper"]] * 2, **style)
        ax.plot(
            span, [scale[i] * row["cl"]] * 2, color="#3a76af", linewidth=2, label="inferred, 68 %" if i == 1 else None
        )
    good = master > error / 4
    ax.errorbar(
        found.ell[inside][good] * 1.04, (scale[inside] * master)[good], (scale[inside] * error)[good], fmt="o",
        color="#c44e43", markersize=4, label="MASTER of the Kaiser-Squires map", capsize=2,
    )  # fmt: skip
    ax.set(xlabel=r"multipole $\ell$", ylabel=r"$\ell(\ell+1)\,C_\ell\,/\,2\pi$", ylim=(1e-6, 3e-3), xlim=(60, 14000))
    ax.legend(frameon=False, loc="upper left")
    figure.savefig(DOCS / "figures/cosmos_inferred_spectrum.png", dpi=150)


SECTIONS = {"speed": speed, "mixing": mixed, "ranks": ranks, "padding": padding, "cosmos": cosmos}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="+", choices=[*SECTIONS])
    parser.add_argument("--mocks", type=int, default=200, help="mocks of ranks and padding (default: %(default)s)")
    parser.add_argument("--rst", type=Path, default=DOCS / "tables", metavar="FOLDER", help="folder for the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.sections:
        text = list_table(SECTIONS[name](arguments.mocks))
        file = arguments.rst / ("cosmos_spectrum.rst" if name == "cosmos" else f"inferred_{name}.rst")
        file.write_text(text)
        print(f"{file}\n{text}", flush=True)


if __name__ == "__main__":
    main()
