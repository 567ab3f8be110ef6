// attention: every list and head on its own, in tiles of kTileRows queries by kTileCols columns, scores of a tile's queries in a scratch of a few
// kilobytes. Keys and values are packed once per list and head into panels whose width is a multiple of kTileCols.
//
// Forward saves each query's largest score and reciprocal sum, backward computes the probabilities again (Dao et al. 2022, "FlashAttention",
// algorithm 4, without tiling over keys): no (queries, keys) matrix is kept. Each query's arithmetic is the same in whichever tile it lies;
// the rows that fill up the last tile are computed and dropped.
#pragma once

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

constexpr int kTileRows = 4;
constexpr int kTileCols = 2 * kLanes;

struct Tile {
  F c[kTileRows][2];
};

// c[r] = sum over k < depth of a[r * a_stride + k] * b[k * b_stride ..]
inline Tile tile_product(const float* a, std::int64_t a_stride, std::int64_t depth, const float* b, std::int64_t b_stride) {
  Tile t{};
  for (std::int64_t k = 0; k < depth; ++k) {
    const F b0 = load(b + k * b_stride), b1 = load(b + k * b_stride + kLanes);
    for (int r = 0; r < kTileRows; ++r) {
      const F x = splat(a[r * a_stride + k]);
      t.c[r][0] = fma(x, b0, t.c[r][0]);
      t.c[r][1] = fma(x, b1, t.c[r][1]);
    }
  }
  return t;
}

// out (kTileRows, columns) = a (kTileRows, depth) b (depth, columns); columns a multiple of kTileCols, the stride of out and b.
inline void panel_product(const float* a, std::int64_t a_stride, std::int64_t depth, const float* b, std::int64_t columns, float* out) {
  for (std::int64_t j = 0; j < columns; j += kTileCols) {
    const Tile t = tile_product(a, a_stride, depth, b + j, columns);
    for (int r = 0; r < kTileRows; ++r) {
      store(out + r * columns + j, t.c[r][0]);
      store(out + r * columns + j + kLanes, t.c[r][1]);
    }
  }
}

// out (rows, columns) += a^T b, a (kTileRows, rows) with stride a_stride, b (kTileRows, columns)
inline void add_outer_product(const float* a, std::int64_t a_stride, std::int64_t rows, const float* b, std::int64_t columns, float* out) {
  for (std::int64_t j = 0; j < columns; j += kTileCols) {
    F b0[kTileRows], b1[kTileRows];
    for (int r = 0; r < kTileRows; ++r) b0[r] = load(b + r * columns + j), b1[r] = load(b + r * columns + j + kLanes);
    for (std::int64_t k = 0; k < rows; ++k) {
      float* to = out + k * columns + j;
      F c0 = load(to), c1 = load(to + kLanes);
      for (int r = 0; r < kTileRows; ++r) {
        const F x = splat(a[r * a_stride + k]);
        c0 = fma(x, b0[r], c0);
        c1 = fma(x, b1[r], c1);
      }
      store(to, c0);
      store(to + kLanes, c1);
    }
  }
}

// One head's columns of one list's keys or values, with the null row last.
struct HeadRows {
  const float* rows;       // first row, first column of the head
  const float* null_row;   // or null
  std::int64_t count;      // without the null row
  std::int64_t stride;     // columns of the whole matrix
  const float* operator[](std::int64_t j) const { return j < count ? rows + j * stride : null_row; }
};

// panel (n, padded_width): rows side by side, zeros after the head's last column.
inline void pack_rows(const HeadRows& from, std::int64_t n, std::int64_t width, std::int64_t padded_width, float* panel) {
  for (std::int64_t j = 0; j < n; ++j) {
    copy(panel + j * padded_width, from[j], width);
    zero(panel + j * padded_width + width, padded_width - width);
  }
}

