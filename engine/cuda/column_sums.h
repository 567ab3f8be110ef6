// Adding up a matrix's columns, over many rows: blocks take some rows each, and what they give is added up in order.
#pragma once

#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"

namespace piano::cuda {

inline constexpr int kRowsAtOnce = 8;
inline constexpr std::int64_t kMostRowBlocks = 256;  // two for each multiprocessor; and what they give is soon added up

// Rows that one block adds up: a multiple of kRowsAtOnce.
constexpr std::int64_t rows_of_sum(std::int64_t rows) {
  return std::max<std::int64_t>(128, ceil_div(ceil_div(rows, kMostRowBlocks), kRowsAtOnce) * kRowsAtOnce);
}

template <int n>
struct Targets {
  Gradient to[n];  // (d) each; null: nobody wants it
};

// Of a block (32, kRowsAtOnce), each thread having added up some rows of its column: the whole sums, in the threads with threadIdx.y == 0.
template <int n>
__device__ inline void sum_of_block(float* mine) {
  auto* sums = shared_memory<float>();  // (kRowsAtOnce, n, 32)
  const auto x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  for (int s = 0; s < n; ++s) sums[(y * n + s) * 32 + x] = mine[s];
  __syncthreads();
  for (int s = 0; s < n && y == 0; ++s) {
    mine[s] = 0;
    for (int part = 0; part < kRowsAtOnce; ++part) mine[s] += sums[(part * n + s) * 32 + x];
  }
}

// Block (32, kRowsAtOnce): 32 columns of `each` rows. element(row, column, values): what row and column give to each of the n sums.
template <int n, class Element>
__global__ void partial_column_sums(std::int64_t rows, std::int64_t each, std::int64_t d, Element element, float* partial) {
  const std::int64_t column = std::int64_t{blockIdx.y} * 32 + threadIdx.x, begin = std::int64_t{blockIdx.x} * each;
  const std::int64_t end = begin + each < rows ? begin + each : rows;
  float mine[n] = {};
  if (column < d) {
    for (std::int64_t r = begin + threadIdx.y; r < end; r += kRowsAtOnce) {
      float values[n];
      element(r, column, values);
      for (int s = 0; s < n; ++s) mine[s] += values[s];
    }
  }
  sum_of_block<n>(mine);
  if (threadIdx.y != 0 || column >= d) return;
  for (int s = 0; s < n; ++s) partial[(std::int64_t{blockIdx.x} * n + s) * d + column] = mine[s];
}

// Block (32, kRowsAtOnce): 32 columns of what `blocks` gave.
template <int n>
__global__ void add_partial_columns(std::int64_t blocks, std::int64_t d, const float* partial, Targets<n> targets) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  float mine[n] = {};
  for (std::int64_t b = threadIdx.y; b < blocks && column < d; b += kRowsAtOnce) {
    for (int s = 0; s < n; ++s) mine[s] += partial[(b * n + s) * d + column];
  }
  sum_of_block<n>(mine);
  if (threadIdx.y != 0 || column >= d) return;
  for (int s = 0; s < n; ++s) {
    if (targets.to[s].to != nullptr) put(targets.to[s].to + column, mine[s], targets.to[s].fresh);
  }
}

template <int n, class Element>
void column_sums(const Context& context, std::int64_t rows, std::int64_t d, Element element, Targets<n> targets) {
  CudaMemory& memory = memory_of(context);
  const std::int64_t each = rows_of_sum(rows), blocks = ceil_div(rows, each);
  float* partial = floats(context, blocks * n * d);
  const auto columns = static_cast<unsigned>(ceil_div(d, 32));
  const dim3 block(32, kRowsAtOnce);
  constexpr std::size_t shared = kRowsAtOnce * n * 32 * sizeof(float);
  launch(memory, partial_column_sums<n, Element>, dim3(static_cast<unsigned>(blocks), columns), block, shared, rows, each, d, element, partial);
  launch(memory, add_partial_columns<n>, dim3(columns), block, shared, blocks, d, static_cast<const float*>(partial), targets);
}

}  // namespace piano::cuda
