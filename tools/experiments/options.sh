#!/bin/bash
# What two options with a cost in time do to quality: train.rows (lazy | catchup) and encoder.attention (full | induced), paired over users.
#   tools/experiments/options.sh [folder] [seeds] [sessions.csv.gz]      about 20 minutes on 2 cores, a third of it for trivago's log, if it is given
# The simulator's lists have 10 to 30 candidates and trivago's at most 25, so 32 inducing points are more than there are candidates: what
# those of a list of hundreds lose is asked with 4 points. Row optimisers differ in rows that are seldom read: also with --min-count 2.
set -eu
out=${1:-options} seeds=${2:-1,2,3,4,5} log=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
rows=(--model piano= --model catchup=train.rows=catchup)
attention=(--model induced=encoder.attention=induced --model induced4=encoder.attention=induced,encoder.points=4)
mkdir -p "$out"

compare() {  # data, settings, flags
  "$piano" compare --out "$out/$1.runs" --data "$out/$1" --config "$here/$2.toml" --seeds "$seeds" --heuristics none ${THREADS:+--threads $THREADS} "${@:3}"
}

if [ ! -e "$out/simulated.rare" ]; then
  "$piano" simulate --requests 50000 --seed 3 --out "$out/log.jsonl" --oracle "$out/oracle"
  "$piano" prepare --min-count 50 --out "$out/simulated" "$out/log.jsonl"
  "$piano" prepare --min-count 2 --out "$out/simulated.rare" "$out/log.jsonl"
  rm "$out/log.jsonl"
fi
truth=(--oracle "$out/oracle" --metric "NDCG@10 true conversion")
compare simulated simulator "${truth[@]}" "${rows[@]}" "${attention[@]}"
compare simulated.rare simulator "${truth[@]}" "${rows[@]}"

[ -n "$log" ] || exit 0
for count in 20 2; do
  [ -e "$out/trivago$count" ] || "$piano" prepare --format trivago --split user --folds 5 --fold 1 --min-count $count --out "$out/trivago$count" "$log"
done
compare trivago20 trivago "${rows[@]}" "${attention[@]}"
compare trivago2 trivago "${rows[@]}"
