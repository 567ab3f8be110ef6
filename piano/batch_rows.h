// Index arrays over the rows of a batch, in the arena.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "data/batch.h"
#include "engine/core/context.h"

namespace piano {

inline Ragged view(const std::vector<std::int32_t>& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

template <class Fill>
std::span<const std::int32_t> indices(const Context& ctx, std::int32_t n, Fill fill) {
  auto* out = ctx.arena->array<std::int32_t>(std::max<std::int32_t>(n, 1));
  fill(out);
  return {out, static_cast<std::size_t>(n)};
}

inline Ragged one_row_per_list(const Context& ctx, std::int32_t lists) {
  const auto offsets = indices(ctx, lists + 1, [&](std::int32_t* out) { for (std::int32_t l = 0; l <= lists; ++l) out[l] = l; });
  return {offsets.data(), lists};
}

// A constant column, one number a candidate: value(row).
template <class Value>
Tensor column_of(const Context& ctx, const data::Batch& batch, Value value) {
  const std::int32_t n = batch.rows();
  auto* values = ctx.arena->array<float>(std::max(n, 1));
  for (std::int32_t i = 0; i < n; ++i) values[i] = static_cast<float>(value(static_cast<std::size_t>(i)));
  return ctx.constant(std::span<const float>{values, static_cast<std::size_t>(n)}, {n, 1});
}

// The list of each row: gathering by it gives every candidate its list's vector.
inline std::span<const std::int32_t> list_of_row(const Context& ctx, Ragged rows) {
  return indices(ctx, rows.rows(), [&](std::int32_t* out) {
    for (std::int32_t l = 0; l < rows.lists; ++l) std::fill(out + rows.begin(l), out + rows.end(l), l);
  });
}

// Lists with one more row before their candidates (prepend_row): where its rows are.
struct TokenRows {
  Ragged rows;
  std::span<const std::int32_t> tokens, candidates;  // (lists), (rows before)
};

inline TokenRows with_token(const Context& ctx, Ragged rows) {
  const auto offsets = indices(ctx, rows.lists + 1, [&](std::int32_t* out) {
    for (std::int32_t l = 0; l <= rows.lists; ++l) out[l] = rows.offsets[l] + l;
  });
  const auto candidates = indices(ctx, rows.rows(), [&](std::int32_t* out) {
    for (std::int32_t l = 0; l < rows.lists; ++l) {
      for (std::int32_t i = rows.begin(l); i < rows.end(l); ++i) out[i] = i + l + 1;
    }
  });
  return {{offsets.data(), rows.lists}, offsets.first(static_cast<std::size_t>(rows.lists)), candidates};
}

}  // namespace piano
