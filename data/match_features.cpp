#include "data/match_features.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

namespace piano::data {

namespace {

// Differences of what a float holds may be more than that.
float finite_float(double x) {
  constexpr double kMost = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(x, -kMost, kMost));
}

}  // namespace

std::vector<std::string> match_feature_names(const Schema& schema) {
  std::vector<std::string> names;
  const auto add_counts = [&](const std::string& what) {
    for (const std::string& action : schema.match_actions) names.push_back(what + "." + action);
    names.push_back(what + ".other");
    names.push_back(what + ".recency");
  };
  add_counts("item");
  names.push_back("item.last");
  names.push_back("item.same_query");
  names.push_back("item.below_last");
  names.push_back("item.above_last");
  for (const std::string& field : schema.match_fields) add_counts(field);
  if (schema.match_set < 2) return names;
  names.insert(names.end(), {"item.cosine", "item.cosine_in_list"});
  if (schema.match_set < 3) return names;
  for (const std::string& action : schema.match_actions) names.push_back("item.last_action." + action);
  names.insert(names.end(), {"item.last_action.other", "item.time_recency", "item.event_recency", "item.users"});
  for (std::int32_t k = 1; k <= schema.item_dense; ++k)
    for (const char* from : {"last", "touched"}) names.push_back("dense." + std::to_string(k) + ".from_" + from);
  return names;
}

namespace {

template <class Count>
float log1p_of(Count count) {
  return static_cast<float>(std::log1p(static_cast<double>(count)));
}

// Most counts are small: those are looked up.
const auto kLog1p = [] {
  std::array<float, 256> table{};
  for (std::size_t n = 0; n < table.size(); ++n) table[n] = log1p_of(n);
  return table;
}();

// -1: one of the times is not known. An event that is later than the request by a wrong clock is as one at the same time.
double seconds_between(std::int64_t event, std::int64_t request) {
  if (event == kNoTime || request == kNoTime) return -1;
  return std::max(0.0, static_cast<double>(request) - static_cast<double>(event));
}

}  // namespace

std::int32_t IntIndex::insert(std::int32_t key) {
  if (static_cast<std::size_t>(size_ + 1) * 2 > slots_.size()) {
    const std::vector<Slot> old = std::move(slots_);
    slots_.assign(std::max<std::size_t>(16, old.size() * 2), {0, -1});
    for (const Slot& s : old)
      if (s.value >= 0) slots_[slot_of(s.key)] = s;
  }
  Slot& slot = slots_[slot_of(key)];
  if (slot.value < 0) slot = {key, size_++};
  return slot.value;
}

void IntIndex::clear() {
  std::fill(slots_.begin(), slots_.end(), Slot{0, -1});
  size_ = 0;
}

void IntIndex::reserve(std::size_t keys) {
  const std::size_t wanted = std::bit_ceil(2 * keys + 16);
  if (slots_.size() < wanted) slots_.assign(wanted, {0, -1}), size_ = 0;
}

std::int32_t match_action_slot(const std::vector<std::string>& actions, std::string_view action) {
  return static_cast<std::int32_t>(std::find(actions.begin(), actions.end(), action) - actions.begin());
}

MatchMaps match_maps(const FeatureSpace& space, const RawStrings& strings) {
  MatchMaps maps;
  for (std::int64_t a = 0; a < strings.actions.size(); ++a)
    maps.action_slot.push_back(match_action_slot(space.schema.match_actions, strings.actions[a]));
  const std::vector<std::string>& names = strings.item_fields.names;
  for (const std::string& field : space.schema.match_fields) {
    const auto at = std::find(names.begin(), names.end(), field);
    maps.columns.push_back(at == names.end() ? -1 : static_cast<std::int32_t>(at - names.begin()));
  }
  for (std::int64_t u = 0; u < strings.users.size(); ++u) maps.user.push_back(space.interactions.user(strings.users[u]));
  for (std::int64_t i = 0; i < strings.items.size(); ++i) maps.item.push_back(space.interactions.item(strings.items[i]));
  return maps;
}

