#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "piano/metrics.h"

using namespace piano;
using doctest::Approx;

TEST_CASE("ranking metrics: values by hand") {
  const std::vector<double> r{0, 1, 0, 1};
  const double best = 1 + 1 / std::log2(3.0);
  CHECK(*ndcg(r, 10) == Approx((1 / std::log2(3.0) + 1 / std::log2(5.0)) / best));
  CHECK(*ndcg(r, 2) == Approx(1 / std::log2(3.0) / best));
  CHECK(*ndcg(r, 1) == 0.0);
  CHECK(*ndcg(std::vector<double>{2, 1, 0}, 10) == 1.0);
  // Linear gain: grades 1, 2 give (1 + 2/log2(3)) / (2 + 1/log2(3)); an exponential gain would not.
  CHECK(*ndcg(std::vector<double>{1, 2}, 10) == Approx((1 + 2 / std::log2(3.0)) / (2 + 1 / std::log2(3.0))));

  CHECK(*reciprocal_rank(r) == 0.5);
  CHECK(*hit_rate(r, 1) == 0.0);
  CHECK(*hit_rate(r, 2) == 1.0);
  CHECK(sum_at(r, 3) == 1.0);
  CHECK(sum_at(r, 99) == 2.0);
}

TEST_CASE("average precision: the three denominators") {
  const std::vector<double> r{0, 1, 0, 1};
  CHECK(*average_precision(r, 10) == Approx((1.0 / 2 + 2.0 / 4) / 2));
  CHECK(*average_precision(r, 3, MapDenominator::bounded) == Approx(1.0 / 2 / 2));
  CHECK(*average_precision(r, 3, MapDenominator::in_top_k) == Approx(1.0 / 2));
  const std::vector<double> many{1, 1, 1};
  CHECK(*average_precision(many, 2, MapDenominator::bounded) == 1.0);
  CHECK(*average_precision(many, 2, MapDenominator::full) == Approx(2.0 / 3));
  CHECK(*average_precision(std::vector<double>{0, 1}, 1, MapDenominator::in_top_k) == 0.0);
  const std::vector<std::int32_t> ties{4};
  CHECK_THROWS_AS(average_precision(r, 3, MapDenominator::in_top_k, ties), Error);
}

TEST_CASE("a list without a positive has no ranking metric, not a perfect one") {
  for (const std::vector<double>& r : {std::vector<double>{0, 0, 0}, std::vector<double>{}}) {
    CHECK(!ndcg(r, 10));
    CHECK(!average_precision(r, 10));
    CHECK(!reciprocal_rank(r));
    CHECK(!hit_rate(r, 10));
    CHECK(sum_at(r, 10) == 0.0);
  }
}

TEST_CASE("under ties a metric is its mean over all orders of the tied items") {
  RandomStream random(5, "ties");
  for (int trial = 0; trial < 200; ++trial) {
    const std::size_t n = 1 + static_cast<std::size_t>(random.below(6));
    const auto k = static_cast<std::int32_t>(1 + random.below(7));
    std::vector<double> gain(n), score(n);
    for (std::size_t i = 0; i < n; ++i) {
      gain[i] = static_cast<double>(random.below(3));
      score[i] = static_cast<double>(random.below(3));
    }
    gain[0] = 1;
    // Sorted by score, then every permutation that keeps the scores in place.
    std::vector<std::size_t> at(n);
    std::iota(at.begin(), at.end(), std::size_t{0});
    double count = 0, sums[5] = {};
    do {
      if (!std::is_sorted(at.begin(), at.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; })) continue;
      std::vector<double> shown;
      for (const std::size_t i : at) shown.push_back(gain[i]);
      count += 1;
      sums[0] += *ndcg(shown, k);
      sums[1] += *average_precision(shown, k);
      sums[2] += *reciprocal_rank(shown);
      sums[3] += *hit_rate(shown, k);
      sums[4] += sum_at(shown, k);
    } while (std::next_permutation(at.begin(), at.end()));

    const auto id = [](std::int32_t i) { return std::string_view("abcdefg").substr(static_cast<std::size_t>(i), 1); };
    const auto order = show_order(score, id, "r", 1);
    std::vector<double> shown;
    for (const std::int32_t i : order) shown.push_back(gain[static_cast<std::size_t>(i)]);
    const auto ties = tie_blocks(score, order);
    CHECK(*ndcg(shown, k, ties) == Approx(sums[0] / count).epsilon(1e-12));
    CHECK(*average_precision(shown, k, MapDenominator::bounded, ties) == Approx(sums[1] / count).epsilon(1e-12));
    CHECK(*reciprocal_rank(shown, ties) == Approx(sums[2] / count).epsilon(1e-12));
    CHECK(*hit_rate(shown, k, ties) == Approx(sums[3] / count).epsilon(1e-12));
    CHECK(sum_at(shown, k, ties) == Approx(sums[4] / count).epsilon(1e-12));
  }
}

TEST_CASE("the order shown") {
  const std::vector<std::string> ids{"d", "b", "a", "c", "e"};
  const auto id = [&](std::int32_t i) { return std::string_view(ids[static_cast<std::size_t>(i)]); };
  SUBCASE("descending score") {
    const std::vector<double> score{0.5, 3, -1, 2, 1};
    CHECK(show_order(score, id, "r", 1) == std::vector<std::int32_t>{1, 3, 4, 0, 2});
  }
  SUBCASE("tied items: the same order of items whatever the order of the input") {
    const std::vector<double> score(5, 0.0);
    const auto names = [&](const std::vector<std::string>& input, std::uint64_t seed, std::string_view request) {
      std::string result;
      const auto of = [&](std::int32_t i) { return std::string_view(input[static_cast<std::size_t>(i)]); };
      for (const std::int32_t i : show_order(score, of, request, seed)) result += input[static_cast<std::size_t>(i)];
      return result;
    };
    std::vector<std::string> input = ids;
    std::sort(input.begin(), input.end());
    const std::string expected = names(input, 1, "r");
    do CHECK(names(input, 1, "r") == expected);
    while (std::next_permutation(input.begin(), input.end()));
    // Another request or seed gives, in the long run, another order.
    int by_request = 0, by_seed = 0;
    for (int i = 0; i < 20; ++i) {
      by_request += names(ids, 1, "r" + std::to_string(i)) == expected;
      by_seed += names(ids, static_cast<std::uint64_t>(10 + i), "r") == expected;
    }
    CHECK(by_request < 5);
    CHECK(by_seed < 5);
  }
  SUBCASE("a score that is not a number is refused") {
    const std::vector<double> score{0, std::nan(""), 0, 0, 0};
    CHECK_THROWS_AS(show_order(score, id, "r", 1), Error);
  }
}
