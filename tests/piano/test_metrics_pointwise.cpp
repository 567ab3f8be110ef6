#include <doctest/doctest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "piano/metrics_pointwise.h"

using namespace piano;
using doctest::Approx;

namespace {

struct Sample {
  std::vector<double> p, y;
  std::vector<std::int32_t> user;
};

// Predictions on a grid of `levels`, so that there are ties.
Sample random_sample(int n, int levels, int users, std::uint64_t seed) {
  RandomStream random(seed, "sample");
  Sample s;
  for (int i = 0; i < n; ++i) {
    s.p.push_back((0.5 + static_cast<double>(random.below(static_cast<std::uint64_t>(levels)))) / levels);
    s.y.push_back(random.uniform() < s.p.back() ? 1 : 0);
    s.user.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(users))));
  }
  return s;
}

}  // namespace

TEST_CASE("AUC counts pairs, ties one half") {
  CHECK(*auc(std::vector<double>{0.1, 0.4, 0.35, 0.8}, std::vector<double>{0, 0, 1, 1}) == Approx(0.75));
  CHECK(*auc(std::vector<double>{1, 1, 1}, std::vector<double>{0, 1, 0}) == 0.5);
  CHECK(*auc(std::vector<double>{2, 1, 1, 0}, std::vector<double>{1, 1, 0, 0}) == Approx(3.5 / 4));
  CHECK(!auc(std::vector<double>{1, 2}, std::vector<double>{1, 1}));
  CHECK(!auc(std::vector<double>{}, std::vector<double>{}));
  const Sample s = random_sample(300, 9, 1, 3);
  double won = 0, pairs = 0;
  for (std::size_t i = 0; i < s.p.size(); ++i)
    for (std::size_t j = 0; j < s.p.size(); ++j)
      if (s.y[i] == 1 && s.y[j] == 0) {
        pairs += 1;
        won += s.p[i] > s.p[j] ? 1 : s.p[i] == s.p[j] ? 0.5 : 0;
      }
  CHECK(*auc(s.p, s.y) == Approx(won / pairs).epsilon(1e-12));
}

TEST_CASE("grouped AUC: weights, skipped groups") {
  // Group 0: 4 items, AUC 0.75, 2 positives. Group 1: 2 items, AUC 0, 1 positive. Group 2: one class. Group 3: empty.
  const std::vector<double> p{0.1, 0.4, 0.35, 0.8, 0.2, 0.9, 0.5, 0.5}, y{0, 0, 1, 1, 1, 0, 1, 1};
  const std::vector<std::int32_t> group{0, 0, 0, 0, 1, 1, 2, 2};
  const GroupedAuc by_impressions = grouped_auc(p, y, group, 4);
  CHECK(*by_impressions.value == Approx((4 * 0.75 + 2 * 0.0) / 6));
  CHECK(by_impressions.used == 2);
  CHECK(by_impressions.skipped == 1);
  CHECK(*grouped_auc(p, y, group, 4, GroupWeight::positives).value == Approx((2 * 0.75) / 3));
  CHECK(*grouped_auc(p, y, group, 4, GroupWeight::uniform).value == Approx(0.375));
  CHECK(!grouped_auc(std::vector<double>{1, 2}, std::vector<double>{1, 1}, std::vector<std::int32_t>{0, 0}, 1).value);
}

TEST_CASE("log loss, normalised entropy, PCOC: values by hand") {
  const std::vector<double> p{0.8, 0.4}, y{1, 0};
  const double loss = -(std::log(0.8) + std::log(0.6)) / 2;
  CHECK(*log_loss(p, y) == Approx(loss));
  CHECK(*normalised_entropy(p, y) == Approx(loss / std::log(2.0)));
  CHECK(*predicted_over_observed(p, y) == Approx(1.2));
  CHECK(std::isfinite(*log_loss(std::vector<double>{0, 1}, std::vector<double>{1, 0})));
  // Predicting the mean label gives exactly 1; a constant label has no entropy to compare with.
  CHECK(*normalised_entropy(std::vector<double>{0.25, 0.25, 0.25, 0.25}, std::vector<double>{1, 0, 0, 0}) == Approx(1.0));
  CHECK(!normalised_entropy(std::vector<double>{0.5}, std::vector<double>{1}));
  CHECK(!predicted_over_observed(std::vector<double>{0.5}, std::vector<double>{0}));
  CHECK_THROWS_AS(log_loss(std::vector<double>{std::nan("")}, std::vector<double>{0}), Error);
}

TEST_CASE("calibration error: equal-mass bins, equal predictions together") {
  // Two bins of two: |0.1+0.2-1|/4 + |0.8+0.9-1|/4.
  CHECK(*expected_calibration_error(std::vector<double>{0.9, 0.1, 0.8, 0.2}, std::vector<double>{1, 1, 0, 0}, 2) == Approx(0.35));
  CHECK(*expected_calibration_error(std::vector<double>(100, 0.3), std::vector<double>(100, 0.3), 15) == Approx(0.0));
  // One block of equal predictions is one bin, in whatever order its labels come.
  CHECK(*expected_calibration_error(std::vector<double>(4, 0.5), std::vector<double>{1, 1, 0, 0}, 2) == Approx(0.0));
  CHECK(*expected_calibration_error(std::vector<double>(4, 0.5), std::vector<double>{0, 1, 0, 1}, 4) == Approx(0.0));
  // A block that straddles bins falls into the bin of its middle: here the second, alone.
  CHECK(*expected_calibration_error(std::vector<double>{0.1, 0.5, 0.5, 0.5}, std::vector<double>{1, 0, 0, 0}, 2) == Approx(0.6));
}

TEST_CASE("sorted examples under user weights are examples repeated") {
  const Sample s = random_sample(200, 12, 10, 8);
  const SortedExamples sorted(s.p, s.y, s.user);
  CHECK(sorted.auc(std::vector<double>(10, 1.0)) == Approx(*auc(s.p, s.y)).epsilon(1e-12));
  CHECK(sorted.calibration_error(std::vector<double>(10, 1.0)) == Approx(*expected_calibration_error(s.p, s.y)).epsilon(1e-12));

  const std::vector<double> weights{0, 1, 2, 3, 0, 1, 1, 0, 2, 0};
  Sample repeated;
  for (std::size_t i = 0; i < s.p.size(); ++i)
    for (int times = 0; times < static_cast<int>(weights[static_cast<std::size_t>(s.user[i])]); ++times) {
      repeated.p.push_back(s.p[i]);
      repeated.y.push_back(s.y[i]);
    }
  CHECK(sorted.auc(weights) == Approx(*auc(repeated.p, repeated.y)).epsilon(1e-12));
  CHECK(std::isnan(sorted.auc(std::vector<double>(10, 0.0))));
}
