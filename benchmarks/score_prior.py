"""
Accuracy of a score prior: ``python benchmarks/score_prior.py PRIOR MAPS [SECTION ...] [--out FOLDER]``.

PRIOR is a file or "default". MAPS is a folder of ``massmap simulate``; the truths are maps of its held-out boxes (those
of the split of the training). Sections: card, denoising, samples, free, reliability, massivenus, stationarity. Every
section prints a table and, with --out, writes it and a figure.
"""

import argparse
import dataclasses
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from astropy.cosmology import FlatLambdaCDM
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from astro_massmap import AnnealedHMC, GaussianPrior, Schedule, ScorePrior, Wiener
from astro_massmap.inference import (
    FourierGrid,
    LensingOperator,
    Observation,
    SplitPlan,
    Streams,
    reverse_diffusion,
    stationarity_check,
)
from astro_massmap.simulation import (
    MapSet,
    band_power,
    moments,
    peak_density,
    smoothed,
)
from astro_massmap.training import MapBank, Noiser, denoising_ratios
from astro_massmap.validation.diagnostics import coverage, reliability

ARCMIN = np.radians(1 / 60)
BANDS = np.array([500, 1000, 2000, 4000, 7000, 12000, 20000])
THRESHOLDS = (0.02, 0.04, 0.06)
APERTURE, DETECTED = 1.5, 0.015  # arcmin, and the mean convergence that defines a structure
INTERVALS = (0.68, 0.9)  # 90 % intervals need 19 samples
FIDUCIAL = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)


