// --device cpu|cuda: where a verb's networks run, declared and read alike by every verb that has it.
#pragma once

#include "engine/base/error.h"
#include "engine/core/device.h"
#include "tools/command_line.h"

namespace piano::tools {

inline CommandLine& with_device(CommandLine& line) {
  return line.value("device", "DEVICE", "cpu", "where the network runs: cpu, or cuda: the first GPU, in a build with CUDA (docs/gpu.md)")
      .value("precision", "HOW", "f32", "of a GPU's matrix products: f32, or tf32 or bf16: inputs are rounded to these, sums stay f32");
}

// The device that --device and --precision name. Throws ErrorCode::usage when there is none, or this build has no CUDA.
inline const Device& device_of(const CommandLine& line) {
  const bool cuda = line.choice("device", {"cpu", "cuda"}) == 1;
  const auto precision = static_cast<Precision>(line.choice("precision", {"f32", "tf32", "bf16"}));
  if (!cuda && precision != Precision::f32) {
    throw Error(ErrorCode::usage, "--precision " + line.text("precision") + " is of --device cuda; the CPU computes in f32");
  }
  return cuda ? cuda_device(precision) : cpu_device();
}

}  // namespace piano::tools
