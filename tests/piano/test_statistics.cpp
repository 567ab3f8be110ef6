#include <doctest/doctest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "piano/statistics.h"

using namespace piano;
using doctest::Approx;

namespace {

const double kNone = std::nan("");

// 400 users with two lists each; a list's value is noise around `mean`.
std::vector<double> noisy(double mean, std::uint64_t seed) {
  RandomStream random(seed, "values");
  std::vector<double> values;
  for (int i = 0; i < 800; ++i) values.push_back(mean + random.normal());
  return values;
}

std::vector<std::int32_t> two_lists_each() {
  std::vector<std::int32_t> user;
  for (int i = 0; i < 800; ++i) user.push_back(i / 2);
  return user;
}

}  // namespace

TEST_CASE("quantiles interpolate between order statistics") {
  const std::vector<double> x{0, 10, 20, 30};
  CHECK(quantile(x, 0) == 0.0);
  CHECK(quantile(x, 1) == 30.0);
  CHECK(quantile(x, 0.5) == 15.0);
  CHECK(quantile(x, 0.25) == Approx(7.5));
}

TEST_CASE("a mean over lists is a ratio of sums over users") {
  const std::vector<double> values{1, 2, kNone, 6};
  const std::vector<std::int32_t> user{0, 0, 1, 2};
  const UserSums sums = user_sums(values, user, 4);
  CHECK(sums.user == std::vector<std::int32_t>{0, 2});
  CHECK(sums.ratio(std::vector<double>{1, 1, 1, 1}) == Approx(3.0));
  CHECK(sums.ratio(std::vector<double>{2, 5, 1, 5}) == Approx((2 * 3 + 6) / 5.0));
  CHECK(std::isnan(sums.ratio(std::vector<double>{0, 1, 0, 1})));
  const std::vector<std::uint8_t> member{0, 1, 1, 0};
  CHECK(user_sums(values, user, 4, member).ratio(std::vector<double>{1, 1, 1, 1}) == 2.0);
}

TEST_CASE("the interval is the one that theory gives, and is the same each time") {
  const std::vector<double> values = noisy(0, 1);
  const std::vector<Statistic> statistics{ratio_statistic(user_sums(values, two_lists_each(), 400))};
  const Estimate e = bootstrap(400, statistics, {})[0];
  // Standard error 1/sqrt(800) = 0.0354: half the interval's width is 1.96 of them.
  CHECK((e.high - e.low) / 2 == Approx(1.96 * 0.0354).epsilon(0.12));
  CHECK(e.low < e.value);
  CHECK(e.value < e.high);
  const Estimate again = bootstrap(400, statistics, {})[0];
  CHECK(again.low == e.low);
  CHECK(again.high == e.high);
  BootstrapOptions other;
  other.seed = 2;
  CHECK(bootstrap(400, statistics, other)[0].low != e.low);
}

TEST_CASE("users, not lists, are drawn: lists of one user that agree widen the interval") {
  std::vector<double> values = noisy(0, 1);
  for (std::size_t i = 0; i < values.size(); i += 2) values[i + 1] = values[i];
  const std::vector<Statistic> by_user{ratio_statistic(user_sums(values, two_lists_each(), 400))};
  const Estimate e = bootstrap(400, by_user, {})[0];
  CHECK((e.high - e.low) / 2 == Approx(1.96 / std::sqrt(400.0)).epsilon(0.12));
}

TEST_CASE("a paired difference is far surer than two intervals side by side") {
  const std::vector<double> b = noisy(0, 1);
  std::vector<double> a = b;
  for (double& x : a) x += 0.01;
  const std::vector<std::vector<double>> of_a{a}, of_b{b};
  const SeedComparison c = compare_systems(of_a, of_b, two_lists_each(), 400, {});
  CHECK(c.difference.value == Approx(0.01));
  CHECK(c.difference.low > 0);
  CHECK(c.a.low < c.b.high);
}

