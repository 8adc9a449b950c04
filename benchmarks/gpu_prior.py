"""
Train the prior of ``survey_prior.py`` at a larger size, on a machine with a GPU.

``python benchmarks/gpu_prior.py OUT`` simulates four boxes of 512^3 particles for each cosmology (30 GiB of memory) and
trains a network of twice the width for 40000 steps. Boxes are kept, and the state of the training is written every 250
steps: run the same command again to continue an interrupted run. It needs torch, scipy and safetensors, and
``OUT/powers.npz``, which ``survey_prior.py`` writes where astropy and camb are installed. The options of
``survey_prior.py`` change the settings; a small run on a processor: ``--boxes 1 --particles 32 --steps 4
--maps-per-step 2 --maps 2 --size 96 --widths 4,4,4``.
"""

import sys

from survey_prior import main

LARGE = "--boxes 4 --particles 512 --widths 32,64,128 --steps 40000 --maps-per-step 32 --checkpoint-every 250"

if __name__ == "__main__":
    main([*LARGE.split(), "--workers", "0", *sys.argv[1:]])
