// What the training part of a data set holds, by who and what things are and not by rows of a vocabulary: which of them got an embedding
// (`prepare --min-count`) must change neither a heuristic nor what counts as unseen.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace piano {

// "Seen": in a request of the training part, as its user, query or candidate, or in the history of one. Without a training part nothing is.
class TrainingPart {
 public:
  explicit TrainingPart(const data::Dataset& data);  // must outlive it

  bool unseen_user(std::int64_t request) const;   // no user at all is not an unseen one
  bool unseen_query(std::int64_t request) const;  // likewise
  bool unseen_item(std::int64_t candidate) const;
  double popularity(std::int64_t candidate) const;  // clicks + conversions of the item in the lists of the training part

 private:
  void count_lists();
  void count_histories();

  const data::Dataset& data_;
  std::vector<char> users_, queries_, items_;  // by raw id: seen
  std::vector<double> popularity_;             // by raw item
};

}  // namespace piano
