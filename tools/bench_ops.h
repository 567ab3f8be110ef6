// The op table timed: every op's cases, and the shapes that the model gives it.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace piano::tools {

// Prints a table: microseconds, GFLOP/s, GB/s and share of the machine's peak, forward and backward, on one thread and the kernel level in
// use. `filter`: part of an op's or a case's name; empty: all. Returns the same as JSON.
nlohmann::ordered_json bench_ops(const std::string& filter, int rounds);

}  // namespace piano::tools
