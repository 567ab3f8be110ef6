// From ids, fields and dense features to vectors of width d: one encoder for queries (current and past alike), one for items (candidates and
// past items alike), one for users, one for the context. Each is LN(W [embeddings ; dense] + b).
#pragma once

#include <string>
#include <vector>

#include "data/batch.h"
#include "data/feature_space.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/norm.h"

namespace piano {

// e_q = LN(W_q [E_id(q) ; mean_j E_term(t_j)]), where t_j are the terms, and their n-grams when the feature space has them
struct QueryEncoder {
  Embedding id, term;
  Linear project;
  LayerNorm norm;

  static QueryEncoder declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout);
  Tensor operator()(const Context& ctx, const data::QueryColumns& queries, Ragged rows, std::uint32_t salt) const;  // (rows, d)
};

// e_i = LN(W_i [E_id(i) ; mean E_field ... ; vector, present])
struct ItemEncoder {
  Embedding id;
  std::vector<Embedding> fields;
  Linear project;
  LayerNorm norm;
  std::int64_t vector_columns = 0;  // width of the pre-computed vector + 1, or 0

  static ItemEncoder declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout);
  // vectors (rows, vector_columns), or empty: absent for every row (past items, of a feature space without item vectors).
  Tensor operator()(const Context& ctx, const data::ItemColumns& items, std::span<const float> vectors, Ragged rows,
                    std::uint32_t salt) const;  // (rows, d)
};

// e_u = LN(W_u [E_id(u) ; mean E_field ... ; dense, present])
struct UserEncoder {
  Embedding id;
  std::vector<Embedding> fields;
  Linear project;
  LayerNorm norm;
  std::int64_t dense_columns = 0;

  static UserEncoder declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout);
  Tensor operator()(const Context& ctx, const data::Batch& batch, Ragged rows) const;  // (lists, d)
};

// e_ctx = LN(W_c [mean E_field ...]); no tensor when the data set has no context fields.
struct ContextEncoder {
  std::vector<Embedding> fields;
  Linear project;
  LayerNorm norm;

  static ContextEncoder declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout);
  Tensor operator()(const Context& ctx, const data::Batch& batch, Ragged rows) const;  // (lists, d)
};

}  // namespace piano
