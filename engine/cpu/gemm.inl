// Matrix products for the levels with fused multiply-add: C += A B, in register tiles of 6 rows by kTileVectors vectors.
//
// AVX-512: 6 x 64 is 24 of 32 registers, AVX2: 6 x 16 is 12 of 16; each vector of B that is loaded serves six fused multiply-adds, each
// element of A is broadcast once. The specification is engine/ref/linear.h. Every element of C adds its products in the order of k, in
// whichever tile it lies: its bits depend on its row of A and its column of B alone.
#pragma once

#include <utility>

#include "engine/cpu/lanes.inl"

namespace piano {
namespace {

#if defined(__AVX512F__)
constexpr int kTileVectors = 4;
#else
constexpr int kTileVectors = 2;
#endif
constexpr int kPanel = kTileVectors * kLanes;  // columns of a tile

// A is read as a[i * row + k * step]: (1, stride) reads it transposed.
struct Strided {
  const float* data;
  std::int64_t row, step;
  Strided below(std::int64_t i) const { return {data + i * row, row, step}; }
};

// c (rows, vectors * kLanes) += a b over k < depth. The last vector has `last` columns: fewer than kLanes unless `whole`.
template <int rows, int vectors, bool whole>
inline void tile_add(std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride, std::int64_t last) {
  const auto get_vector = [&](const float* p, int v) { return whole || v + 1 < vectors ? load(p + v * kLanes) : load_first(p + v * kLanes, last); };
  F sum[rows][vectors];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) sum[r][v] = get_vector(c + r * c_stride, v);
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    F column[vectors];
    for (int v = 0; v < vectors; ++v) column[v] = get_vector(b + k * b_stride, v);
    for (int r = 0; r < rows; ++r) {
      const F x = splat(a.data[r * a.row + k * a.step]);
      for (int v = 0; v < vectors; ++v) sum[r][v] = fma(x, column[v], sum[r][v]);
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      float* to = c + r * c_stride + v * kLanes;
      if (whole || v + 1 < vectors) store(to, sum[r][v]);
      else store_first(to, sum[r][v], last);
    }
  }
}

// All rows of one panel of columns: tiles of six rows, then one of what is left.
template <int vectors, bool whole>
inline void panel_add(std::int64_t rows, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride,
                      std::int64_t last) {
  std::int64_t i = 0;
  for (; i + 6 <= rows; i += 6) tile_add<6, vectors, whole>(depth, a.below(i), b, b_stride, c + i * c_stride, c_stride, last);
  a = a.below(i);
  c += i * c_stride;
  switch (rows - i) {
    case 1: return tile_add<1, vectors, whole>(depth, a, b, b_stride, c, c_stride, last);
    case 2: return tile_add<2, vectors, whole>(depth, a, b, b_stride, c, c_stride, last);
    case 3: return tile_add<3, vectors, whole>(depth, a, b, b_stride, c, c_stride, last);
    case 4: return tile_add<4, vectors, whole>(depth, a, b, b_stride, c, c_stride, last);
    case 5: return tile_add<5, vectors, whole>(depth, a, b, b_stride, c, c_stride, last);
    default: return;
  }
}

template <int vectors>
inline void edge_add(std::int64_t rows, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride,
                     std::int64_t last) {
  if (last == kLanes) panel_add<vectors, true>(rows, depth, a, b, b_stride, c, c_stride, last);
  else panel_add<vectors, false>(rows, depth, a, b, b_stride, c, c_stride, last);
}

// Up to kPanel columns.
inline void columns_add(std::int64_t rows, std::int64_t columns, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, float* c,
                        std::int64_t c_stride) {
  const std::int64_t vectors = (columns + kLanes - 1) / kLanes, last = columns - (vectors - 1) * kLanes;
#if defined(__AVX512F__)
  if (vectors == 4) return edge_add<4>(rows, depth, a, b, b_stride, c, c_stride, last);
  if (vectors == 3) return edge_add<3>(rows, depth, a, b, b_stride, c, c_stride, last);
#endif
  if (vectors == 2) return edge_add<2>(rows, depth, a, b, b_stride, c, c_stride, last);
  edge_add<1>(rows, depth, a, b, b_stride, c, c_stride, last);
}

// c (rows, columns) += a (rows, depth) b (depth, columns)
inline void multiply_add(std::int64_t rows, std::int64_t columns, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, float* c,
                         std::int64_t c_stride) {
  for (std::int64_t j = 0; j < columns; j += kPanel) {
    const std::int64_t n = columns - j < kPanel ? columns - j : kPanel;
    columns_add(rows, n, depth, a, b + j, b_stride, c + j, c_stride);
  }
}

// Lanes of two vectors, exchanged in blocks of `block`: the step of a transpose.
template <int block, int... l>
inline void exchange(F& a, F& b, std::integer_sequence<int, l...>) {
  const F low = __builtin_shufflevector(a, b, (l & block ? kLanes + l - block : l)...);
  b = __builtin_shufflevector(a, b, (l & block ? kLanes + l : l + block)...);
  a = low;
}

template <int block>
inline void transpose_blocks(F (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    if ((i & block) == 0) exchange<block>(rows[i], rows[i + block], std::make_integer_sequence<int, kLanes>{});
  }
  if constexpr (block > 1) transpose_blocks<block / 2>(rows);
}

// panel (depth, kPanel) = w^T for w (columns, depth) with the given stride, columns <= kPanel; zeros after the last column.
inline void pack_panel(const float* w, std::int64_t columns, std::int64_t depth, std::int64_t stride, float* panel) {
  for (std::int64_t i = 0; i < kPanel; i += kLanes) {
    std::int64_t k = 0;
    if (i + kLanes <= columns) {
      for (; k + kLanes <= depth; k += kLanes) {
        F rows[kLanes];
        for (int r = 0; r < kLanes; ++r) rows[r] = load(w + (i + r) * stride + k);
        transpose_blocks<kLanes / 2>(rows);
        for (int r = 0; r < kLanes; ++r) store(panel + (k + r) * kPanel + i, rows[r]);
      }
    }
    for (; k < depth; ++k) {
      for (std::int64_t l = i; l < i + kLanes; ++l) panel[k * kPanel + l] = l < columns ? w[l * stride + k] : 0;
    }
  }
}

inline void prepare_products() {}

// The three products of a linear layer: x (rows, in), w (out, in), dz (rows, out).

// y (rows, out) += x w^T. Rows of w are columns here: panels of them are transposed on the way, a piece of kPieceDepth at a time.
constexpr std::int64_t kPieceDepth = 256;  // 64 KiB of panel for AVX-512

inline void add_product(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, const float* w, float* y) {
  alignas(64) float panel[kPieceDepth * kPanel];
  for (std::int64_t j = 0; j < out; j += kPanel) {
    const std::int64_t n = out - j < kPanel ? out - j : kPanel;
    for (std::int64_t k = 0; k < in; k += kPieceDepth) {
      const std::int64_t depth = in - k < kPieceDepth ? in - k : kPieceDepth;
      pack_panel(w + j * in + k, n, depth, in, panel);
      columns_add(rows, n, depth, {x + k, in, 1}, panel, kPanel, y + j, out);
    }
  }
}

// dx (rows, in) += dz w
inline void add_input_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, const float* w, float* dx) {
  multiply_add(rows, in, out, {dz, out, 1}, w, in, dx, in);
}

// dw (out, in) += dz^T x
inline void add_weight_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, const float* x, float* dw) {
  multiply_add(out, in, rows, {dz, 1, out}, x, in, dw, in);
}

}  // namespace
}  // namespace piano
