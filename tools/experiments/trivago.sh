#!/bin/bash
# PIANO on the trivago log against the shown order and last-interacted-first: 5 folds by user, 3 seeds, paired intervals over users.
#   tools/experiments/trivago.sh sessions.csv.gz [folder] [seeds]      about 10 minutes on 2 cores; models and per-list metrics stay in folder
set -eu
log=$1 out=${2:-trivago-folds} seeds=${3:-1 2 3}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"
for fold in 1 2 3 4 5; do
  data=$out/fold$fold.safetensors
  "$piano" prepare --format trivago --split user --folds 5 --fold $fold --min-count 20 --out "$data" "$log"
  for seed in $seeds; do
    "$piano" train --config "$here/trivago.toml" --data "$data" --out "$out/model.$fold.$seed" --seed "$seed"
    "$piano" evaluate --data "$data" --model "$out/model.$fold.$seed" --split test --replicates 0 --brief --per-list "$out/lists.$fold.$seed.tsv"
  done
done
for seed in $seeds; do  # every request is a test request of exactly one fold
  head -n 1 "$out/lists.1.$seed.tsv" > "$out/seed$seed.tsv"
  for fold in 1 2 3 4 5; do tail -n +2 "$out/lists.$fold.$seed.tsv" >> "$out/seed$seed.tsv"; done
done
python3 "$here/paired.py" "MRR target" $(for seed in $seeds; do echo "$out/seed$seed.tsv"; done)
