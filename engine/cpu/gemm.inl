// Matrix products for the levels with fused multiply-add: C = S + A B, in register tiles of 6 rows by kTileVectors vectors.
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

// Where a product is written, and what its sums start from: the same place (C += A B), a row for all rows (a bias), or zeros.
struct Target {
  float* data;
  std::int64_t stride;
  const float* start;
  std::int64_t start_stride;
  Target at(std::int64_t row, std::int64_t column) const {
    return {data + row * stride + column, stride, start == kZeroRow ? start : start + row * start_stride + column, start_stride};
  }
  static constexpr float kZeroRow[kPanel] = {};
};
inline Target adding_to(float* c, std::int64_t stride) { return {c, stride, c, stride}; }
inline Target starting_from(const float* row, float* c, std::int64_t stride) { return {c, stride, row == nullptr ? Target::kZeroRow : row, 0}; }

// c (rows, vectors * kLanes) = start + a b over k < depth, depth >= 1: a loop that might not run once would cost each sum two trips through
// the stack, 5 % of a tile of depth 64. The last vector has `last` columns: fewer than kLanes unless `whole`.
template <int rows, int vectors, bool whole>
inline void gemm_tile(std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, Target c, std::int64_t last) {
  const auto get_vector = [&](const float* p, int v) { return whole || v + 1 < vectors ? load(p + v * kLanes) : load_first(p + v * kLanes, last); };
  F sum[rows][vectors];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) sum[r][v] = get_vector(c.start + r * c.start_stride, v);
  }
  for (int r = 0; r < rows; ++r) {  // the tile below is next: gradients of large models come from beyond level 2
    for (int v = 0; v < vectors; ++v) __builtin_prefetch(c.data + (r + rows) * c.stride + v * kLanes, 1);
  }
  std::int64_t k = 0;
  do {
    F column[vectors];
    for (int v = 0; v < vectors; ++v) column[v] = get_vector(b + k * b_stride, v);
    for (int r = 0; r < rows; ++r) {
      const F x = splat(a.data[r * a.row + k * a.step]);
      for (int v = 0; v < vectors; ++v) sum[r][v] = fma(x, column[v], sum[r][v]);
    }
  } while (++k < depth);
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      float* to = c.data + r * c.stride + v * kLanes;
      if (whole || v + 1 < vectors) store(to, sum[r][v]);
      else store_first(to, sum[r][v], last);
    }
  }
}

// All rows of one panel of columns: tiles of six rows, then one of what is left.
template <int vectors, bool whole>
inline void gemm_panel(std::int64_t rows, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, Target c, std::int64_t last) {
  std::int64_t i = 0;
  for (; i + 6 <= rows; i += 6) gemm_tile<6, vectors, whole>(depth, a.below(i), b, b_stride, c.at(i, 0), last);
  a = a.below(i);
  c = c.at(i, 0);
  switch (rows - i) {
    case 1: return gemm_tile<1, vectors, whole>(depth, a, b, b_stride, c, last);
    case 2: return gemm_tile<2, vectors, whole>(depth, a, b, b_stride, c, last);
    case 3: return gemm_tile<3, vectors, whole>(depth, a, b, b_stride, c, last);
    case 4: return gemm_tile<4, vectors, whole>(depth, a, b, b_stride, c, last);
    case 5: return gemm_tile<5, vectors, whole>(depth, a, b, b_stride, c, last);
    default: return;
  }
}

template <int vectors>
inline void gemm_edge(std::int64_t rows, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, Target c, std::int64_t last) {
  if (last == kLanes) gemm_panel<vectors, true>(rows, depth, a, b, b_stride, c, last);
  else gemm_panel<vectors, false>(rows, depth, a, b, b_stride, c, last);
}

// Up to kPanel columns.
inline void gemm_columns(std::int64_t rows, std::int64_t columns, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride,
                            Target c) {
  const std::int64_t vectors = (columns + kLanes - 1) / kLanes, last = columns - (vectors - 1) * kLanes;
#if defined(__AVX512F__)
  if (vectors == 4) return gemm_edge<4>(rows, depth, a, b, b_stride, c, last);
  if (vectors == 3) return gemm_edge<3>(rows, depth, a, b, b_stride, c, last);
#endif
  if (vectors == 2) return gemm_edge<2>(rows, depth, a, b, b_stride, c, last);
  gemm_edge<1>(rows, depth, a, b, b_stride, c, last);
}

