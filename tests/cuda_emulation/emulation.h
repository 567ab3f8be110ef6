// What tests may ask of the emulated device (cuda_runtime.h beside this).
#pragma once

#include <cstdint>

namespace piano::emulation {

// 0: threads run in their order. Else in an order drawn from `seed`, blocks as well: kernels whose bits depend on it are found.
void shuffle_threads(std::uint64_t seed);

std::int64_t launches();  // kernels started until now

}  // namespace piano::emulation
