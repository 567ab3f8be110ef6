// Kernels for every x86-64 machine.
#if defined(__x86_64__)
#define Eigen Eigen_x86_64
#include "engine/cpu/kernels.inl"
#include "engine/cpu/levels.h"

void piano::set_kernels_x86_64(Device& device) { set_kernels(device); }
#endif
