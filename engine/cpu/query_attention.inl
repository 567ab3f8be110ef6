// Attention of one query a list, in parts: split_heads, merge_heads, attention_weights, match_sum. The specification is
// engine/ref/query_attention.h. Per past event these cost a few hundred multiply-adds: what is heavy is linear's.
#pragma once

#include "engine/cpu/attention_forward.inl"

namespace piano {
namespace {

void split_heads_forward(const Context&, Node& node) {
  const auto& args = args_of<HeadsArgs>(node);
  const std::int64_t rows = rows_of(node.inputs[0]), d = cols_of(node.output), width = d / args.heads;
  const float factor = static_cast<float>(args.factor);
  zero(value_of(node.output), elements_of(node.output));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t h = 0; h < args.heads; ++h) {
      add_scaled_to(value_of(node.output) + (r * args.heads + h) * d + h * width, value_of(node.inputs[0]) + r * d + h * width, factor, width);
    }
  }
}

void split_heads_backward(const Context&, Node& node) {
  const auto& args = args_of<HeadsArgs>(node);
  const std::int64_t rows = rows_of(node.inputs[0]), d = cols_of(node.output), width = d / args.heads;
  const float* dy = static_cast<const float*>(node.output->grad);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t h = 0; h < args.heads; ++h) {
      add_scaled_to(dx + r * d + h * width, dy + (r * args.heads + h) * d + h * width, static_cast<float>(args.factor), width);
    }
  }
}

void merge_heads_forward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output), heads = args_of<HeadsArgs>(node).heads, width = d / heads;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t h = 0; h < heads; ++h) {
      copy(value_of(node.output) + r * d + h * width, value_of(node.inputs[0]) + (r * heads + h) * d + h * width, width);
    }
  }
}

void merge_heads_backward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output), heads = args_of<HeadsArgs>(node).heads, width = d / heads;
  const float* dy = static_cast<const float*>(node.output->grad);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t h = 0; h < heads; ++h) add_to(dx + (r * heads + h) * d + h * width, dy + r * d + h * width, width);
  }
}

// inputs: q (lists * heads, d), k (keys, d), null_score (lists * heads, 1) or null -> p (keys, heads)
// The heads of a list are the queries of one tile. The null slot is one more key of one more dimension: 1 there, where each query has its
// null score, and zeros elsewhere.
void attention_weights_forward(const Context& context, Node& node) {
  const auto& args = args_of<AttentionWeightsArgs>(node);
  const std::int64_t d = cols_of(node.inputs[0]), heads = args.heads;
  const float* null_score = optional_value_of(node.inputs[2]);
  const std::int64_t null = null_score != nullptr ? 1 : 0, depth = d + null;
  std::int64_t most = 0;
  for (std::int32_t l = 0; l < args.keys.lists; ++l) {
    const std::int64_t n = args.keys.offsets[l + 1] - args.keys.offsets[l];
    if (n > most) most = n;
  }
  const Panel keys_t = scratch_panel(context, depth, most + null);
  const Panel weights = scratch_panel(context, kTileRows, most + null);
  float* const queries_data = scratch_panel(context, kTileRows, depth).data;
  float* const zeros = scratch(context, d);
  zero(zeros, d);
  constexpr float kLog2e = 1.44269504f;

  for (std::int32_t l = 0; l < args.keys.lists; ++l) {
    const std::int64_t begin = args.keys.offsets[l], n = args.keys.offsets[l + 1] - begin;
    if (n == 0) continue;
    pack_transposed({value_of(node.inputs[1]) + begin * d, zeros, n, d}, 0, n + null, d, keys_t);
    if (null != 0) {
      for (std::int64_t b = 0; b < blocks_of(n + 1); ++b) zero(keys_t.at(d, b), kLanes);
      keys_t.at(d, n / kLanes)[n % kLanes] = 1;
    }
    for_row_tiles(heads, [&](std::int64_t first, std::int64_t have, auto tile_rows) {
      constexpr int rows = decltype(tile_rows)::value;
      const Panel queries{queries_data, rows};
      pack_rows({value_of(node.inputs[0]) + l * heads * d, nullptr, heads, d}, first, have, rows, d, kLog2e, queries);
      for (std::int64_t r = 0; null != 0 && r < rows; ++r) {
        queries.at(r, d / kLanes)[d % kLanes] = r < have ? kLog2e * null_score[l * heads + first + r] : 0.0f;
      }
      Softmax softmax[rows];
      attention_softmax<rows>(n + null, depth, queries, keys_t, weights, softmax);
      for (std::int64_t r = 0; r < have; ++r) {
        float* to = value_of(node.output) + begin * heads + first + r;
        for (std::int64_t j = 0; j < n; ++j) to[j * heads] = weights.at(r, j / kLanes)[j % kLanes] * softmax[r].factor;
      }
    });
  }
}

