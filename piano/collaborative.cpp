#include "piano/collaborative.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <tuple>
#include <utility>

#include "data/dataset_columns.h"

namespace piano {
namespace {

using Pair = std::pair<std::int32_t, std::int32_t>;

// Sorted pairs (key, value) as rows: those of key k are values[begin[k]] .. values[begin[k + 1] - 1].
void to_rows(const std::vector<Pair>& pairs, std::size_t keys, std::vector<std::int64_t>& begin, std::vector<std::int32_t>& values) {
  begin.assign(keys + 1, 0);
  for (const Pair& p : pairs) ++begin[static_cast<std::size_t>(p.first) + 1], values.push_back(p.second);
  for (std::size_t k = 0; k < keys; ++k) begin[k + 1] += begin[k];
}

std::span<const std::int32_t> row(const std::vector<std::int64_t>& begin, const std::vector<std::int32_t>& values, std::int32_t key) {
  const auto k = static_cast<std::size_t>(key);
  return std::span(values).subspan(static_cast<std::size_t>(begin[k]), static_cast<std::size_t>(begin[k + 1] - begin[k]));
}

void distinct(std::vector<Pair>& pairs) {
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
}

// Distinct items of a request's history.
std::vector<std::int32_t> past_items(const data::RawColumns& log, std::int64_t request) {
  const auto r = static_cast<std::size_t>(request);
  std::vector<std::int32_t> items;
  for (std::int64_t e = log.events[2 * r]; e < log.events[2 * r + 1]; ++e) {
    const std::int32_t item = log.event_item[static_cast<std::size_t>(e)];
    if (item >= 0) items.push_back(item);
  }
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  return items;
}

}  // namespace

// Users are numbered as in the log's dictionary; requests without one come after them.
std::int32_t TrainingInteractions::user_of(std::int64_t request) const {
  const data::RawColumns& log = data_.columns();
  const std::int32_t user = log.user[static_cast<std::size_t>(request)];
  return user >= 0 ? user : static_cast<std::int32_t>(data_.columns().strings.users.size() + request);
}

TrainingInteractions::TrainingInteractions(const data::Dataset& data) : data_(data) {
  const data::RawColumns& log = data.columns();
  std::vector<Pair> pairs, labels;  // user, item
  std::vector<std::pair<std::int64_t, std::int64_t>> histories;
  for (const std::int64_t request : data.requests(data::Split::train)) {
    const std::int32_t user = user_of(request);
    for (std::int64_t c = data.candidate_begin(request); c < data.candidate_end(request); ++c) {
      const auto at = static_cast<std::size_t>(c);
      for (int times = log.click[at] + log.conversion[at]; times > 0; --times) labels.emplace_back(user, log.item[at]);
    }
    for (const std::int32_t item : past_items(log, request)) pairs.emplace_back(user, item);
  }
  std::sort(labels.begin(), labels.end());
  for (const auto& [user, item] : labels) {
    if (!labels_.empty() && labels_.back().user == user && labels_.back().item == item) ++labels_.back().count;
    else labels_.push_back({user, item, 1});
  }
  pairs.insert(pairs.end(), labels.begin(), labels.end());
  distinct(pairs);
  to_rows(pairs, static_cast<std::size_t>(data.columns().strings.users.size() + data.size()), user_begin_, items_of_);
  for (Pair& p : pairs) std::swap(p.first, p.second);
  std::sort(pairs.begin(), pairs.end());
  to_rows(pairs, static_cast<std::size_t>(data.raw_items()), item_begin_, users_of_);
}

// The sum factorises over users v: 1 / sqrt(|U_i|) * sum over v in U_i of w_v, w_v = sum over v's items j of the history of 1 / sqrt(|U_j|).
void TrainingInteractions::cosine(std::int64_t request, std::vector<double>& scores) const {
  const data::RawColumns& log = data_.columns();
  const std::int32_t self = user_of(request);
  const auto others = [&](std::int32_t item) {  // how many other users had it
    const auto users = row(item_begin_, users_of_, item);
    return static_cast<double>(users.size()) - (std::binary_search(users.begin(), users.end(), self) ? 1.0 : 0.0);
  };
  std::vector<std::pair<std::int32_t, double>> weights;  // user, w
  for (const std::int32_t item : past_items(log, request)) {
    const double n = others(item);
    for (const std::int32_t user : row(item_begin_, users_of_, item)) {
      if (user != self) weights.emplace_back(user, 1 / std::sqrt(n));
    }
  }
  std::stable_sort(weights.begin(), weights.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::size_t kept = 0;
  for (const auto& [user, w] : weights) {
    if (kept > 0 && weights[kept - 1].first == user) weights[kept - 1].second += w;
    else weights[kept++] = {user, w};
  }
  weights.resize(kept);
  for (std::int64_t c = data_.candidate_begin(request); c < data_.candidate_end(request); ++c) {
    const std::int32_t item = log.item[static_cast<std::size_t>(c)];
    double sum = 0;
    for (const std::int32_t user : row(item_begin_, users_of_, item)) {  // both ascending
      const auto at = std::lower_bound(weights.begin(), weights.end(), user, [](const auto& w, std::int32_t u) { return w.first < u; });
      if (at != weights.end() && at->first == user) sum += at->second;
    }
    scores.push_back(sum > 0 ? sum / std::sqrt(others(item)) : 0.0);
  }
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
  const TrainingInteractions training(data);
  std::vector<double> cosine, memorised;
  for (const std::int64_t request : requests) {
    training.cosine(request, cosine);
    training.memorised(request, memorised);
  }
  return {{"item-item cosine", break_ties_by_rank(lists, cosine), {}, {}, {}, {}}, {"memorised pairs", std::move(memorised), {}, {}, {}, {}}};
}

}  // namespace piano