MatchFeatures::MatchFeatures(const FeatureSpace& space)
    : actions_(space.schema.match_actions.size() + 1), fields_(space.schema.match_fields.size()),
      dense_(static_cast<std::size_t>(space.schema.item_dense)),
      first_set_(actions_ + kItemFacts + fields_ * (actions_ + 1)), third_set_(first_set_ + (space.schema.match_set < 2 ? 0 : 2)),
      width_(third_set_ + (space.schema.match_set < 3 ? 0 : actions_ + kLatestFacts + 2 * dense_)),
      interactions_(space.interactions), cosine_(space.interactions) {}

void MatchFeatures::reserve(std::int32_t candidates, std::int32_t values_per_field, std::int32_t recent, bool cosine) {
  if (cosine) cosine_.start(-1);
  const auto n = static_cast<std::size_t>(candidates), values = n * static_cast<std::size_t>(std::max(1, values_per_field));
  counts_.reserve(n * actions_);
  touches_.reserve(n);
  counted_.reserve(n);
  index_.reserve(values);
  first_.reserve(values);
  links_.reserve(values);
  cosines_.reserve(n);
  matches_.reserve(n * static_cast<std::size_t>(recent) * columns());
}

void MatchFeatures::append(const RawColumns& log, std::int64_t r, const MatchMaps& maps, std::int64_t recent, bool cosine, std::vector<float>& features,
                           std::vector<float>& recency) {
  const auto at = static_cast<std::size_t>(r);
  const auto n = static_cast<std::size_t>(log.candidates[at + 1] - log.candidates[at]);
  std::int64_t ordinals = 0;
  for (std::int64_t e = log.events[2 * at]; e < log.events[2 * at + 1]; ++e) ordinals += log.event_item[static_cast<std::size_t>(e)] >= 0;

  const std::size_t begin = features.size();
  features.resize(begin + n * width_);
  const std::span<float> rows = std::span(features).subspan(begin);  // (n, width)

  matches_.clear();
  recent_begin_ = log.events[2 * at + 1] - recent;
  start(n);
  match_items(log, r, maps.action_slot);
  put(0, ordinals, true, rows);
  put_neighbours(rows);
  if (width_ > third_set_) put_latest(log, r, maps, rows);
  for (std::size_t i = 0; i < n; ++i) recency.push_back(rows[i * width_ + actions_]);
  if (cosine && third_set_ > first_set_) put_cosine(log, r, maps, rows);

  for (std::size_t f = 0; f < fields_; ++f) {
    start(n);
    if (maps.columns[f] >= 0) {
      const auto column = static_cast<std::size_t>(maps.columns[f]);
      match_field(static_cast<std::int32_t>(1 + f), log.item_fields[column], log.event_fields[column], log, r, maps.action_slot);
    }
    put(actions_ + kItemFacts + f * (actions_ + 1), ordinals, false, rows);
  }
}

void MatchFeatures::start(std::size_t candidates) {
  counts_.assign(candidates * actions_, 0);
  touches_.assign(candidates, {});
  index_.clear();
}

void MatchFeatures::match_items(const RawColumns& log, std::int64_t r, std::span<const std::int32_t> action_slot) {
  const auto at = static_cast<std::size_t>(r);
  // No item is twice in a list: the index of a candidate is its place in the list.
  for (std::int64_t c = log.candidates[at]; c < log.candidates[at + 1]; ++c) index_.insert(log.item[static_cast<std::size_t>(c)]);
  std::int64_t ordinal = -1;
  for (std::int64_t event = log.events[2 * at]; event < log.events[2 * at + 1]; ++event) {
    const auto e = static_cast<std::size_t>(event);
    if (log.event_item[e] < 0) continue;
    ++ordinal;
    const std::int32_t candidate = index_.find(log.event_item[e]);
    if (candidate < 0) continue;
    const auto i = static_cast<std::size_t>(candidate);
    const std::int32_t action = log.event_action[e];
    const auto slot = action < 0 ? actions_ - 1 : static_cast<std::size_t>(action_slot[static_cast<std::size_t>(action)]);
    ++counts_[i * actions_ + slot];
    touches_[i].last = ordinal;
    touches_[i].event = event;
    touches_[i].slot = slot;
    if (event >= recent_begin_) matches_.push_back({event, candidate, 0});
    touches_[i].same_query = touches_[i].same_query || (log.query[at] >= 0 && log.event_query[e] == log.query[at]);
  }
}

