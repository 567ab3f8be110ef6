#include "engine/cuda/row_sums.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"

namespace piano::cuda {
namespace {

// Entries that one warp adds up of a target with so many: at most about as many as there are chunks to be added up then.
std::int32_t chunk_of(std::int32_t size) { return std::max(64, static_cast<std::int32_t>(std::ceil(std::sqrt(static_cast<double>(size))))); }

struct RowsOfMatrix {
  const float* from;
  const float* factors;
  std::int64_t d;
  __device__ const float* row(std::int32_t entry) const { return from + entry * d; }
  __device__ float factor(std::int32_t entry) const { return factors == nullptr ? 1.0f : factors[entry]; }
};

struct RowsAnywhere {
  const float* const* rows;
  const float* factors;
  __device__ const float* row(std::int32_t entry) const { return rows[entry]; }
  __device__ float factor(std::int32_t entry) const { return factors[entry]; }
};

// One warp for each chunk, its lanes side by side along the columns.
template <class Rows>
__global__ void sum_chunks(RowSums plan, Rows rows, std::int64_t d, float* out, float* partial, bool fresh) {
  for (std::int64_t chunk = first_warp(); chunk < plan.chunks; chunk += warp_stride()) {
    const std::int32_t target = plan.chunk_target[chunk], begin = plan.chunk_begin[chunk], end = plan.chunk_begin[chunk + 1];
    if (begin == end) continue;
    float* const to = target >= 0 ? out + target * d : partial + (-1 - target) * d;
    for (std::int64_t c = lane(); c < d; c += 32) {
      float sum = 0;
      for (std::int32_t i = begin; i < end; ++i) {
        const std::int32_t entry = plan.entries[i];
        sum += rows.factor(entry) * rows.row(entry)[c];
      }
      put(to + c, sum, fresh || target < 0);
    }
  }
}

__global__ void sum_partials(RowSums plan, std::int64_t d, const float* partial, float* out, bool fresh) {
  for (std::int64_t split = first_warp(); split < plan.splits; split += warp_stride()) {
    if (plan.split_begin[split] == plan.split_begin[split + 1]) continue;
    for (std::int64_t c = lane(); c < d; c += 32) {
      float sum = 0;
      for (std::int32_t p = plan.split_begin[split]; p < plan.split_begin[split + 1]; ++p) sum += partial[p * d + c];
      put(out + plan.split_target[split] * d + c, sum, fresh);
    }
  }
}

__global__ void zero_rows(std::int32_t n, const std::int32_t* rows, std::int64_t d, float* out) {
  for (std::int64_t i = first_warp(); i < n; i += warp_stride()) {
    if (rows[i] < 0) continue;
    for (std::int64_t c = lane(); c < d; c += 32) out[rows[i] * d + c] = 0;
  }
}

template <class Rows>
void sum(const Context& context, const RowSums& plan, Rows rows, std::int64_t d, float* out, bool fresh) {
  CudaMemory& memory = memory_of(context);
  auto* partial = plan.partials == 0 ? nullptr : static_cast<float*>(memory.allocate(static_cast<std::size_t>(plan.partials * d) * sizeof(float)));
  if (fresh) launch_warps(memory, zero_rows, plan.idles, plan.idles, plan.idle, d, out);
  launch_warps(memory, sum_chunks<Rows>, plan.chunks, plan, rows, d, out, partial, fresh);
  launch_warps(memory, sum_partials, plan.splits, plan, d, partial, out, fresh);
}

}  // namespace

void sum_rows(const Context& context, const RowSums& plan, const float* from, const float* factors, std::int64_t d, float* out, bool fresh) {
  sum(context, plan, RowsOfMatrix{from, factors, d}, d, out, fresh);
}

void sum_rows(const Context& context, const RowSums& plan, const float* const* rows, const float* factors, std::int64_t d, float* out, bool fresh) {
  sum(context, plan, RowsAnywhere{rows, factors}, d, out, fresh);
}

RowSums CudaMemory::make_row_sums(std::span<const std::int32_t> index, std::int64_t targets) {
  const auto staged = [&](std::size_t n) {
    const Staged place = stage(n * sizeof(std::int32_t));
    return std::pair{static_cast<std::int32_t*>(place.host), static_cast<const std::int32_t*>(place.device)};
  };
  const auto n = static_cast<std::size_t>(targets);
  std::vector<std::int32_t> begin(n + 1, 0);  // of each target's entries
  for (const std::int32_t t : index) ++begin[static_cast<std::size_t>(t) + 1];
  RowSums plan;
  for (std::size_t t = 0; t < n; ++t) {
    const std::int32_t size = begin[t + 1], chunks = static_cast<std::int32_t>(ceil_div(size, chunk_of(size)));
    plan.chunks += chunks;
    plan.idles += size == 0;
    if (chunks > 1) ++plan.splits, plan.partials += chunks;
    begin[t + 1] += begin[t];
  }
  for (std::int32_t* pieces : {&plan.chunks, &plan.partials, &plan.splits, &plan.idles}) *pieces = static_cast<std::int32_t>(room_for(*pieces));
  const auto [entries, entries_there] = staged(index.size());
  const auto [chunk_begin, chunk_begin_there] = staged(static_cast<std::size_t>(plan.chunks) + 1);
  const auto [chunk_target, chunk_target_there] = staged(static_cast<std::size_t>(plan.chunks));
  const auto [split_begin, split_begin_there] = staged(static_cast<std::size_t>(plan.splits) + 1);
  const auto [split_target, split_target_there] = staged(static_cast<std::size_t>(plan.splits));
  const auto [idle, idle_there] = staged(static_cast<std::size_t>(plan.idles));
  std::int32_t chunk = 0, split = 0, partial = 0, without = 0;
  for (std::size_t t = 0; t < n; ++t) {
    const auto target = static_cast<std::int32_t>(t);
    const std::int32_t each = chunk_of(begin[t + 1] - begin[t]);
    const bool many = begin[t + 1] - begin[t] > each;
    if (many) split_target[split] = target, split_begin[split++] = partial;
    if (begin[t + 1] == begin[t]) idle[without++] = target;
    for (std::int32_t at = begin[t]; at < begin[t + 1]; at += each) {
      chunk_begin[chunk] = at;
      chunk_target[chunk++] = many ? -1 - partial++ : target;
    }
  }
  std::fill(chunk_begin + chunk, chunk_begin + plan.chunks + 1, static_cast<std::int32_t>(index.size()));
  std::fill(split_begin + split, split_begin + plan.splits + 1, partial);
  std::fill(idle + without, idle + plan.idles, -1);
  for (std::size_t e = 0; e < index.size(); ++e) entries[begin[static_cast<std::size_t>(index[e])]++] = static_cast<std::int32_t>(e);
  plan.entries = entries_there, plan.chunk_begin = chunk_begin_there, plan.chunk_target = chunk_target_there;
  plan.split_begin = split_begin_there, plan.split_target = split_target_there, plan.idle = idle_there;
  return plan;
}

}  // namespace piano::cuda
