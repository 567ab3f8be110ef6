#!/bin/bash
# One table for the trivago log: PIANO, every baseline, heuristics, LambdaMART; 5 folds by user, settings chosen on each fold's validation part.
#   tools/experiments/trivago.sh sessions.csv.gz [folder] [seeds] [trials]      about an hour on 2 cores, a fifth of it LambdaMART's
# What is done in folder is not done again. THREADS: workers. PYTHON: one that has lightgbm and numpy; without them there is no LambdaMART.
set -eu
log=$1 out=${2:-trivago} seeds=${3:-1,2,3} trials=${4:-2}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"

folds=() models=(--model piano=)
for k in 1 2 3 4 5; do
  [ -e "$out/fold$k" ] || "$piano" prepare --format trivago --split user --folds 5 --fold $k --min-count 20 --out "$out/fold$k" "$log"
  folds+=(--data "$out/fold$k")
done
for m in dnn din esmm ple prm setrank mir pear; do models+=(--model "$m=model=$m,loss.listwise=0"); done
for m in mmoe dlcm; do models+=(--model "$m=model=$m,model.layers=2,loss.listwise=0"); done  # they have no layers: as given
[ -e "$out/lambdamart/tried.json" ] || "${PYTHON:-python3}" "$here/../lambdamart/lambdamart.py" --piano "$piano" "${folds[@]}" --out "$out/lambdamart" \
  --trials $((4 * trials)) --seeds "$seeds" || [ $? = 77 ]
for scores in "$out"/lambdamart/seed*.tsv; do
  [ ! -e "$scores" ] || models+=(--scores "lambdamart=$scores")
done
"$piano" compare --out "$out/runs" "${folds[@]}" --config "$here/trivago.toml" --seeds "$seeds" --tune "$trials" --vary train.learning_rate=0.001,0.003 \
  ${THREADS:+--threads $THREADS} "${models[@]}"
