"""
Samples by diffusion and by chains on the same mocks: ``python benchmarks/posterior_diffusion.py OUT``.

The mocks are those of ``benchmarks/survey_posterior.py OUT``. It prints for each survey the errors, power, peaks and
coverage of exact Gaussian samples, of the posterior mean by one evaluation, of the diffusion and of the chains, with
the processor time of each, and the error of the diffusion over that of the chains (jackknife over mocks).
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from score_prior import Score, footprint, mock
from survey_posterior import SURVEYS, sources
from survey_prior import ARCMIN, Skies

from astro_massmap import AnnealedHMC, GaussianPrior, PosteriorDiffusion, PosteriorMean, ScorePrior, Wiener
from astro_massmap.priors import PosteriorNetwork


def ratio(errors, others, k):
    """Return the root mean square error over that of another method, and its standard error."""
    totals = [np.array(e)[:, k] for e in (errors, others)]
    left = np.sqrt(np.divide(*(t.sum() - t for t in totals)))
    return np.sqrt(totals[0].sum() / totals[1].sum()), np.sqrt((len(left) - 1) * left.var())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("surveys", nargs="*", default=list(SURVEYS), help=", ".join(SURVEYS))
    parser.add_argument("--methods", nargs="+", default=["gaussian", "mean", "diffusion", "chains"])
    parser.add_argument("--network", default="default")
    parser.add_argument("--mocks", type=int, default=16)
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--boxes", type=int, default=1)
    arguments = parser.parse_args()
    skies = Skies(argparse.Namespace(**vars(arguments), box_size=256.0, size=2 * arguments.side, device="cpu"))
    lines = []

    def log(*text):
        print(*text, flush=True)
        lines.append(" ".join(text))

    for name in arguments.surveys:
        given, scale, density, ellipticity = SURVEYS[name]
        pixel, noise = scale * ARCMIN, ellipticity / np.sqrt(density * scale**2)
        survey = skies.held_out.survey(np.random.default_rng(0), cosmology=0, pixel_size=pixel, **sources(given))
        theory, choices, side = survey.spectrum, np.random.default_rng(17), arguments.side
        network = dataclasses.replace(PosteriorNetwork.load(arguments.network), spectrum=theory)
        prior = dataclasses.replace(ScorePrior.load("default"), spectrum=theory)
        sampled = {"n_samples": arguments.samples, "n_check": 0, "n_jobs": 1}
        methods = {
            "gaussian": AnnealedHMC(GaussianPrior(theory), **sampled),
            "mean": PosteriorMean(network),
            "diffusion": PosteriorDiffusion(network, steps=arguments.steps, **sampled),
            "chains": AnnealedHMC(prior, **sampled),
        }
        scores = {key: Score(pixel) for key in arguments.methods}
        for i in range(arguments.mocks):
            truth = skies.held_out.draw(survey, choices).numpy()
            truth, observation = mock(truth, side, noise, footprint(side, i), i, pixel)
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
        if {"diffusion", "chains"} <= scores.keys():
            pair = scores["diffusion"].errors, scores["chains"].errors
            values = ["{:.3f} +- {:.3f}".format(*ratio(*pair, k)) for k in (0, 2)]
            log(f"RMSE of the diffusion over that of the chains: data {values[0]}, gaps {values[1]}")
            seconds = scores["diffusion"].seconds / scores["chains"].seconds
            log(f"time of the diffusion over that of the chains: {seconds:.2f}")
    (arguments.out / "posterior_diffusion.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
