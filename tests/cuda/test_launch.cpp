// What can go wrong before a kernel runs: grids at their limits, and where threads say that the work is.
#include <doctest/doctest.h>

#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"

using namespace piano;
using namespace piano::cuda;

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
