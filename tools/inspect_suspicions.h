// What in a log knows the answers: an order or a feature that no first ranker could have.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace piano::tools {

// Adds to the section "rates", and the section "click_auc_of_one_feature_alone": the AUC of click for the strongest of: the place in the list, score, value, each number of dense and
// vector, whether there are any, and each item field (by the click rates of its values in the training part, measured on the rest).
// Warns where one of them is near 1 for clicks, or for conversions among the clicked, and where lists begin with what was clicked far more
// often than by chance. Memory: 16 bytes a candidate, of every k-th request so that they are 2^18 candidates at most.
void inspect_suspicions(const data::Dataset& dataset, nlohmann::ordered_json& out, std::vector<std::string>& warnings);

}  // namespace piano::tools
