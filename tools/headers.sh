#!/bin/sh
# Copies what the build needs and a machine without network may lack (headers, zlib, and how CMake finds them) from this machine's packages.
#   tools/headers.sh FOLDER      then there, with CMake 3.25 and g++ 12: cmake -DCMAKE_PREFIX_PATH=FOLDER ..., or HEADERS=FOLDER tools/gpu_check.sh
# About 10 MB. FOLDER is made anew; it must be empty or made by this.
set -eu
[ $# = 1 ] || { echo "usage: tools/headers.sh FOLDER" >&2; exit 2; }
to=$1
if [ -e "$to" ] && [ ! -e "$to/made-by-headers.sh" ] && [ -n "$(ls -A "$to")" ]; then
  echo "$to: expected a new or empty folder, or one made by tools/headers.sh" >&2
  exit 2
fi
rm -rf "$to"
mkdir -p "$to/include" "$to/lib/cmake" "$to/share/cmake" "$to/share/eigen3"
touch "$to/made-by-headers.sh"
copy() {  # what: the first of these that is there; where to
  where=$1
  shift
  for from in "$@"; do
    [ -e "$from" ] && { cp -RL "$from" "$to/$where"; return 0; }
  done
  echo "none of these is here: $*; tools/bootstrap.sh installs what the build needs" >&2
  exit 1
}
for header in eigen3 doctest cxxopts.hpp nlohmann toml++ fast_float xxhash.h zlib.h; do copy include /usr/include/$header; done
rm -rf "$to/include/eigen3/unsupported"
copy include /usr/include/zconf.h /usr/include/"$(uname -m)"-linux-gnu/zconf.h
copy lib /usr/lib/"$(uname -m)"-linux-gnu/libz.a /usr/lib/libz.a
for package in FastFloat cxxopts doctest; do copy lib/cmake /usr/lib/cmake/$package /usr/lib/"$(uname -m)"-linux-gnu/cmake/$package /usr/share/cmake/$package; done
copy share/cmake /usr/share/cmake/nlohmann_json /usr/lib/cmake/nlohmann_json
copy share/eigen3 /usr/share/eigen3/cmake
# Some packages' targets name the prefix that they were installed to.
sed -i 's|set(_IMPORT_PREFIX "/usr")|get_filename_component(_IMPORT_PREFIX "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)|' "$to"/lib/cmake/*/*.cmake
du -sh "$to" | sed 's/\t/  /'
