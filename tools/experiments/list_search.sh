#!/bin/bash
# What a search over whole orders is worth, where the truth is known: a world in which similar neighbours take each other's clicks, a model with
# displayed positions, its order by score and the order that its list heads like best, predicted and true value of both; also the early-scoring
# gap: what the list heads say of the order logged and of the orders served.
#   tools/experiments/list_search.sh [folder] [seeds] [requests]      some 3 minutes on 2 cores
set -eu
out=${1:-list_search} seeds=${2:-1 2 3} requests=${3:-20000}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"

[ -e "$out/data" ] || {
  "$piano" simulate --requests "$requests" --seed 2 --eta 1 --swap 1 --out "$out/log" --oracle "$out/oracle"
  "$piano" prepare --min-count 20 --out "$out/data" "$out/log"
}
for seed in $seeds; do
  [ -e "$out/$seed.txt" ] || {
    "$piano" train --config "$here/simulator.toml" --set model.d=32 --set model.layers=1 --set encoder.position=displayed --set rank.by=list_search \
      --data "$out/data" --out "$out/$seed" --seed "$seed" > /dev/null
    "$piano" evaluate --data "$out/data" --model "$out/$seed" --oracle "$out/oracle" > "$out/$seed.partial"
    mv "$out/$seed.partial" "$out/$seed.txt"
  }
  echo "seed $seed"
  sed '/^slice: /,$d' "$out/$seed.txt" | grep -E '^(metric|paired|true |P_ctr.*(true|predicted)|gap closed)'  # all lists, then paired differences
done
