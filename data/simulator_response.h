// How a simulated user answers to a list in whatever order it is shown (docs/simulator.md, sections 6 and 7). The simulator logs with it, and
// `piano abtest` asks it about orders that were never logged.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/random.h"

namespace piano::data {

struct TrueItem {
  double click = 0, convert = 0;       // P(click) in isolation: examined, without neighbours; P(conversion | click)
  std::int32_t artist = 0, genre = 0;  // what makes neighbours alike
};

struct ResponseDials {
  double eta = 0, position_bias = 0;   // as in SimulatorOptions
};

double examination(std::size_t place, double position_bias);  // P(the place is looked at); place >= 1

// The factor on P(click) of shown[i] that its neighbours leave.
double competition(std::span<const TrueItem> shown, std::size_t i, double eta);

struct Response {
  std::vector<std::uint8_t> click, conversion;  // (n), by place: 0/1, conversion <= click
};
// One draw. Replaces what `response` held.
void respond(std::span<const TrueItem> shown, const ResponseDials& dials, RandomStream& random, Response& response);

}  // namespace piano::data
