// What kernels are made of: where a thread stands, and sums across a warp or a block. Sums have one order, so their bits are always the same.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace piano::cuda {

__device__ inline std::int64_t first_element() { return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline std::int64_t element_stride() { return std::int64_t{gridDim.x} * blockDim.x; }

__device__ inline int lane() { return static_cast<int>(threadIdx.x % 32); }
__device__ inline std::int64_t first_warp() { return first_element() / 32; }
__device__ inline std::int64_t warp_stride() { return element_stride() / 32; }

// The i-th element of a matrix with d columns. Division of 64 bits takes several times as long: only where there are so many elements.
struct Cell {
  std::int64_t row, column;
};
__device__ inline Cell cell_of(std::int64_t i, std::int64_t d) {
  if ((i | d) >> 32 != 0) return {i / d, i % d};
  const auto row = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(d);
  return {row, static_cast<std::uint32_t>(i) - row * static_cast<std::uint32_t>(d)};
}

// Before a loop whose turns must all be written out, or arrays that it indexes are no registers: at most `turns`, a constant.
#ifdef __CUDACC__
#define PIANO_PRAGMA(text) _Pragma(#text)
#define PIANO_UNROLL(turns) PIANO_PRAGMA(unroll (turns))
#else
#define PIANO_UNROLL(turns)
#endif

inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// The same in every lane.
template <class T>
__device__ inline T warp_sum(T v) {
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(kAllLanes, v, step);
  return v;
}

template <class T>
__device__ inline T warp_max(T v) {
  for (int step = 16; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, v, step);
    v = v > other ? v : other;
  }
  return v;
}

// Sum over the lanes up to this one.
template <class T>
__device__ inline T warp_scan(T v) {
  for (unsigned step = 1; step < 32; step *= 2) {
    const T other = __shfl_up_sync(kAllLanes, v, step);
    if (threadIdx.x % 32 >= step) v += other;
  }
  return v;
}

// How many lanes before this one are among `lanes`.
__device__ inline int lanes_before(unsigned lanes) { return __popc(lanes & ((1u << lane()) - 1)); }

// The block's dynamic shared memory.
template <class T>
__device__ inline T* shared_memory() {
  extern __shared__ __align__(16) unsigned char dynamic_shared[];
  return reinterpret_cast<T*>(dynamic_shared);
}

// Sum over all threads of a block, the same in every thread. `scratch`: a number for each warp, in shared memory.
template <class T>
__device__ inline T block_sum(T v, T* scratch) {
  v = warp_sum(v);
  __syncthreads();  // scratch may still be read by an earlier sum
  if (lane() == 0) scratch[threadIdx.x / 32] = v;
  __syncthreads();
  T total = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) total += scratch[w];
  return total;
}

template <class T>
__device__ inline T block_max(T v, T* scratch) {
  v = warp_max(v);
  __syncthreads();
  if (lane() == 0) scratch[threadIdx.x / 32] = v;
  __syncthreads();
  T most = scratch[0];
  for (unsigned w = 1; w < blockDim.x / 32; ++w) most = most > scratch[w] ? most : scratch[w];
  return most;
}

// Where a sum goes that may be the first to be written there.
__device__ inline void put(float* to, float v, bool fresh) { *to = fresh ? v : *to + v; }

}  // namespace piano::cuda
