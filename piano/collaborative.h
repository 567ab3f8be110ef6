// Heuristics from what training users did: item-item cosine, and pairs learned by heart. Nothing but the training part is read, and of a test
// request its user, its history and its candidates' ids; never its labels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "piano/evaluation.h"

namespace piano {

// What the training part says about users and items. An interaction is a candidate clicked or converted in a training request, or an item in a
// training request's history. A request without a user is a user of its own.
class TrainingInteractions {
 public:
  explicit TrainingInteractions(const data::Dataset& data);

  // sum over the distinct items j of the request's history of cos(i, j) = |U_i and U_j| / sqrt(|U_i| |U_j|), for each candidate i; U_i: the
  // training users of i, without the request's own user (Sarwar et al., WWW 2001; binary). An item is like itself: cos(i, i) = 1.
  void cosine(std::int64_t request, std::vector<double>& scores) const;  // appends

  // How often the user clicked or converted the candidate in the lists of the training part. Where people return to what they like that is
  // fair; where lists were rebuilt from a log without times it finds test labels among training labels: then it is a leak detector, which
  // should be no better than a random order.
  void memorised(std::int64_t request, std::vector<double>& scores) const;  // appends

 private:
  struct Labels {
    std::int32_t user, item, count;
  };
  std::int32_t user_of(std::int64_t request) const;  // -1: not in the training part

  const data::Dataset& data_;
  std::vector<std::int64_t> user_begin_, item_begin_;  // (users + 1), (items + 1)
  std::vector<std::int32_t> items_of_, users_of_;      // of user u: items_of_[user_begin_[u]] .., ascending; of item i: users_of_[..]
  std::vector<Labels> labels_;                         // by user, then item
};

// "item-item cosine" (equal scores by initial rank) and "memorised pairs" (equal scores at random: see above), for lists made of these requests.
std::vector<Predictions> collaborative_heuristics(const data::Dataset& data, std::span<const std::int64_t> requests, const LabelledLists& lists);

}  // namespace piano
