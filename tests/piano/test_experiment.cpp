#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "piano/experiment.h"
#include "tests/piano/simulated_log.h"

using namespace piano;
using doctest::Approx;

namespace {

data::SimulatorOptions options_of(std::int64_t requests, double swap = 0) {
  data::SimulatorOptions options;
  options.requests = requests;
  options.position_bias = 1;
  options.users = static_cast<std::int32_t>(requests / 8);
  options.swap = swap;
  return options;
}

OutcomeLog mixed(const test::SimulatedLog& s, std::span<const std::uint8_t> arm, const std::vector<Outcome>& a, const std::vector<Outcome>& b) {
  OutcomeLog log{a, s.log.user, s.log.users};
  for (std::size_t l = 0; l < a.size(); ++l) {
    if (arm[static_cast<std::size_t>(s.log.user[l])] == 1) log.outcome[l] = b[l];
  }
  return log;
}

double sum_of(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v);
  return sum;
}

}  // namespace

TEST_CASE("the world answers to the order shown: the logged order gets what the oracle says, another order something else") {
  const test::SimulatedLog s(options_of(2000));
  const auto lists = static_cast<double>(s.log.lists());
  const ExpectedAnswer logged = expected_answer(s.truth, s.log.offsets, s.initial);
  CHECK(logged.clicks == Approx(sum_of(s.oracle.click_shown) / lists).epsilon(1e-6));
  CHECK(logged.conversions == Approx(sum_of(s.oracle.conversion_shown) / lists).epsilon(1e-6));
  const ExpectedAnswer best = expected_answer(s.truth, s.log.offsets, s.true_conversion);
  CHECK(best.conversions > 1.1 * logged.conversions);

  double clicks = 0, conversions = 0;
  const std::vector<Outcome> drawn = answers(s.truth, s.log.offsets, s.true_conversion, 1);
  for (const Outcome& o : drawn) clicks += o.clicks, conversions += o.conversions;
  CHECK(clicks / lists == Approx(best.clicks).epsilon(0.05));
  CHECK(conversions / lists == Approx(best.conversions).epsilon(0.07));
}

TEST_CASE("swaps: two places change their items, and the labels follow the place") {
  const test::SimulatedLog s(options_of(500, 1));
  bool fine = true;
  std::vector<double> as_shown;
  for (std::int64_t l = 0; l < s.log.lists(); ++l) {
    int moved = 0;
    for (auto row = static_cast<std::size_t>(s.log.offsets[static_cast<std::size_t>(l)]); row < static_cast<std::size_t>(s.log.offsets[static_cast<std::size_t>(l) + 1]); ++row) {
      moved += s.log.position[row] != s.log.rank[row] ? 1 : 0;
      as_shown.push_back(-s.log.position[row]);
    }
    fine = fine && moved == 2;
  }
  CHECK(fine);
  const ExpectedAnswer logged = expected_answer(s.truth, s.log.offsets, as_shown);
  CHECK(logged.clicks == Approx(sum_of(s.oracle.click_shown) / 500).epsilon(1e-6));
}

TEST_CASE("halves at random, the same for the same seed") {
  const std::vector<std::uint8_t> arm = randomise(1001, 1);
  CHECK(std::accumulate(arm.begin(), arm.end(), 0) == 500);
  CHECK(arm == randomise(1001, 1));
  CHECK(arm != randomise(1001, 2));
}

TEST_CASE("A/A in the simulator: every metric's p-values are uniform") {
  const test::SimulatedLog s(options_of(4000));
  const OutcomeLog log{answers(s.truth, s.log.offsets, s.initial, 1), s.log.user, s.log.users};
  for (const ExperimentMetric& metric : experiment_metrics()) {
    CAPTURE(metric.name);
    CHECK(distance_from_uniform(aa_p_values(log, metric, 500, 1)) < uniform_bound(500, 0.01));
  }
}

TEST_CASE("a better order wins; the interval is the bootstrap's; users who differ need more users; their past helps") {
  const test::SimulatedLog s(options_of(8000));
  const std::vector<std::uint8_t> arm = randomise(s.log.users, 1);
  const std::vector<Outcome> a = answers(s.truth, s.log.offsets, s.initial, 1), b = answers(s.truth, s.log.offsets, s.true_conversion, 1);
  const OutcomeLog past{s.outcome, s.log.user, s.log.users};  // the log itself: other draws for the same users
  const ArmComparison c = compare_arms(mixed(s, arm, a, b), arm, past, {}, {});
  CHECK(c.users_a + c.users_b == s.log.users);
  REQUIRE(c.metrics.size() == 4);
  const double gain = expected_answer(s.truth, s.log.offsets, s.true_conversion).conversions / expected_answer(s.truth, s.log.offsets, s.initial).conversions - 1;
  const MetricComparison& requests = c.metrics[3];
  CHECK(requests.name == "CVR per request");
  CHECK(requests.delta.p < 1e-4);
  CHECK(requests.delta.low < gain);
  CHECK(gain < requests.delta.high);
  for (const MetricComparison& m : c.metrics) {
    CAPTURE(m.name);
    CHECK((m.delta.high - m.delta.low) / (m.bootstrap.high - m.bootstrap.low) == Approx(1).epsilon(0.05));
    CHECK(m.delta.relative == Approx(m.bootstrap.value));
    CHECK(m.has_past);
    CHECK(m.variance_left < 1.0);
  }
  CHECK(c.metrics[0].design_effect > 1.2);  // a user's tastes are in all of the user's clicks
  CHECK(requests.variance_left < 0.95);
}
