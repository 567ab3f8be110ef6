#!/bin/bash
# What examination-aware losses are worth under strong position bias (r^-1), where the truth is known: a world without competition, one small model,
# 3 losses, several seeds. Gap closed: 0 is the first ranker's order, 1 the order by true conversion probability.
#   tools/experiments/examination.sh [folder] [seeds]      some 5 minutes on 2 cores
# theta is estimated from a log of the same world with random swaps, as it would be in service, and not told.
set -eu
out=${1:-examination} seeds=${2:-1 2 3}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"

[ -e "$out/theta" ] || {
  "$piano" simulate --requests 20000 --seed 2 --eta 0 --position-bias 1 --swap 1 --out "$out/log" --oracle "$out/oracle"
  "$piano" prepare --min-count 20 --out "$out/data" "$out/log"
  "$piano" ope --data "$out/data" --policy initial --split train --replicates 0 --theta-out "$out/theta"
}
for loss in none likelihood weighted; do
  options=()
  [ $loss = none ] || options=(--set "loss.examination=$loss" --set "loss.theta=$(tr '\n' ' ' < "$out/theta")")
  for seed in $seeds; do
    [ -e "$out/$loss.$seed.txt" ] || {
      "$piano" train --config "$here/simulator.toml" --set model.d=32 --set model.layers=1 --set train.select=loss --data "$out/data" \
        --out "$out/$loss.$seed" --seed "$seed" "${options[@]}" > /dev/null
      "$piano" evaluate --data "$out/data" --model "$out/$loss.$seed" --oracle "$out/oracle" --brief --per-list "$out/$loss.$seed.tsv" > "$out/$loss.$seed.partial"
      mv "$out/$loss.$seed.partial" "$out/$loss.$seed.txt"
    }
    echo "$loss seed $seed: $(grep 'gap closed' "$out/$loss.$seed.txt")"
  done
done
files() { for seed in $seeds; do echo "$out/$1.$seed.tsv"; done; }
for loss in likelihood weighted; do
  echo "$loss minus none"
  python3 "$here/paired.py" "NDCG@10 true conversion" $(files $loss) --vs $(files none) | tail -n 1
done
