// Races on purpose, each of which the emulation reports when it is built with the thread sanitizer: there each case is a test of its own that passes
// when it is reported (tests/CMakeLists.txt). What has no race is the other tests', none of which may be reported.
#include <doctest/doctest.h>

#include <vector>

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"

using namespace piano::cuda;

namespace {

__global__ void reverse_without_barrier(const int* from, int* to) {
  auto* shared = shared_memory<int>();
  shared[threadIdx.x] = from[threadIdx.x];
  to[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

// A shuffle makes lanes meet, but orders nothing that they write.
__global__ void reverse_by_shuffle(const int* from, int* to) {
  auto* shared = shared_memory<int>();
  shared[threadIdx.x] = from[threadIdx.x];
  warp_sum(1);
  to[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void write_every_fourth(int* to) {
  if (blockIdx.x % 4 == 0) *to = static_cast<int>(blockIdx.x);
}

__global__ void write_one_number(int* to) { *to = static_cast<int>(blockIdx.x); }

// Warp 0's sum is there for warp 1 after a barrier, not after each has waited for its own lanes.
__global__ void tell_another_warp(int* to) {
  auto* shared = shared_memory<int>();
  if (threadIdx.x == 0) shared[0] = 1;
  __syncwarp();
  if (threadIdx.x == 32) *to = shared[0];
}

__global__ void copy_numbers(const int* from, int* to) { to[threadIdx.x] = from[threadIdx.x]; }

constexpr int kLaunches = 12;  // after so many any two blocks have been apart (emulation.cpp)

struct Numbers {
  std::vector<int> from = std::vector<int>(64, 1), to = std::vector<int>(64, 0);
};

}  // namespace

TEST_CASE("race: threads of a block, without a barrier" * doctest::skip()) {
  Numbers n;
  CudaMemory memory(piano::Precision::f32);
  launch(memory, reverse_without_barrier, dim3(1), dim3(64), 64 * sizeof(int), n.from.data(), n.to.data());
  memory.read({});
}

TEST_CASE("race: lanes of a warp, with a shuffle for a barrier" * doctest::skip()) {
  Numbers n;
  CudaMemory memory(piano::Precision::f32);
  launch(memory, reverse_by_shuffle, dim3(1), dim3(32), 32 * sizeof(int), n.from.data(), n.to.data());
  memory.read({});
}

TEST_CASE("race: two blocks write one number" * doctest::skip()) {
  Numbers n;
  CudaMemory memory(piano::Precision::f32);
  for (int i = 0; i < kLaunches; ++i) launch(memory, write_one_number, dim3(2), dim3(1), 0, n.to.data());
  memory.read({});
}

TEST_CASE("race: any two blocks that write one number" * doctest::skip()) {
  Numbers n;
  CudaMemory memory(piano::Precision::f32);
  for (int i = 0; i < kLaunches; ++i) launch(memory, write_every_fourth, dim3(5), dim3(1), 0, n.to.data());
  memory.read({});
}

TEST_CASE("race: warps that wait for nobody but themselves" * doctest::skip()) {
  Numbers n;
  CudaMemory memory(piano::Precision::f32);
  launch(memory, tell_another_warp, dim3(1), dim3(64), sizeof(int), n.to.data());
  memory.read({});
}

TEST_CASE("race: a kernel does not wait for another stream's transfer" * doctest::skip()) {
  Numbers n;
  std::vector<int> there(64);
  CudaMemory memory(piano::Precision::f32);
  cudaStream_t copies;
  cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking);
  cudaMemcpyAsync(there.data(), n.from.data(), 64 * sizeof(int), cudaMemcpyHostToDevice, copies);
  launch(memory, copy_numbers, dim3(1), dim3(64), 0, there.data(), n.to.data());
  memory.read({});
  cudaStreamSynchronize(copies);
  cudaStreamDestroy(copies);
}

TEST_CASE("race: the host writes what a kernel may still read" * doctest::skip()) {
  Numbers n;
  CudaMemory memory(piano::Precision::f32);
  launch(memory, copy_numbers, dim3(1), dim3(64), 0, n.from.data(), n.to.data());
  memory.run();
  n.from[5] = 2;
  memory.read({});
}
