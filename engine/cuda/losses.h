// The end of every loss: adding up, in double, what its rows or lists gave.
#pragma once

#include <cstdint>

#include "engine/core/context.h"

namespace piano::cuda {

// out (1, 1) = the sum of n doubles on the device, always in the same order.
void write_sum(const Context& context, const double* parts, std::int64_t n, float* out);

}  // namespace piano::cuda
