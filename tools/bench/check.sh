#!/bin/bash
# Instruction counts of a few small fixed cases against the committed ones: a regression shows on a noisy machine too.
#   tools/bench/check.sh PIANO [--update]      exit 1 when a count is more than 3 % off; --update writes the counts instead
# Counted by callgrind within counted_region() (tools/bench_count.cpp), one thread, on the x86-64-v3 kernels: valgrind knows no AVX-512.
set -u
piano=$1 update=${2:-}
baseline=$(dirname "$0")/baseline.json
cases="train-step infer-100 prepare op-linear op-attention op-embedding"
[ "$(uname -m)" = x86_64 ] || { echo "bench-check: the counts are those of x86-64; nothing to compare on $(uname -m)" >&2; exit 0; }
command -v valgrind >/dev/null || { echo "bench-check: valgrind is not installed; try: apt-get install valgrind" >&2; exit 2; }

count() {  # instructions of one case
  PIANO_ISA=x86-64-v3 valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
    --toggle-collect='piano::tools::counted_region*' "$piano" bench --count "$1" 2>&1 | sed -n 's/.*Collected : //p'
}

failed=0 lines=""
for name in $cases; do
  now=$(count "$name")
  [ "${now:-0}" -gt 0 ] || { echo "bench-check: $name could not be counted: is $piano stripped, or is it a sanitizer's build?" >&2; exit 2; }
  before=$(sed -n "s/.*\"$name\": *\([0-9]*\).*/\1/p" "$baseline" 2>/dev/null)
  lines+="${lines:+,$'\n'}  \"$name\": $now"
  if [ "$update" = --update ]; then verdict=written
  elif [ -z "$before" ]; then verdict="not in $baseline" failed=1
  elif [ $((100 * now)) -gt $((103 * before)) ]; then verdict="MORE than 3 % up" failed=1
  elif [ $((100 * now)) -lt $((97 * before)) ]; then verdict="more than 3 % down: make bench-check UPDATE=1 writes it down" failed=1
  else verdict=ok
  fi
  awk -v n="$name" -v now="$now" -v before="${before:-0}" -v v="$verdict" 'BEGIN {
    change = before > 0 ? sprintf("%+.1f %%", 100 * (now / before - 1)) : "-"
    printf "%-14s %12d instructions, was %12d  %8s  %s\n", n, now, before, change, v }'
done
[ "$update" != --update ] || printf '{\n%s\n}\n' "$lines" >"$baseline"
exit $failed
