// A simulated log, and the truth behind it, without a packed file in between.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "data/request_json.h"
#include "data/simulator.h"
#include "piano/examination.h"
#include "piano/experiment.h"

namespace piano::test {

struct SimulatedLog {
  ShownLog log;
  SimulatedTruth truth;
  data::SimulatorOracle oracle;
  std::vector<double> true_conversion, initial;  // (rows): scores to sort by
  std::vector<Outcome> outcome;                  // (lists): as logged

  explicit SimulatedLog(const data::SimulatorOptions& options) {
    std::map<std::string, std::int32_t, std::less<>> users, items;
    const auto number = [](auto& known, std::string_view name) {
      return known.emplace(std::string(name), static_cast<std::int32_t>(known.size())).first->second;
    };
    data::RequestParser parser;
    data::simulate(options, [&](std::string_view line) {
      const Request& request = parser.parse(line);
      log.user.push_back(number(users, request.user));
      std::int32_t rank = 0;
      Outcome sum;
      for (const Candidate& c : request.candidates) {
        log.rank.push_back(++rank);
        log.position.push_back(c.position.value_or(rank));
        log.item.push_back(number(items, c.id));
        log.click.push_back(*c.click);
        log.conversion.push_back(*c.conversion);
        initial.push_back(-rank);
        ++sum.items, sum.clicks += *c.click, sum.conversions += *c.conversion;
      }
      outcome.push_back(sum);
      log.offsets.push_back(static_cast<std::int64_t>(log.rank.size()));
    }, &oracle);
    log.users = static_cast<std::int32_t>(users.size());
    log.items = static_cast<std::int32_t>(items.size());
    truth.dials = {options.eta, options.position_bias};
    for (std::size_t row = 0; row < oracle.click.size(); ++row) {
      const auto click = static_cast<double>(oracle.click[row]), both = static_cast<double>(oracle.conversion[row]);
      truth.item.push_back({click, both / click, oracle.artist[row], oracle.genre[row]});
      true_conversion.push_back(both);
    }
  }
};

// theta of the simulator.
inline Examination power_law(double bias, std::size_t positions = 30) {
  Examination examination;
  for (std::size_t r = 1; r <= positions; ++r) examination.theta.push_back(data::examination(r, bias));
  return examination;
}

}  // namespace piano::test
