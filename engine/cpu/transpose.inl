// A square of kLanes vectors, transposed in registers: log2(kLanes) exchanges of halves, quarters, ... between pairs of rows.
#pragma once

#include <utility>

#include "engine/cpu/lanes.inl"

namespace piano {
namespace {

// Swaps the upper `block` lanes of each 2 * block lanes of a with the lower ones of b.
template <int block, int... lane>
inline void swap_lanes(F& a, F& b, std::integer_sequence<int, lane...>) {
  const F low = __builtin_shufflevector(a, b, (lane & block ? kLanes + lane - block : lane)...);
  b = __builtin_shufflevector(a, b, (lane & block ? kLanes + lane : lane + block)...);
  a = low;
}

template <int block = kLanes / 2>
inline void transpose(F (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    if ((i & block) == 0) swap_lanes<block>(rows[i], rows[i + block], std::make_integer_sequence<int, kLanes>{});
  }
  if constexpr (block > 1) transpose<block / 2>(rows);
}

}  // namespace
}  // namespace piano
