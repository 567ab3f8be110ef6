#include "piano/collaborative.h"

#include <algorithm>
#include <limits>
#include <span>
#include <tuple>
#include <utility>

#include "data/dataset_columns.h"

namespace piano {

// Users are numbered as in the log's dictionary; requests without one come after them.
std::int32_t TrainingInteractions::user_of(std::int64_t request) const {
  const data::RawColumns& log = data_.columns();
  const std::int32_t user = log.user[static_cast<std::size_t>(request)];
  return user >= 0 ? user : static_cast<std::int32_t>(data_.columns().strings.users.size() + request);
}

TrainingInteractions::TrainingInteractions(const data::Dataset& data)
    : data_(data), interactions_(data::Interactions::build(data.columns(), data.columns().strings, std::numeric_limits<std::int64_t>::max())),
      cosine_(interactions_) {
  const data::RawColumns& log = data.columns();
  const data::RawStrings& strings = data.columns().strings;
  for (std::int64_t u = 0; u < strings.users.size(); ++u) user_rows_.push_back(interactions_.user(strings.users[u]));
  for (std::int64_t i = 0; i < strings.items.size(); ++i) item_rows_.push_back(interactions_.item(strings.items[i]));
  std::vector<std::pair<std::int32_t, std::int32_t>> labels;  // user, item
  for (const std::int64_t request : data.requests(data::Split::train)) {
    for (std::int64_t c = data.candidate_begin(request); c < data.candidate_end(request); ++c) {
      const auto at = static_cast<std::size_t>(c);
      for (int times = log.click[at] + log.conversion[at]; times > 0; --times) labels.emplace_back(user_of(request), log.item[at]);
    }
  }
  std::sort(labels.begin(), labels.end());
  for (const auto& [user, item] : labels) {
    if (!labels_.empty() && labels_.back().user == user && labels_.back().item == item) ++labels_.back().count;
    else labels_.push_back({user, item, 1});
  }
}

void TrainingInteractions::cosine(std::int64_t request, std::vector<double>& scores) {
  const data::RawColumns& log = data_.columns();
  const auto r = static_cast<std::size_t>(request);
  cosine_.start(log.user[r] < 0 ? -1 : user_rows_[static_cast<std::size_t>(log.user[r])]);
  for (std::int64_t e = log.events[2 * r]; e < log.events[2 * r + 1]; ++e) {
    if (const std::int32_t item = log.event_item[static_cast<std::size_t>(e)]; item >= 0) cosine_.add(item_rows_[static_cast<std::size_t>(item)]);
  }
  for (std::int64_t c = data_.candidate_begin(request); c < data_.candidate_end(request); ++c)
    scores.push_back(cosine_(item_rows_[static_cast<std::size_t>(data_.raw_item(c))]));
}

void TrainingInteractions::memorised(std::int64_t request, std::vector<double>& scores) const {
  const std::int32_t user = user_of(request);
  for (std::int64_t c = data_.candidate_begin(request); c < data_.candidate_end(request); ++c) {
    const std::int32_t item = data_.raw_item(c);
    const auto at = std::lower_bound(labels_.begin(), labels_.end(), std::pair(user, item),
                                     [](const Labels& l, const auto& key) { return std::tie(l.user, l.item) < std::tie(key.first, key.second); });
    scores.push_back(at != labels_.end() && at->user == user && at->item == item ? at->count : 0.0);
  }
}

std::vector<Predictions> collaborative_heuristics(const data::Dataset& data, std::span<const std::int64_t> requests, const LabelledLists& lists) {
  TrainingInteractions training(data);
  std::vector<double> cosine, memorised;
  for (const std::int64_t request : requests) {
    training.cosine(request, cosine);
    training.memorised(request, memorised);
  }
  return {{"item-item cosine", break_ties_by_rank(lists, cosine), {}, {}, {}, {}}, {"memorised pairs", std::move(memorised), {}, {}, {}, {}}};
}

}  // namespace piano