// ds_j = p_j (dp_j - sum_m p_m dp_m), for the null slot dp = 0 and p = 1 - sum_m p_m;  dq += sum_j ds_j k_j;  dk_j += ds_j q
void attention_weights_backward(const Context&, Node& node) {
  const auto& args = args_of<AttentionWeightsArgs>(node);
  const std::int64_t d = cols_of(node.inputs[0]), heads = args.heads;
  const float* p = value_of(node.output);
  const float* dp = static_cast<const float*>(node.output->grad);
  float* dq = grad_of(node.inputs[0]);
  float* dk = grad_of(node.inputs[1]);
  float* dnull = grad_of(node.inputs[2]);
  for (std::int32_t l = 0; l < args.keys.lists; ++l) {
    const std::int64_t begin = args.keys.offsets[l], end = args.keys.offsets[l + 1];
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t row = l * heads + h;
      const float* q = value_of(node.inputs[0]) + row * d;
      float mean = 0, rest = 1;
      for (std::int64_t j = begin; j < end; ++j) {
        mean += p[j * heads + h] * dp[j * heads + h];
        rest -= p[j * heads + h];
      }
      for (std::int64_t j = begin; j < end; ++j) {
        const float ds = p[j * heads + h] * (dp[j * heads + h] - mean);
        if (dq != nullptr) add_scaled_to(dq + row * d, value_of(node.inputs[1]) + j * d, ds, d);
        if (dk != nullptr) add_scaled_to(dk + j * d, q, ds, d);
      }
      if (dnull != nullptr) dnull[row] -= rest * mean;
    }
  }
}

// Calls body(row, column of the output, key, head) for each match and head.
template <class Body>
inline void for_each_match(const MatchSumArgs& args, std::int64_t heads, Body body) {
  const Matches& m = args.matches;
  const std::int32_t size = m.lists == 0 ? 0 : m.offsets[m.lists];
  for (std::int32_t x = 0; x < size; ++x) {
    for (std::int64_t h = 0; h < heads; ++h) body(m.rows[x], h * args.columns + m.columns[x], m.keys[x], h);
  }
}

// inputs: p (keys, heads) -> (rows, heads * columns)
void match_sum_forward(const Context&, Node& node) {
  const std::int64_t heads = cols_of(node.inputs[0]), columns = cols_of(node.output);
  const float* p = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  zero(y, elements_of(node.output));
  for_each_match(args_of<MatchSumArgs>(node), heads, [&](std::int64_t row, std::int64_t column, std::int64_t key, std::int64_t h) {
    y[row * columns + column] += p[key * heads + h];
  });
}

void match_sum_backward(const Context&, Node& node) {
  const std::int64_t heads = cols_of(node.inputs[0]), columns = cols_of(node.output);
  const float* dy = static_cast<const float*>(node.output->grad);
  float* dp = grad_of(node.inputs[0]);
  if (dp == nullptr) return;
  for_each_match(args_of<MatchSumArgs>(node), heads, [&](std::int64_t row, std::int64_t column, std::int64_t key, std::int64_t h) {
    dp[key * heads + h] += dy[row * columns + column];
  });
}

}  // namespace
}  // namespace piano
