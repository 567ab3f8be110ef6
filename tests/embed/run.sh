#!/bin/bash
# Builds and runs the embedder against a build of PIANO: found by find_package in an installed prefix or, when the sources are given, by
# add_subdirectory. The model is a tiny one, trained here.
#   tests/embed/run.sh BUILD_FOLDER CXX [PIANO_SOURCE]
set -eu
build=$(cd "$1" && pwd)
cxx=$2
source=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$build/piano" simulate --requests 300 --seed 1 --out "$work/sim.jsonl"
"$build/piano" prepare --format jsonl --out "$work/data.safetensors" "$work/sim.jsonl"
"$build/piano" train --data "$work/data.safetensors" --out "$work/model.safetensors" --seed 1 \
  --set model.d=16 --set model.layers=1 --set train.max_steps=3 --set train.batch=32

options=(-DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_BUILD_TYPE=Release)
if [ -n "$source" ]; then
  options+=(-DPIANO_SOURCE="$source")
else
  cmake --install "$build" --prefix "$work/prefix" >/dev/null
  "$work/prefix/bin/piano" version >/dev/null
  options+=(-DCMAKE_PREFIX_PATH="$work/prefix")
fi
cmake -S "$here" -B "$work/build" "${options[@]}" >/dev/null
cmake --build "$work/build" --parallel "$(nproc)" >/dev/null
"$work/build/embed" "$work/model.safetensors"
