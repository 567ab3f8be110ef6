// Counts heap allocations of the whole process (malloc and everything that ends in it: new, calloc, Eigen's buffers).
//
// The test program must link allocation_counter.cpp once; a program that does not use it is not affected.
#pragma once

#include <cstdint>

namespace piano {

// Allocations so far, by all threads. Only differences mean anything:
//   const auto before = allocation_count();
//   step();
//   CHECK(allocation_count() - before == 0);
std::int64_t allocation_count();

}  // namespace piano
