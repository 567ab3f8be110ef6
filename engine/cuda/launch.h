// Starting kernels, and the arithmetic of grids.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/cuda/memory.h"

namespace piano::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kThreads = 256;                // of a block, where nothing else is said
inline constexpr std::int64_t kMostBlocks = 65535;  // kernels over elements walk on in strides of the grid

inline constexpr std::size_t kSharedUnasked = 48 * 1024;  // bytes of shared memory that a block may have without asking for more

constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

// Blocks for n pieces of work, `each` to a block.
constexpr unsigned blocks_for(std::int64_t n, std::int64_t each) { return static_cast<unsigned>(std::min(ceil_div(n, each), kMostBlocks)); }

// A kernel, noted down.
template <class... P>
struct Launch {
  static constexpr std::size_t kCount = sizeof...(P);
  // Where each argument lies: one after another, aligned.
  static constexpr std::array<std::size_t, kCount + 1> places() {
    constexpr std::array<std::size_t, kCount> sizes{sizeof(P)...};
    std::array<std::size_t, kCount + 1> place{};
    for (std::size_t i = 0; i < kCount; ++i) place[i + 1] = (place[i] + sizes[i] + 15) / 16 * 16;
    return place;
  }
  Command command;
  void (*kernel)(P...);
  std::array<unsigned, 3> grid, block;
  std::size_t shared_bytes;
  alignas(16) std::byte arguments[places()[kCount] + 16];

  static void start(const Command* self, cudaStream_t stream) {
    const auto& launch = *reinterpret_cast<const Launch*>(self);
    void* pointers[kCount + 1];
    for (std::size_t i = 0; i < kCount; ++i) pointers[i] = const_cast<std::byte*>(launch.arguments) + places()[i];
    cudaError_t status = cudaSuccess;
    if (launch.shared_bytes > kSharedUnasked) {
      status = cudaFuncSetAttribute(launch.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(launch.shared_bytes));
    }
    if (status == cudaSuccess) {
      status = cudaLaunchKernel(launch.kernel, dim3(launch.grid[0], launch.grid[1], launch.grid[2]),
                                dim3(launch.block[0], launch.block[1], launch.block[2]), pointers, launch.shared_bytes, stream);
    }
    if (status != cudaSuccess) check(status, (name_of(*self) + " did not start").c_str());
  }
};

// Notes the kernel down; it starts in its turn. A grid without blocks has nothing to do. Structs among the arguments have no padding (see note()).
template <class... P, class... A>
void launch(CudaMemory& memory, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, A... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  auto* noted = memory.note<Launch<P...>>();
  noted->command.start = Launch<P...>::start, noted->command.kernel = reinterpret_cast<const void*>(kernel);
  noted->kernel = kernel;
  noted->grid = {grid.x, grid.y, grid.z}, noted->block = {block.x, block.y, block.z}, noted->shared_bytes = shared_bytes;
  std::size_t i = 0;
  const auto put_argument = [&]<class T>(const T& value) {
    if constexpr (!std::is_empty_v<T>) std::memcpy(noted->arguments + Launch<P...>::places()[i], &value, sizeof value);
    ++i;
  };
  (put_argument(static_cast<P>(args)), ...);
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
