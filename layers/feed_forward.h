// Two-layer networks: the feed-forward block of a transformer, and the heads' multi-layer perceptrons.
#pragma once

#include <string>

#include "layers/linear.h"

namespace piano {

// W_2 gelu(W_1 x + b_1) + b_2 (Vaswani et al. 2017, eq. 2, with GELU), dropout on the hidden units.
struct FeedForward {
  Linear up, down;
  std::uint32_t site = 0;
  double dropout_rate = 0;

  // Declares <name>.up and <name>.down: in -> hidden -> out.
  static FeedForward declare(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t hidden, std::int64_t out,
                             double dropout);
  // (rows, in) -> (rows, out). With `shared` row r is [x_r ; shared_{index[r]}], as in Linear.
  Tensor operator()(const Context& ctx, Tensor x, Ragged rows, Tensor shared = {}, std::span<const std::int32_t> index = {}) const;
};

}  // namespace piano
