"""
The networks that ``energy_prior.py`` compares: ``train_energy.py {energy,direct} STEPS MAPS OUT``.

Both see the same maps, pieces, noise and seed, and neither is corrected. MAPS is a folder of ``massmap simulate``, OUT
a file (.safetensors), whose card holds the steps and the seconds of the processor that training and judgement took.
"""

import argparse
import time
from pathlib import Path

from astro_massmap import PowerSpectrum
from astro_massmap.simulation import MapSet
from astro_massmap.training import MapBank, TrainingPlan, train_energy, train_prior


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("energy", "direct"))
    parser.add_argument("steps", type=int)
    parser.add_argument("maps", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    spectrum = PowerSpectrum.read(arguments.maps / "spectrum.ecsv")
    parts = [part.by_turns() for part in MapSet.open(arguments.maps).split(0.2)]
    training, validation = (MapBank(part.stack(), part.pixel_size) for part in parts)
    steps = arguments.steps
    plan = TrainingPlan(steps=steps, warm_up=min(100, steps // 6), validate_every=steps, validation_maps=1)
    train, options = (train_energy, {}) if arguments.kind == "energy" else (train_prior, {"n_correction": 0})
    start = time.process_time()
    prior, _ = train(training, validation, spectrum, plan, **options)
    prior.card.update({"steps": steps, "cpu": time.process_time() - start})
    prior.save(arguments.out, overwrite=True)


if __name__ == "__main__":
    main()
