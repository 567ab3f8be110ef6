// What a device with memory of its own (a GPU) does at most, and how near our kernels, answers and steps come to it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/core/device.h"
#include "tools/bench_own.h"

namespace piano::tools {

// Copy bandwidth and matrix peak; the memory-bound ops of many rows beside the bandwidth; answers and batches of answers; training steps. Everything in each of
// the rounds, medians and ranges. With options.quick: small sizes, to see that it works. Prints tables, returns the same as JSON.
nlohmann::ordered_json bench_device(const Device& device, const BenchOptions& options);

}  // namespace piano::tools
