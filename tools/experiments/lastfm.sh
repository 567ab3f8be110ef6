#!/bin/bash
# One table for Last.fm (lists rebuilt, never shown): PIANO, every baseline, heuristics; settings chosen on the validation part.
#   tools/experiments/lastfm.sh folder-of-the-log [folder] [seeds] [trials]      about half an hour on 2 cores
# What is done in folder is not done again. THREADS: workers. The log's folder has tags, user_artists and user_taggedartists, .dat or .dat.gz.
set -eu
log=$1 out=${2:-lastfm} seeds=${3:-1,2,3} trials=${4:-2}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"

[ -e "$out/data" ] || "$piano" prepare --format lastfm --seed 1 --min-count 1000000 --out "$out/data" \
  "$log"/tags.dat* "$log"/user_artists.dat* "$log"/user_taggedartists.dat*
models=(--model piano=)
for m in dnn din esmm ple prm setrank mir pear; do models+=(--model "$m=model=$m,loss.listwise=0"); done
for m in mmoe dlcm; do models+=(--model "$m=model=$m,model.layers=2,loss.listwise=0"); done  # they have no layers: as given
"$piano" compare --out "$out/runs" --data "$out/data" --config "$here/lastfm.toml" --seeds "$seeds" --tune "$trials" --vary train.learning_rate=0.001,0.003 \
  ${THREADS:+--threads $THREADS} "${models[@]}"
