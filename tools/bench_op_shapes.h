// What piano bench --ops times.
#pragma once

#include <string>
#include <vector>

#include "engine/ops/op_table.h"

namespace piano::tools {

struct BenchOp {
  std::string name;                      // the op's
  OpCase shape;
  std::vector<std::size_t> parameters;   // inputs that are dense parameters
  double backward_factor = 2;            // a backward's work in forwards; 0: there is none to time

  bool is_parameter(std::size_t input) const;
};

// The model's shapes (micro-batches of about 100 rows, d = 64 and 128, a list of 1,000), then the op table's own cases that have rows.
const std::vector<BenchOp>& bench_op_shapes();

}  // namespace piano::tools
