// The benchmark's cases, the same for us and for those we are compared with, and where a case lies on disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "piano/config.h"
#include "tools/bench_data.h"

namespace piano::tools {

struct BenchCase {
  std::string name;
  bool train = true;                // training steps of `lists` lists; else one request at a time
  std::int64_t lists = 1, d = 64;
  BenchLog log;                     // what it reads; log.lists in all, of which a step takes `lists`
};

// Training: (32, 20), (128, 50) and (32, 100) lists and candidates, lists 70-100 % full, d = 64 and 128.
// Inference: 20, 100 and 1,000 candidates, full, d = 64. Always 50 past events.
std::vector<BenchCase> bench_cases();
// Of a GPU's benchmark, beside those of inference: training on 256 lists of 50, d = 64 and 128; and data enough for batches of 4,096.
std::vector<BenchCase> device_cases();
BenchCase find_case(const std::vector<BenchCase>& cases, const std::string& name);  // throws ErrorCode::usage naming the nearest

// The project's defaults, without dropout (of ids too): peers draw other random numbers. Then `assignments`, each "key=value".
Config bench_config(const BenchCase& c, const std::vector<std::string>& assignments);

// <folder>/<case>.model.safetensors, .batch.safetensors, .data.safetensors (training), .requests.jsonl (inference)
std::string case_file(const std::string& folder, const std::string& name, const std::string& what);

}  // namespace piano::tools
