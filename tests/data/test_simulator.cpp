#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "data/request_json.h"
#include "data/simulator.h"
#include "data/simulator_world.h"
#include "engine/base/error.h"
#include "engine/base/safetensors.h"
#include "tests/base/temporary_folder.h"

using namespace piano;
using namespace piano::data;

namespace {

SimulatorOptions small() {
  SimulatorOptions options;
  options.requests = 2000;
  return options;
}

std::string run(const SimulatorOptions& options, SimulatorOracle* oracle = nullptr) {
  std::string log;
  simulate(options, [&](std::string_view line) { log += line; }, oracle);
  return log;
}

template <class Visit>
void each_line(const std::string& log, Visit visit) {
  RequestParser parser;
  for (std::size_t begin = 0; begin < log.size();) {
    const std::size_t end = log.find('\n', begin);
    visit(parser.parse(std::string_view(log).substr(begin, end - begin)));
    begin = end + 1;
  }
}

}  // namespace

TEST_CASE("the committed dials") {
  const SimulatorOptions options;
  CHECK(options.kappa == 0.8);
  CHECK(options.eta == 0.5);
  CHECK(options.position_bias == 0.3);
  CHECK(options.swap == 0);
}

TEST_CASE("the same options give the same bytes, another seed does not") {
  SimulatorOptions options = small();
  options.requests = 200;
  const std::string log = run(options);
  CHECK(log == run(options));
  options.seed = 2;
  CHECK(log != run(options));
}

TEST_CASE("lines are valid, labelled synthetic, in time order, by the first ranker's score, and in step with the oracle") {
  SimulatorOracle oracle;
  const std::string log = run(small(), &oracle);
  std::size_t r = 0;
  std::int64_t time = 0;
  double clicks = 0, conversions = 0, expected_clicks = 0, expected_conversions = 0;
  bool ordered = true, in_step = true;
  each_line(log, [&](const Request& request) {
    ordered = ordered && *request.time > time && !request.has_history;
    time = *request.time;
    const std::string id = "synthetic-1-" + std::to_string(r);
    const auto begin = static_cast<std::size_t>(oracle.id_offsets[r]), end = static_cast<std::size_t>(oracle.id_offsets[r + 1]);
    in_step = in_step && request.id == id && std::equal(id.begin(), id.end(), oracle.ids.begin() + static_cast<long>(begin),
                                                        oracle.ids.begin() + static_cast<long>(end));
    in_step = in_step && static_cast<std::int64_t>(request.candidates.size()) == oracle.offsets[r + 1] - oracle.offsets[r];
    for (std::size_t i = 0; i < request.candidates.size(); ++i) {
      const Candidate& c = request.candidates[i];
      ordered = ordered && *c.conversion <= *c.click && (i == 0 || *c.score <= *request.candidates[i - 1].score);
      clicks += *c.click;
      conversions += *c.conversion;
    }
    ++r;
  });
  CHECK(r == 2000);
  CHECK(ordered);
  CHECK(in_step);
  bool consistent = true;
  for (std::size_t i = 0; i < oracle.click.size(); ++i) {
    consistent = consistent && oracle.click[i] > 0 && oracle.click[i] < 1 && oracle.conversion[i] < oracle.click[i] &&
                 oracle.click_shown[i] <= oracle.click[i] && oracle.conversion_shown[i] <= oracle.conversion[i];
    expected_clicks += static_cast<double>(oracle.click_shown[i]);
    expected_conversions += static_cast<double>(oracle.conversion_shown[i]);
  }
  CHECK(consistent);
  // Labels are draws of the oracle's chances; the depth of a list is one draw for all of it, hence the width.
  CHECK(std::abs(clicks - expected_clicks) < 0.06 * expected_clicks);
  CHECK(std::abs(conversions - expected_conversions) < 0.10 * expected_conversions);
}

TEST_CASE("two kinds of conversion: saves are what conversions are, follows are more of the same log") {
  SimulatorOptions options = small();
  const std::string plain = run(options);
  options.kinds = 2;
  std::vector<int> conversions, saves;
  double clicks = 0, follows = 0;
  each_line(plain, [&](const Request& request) {
    for (const Candidate& c : request.candidates) conversions.push_back(*c.conversion), clicks += *c.click;
  });
  each_line(run(options), [&](const Request& request) {
    for (const Candidate& c : request.candidates) {
      REQUIRE(c.conversions.size() == 2);
      CHECK(c.conversions[0].kind == "follow");
      CHECK(c.values[0].value == 3);
      saves.push_back(c.conversions[1].happened), follows += c.conversions[0].happened;
      if (c.conversions[0].happened) CHECK(*c.click);
    }
  });
  CHECK(conversions == saves);
  CHECK(follows > 0.05 * clicks);
  CHECK(follows < 0.3 * clicks);
  options.kinds = 3;
  CHECK_THROWS_AS(run(options), Error);
}

TEST_CASE("each dial turns its own effect and nothing else") {
  SimulatorOptions options = small();
  SimulatorOracle with, without;
  run(options, &with);
  options.eta = 0;
  options.position_bias = 0;
  run(options, &without);
  CHECK(with.click == without.click);              // in isolation nothing changes
  CHECK(without.click_shown == without.click);     // and as shown nothing is left of it
  CHECK(with.click_shown != with.click);

  // kappa 0: a user's taste is the same under every mood; 1: most cells differ; the catalogue stays.
  const auto differing = [](double kappa) {
    SimulatorOptions o = small();
    o.kappa = kappa;
    const World world(o);
    int cells = 0;
    for (const User& user : world.users)
      for (std::size_t m = 0; m < kMoods; ++m)
        for (std::size_t g = 0; g < kGenres; ++g) cells += user.taste[m][g] != user.taste[kNoMood][g] ? 1 : 0;
    return static_cast<double>(cells) / static_cast<double>(world.users.size() * kMoods * kGenres);
  };
  const double independent = 1 - (0.25 * 0.25 + 0.35 * 0.35 + 0.40 * 0.40);  // two independent draws of a cell differ
  CHECK(differing(0) == 0);
  CHECK(std::abs(differing(0.5) - 0.5 * independent) < 0.05);
  CHECK(std::abs(differing(1) - independent) < 0.05);
}

TEST_CASE("the oracle file says what it is") {
  TemporaryFolder folder;
  SimulatorOptions options = small();
  options.requests = 5;
  SimulatorOracle oracle;
  run(options, &oracle);
  write_oracle(options, oracle, folder / "oracle.safetensors");
  const SafetensorsFile file(folder / "oracle.safetensors");
  CHECK(check_format(file, "piano-oracle", 1) == 2);  // a reader of version 1 can read it
  CHECK(file.metadata().at("synthetic") == "true");
  const auto values = file.values<float>("p_conversion");
  CHECK(std::equal(values.begin(), values.end(), oracle.conversion.begin(), oracle.conversion.end()));
  CHECK(file.values<std::int64_t>("offsets").size() == 6);
}

TEST_CASE("dials out of range are refused") {
  SimulatorOptions options = small();
  options.kappa = 1.5;
  CHECK_THROWS_AS(run(options), Error);
  options = small();
  options.swap = -0.1;
  CHECK_THROWS_AS(run(options), Error);
  options = small();
  options.requests = 0;
  CHECK_THROWS_AS(run(options), Error);
}