void MatchFeatures::match_field(std::int32_t column, const Bags& candidate_values, const Bags& event_values, const RawColumns& log,
                                std::int64_t r, std::span<const std::int32_t> action_slot) {
  const auto at = static_cast<std::size_t>(r);
  first_.clear();
  links_.clear();
  const std::int64_t begin = log.candidates[at], end = log.candidates[at + 1];
  for (std::int64_t c = begin; c < end; ++c) {
    for (const std::int32_t value : candidate_values[c]) {
      const auto group = static_cast<std::size_t>(index_.insert(value));
      if (group == first_.size()) first_.push_back(-1);
      links_.push_back({static_cast<std::int32_t>(c - begin), first_[group]});
      first_[group] = static_cast<std::int32_t>(links_.size()) - 1;
    }
  }
  counted_.assign(static_cast<std::size_t>(end - begin), -1);
  std::int64_t ordinal = -1;
  for (std::int64_t event = log.events[2 * at]; event < log.events[2 * at + 1]; ++event) {
    const auto e = static_cast<std::size_t>(event);
    if (log.event_item[e] < 0) continue;
    ++ordinal;
    const std::int32_t action = log.event_action[e];
    const std::size_t slot = action < 0 ? actions_ - 1 : static_cast<std::size_t>(action_slot[static_cast<std::size_t>(action)]);
    for (const std::int32_t value : event_values[event]) {
      const std::int32_t group = index_.find(value);
      if (group < 0) continue;
      for (std::int32_t l = first_[static_cast<std::size_t>(group)]; l >= 0; l = links_[static_cast<std::size_t>(l)].next) {
        const auto i = static_cast<std::size_t>(links_[static_cast<std::size_t>(l)].candidate);
        if (counted_[i] == ordinal) continue;
        counted_[i] = ordinal;
        ++counts_[i * actions_ + slot];
        touches_[i].last = ordinal;
        if (event >= recent_begin_) matches_.push_back({event, static_cast<std::int32_t>(i), column});
      }
    }
  }
}

void MatchFeatures::put(std::size_t column, std::int64_t ordinals, bool item, std::span<float> features) const {
  for (std::size_t i = 0; i < touches_.size(); ++i) {
    float* out = features.data() + i * width_ + column;
    for (std::size_t a = 0; a < actions_; ++a) {
      const std::int32_t count = counts_[i * actions_ + a];
      out[a] = static_cast<std::size_t>(count) < kLog1p.size() ? kLog1p[static_cast<std::size_t>(count)] : log1p_of(count);
    }
    const std::int64_t last = touches_[i].last;
    out[actions_] = last < 0 ? 0.0f : static_cast<float>(1.0 / static_cast<double>(ordinals - last));  // 1 + (ordinals - 1 - last)
    if (!item) continue;
    out[actions_ + 1] = last >= 0 && last == ordinals - 1 ? 1.0f : 0.0f;
    out[actions_ + 2] = touches_[i].same_query ? 1.0f : 0.0f;
  }
}

std::size_t MatchFeatures::latest() const {
  const auto at = std::max_element(touches_.begin(), touches_.end(), [](const Touch& a, const Touch& b) { return a.last < b.last; });
  return at == touches_.end() || at->last < 0 ? touches_.size() : static_cast<std::size_t>(at - touches_.begin());
}

void MatchFeatures::put_neighbours(std::span<float> features) const {
  const std::size_t from = latest();
  if (from == touches_.size()) return;  // the columns are 0
  for (std::size_t i = 0; i < touches_.size(); ++i) {
    float* out = features.data() + i * width_ + actions_ + 3;
    if (i > from) out[0] = static_cast<float>(1.0 / static_cast<double>(i - from));
    if (i < from) out[1] = static_cast<float>(1.0 / static_cast<double>(from - i));
  }
}

