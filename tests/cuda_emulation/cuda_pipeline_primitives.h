// Copies to shared memory that a thread starts and later waits for, on the host: nothing is there before the wait.
#pragma once

#include "tests/cuda_emulation/cuda_runtime.h"

namespace piano::emulation {
void start_copy(void* to, const void* from, std::size_t bytes, std::size_t zeros);  // the last `zeros` of them are 0
void wait_for_copies();
}  // namespace piano::emulation

inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes, std::size_t zeros = 0) {
  piano::emulation::start_copy(to, from, bytes, zeros);
}
inline void __pipeline_commit() {}
inline void __pipeline_wait_prior(std::size_t) { piano::emulation::wait_for_copies(); }  // for all of them
