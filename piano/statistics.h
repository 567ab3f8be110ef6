// How sure a number is: bootstrap over users, for one system and for the difference of two.
//
// Users are drawn with replacement and bring all their lists along, because a user's lists are not independent. A statistic is a function
// of how often each user was drawn; all statistics given to one bootstrap() see the same draws, so a difference of two is a paired one.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace piano {

using UserWeights = std::span<const double>;             // (users): times drawn; all ones: the sample itself
using Statistic = std::function<double(UserWeights)>;    // NaN: undefined for these weights

struct BootstrapOptions {
  std::int32_t replicates = 1000;
  double level = 0.95;
  std::uint64_t seed = 1;
};

// Fewer users behind a number give it no interval: draws of so few are far too narrow (of one, all are the same), and the paired test could not
// get below 0.05 whatever they said (2 / 2^5).
inline constexpr std::int64_t kLeastUsers = 6;

// A value with its percentile interval. All NaN when undefined; low and high NaN when replicates is 0.
struct Estimate {
  double value = 0, low = 0, high = 0;
  std::int64_t replicates = 0;  // draws for which the statistic was defined; the interval is over these
};
Estimate without_interval(double value);

// [statistic][replicate]: its value on each draw, NaN where undefined; no draws of fewer than kLeastUsers. Deterministic in (users, statistics,
// options).
std::vector<std::vector<double>> bootstrap_draws(std::int32_t users, std::span<const Statistic> statistics, const BootstrapOptions& options);
// No interval with fewer than one draw expected beyond each end of it: 40 draws for 95 %.
Estimate percentile_estimate(double value, std::vector<double> draws, double level);

// Both together: one Estimate per statistic.
std::vector<Estimate> bootstrap(std::int32_t users, std::span<const Statistic> statistics, const BootstrapOptions& options);

// Paired randomisation test, two-sided (Fisher 1935; Smucker, Allan and Carterette, CIKM 2007): difference[u] is what system a gained over b
// at user u. If the two were exchangeable, each user's sign would be a coin's. p = (1 + draws at least as far from 0 as the sample) /
// (1 + draws). 1 when nothing differs.
double randomisation_p(std::span<const double> difference, std::int32_t draws, std::uint64_t seed);

// Holm (1979): p-values adjusted for as many tests as there are, in their order. NaN: no test, and stays NaN.
std::vector<double> holm(std::span<const double> p);

// Linear interpolation between order statistics: at (n-1)·fraction. requires: ascending, not empty
double quantile(std::span<const double> ascending, double fraction);

// A mean over lists (or items) as a ratio of sums over users; users without any are left out.
struct UserSums {
  std::vector<std::int32_t> user;  // ascending
  std::vector<double> sum, count;  // (as many)

  double ratio(UserWeights weights) const;  // NaN when no list was drawn
};

// values[l] is the metric of list l, NaN where it is undefined; user[l] in 0 .. users-1; member, when not empty, restricts to a slice.
UserSums user_sums(std::span<const double> values, std::span<const std::int32_t> user, std::int32_t users,
                   std::span<const std::uint8_t> member = {});

// The same lists measured under several seeds: each user's sums are averaged, so that seeds do not pass for independent observations.
// Throws ErrorCode::internal when the lists differ.
UserSums average_seeds(std::span<const UserSums> seeds);

Statistic ratio_statistic(UserSums sums);
Statistic difference_statistic(Statistic a, Statistic b);  // a - b

// System a against system b on the same lists, each trained with one or more seeds.
struct SeedComparison {
  Estimate a, b, difference;               // seeds averaged per user; the difference is paired
  std::vector<double> a_seeds, b_seeds;    // the mean of each seed: the spread over seeds, apart from the interval over users
};
// a[s][l] and b[s][l]: the metric of list l under seed s, NaN where undefined.
SeedComparison compare_systems(std::span<const std::vector<double>> a, std::span<const std::vector<double>> b,
                               std::span<const std::int32_t> user, std::int32_t users, const BootstrapOptions& options);

}  // namespace piano
