#!/bin/sh
# Finds what the build needs and this machine lacks. With apt and the right to use it: installs it. Otherwise prints the line to run and
# stops. Says nothing when nothing is missing. Looks for commands and headers, not for packages: any distribution will do.
set -eu

missing=""
need() { missing="$missing $1"; }

# at_least 3.25 3.31.2
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

command -v "${CXX:-g++}" >/dev/null && { [ -n "${CXX:-}" ] || at_least 12 "$(g++ -dumpfullversion)"; } || need g++
command -v make >/dev/null || need make
command -v cmake >/dev/null && at_least 3.25 "$(cmake --version | sed -n 's/^cmake version //p')" || need cmake
command -v pkg-config >/dev/null || need pkg-config

header() {  # package, header
  for folder in $(echo "${CPATH:-}" | tr ':' ' ') $(echo "${CMAKE_PREFIX_PATH:-}" | tr ';:' '  ' | sed 's|[^ ][^ ]*|&/include|g') \
                /usr/include /usr/local/include /opt/homebrew/include; do
    [ ! -e "$folder/$2" ] || return 0
  done
  need "$1"
}
header zlib1g-dev zlib.h
header libeigen3-dev eigen3/Eigen/Core
header doctest-dev doctest/doctest.h
header libcxxopts-dev cxxopts.hpp
header nlohmann-json3-dev nlohmann/json.hpp
header libtomlplusplus-dev toml++/toml.h
header libfast-float-dev fast_float/fast_float.h
header libxxhash-dev xxhash.h

[ -n "$missing" ] || exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo -n"
if [ -z "${PIANO_BOOTSTRAPPED:-}" ] && command -v apt-get >/dev/null && { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
  echo "installing:$missing" >&2
  $sudo apt-get update -q >&2 || echo "apt-get update failed; trying with the package lists that are there" >&2
  # shellcheck disable=SC2086  # one word per package
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2 || true
  PIANO_BOOTSTRAPPED=1 exec "$0"  # looks again: the distribution's version may be too old
fi
echo "The build needs what this machine lacks. Please run:" >&2
echo "  sudo apt-get install -y$missing" >&2
exit 1
