// What an optimiser needs to add up gradients and to take their norm.
#pragma once

#include <cstdint>

#include "engine/cpu/lanes.inl"

namespace piano {
namespace {

// to += from
void add_arrays(std::int64_t n, void* to_data, const void* from_data) {
  auto* to = static_cast<float*>(to_data);
  const auto* from = static_cast<const float*>(from_data);
  for_vectors(n, [&](std::int64_t i, std::int64_t some) { put(to + i, get(to + i, some) + get(from + i, some), some); });
}

// In double, kLanes / 2 running sums side by side, which are added up in order.
double sum_of_squares(std::int64_t n, const void* data) {
  constexpr int kDoubles = kLanes / 2;
  using H = float __attribute__((vector_size(kDoubles * sizeof(float))));
  using D = double __attribute__((vector_size(kDoubles * sizeof(double))));
  const auto* x = static_cast<const float*>(data);
  D sums{};
  const auto add = [&](const float* from, std::size_t bytes) {
    H some{};
    std::memcpy(&some, from, bytes);
    const D wide = __builtin_convertvector(some, D);
    sums += wide * wide;
  };
  std::int64_t i = 0;
  for (; i + kDoubles <= n; i += kDoubles) add(x + i, sizeof(H));
  if (i < n) add(x + i, static_cast<std::size_t>(n - i) * sizeof(float));
  double sum = 0;
  for (int l = 0; l < kDoubles; ++l) sum += sums[l];
  return sum;
}

}  // namespace
}  // namespace piano
