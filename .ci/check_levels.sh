#!/bin/bash
# The linker keeps one copy of a weak function. If an object for a newer instruction set brings one that other objects have too, older machines
# may run into it. So the kernels of such levels define none.
#   .ci/check_levels.sh BUILD_FOLDER
set -u
for level in x86_64_v3 x86_64_v4; do
  object=$(find "$1" -name "level_$level.cpp.o" | head -n 1)
  [ -n "$object" ] || { echo "levels: no object of level $level in $1"; exit 1; }
  foreign=$(nm --defined-only "$object" | awk '$2 ~ /^[WVu]$/ {print $3}' | grep -v -e '^DW\.ref\.' | c++filt)
  [ -z "$foreign" ] || { echo "weak symbols compiled for $level:"; echo "$foreign"; exit 1; }
  echo "levels: no weak symbol of $level"
done
