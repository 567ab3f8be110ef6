#include <doctest/doctest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "piano/off_policy.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/simulated_log.h"

using namespace piano;
using doctest::Approx;

namespace {

constexpr double kBias = 0.3;

data::SimulatorOptions options_of(std::int64_t requests, std::uint64_t seed, double swap) {
  data::SimulatorOptions options;
  options.requests = requests;
  options.seed = seed;
  options.users = static_cast<std::int32_t>(requests / 4);
  options.eta = 0;
  options.position_bias = kBias;
  options.swap = swap;
  return options;
}

BootstrapOptions draws(std::int32_t replicates) {
  BootstrapOptions options;
  options.replicates = replicates;
  return options;
}

bool covers(const Estimate& e, double truth) { return e.low <= truth && truth <= e.high; }

// Two users; a list of three each, the second one logged with its first two items swapped.
ShownLog two_lists() {
  ShownLog log;
  log.offsets = {0, 3, 6};
  log.user = {0, 1};
  log.users = 2, log.items = 3;
  log.rank = {1, 2, 3, 1, 2, 3};
  log.position = {1, 2, 3, 2, 1, 3};
  log.item = {0, 1, 2, 0, 1, 2};
  log.click = {1, 0, 1, 1, 0, 0};
  log.conversion = {0, 0, 1, 0, 0, 0};
  return log;
}

}  // namespace

TEST_CASE("IPS and SNIPS by hand") {
  const ShownLog log = two_lists();
  const std::vector<double> score{1, 2, 3, 3, 1, 2};
  const std::vector<std::int32_t> places = positions_by_score(log, score);
  CHECK(places == std::vector<std::int32_t>{3, 2, 1, 1, 3, 2});
  const OffPolicyReport report = off_policy(log, places, Examination{{1, 0.5, 0.25}}, draws(0));
  // Clicks: item 1 of list 1 from place 1 to 3, item 3 from 3 to 1; item 1 of list 2 from 2 to 1.
  CHECK(report.click.logged.value == Approx(1.5));
  CHECK(report.click.ips.value == Approx((0.25 / 1 + 1 / 0.25 + 1 / 0.5) / 2));
  CHECK(report.click.snips.value == Approx((0.25 + 4 + 2) / (1 + 4 + 2)));
  CHECK(report.click.snips_logged.value == Approx(3.0 / (1 + 4 + 2)));
  CHECK(report.conversion.ips.value == Approx(4.0 / 2));
  CHECK(report.positions_vary);
}

TEST_CASE("where positions never vary, doubly robust is IPS: what it adds and takes away is the same") {
  const test::SimulatedLog s(options_of(300, 1, 0));
  const OffPolicyReport fixed = off_policy(s.log, positions_by_score(s.log, s.true_conversion), test::power_law(kBias), draws(0));
  CHECK_FALSE(fixed.positions_vary);
  CHECK(fixed.click.doubly_robust.value == Approx(fixed.click.ips.value).epsilon(1e-9));
  const test::SimulatedLog moved(options_of(300, 1, 1));
  const OffPolicyReport varied = off_policy(moved.log, positions_by_score(moved.log, moved.true_conversion), test::power_law(kBias), draws(0));
  CHECK(varied.click.doubly_robust.value != Approx(varied.click.ips.value).epsilon(1e-9));
}

TEST_CASE("the logged order is estimated as what happened") {
  const test::SimulatedLog s(options_of(300, 1, 0));
  const OffPolicyReport report = off_policy(s.log, positions_by_score(s.log, s.initial), test::power_law(kBias), draws(0));
  CHECK(report.click.ips.value == Approx(report.click.logged.value));
  CHECK(report.conversion.ips.value == Approx(report.conversion.logged.value));
}

