// Matrix products by Eigen, for the levels without fused multiply-add and for other processors.
//
// A row's bits must not depend on how many rows there are. Eigen computes the last n mod 4 rows otherwise than the rest, so the forward works on
// padded rows; its blocking is pinned so that it depends on (in, out) alone. Both operands' memory is padded to whole row blocks.
#pragma once

#ifndef Eigen
#error "a level that multiplies with Eigen names its own copy first: #define Eigen Eigen_<level>"
#endif
#define EIGEN_DONT_PARALLELIZE                        // a micro-batch runs on one thread
#define EIGEN_STACK_ALLOCATION_LIMIT (4 * 1024 * 1024)  // packed panels lie on the stack: no heap allocation in a product
#define EIGEN_GEMM_TO_COEFFBASED_THRESHOLD 1          // one algorithm for every number of rows

#include <Eigen/Core>

#include "engine/cpu/node.inl"

namespace piano {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixMap = Eigen::Map<Matrix>;
using ConstMatrixMap = Eigen::Map<const Matrix>;

// Eigen cuts products into blocks by the size of the caches: fixed sizes, so that bits do not depend on the machine.
inline void prepare_products() { Eigen::setCpuCacheSizes(32 * 1024, 1024 * 1024, 8 * 1024 * 1024); }

constexpr bool kPacksWeights = false;
inline std::int64_t packed_elements(std::int64_t, std::int64_t) { return 0; }
inline void pack_weights(std::int64_t, std::int64_t, const float*, float*) {}

// Of a weight matrix w (out, row) the columns from `first` on: what one of the inputs that lie side by side is multiplied with.
struct Weights {
  const float* w;
  const float* packed;  // never: Eigen packs on its own
  std::int64_t row, first;
  auto map(std::int64_t out, std::int64_t in) const {
    return Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>(w + first, out, in, Eigen::OuterStride<>(row));
  }
};

// y (rows, out) += x w^T, or = when it is fresh, x (rows, in); then finish(0, out)
template <class Finish>
inline void added_sums(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, Weights w, float* y, bool fresh, Finish finish) {
  const std::int64_t padded = padded_rows(rows);
  if (fresh) zero(y, padded * out);
  MatrixMap(y, padded, out).noalias() += ConstMatrixMap(x, padded, in) * w.map(out, in).transpose();
  finish(0, out);
}

// y (rows, out) = b + x w^T, b (out) or null
template <class Finish>
inline void biased_sums(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, Weights w, const float* b, float* y, Finish finish) {
  for (std::int64_t r = 0; b != nullptr && r < padded_rows(rows); ++r) copy(y + r * out, b, out);
  added_sums(rows, in, out, x, w, y, b == nullptr, finish);
}

// dx (rows, in) += dz w, or = when it is fresh; dz (rows, out)
inline void input_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, Weights w, float* dx, bool fresh) {
  if (fresh) zero(dx, rows * in);
  MatrixMap(dx, rows, in).noalias() += ConstMatrixMap(dz, rows, out) * w.map(out, in);
}

// Columns `first` .. first + in - 1 of dw (out, row) += dz^T x, or = when it is fresh
inline void weight_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, const float* x, float* dw, std::int64_t row,
                            std::int64_t first, bool fresh) {
  for (std::int64_t o = 0; fresh && o < out; ++o) zero(dw + o * row + first, in);
  Eigen::Map<Matrix, 0, Eigen::OuterStride<>>(dw + first, out, in, Eigen::OuterStride<>(row)).noalias() +=
      ConstMatrixMap(dz, rows, out).transpose() * ConstMatrixMap(x, rows, in);
}

// y (rows, in) = x w
inline void product(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, Weights w, float* y) {
  input_gradient(padded_rows(rows), in, out, x, w, y, true);
}

}  // namespace
}  // namespace piano
