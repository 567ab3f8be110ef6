// Kernels for any other processor, with the compiler's default instruction set.
#if !defined(__x86_64__)
#define Eigen Eigen_portable
#include "engine/cpu/kernels.inl"
#include "engine/cpu/levels.h"

void piano::set_kernels_portable(Device& device) { set_kernels(device); }
#endif
