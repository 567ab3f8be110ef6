// CUDA on the host, for tests alone: engine/cuda/*.cu, compiled as C++, runs here thread by thread. It shows that kernels compute what they
// should and say nothing of a GPU's speed; no test that uses it claims that a GPU ran.
//
// Blocks run one after another. Each thread of a block is a fiber that runs until it ends or waits: at a barrier for its block, at a shuffle for
// its warp. Waiting for a thread that has ended, or that waits elsewhere, is an error, as it would be (or would hang) on a GPU. Shared and device
// memory begin as NaN, what lies behind a block's shared memory is watched, and the order of threads can be shuffled (emulation.h).
// Streams do at once what they are asked to; that somebody should have waited for them, the thread sanitizer finds (order.h).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/cuda_emulation/emulation.h"

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
enum class Exchange { shuffle, shuffle_xor, shuffle_up, to_all, sync_warp };
void wait_for_block();
// Hands `bytes` of `mine` to the lanes of `mask` and returns lane `from`'s.
void exchange(unsigned mask, int from, const void* mine, void* theirs, std::size_t bytes, Exchange kind);
// Hands every lane's number to every lane of `mask`: theirs (32), 0 of lanes that are not in it.
void exchange_all(unsigned mask, std::uint32_t mine, std::uint32_t* theirs);
int lane();
}  // namespace piano::emulation

inline void __syncthreads() { piano::emulation::wait_for_block(); }

template <class T>
T __shfl_sync(unsigned mask, T v, int from) {
  T theirs;
  piano::emulation::exchange(mask, from % 32, &v, &theirs, sizeof v, piano::emulation::Exchange::shuffle);
  return theirs;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int with) {
  T theirs;
  piano::emulation::exchange(mask, piano::emulation::lane() ^ with, &v, &theirs, sizeof v, piano::emulation::Exchange::shuffle_xor);
  return theirs;
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by) {
  T theirs;
  const int lane = piano::emulation::lane(), from = lane - static_cast<int>(by);
  piano::emulation::exchange(mask, from < 0 ? lane : from, &v, &theirs, sizeof v, piano::emulation::Exchange::shuffle_up);
  return theirs;
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  std::uint32_t all[32];
  piano::emulation::exchange_all(mask, predicate != 0, all);
  unsigned ballot = 0;
  for (unsigned l = 0; l < 32; ++l) ballot |= all[l] << l;
  return ballot;
}
inline unsigned __match_any_sync(unsigned mask, int value) {
  std::uint32_t all[32];
  piano::emulation::exchange_all(mask, static_cast<std::uint32_t>(value), all);
  unsigned equal = 0;
  for (unsigned l = 0; l < 32; ++l) equal |= static_cast<unsigned>((mask >> l & 1) != 0 && all[l] == static_cast<std::uint32_t>(value)) << l;
  return equal;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) {
  int mine = 0, theirs = 0;
  piano::emulation::exchange(mask, piano::emulation::lane(), &mine, &theirs, sizeof mine, piano::emulation::Exchange::sync_warp);
}

inline int min(int a, int b) { return b < a ? b : a; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// ---- the runtime

#define CUDART_VERSION 13000
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorNoDevice = 100, cudaErrorLaunchFailure = 719 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2;
struct cudaDeviceProp { char name[256]; int major, minor; };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97, cudaDevAttrMemoryPoolsSupported = 115 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

// A graph: calls that were noted down with copies of their arguments. While one is captured nothing is done, and what CUDA forbids is an error.
struct EmulatedGraph { std::vector<std::function<void(cudaStream_t)>> calls; };
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
inline cudaGraph_t capturing = nullptr;
inline void forbidden_while_capturing(const char* what) {
  if (capturing != nullptr) throw std::runtime_error(std::string(what) + " while a graph is captured");
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  forbidden_while_capturing("a capture");
  return capturing = new EmulatedGraph, cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) { return *graph = std::exchange(capturing, nullptr), cudaSuccess; }
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* to, cudaGraph_t graph, unsigned long long) { return *to = new EmulatedGraph(*graph), cudaSuccess; }
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return delete graph, cudaSuccess; }
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  forbidden_while_capturing("a graph's start");
  for (const auto& call : graph->calls) call(stream);
  return cudaSuccess;
}
// call(stream): done now, or noted down.
template <class Call>
cudaError_t do_or_capture(cudaStream_t stream, Call call) {
  capturing != nullptr ? capturing->calls.push_back(call) : call(stream);
  return cudaSuccess;
}

