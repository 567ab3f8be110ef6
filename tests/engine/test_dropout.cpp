// Dropout's mask is a pure function of (seed, step, site, list in the whole batch, row in the list, column).
#include <doctest/doctest.h>

#include <vector>

#include "engine/core/device.h"
#include "engine/ops/ops.h"

using namespace piano;

namespace {

constexpr std::int64_t kWidth = 10;

std::vector<const Device*> devices() {
  std::vector<const Device*> all(cpu_levels().begin(), cpu_levels().end());
  all.push_back(&reference_device(DType::f32));
  return all;
}

// Dropout of ones: 0 or 1 / (1 - p).
std::vector<float> mask(const Device& device, const std::vector<std::int32_t>& offsets, std::int32_t first_list, double p, RandomKey key = {5, 6}) {
  Arena arena;
  Context context;
  context.device = &device;
  context.arena = &arena;
  context.random = key;
  context.first_list = first_list;
  context.training = true;
  const std::vector<float> ones(static_cast<std::size_t>(offsets.back() * kWidth), 1.0f);
  const Tensor x = context.constant(ones, {offsets.back(), kWidth});
  const Tensor y = dropout(context, x, p, site_hash("here"), {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1});
  return {y.values<float>().begin(), y.values<float>().end()};
}

}  // namespace

TEST_CASE("dropout draws word column % 4 of the quad column / 4 of (list, row)") {
  for (const Device* device : devices()) {
    INFO(device->name);
    const std::vector<float> m = mask(*device, {0, 3, 3, 5}, 7, 0.3);
    for (std::uint32_t row = 0; row < 5; ++row) {
      const std::uint32_t list = row < 3 ? 7 : 9, row_in_list = row < 3 ? row : row - 3;
      for (std::uint32_t c = 0; c < kWidth; ++c) {
        const bool dropped = random_uniform({5, 6}, site_hash("here"), list, row_in_list, c) < 0.3f;
        CHECK(m[row * kWidth + c] == (dropped ? 0.0f : static_cast<float>(1 / 0.7)));
      }
    }
  }
}

TEST_CASE("dropout does not depend on how a batch is cut into micro-batches") {
  for (const Device* device : devices()) {
    std::vector<float> whole = mask(*device, {0, 2, 6}, 0, 0.5), first = mask(*device, {0, 2}, 0, 0.5), second = mask(*device, {0, 4}, 1, 0.5);
    first.insert(first.end(), second.begin(), second.end());
    CHECK(whole == first);
    CHECK(whole != mask(*device, {0, 2, 6}, 0, 0.5, {5, 7}));
  }
}

TEST_CASE("dropout keeps the share that it should") {
  const std::vector<float> m = mask(reference_device(DType::f32), {0, 2000}, 0, 0.25);
  double sum = 0;
  for (const float v : m) sum += v;
  CHECK(sum / static_cast<double>(m.size()) == doctest::Approx(1).epsilon(0.02));  // 20,000 draws: standard deviation 0.004
}

TEST_CASE("outside training, and with p = 0, dropout is the tensor itself") {
  Arena arena;
  Context context;
  context.device = &reference_device(DType::f32);
  context.arena = &arena;
  const std::vector<float> values{1, 2};
  const std::vector<std::int32_t> offsets{0, 1};
  const Tensor x = context.constant(values, {1, 2});
  CHECK(dropout(context, x, 0.5, 0, {offsets.data(), 1}).record() == x.record());
  context.training = true;
  CHECK(dropout(context, x, 0, 0, {offsets.data(), 1}).record() == x.record());
  CHECK(dropout(context, x, 0.5, 0, {offsets.data(), 1}).record() != x.record());
}