TEST_CASE("at eta = 0 the 95 % intervals cover the truth in 90 of 100 worlds, and are no wider than they should be") {
  int ips[2] = {0, 0}, robust[2] = {0, 0}, snips = 0;
  double width[2] = {0, 0};
  for (std::uint64_t world = 1; world <= 100; ++world) {
    const test::SimulatedLog s(options_of(400, world, 0.5));
    const Examination theta = test::power_law(kBias);
    const std::vector<std::int32_t> places = positions_by_score(s.log, s.true_conversion);
    const OffPolicyReport report = off_policy(s.log, places, theta, draws(200));
    const ExpectedAnswer truth = expected_answer(s.truth, s.log.offsets, s.true_conversion);
    double examined = 0, relevant = 0;
    for (std::size_t row = 0; row < places.size(); ++row) {
      examined += theta.at(places[row]) * s.truth.item[row].click, relevant += s.truth.item[row].click;
    }
    ips[0] += covers(report.click.ips, truth.clicks), ips[1] += covers(report.conversion.ips, truth.conversions);
    robust[0] += covers(report.click.doubly_robust, truth.clicks), robust[1] += covers(report.conversion.doubly_robust, truth.conversions);
    snips += covers(report.click.snips, examined / relevant);
    width[0] += (report.click.ips.high - report.click.ips.low) / truth.clicks / 100;
    width[1] += (report.conversion.ips.high - report.conversion.ips.low) / truth.conversions / 100;
  }
  CHECK(ips[0] >= 90);
  CHECK(ips[1] >= 90);
  CHECK(robust[0] >= 90);
  CHECK(robust[1] >= 90);
  CHECK(snips >= 90);
  CHECK(width[0] < 0.28);
  CHECK(width[1] < 0.35);
  MESSAGE("clicks: IPS covers ", ips[0], ", doubly robust ", robust[0], ", SNIPS ", snips, ", relative width ", width[0]);
  MESSAGE("conversions: IPS covers ", ips[1], ", doubly robust ", robust[1], ", relative width ", width[1]);
}

TEST_CASE("EM finds the simulator's examination where items were swapped at random") {
  const test::SimulatedLog s(options_of(20000, 1, 1));
  const std::vector<double> once(static_cast<std::size_t>(s.log.users), 1.0);
  const Examination found = ExaminationEstimator(s.log, "log").estimate(once), truth = test::power_law(kBias);
  REQUIRE(found.theta.size() == 30);
  for (std::int32_t r = 2; r <= 10; ++r) {
    CAPTURE(r);
    CHECK(found.at(r) / found.at(1) / truth.at(r) == Approx(1).epsilon(0.06));
  }
  double error = 0;
  for (std::int32_t r = 1; r <= 30; ++r) error += std::fabs(found.at(r) / truth.at(r) - 1) / 30;
  CHECK(error < 0.12);
}

TEST_CASE("EM refuses a log that cannot tell position from relevance") {
  const auto message_of = [](const ShownLog& log) -> std::string {
    try {
      const ExaminationEstimator estimator(log, "some.log");
      return "accepted";
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::data);
      return e.what();
    }
  };
  const test::SimulatedLog fixed(options_of(200, 1, 0));
  CHECK(message_of(fixed.log).find("some.log: position bias cannot be estimated: every item was shown where the first ranker put it") == 0);
  CHECK(message_of(two_lists()).find("some.log: position bias cannot be estimated: position 3 never changed its items") == 0);
}

TEST_CASE("a file of examinations comes back, and a wrong line is named") {
  const TemporaryFolder folder;
  write_examination(test::power_law(kBias), folder / "theta");
  const Examination read = read_examination(folder / "theta");
  REQUIRE(read.theta.size() == 30);
  CHECK(read.at(30) == Approx(test::power_law(kBias).at(30)));
  CHECK(read.at(99) == read.at(30));
  for (const std::string bad : {"1\n0.5\nx\n", "1\n0.5\n0\n", "1\n0.5\n1.5\n", "1\n0.5\n\n0.2\n"}) {
    CAPTURE(bad);
    AtomicFile file(folder / "bad");
    file.write(bad);
    file.commit();
    try {
      read_examination(folder / "bad");
      FAIL("expected an error");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::data);
      CHECK(std::string(e.what()).find("bad:3:1: expected a number above 0") != std::string::npos);
    }
  }
}
