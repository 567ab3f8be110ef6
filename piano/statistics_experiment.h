// Statistics of a randomised experiment. Users are randomised, metrics are ratios of sums over them (clicks over items shown, conversions over
// clicks), and a user's requests are not independent: variances come from users, never from the units counted. docs/experiments.md has the
// formulas.
#pragma once

#include <cstdint>
#include <span>

#include "piano/statistics.h"

namespace piano {

double normal_cdf(double x);
double normal_quantile(double probability);  // requires: 0 < probability < 1
double two_sided_p(double z);                // 2 (1 - cdf |z|)

// A ratio of sums over independent users and its variance by the delta method (Deng, Knoblich & Lu, "Applying the delta method in metric
// analytics", KDD 2018): Var(R) = sum (x_u - R n_u)^2 / (N - 1) * N / (sum n_u)^2.
struct RatioEstimate {
  double value = 0, variance = 0;  // NaN when there are fewer than two users or nothing was counted
  std::int64_t users = 0;
  double units = 0;                // sum n_u
};
RatioEstimate delta_method(const UserSums& sums);

// Arm B against arm A: independent users.
struct Lift {
  double difference = 0, relative = 0;     // B - A; B / A - 1
  double low = 0, high = 0;                // of the relative one
  double p = 0;                            // of the difference, two-sided, normal
};
Lift lift(const RatioEstimate& a, const RatioEstimate& b, double level);

// CUPED (Deng, Xu, Kohavi & Walker, "Improving the sensitivity of online controlled experiments by utilizing pre-experiment data", WSDM 2013):
// both arms' ratios, adjusted by what their users did before the experiment: Y - theta (X - mean X), theta = cov(Y, X) / var(X) within arms, on
// the linearised metrics Y_u = (x_u - R n_u) / mean n. A user without a past has X = 0, the mean. `before` has sums over the same users' past.
struct Cuped {
  RatioEstimate a, b;
  double variance_left = 1;                // of B - A, as a share of what it was without
};
Cuped cuped(const UserSums& a, const UserSums& b, const UserSums& before);

// How many times the variance of a ratio is what it would be if units were independent: multiplies sample sizes. `square` is the sum of the
// units' squared values (of 0/1 units: their sum).
double design_effect(const RatioEstimate& ratio, double square);

// Units an arm for a two-sided test of p against p (1 + lift) at `power`, for independent 0/1 units:
// n = (z_(1-alpha/2) + z_power)^2 * 2 p (1 - p) / (p lift)^2.
double sample_size(double rate, double relative_lift, double power = 0.8, double alpha = 0.05);
// The same from a unit's variance, for units that are not 0/1.
double sample_size_from_variance(double mean, double variance, double relative_lift, double power = 0.8, double alpha = 0.05);

// The largest distance between the values' distribution and the uniform one on [0, 1] (Kolmogorov-Smirnov). 0 <= values <= 1;
// NaNs are left out, NaN when nothing is left.
double distance_from_uniform(std::span<const double> values);
// What that distance exceeds with chance at most `alpha` when `n` independent values are uniform (Dvoretzky-Kiefer-Wolfowitz inequality with
// Massart's constant, Ann. Probab. 1990): sqrt(ln(2 / alpha) / 2n).
double uniform_bound(std::int64_t n, double alpha);

}  // namespace piano
