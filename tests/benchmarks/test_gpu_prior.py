"""The training on a GPU needs no astropy: its options, and the theory of both cosmologies from a file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from survey_prior import cosmologies

SCRIPT = """
import sys
sys.modules["astropy"] = sys.modules["camb"] = sys.modules["matplotlib"] = None
from pathlib import Path
from gpu_prior import LARGE
from survey_prior import command_line, cosmologies
arguments = command_line("").parse_args([*LARGE.split(), "out", "--particles", "32"])
found, powers = cosmologies(Path(sys.argv[1]))
print(arguments.particles, arguments.widths, found[1].omega_m, f"{powers[1](0.5, 1.0):.4g}")
"""


@pytest.mark.slow
def test_the_training_runs_without_astropy(tmp_path):
    pytest.importorskip("camb")
    other, powers = cosmologies(tmp_path)
    folder = Path(sys.modules["survey_prior"].__file__).parent
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["32", "32,64,128", str(other[1].omega_m), f"{powers[1](0.5, 1.0):.4g}"]
    assert not np.isclose(powers[1](0.5, 1.0), powers[0](0.5, 1.0), rtol=0.1)  # another sigma_8
