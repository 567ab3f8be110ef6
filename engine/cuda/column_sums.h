// Adding up a matrix's columns, over many rows: blocks take some rows each, and what they give is added up in order.
#pragma once

#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"

namespace piano::cuda {

inline constexpr std::int64_t kRowsOfSum = 128;  // that one block adds up
inline constexpr int kRowsAtOnce = 8;

template <int n>
struct Targets {
  Gradient to[n];  // (d) each; null: nobody wants it
};

// Block (32, kRowsAtOnce): 32 columns of kRowsOfSum rows. element(row, column, values): what row and column give to each of the n sums.
template <int n, class Element>
__global__ void partial_column_sums(std::int64_t rows, std::int64_t d, Element element, float* partial) {
  auto* sums = shared_memory<float>();  // (kRowsAtOnce, n, 32)
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x, begin = std::int64_t{blockIdx.y} * kRowsOfSum;
  const std::int64_t end = begin + kRowsOfSum < rows ? begin + kRowsOfSum : rows;
  float mine[n] = {};
  if (column < d) {
    for (std::int64_t r = begin + threadIdx.y; r < end; r += kRowsAtOnce) {
      float values[n];
      element(r, column, values);
      for (int s = 0; s < n; ++s) mine[s] += values[s];
    }
  }
  for (int s = 0; s < n; ++s) sums[(threadIdx.y * n + s) * 32 + threadIdx.x] = mine[s];
  __syncthreads();
  if (threadIdx.y != 0 || column >= d) return;
  for (int s = 0; s < n; ++s) {
    float sum = 0;
    for (int y = 0; y < kRowsAtOnce; ++y) sum += sums[(y * n + s) * 32 + threadIdx.x];
    partial[(std::int64_t{blockIdx.y} * n + s) * d + column] = sum;
  }
}

template <int n>
__global__ void add_partial_columns(std::int64_t blocks, std::int64_t d, const float* partial, Targets<n> targets) {
  for (std::int64_t c = first_element(); c < d; c += element_stride()) {
    for (int s = 0; s < n; ++s) {
      if (targets.to[s].to == nullptr) continue;
      float sum = 0;
      for (std::int64_t b = 0; b < blocks; ++b) sum += partial[(b * n + s) * d + c];
      put(targets.to[s].to + c, sum, targets.to[s].fresh);
    }
  }
}

template <int n, class Element>
void column_sums(const Context& context, std::int64_t rows, std::int64_t d, Element element, Targets<n> targets) {
  CudaMemory& memory = memory_of(context);
  const std::int64_t blocks = ceil_div(rows, kRowsOfSum);
  float* partial = floats(context, blocks * n * d);
  launch(memory, partial_column_sums<n, Element>, dim3(blocks_for(d, 32), static_cast<unsigned>(blocks)), dim3(32, kRowsAtOnce),
         kRowsAtOnce * n * 32 * sizeof(float), rows, d, element, partial);
  launch_elements(memory, add_partial_columns<n>, d, blocks, d, static_cast<const float*>(partial), targets);
}

}  // namespace piano::cuda
