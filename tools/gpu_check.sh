#!/bin/bash
# Checks the CUDA backend on a machine with a GPU, without network. Each part says passed, failed or skipped, and why; a part that fails stops
# no other. Each takes less than ten minutes, and may be a command of its own:
#   tools/gpu_check.sh                                   all parts, in this order
#   tools/gpu_check.sh build ops goldens steps determinism sanitizer bench
# What each part said is kept in BUILD, and docs/gpu.md shows the last of each, with device, driver and date.
#   BUILD=build/gpu      where to build        HEADERS=FOLDER  of tools/headers.sh, where the machine lacks the packages
#   PYTHON=python3       with torch and numpy, for the peers (without: our own figures alone)
#   LIMIT=570            seconds a part may take
# Part bench measures as much as fits into its time, says partial when something is left, and goes on when it is run again.
# Exit code: 0 when nothing failed, 1 otherwise.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build/gpu} HEADERS=${HEADERS:-} PYTHON=${PYTHON:-python3} LIMIT=${LIMIT:-570}
all="build ops goldens steps determinism sanitizer bench"
parts=${*:-$all}
for part in $parts; do
  case " $all " in *" $part "*) ;; *) echo "no part '$part': expected some of $all" >&2; exit 2 ;; esac
done
kept=$BUILD/gpu_check
mkdir -p "$kept" || exit 1
[ -z "$HEADERS" ] || HEADERS=$(cd "$HEADERS" && pwd) || exit 1

# ---- what a part needs. Each prints why it cannot be had and fails with 77: skipped

a_gpu() { [ -n "$(nvidia-smi -L 2>/dev/null)" ] || { echo "no GPU here (nvidia-smi -L names none)"; return 77; }; }
built() { [ -x "$BUILD/$1" ] || { echo "$BUILD/$1 is not there: run part build first"; return 77; }; }
seconds() { timeout "$LIMIT" "$@"; }

# Runs the test cases of test_gpu whose names match. None matching is no success.
tests() {
  local log=$kept/$1.log status
  a_gpu && built test_gpu || return
  shift
  seconds "$@" >"$log" 2>&1
  status=$?
  [ $status != 124 ] || { echo "took more than $LIMIT s"; return 1; }
  if [ $status = 0 ] && grep -qE 'test cases: +0 ' "$log"; then
    echo "this tree has no such test"
    return 77
  fi
  grep -E '\[doctest\] (test cases|assertions)|ERROR SUMMARY|RACECHECK SUMMARY|ERROR:' "$log" | sed 's/\[doctest\] //; s/  */ /g; s/ *$//' | head -5 | paste -sd';'
  return $status
}

# ---- the parts: what is printed last is why

part_build() {
  command -v nvcc >/dev/null || { echo "no nvcc on the PATH"; return 77; }
  command -v cmake >/dev/null || { echo "no cmake on the PATH"; return 77; }
  local generator="Unix Makefiles"
  command -v ninja >/dev/null && generator=Ninja
  { cmake -S . -B "$BUILD" -G "$generator" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" -DPIANO_UNITY=ON -DPIANO_CUDA=ON \
      ${HEADERS:+-DCMAKE_PREFIX_PATH="$HEADERS"} && seconds cmake --build "$BUILD" --parallel "$(nproc)" --target piano_cli test_gpu; } >"$kept/build.log" 2>&1 ||
    { echo "see $kept/build.log: $(grep -m1 -iE 'error' "$kept/build.log" || echo "took more than $LIMIT s")"; return 1; }
  local code="not looked at, no cuobjdump"  # for the A100, the H100, and PTX for what is newer
  if command -v cuobjdump >/dev/null; then
    code=$({ cuobjdump -lelf "$BUILD/test_gpu"; cuobjdump -lptx "$BUILD/test_gpu"; } | grep -oE 'sm_[0-9a-z]+\.(cubin|ptx)' | sort -u | paste -sd' ')
    for wanted in sm_80.cubin sm_90.cubin sm_90.ptx; do
      case " $code " in *" $wanted "*) ;; *) echo "expected sm_80.cubin, sm_90.cubin and sm_90.ptx in test_gpu, got: $code"; return 1 ;; esac
    done
  fi
  echo "$(nvcc --version | sed -n 's/.*release \([^,]*\),.*/CUDA \1/p'), $(c++ --version | head -1), code: $code"
}