// panel (width, padded_n): transposed, zeros after the last row.
inline void pack_transposed(const HeadRows& from, std::int64_t n, std::int64_t width, std::int64_t padded_n, float* panel) {
  for (std::int64_t j = 0; j < n; ++j) {
    const float* row = from[j];
    for (std::int64_t c = 0; c < width; ++c) panel[c * padded_n + j] = row[c];
  }
  for (std::int64_t c = 0; c < width; ++c) zero(panel + c * padded_n + n, padded_n - n);
}

// Up to kTileRows rows of one head, padded with zeros below and to the right: tile (kTileRows, padded_width).
inline void pack_tile(const float* rows, std::int64_t stride, std::int64_t n, std::int64_t width, std::int64_t padded_width, float* tile) {
  for (std::int64_t r = 0; r < kTileRows; ++r) {
    const std::int64_t have = r < n ? width : 0;
    copy(tile + r * padded_width, rows + (r < n ? r : 0) * stride, have);
    zero(tile + r * padded_width + have, padded_width - have);
  }
}

// What backward needs of one query's softmax: p_j = e^(scale * s_j - shift) * factor
struct Softmax {
  float shift, factor;
};

// Replaces the scores s (padded_n) by e^(scale * s_j - shift), zeros from n on; padded_n is a multiple of kTileCols.
inline Softmax soften(float* s, std::int64_t n, std::int64_t padded_n, float scale) {
  for (std::int64_t j = n; j < padded_n; ++j) s[j] = -__builtin_inff();
  F top = load(s);
  for (std::int64_t j = kLanes; j < padded_n; j += kLanes) top = max(top, load(s + j));
  const float shift = scale * largest(top);
  F total{};
  for (std::int64_t j = 0; j < padded_n; j += kLanes) {
    const F e = exp(fma(load(s + j), splat(scale), splat(-shift)));
    store(s + j, e);
    total += e;
  }
  return {shift, 1.0f / sum(total)};
}

struct AttentionShape {
  std::int64_t d, heads, width, padded_width;  // width = d / heads
  std::int64_t most_keys, most_padded_keys;    // of any list, with the null row
  bool null_slot;
  float scale;
};

inline AttentionShape attention_shape(const Node& node) {
  const auto& args = args_of<AttentionArgs>(node);
  AttentionShape s{};
  s.d = cols_of(node.output);
  s.heads = args.heads;
  s.width = s.d / s.heads;
  s.padded_width = round_up(s.width, kTileCols);
  s.null_slot = node.inputs[3] != nullptr;
  for (std::int32_t l = 0; l < args.keys.lists; ++l) {
    const std::int64_t n = args.keys.offsets[l + 1] - args.keys.offsets[l] + (s.null_slot ? 1 : 0);
    if (n > s.most_keys) s.most_keys = n;
  }
  s.most_padded_keys = round_up(s.most_keys, kTileCols);
  s.scale = 1.0f / __builtin_sqrtf(static_cast<float>(s.width));
  return s;
}

inline HeadRows head_rows(const AttentionShape& s, const TensorRecord* x, const TensorRecord* null_row, std::int64_t first, std::int64_t end,
                          std::int64_t head) {
  const float* null_value = optional_value_of(null_row);
  return {value_of(x) + first * s.d + head * s.width, null_value == nullptr ? nullptr : null_value + head * s.width, end - first, s.d};
}

