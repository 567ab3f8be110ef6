#include "engine/cuda/row_sums.h"

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/sort.h"

namespace piano::cuda {
namespace {

constexpr std::int64_t kChunk = 64;  // entries that one warp adds up
constexpr int kAtOnce = 8;           // rows that it reads before it adds them

struct RowsOfMatrix {
  const float* from;
  const std::int32_t* entry;  // null: row i is the i-th
  std::int64_t d;
  __device__ Addend at(std::int64_t i) const { return {from + (entry == nullptr ? i : entry[i]) * d, 1.0f, static_cast<std::int32_t>(d)}; }
};

struct RowsAnywhere {
  const Addend* addends;
  const std::int32_t* entry;
  __device__ Addend at(std::int64_t i) const { return addends[entry[i]]; }
};

// What chunks give to targets that began before them, the next kernel's rows: row (chunks, d) and target (chunks), -1 where there is none.
struct Heads {
  float* row = nullptr;
  std::int32_t* target = nullptr;
};

__device__ inline const float* from_lane(const float* p, int from) {
  return reinterpret_cast<const float*>(__shfl_sync(kAllLanes, reinterpret_cast<unsigned long long>(p), from));
}

// A warp for each chunk and each 32 columns. There are *count / entries_each entries, rounded up; those with target -1 are none.
template <class Rows>
__global__ void sum_chunks(const std::int32_t* count, std::int64_t entries_each, const std::int32_t* target, Rows rows, std::int64_t d, float* out,
                           bool fresh, Heads heads) {
  const std::int64_t n = (*count + entries_each - 1) / entries_each, column_blocks = (d + 31) / 32;
  for (std::int64_t piece = first_warp(); piece < (n + kChunk - 1) / kChunk * column_blocks; piece += warp_stride()) {
    const std::int64_t chunk = piece / column_blocks, column = piece % column_blocks * 32 + lane();
    const std::int64_t begin = chunk * kChunk, end = begin + kChunk < n ? begin + kChunk : n;
    std::int32_t now = target[begin];
    bool is_head = begin > 0 && now >= 0 && target[begin - 1] == now;
    if (heads.target != nullptr && column == 0) heads.target[chunk] = is_head ? now : -1;
    float sum = 0;
    const auto go_on_with = [&](std::int32_t next) {
      if (now >= 0 && column < d) {
        if (is_head) heads.row[chunk * d + column] = sum;
        else put(out + now * d + column, sum, fresh);
      }
      now = next, sum = 0, is_head = false;
    };
    for (std::int64_t first = begin; first < end; first += 32) {
      const std::int64_t own = first + lane();
      const std::int32_t own_target = own < end ? target[own] : -1;
      const Addend addend = own_target >= 0 ? rows.at(own) : Addend{nullptr, 0.0f, 0};
      for (int k = 0; k < 32 && first + k < end; k += kAtOnce) {
        float values[kAtOnce];
        for (int j = 0; j < kAtOnce; ++j) {
          const float* const row = from_lane(addend.row, k + j);
          const std::int32_t width = __shfl_sync(kAllLanes, addend.width, k + j);
          values[j] = column < width ? row[column] : 0.0f;
        }
        for (int j = 0; j < kAtOnce; ++j) {
          const std::int32_t next = __shfl_sync(kAllLanes, own_target, k + j);
          if (next != now) go_on_with(next);
          sum += __shfl_sync(kAllLanes, addend.factor, k + j) * values[j];
        }
      }
    }
    go_on_with(-1);
  }
}

template <class Rows>
void sum(CudaMemory& memory, const RowSums& plan, Rows rows, std::int64_t d, float* out, bool fresh) {
  const auto chunks_of = [&](std::int64_t entries_each) { return ceil_div(ceil_div(plan.room, entries_each), kChunk); };
  std::int64_t all = 0;  // chunks that have heads. Asked for at once: how many levels there are must not move the requests that come after
  for (std::int64_t each = 1; chunks_of(each) > 1; each *= kChunk) all += chunks_of(each);
  Heads heads{static_cast<float*>(memory.allocate(static_cast<std::size_t>(all * d) * sizeof(float))),
              static_cast<std::int32_t*>(memory.allocate(static_cast<std::size_t>(all) * sizeof(std::int32_t)))};
  const auto launch_chunks = [&](std::int64_t each, const std::int32_t* target, auto from, bool written) {
    const std::int64_t chunks = chunks_of(each);
    launch_warps(memory, sum_chunks<decltype(from)>, chunks * ceil_div(d, kWarp), plan.count, each, target, from, d, out, written, chunks > 1 ? heads : Heads{});
  };
  launch_chunks(1, plan.target, rows, fresh);
  for (std::int64_t each = 1; chunks_of(each) > 1;) {
    const Heads from = heads;
    heads = {heads.row + chunks_of(each) * d, heads.target + chunks_of(each)};
    each *= kChunk;
    launch_chunks(each, from.target, RowsOfMatrix{from.row, nullptr, d}, false);
  }
}

}  // namespace

void sum_rows(CudaMemory& memory, const RowSums& plan, const float* from, std::int64_t d, float* out, bool fresh) {
  if (fresh) memory.zero(out, static_cast<std::size_t>(plan.targets * d) * sizeof(float));
  sum(memory, plan, RowsOfMatrix{from, plan.entry, d}, d, out, fresh);
}

void sum_rows(CudaMemory& memory, const RowSums& plan, const Addend* addends, std::int64_t d, float* out) {
  sum(memory, plan, RowsAnywhere{addends, plan.entry}, d, out, true);
}

const RowSums& CudaMemory::row_sums(const std::int32_t* index, std::int64_t n, std::int64_t targets) {
  const auto [place, is_new] = row_sums_.try_emplace({index, n, targets});
  if (is_new) {
    const auto count = static_cast<std::int32_t>(n);
    const std::int32_t* count_there = staged_copy<std::int32_t>({&count, 1});
    const SortedKeys sorted = sort_keys(*this, copy_of(index, n), count_there, n, targets);
    place->second = {sorted.key, sorted.place, count_there, n, targets};
  }
  return place->second;
}

}  // namespace piano::cuda
