#!/bin/bash
# Fuzzes each parser for some seconds, starting from the seeds; new inputs are kept in BUILD_FOLDER/corpus, crashes in BUILD_FOLDER.
#   tests/fuzz/run.sh BUILD_FOLDER [SECONDS [SEED]]
# Seed 0, the default, is another one each time. From any other the same inputs come each time, if the corpus is empty, as many as there is time
# for: libFuzzer looks at addresses, and at its folder as time goes by, so these are held still.
set -eu
build=$(cd "$1" && pwd)
seconds=${2:-60} seed=${3:-0}
here=$(cd "$(dirname "$0")" && pwd)
same=""
[ "$seed" = 0 ] || ! setarch -R true 2>/dev/null || same="setarch -R"  # containers may refuse it
passed=0 failed=0
for target in safetensors jsonl trivago formats npy; do
  mkdir -p "$build/corpus/$target"
  if (cd "$build" && $same "./fuzz_$target" -max_total_time="$seconds" -seed="$seed" -reload=0 -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$build/crash-$target-" "corpus/$target" "$here/seeds/$target" >"fuzz_$target.log" 2>&1); then
    passed=$((passed + 1))
    echo "fuzz_$target: no crash in $seconds s, $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz_$target.log") inputs"
  else
    failed=$((failed + 1))
    echo "fuzz_$target: FAILED"
    tail -n 40 "$build/fuzz_$target.log"
  fi
done
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
