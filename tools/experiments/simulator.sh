#!/bin/bash
# What PIANO and its parts are worth where the truth is known: the simulator's world of seed 2 (settings were chosen in that of seed 1), PIANO
# beside its ablations, every baseline, heuristics and the oracle; then the same world with a dial turned: kappa (how much taste depends on the
# intent) and eta (how many clicks neighbours take), 0 included.
#   tools/experiments/simulator.sh [folder] [seeds] [trials] [requests]      about two hours on 2 cores
# folder/models.txt is the table of models: each chooses its learning rate and epoch on the validation part by NDCG of logged clicks, as on the
# other data sets. folder/WORLD.txt is about parts: settings as given, the epoch by the loss, because that NDCG prefers the order in which the
# clicks were examined and tells epochs apart by chance.
# What is done in folder is not done again. THREADS: workers.
set -eu
out=${1:-simulator} seeds=${2:-1,2,3} trials=${3:-2} requests=${4:-50000}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"

world() {  # name, flags of simulate
  [ ! -e "$out/$1" ] || return 0
  "$piano" simulate --requests "$requests" --seed 2 "${@:2}" --out "$out/log" --oracle "$out/$1.oracle"
  "$piano" prepare --min-count 50 --out "$out/$1" "$out/log"
  rm "$out/log"
}
table() {  # name of the table, world, flags of compare; a world's runs are shared by its tables
  "$piano" compare --out "$out/$2.runs" --data "$out/$2" --oracle "$out/$2.oracle" --config "$here/simulator.toml" \
    --seeds "$seeds" --metric "NDCG@10 true conversion" ${THREADS:+--threads $THREADS} --model piano= "${@:3}" > "$out/$1.partial"
  mv "$out/$1.partial" "$out/$1.txt"
  echo "$1: $out/$1.txt"
}
ablations() { for name in "$@"; do parts+=(--model "$here/../../piano/configs/ablations/$name.toml"); done; }

world default
world kappa0 --kappa 0
world kappa0.4 --kappa 0.4
world eta0 --eta 0
world eta1 --eta 1

parts=()
for m in dnn din esmm mmoe ple dlcm prm setrank mir pear; do parts+=(--model "$m=model=$m"); done
table models default --tune "$trials" --vary train.learning_rate=0.003,0.001 "${parts[@]}"
by_loss=(--set train.select=loss --heuristics none)
parts=(--permute-past-queries)
ablations qdir_item_only
for w in kappa0 kappa0.4; do table $w $w "${by_loss[@]}" "${parts[@]}"; done
ablations qdir_mean qdir_off ian_mean
table default default "${by_loss[@]}" "${parts[@]}"
parts=()
ablations ian_mean
for w in eta0 eta1; do table $w $w "${by_loss[@]}" "${parts[@]}"; done
