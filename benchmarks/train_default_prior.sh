#!/usr/bin/env bash
# Make the data of the package: the prior, from light cones to redshift 3 (three simulations of 20 to 30 minutes on a
# core, 45 minutes of training); the prior of fields chosen for a cluster, in half an hour, and its mocks; the
# network of the posterior, from the same boxes; maps of smaller boxes at redshift 1, and with them tables and pictures;
# with the COSMOS catalogue also its mock surveys, in one more hour.
#   benchmarks/train_default_prior.sh FOLDER [CATALOG]
set -euo pipefail
out="$1"
here="$(cd "$(dirname "$0")" && pwd)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"

python "$here/survey_prior.py" "$out"
python "$here/survey_posterior.py" "$out"
python "$here/targeted_prior.py" "$out"
python "$here/targeted_posterior.py" "$out"
python "$here/posterior_network.py" "$out"
massmap simulate --boxes 14 --particles 192 --box-size 128 --maps 64 -o "$out"
python "$here/simulations.py" "$out" --out "$out"
python "$here/score_prior.py" "$out/prior.safetensors" "$out" --out "$out"
python "$here/two_modes.py" "$out/prior.safetensors" "$out" --out "$out"
python "$here/speed.py" --prior "$out/prior.safetensors" --out "$out"
if [ $# -gt 1 ]; then
    mocks=("$2" --axes west-north --columns g1=e1,g2=e2 --maps "$out" --mocks 16 --size 128 --samples 39)
    mocks+=(--prior "$out/prior.safetensors" --network "$out/posterior.safetensors")
    massmap validate "${mocks[@]}" --select bright -o "$out/validation_bright"
fi
