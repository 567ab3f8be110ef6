// A kernel's threads, run: emulation.cpp.
#pragma once

#include "tests/cuda_emulation/cuda_runtime.h"

namespace piano::emulation {

void draw_order(dim3 grid, dim3 threads);  // in which blocks, and the threads of each, have their turns: first
// `arguments`, which are copied, are what thread() gets.
void run_grid(dim3 grid, dim3 threads, std::size_t shared_bytes, void (*thread)(void*), const void* arguments, std::size_t bytes);

}  // namespace piano::emulation
