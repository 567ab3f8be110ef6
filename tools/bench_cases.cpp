#include "tools/bench_cases.h"

#include "engine/base/error.h"

namespace piano::tools {

namespace {

constexpr std::int64_t kBatches = 8;    // of a training case, taken in turn, so that a step does not meet the rows of the one before
constexpr std::int64_t kRequests = 32;  // of an inference case

}  // namespace

std::vector<BenchCase> bench_cases() {
  std::vector<BenchCase> cases;
  for (const std::int64_t d : {64, 128}) {
    for (const auto& [lists, candidates] : {std::pair{32, 20}, {128, 50}, {32, 100}}) {
      const std::string name = "train-" + std::to_string(lists) + "x" + std::to_string(candidates) + "-d" + std::to_string(d);
      cases.push_back({name, true, lists, d, {.lists = lists * kBatches, .candidates = candidates, .full = 0.7}});
    }
  }
  for (const std::int64_t candidates : {20, 100, 1000}) {
    cases.push_back({"infer-" + std::to_string(candidates), false, 1, 64, {.lists = kRequests, .candidates = candidates}});
  }
  return cases;
}

std::vector<BenchCase> device_cases() {
  std::vector<BenchCase> cases;
  for (const std::int64_t d : {64, 128}) {
    cases.push_back({"train-256x50-d" + std::to_string(d), true, 256, d, {.lists = 2 * 4096, .candidates = 50, .full = 0.7}});
  }
  return cases;
}

BenchCase find_case(const std::vector<BenchCase>& cases, const std::string& name) {
  std::vector<std::string> names;
  for (const BenchCase& c : cases) {
    if (c.name == name) return c;
    names.push_back(c.name);
  }
  std::string list;
  for (const std::string& n : names) list += (list.empty() ? "" : ", ") + n;
  throw Error(ErrorCode::usage, "no case '" + name + "'; there are " + list);
}

Config bench_config(const BenchCase& c, const std::vector<std::string>& assignments) {
  Config config;
  config.model.d = c.d, config.model.max_history = c.log.history;
  config.model.dropout = config.model.oov_dropout = 0;
  config.train.batch = c.lists;
  for (const std::string& assignment : assignments) set_option(config, assignment);
  check(config);
  return config;
}

std::string case_file(const std::string& folder, const std::string& name, const std::string& what) { return folder + "/" + name + "." + what; }

}  // namespace piano::tools
