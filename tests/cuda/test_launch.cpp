// What can go wrong before a kernel runs: grids at their limits, and where threads and plans say that the work is.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/row_sums.h"

using namespace piano;
using namespace piano::cuda;

namespace {

// The targets' sums as a plan's kernels would make them, of rows whose value is 1 + their place: what chunks and splits say, followed on the host.
std::vector<double> follow(const RowSums& plan, std::int64_t targets) {
  std::vector<double> out(static_cast<std::size_t>(targets), -1), partial(static_cast<std::size_t>(plan.partials));  // -1: nobody wrote it
  const auto put = [&](std::int32_t target, double v) {
    CHECK(out[static_cast<std::size_t>(target)] == -1);
    out[static_cast<std::size_t>(target)] = v;
  };
  for (std::int32_t i = 0; i < plan.idles; ++i) put(plan.idle[i], 0);  // no repeats are expected: none is empty
  for (std::int32_t c = 0; c < plan.chunks; ++c) {
    double sum = 0;
    for (std::int32_t i = plan.chunk_begin[c]; i < plan.chunk_begin[c + 1]; ++i) sum += 1 + plan.entries[i];
    if (plan.chunk_target[c] >= 0) put(plan.chunk_target[c], sum);
    else partial[static_cast<std::size_t>(-1 - plan.chunk_target[c])] += sum;
  }
  for (std::int32_t s = 0; s < plan.splits; ++s) {
    put(plan.split_target[s], std::accumulate(partial.begin() + plan.split_begin[s], partial.begin() + plan.split_begin[s + 1], 0.0));
  }
  return out;
}

}  // namespace

TEST_CASE("launch: as many blocks as the work needs, none for none, and never more than a grid has") {
  constexpr std::int64_t most = 65535;
  CHECK(kMostBlocks == most);
  for (const std::int64_t each : {1, 8, 256}) {
    CHECK(blocks_for(0, each) == 0);
    CHECK(blocks_for(1, each) == 1);
    CHECK(blocks_for(each, each) == 1);
    CHECK(blocks_for(each + 1, each) == 2);
    for (const std::int64_t k : {1, 2, 33000}) {
      CHECK(blocks_for(most * each * k, each) == most);
      CHECK(blocks_for(most * each * k - each, each) == (k == 1 ? most - 1 : most));
      CHECK(blocks_for(most * each * k + 1, each) == most);
    }
    CHECK(blocks_for((std::int64_t{1} << 40) + 1, each) == most);
  }
}

TEST_CASE("launch: sums of columns cut any number of rows into few blocks, each row in one") {
  for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{1}, std::int64_t{127}, std::int64_t{128}, std::int64_t{129}, std::int64_t{128} * 256,
                                  std::int64_t{128} * 256 + 1, std::int64_t{204'800}, std::int64_t{65535} * 128 + 1, std::int64_t{1} << 31,
                                  (std::int64_t{1} << 33) + 7}) {
    CAPTURE(rows);
    const std::int64_t each = rows_of_sum(rows), blocks = ceil_div(rows, each);
    CHECK(blocks <= 256);
    CHECK(each % kRowsAtOnce == 0);
    CHECK(blocks * each >= rows);
    CHECK((blocks == 0 || (blocks - 1) * each < rows));
    if (rows <= 128 * 256) CHECK(each == 128);
    if (rows >= 204'800) CHECK(blocks > 128);  // every multiprocessor has one
  }
}

TEST_CASE("launch: threads find their elements beyond 2^31, walking in strides of the grid") {
  gridDim = dim3(65535), blockDim = dim3(256);
  blockIdx = {65534, 0, 0}, threadIdx = {255, 0, 0};
  CHECK(first_element() == 65535LL * 256 - 1);
  CHECK(element_stride() == 65535LL * 256);
  CHECK(first_warp() == 65535LL * 8 - 1);
  CHECK(warp_stride() == 65535LL * 8);
  const std::int64_t n = (1LL << 31) + 5, steps = (n - 1 - first_element()) / element_stride() + 1;
  CHECK(first_element() + (steps - 1) * element_stride() < n);
  CHECK(first_element() + steps * element_stride() >= n);
  gridDim = dim3(1u << 31), blockDim = dim3(1024), blockIdx = {(1u << 31) - 1, 0, 0}, threadIdx = {1023, 0, 0};  // the largest that there is
  CHECK(first_element() == (1LL << 41) - 1);
  CHECK(element_stride() == 1LL << 41);
  gridDim = blockDim = dim3(1), blockIdx = threadIdx = {0, 0, 0};
}

TEST_CASE("launch: a plan of row sums names each entry once, cuts long targets, and leaves none out") {
  CudaMemory memory(Precision::f32);
  for (const std::size_t n : {0, 1, 63, 64, 65, 128, 129, 1000, 10000}) {
    for (const std::int64_t targets : {1, 2, 7, 300}) {
      CAPTURE(n);
      CAPTURE(targets);
      std::vector<std::int32_t> index(n);
      for (std::size_t i = 0; i < n; ++i) index[i] = static_cast<std::int32_t>(i * i % static_cast<std::size_t>(targets) / (i % 3 + 1));
      std::vector<double> expected(static_cast<std::size_t>(targets), 0.0);
      for (std::size_t i = 0; i < n; ++i) expected[static_cast<std::size_t>(index[i])] += 1 + static_cast<double>(i);
      const RowSums plan = memory.make_row_sums(index, targets);
      memory.run();
      CHECK(follow(plan, targets) == expected);  // the emulation's device memory is the host's
      const double root = std::ceil(std::sqrt(static_cast<double>(n)));
      for (std::int32_t c = 0; c < plan.chunks; ++c) CHECK(plan.chunk_begin[c + 1] - plan.chunk_begin[c] <= std::max(64.0, root));
      for (std::int32_t s = 0; s < plan.splits; ++s) CHECK(plan.split_begin[s + 1] - plan.split_begin[s] <= std::max(64.0, root));
      memory.reset();
    }
  }
}
