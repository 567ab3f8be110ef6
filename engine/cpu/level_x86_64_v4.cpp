// Kernels for x86-64-v4: AVX-512 (F, BW, CD, DQ, VL). CMakeLists.txt compiles this file with -march=x86-64-v4.
#if defined(__x86_64__)
#include "engine/cpu/kernels.inl"
#include "engine/cpu/levels.h"

void piano::set_kernels_x86_64_v4(Device& device) { set_kernels(device); }
#endif
