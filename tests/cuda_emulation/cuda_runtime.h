// CUDA on the host, for tests alone: engine/cuda/*.cu, compiled as C++, runs here thread by thread. It shows that kernels compute what they
// should and say nothing of a GPU's speed; no test that uses it claims that a GPU ran.
//
// Blocks run one after another. Each thread of a block is a fiber that runs until it ends or waits: at a barrier for its block, at a shuffle for
// its warp. Waiting for a thread that has ended, or that waits elsewhere, is an error, as it would be (or would hang) on a GPU. Shared and device
// memory begin as NaN, what lies behind a block's shared memory is watched, and the order of threads can be shuffled (emulation.h).
// Streams are one: calls happen at once. So a transfer that a kernel should have waited for is not found here.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct uint3 { unsigned x = 0, y = 0, z = 0; };
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };

// Of the fiber that runs.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

// ---- what the fibers wait for

namespace piano::emulation {
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, void (*thread)(void*), void* arguments);
void wait_for_block();
// Hands `bytes` of `mine` to the lanes of `mask` and returns lane `from`'s.
void exchange(unsigned mask, int from, const void* mine, void* theirs, std::size_t bytes, int kind);
int lane();
}  // namespace piano::emulation

inline void __syncthreads() { piano::emulation::wait_for_block(); }

template <class T>
T __shfl_sync(unsigned mask, T v, int from) {
  T theirs;
  piano::emulation::exchange(mask, from % 32, &v, &theirs, sizeof v, 0);
  return theirs;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int with) {
  T theirs;
  piano::emulation::exchange(mask, piano::emulation::lane() ^ with, &v, &theirs, sizeof v, 1);
  return theirs;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) {
  int mine = 0, theirs = 0;
  piano::emulation::exchange(mask, piano::emulation::lane(), &mine, &theirs, sizeof mine, 2);
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// ---- the runtime

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorNoDevice = 100 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;
struct cudaDeviceProp { char name[256]; };

inline const char* cudaGetErrorString(cudaError_t) { return "an error of the emulation"; }
inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) { return std::strcpy(p->name, "emulation"), cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return *s = nullptr, cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return *e = nullptr, cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t);  // all bytes 0xFF: NaN
cudaError_t cudaFreeAsync(void* p, cudaStream_t);
inline cudaError_t cudaMallocHost(void** p, std::size_t bytes) { return cudaMallocAsync(p, bytes, nullptr); }
inline cudaError_t cudaFreeHost(void* p) { return cudaFreeAsync(p, nullptr); }
inline cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t) { return std::memset(p, value, bytes), cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return std::memcpy(to, from, bytes), cudaSuccess;
}

namespace piano::emulation {
template <class... P>
struct KernelCall {
  void (*kernel)(P...);
  void** pointers;  // to its arguments
  void run() { run(std::index_sequence_for<P...>{}); }

 private:
  template <std::size_t... i>
  void run(std::index_sequence<i...>) { kernel(*static_cast<std::remove_const_t<P>*>(pointers[i])...); }
};
}  // namespace piano::emulation

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void** pointers, std::size_t shared_bytes, cudaStream_t) {
  piano::emulation::KernelCall<P...> call{kernel, pointers};
  piano::emulation::run_grid(grid, block, shared_bytes, [](void* c) { static_cast<piano::emulation::KernelCall<P...>*>(c)->run(); }, &call);
  return cudaSuccess;
}
