// Kernels for x86-64-v3: AVX2 and FMA. CMakeLists.txt compiles this file with -march=x86-64-v3.
#if defined(__x86_64__)
#include "engine/cpu/kernels.inl"
#include "engine/cpu/levels.h"

void piano::set_kernels_x86_64_v3(Device& device) { set_kernels(device); }
#endif
