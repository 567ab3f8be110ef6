#include "piano/training_part.h"

#include <algorithm>
#include <utility>

#include "data/dataset_columns.h"

namespace piano {
namespace {

void mark(std::vector<char>& seen, std::int32_t raw) {
  if (raw >= 0) seen[static_cast<std::size_t>(raw)] = 1;
}

bool is_unseen(const std::vector<char>& seen, std::int32_t raw) { return raw >= 0 && seen[static_cast<std::size_t>(raw)] == 0; }

}  // namespace

TrainingPart::TrainingPart(const data::Dataset& data) : data_(data) {
  const data::RawStrings& strings = data.columns().strings;
  users_.resize(static_cast<std::size_t>(strings.users.size()));
  queries_.resize(static_cast<std::size_t>(strings.queries.size()));
  items_.resize(static_cast<std::size_t>(strings.items.size()));
  popularity_.resize(items_.size());
  count_lists();
  count_histories();
}

void TrainingPart::count_lists() {
  const data::RawColumns& log = data_.columns();
  for (const std::int64_t request : data_.requests(data::Split::train)) {
    mark(users_, log.user[static_cast<std::size_t>(request)]);
    mark(queries_, log.query[static_cast<std::size_t>(request)]);
    for (std::int64_t c = data_.candidate_begin(request); c < data_.candidate_end(request); ++c) {
      const auto at = static_cast<std::size_t>(c);
      mark(items_, log.item[at]);
      if (log.labelled[at] != 0) popularity_[static_cast<std::size_t>(log.item[at])] += log.click[at] + log.conversion[at];
    }
  }
}

// Histories of a user overlap: each event is looked at once.
void TrainingPart::count_histories() {
  const data::RawColumns& log = data_.columns();
  std::vector<std::pair<std::int64_t, std::int64_t>> histories;  // begin and end in the event table
  for (const std::int64_t request : data_.requests(data::Split::train)) {
    const auto r = static_cast<std::size_t>(request);
    histories.emplace_back(log.events[2 * r], log.events[2 * r + 1]);
  }
  std::sort(histories.begin(), histories.end());
  std::int64_t looked_at = 0;
  for (const auto& [begin, end] : histories) {
    for (std::int64_t e = std::max(begin, looked_at); e < end; ++e) {
      mark(queries_, log.event_query[static_cast<std::size_t>(e)]);
      mark(items_, log.event_item[static_cast<std::size_t>(e)]);
    }
    looked_at = std::max(looked_at, end);
  }
}

bool TrainingPart::unseen_user(std::int64_t request) const { return is_unseen(users_, data_.columns().user[static_cast<std::size_t>(request)]); }
bool TrainingPart::unseen_query(std::int64_t request) const { return is_unseen(queries_, data_.columns().query[static_cast<std::size_t>(request)]); }
bool TrainingPart::unseen_item(std::int64_t candidate) const { return is_unseen(items_, data_.raw_item(candidate)); }
double TrainingPart::popularity(std::int64_t candidate) const { return popularity_[static_cast<std::size_t>(data_.raw_item(candidate))]; }

}  // namespace piano