void MatchFeatures::put_latest(const RawColumns& log, std::int64_t r, const MatchMaps& maps, std::span<float> features) const {
  const auto at = static_cast<std::size_t>(r);
  const std::size_t from = latest(), n = touches_.size();
  const std::int32_t asker = log.user[at] < 0 ? -1 : maps.user[static_cast<std::size_t>(log.user[at])];
  const std::int64_t begin = log.candidates[at], end = log.events[2 * at + 1];
  for (std::size_t i = 0; i < n; ++i) {
    float* out = features.data() + i * width_ + third_set_;
    if (const Touch& touch = touches_[i]; touch.last >= 0) {
      out[touch.slot] = 1.0f;
      if (const double seconds = seconds_between(log.event_time[static_cast<std::size_t>(touch.event)], log.time[at]); seconds >= 0)
        out[actions_] = static_cast<float>(1 / (1 + std::log1p(seconds)));
      out[actions_ + 1] = static_cast<float>(1 / static_cast<double>(end - touch.event));
    }
    const std::int32_t item = maps.item[static_cast<std::size_t>(log.item[static_cast<std::size_t>(begin) + i])];
    out[actions_ + 2] = static_cast<float>(std::log1p(interactions_.users_apart(item, asker)));
  }
  if (from == n || static_cast<std::size_t>(log.dense.width) != dense_) return;
  for (std::size_t k = 0; k < dense_; ++k) put_number(log.dense, begin, k, from, features.subspan(third_set_ + actions_ + kLatestFacts + 2 * k));
}

void MatchFeatures::put_number(const DenseColumn& dense, std::int64_t begin, std::size_t k, std::size_t from, std::span<float> columns) const {
  const auto has = [&](std::size_t i) { return dense.has(begin + static_cast<std::int64_t>(i)); };
  const auto number = [&](std::size_t i) { return double{dense[begin + static_cast<std::int64_t>(i)][k]}; };
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < touches_.size(); ++i)
    if (touches_[i].last >= 0 && has(i)) sum += number(i), count += 1;
  for (std::size_t i = 0; i < touches_.size(); ++i) {
    if (!has(i)) continue;
    float* out = columns.data() + i * width_;
    if (has(from)) out[0] = finite_float(number(i) - number(from));
    if (count > 0) out[1] = finite_float(number(i) - sum / count);
  }
}

void MatchFeatures::put_cosine(const RawColumns& log, std::int64_t r, const MatchMaps& maps, std::span<float> features) {
  const auto at = static_cast<std::size_t>(r);
  cosine_.start(log.user[at] < 0 ? -1 : maps.user[static_cast<std::size_t>(log.user[at])]);
  for (std::int64_t e = log.events[2 * at]; e < log.events[2 * at + 1]; ++e)
    if (const std::int32_t item = log.event_item[static_cast<std::size_t>(e)]; item >= 0) cosine_.add(maps.item[static_cast<std::size_t>(item)]);
  cosines_.clear();
  for (std::int64_t c = log.candidates[at]; c < log.candidates[at + 1]; ++c)
    cosines_.push_back(cosine_(maps.item[static_cast<std::size_t>(log.item[static_cast<std::size_t>(c)])]));

  double mean = 0, square = 0;
  const auto n = static_cast<double>(cosines_.size());
  for (const double x : cosines_) mean += x / n;
  for (const double x : cosines_) square += (x - mean) * (x - mean) / n;
  const bool equal = square <= 1e-12 * mean * mean;
  for (std::size_t i = 0; i < cosines_.size(); ++i) {
    float* out = features.data() + i * width_ + first_set_;
    out[0] = static_cast<float>(cosines_[i]);
    out[1] = equal ? 0.0f : static_cast<float>((cosines_[i] - mean) / std::sqrt(square));
  }
}

}  // namespace piano::data
