// Matrix products by cuBLASLt, which thinks in columns: a row-major matrix is its transpose there.
#pragma once

#include <cstdint>

#include "engine/cuda/memory.h"

namespace piano::cuda {

// Row-major, rows `stride` elements apart.
struct Operand {
  const float* data;
  std::int64_t stride;
  std::int64_t transposed;  // 1: the product takes its transpose
};

// c (m, n) = a (m, k) b (k, n) + bias (n) unless null, or += when it is added (then without a bias). c's rows lie `stride` apart.
void product(CudaMemory& memory, std::int64_t m, std::int64_t n, std::int64_t k, Operand a, Operand b, const float* bias, float* c,
             std::int64_t stride, bool added);

}  // namespace piano::cuda
