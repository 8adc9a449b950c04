"""
Compare the prior with networks that were trained for one survey alone.

``python benchmarks/corners.py OUT`` reads the boxes and the prior of ``survey_prior.py OUT``. For each of four surveys
a copy of the network is trained for 500 more steps on maps of this survey alone, and the errors of both on held-out
maps are written to ``corners.rst``, with the same maps and noise. A network that begins with the weights of the prior
is at least as good as one trained in the same total time from nothing. The options are those of ``survey_prior.py``.
"""

import torch
from known_answer import train
from survey_prior import RATIOS, Skies, command_line, survey

from astro_massmap import ScorePrior
from astro_massmap.priors import HybridDenoiser
from astro_massmap.training import TrainingPlan
from astro_massmap.training.survey_prior import survey_bank, survey_ratios

from list_table import list_table

CORNERS = ((0.5, 0.4), (1.0, 1.5), (1.5, 0.3), (2.2, 0.8))  # redshift of the sources, and pixels in arcmin
TRAINING, JUDGED = 120, 8  # maps of a survey for the training, and held-out maps for its history


def alone(network, skies, redshift, pixel, plan):
    """Return a copy of the network, trained on maps of one survey."""
    training, held_out = (survey(source, redshift, pixel) for source in (skies.training, skies.held_out))
    signal = HybridDenoiser(network, training.spectrum, training.pixel_size).signal
    low, high = (float(ratio * signal) for ratio in plan["sigma"])
    banks = survey_bank(skies.training, training, TRAINING, 4), survey_bank(skies.held_out, held_out, JUDGED, 5)
    state = skies.arguments.out / f"corner_{redshift:g}_{pixel:g}.safetensors"
    trained, _ = train(network, *banks, training.spectrum, TrainingPlan(**plan | {"sigma": (low, high)}), state)
    return trained.network


def main():
    parser = command_line(__doc__)
    parser.set_defaults(steps=500)
    arguments = parser.parse_args()
    skies, network = Skies(arguments), ScorePrior.load(arguments.out / "prior.safetensors").denoiser.network
    size = 112 if arguments.size >= 192 else arguments.size // 2
    margin = min(40, (arguments.size - size) // 2)
    plan = {"steps": arguments.steps, "maps_per_step": arguments.maps_per_step, "pieces": 1, "size": size}
    plan |= {"margin": margin, "sigma": (0.12, 40.0), "learning_rate": 5e-4, "validate_every": max(1, arguments.steps)}
    rows = [["z_s", "pixel [arcmin]", "network", *(f"noise {ratio:g}" for ratio in RATIOS)]]
    for redshift, pixel in CORNERS:
        networks = {"prior": network, "one field alone": alone(network, skies, redshift, pixel, plan)}
        field = survey(skies.held_out, redshift, pixel)
        for name, of_field in networks.items():
            options = {"ratios": RATIOS, "margin": margin, "device": skies.device}
            found = survey_ratios(of_field, skies.held_out, field, arguments.maps, **options)
            rows.append([f"{redshift:g}", f"{pixel:g}", name, *(f"{found[ratio]:.3f}" for ratio in RATIOS)])
            print(*rows[-1], flush=True)
        (arguments.out / "corners.rst").write_text(list_table(rows))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
