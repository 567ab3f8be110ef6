#include "piano/statistics_experiment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/check.h"

namespace piano {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

// Y_u = (x_u - R n_u) / mean n: the user's share in the error of R. Its mean is 0, its variance over N that of R.
std::vector<double> linearised(const UserSums& sums, const RatioEstimate& ratio) {
  const double mean = ratio.units / static_cast<double>(ratio.users);
  std::vector<double> y(sums.user.size());
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = (sums.sum[i] - ratio.value * sums.count[i]) / mean;
  return y;
}

double mean_square(std::span<const double> values) {  // around their mean, 0
  double total = 0;
  for (const double v : values) total += v * v;
  return total / static_cast<double>(values.size() - 1);
}

// X of each user of an arm.
std::vector<double> past_of(const UserSums& arm, const UserSums& before, std::span<const double> x) {
  std::vector<double> past(arm.user.size(), 0.0);
  for (std::size_t i = 0; i < past.size(); ++i) {
    const auto found = std::lower_bound(before.user.begin(), before.user.end(), arm.user[i]);
    if (found != before.user.end() && *found == arm.user[i]) past[i] = x[static_cast<std::size_t>(found - before.user.begin())];
  }
  return past;
}

double mean_of(std::span<const double> values) {
  double total = 0;
  for (const double v : values) total += v;
  return total / static_cast<double>(values.size());
}

}  // namespace

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double two_sided_p(double z) { return std::erfc(std::fabs(z) / std::sqrt(2.0)); }

double normal_quantile(double probability) {
  PIANO_CHECK(probability > 0 && probability < 1, "a quantile of the normal distribution needs a probability between 0 and 1");
  double low = -40, high = 40;
  for (int i = 0; i < 80; ++i) {  // bisection: seldom called, and as exact as the distribution function
    const double middle = (low + high) / 2;
    (normal_cdf(middle) < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

RatioEstimate delta_method(const UserSums& sums) {
  RatioEstimate ratio{0, kUndefined, static_cast<std::int64_t>(sums.user.size()), 0};
  double total = 0;
  for (std::size_t i = 0; i < sums.user.size(); ++i) total += sums.sum[i], ratio.units += sums.count[i];
  ratio.value = ratio.units > 0 ? total / ratio.units : kUndefined;
  if (ratio.users > 1) ratio.variance = mean_square(linearised(sums, ratio)) / static_cast<double>(ratio.users);
  return ratio;
}

Lift lift(const RatioEstimate& a, const RatioEstimate& b, double level) {
  Lift result;
  result.difference = b.value - a.value;
  result.relative = b.value / a.value - 1;
  result.p = two_sided_p(result.difference / std::sqrt(a.variance + b.variance));
  // Var(B / A), the arms being independent.
  const double slope = b.value / a.value, error = std::sqrt(b.variance + slope * slope * a.variance) / a.value;
  const double z = normal_quantile(0.5 + level / 2);
  result.low = result.relative - z * error;
  result.high = result.relative + z * error;
  return result;
}

Cuped cuped(const UserSums& a, const UserSums& b, const UserSums& before) {
  Cuped result{delta_method(a), delta_method(b), 1};
  if (before.user.size() < 2) return result;
  const std::vector<double> x = linearised(before, delta_method(before));
  std::vector<double> y_a = linearised(a, result.a), y_b = linearised(b, result.b);
  const std::vector<double> x_a = past_of(a, before, x), x_b = past_of(b, before, x);
  const double mean_a = mean_of(x_a), mean_b = mean_of(x_b);
  double covariance = 0, variance = 0;
  const auto add = [&](std::span<const double> y, std::span<const double> past, double mean) {
    for (std::size_t i = 0; i < y.size(); ++i) covariance += y[i] * (past[i] - mean), variance += (past[i] - mean) * (past[i] - mean);
  };
  add(y_a, x_a, mean_a), add(y_b, x_b, mean_b);
  if (!(variance > 0)) return result;
  const double theta = covariance / variance, before_cuped = result.a.variance + result.b.variance;
  const double users = static_cast<double>(x_a.size() + x_b.size());
  const double mean = (mean_a * static_cast<double>(x_a.size()) + mean_b * static_cast<double>(x_b.size())) / users;
  const auto adjust = [&](RatioEstimate& ratio, std::vector<double>& y, std::span<const double> past, double mean_past) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] -= theta * (past[i] - mean_past);
    ratio.value -= theta * (mean_past - mean);
    ratio.variance = mean_square(y) / static_cast<double>(y.size());
  };
  adjust(result.a, y_a, x_a, mean_a), adjust(result.b, y_b, x_b, mean_b);
  result.variance_left = (result.a.variance + result.b.variance) / before_cuped;
  return result;
}

double design_effect(const RatioEstimate& ratio, double square) {
  const double independent = (square / ratio.units - ratio.value * ratio.value) / ratio.units;
  return ratio.variance / independent;
}

double sample_size_from_variance(double mean, double variance, double relative_lift, double power, double alpha) {
  const double z = normal_quantile(1 - alpha / 2) + normal_quantile(power), difference = mean * relative_lift;
  return z * z * 2 * variance / (difference * difference);
}

double sample_size(double rate, double relative_lift, double power, double alpha) {
  return sample_size_from_variance(rate, rate * (1 - rate), relative_lift, power, alpha);
}

double distance_from_uniform(std::span<const double> values) {
  std::vector<double> ascending(values.begin(), values.end());
  std::erase_if(ascending, [](double x) { return std::isnan(x); });
  if (ascending.empty()) return kUndefined;
  std::sort(ascending.begin(), ascending.end());
  const auto n = static_cast<double>(ascending.size());
  double distance = 0;
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    const double below = static_cast<double>(i) / n, upto = static_cast<double>(i + 1) / n;
    distance = std::max({distance, ascending[i] - below, upto - ascending[i]});
  }
  return distance;
}

double uniform_bound(std::int64_t n, double alpha) { return std::sqrt(std::log(2 / alpha) / (2 * static_cast<double>(n))); }

}  // namespace piano
