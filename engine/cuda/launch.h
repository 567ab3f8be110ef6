// Starting kernels, and the arithmetic of grids.
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "engine/cuda/memory.h"

namespace piano::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kThreads = 256;                // of a block, where nothing else is said
inline constexpr std::int64_t kMostBlocks = 65535;  // kernels over elements walk on in strides of the grid

constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

// Blocks for n pieces of work, `each` to a block.
constexpr unsigned blocks_for(std::int64_t n, std::int64_t each) { return static_cast<unsigned>(std::min(ceil_div(n, each), kMostBlocks)); }

// Notes the kernel down; it starts in its turn. A grid without blocks has nothing to do.
template <class... P, class... A>
void launch(CudaMemory& memory, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, A... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  memory.note([=, packed = std::tuple<P...>(static_cast<P>(args)...)](cudaStream_t stream) mutable {
    std::apply([&](P&... unpacked) {
      void* pointers[] = {&unpacked...};
      check(cudaLaunchKernel(kernel, grid, block, pointers, shared_bytes, stream), "a kernel did not start");
    }, packed);
  });
}

// One thread for each of n elements (fewer for very many: kernels walk in strides).
template <class... P, class... A>
void launch_elements(CudaMemory& memory, void (*kernel)(P...), std::int64_t n, A... args) {
  launch(memory, kernel, dim3(blocks_for(n, kThreads)), dim3(kThreads), 0, args...);
}

// One warp for each of n pieces.
template <class... P, class... A>
void launch_warps(CudaMemory& memory, void (*kernel)(P...), std::int64_t n, A... args) {
  launch(memory, kernel, dim3(blocks_for(n, kThreads / kWarp)), dim3(kThreads), 0, args...);
}

}  // namespace piano::cuda
