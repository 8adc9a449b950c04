"""
Posterior samples of surveys with other sources, pixels and noise, on mocks from a held-out box.

``python benchmarks/survey_posterior.py OUT`` uses the boxes of ``benchmarks/survey_prior.py`` in OUT and its
``prior.safetensors``. It prints, for each survey, the errors, power and coverage of the Wiener filter, of exact
Gaussian samples, and of samples under the prior with the spectrum of the mocks. With ``--sigma8`` the mocks are from a
box of another cosmology. ``--seed 101`` makes new boxes of both cosmologies of the training for the mocks, in an OUT of
their own; ``--cosmology 1`` is that of the lower sigma_8.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from score_prior import compare, footprint, mock
from survey_prior import ARCMIN, Skies

from astro_massmap import AnnealedHMC, GaussianPrior, ScorePrior, Wiener

# sources, side of a pixel in arcmin, galaxies per square arcminute, and their ellipticity per component
SURVEYS = {
    "DES-like bin": ({"n_z": (0.94, 0.2)}, 1.5, 1.4, 0.26),
    "HSC-like": ({"n_z": (0.8, 0.35)}, 0.5, 18.0, 0.25),
    "Euclid-like": ({"redshift": 1.2}, 0.4, 30.0, 0.26),
    "deep": ({"redshift": 1.5}, 0.3, 100.0, 0.25),
}


def sources(given):
    """Return the keywords of a survey; of n(z) the mean and the standard deviation are given."""
    if "n_z" not in given:
        return given
    mean, width = given["n_z"]
    z = np.linspace(0.05, 2.95, 291)
    return {"n_z": (z, np.exp(-(((z - mean) / width) ** 2) / 2))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("surveys", nargs="*", default=list(SURVEYS), help=", ".join(SURVEYS))
    parser.add_argument("--prior", help="file, or default")
    parser.add_argument("--sigma8", type=float, help="of the mocks, by default that of the default cosmology")
    parser.add_argument("--cosmology", type=int, default=0, help="of the mocks: 0, or with another --seed 1")
    parser.add_argument("--seed", type=int, default=1, help="of the boxes, by default that of the training")
    parser.add_argument("--mocks", type=int, default=16)
    parser.add_argument("--samples", type=int, default=19)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--particles", type=int, default=320)
    parser.add_argument("--boxes", type=int, default=1)
    arguments = parser.parse_args()
    options = {"box_size": 256.0, "size": 2 * arguments.side, "device": "cpu"}
    skies = Skies(argparse.Namespace(**vars(arguments) | options), arguments.seed)
    source = skies.of_cosmology(arguments.sigma8) if arguments.sigma8 else skies.held_out
    prior = ScorePrior.load(arguments.prior or arguments.out / "prior.safetensors")
    lines = []

    def log(text):
        print(text, flush=True)
        lines.append(text)

    for name in arguments.surveys:
        given, scale, density, ellipticity = SURVEYS[name]
        pixel, noise = scale * ARCMIN, ellipticity / np.sqrt(density * scale**2)
        draws, cosmology = np.random.default_rng(0), arguments.cosmology
        survey = source.survey(draws, cosmology=cosmology, pixel_size=pixel, **sources(given))
        choices = np.random.default_rng(17)
        truths = [source.draw(survey, choices).numpy() for _ in range(arguments.mocks)]
        side, theory = arguments.side, survey.spectrum
        mocks = [mock(t, side, noise, footprint(side, i), i, pixel) for i, t in enumerate(truths)]
        hmc = {"n_samples": arguments.samples, "n_check": 0}
        methods = {
            "wiener": Wiener(theory, n_samples=0),
            "gaussian": AnnealedHMC(GaussianPrior(theory), **hmc),
            "neural": AnnealedHMC(dataclasses.replace(prior, spectrum=theory), **hmc),
        }
        log(f"{name}: {scale:g} arcmin, noise {noise:.3f}, {arguments.mocks} mocks of {side} x {side}")
        compare(mocks, methods, log, pixel)
    (arguments.out / "survey_posterior.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
