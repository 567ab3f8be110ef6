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

  // Queries and keys, projected: what decides who attends to whom.
  struct Projected {
    Tensor q, k;  // (query rows, d), (key rows, d)
  };
  Projected project(const Context& ctx, Tensor queries, Tensor keys) const;
  Tensor project_queries(const Context& ctx, Tensor queries) const;
  Tensor project_keys(const Context& ctx, Tensor keys) const;
  Tensor project_values(const Context& ctx, Tensor values) const;

  // queries (query_rows.rows(), d); keys, values (key_rows.rows(), d) -> (query_rows.rows(), d). Self-attention: all three the same.
  Tensor operator()(const Context& ctx, Tensor queries, Tensor keys, Tensor values, Ragged query_rows, Ragged key_rows) const;

  // The same from what is projected, v (key_rows.rows(), d) too.
  Tensor operator()(const Context& ctx, Projected projected, Tensor v, Ragged query_rows, Ragged key_rows) const;

  // How much of that attention goes to the keys that each row shares something with, one query a list: see the op match_attention.
  // -> (rows, heads * columns)
  Tensor match(const Context& ctx, Projected projected, Ragged key_rows, const Matches& matches, std::int64_t rows, std::int64_t columns) const;

  // The same with uniform weights over each list's values, one query per list: values (rows, d) -> (lists, d).
  Tensor mean(const Context& ctx, Tensor values, Ragged rows) const;

  // What the softmax says, for people: weights[(query row, key row of its list)], the mean over heads, list after list; the null slot's
  // weight is what is missing from 1. `weights` has room for sum over lists of queries x keys. requires: dtype f32
  void weights(const Context& ctx, Tensor queries, Tensor keys, Ragged query_rows, Ragged key_rows, std::span<double> out) const;
};

}  // namespace piano