// ---- what a stream does, and who waits for it: runtime.cpp

namespace piano::emulation {
void run_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes, void (*thread)(void*), const void* arguments, std::size_t bytes);
void copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes);
void fill(cudaStream_t stream, void* to, int value, std::size_t bytes);
void act_in(cudaStream_t stream, const std::function<void()>& act);  // for files without the sanitizer
}  // namespace piano::emulation
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 1, cudaSuccess; }
cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t s);  // all bytes 0xFF: NaN
cudaError_t cudaFreeAsync(void* p, cudaStream_t s);
cudaError_t cudaMallocHost(void** p, std::size_t bytes);
cudaError_t cudaFreeHost(void* p);

inline const char* cudaGetErrorString(cudaError_t) { return "an error of the emulation"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) {
  return *count = piano::emulation::gpu.count, *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  return std::strcpy(p->name, "emulation"), p->major = piano::emulation::gpu.major, p->minor = piano::emulation::gpu.minor, cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  *value = which == cudaDevAttrMemoryPoolsSupported ? piano::emulation::gpu.pools : static_cast<int>(piano::emulation::kMostShared);
  return cudaSuccess;
}
inline cudaError_t cudaFuncGetName(const char** name, const void*) { return *name = "a kernel", cudaSuccess; }
using cudaMemPool_t = struct EmulatedPool*;
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) { return *pool = nullptr, cudaSuccess; }
inline cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return cudaSuccess; }
inline cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  return do_or_capture(stream, [=](cudaStream_t in) { piano::emulation::fill(in, p, value, bytes); });
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return do_or_capture(stream, [=](cudaStream_t in) { piano::emulation::copy(in, to, from, bytes); });
}

namespace piano::emulation {
template <class... P>
struct KernelCall {
  void (*kernel)(P...);
  std::tuple<std::remove_const_t<P>...> arguments;
  void run() { std::apply(kernel, arguments); }
};

template <class... P, std::size_t... i>
KernelCall<P...> call_of(void (*kernel)(P...), void** pointers, std::index_sequence<i...>) {
  return {kernel, {*static_cast<std::remove_const_t<P>*>(pointers[i])...}};
}
}  // namespace piano::emulation

// Shared memory that kernels were given leave for, beyond what each has.
inline std::map<const void*, std::size_t> shared_leave;

template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int value) {
  if (static_cast<std::size_t>(value) > piano::emulation::kMostShared) return cudaErrorInvalidValue;
  return shared_leave[reinterpret_cast<const void*>(kernel)] = static_cast<std::size_t>(value), cudaSuccess;
}

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void** pointers, std::size_t shared_bytes, cudaStream_t stream) {
  constexpr std::size_t kUnasked = 48 * 1024;
  using Call = piano::emulation::KernelCall<P...>;
  if (shared_bytes > kUnasked && shared_bytes > shared_leave[reinterpret_cast<const void*>(kernel)]) return cudaErrorInvalidValue;
  return do_or_capture(stream, [=, call = piano::emulation::call_of(kernel, pointers, std::index_sequence_for<P...>{})](cudaStream_t in) {
    piano::emulation::run_kernel(in, grid, block, shared_bytes, [](void* c) { static_cast<Call*>(c)->run(); }, &call, sizeof call);
  });
}
