// Multi-head attention (Vaswani et al. 2017, section 3.2.2) over ragged rows: each list's queries see the keys of their own list only.
#pragma once

#include <string>

#include "engine/ops/ops.h"

namespace piano {

struct MultiHeadAttention {
  ParameterId wq, bq, wk, bk, wv, bv, wo, bo;  // (d, d) and (d)
  ParameterId null_key, null_value;            // (d): the learnable null slot, or none
  int heads = 1;

  // Declares <name>.wq, .bq, .wk, .bk, .wv, .bv, .wo, .bo and, with `null_slot`, .null_key, .null_value. requires: heads divides d
  static MultiHeadAttention declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, bool null_slot);

  // queries (query_rows.rows(), d); keys, values (key_rows.rows(), d) -> (query_rows.rows(), d). Self-attention: all three the same.
  Tensor operator()(const Context& ctx, Tensor queries, Tensor keys, Tensor values, Ragged query_rows, Ragged key_rows) const;
};

}  // namespace piano
