#include "engine/cuda/sort.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"

namespace piano::cuda {
namespace {

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr std::int64_t kTile = 512;  // keys that a warp walks through, 32 at a time
constexpr int kCountsOfLane = 8;     // counts that a lane adds up before the warp does

__device__ inline std::int64_t tiles_of(const std::int32_t* count) { return (*count + kTile - 1) / kTile; }

struct Tile { std::int64_t begin, end; };
__device__ inline Tile tile_at(std::int64_t tile, const std::int32_t* count) {
  const std::int64_t end = (tile + 1) * kTile;
  return {tile * kTile, end < *count ? end : *count};
}

// A warp's work: to[i] = the sum of from[0 .. i-1], which may be in the same place. Returns the sum of all.
__device__ inline std::int32_t scan_counts(std::int64_t n, const std::int32_t* from, std::int32_t* to) {
  std::int32_t before = 0;
  for (std::int64_t first = 0; first < n; first += 32 * kCountsOfLane) {
    const std::int64_t own = first + lane() * kCountsOfLane;
    std::int32_t counts[kCountsOfLane], sum = 0;
    for (int k = 0; k < kCountsOfLane; ++k) counts[k] = own + k < n ? from[own + k] : 0, sum += counts[k];
    const std::int32_t up_to_here = warp_scan(sum);
    std::int32_t at = before + up_to_here - sum;
    for (int k = 0; k < kCountsOfLane; ++k) {
      if (own + k < n) to[own + k] = at;
      at += counts[k];
    }
    before += __shfl_sync(kAllLanes, up_to_here, 31);
  }
  return before;
}

// A warp's work: goes through a tile in order, and counts each digit on from counts (kDigits). at(i, n): key i was the n-th of its digit.
template <class At>
__device__ inline void walk(Tile tile, const std::int32_t* keys, int shift, std::int32_t* counts, At at) {
  for (std::int64_t first = tile.begin; first < tile.end; first += 32) {
    const std::int64_t i = first + lane();
    const bool there = i < tile.end;
    const int digit = there ? keys[i] >> shift & (kDigits - 1) : kDigits;
    const unsigned equal = __match_any_sync(kAllLanes, digit);
    const std::int32_t before = there ? counts[digit] : 0;
    __syncwarp();
    if (there) {
      const int rank = lanes_before(equal);
      at(i, before + rank);
      if (rank == 0) counts[digit] = before + __popc(equal);
    }
    __syncwarp();
  }
}

__device__ inline std::int32_t* counts_of_warp() { return shared_memory<std::int32_t>() + threadIdx.x / 32 * kDigits; }

// counts (kDigits, stride): how often each tile has each digit
__global__ void count_digits(const std::int32_t* count, const std::int32_t* keys, int shift, std::int64_t stride, std::int32_t* counts) {
  std::int32_t* const own = counts_of_warp();
  for (std::int64_t tile = first_warp(); tile < tiles_of(count); tile += warp_stride()) {
    for (int digit = lane(); digit < kDigits; digit += 32) own[digit] = 0;
    __syncwarp();
    walk(tile_at(tile, count), keys, shift, own, [](std::int64_t, std::int32_t) {});
    for (int digit = lane(); digit < kDigits; digit += 32) counts[digit * stride + tile] = own[digit];
    __syncwarp();
  }
}

// A warp for each of `rows` rows of counts (rows, stride), one count for each tile: they become sums of those before.
__global__ void scan_tiles(const std::int32_t* count, int rows, std::int64_t stride, std::int32_t* counts, std::int32_t* totals) {
  for (std::int64_t row = first_warp(); row < rows; row += warp_stride()) {
    const std::int32_t total = scan_counts(tiles_of(count), counts + row * stride, counts + row * stride);
    if (lane() == 0) totals[row] = total;
  }
}

// places null: key i was at i.
__global__ void place_keys(const std::int32_t* count, const std::int32_t* keys, const std::int32_t* places, int shift, std::int64_t stride,
                           const std::int32_t* counts, const std::int32_t* totals, std::int32_t* to_keys, std::int32_t* to_places) {
  std::int32_t* const own = counts_of_warp();
  for (std::int64_t tile = first_warp(); tile < tiles_of(count); tile += warp_stride()) {
    scan_counts(kDigits, totals, own);  // where each digit begins
    __syncwarp();
    for (int digit = lane(); digit < kDigits; digit += 32) own[digit] += counts[digit * stride + tile];
    __syncwarp();
    walk(tile_at(tile, count), keys, shift, own, [=](std::int64_t i, std::int32_t to) {
      to_keys[to] = keys[i], to_places[to] = places == nullptr ? static_cast<std::int32_t>(i) : places[i];
    });
  }
}

// Of a warp's lanes, those whose key begins a run.
__device__ inline unsigned beginnings(const std::int32_t* keys, std::int64_t i, std::int64_t end) {
  return __ballot_sync(kAllLanes, i < end && (i == 0 || keys[i] != keys[i - 1]));
}

__global__ void count_runs(const std::int32_t* count, const std::int32_t* keys, std::int32_t* counts) {
  for (std::int64_t tile = first_warp(); tile < tiles_of(count); tile += warp_stride()) {
    const Tile at = tile_at(tile, count);
    std::int32_t runs = 0;
    for (std::int64_t first = at.begin; first < at.end; first += 32) runs += __popc(beginnings(keys, first + lane(), at.end));
    if (lane() == 0) counts[tile] = runs;
  }
}

__global__ void name_runs(const std::int32_t* count, const std::int32_t* keys, const std::int32_t* counts, std::int32_t* key, std::int32_t* begin_of,
                          std::int32_t* of) {
  for (std::int64_t tile = first_warp(); tile < tiles_of(count); tile += warp_stride()) {
    const Tile at = tile_at(tile, count);
    std::int32_t runs = counts[tile];
    for (std::int64_t first = at.begin; first < at.end; first += 32) {
      const std::int64_t i = first + lane();
      const unsigned begin = beginnings(keys, i, at.end);
      const bool begins = (begin >> lane() & 1) != 0;
      const std::int32_t run = runs + lanes_before(begin) + begins - 1;
      if (i < at.end) of[i] = run;
      if (begins) key[run] = keys[i], begin_of[run] = static_cast<std::int32_t>(i);
      runs += __popc(begin);
    }
  }
}

std::int32_t* numbers(CudaMemory& memory, std::int64_t n) {
  return static_cast<std::int32_t*>(memory.allocate(static_cast<std::size_t>(n) * sizeof(std::int32_t)));
}

}  // namespace

SortedKeys sort_keys(CudaMemory& memory, const std::int32_t* keys, const std::int32_t* count, std::int64_t room, std::int64_t limit) {
  const std::int64_t tiles = ceil_div(room, kTile);
  const auto bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(limit, 2) - 1)));
  const int passes = (bits + kDigitBits - 1) / kDigitBits;
  std::int32_t *counts = numbers(memory, kDigits * tiles), *totals = numbers(memory, kDigits);
  std::int32_t *to_keys = numbers(memory, room), *to_places = numbers(memory, room);
  const std::int64_t once_more = passes > 1 ? room : 0;  // asked for in any case: sizes settle by their place in the order of requests
  std::int32_t *next_keys = numbers(memory, once_more), *next_places = numbers(memory, once_more);
  constexpr std::size_t kShared = kThreads / kWarp * kDigits * sizeof(std::int32_t);
  const dim3 grid(blocks_for(tiles, kThreads / kWarp)), block(kThreads);
  const std::int32_t* places = nullptr;
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = pass * kDigitBits;
    launch(memory, count_digits, grid, block, kShared, count, keys, shift, tiles, counts);
    launch_warps(memory, scan_tiles, kDigits, count, kDigits, tiles, counts, totals);
    launch(memory, place_keys, grid, block, kShared, count, keys, places, shift, tiles, counts, totals, to_keys, to_places);
    keys = to_keys, places = to_places;
    std::swap(to_keys, next_keys), std::swap(to_places, next_places);
  }
  return {keys, places};
}

Runs number_runs(CudaMemory& memory, const std::int32_t* keys, const std::int32_t* count, std::int64_t room, std::int64_t most) {
  const std::int64_t tiles = ceil_div(room, kTile);
  std::int32_t *counts = numbers(memory, tiles), *runs = numbers(memory, 1), *of = numbers(memory, room);
  std::int32_t *key = numbers(memory, std::min(room, most)), *begin = numbers(memory, std::min(room, most));
  launch_warps(memory, count_runs, tiles, count, keys, counts);
  launch_warps(memory, scan_tiles, 1, count, 1, tiles, counts, runs);
  launch_warps(memory, name_runs, tiles, count, keys, counts, key, begin, of);
  return {runs, key, begin, of};
}

}  // namespace piano::cuda
