// A gated recurrent unit (Cho et al. 2014, arXiv 1406.1078, eq. 5-8), in the form of PyTorch and cuDNN: the reset gate after h's product.
#pragma once

#include <string>

#include "layers/linear.h"

namespace piano {

struct Gru {
  Linear input;          // (in -> 3d): what the inputs contribute to the gates r, z and to the new state n, biases included
  ParameterId hidden;    // (3d, d): what h contributes to each
  ParameterId bias;      // (d): beside h's contribution to n, inside the reset gate

  // Declares <name>.input, <name>.hidden and <name>.bias.
  static Gru declare(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t d);
  // x (rows, in) -> the state after each row (rows, d), each list from its first row on, or from its last.
  Tensor operator()(const Context& ctx, Tensor x, Ragged lists, bool backwards) const;
};

}  // namespace piano
