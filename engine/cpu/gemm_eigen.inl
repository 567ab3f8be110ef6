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

// y (rows, out) = b + x w^T, x (rows, in), w (out, in), b (out) or null; then finish(0, out)
template <class Finish>
inline void biased_sums(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, const float* w, const float*, const float* b,
                        float* y, Finish finish) {
  const std::int64_t padded = padded_rows(rows);
  for (std::int64_t r = 0; r < padded; ++r) {
    if (b != nullptr) copy(y + r * out, b, out);
    else zero(y + r * out, out);
  }
  MatrixMap(y, padded, out).noalias() += ConstMatrixMap(x, padded, in) * ConstMatrixMap(w, out, in).transpose();
  finish(0, out);
}

// dx (rows, in) += dz w, or = when it is fresh; dz (rows, out)
inline void input_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, const float* w, float* dx, bool fresh) {
  if (fresh) zero(dx, rows * in);
  MatrixMap(dx, rows, in).noalias() += ConstMatrixMap(dz, rows, out) * ConstMatrixMap(w, out, in);
}

// dw (out, in) += dz^T x, or = when it is fresh
inline void weight_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dz, const float* x, float* dw, bool fresh) {
  if (fresh) zero(dw, out * in);
  MatrixMap(dw, out, in).noalias() += ConstMatrixMap(dz, rows, out).transpose() * ConstMatrixMap(x, rows, in);
}

// y (rows, in) = x w
inline void product(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x, const float* w, float* y) {
  input_gradient(padded_rows(rows), in, out, x, w, y, true);
}

// dx (rows, out) += dy w^T, or = when it is fresh
inline void product_gradient(std::int64_t rows, std::int64_t in, std::int64_t out, const float* dy, const float* w, const float*, float* dx,
                             bool fresh) {
  if (fresh) zero(dx, rows * out);
  MatrixMap(dx, rows, out).noalias() += ConstMatrixMap(dy, rows, in) * ConstMatrixMap(w, out, in).transpose();
}

}  // namespace
}  // namespace piano