// inputs: q, k, v, null_k, null_v. Saves (queries, heads) of Softmax.
void attention_forward(const Context& context, Node& node) {
  const auto& args = args_of<AttentionArgs>(node);
  const AttentionShape shape = attention_shape(node);
  const std::int64_t width = shape.width, padded_width = shape.padded_width;
  float* keys_t = scratch(context, width * shape.most_padded_keys);
  float* values = scratch(context, shape.most_keys * padded_width);
  float* scores = scratch(context, kTileRows * shape.most_padded_keys);
  float* queries = scratch(context, kTileRows * padded_width);
  float* result = scratch(context, kTileRows * padded_width);
  Softmax* saved = nullptr;
  if (context.tape != nullptr) {
    saved = static_cast<Softmax*>(context.arena->allocate(static_cast<std::size_t>(rows_of(node.output) * shape.heads) * sizeof(Softmax)));
  }
  node.saved = saved;

  for (std::int32_t l = 0; l < args.queries.lists; ++l) {
    const std::int64_t q_begin = args.queries.offsets[l], q_end = args.queries.offsets[l + 1];
    const std::int64_t k_begin = args.keys.offsets[l], k_end = args.keys.offsets[l + 1];
    const std::int64_t n = k_end - k_begin + (shape.null_slot ? 1 : 0), padded_n = round_up(n, kTileCols);
    if (n == 0) zero(value_of(node.output) + q_begin * shape.d, (q_end - q_begin) * shape.d);
    if (n == 0 || q_begin == q_end) continue;
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      pack_transposed(head_rows(shape, node.inputs[1], node.inputs[3], k_begin, k_end, h), n, width, padded_n, keys_t);
      pack_rows(head_rows(shape, node.inputs[2], node.inputs[4], k_begin, k_end, h), n, width, padded_width, values);
      for (std::int64_t i = q_begin; i < q_end; i += kTileRows) {
        const std::int64_t have = q_end - i < kTileRows ? q_end - i : kTileRows;
        pack_tile(value_of(node.inputs[0]) + i * shape.d + h * width, shape.d, have, width, padded_width, queries);
        panel_product(queries, padded_width, width, keys_t, padded_n, scores);
        Softmax softmax[kTileRows];
        for (std::int64_t r = 0; r < kTileRows; ++r) softmax[r] = soften(scores + r * padded_n, n, padded_n, shape.scale);
        panel_product(scores, padded_n, n, values, padded_width, result);
        for (std::int64_t r = 0; r < have; ++r) {
          float* to = value_of(node.output) + (i + r) * shape.d + h * width;
          for (std::int64_t c = 0; c < width; ++c) to[c] = result[r * padded_width + c] * softmax[r].factor;
          if (saved != nullptr) saved[(i + r) * shape.heads + h] = softmax[r];
        }
      }
    }
  }
}

// Adds the panel's n rows to the gradient of one head's rows; the null row's to `null_grad`. Either may be null: not wanted.
inline void unpack_add(const float* panel, std::int64_t padded_width, const AttentionShape& shape, std::int64_t n, float* grad, float* null_grad) {
  const std::int64_t real = n - (shape.null_slot ? 1 : 0);
  for (std::int64_t j = 0; j < real && grad != nullptr; ++j) add_to(grad + j * shape.d, panel + j * padded_width, shape.width);
  if (shape.null_slot && null_grad != nullptr) add_to(null_grad, panel + real * padded_width, shape.width);
}

