// What a whole order of a list is worth in a simulator's world, exactly: the truth that a log does not know (docs/simulator.md, sections 6 and 7).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/simulator_response.h"

namespace piano {

// A simulator's world: what the list would have been answered in any order.
struct SimulatedTruth {
  std::vector<data::TrueItem> item;  // (rows)
  data::ResponseDials dials;
};

struct TrueValue {
  double clicks = 0, conversions = 0;          // expected numbers
  double any_click = 0, any_conversion = 0;    // chances of at least one. A list is read to a depth, so its places are not independent
};
TrueValue true_value(std::span<const data::TrueItem> shown, const data::ResponseDials& dials);

// The order of most expected conversions that a search finds: from the order by P(click and convert) in isolation, any two places are exchanged
// as long as it helps. Without effects between neighbours (eta = 0) that is the order it starts from; with them no exchange of two improves it,
// which does not prove it the best. Scores to sort by, (rows). List l is rows offsets[l] .. offsets[l+1]-1.
std::vector<double> best_order(const SimulatedTruth& truth, std::span<const std::int64_t> offsets);

}  // namespace piano
