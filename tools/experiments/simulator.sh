#!/bin/bash
# What QDIR and IAN are worth where the truth is known: the simulator's world, 3 seeds of training. Settings were chosen in the world of
# seed 1; this one is of seed 2.
#   tools/experiments/simulator.sh [folder] [seeds]      about 15 minutes on 2 cores
# First the gap closed of each model (0: the first ranker's order, 1: the order by true conversion probability); then paired differences.
set -eu
out=${1:-simulator-ablations} seeds=${2:-1 2 3}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"
metric="NDCG@10 true conversion"

world() {  # name, flags of simulate
  local name=$1
  shift
  "$piano" simulate --requests 50000 --seed 2 "$@" --out "$out/$name.jsonl" --oracle "$out/$name.oracle"
  "$piano" prepare --format jsonl --min-count 50 --out "$out/$name.safetensors" "$out/$name.jsonl"
  rm "$out/$name.jsonl"
}
train() {  # world, model, settings
  local world=$1 model=$2 seed
  shift 2
  for seed in $seeds; do
    "$piano" train --config "$here/simulator.toml" --data "$out/$world.safetensors" --out "$out/$world.$model.$seed" --seed "$seed" "$@"
    score "$world" "$model" "$seed" "$model"
  done
}
score() {  # world, model, seed, name, flags of evaluate
  "$piano" evaluate --data "$out/$1.safetensors" --model "$out/$1.$2.$3" --oracle "$out/$1.oracle" --brief \
    --per-list "$out/$1.$4.$3.tsv" "${@:5}" > "$out/$1.$4.$3.txt"
  echo "$1 $4 seed $3: $(grep 'gap closed' "$out/$1.$4.$3.txt")"
}
files() { for seed in $seeds; do echo "$out/$1.$2.$seed.tsv"; done; }
versus() {  # world, other model
  echo "$1: attend minus $2"
  python3 "$here/paired.py" "$metric" $(files "$1" attend) --vs $(files "$1" "$2") | tail -n 1
}

world default
train default attend
train default item_only --set qdir.mode=item_only
train default mean --set qdir.mode=mean
train default off --set qdir.mode=off
train default ian_mean --set ian.pool=mean
for seed in $seeds; do score default attend "$seed" permuted --permute-past-queries; done
world kappa0 --kappa 0
train kappa0 attend
train kappa0 off --set qdir.mode=off

echo
for other in item_only mean off ian_mean permuted; do versus default $other; done
versus kappa0 off