// With P the probabilities: dV = P^T dO, dP = dO V^T, dS = scale * P * (dP - rowsum(dO * O)), dQ = dS K, dK = dS^T Q
void attention_backward(const Context& context, Node& node) {
  const auto& args = args_of<AttentionArgs>(node);
  const AttentionShape shape = attention_shape(node);
  const std::int64_t width = shape.width, padded_width = shape.padded_width, d = shape.d;
  const auto* saved = static_cast<const Softmax*>(node.saved);
  const float* out = value_of(node.output);
  const float* dout = static_cast<const float*>(node.output->grad);
  float* dq = grad_of(node.inputs[0]);
  float* dk = grad_of(node.inputs[1]);
  float* dv = grad_of(node.inputs[2]);
  float* dnull_k = grad_of(node.inputs[3]);
  float* dnull_v = grad_of(node.inputs[4]);

  float* keys_t = scratch(context, width * shape.most_padded_keys);
  float* values_t = scratch(context, width * shape.most_padded_keys);
  float* keys = scratch(context, shape.most_keys * padded_width);
  float* dkeys = scratch(context, shape.most_keys * padded_width);
  float* dvalues = scratch(context, shape.most_keys * padded_width);
  float* p = scratch(context, kTileRows * shape.most_padded_keys);
  float* ds = scratch(context, kTileRows * shape.most_padded_keys);
  float* queries = scratch(context, kTileRows * padded_width);
  float* douts = scratch(context, kTileRows * padded_width);
  float* dqueries = scratch(context, kTileRows * padded_width);

  for (std::int32_t l = 0; l < args.queries.lists; ++l) {
    const std::int64_t q_begin = args.queries.offsets[l], q_end = args.queries.offsets[l + 1];
    const std::int64_t k_begin = args.keys.offsets[l], k_end = args.keys.offsets[l + 1];
    const std::int64_t n = k_end - k_begin + (shape.null_slot ? 1 : 0), padded_n = round_up(n, kTileCols);
    if (n == 0 || q_begin == q_end) continue;
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const std::int64_t column = h * width;
      const HeadRows key_rows = head_rows(shape, node.inputs[1], node.inputs[3], k_begin, k_end, h);
      pack_transposed(key_rows, n, width, padded_n, keys_t);
      pack_rows(key_rows, n, width, padded_width, keys);
      pack_transposed(head_rows(shape, node.inputs[2], node.inputs[4], k_begin, k_end, h), n, width, padded_n, values_t);
      zero(dkeys, n * padded_width);
      zero(dvalues, n * padded_width);
      for (std::int64_t i = q_begin; i < q_end; i += kTileRows) {
        const std::int64_t have = q_end - i < kTileRows ? q_end - i : kTileRows;
        pack_tile(value_of(node.inputs[0]) + i * d + column, d, have, width, padded_width, queries);
        pack_tile(dout + i * d + column, d, have, width, padded_width, douts);
        panel_product(queries, padded_width, width, keys_t, padded_n, p);
        panel_product(douts, padded_width, width, values_t, padded_n, ds);
        for (std::int64_t r = 0; r < kTileRows; ++r) {
          Softmax softmax{0, 0};  // rows that fill up the tile: all probabilities zero
          float mean = 0;         // of dP under P, which is rowsum(dO * O)
          if (r < have) {
            softmax = saved[(i + r) * shape.heads + h];
            F total{};
            for_vectors(width, [&](std::int64_t c, std::int64_t m) {
              total = fma(get(dout + (i + r) * d + column + c, m), get(out + (i + r) * d + column + c, m), total);
            });
            mean = sum(total);
          }
          float* p_row = p + r * padded_n;
          float* ds_row = ds + r * padded_n;
          for (std::int64_t j = 0; j < padded_n; j += kLanes) {
            const F probability = exp(fma(load(p_row + j), splat(shape.scale), splat(-softmax.shift))) * softmax.factor;
            store(p_row + j, probability);
            store(ds_row + j, probability * (load(ds_row + j) - mean) * shape.scale);
          }
        }
        if (dq != nullptr) {
          panel_product(ds, padded_n, n, keys, padded_width, dqueries);
          for (std::int64_t r = 0; r < have; ++r) add_to(dq + (i + r) * d + column, dqueries + r * padded_width, width);
        }
        add_outer_product(ds, padded_n, n, queries, padded_width, dkeys);
        add_outer_product(p, padded_n, n, douts, padded_width, dvalues);
      }
      unpack_add(dkeys, padded_width, shape, n, dk == nullptr ? nullptr : dk + k_begin * d + column,
                 dnull_k == nullptr ? nullptr : dnull_k + column);
      unpack_add(dvalues, padded_width, shape, n, dv == nullptr ? nullptr : dv + k_begin * d + column,
                 dnull_v == nullptr ? nullptr : dnull_v + column);
    }
  }
}

}  // namespace
}  // namespace piano
