// One op case at work: forward and backward apart, timed from outside.
#pragma once

#include <chrono>
#include <vector>

#include "tools/bench_op_shapes.h"

namespace piano::tools {

// Parameters and tables lie in a store, as in the model; the other inputs outlive the arena's resets.
class OpRun {
 public:
  explicit OpRun(const BenchOp& op);  // `op` outlives it
  double forward();                   // seconds of one forward, as in inference
  double backward();                  // seconds of one backward, from the output's gradient on
  OpCost cost();                      // of one forward

 private:
  using Clock = std::chrono::steady_clock;
  Context context(Tape* tape);
  const std::vector<Tensor>& inputs(const Context& ctx);
  double finish(Clock::time_point start);

  const BenchOp& op_;
  ParameterStore store_;
  PackedWeights packed_;
  Gradients gradients_;
  Arena arena_{std::size_t{1} << 24};
  std::vector<ParameterId> ids_;
  std::vector<std::vector<float>> values_;
  std::vector<Tensor> tensors_;
};

}  // namespace piano::tools
