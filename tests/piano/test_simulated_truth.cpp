// What an order is worth in the simulator's world, against every way a user can answer, and the search for the best order against all orders.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/random.h"
#include "piano/simulated_truth.h"

using namespace piano;
using doctest::Approx;

namespace {

std::vector<data::TrueItem> random_items(std::size_t n, std::uint64_t seed) {
  RandomStream random(seed, "items");
  std::vector<data::TrueItem> items(n);
  for (data::TrueItem& item : items) {
    item = {0.05 + 0.6 * random.uniform(), 0.1 + 0.8 * random.uniform(), static_cast<std::int32_t>(random.below(3)), static_cast<std::int32_t>(random.below(2))};
  }
  return items;
}

double conversions(const SimulatedTruth& truth, const std::vector<std::size_t>& order) {
  std::vector<data::TrueItem> shown;
  for (const std::size_t i : order) shown.push_back(truth.item[i]);
  return true_value(shown, truth.dials).conversions;
}

std::vector<std::size_t> order_of(const std::vector<double>& score) {
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
  return order;
}

}  // namespace

TEST_CASE("true_value adds up every depth and every set of clicks and conversions") {
  const data::ResponseDials dials{0.5, 0.7};
  const std::size_t n = 4;
  const std::vector<data::TrueItem> items = random_items(n, 1);
  TrueValue expected;
  for (std::size_t depth = 1; depth <= n; ++depth) {
    const double reads = data::examination(depth, 0.7) - (depth < n ? data::examination(depth + 1, 0.7) : 0);
    for (std::size_t outcome = 0; outcome < 81; ++outcome) {  // three ways an item can be answered
      double chance = reads, clicks = 0, both = 0;
      for (std::size_t i = 0, rest = outcome; i < n; ++i, rest /= 3) {
        const double click = i < depth ? data::competition(items, i, 0.5) * items[i].click : 0, convert = items[i].convert;
        const double ways[] = {1 - click, click * (1 - convert), click * convert};
        chance *= ways[rest % 3], clicks += rest % 3 > 0, both += rest % 3 == 2;
      }
      expected.clicks += chance * clicks, expected.conversions += chance * both;
      expected.any_click += clicks > 0 ? chance : 0, expected.any_conversion += both > 0 ? chance : 0;
    }
  }
  const TrueValue value = true_value(items, dials);
  CHECK(value.clicks == Approx(expected.clicks));
  CHECK(value.conversions == Approx(expected.conversions));
  CHECK(value.any_click == Approx(expected.any_click));
  CHECK(value.any_conversion == Approx(expected.any_conversion));
}

TEST_CASE("best_order: isolated probabilities where neighbours do not compete; else no exchange improves it, and mostly it is the best of all") {
  const std::size_t n = 6;
  int best_of_all = 0, other_than_sorted = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    SimulatedTruth truth{random_items(n, seed), {0, 0.5}};
    const std::vector<std::int64_t> offsets{0, static_cast<std::int64_t>(n)};
    std::vector<std::size_t> sorted(n);
    std::iota(sorted.begin(), sorted.end(), 0);
    std::sort(sorted.begin(), sorted.end(), [&](std::size_t a, std::size_t b) {
      return truth.item[a].click * truth.item[a].convert > truth.item[b].click * truth.item[b].convert;
    });
    CHECK(order_of(best_order(truth, offsets)) == sorted);

    truth.dials.eta = 1;
    std::vector<std::size_t> found = order_of(best_order(truth, offsets));
    const double value = conversions(truth, found);
    CHECK(value >= conversions(truth, sorted));
    other_than_sorted += found != sorted;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = i + 1; j < n; ++j) {
        std::vector<std::size_t> exchanged = found;
        std::swap(exchanged[i], exchanged[j]);
        CHECK(conversions(truth, exchanged) <= value + 1e-9);
      }
    }
    std::vector<std::size_t> any(n);
    std::iota(any.begin(), any.end(), 0);
    double highest = 0;
    do highest = std::max(highest, conversions(truth, any));
    while (std::next_permutation(any.begin(), any.end()));
    CHECK(value <= highest + 1e-12);
    best_of_all += value >= highest - 1e-12;
  }
  CHECK(best_of_all >= 10);
  CHECK(other_than_sorted >= 10);
}
