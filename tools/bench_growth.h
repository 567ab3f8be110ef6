// How cost grows: each law is one ratio, measured in turn within one run.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "tools/bench_own.h"

namespace piano::tools {

// Prints a row a law: the ratio's median and range, its limit, "ok" or "over". One thread. Returns the same as JSON.
nlohmann::ordered_json bench_growth(const BenchOptions& options);

}  // namespace piano::tools
