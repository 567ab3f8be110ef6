// What attention's kernels are made of: rows of a lane's own in registers, and other rows in shared memory, which every lane reads alike.
#pragma once

#include <cuda_pipeline_primitives.h>

#include "engine/cuda/elements.h"

namespace piano::cuda {

inline constexpr int kOwn = 2;                    // rows that a lane has
inline constexpr int kNarrow = 16, kBroad = 128;  // columns that it has of each: in registers; of the widest heads, in memory of its own

// Turns of loops over a lane's columns that are written out.
constexpr int unrolled(int columns) { return columns <= kNarrow ? columns : 1; }

// How a head's rows are cut.
struct Columns {
  int width, lanes;    // the head's columns; lanes that share them: a power of two
  std::int64_t quads;  // 1: rows can be read and written four columns at a time
};

// Rows of one list, cut to one head's columns; slots are keys and the null slot after them.
struct Rows {
  const float* first;
  std::int64_t stride;
  const float* null;
  int n, slots;
  __device__ const float* at(int j) const { return j < n ? first + j * stride : null; }
};

// Own rows of a block whose lanes split nothing.
__host__ __device__ constexpr int rows_of_block(int lanes, int warps) { return warps * (32 / lanes) * kOwn; }

// Each of n numbers added up over the lanes that are step, 2 * step, ... less than `end` away: they all have the same sum.
template <int n>
__device__ inline void add_over(float* v, int step, int end) {
  for (; step < end; step *= 2) {
    PIANO_UNROLL(unrolled(n))
    for (int i = 0; i < n; ++i) v[i] += __shfl_xor_sync(kAllLanes, v[i], step);
  }
}

// A lane's place among those that work on a list's rows. `lanes` neighbours have the columns of the same rows, quad after quad in turn; `apart`
// neighbours have all rows of their warp. Where these are less than a warp, as many lanes again have the same rows: each such split goes through
// every splits-th of the others.
struct Place {
  int lanes, part, splits, split, apart;
  int first, own;  // the block's first row, and the lane's
  bool busy;       // the warp has rows
  __device__ Place(int rows, int lanes_of_row) : lanes(lanes_of_row), part(lane() % lanes), splits(1) {
    for (const int wanted = (rows + kOwn - 1) / kOwn * lanes; wanted > 0 && 2 * splits * wanted <= 32;) splits *= 2;
    apart = 32 / splits;
    split = lane() / apart;
    first = static_cast<int>(blockIdx.z) * rows_of_block(lanes, static_cast<int>(blockDim.x / 32));
    const int of_warp = first + static_cast<int>(threadIdx.x / 32) * (apart / lanes * kOwn);
    own = of_warp + lane() % apart / lanes * kOwn;
    busy = of_warp < rows;
  }
  __device__ int column(int c) const { return 4 * (c / 4 * lanes + part) + c % 4; }  // the head's, of the lane's c-th
  template <int n>
  __device__ void add_over_columns(float* v) const { add_over<n>(v, 1, lanes); }
  template <int n>
  __device__ void add_over_splits(float* v) const { add_over<n>(v, apart, 32); }
  __device__ float highest_of_splits(float v) const {
    for (int step = 16; step >= apart; step /= 2) v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, step));
    return v;
  }
};

// A lane's columns of a row; zeros beyond the head's width.
template <int kColumns>
__device__ inline void load_own(const Columns& head, const float* row, const Place& at, float* v) {
  PIANO_UNROLL(unrolled(kColumns))
  for (int c = 0; c < kColumns; ++c) v[c] = 0;
  if (head.quads != 0) {
    PIANO_UNROLL(unrolled(kColumns))
    for (int i = 0; i < kColumns / 4; ++i) {
      if (at.column(4 * i) < head.width) load_quad(row + at.column(4 * i), v + 4 * i);
    }
  } else {
    PIANO_UNROLL(unrolled(kColumns))
    for (int c = 0; c < kColumns; ++c) {
      if (at.column(c) < head.width) v[c] = row[at.column(c)];
    }
  }
}

template <int kColumns>
__device__ inline void put_own(const Columns& head, float* row, const Place& at, const float* v, float factor, bool fresh) {
  if (head.quads != 0) {
    PIANO_UNROLL(unrolled(kColumns))
    for (int i = 0; i < kColumns / 4; ++i) {
      const float values[4] = {factor * v[4 * i], factor * v[4 * i + 1], factor * v[4 * i + 2], factor * v[4 * i + 3]};
      if (at.column(4 * i) < head.width) put_quad(row + at.column(4 * i), values, fresh);
    }
  } else {
    PIANO_UNROLL(unrolled(kColumns))
    for (int c = 0; c < kColumns; ++c) {
      if (at.column(c) < head.width) put(row + at.column(c), factor * v[c], fresh);
    }
  }
}

// Numbers that staged rows lie apart: a quad more than there is for each lane, so that splits, which read rows side by side, meet different banks.
__host__ __device__ constexpr int stride_of(int lanes, int columns) { return lanes * (columns + 4); }

// Block-wide: starts to copy rows `begin` to begin + n - 1 to shared memory, with zeros up to the lanes' last column. They are there after staged().
template <int kColumns>
__device__ inline void stage(const Columns& head, const Rows& from, int begin, int n, int lanes, float* to) {
  const int quads = lanes * (kColumns / 4);
  for (int i = static_cast<int>(threadIdx.x); i < n * quads; i += static_cast<int>(blockDim.x)) {
    const float* row = from.at(begin + i / quads);
    const int c = i % quads * 4;
    float* place = to + i / quads * stride_of(lanes, kColumns) + c;
    if (head.quads != 0) {
      const bool some = c < head.width;
      __pipeline_memcpy_async(place, some ? row + c : row, 16, some ? 0 : 16);
    } else {
      for (int e = 0; e < 4; ++e) {
        const bool some = c + e < head.width;
        __pipeline_memcpy_async(place + e, some ? row + c + e : row, 4, some ? 0 : 4);
      }
    }
  }
}

__device__ inline void staged() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
}

template <int kColumns>
__device__ inline void load_staged(const float* row, const Place& at, float* v) {
  PIANO_UNROLL(unrolled(kColumns))
  for (int i = 0; i < kColumns / 4; ++i) load_quad(row + at.column(4 * i), v + 4 * i);
}

template <int kColumns>
__device__ inline float dot(const float* a, const float* b) {
  float sum = 0;
  PIANO_UNROLL(unrolled(kColumns))
  for (int c = 0; c < kColumns; ++c) sum += a[c] * b[c];
  return sum;
}

template <int kColumns>
__device__ inline void add_times(float* sum, float factor, const float* v) {
  PIANO_UNROLL(unrolled(kColumns))
  for (int c = 0; c < kColumns; ++c) sum[c] += factor * v[c];
}

}  // namespace piano::cuda
