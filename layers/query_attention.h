// Multi-head attention (Vaswani et al. 2017, section 3.2.2) of one query a list, with the projections of keys and values moved to the query's
// side: q . (W_k x_j + b_k) = (q W_k) . x_j + q . b_k, and sum_j p_j (W_v x_j + b_v) = W_v (sum_j p_j x_j) + (sum_j p_j) b_v. The same function
// of the same parameters as MultiHeadAttention, up to rounding; a key costs d multiply-adds a head in place of 2 d^2.
#pragma once

#include <string>

#include "layers/linear.h"

namespace piano {

struct QueryAttention {
  ParameterId wq, bq, wk, bk, wv, bv, wo, bo;  // (d, d) and (d)
  ParameterId null_key, null_value;            // (d): the learnable null slot, or none
  int heads = 1;

  // Declares the parameters of MultiHeadAttention, under the same names. requires: heads divides d
  static QueryAttention declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, bool null_slot);

  // The softmax: queries (lists, d), keys (rows, d) -> (rows, heads). What is missing from 1 in a list is the null slot's.
  Tensor weights(const Context& ctx, Tensor queries, Tensor keys, Ragged rows) const;
  // 1 / n for each of a list's n rows: (rows, 1)
  static Tensor uniform_weights(const Context& ctx, Ragged rows);

  // The values' sum under weights (rows, heads or 1) -> (lists, d). values (rows, d), or what `join` makes values of, applied to their sum too.
  // A list without rows and null slot gets W_o 0 + b_o.
  Tensor operator()(const Context& ctx, Tensor weights, Tensor values, Ragged rows, const Linear* join = nullptr) const;
};

}  // namespace piano
