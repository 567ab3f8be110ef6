// A device is a dtype and a table of kernels. The reference runs the same model code in double.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/dtype.h"
#include "engine/core/tape.h"

namespace piano {

class DeviceMemory;  // engine/core/device_memory.h

// Forward: node.output->value is allocated (padded rows), not initialised. A kernel that needs memory for backward allocates node.saved
// by context.allocate() when context.tape is set.
using Kernel = void (*)(const Context& context, Node& node);

struct AdamWArgs {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  double bias1, bias2;   // 1 - beta^t
  double gradient_scale; // clipping: the gradient is multiplied by it
};

// Optimisers are a second, smaller table. All arrays have n elements of the device's dtype.
struct OptimiserKernels {
  // Decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): value -= lr * (m_hat / (sqrt(v_hat) + eps) + weight_decay * value)
  void (*adamw)(const AdamWArgs& args, std::int64_t n, void* value, const void* grad, void* m, void* v);
  void (*add)(std::int64_t n, void* to, const void* from);           // to += from
  double (*sum_of_squares)(std::int64_t n, const void* x);           // in double
};

inline constexpr int kMaxOps = 64;

// Weight matrices in the order in which products read them. Null functions: the device reads them as they lie.
struct WeightPacking {
  std::int64_t (*elements)(std::int64_t out, std::int64_t in) = nullptr;
  void (*pack)(std::int64_t out, std::int64_t in, const void* w, void* packed) = nullptr;
};

struct Device {
  std::string name;     // "cpu/x86-64-v3", "ref/f64", ...
  DType dtype = DType::f32;
  Kernel forward[kMaxOps] = {};
  Kernel backward[kMaxOps] = {};
  std::uint32_t writes_fresh[kMaxOps] = {};  // bit i: the op's backward looks at bit i of Node::fresh; else the tape zeroes that gradient first
  OptimiserKernels optimiser{};
  WeightPacking packing{};
  std::unique_ptr<DeviceMemory> (*make_memory)() = nullptr;  // null: the device computes in the host's memory
};

const Device& cpu_device();                          // the best kernel level of this machine, or PIANO_ISA=x86-64|x86-64-v3|x86-64-v4
std::span<const Device* const> cpu_levels();         // every level that this machine can run, best first
const Device& reference_device(DType dtype);         // scalar loops: f32 or f64
// What a GPU's matrix products round their inputs to; all is kept, and added up, in float32.
enum class Precision { f32, tf32, bf16 };            // 23, 10 and 7 bits of mantissa

bool built_with_cuda();

// The first GPU. Throws ErrorCode::usage when there is none, or the build has no CUDA
const Device& cuda_device(Precision precision = Precision::f32);

}  // namespace piano
