// Which kernels this machine runs.
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/core/device.h"
#include "engine/cpu/levels.h"
#include "engine/ops/ops.h"

namespace piano {
namespace {

Device make_device(const char* level, void (*set_kernels)(Device&)) {
  Device device;
  device.name = std::string("cpu/") + level;
  device.dtype = DType::f32;
  set_kernels(device);
  // The losses run over one column, in double, and exp over one number: the reference's loops are all they need.
  const Device& reference = reference_device(DType::f32);
  for (const OpId id : {OpId::exp, OpId::bce_with_logits, OpId::product_bce, OpId::poisson_nll, OpId::softmax_cross_entropy, OpId::attention_rank_loss, OpId::lambda_loss}) {
    const auto i = static_cast<std::size_t>(id);
    device.forward[i] = reference.forward[i];
    device.backward[i] = reference.backward[i];
  }
  return device;
}

std::vector<const Device*> make_levels() {
  std::vector<const Device*> levels;
#if defined(__x86_64__)
  // The levels' features that clang 14 can ask for; it does not know their names. No processor has these without the others.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    static const Device v4 = make_device("x86-64-v4", set_kernels_x86_64_v4);
    levels.push_back(&v4);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) {
    static const Device v3 = make_device("x86-64-v3", set_kernels_x86_64_v3);
    levels.push_back(&v3);
  }
  static const Device baseline = make_device("x86-64", set_kernels_x86_64);
  levels.push_back(&baseline);
#else
  static const Device portable = make_device("portable", set_kernels_portable);
  levels.push_back(&portable);
#endif
  return levels;
}

}  // namespace

const Device& choose_level(const char* wanted) {
  const auto levels = cpu_levels();
  if (wanted == nullptr || *wanted == '\0') return *levels.front();
  std::string runnable;
  for (const Device* device : levels) {
    if (device->name == std::string("cpu/") + wanted) return *device;
    runnable += (runnable.empty() ? "" : ", ") + device->name.substr(4);
  }
  throw Error(ErrorCode::usage, "PIANO_ISA: expected one of the levels this machine can run (" + runnable + "), got '" + wanted + "'");
}

std::span<const Device* const> cpu_levels() {
  static const std::vector<const Device*> levels = make_levels();
  return levels;
}

const Device& cpu_device() {
  static const Device& device = choose_level(std::getenv("PIANO_ISA"));
  return device;
}

}  // namespace piano
