// Layer normalisation over the columns of each row (Ba et al. 2016).
#pragma once

#include <string>

#include "engine/ops/ops.h"

namespace piano {

struct LayerNorm {
  ParameterId gamma, beta;  // (d)

  static LayerNorm declare(ParameterStore& store, const std::string& name, std::int64_t d);  // <name>.gamma, <name>.beta
  Tensor operator()(const Context& ctx, Tensor x) const;                                     // (rows, d) -> (rows, d)
};

}  // namespace piano
