// A simulator's true probabilities (format "piano-oracle", docs/simulator.md), joined to lists by request id.
#pragma once

#include <string>
#include <vector>

#include "piano/evaluation.h"
#include "piano/experiment.h"

namespace piano::tools {

// P(click and convert) of each row of `lists`, examined and without neighbours. Throws ErrorCode::data for a request that the oracle does not
// know, or whose list has another length there; ErrorCode::model when the file is no oracle, or damaged.
std::vector<double> true_conversion(const std::string& path, const LabelledLists& lists);

// Whether the file says which items are alike, as simulated_truth() needs: since version 2.
bool knows_orders(const std::string& path);

// What the simulated users would answer to these lists in any order. Errors as above, and ErrorCode::model for a file of version 1.
SimulatedTruth simulated_truth(const std::string& path, const LabelledLists& lists);

}  // namespace piano::tools
