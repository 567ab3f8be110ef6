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

  // x (rows, in) -> (rows, out)
  Tensor operator()(const Context& ctx, Tensor x, Activation activation = Activation::none) const;
};

}  // namespace piano
