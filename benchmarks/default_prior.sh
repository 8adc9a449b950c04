#!/usr/bin/env bash
# The shipped prior from scratch: boxes, maps, training, tables and pictures. About two hours on two cores.
#   benchmarks/default_prior.sh FOLDER
set -euo pipefail
out="$1"
here="$(cd "$(dirname "$0")" && pwd)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"

massmap simulate --boxes 14 --particles 192 --box-size 128 --maps 64 -o "$out"
massmap train --maps "$out" --spectrum "$out/spectrum.ecsv" --steps 6000 --validate-every 1000 \
    --corrections 208 --checkpoint "$out/state.safetensors" -o "$out/prior.safetensors"
massmap train --maps "$out" --spectrum "$out/spectrum.ecsv" --steps 1500 --corrections 0 \
    --without-theory -o "$out/without_theory.safetensors"
python "$here/simulations.py" "$out" --out "$out"
python "$here/score_prior.py" "$out/prior.safetensors" "$out" --out "$out" --without-theory "$out/without_theory.safetensors"
