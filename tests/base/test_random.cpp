#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "engine/base/random.h"

using namespace piano;

TEST_CASE("philox4x32-10 gives the published known answers") {  // kat_vectors of Random123
  using Words = std::array<std::uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a keyed number depends on every part of its key and on nothing else") {
  const RandomKey key{1, 2};
  const std::uint32_t site = site_hash("encoder.0");
  const float value = random_uniform(key, site, 3, 4, 5);
  CHECK(value == random_uniform(key, site, 3, 4, 5));
  CHECK(value != random_uniform({2, 2}, site, 3, 4, 5));
  CHECK(value != random_uniform({1u + (1ull << 32), 2}, site, 3, 4, 5));
  CHECK(value != random_uniform({1, 3}, site, 3, 4, 5));
  CHECK(value != random_uniform(key, site_hash("encoder.1"), 3, 4, 5));
  CHECK(value != random_uniform(key, site, 4, 4, 5));
  CHECK(value != random_uniform(key, site, 3, 5, 5));
  CHECK(value != random_uniform(key, site, 3, 4, 6));
}

TEST_CASE("a stream is uniform, normal and unbiased to within what its length allows") {
  constexpr int n = 200'000;
  RandomStream stream(7, "sanity");
  std::array<int, 64> cells{};
  for (int i = 0; i < n; ++i) ++cells[static_cast<std::size_t>(stream.uniform() * 64.0)];
  double chi2 = 0;
  for (const int c : cells) chi2 += (c - n / 64.0) * (c - n / 64.0) / (n / 64.0);
  CHECK(chi2 > 30);  // 63 degrees of freedom: mean 63, deviation 11
  CHECK(chi2 < 120);

  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double x = stream.normal();
    sum += x;
    squares += x * x;
  }
  CHECK(std::abs(sum / n) < 5 / std::sqrt(double{n}));
  CHECK(std::abs(squares / n - 1) < 5 * std::sqrt(2.0 / n));

  std::array<int, 3> counts{};
  for (int i = 0; i < 30'000; ++i) ++counts[stream.below(3)];
  for (const int c : counts) CHECK(std::abs(c - 10'000) < 500);
  CHECK(stream.below(1) == 0);
}

TEST_CASE("streams of other names or seeds differ, the same ones agree") {
  RandomStream a(1, "weights"), same(1, "weights"), other_name(1, "shuffle"), other_seed(2, "weights");
  const std::uint32_t first = a.bits();
  CHECK(first == same.bits());
  CHECK(first != other_name.bits());
  CHECK(first != other_seed.bits());
  bool repeats = true;  // every block of four is new
  for (int i = 0; i < 8; ++i) repeats = repeats && a.bits() == first;
  CHECK_FALSE(repeats);
}

TEST_CASE("a shuffle is a permutation, the same for the same stream, and uniform") {
  const auto shuffled = [](std::uint64_t seed) {
    std::vector<int> items(20);
    std::iota(items.begin(), items.end(), 0);
    RandomStream(seed, "shuffle").shuffle(items);
    return items;
  };
  CHECK(shuffled(1) == shuffled(1));
  CHECK(shuffled(1) != shuffled(2));
  std::vector<int> sorted = shuffled(3);
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 20; ++i) CHECK(sorted[static_cast<std::size_t>(i)] == i);
  // These orders are in saved training states: they may never change.
  std::vector<int> small{0, 1, 2, 3, 4};
  RandomStream(1, "epoch").shuffle(small);
  CHECK(small == std::vector<int>{3, 1, 0, 2, 4});

  std::array<int, 6> orders{};
  RandomStream stream(5, "orders");
  for (int i = 0; i < 6'000; ++i) {
    std::array<int, 3> p{0, 1, 2};
    stream.shuffle(p);
    ++orders[static_cast<std::size_t>(p[0] * 2 + (p[1] > p[2] ? 1 : 0))];
  }
  for (const int c : orders) CHECK(std::abs(c - 1'000) < 200);
}