part_ops() { tests ops "$BUILD/test_gpu" -tc='every kernel on the GPU*'; }
part_goldens() { tests goldens "$BUILD/test_gpu" -tc='predictions on the device*'; }
part_steps() { tests steps "$BUILD/test_gpu" -tc='training on a device*'; }

part_determinism() {  # two trainings and two evaluations in processes of their own
  a_gpu && built piano || return
  local piano=$PWD/$BUILD/piano folder status=0
  folder=$(mktemp -d)
  (
    cd "$folder" || exit 1
    "$piano" simulate --requests 2000 --out log.jsonl && "$piano" prepare log.jsonl --out data || exit 1
    for run in 1 2; do
      seconds "$piano" train --data data --out model-$run --device cuda --set train.epochs=2 --set model.d=32 || exit 1
      seconds "$piano" evaluate --data data --model model-1 --device cuda --json >report-$run.json || exit 1
    done
  ) >"$kept/determinism.log" 2>&1 || status=1
  if [ $status != 0 ]; then
    echo "see $kept/determinism.log: $(tail -n 1 "$kept/determinism.log")"
  elif ! cmp -s "$folder/model-1" "$folder/model-2"; then
    echo "two trainings gave two models" && status=1
  elif ! cmp -s "$folder/report-1.json" "$folder/report-2.json"; then
    echo "two evaluations gave two reports" && status=1
  else
    echo "two trainings gave one model, two evaluations one report, byte for byte"
  fi
  rm -rf "$folder"
  return $status
}

part_sanitizer() {
  command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer on the PATH"; return 77; }
  local why whys="" status worst=0 half=$((LIMIT / 2))
  for tool in memcheck racecheck; do
    why=$(LIMIT=$half tests sanitizer-$tool compute-sanitizer --tool $tool --error-exitcode 9 "$BUILD/test_gpu" -tc='every kernel on the GPU*')
    status=$?
    whys+="$tool: $why. "
    [ $status = 0 ] || worst=$status
    [ $status != 77 ] || break
  done
  echo "$whys"
  return $worst
}

part_bench() {
  a_gpu && built piano || return
  if "$PYTHON" -c 'import numpy, torch; assert torch.cuda.is_available()' 2>/dev/null; then
    mkdir -p "$BUILD/gpu_cases"
    seconds "$PYTHON" tools/bench/gpu.py --piano "$BUILD/piano" --folder "$BUILD/gpu_cases" --seconds $((LIMIT / 3)) --markdown "$kept/bench.md" \
      >"$kept/bench.log" 2>&1
    local status=$?
    [ $status = 0 ] || { echo "see $kept/bench.log: $(tail -n 1 "$kept/bench.log")"; return $status; }
    echo "beside PyTorch $("$PYTHON" -c 'import torch; print(torch.__version__)'), table below"
  else
    seconds "$BUILD/piano" bench --device cuda >"$kept/bench.log" 2>&1 || { echo "see $kept/bench.log: $(tail -n 1 "$kept/bench.log")"; return 1; }
    { echo '```'; cat "$kept/bench.log"; echo '```'; } >"$kept/bench.md"
    echo "our own figures alone: $PYTHON has no torch that sees the GPU"
  fi
}

# ---- running them

failed=0
for part in $parts; do
  begin=$SECONDS
  why=$("part_$part" 2>&1)
  case $? in 0) word=passed ;; 75) word=partial ;; 77) word=skipped ;; *) word=failed failed=1 ;; esac
  took=$((SECONDS - begin))
  why=$(printf '%s' "$why" | tail -n 1 | tr '|' '/')
  printf '%-8s %-12s %4s s  %s\n' $word "$part" $took "$why"
  printf '| %s | %s | %s | %s | %s |\n' "$part" $word "$(date -u '+%Y-%m-%d %H:%M')" "$took s" "$why" >"$kept/$part.row"
done

# ---- the table, in place of the one in docs/gpu.md
if a_gpu >/dev/null; then
  device=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1 | sed 's/, /, driver /')
  {
    sed '/^<!-- results -->$/q' docs/gpu.md
    printf '\n%s; commit %s\n\n| part | result | when (UTC) | took | |\n|---|---|---|---|---|\n' "$device" "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
    for part in $all; do cat "$kept/$part.row" 2>/dev/null || echo "| $part | not run | | | |"; done
    [ ! -s "$kept/bench.md" ] || { echo; cat "$kept/bench.md"; }
  } >docs/gpu.md.new && mv docs/gpu.md.new docs/gpu.md
  echo "docs/gpu.md has the table"
fi
exit $failed
