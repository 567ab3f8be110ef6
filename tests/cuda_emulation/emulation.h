// What tests may ask of the emulated device (cuda_runtime.h beside this).
#pragma once

#include <cstddef>
#include <cstdint>

namespace piano::emulation {

// 0: threads run in their order. Else in an order drawn from `seed`, blocks as well: kernels whose bits depend on it are found.
void shuffle_threads(std::uint64_t seed);

bool finds_races();  // it is built with the thread sanitizer (order.h)

std::int64_t launches();  // kernels started until now

// What the device is; tests may have another one for a while.
struct Gpu {
  int count = 1, major = 9, minor = 0, pools = 1;
  std::int64_t memory = std::int64_t{1} << 40;  // bytes
  int fails = 0;        // so many launches from now one does nothing, and the next wait for the stream says so
  bool failed = false;
};
inline Gpu gpu;
std::int64_t memory_in_use();

constexpr std::size_t kMostShared = 227 * 1024;  // bytes that a block of an H100 can have

}  // namespace piano::emulation
