// Our own figures beside the machine's peaks: what `piano bench` prints when there is nobody to compare with.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace piano::tools {

struct BenchOptions {
  int rounds = 7;         // each measures everything that is compared, in turn: A B A B ...
  int threads = 1;        // the larger of the two numbers of threads; the other is 1
  bool quick = false;     // a smaller vocabulary, one case of each kind
  std::vector<std::string> assignments;
};

// Training steps and answers, medians and ranges over the rounds, their share of the multiply-add peak measured in the same round; start to the
// first answer; memory. Prints a table, returns the same as JSON. Progress goes to stderr.
nlohmann::ordered_json bench_own(const BenchOptions& options);

}  // namespace piano::tools
