#!/bin/bash
# How good the off-policy estimates of `piano ope` are where the truth is known: how often the 95 % interval covers it, how wide it is, and the
# mean and the spread of the error, over many worlds of 2,000 requests by 500 users. The new order is by true conversion probability.
#   tools/experiments/off_policy.sh [folder] [worlds]      some 8 minutes on one core
set -eu
out=${1:-off-policy} worlds=${2:-100}
here=$(cd "$(dirname "$0")" && pwd)
piano=${PIANO:-$here/../../build/release/piano}
mkdir -p "$out"

setting() {  # name, theta: given | em, flags of simulate
  local name=$1 theta=$2 world
  shift 2
  [ -e "$out/$name.json" ] || {
    touch "$out/$name.partial"  # what is there is not done again
    for world in $(seq $(($(wc -l < "$out/$name.partial") + 1)) "$worlds"); do
      "$piano" simulate --requests 2000 --users 500 --seed "$world" "$@" --out "$out/log" --oracle "$out/oracle" 2> /dev/null
      "$piano" prepare --split none --out "$out/data" "$out/log" > /dev/null
      "$piano" ope --data "$out/data" --policy oracle --oracle "$out/oracle" --replicates 200 --json \
        $([ "$theta" = em ] || echo --theta "$theta") >> "$out/$name.partial" 2> /dev/null
    done
    mv "$out/$name.partial" "$out/$name.json"
  }
  python3 - "$name" "$out/$name.json" <<'PYTHON'
import json, sys
worlds = [json.loads(line) for line in open(sys.argv[2])]
for what in ("clicks", "conversions"):
    for estimator in ("ips", "doubly_robust"):
        truth = [w["truth"][what] for w in worlds]
        e = [w[what][estimator] for w in worlds]
        covered = sum(x["low"] <= t <= x["high"] for x, t in zip(e, truth))
        width = sum((x["high"] - x["low"]) / t for x, t in zip(e, truth)) / len(e)
        errors = [x["value"] / t - 1 for x, t in zip(e, truth)]
        mean = sum(errors) / len(e)
        spread = (sum((x - mean) ** 2 for x in errors) / max(len(e) - 1, 1)) ** 0.5
        print(f"{sys.argv[1]:24} {what:11} {estimator:13} covers {covered}/{len(e)}, width {100 * width:5.1f} %, "
              f"error {100 * mean:+5.1f} % (spread {100 * spread:.1f} %)")
PYTHON
}
power_law() { awk "BEGIN { for (r = 1; r <= 30; ++r) printf \"%.9f\n\", r ^ -$1 }"; }

power_law 0.3 > "$out/theta-0.3"
power_law 1 > "$out/theta-1"
setting "theta given" "$out/theta-0.3" --eta 0 --swap 0.5
setting "no swaps" "$out/theta-0.3" --eta 0
setting "strong position bias" "$out/theta-1" --eta 0 --swap 0.5 --position-bias 1
setting "theta by EM" em --eta 0 --swap 1
setting "theta by EM, 8,000" em --eta 0 --swap 1 --requests 8000 --users 2000
for eta in 0.5 2; do setting "eta $eta" "$out/theta-0.3" --eta $eta --swap 0.5; done
