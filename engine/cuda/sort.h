// Indices, put in order on the device, which alone need know them: a stable sort by key, and the runs of equal keys in what is sorted. Whole numbers
// alone are counted, so the result does not depend on who comes first. The host says how many keys there is room for; how many there are is read
// by pointer, and what lies behind them is not looked at.
#pragma once

#include <cstdint>

namespace piano::cuda {

class CudaMemory;

struct SortedKeys {
  const std::int32_t* key;    // (room): the keys, ascending
  const std::int32_t* place;  // (room): where each one was; equal ones in the order in which they were
};

// keys (room), of which the first *count, each in 0 .. limit-1. An LSD radix sort (Knuth, TAOCP 3, 5.2.5), 8 bits at a time.
SortedKeys sort_keys(CudaMemory& memory, const std::int32_t* keys, const std::int32_t* count, std::int64_t room, std::int64_t limit);

struct Runs {
  const std::int32_t* count;        // of runs
  const std::int32_t *key, *begin;  // (room for runs): each one's key, and where it begins
  const std::int32_t* of;           // (room): of each key, the number of its run
};

// Of sorted keys, of which no more than `most` differ.
Runs number_runs(CudaMemory& memory, const std::int32_t* keys, const std::int32_t* count, std::int64_t room, std::int64_t most);

}  // namespace piano::cuda
