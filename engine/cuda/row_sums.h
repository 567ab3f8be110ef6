// Adding up rows by an index: out[target] += the sum of from's rows that name it. Many rows may name one target, so the work is cut into chunks
// of entries: one warp adds up each, and what a target's several chunks give is added up in order. No atomics: the bits do not depend on who
// comes first. The plan is made on the host, which knows the indices.
#pragma once

#include <cstdint>

namespace piano {
struct Context;
}

namespace piano::cuda {

// On the device. Entries are sorted by target, stably.
struct RowSums {
  const std::int32_t* entries = nullptr;         // places in the index
  const std::int32_t* chunk_begin = nullptr;     // (chunks + 1), into entries
  const std::int32_t* chunk_target = nullptr;    // (chunks): the target row of one that has no other chunk, else -1 - its partial sum
  const std::int32_t* split_begin = nullptr;     // (splits + 1), into partial sums
  const std::int32_t* split_target = nullptr;    // (splits): the target row
  const std::int32_t* idle = nullptr;            // targets that no entry names
  std::int32_t chunks = 0, partials = 0, splits = 0, idles = 0;  // with those that are empty (idle: -1), at the end (CudaMemory::room_for)
};

// out (targets, d): row t gets the sum over its entries e of from's row e (times factors[e] unless null); written where `fresh`, else added.
void sum_rows(const Context& context, const RowSums& plan, const float* from, const float* factors, std::int64_t d, float* out, bool fresh);
// The same of rows that lie anywhere, with a factor each. Row e of the plan's index is rows[e].
void sum_rows(const Context& context, const RowSums& plan, const float* const* rows, const float* factors, std::int64_t d, float* out, bool fresh);

}  // namespace piano::cuda
