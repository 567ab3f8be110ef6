// Adding up rows by an index: out[target] = the sum of the rows that name it. Rows are sorted by target (sort.h) and cut into chunks of a fixed
// size: one warp adds up each, whatever targets it holds. Of a target that goes on from chunk to chunk, the first piece is written where the sum
// belongs, and what the chunks behind give is added up in the same way, by kernels over fewer and fewer rows. No atomics: the bits depend neither on
// who comes first nor on what the host knows.
#pragma once

#include <cstdint>

namespace piano::cuda {

class CudaMemory;

// On the device. How many of the `room` entries there are is read by pointer.
struct RowSums {
  const std::int32_t* target = nullptr;  // (room): ascending
  const std::int32_t* entry = nullptr;   // (room): the row that is added to it
  const std::int32_t* count = nullptr;
  std::int64_t room = 0, targets = 0;
};

// A row that lies anywhere, and what it is multiplied by. What is missing of it, up to the sums' width, counts as 0.
struct Addend { const float* row; float factor; std::int32_t width; };

// out (targets, d): row t gets the sum over its entries e of from's row e; written where `fresh`, else added.
void sum_rows(CudaMemory& memory, const RowSums& plan, const float* from, std::int64_t d, float* out, bool fresh);
// out (targets, d): row t becomes the sum over its entries e of addends[e]; targets that no entry names are left alone.
void sum_rows(CudaMemory& memory, const RowSums& plan, const Addend* addends, std::int64_t d, float* out);

}  // namespace piano::cuda