def footprint(side, seed):
    """Round holes of all sizes and two missing corners: some 60 % of the field has data."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    seen = np.ones((side, side), dtype=bool)
    seen[: side // 5, : side // 3] = seen[-side // 4 :, -side // 4 :] = False
    while seen.mean() > 0.6:
        cx, cy = rng.uniform(0, side, 2)
        seen &= np.hypot(x - cx, y - cy) > rng.uniform(2, 9)
    return seen


def mock(truth, side, noise, seen, seed, pixel=0.4 * ARCMIN):
    """Cut the middle of a larger map and its noisy shear: truth ``(side, side)`` and an observation."""
    large = FourierGrid(truth.shape, pixel, dtype=torch.float64)
    shear = LensingOperator(large).forward(large.to_modes(torch.as_tensor(truth, dtype=torch.float64))).numpy()
    cut = tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in truth.shape)
    white = np.random.default_rng(seed).normal(size=(2, side, side))
    data = shear[(slice(None), *cut)] + noise * white
    noise_std = np.where(seen, noise, np.inf)
    return np.asarray(truth)[cut], Observation.from_arrays(np.where(seen, data, 0), noise_std, pixel)


def in_apertures(maps, spacing=8):
    """Return the mean of maps ``(n, ny, nx)`` in round apertures on a grid over the field, ``(n, n_apertures)``."""
    y, x = np.mgrid[: maps.shape[-2], : maps.shape[-1]]
    places = np.arange(spacing, maps.shape[-1] - spacing, spacing) + spacing // 2
    discs = [np.hypot(x - a, y - b) < APERTURE / 0.4 for a in places for b in places]
    return np.stack([maps[:, disc].mean(axis=1) for disc in discs], axis=1)


class Score:
    """Sums over mocks of the errors of one method; smooth maps are smoothed by 1 arcmin, at least 1.5 pixels."""

    def __init__(self, pixel=0.4 * ARCMIN):
        self.pixel, self.smoothing = pixel, max(ARCMIN, 1.5 * pixel)
        self.bands = BANDS[math.pi / pixel >= BANDS]
        self.errors, self.power, self.moments, self.cover = [], [], [], []
        self.peaks, self.seconds, self.evaluations = [], 0.0, 0

    def add(self, truth, seen, estimate, reference, seconds):
        samples = estimate.samples
        n = 1 if samples is None else len(samples)
        spread = 0 if samples is None else samples.var(axis=0, ddof=1) / n
        square = (estimate.mean - truth) ** 2 - spread
        wiener = (reference.mean - truth) ** 2
        self.errors.append([square[seen].sum(), wiener[seen].sum(), square[~seen].sum(), wiener[~seen].sum()])
        self.seconds += seconds
        if samples is None:
            return
        self.evaluations = estimate.diagnostics["score_evaluations"]
        pixel = self.pixel
        self.power.append([band_power(m, pixel, self.bands).mean(axis=0) for m in (samples, truth[None])])
        smooth, target = (smoothed(m, pixel, self.smoothing) for m in (samples, truth[None]))
        target = target[0]
        self.moments.append([[((m - m.mean()) ** k).mean() for k in (2, 3)] for m in (smooth, target, samples, truth)])
        self.peaks.append([peak_density(m, pixel, THRESHOLDS).mean(axis=0) for m in (smooth, target[None])])
        edge = (len(truth) - len(target)) // 2
        inner = seen[edge : len(truth) - edge, edge : len(truth) - edge]
        tables = [coverage(smooth[None][..., w], target[None][..., w], INTERVALS) for w in (inner, ~inner)]
        self.cover.append(np.concatenate([table["coverage"] for table in tables]))

    def ratio(self, k):
        """RMSE over that of the Wiener filter, and its standard error over mocks (jackknife)."""
        errors = np.array(self.errors)[:, k : k + 2]
        total = errors.sum(axis=0)
        left = np.sqrt((total[0] - errors[:, 0]) / (total[1] - errors[:, 1]))
        value, n = np.sqrt(total[0] / total[1]), len(errors)
        return value, np.sqrt((n - 1) * np.mean((left - left.mean()) ** 2)) if n > 1 else np.nan

    def rows(self):
        yield "RMSE / Wiener, with data", in_text(*self.ratio(0), 3, " +- ")
        yield "RMSE / Wiener, in gaps", in_text(*self.ratio(2), 3, " +- ")
        if self.power:
            samples, truth = np.array(self.power).transpose(1, 0, 2)
            ratio = samples.sum(axis=0) / truth.sum(axis=0)
            left = (samples.sum(axis=0) - samples) / (truth.sum(axis=0) - truth)
            error = np.sqrt((len(left) - 1) * left.var(axis=0))
            yield "power / truth", " ".join(in_text(r, e, 2) for r, e in zip(ratio, error, strict=True))
            m = np.array(self.moments).mean(axis=0)
            skew = m[:, 1] / m[:, 0] ** 1.5
            yield "skewness / truth, 1 arcmin and pixels", f"{skew[0] / skew[1]:.2f} {skew[2] / skew[3]:.2f}"
            peaks = np.array(self.peaks).mean(axis=0)
            yield f"peaks / truth above {THRESHOLDS}", " ".join(f"{r:.2f}" for r in peaks[0] / peaks[1])
            cover = np.array(self.cover)
            mean, error = cover.mean(axis=0), cover.std(axis=0, ddof=1) / np.sqrt(len(cover))
            text = [in_text(m, e, 3) for m, e in zip(mean, error, strict=True)]
            yield "coverage 68, 90 with data; 68, 90 in gaps", " ".join(text)
            yield "evaluations, seconds a mock", f"{self.evaluations} {self.seconds / len(self.errors):.1f}"


def in_text(value, error, digits, between="+-"):
    """Return a value and its error as text; the value alone if there is no error, for a single field."""
    return f"{value:.{digits}f}" + (f"{between}{error:.{digits}f}" if np.isfinite(error) else "")


def compare(mocks, methods, log, pixel=0.4 * ARCMIN):
    """All methods on the same mocks."""
    scores = {name: Score(pixel) for name in methods}
    for i, (truth, observation) in enumerate(mocks):
        seen = observation.observed.numpy()
        estimates = {}
        for name, method in methods.items():
            start = time.perf_counter()
            # an own seed for each mock: common random numbers would not average out
            estimates[name] = dataclasses.replace(method, seed=i).solve(observation)
            scores[name].add(truth, seen, estimates[name], estimates["wiener"], time.perf_counter() - start)
        print(".", end="", flush=True)
    print()
    for name, score in scores.items():
        for label, value in score.rows():
            log(f"{name:10} {label:45} {value}")
    return estimates


class Bench:
    def __init__(self, arguments):
        self.shipped = ScorePrior.load(arguments.prior)
        self.prior = self.shipped.of_pixels(0.4 * ARCMIN)
        self.out, self.n, self.n_samples = arguments.out, arguments.fields, arguments.samples
        self.folder = arguments.maps
        maps = MapSet.open(self.folder)
        self.held_out = maps.split(arguments.validation)[1].by_turns()
        self.bank = MapBank(self.held_out.stack(), maps.pixel_size)
        self.theory = self.prior.trained_spectrum
        self.lines = []

    def truths(self, n):
        """Return the first ``n`` maps, interleaved over the held-out boxes."""
        return [self.bank.maps[i].numpy() for i in range(n)]

    def log(self, text):
        print(text, flush=True)
        self.lines.append(text)

    def methods(self, n_samples):
        hmc = {"n_samples": n_samples, "n_check": 0}
        return {
            "wiener": Wiener(self.theory, n_samples=0),
            "gaussian": AnnealedHMC(GaussianPrior(self.theory), **hmc),
            "neural": AnnealedHMC(self.prior, **hmc),
        }

    def card(self):
        """Metadata of the prior, as a list."""
        card = self.prior.card
        facts = {
            "Parameters": card["parameters"],
            "Sources": "at redshifts of {:g} to {:g}".format(*card["source_redshifts"]),
            "Pixels": "{:g} to {:g} arcmin".format(*self.shipped.pixel_scale.value),
            "Noise levels": "{:g} to {:g} standard deviations of a pixel".format(*card["plan"]["sigma"]),
            "Maps": f"drawn during the training, from {card['maps']}",
            "Spectrum": "{}; C / (1 + (ell / {:g})^{:g})".format(card["spectrum"], *card["resolution"]),
            "Training": f"{card['steps']} steps of Adam, "
            + ", ".join(f"{k} {card['plan'][k]}" for k in ("maps_per_step", "pieces", "size", "learning_rate", "seed")),
            "Version": card["version"],
        }
        for name, value in facts.items():
            self.log(f":{name}: {value}")

    def denoising(self):
        """Denoising errors on held-out maps over those of the Wiener filter."""
        ratios = denoising_ratios(self.prior.denoiser, Noiser(self.bank, self.theory), 2 * self.n)
        self.log("  ".join(f"{level} {ratio:.3f}" for level, ratio in ratios.items()))

    def samples(self, side=192, steps=120):
        """Maps drawn without data, by the reverse diffusion from a noise level at which maps are Gaussian."""
        pixel = self.prior.pixel_size
        grid = FourierGrid((side, side), pixel, (320, 320))
        on_grid, levels = self.prior.on(grid), list(np.geomspace(self.prior.max_sigma, 0.005, steps))
        drawn = []
        for i in range(2 * self.n):
            streams = Streams(5, [i])
            white = grid.to_modes(streams.normal(*grid.box_shape))
            start = (on_grid.variance + levels[0] ** 2).sqrt() * white
            drawn.append(grid.to_field(reverse_diffusion(on_grid, start, levels, streams))[0].numpy())
        drawn = np.array(drawn)
        middle = slice((384 - side) // 2, (384 - side) // 2 + side)
        real = self.bank.maps[:, middle, middle].numpy()
        edges = np.array([500, 1000, 2000, 3000, 4500, 7000, 12000, 20000])
        power = [band_power(m, pixel, edges) for m in (drawn, real)]
        error = power[0].std(axis=0) / np.sqrt(len(drawn)) / power[1].mean(axis=0)
        ratio = power[0].mean(axis=0) / power[1].mean(axis=0)
        self.log("power / simulated: " + " ".join(f"{r:.3f}+-{e:.3f}" for r, e in zip(ratio, error, strict=True)))
        for scale in (1, 2):
            a, b = (smoothed(m, pixel, scale * ARCMIN) for m in (drawn, real))
            self.log(f"{scale} arcmin: std, skewness, kurtosis {np.round(moments(a), 4)} of {np.round(moments(b), 4)}")
            if scale == 1:
                peaks = [peak_density(m, pixel, THRESHOLDS).mean(axis=0) for m in (a, b)]
                self.log(f"peaks above {THRESHOLDS}: {np.round(peaks[0], 2)} of {np.round(peaks[1], 2)}")
        pairs = [("drawn from the prior", m) for m in drawn[:4]] + [("simulated, held out", m) for m in real[::40][:4]]
        self.picture("prior_samples", pairs, smooth=0.5)

    def free(self, side=128):
        """Mean of samples against one evaluation of the denoiser on the Kaiser-Squires map, without a mask."""
        from astro_massmap.inference import GaussianPosterior

        for noise in (0.15, 0.08):
            gaps = []
            for i, truth in enumerate(self.truths(2)):
                kappa, observation = mock(truth, side, noise, np.ones((side, side), dtype=bool), i)
                hmc = AnnealedHMC(self.prior, n_samples=32, padding=1.5, n_check=0).solve(observation)
                posterior = GaussianPosterior(observation, self.theory, (192, 192))
                grid = posterior.grid
                prior, inverted = self.prior.on(grid), posterior.operator.adjoint(posterior.shear)[None]
                gain = prior.variance / (prior.variance + noise**2)
                once = grid.to_field(gain * inverted + noise**2 * prior.residual(inverted, noise))[0].numpy()
                gaps.append([((m - kappa) ** 2)[24:-24, 24:-24].mean() for m in (hmc.mean, once)])
            a, b = np.sqrt(np.mean(gaps, axis=0))
            self.log(f"noise {noise}: RMSE of the mean of samples over that of one call {a / b:.3f}")

    def reliability(self, side=128, noise=0.15):
        """Predicted probabilities of structures on other fields, and the fraction that exists."""
        predicted, found = {"gaussian": [], "neural": []}, []
        for i in range(self.n, 2 * self.n):
            truth, observation = mock(self.truths(i + 1)[-1], side, noise, footprint(side, i), i)
            found.append(in_apertures(truth[None])[0] > DETECTED)
            for name, of_method in predicted.items():
                samples = dataclasses.replace(self.methods(self.n_samples)[name], seed=i).solve(observation).samples
                of_method.append((in_apertures(samples) > DETECTED).mean(axis=0))
            print(".", end="", flush=True)
        print()
        self.log(f"noise {noise}, {self.n} mocks, {found[0].size} apertures of {APERTURE} arcmin, above {DETECTED}")
        self.log(f"{'':10} {'predicted':>20}  mean         true")
        for name, of_method in predicted.items():
            table = reliability(np.array(of_method), np.array(found), bins=8, n_samples=self.n_samples)
            for row in table:
                text = f"{row['claimed']:.3f}        {row['true']:.3f} +- {row['error']:.3f}  of {row['n']}"
                self.log(f"{name:10} {row['low']:8.3f} to {row['high']:8.3f}  {text}")

    def massivenus(self):
        if "MASSMAP_DATA" not in os.environ:
            return self.log("MASSMAP_DATA is not set to a folder with the field of MassiveNuS: left out")
        folder = Path(os.environ["MASSMAP_DATA"]) / "massivenus"
        kappa, shear = (np.load(folder / f"{name}.npy").astype(float) for name in ("kappa", "shear_bright"))
        seen = np.load(folder / "mask.npy")
        ratios = denoising_ratios(self.prior.denoiser, Noiser(MapBank(kappa[None], 0.4 * ARCMIN), self.theory), 1)
        self.log("denoising over Wiener: " + "  ".join(f"{level} {ratio:.3f}" for level, ratio in ratios.items()))
        noise_std = np.where(seen, 0.15, np.inf)
        data = np.where(seen, np.moveaxis(shear, -1, 0), 0)
        observation = Observation.from_arrays(data, noise_std, 0.4 * ARCMIN)
        estimates = compare([(kappa, observation)], self.methods(self.n_samples), self.log)
        shown = [("truth", kappa), ("Wiener", estimates["wiener"].mean), ("mean", estimates["neural"].mean)]
        shown += [(f"sample {i}", s) for i, s in enumerate(estimates["neural"].samples[:3])]
        self.picture("prior_massivenus", shown, seen)

    def stationarity(self, side=128):
        """Chains that start at the truth must preserve its statistics; the network acts in the whole box."""
        box, prior = (256, 256), dataclasses.replace(self.prior, margin=64)
        observation = mock(self.truths(1)[0], side, 0.15, footprint(side, 0), 0)[1]

        def plan(data):
            return SplitPlan(data, prior, Schedule.fast(), box)

        cut = slice(64, 320)
        truths = [torch.from_numpy(t[cut, cut].copy()) for t in self.truths(self.n)]
        before, after = stationarity_check(plan, observation, truths, seed=3)["maps"].numpy()
        # simulated maps are not periodic: a window removes the effect of the edges on their power
        power = [band_power(m, prior.pixel_size, BANDS) for m in (before, after)]
        ratio = power[1].mean(axis=0) / power[0].mean(axis=0)
        error = (power[1] - power[0]).std(axis=0, ddof=1) / np.sqrt(len(before)) / power[0].mean(axis=0)
        self.log("power after over before: " + " ".join(f"{r:.3f}+-{e:.3f}" for r, e in zip(ratio, error, strict=True)))
        for scale in (0.4, 1):
            a, b = (np.round(moments(smoothed(m, prior.pixel_size, scale * ARCMIN)), 4) for m in (before, after))
            self.log(f"{scale} arcmin: std, skewness, kurtosis {a} before, {b} after")

    def picture(self, name, images, seen=None, smooth=0.0):
        if self.out is None:
            return
        rows = -(-len(images) // 4)
        figure = Figure(figsize=(12, 3.2 * rows), layout="constrained")
        for i, (title, image) in enumerate(images):
            axes = figure.add_subplot(rows, 4, i + 1)
            axes.imshow(gaussian_filter(image, smooth), vmin=-0.03, vmax=0.1, origin="lower", cmap="inferno")
            if seen is not None and i:
                axes.contour(seen, levels=[0.5], colors="w", linewidths=0.4)
            axes.set(title=title, xticks=[], yticks=[])
        figure.savefig(self.out / f"{name}.png", dpi=80)


SECTIONS = (
    "card",
    "denoising",
    "samples",
    "free",
    "reliability",
    "massivenus",
    "stationarity",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior")
    parser.add_argument("maps", type=Path)
    parser.add_argument("sections", nargs="*", help=", ".join(SECTIONS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--fields", type=int, default=16)
    parser.add_argument("--samples", type=int, default=19)
    parser.add_argument("--validation", type=float, default=0.2, help="fraction of held-out boxes, as in the training")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    for section in arguments.sections or SECTIONS:
        print(f"== {section}")
        getattr(bench, section)()
        if arguments.out is not None:
            ending = "rst" if section == "card" else "txt"
            (arguments.out / f"prior_{section}.{ending}").write_text("\n".join(bench.lines) + "\n")
        bench.lines = []


if __name__ == "__main__":
    main()
