#include "piano/experiment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "engine/base/check.h"

namespace piano {
namespace {

// The users of one arm; -1: of both. Who was shown a list counts, also without a click: who clicks is an outcome of the experiment.
UserSums sums_of(const OutcomeLog& log, const ExperimentMetric& metric, std::span<const std::uint8_t> arm = {}, int which = -1) {
  std::vector<double> sum(static_cast<std::size_t>(log.users), 0.0), count(sum.size(), 0.0);
  std::vector<std::uint8_t> shown(sum.size(), 0);
  for (std::size_t l = 0; l < log.outcome.size(); ++l) {
    const auto u = static_cast<std::size_t>(log.user[l]);
    if (which >= 0 && arm[u] != which) continue;
    sum[u] += metric.value(log.outcome[l]);
    count[u] += metric.units(log.outcome[l]);
    shown[u] = 1;
  }
  UserSums result;
  for (std::size_t u = 0; u < sum.size(); ++u) {
    if (shown[u] == 0) continue;
    result.user.push_back(static_cast<std::int32_t>(u)), result.sum.push_back(sum[u]), result.count.push_back(count[u]);
  }
  return result;
}

// Visits each list as it is shown.
template <class Visit>
void each_shown(const SimulatedTruth& truth, std::span<const std::int64_t> offsets, std::span<const double> score, Visit visit) {
  PIANO_CHECK(score.size() == truth.item.size(), "scores: one per row");
  std::vector<std::size_t> order;
  std::vector<data::TrueItem> shown;
  for (std::size_t l = 0; l + 1 < offsets.size(); ++l) {
    const auto begin = static_cast<std::size_t>(offsets[l]), end = static_cast<std::size_t>(offsets[l + 1]);
    order.resize(end - begin);
    std::iota(order.begin(), order.end(), begin);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
    shown.clear();
    for (const std::size_t row : order) shown.push_back(truth.item[row]);
    visit(l, std::span<const data::TrueItem>(shown));
  }
}

}  // namespace

std::span<const ExperimentMetric> experiment_metrics() {
  static const std::vector<ExperimentMetric> metrics{
      {"CTR", "items", [](const Outcome& o) { return static_cast<double>(o.clicks); }, [](const Outcome& o) { return static_cast<double>(o.items); },
       [](const Outcome& o) { return static_cast<double>(o.clicks); }},
      {"requests with a click", "requests", [](const Outcome& o) { return o.clicks > 0 ? 1.0 : 0.0; }, [](const Outcome&) { return 1.0; },
       [](const Outcome& o) { return o.clicks > 0 ? 1.0 : 0.0; }},
      {"CVR per click", "clicks", [](const Outcome& o) { return static_cast<double>(o.conversions); },
       [](const Outcome& o) { return static_cast<double>(o.clicks); }, [](const Outcome& o) { return static_cast<double>(o.conversions); }},
      {"CVR per request", "requests", [](const Outcome& o) { return static_cast<double>(o.conversions); }, [](const Outcome&) { return 1.0; },
       [](const Outcome& o) { return static_cast<double>(o.conversions) * o.conversions; }}};
  return metrics;
}

std::vector<Outcome> answers(const SimulatedTruth& truth, std::span<const std::int64_t> offsets, std::span<const double> score, std::uint64_t seed) {
  std::vector<Outcome> result;
  data::Response response;
  each_shown(truth, offsets, score, [&](std::size_t list, std::span<const data::TrueItem> shown) {
    RandomStream random(seed, "experiment.answers." + std::to_string(list));
    data::respond(shown, truth.dials, random, response);
    Outcome outcome{static_cast<std::int32_t>(shown.size()), 0, 0};
    for (std::size_t i = 0; i < shown.size(); ++i) outcome.clicks += response.click[i], outcome.conversions += response.conversion[i];
    result.push_back(outcome);
  });
  return result;
}

ExpectedAnswer expected_answer(const SimulatedTruth& truth, std::span<const std::int64_t> offsets, std::span<const double> score) {
  ExpectedAnswer total;
  each_shown(truth, offsets, score, [&](std::size_t, std::span<const data::TrueItem> shown) {
    const TrueValue value = true_value(shown, truth.dials);
    total.clicks += value.clicks, total.conversions += value.conversions;
  });
  const auto lists = static_cast<double>(offsets.size() - 1);
  return {total.clicks / lists, total.conversions / lists};
}

std::vector<std::uint8_t> randomise(std::int32_t users, std::uint64_t seed) {
  std::vector<std::uint8_t> arm(static_cast<std::size_t>(users));
  for (std::size_t u = 0; u < arm.size(); ++u) arm[u] = static_cast<std::uint8_t>(u % 2);
  RandomStream random(seed, "experiment.arms");
  random.shuffle(arm);
  return arm;
}

ArmComparison compare_arms(const OutcomeLog& log, std::span<const std::uint8_t> arm, const OutcomeLog& past, const Plan& plan,
                        const BootstrapOptions& options) {
  PIANO_CHECK(static_cast<std::int32_t>(arm.size()) == log.users, "arms: one per user");
  ArmComparison comparison;
  std::vector<std::uint8_t> seen(arm.size(), 0);
  for (const std::int32_t u : log.user) seen[static_cast<std::size_t>(u)] = 1;
  for (std::size_t u = 0; u < arm.size(); ++u) (arm[u] == 0 ? comparison.users_a : comparison.users_b) += seen[u];

  std::vector<Statistic> lifts;
  for (const ExperimentMetric& metric : experiment_metrics()) {
    const UserSums a = sums_of(log, metric, arm, 0), b = sums_of(log, metric, arm, 1);
    MetricComparison m;
    m.name = metric.name;
    m.a = delta_method(a), m.b = delta_method(b);
    m.delta = lift(m.a, m.b, options.level);
    const UserSums before = past.outcome.empty() ? UserSums{} : sums_of(past, metric);
    m.has_past = before.user.size() > 1;
    if (m.has_past) {
      const Cuped adjusted = cuped(a, b, before);
      m.cuped = lift(adjusted.a, adjusted.b, options.level);
      m.variance_left = adjusted.variance_left;
    }
    double square = 0;
    for (std::size_t l = 0; l < log.outcome.size(); ++l) {
      if (arm[static_cast<std::size_t>(log.user[l])] == 0) square += metric.square(log.outcome[l]);
    }
    m.design_effect = design_effect(m.a, square);
    const double variance = square / m.a.units - m.a.value * m.a.value, units_a_user = m.a.units / static_cast<double>(m.a.users);
    m.users_needed = sample_size_from_variance(m.a.value, variance, plan.lift, plan.power, plan.alpha) * m.design_effect / units_a_user;
    comparison.metrics.push_back(m);
    lifts.push_back([a, b](UserWeights weights) { return b.ratio(weights) / a.ratio(weights) - 1; });
  }
  const std::vector<Estimate> drawn = bootstrap(log.users, lifts, options);
  for (std::size_t m = 0; m < drawn.size(); ++m) comparison.metrics[m].bootstrap = drawn[m];
  return comparison;
}

std::vector<double> aa_p_values(const OutcomeLog& log, const ExperimentMetric& metric, std::int32_t splits, std::uint64_t seed) {
  const UserSums all = sums_of(log, metric);
  std::vector<double> p;
  for (std::int32_t split = 0; split < splits; ++split) {
    const std::vector<std::uint8_t> arm = randomise(log.users, seed + static_cast<std::uint64_t>(split));
    std::array<UserSums, 2> sums;
    for (std::size_t i = 0; i < all.user.size(); ++i) {
      UserSums& to = sums[arm[static_cast<std::size_t>(all.user[i])]];
      to.user.push_back(all.user[i]), to.sum.push_back(all.sum[i]), to.count.push_back(all.count[i]);
    }
    p.push_back(lift(delta_method(sums[0]), delta_method(sums[1]), 0.95).p);
  }
  return p;
}

}  // namespace piano
