#!/bin/bash
# Checks the structure that the architecture promises. Prints one line per violation; exit 1 when there is any.
#   .ci/check_structure.sh
set -u
cd "$(dirname "$0")/.." || exit 1
violations=0
files() { git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r f; do [ -f "$f" ] && echo "$f"; done; }
report() {  # reason; lines on standard input
  while IFS= read -r line; do
    echo "$1: $line"
    violations=$((violations + 1))
  done
}

# ---- who may know whom: folder, then the folders whose headers it may include
arrows="
engine/base: engine/base
engine/core: engine/base engine/core
engine/ops: engine/base engine/core engine/ops
engine/ref: engine/base engine/core engine/ops engine/ref
engine/cpu: engine/base engine/core engine/ops engine/cpu
engine/cuda: engine/base engine/core engine/ops engine/cuda
layers: engine/base engine/core engine/ops layers
data: engine/base data
piano: engine/base engine/core engine/ops layers data piano piano/baselines
tools: engine/base engine/core engine/ops layers data piano tools
"
while IFS=: read -r folder allowed; do
  [ -n "$folder" ] || continue
  pattern=$(echo "$allowed" | sed 's/^ *//; s/ *$//; s/ /|/g')
  report "$folder may not include this" < <(
    files "$folder" | grep -E '\.(h|inl|cpp|cu)$' | xargs -r grep -nE '^ *# *include *["<](engine|layers|data|piano|tools|tests)/' |
      grep -vE "include *[\"<]($pattern)/[^/]+[\">]")
done <<<"$arrows"

# ---- who may use which package: header, then the files that may include it
package() {  # name, pattern of the include, pattern of the files that may
  report "$1 is not for this file" < <(
    files engine layers data piano tools tests | grep -E '\.(h|inl|cpp|cu)$' | grep -vE "$3" | xargs -r grep -nE "^ *# *include *[\"<]$2")
}
package Eigen '(eigen3/)?Eigen/' '^engine/cpu/'
package OpenMP 'omp\.h' '^engine/cpu/thread_pool_openmp\.cpp$'
package CUDA '(cuda|cublas|curand|cudnn|cub/|thrust/)' '^(engine/cuda|tests/cuda_emulation)/'
package cxxopts 'cxxopts' '^tools/'
package doctest 'doctest' '^tests/'
package toml++ 'toml' '^piano/config_toml\.cpp$'
report "no package may show in a public header" < <(grep -nE '# *include *[<"](nlohmann|Eigen|omp|xxhash|fast_float|zlib|toml)' piano/piano.h data/request.h engine/base/error.h)

# ---- the top level is fixed
report "not at the top level" < <(
  files | cut -d/ -f1 | sort -u |
    grep -vxE 'Makefile|CMakeLists\.txt|CMakePresets\.json|engine|layers|piano|data|tools|tests|docs|\.ci|README\.md|LICENSE|\.gitignore|\.clang-format')

# ---- every folder says what it is
for folder in engine engine/base engine/core engine/ops engine/ref engine/cpu engine/cuda layers piano data tools tests; do
  [ -s "$folder/README.md" ] || report "has no README.md" <<<"$folder"
done

# ---- habits
code() { files engine layers data piano tools tests CMakeLists.txt | grep -E '\.(h|inl|cpp|cu|sh|py|txt|cmake|in)$'; }
report "longer than 500 lines" < <(code | grep -E '\.(h|inl|cpp|cu|sh|py)$' | xargs -r wc -l | awk '$2 != "total" && $1 > 500 {print $2 " (" $1 ")"}')
report "a path of one machine" < <(files | grep -v '^\.ci/check_structure\.sh$' | xargs -r grep -nIE '/(work|root|home)/|/tmp/[a-z]/')
report "-ffast-math breaks NaN checks" < <(code | xargs -r grep -nE -e '-ffast-math|-Ofast|-march=native|fast-math')
report "unfinished" < <(code | xargs -r grep -nwE 'TODO|FIXME|XXX|HACK')
report "a float reduction across threads" < <(code | grep '^engine/' | xargs -r grep -nE 'omp parallel.*reduction')
report "iterates over an unordered container" < <(
  for file in $(code | grep -E '^(engine|layers|data|piano|tools)/.*\.(h|inl|cpp)$' | xargs -r grep -lE 'unordered_(map|set)'); do
    # names declared as unordered in the file, then range-for over one of these names
    names=$(grep -oE 'unordered_(map|set)<.*> +[a-z_]+[;{ =]' "$file" | sed -E 's/.*> +([a-z_]+).*/\1/' | sort -u | paste -sd'|')
    [ -z "$names" ] || grep -nE "for *\(.*: *(\*?this->|[a-z_]+[.]|[a-z_]+->)?($names)\)" "$file" | sed "s|^|$file:|"
  done)
report "doctest's main belongs in main.cpp alone" < <(files tests | grep -E '\.(h|cpp)$' | grep -v '/main\.cpp$' | xargs -r grep -n 'DOCTEST_CONFIG_IMPLEMENT')
report "printing to stdout outside tools" < <(files engine layers data piano | grep -E '\.(h|inl|cpp)$' | xargs -r grep -nE 'std::cout|[^fns]printf\(|\bputs\(')

echo "structure: $violations violations"
[ "$violations" -eq 0 ]
