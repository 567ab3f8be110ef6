// y = activation(x W^T + b).
#pragma once

#include <string>

#include "engine/ops/ops.h"

namespace piano {

struct Linear {
  ParameterId weight;  // (out, in)
  ParameterId bias;    // (out), or none

  // Declares <name>.weight and, with `with_bias`, <name>.bias.
  static Linear declare(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out, bool with_bias = true);

  // x (rows, in) -> (rows, out). With `shared` (lists, s) row r is [x_r ; shared_{index[r]}]: x (rows, in - s)
  Tensor operator()(const Context& ctx, Tensor x, Activation activation = Activation::none, Tensor shared = {},
                    std::span<const std::int32_t> index = {}) const;
};

}  // namespace piano
