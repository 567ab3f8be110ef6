// Heuristics from what training users did: item-item cosine, and pairs learned by heart. Nothing but the training part is read, and of a test
// request its user, its history and its candidates' ids; never its labels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "data/interactions.h"
#include "piano/evaluation.h"

namespace piano {

// What the training part says about users and items (data/interactions.h).
class TrainingInteractions {
 public:
  explicit TrainingInteractions(const data::Dataset& data);
  TrainingInteractions(const TrainingInteractions&) = delete;

  // CosineToPast of each candidate with the request's history, from all interactions of the training part.
  void cosine(std::int64_t request, std::vector<double>& scores);  // appends

  // How often the user clicked or converted the candidate in the lists of the training part; a request without a user is a user of its own.
  // Where people return to what they like that is fair. Where lists were rebuilt from a log without times it finds test labels among training
  // labels: then it is a leak detector, which should be no better than a random order.
  void memorised(std::int64_t request, std::vector<double>& scores) const;  // appends

 private:
  struct Labels {
    std::int32_t user, item, count;
  };
  std::int32_t user_of(std::int64_t request) const;  // -1: not in the training part

  const data::Dataset& data_;
  data::Interactions interactions_;
  std::vector<std::int32_t> user_rows_, item_rows_;  // raw ids to rows of the interactions
  std::vector<Labels> labels_;                       // by user, then item
  data::CosineToPast cosine_;
};

// "item-item cosine" (equal scores by initial rank) and "memorised pairs" (equal scores at random: see above), for lists made of these requests.
std::vector<Predictions> collaborative_heuristics(const data::Dataset& data, std::span<const std::int64_t> requests, const LabelledLists& lists);

}  // namespace piano
