#!/bin/bash
# What PIANO and its parts are worth where the truth is known: the simulator's world of seed 2 (settings were chosen in that of seed 1), and the
# same world with a dial turned: kappa = 0 (taste does not depend on the intent), eta = 0 (neighbours take no clicks).
#   tools/experiments/simulator.sh [folder] [seeds]      about an hour on 2 cores
# One table a world, in folder/WORLD.runs/report.txt. What is done in folder is not done again. THREADS: workers.
set -eu
out=${1:-simulator} seeds=${2:-1,2,3}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"

world() {  # name, flags of simulate
  [ ! -e "$out/$1" ] || return 0
  "$piano" simulate --requests 50000 --seed 2 "${@:2}" --out "$out/log" --oracle "$out/$1.oracle"
  "$piano" prepare --min-count 50 --out "$out/$1" "$out/log"
  rm "$out/log"
}
table() {  # world, flags of compare
  echo "$1"
  "$piano" compare --out "$out/$1.runs" --data "$out/$1" --oracle "$out/$1.oracle" --config "$here/simulator.toml" --seeds "$seeds" \
    --metric "NDCG@10 true conversion" ${THREADS:+--threads $THREADS} --model piano= "${@:2}"
}
ablations() { for name in "$@"; do parts+=(--model "$here/../../piano/configs/ablations/$name.toml"); done; }

world default
world kappa0 --kappa 0
world eta0 --eta 0
parts=(--permute-past-queries)
ablations qdir_item_only qdir_mean qdir_off ian_mean
for m in dnn din esmm mmoe ple dlcm prm setrank mir pear; do parts+=(--model "$m=model=$m"); done
table default "${parts[@]}"
parts=(--permute-past-queries)
ablations qdir_item_only
table kappa0 "${parts[@]}"
parts=()
ablations ian_mean
table eta0 "${parts[@]}"