// c (rows, columns) = start + a (rows, depth) b (depth, columns)
inline void gemm(std::int64_t rows, std::int64_t columns, std::int64_t depth, Strided a, const float* b, std::int64_t b_stride, Target c) {
  for (std::int64_t j = 0; j < columns; j += kPanel) {
    const std::int64_t n = columns - j < kPanel ? columns - j : kPanel;
    gemm_columns(rows, n, depth, a, b + j, b_stride, c.at(0, j));
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
constexpr bool kPacksWeights = true;

// The three products of a linear layer: x (rows, in), w (out, in), dz (rows, out).

// w in panels, once for many products: panel j / kPanel holds columns j.. of w^T, (in, kPanel).
inline std::int64_t packed_elements(std::int64_t out, std::int64_t in) { return round_up(out, kPanel) * in; }

inline void pack_weights(std::int64_t out, std::int64_t in, const float* w, float* packed) {
  for (std::int64_t j = 0; j < out; j += kPanel) pack_panel(w + j * in, out - j < kPanel ? out - j : kPanel, in, in, packed + j * in);
}

// Of a weight matrix w (out, row) the columns from `first` on: what one of the inputs that lie side by side is multiplied with.
struct Weights {
  const float* w;
  const float* packed;  // or null: a matrix that nobody packed
  std::int64_t row, first;
};

// y (rows, out) = start + x w^T. Panels of a w that nobody packed are made on the way, a piece of kPieceDepth at a time.
// finish(j, n): columns j .. j + n - 1 of y are done, and still in the cache.
constexpr std::int64_t kPieceDepth = 256;  // 64 KiB of panel for AVX-512

template <class Finish>
inline void weighted_sums(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, Weights w, Target y, Finish finish) {
  alignas(64) float panel[kPieceDepth * kPanel];
  for (std::int64_t j = 0; j < out; j += kPanel) {
    const std::int64_t n = out - j < kPanel ? out - j : kPanel;
    const Target c = y.at(0, j);
    if (w.packed != nullptr) {
      gemm_columns(rows, n, in, {x, in, 1}, w.packed + j * w.row + w.first * kPanel, kPanel, c);
    } else {
      for (std::int64_t k = 0; k < in; k += kPieceDepth) {
        const std::int64_t depth = in - k < kPieceDepth ? in - k : kPieceDepth;
        pack_panel(w.w + j * w.row + w.first + k, n, depth, w.row, panel);
        gemm_columns(rows, n, depth, {x + k, in, 1}, panel, kPanel, k == 0 ? c : adding_to(c.data, out));
      }
    }
    finish(j, n);
  }
}

// y (rows, out) = b + x w^T, b (out) or null
template <class Finish>
inline void biased_sums(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, Weights w, const float* b, float* y, Finish finish) {
  weighted_sums(rows, in, out, x, w, starting_from(b, y, out), finish);
}

// y (rows, out) += x w^T, or = when it is fresh
template <class Finish>
inline void added_sums(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, Weights w, float* y, bool fresh, Finish finish) {
  weighted_sums(rows, in, out, x, w, fresh ? starting_from(nullptr, y, out) : adding_to(y, out), finish);
}

// dx (rows, in) += dz w, or = when it is fresh
inline void input_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, Weights w, float* dx, bool fresh) {
  gemm(rows, in, out, {dz, out, 1}, w.w + w.first, w.row, fresh ? starting_from(nullptr, dx, in) : adding_to(dx, in));
}

// Columns `first` .. first + in - 1 of dw (out, row) += dz^T x, or = when it is fresh
inline void weight_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, const float* x, float* dw, std::int64_t row,
                            std::int64_t first, bool fresh) {
  gemm(out, in, rows, {dz, 1, out}, x, in, fresh ? starting_from(nullptr, dw + first, row) : adding_to(dw + first, row));
}

// y (rows, in) = x w
inline void product(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, Weights w, float* y) {
  input_gradient(rows, in, out, x, w, y, true);
}

}  // namespace
}  // namespace piano