TEST_CASE("seeds are averaged per user; their spread is reported apart") {
  const std::vector<std::int32_t> user = two_lists_each();
  const std::vector<std::vector<double>> a{noisy(0.5, 1), noisy(0.5, 2), noisy(0.5, 3)}, b{noisy(0, 4)};
  const SeedComparison c = compare_systems(a, b, user, 400, {});
  REQUIRE(c.a_seeds.size() == 3);
  CHECK(c.a.value == Approx((c.a_seeds[0] + c.a_seeds[1] + c.a_seeds[2]) / 3));
  CHECK(c.difference.value == Approx(c.a.value - c.b_seeds[0]));
  CHECK(c.difference.low > 0);

  std::vector<std::vector<double>> broken = a;
  broken[1][7] = kNone;
  CHECK_THROWS_AS(compare_systems(broken, b, user, 400, {}), Error);
}

TEST_CASE("draws for which a statistic is undefined are left out and counted") {
  const std::vector<Statistic> statistics{[](UserWeights w) { return w[0] > 0 ? 1.0 : kNone; }, [](UserWeights) { return kNone; }};
  const std::vector<Estimate> e = bootstrap(10, statistics, {});
  CHECK(e[0].low == 1.0);
  CHECK(e[0].replicates == Approx(1000 * (1 - std::pow(0.9, 10))).epsilon(0.1));
  CHECK(e[1].replicates == 0);
  CHECK(std::isnan(e[1].low));
}

TEST_CASE("few users or few draws give no interval") {
  const std::vector<Statistic> statistics{[](UserWeights w) { return w[0]; }};
  CHECK(bootstrap(6, statistics, {})[0].high > 1);
  const Estimate few = bootstrap(5, statistics, {})[0];
  CHECK(few.value == 1);
  CHECK((std::isnan(few.low) && std::isnan(few.high) && few.replicates == 0));
  BootstrapOptions options;
  for (const std::int32_t draws : {1, 39, 40}) {
    options.replicates = draws;
    CHECK(bootstrap(100, statistics, options)[0].replicates == (draws < 40 ? 0 : 40));
  }
}

TEST_CASE("randomisation: exact for few users, uniform under no difference, small for a real one") {
  // Three users that all gain 1: of the 8 sign patterns 2 are as far from 0, so p tends to a quarter.
  CHECK(randomisation_p(std::vector<double>{1, 1, 1}, 20000, 1) == Approx(0.25).epsilon(0.05));
  CHECK(randomisation_p(std::vector<double>{1, 1, 1, 0, 0}, 20000, 1) == randomisation_p(std::vector<double>{1, 1, 1}, 20000, 1));
  CHECK(randomisation_p(std::vector<double>{0, 0}, 100, 1) == 1.0);
  CHECK(randomisation_p(std::vector<double>(200, 0.1), 999, 1) == Approx(0.001));
  int below = 0;
  for (std::uint64_t world = 0; world < 400; ++world) {
    RandomStream random(world, "null");
    std::vector<double> noise;
    for (int u = 0; u < 60; ++u) noise.push_back(random.normal());
    below += randomisation_p(noise, 199, world) <= 0.05;
  }
  CHECK(below >= 8);   // 20 expected, standard deviation 4.4
  CHECK(below <= 34);
}

TEST_CASE("Holm: the smallest p is multiplied by all tests, the order is kept, none is lowered") {
  const std::vector<double> adjusted = holm(std::vector<double>{0.01, kNone, 0.04, 0.03, 0.005});
  CHECK(adjusted[4] == Approx(0.02));
  CHECK(adjusted[0] == Approx(0.03));
  CHECK(adjusted[3] == Approx(0.06));
  CHECK(adjusted[2] == Approx(0.06));  // 0.04 alone, but never below the one before it
  CHECK(std::isnan(adjusted[1]));
  CHECK(holm(std::vector<double>{0.9, 0.8}) == std::vector<double>{1.0, 1.0});
}
