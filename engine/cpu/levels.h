// The instruction set levels that kernels are compiled for: the same source (kernels.inl), once per level_*.cpp with its own flags.
#pragma once

namespace piano {

struct Device;

// Each sets the kernels of `device`. requires: the machine can run the level.
#if defined(__x86_64__)
void set_kernels_x86_64(Device& device);     // SSE2
void set_kernels_x86_64_v3(Device& device);  // AVX2 and FMA
void set_kernels_x86_64_v4(Device& device);  // AVX-512
#else
void set_kernels_portable(Device& device);   // the compiler's default
#endif

// The level named `wanted`, or the best one for null or "". Throws ErrorCode::usage when this machine has no such level.
const Device& choose_level(const char* wanted);

}  // namespace piano
