"""
Samples by diffusion and by chains on the same mocks: ``python benchmarks/posterior_diffusion.py OUT``.

The mocks are those of ``benchmarks/survey_posterior.py OUT``; for the survey ``cosmos`` they are maps of ``massmap
simulate -o MAPS`` with a noise of 0.15, in pieces of the footprint of COSMOS (``--maps MAPS``, and the folder
MASSMAP_DATA). It prints for each survey the errors, power, peaks and coverage of exact Gaussian samples, of the mean by
one evaluation, of the diffusion, of chains that start from it (``short``) and of the default chains, with the processor
time of each, and a comparison with the default chains (jackknife over mocks).
"""

import argparse
import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import torch
from score_prior import Score, footprint, in_text, mock
from survey_posterior import SURVEYS, sources
from survey_prior import ARCMIN, Skies

from astro_massmap import AnnealedHMC, GaussianPrior, PosteriorDiffusion, PosteriorMean, ScorePrior, Wiener
from astro_massmap.priors import PosteriorNetwork
from astro_massmap.simulation import MapSet

PIECES = (56, 56), (30, 100), (112, 168), (200, 112), (56, 20), (150, 150), (112, 40), (90, 110)  # first pixels


def ratio(own, others, exponent=1.0):
    """Return the ratio of sums over mocks, the first axis, to some power, and its standard error (jackknife)."""
    own, others = np.array(own), np.array(others)
    left = ((own.sum(0) - own) / (others.sum(0) - others)) ** exponent
    return (own.sum(0) / others.sum(0)) ** exponent, np.sqrt((len(left) - 1) * left.var(axis=0))


def survey_mocks(skies, survey, arguments, pixel, noise):
    """Yield truth and observation of the mocks of a survey."""
    choices, side = np.random.default_rng(17), arguments.side
    for i in range(arguments.mocks):
        yield mock(skies.held_out.draw(survey, choices).numpy(), side, noise, footprint(side, i), i, pixel)


def cosmos_mocks(arguments):
    """Yield truth and observation of mocks in pieces of the footprint of COSMOS."""
    maps, side = MapSet.open(arguments.maps).stack(), arguments.side
    mask = np.load(Path(os.environ["MASSMAP_DATA"]) / "massivenus" / "mask.npy").astype(bool)
    for i in range(arguments.mocks):
        y, x = PIECES[i % len(PIECES)]
        yield mock(maps[(10 * i + 3) % len(maps)], side, 0.15, mask[y : y + side, x : x + side], i)


def compared(scores, chains):
    """Yield lines with errors and powers over those of the default chains."""
    for key, score in scores.items():
        if key == "chains" or not score.power:
            continue
        errors = [np.array(s.errors)[:, [0, 2]] for s in (score, chains)]
        yield f"{key}: RMSE over that of chains, data and gaps", listed(*ratio(*errors, 0.5), 3)
        power = [np.array(s.power)[:, 0] for s in (score, chains)]
        yield f"{key}: power over that of chains", listed(*ratio(*power), 2)
        cover = np.array(score.cover) - np.array(chains.cover)
        error = cover.std(axis=0, ddof=1) / np.sqrt(len(cover))
        yield f"{key}: coverage minus that of chains", listed(cover.mean(axis=0), error, 3)
        yield f"{key}: time over that of chains", f"{score.seconds / chains.seconds:.2f}"


def listed(values, errors, digits):
    """Return values and errors as text."""
    return " ".join(in_text(v, e, digits) for v, e in zip(values, errors, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("surveys", nargs="*", default=list(SURVEYS), help=", ".join([*SURVEYS, "cosmos"]))
    parser.add_argument("--maps", type=Path, help="of massmap simulate, for cosmos")
    parser.add_argument("--methods", nargs="+", default=["gaussian", "mean", "diffusion", "short", "chains"])
    parser.add_argument("--network", default="default")
    parser.add_argument("--seed", type=int, default=1, help="as for survey_posterior.py")
    parser.add_argument("--mocks", type=int, default=16)
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--boxes", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    skies, lines = None, []
    if set(arguments.surveys) - {"cosmos"}:
        options = {"box_size": 256.0, "size": 2 * arguments.side, "device": "cpu"}
        skies = Skies(argparse.Namespace(**vars(arguments) | options), arguments.seed)

    def log(*text):
        print(*text, flush=True)
        lines.append(" ".join(text))

    for name in arguments.surveys:
        if name == "cosmos":
            scale, noise, theory, mocks = 0.4, 0.15, ScorePrior.load("default").theory, cosmos_mocks(arguments)
        else:
            given, scale, density, ellipticity = SURVEYS[name]
            noise, draws = ellipticity / np.sqrt(density * scale**2), np.random.default_rng(0)
            survey = skies.held_out.survey(draws, cosmology=0, pixel_size=scale * ARCMIN, **sources(given))
            theory, mocks = survey.spectrum, survey_mocks(skies, survey, arguments, scale * ARCMIN, noise)
        pixel, side = scale * ARCMIN, arguments.side
        network = dataclasses.replace(PosteriorNetwork.load(arguments.network), spectrum=theory)
        prior = dataclasses.replace(ScorePrior.load("default"), spectrum=theory)
        sampled = {"n_samples": arguments.samples, "n_check": 0, "n_jobs": 1}
        methods = {
            "gaussian": AnnealedHMC(GaussianPrior(theory), **sampled),
            "mean": PosteriorMean(network),
            "diffusion": PosteriorDiffusion(network, steps=arguments.steps, **sampled),
            "short": AnnealedHMC(prior, start="diffusion", **sampled),
            "chains": AnnealedHMC(prior, **sampled),
        }
        scores = {key: Score(pixel) for key in arguments.methods}
        for i, (truth, observation) in enumerate(mocks):
            wiener, seen = Wiener(theory, n_samples=0).solve(observation), observation.observed.numpy()
            for key, score in scores.items():
                start = time.process_time()
                own = {"seed": i} if hasattr(methods[key], "seed") else {}
                estimate = dataclasses.replace(methods[key], **own).solve(observation)
                score.add(truth, seen, estimate, wiener, time.process_time() - start)
        log(f"{name}: {scale:g} arcmin, noise {noise:.3f}, {arguments.mocks} mocks of {side} x {side}")
        for key, score in scores.items():
            for label, value in score.rows():
                log(f"{key:10} {label:45} {value}")
        if "chains" in scores:
            for label, value in compared(scores, scores["chains"]):
                log(f"{label:56} {value}")
    (arguments.out / "posterior_diffusion.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
