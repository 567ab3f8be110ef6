#include "piano/statistics.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "engine/base/check.h"
#include "engine/base/random.h"

namespace piano {

double quantile(std::span<const double> ascending, double fraction) {
  const double at = fraction * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, ascending.size() - 1);
  return ascending[below] + (at - static_cast<double>(below)) * (ascending[above] - ascending[below]);
}

std::vector<std::vector<double>> bootstrap_draws(std::int32_t users, std::span<const Statistic> statistics, const BootstrapOptions& options) {
  PIANO_CHECK(users > 0, "a bootstrap needs at least one user");
  std::vector<double> weights(static_cast<std::size_t>(users));
  std::vector<std::vector<double>> drawn(statistics.size());
  if (users < kLeastUsers) return drawn;
  RandomStream random(options.seed, "bootstrap");
  for (std::int32_t replicate = 0; replicate < options.replicates; ++replicate) {
    std::fill(weights.begin(), weights.end(), 0.0);
    for (std::int32_t i = 0; i < users; ++i) weights[static_cast<std::size_t>(random.below(static_cast<std::uint64_t>(users)))] += 1;
    for (std::size_t s = 0; s < statistics.size(); ++s) drawn[s].push_back(statistics[s](weights));
  }
  return drawn;
}

Estimate without_interval(double value) {
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  return {value, undefined, undefined, 0};
}

Estimate percentile_estimate(double value, std::vector<double> draws, double level) {
  PIANO_CHECK(level > 0 && level < 1, "the level of an interval lies between 0 and 1");
  std::erase_if(draws, [](double x) { return std::isnan(x); });
  const double tail = (1 - level) / 2;
  if (static_cast<double>(draws.size()) * tail < 1 - 1e-9) return without_interval(value);  // 40 * 0.025 is not quite 1
  std::sort(draws.begin(), draws.end());
  return {value, quantile(draws, tail), quantile(draws, 1 - tail), static_cast<std::int64_t>(draws.size())};
}

std::vector<Estimate> bootstrap(std::int32_t users, std::span<const Statistic> statistics, const BootstrapOptions& options) {
  std::vector<std::vector<double>> drawn = bootstrap_draws(users, statistics, options);
  const std::vector<double> once(static_cast<std::size_t>(users), 1.0);
  std::vector<Estimate> estimates;
  for (std::size_t s = 0; s < statistics.size(); ++s) {
    estimates.push_back(percentile_estimate(statistics[s](once), std::move(drawn[s]), options.level));
  }
  return estimates;
}

double randomisation_p(std::span<const double> difference, std::int32_t draws, std::uint64_t seed) {
  std::vector<double> moved;  // users where the systems agree change no sum
  std::copy_if(difference.begin(), difference.end(), std::back_inserter(moved), [](double d) { return d != 0; });
  const auto far = [&](const auto& sign_of) {
    double sum = 0;
    for (std::size_t u = 0; u < moved.size(); ++u) sum += sign_of(u) ? moved[u] : -moved[u];
    return std::abs(sum);
  };
  const double observed = far([](std::size_t) { return true; }) * (1 - 1e-12);  // sums of equal terms may differ in the last bit
  RandomStream random(seed, "randomisation");
  std::vector<std::uint32_t> signs((moved.size() + 31) / 32);
  std::int64_t as_far = 1;
  for (std::int32_t draw = 0; draw < draws; ++draw) {
    for (std::uint32_t& word : signs) word = random.bits();
    as_far += far([&](std::size_t u) { return (signs[u / 32] >> (u % 32) & 1) != 0; }) >= observed;
  }
  return static_cast<double>(as_far) / (1.0 + draws);
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (!std::isnan(p[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.begin(), p.end());
  double largest = 0;
  for (std::size_t k = 0; k < order.size(); ++k) {
    largest = std::max(largest, std::min(1.0, p[order[k]] * static_cast<double>(order.size() - k)));
    adjusted[order[k]] = largest;
  }
  return adjusted;
}

double UserSums::ratio(UserWeights weights) const {
  double numerator = 0, denominator = 0;
  for (std::size_t i = 0; i < user.size(); ++i) {
    const double w = weights[static_cast<std::size_t>(user[i])];
    numerator += w * sum[i];
    denominator += w * count[i];
  }
  return denominator > 0 ? numerator / denominator : std::numeric_limits<double>::quiet_NaN();
}

UserSums user_sums(std::span<const double> values, std::span<const std::int32_t> user, std::int32_t users,
                   std::span<const std::uint8_t> member) {
  PIANO_CHECK(values.size() == user.size(), "one value and one user per list are needed");
  PIANO_CHECK(member.empty() || member.size() == values.size(), "a slice says of every list whether it belongs");
  std::vector<double> sum(static_cast<std::size_t>(users), 0.0), count(sum.size(), 0.0);
  for (std::size_t l = 0; l < values.size(); ++l) {
    if (std::isnan(values[l]) || (!member.empty() && member[l] == 0)) continue;
    sum[static_cast<std::size_t>(user[l])] += values[l];
    count[static_cast<std::size_t>(user[l])] += 1;
  }
  UserSums result;
  for (std::size_t u = 0; u < sum.size(); ++u) {
    if (count[u] == 0) continue;
    result.user.push_back(static_cast<std::int32_t>(u));
    result.sum.push_back(sum[u]);
    result.count.push_back(count[u]);
  }
  return result;
}

UserSums average_seeds(std::span<const UserSums> seeds) {
  PIANO_CHECK(!seeds.empty(), "at least one seed is needed");
  UserSums mean = seeds[0];
  for (const UserSums& seed : seeds.subspan(1)) {
    PIANO_CHECK(seed.user == mean.user && seed.count == mean.count, "the seeds were not measured on the same lists");
    for (std::size_t i = 0; i < mean.sum.size(); ++i) mean.sum[i] += seed.sum[i];
  }
  for (double& sum : mean.sum) sum /= static_cast<double>(seeds.size());
  return mean;
}

Statistic ratio_statistic(UserSums sums) {
  return [sums = std::move(sums)](UserWeights weights) { return sums.ratio(weights); };
}

Statistic difference_statistic(Statistic a, Statistic b) {
  return [a = std::move(a), b = std::move(b)](UserWeights weights) { return a(weights) - b(weights); };
}

SeedComparison compare_systems(std::span<const std::vector<double>> a, std::span<const std::vector<double>> b,
                               std::span<const std::int32_t> user, std::int32_t users, const BootstrapOptions& options) {
  const std::vector<double> once(static_cast<std::size_t>(users), 1.0);
  const auto average = [&](std::span<const std::vector<double>> seeds, std::vector<double>& means) {
    std::vector<UserSums> sums;
    for (const std::vector<double>& values : seeds) {
      sums.push_back(user_sums(values, user, users));
      means.push_back(sums.back().ratio(once));
    }
    return average_seeds(sums);
  };
  SeedComparison result;
  const UserSums mean_a = average(a, result.a_seeds), mean_b = average(b, result.b_seeds);
  PIANO_CHECK(mean_a.user == mean_b.user && mean_a.count == mean_b.count, "the two systems were not measured on the same lists");
  const Statistic of_a = ratio_statistic(mean_a), of_b = ratio_statistic(mean_b);
  const std::vector<Statistic> statistics{of_a, of_b, difference_statistic(of_a, of_b)};
  const std::vector<Estimate> estimates = bootstrap(users, statistics, options);
  result.a = estimates[0];
  result.b = estimates[1];
  result.difference = estimates[2];
  return result;
}

}  // namespace piano
