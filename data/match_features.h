// Match features: what the user did to each candidate, and to its key fields, before. One piece of code for training, evaluation and serving,
// over the whole history, before it is cut to the most recent events. Most items are rare or new and no embedding can know them.
//
// Let A = schema.match_actions, F = schema.match_fields and D = schema.item_dense. A candidate's row has (|A| + 1) + 5 + |F| (|A| + 2) columns;
// from set 2 on (schema.match_set; files of version 1 have set 1, those of versions 2 and 3 sets 1 and 2) another 2, in set 3 another
// (|A| + 1) + 3 + 2 D:
//   item.<a>, item.other     log1p of the number of events with this item, by action; "other": any action not in A, or none
//   item.recency             1 / (1 + events with an item since the one that last touched this item); 0 if there was none
//   item.last                1 if it is the item touched last
//   item.same_query          1 if it was touched under the very query of the request
//   item.below_last, item.above_last   1 / places below, above the candidate of this list that was touched last; 0 on the other side of it, for
//                            itself, and when none was touched. People go on from where they were.
// and for each field f of F
//   <f>.<a>, <f>.other       log1p of the number of events whose item shares at least one value of f with this one, by action
//   <f>.recency              as item.recency, for such events
// and in set 2
//   item.cosine              how alike the item is to what the user had, by who had both in the training part (interactions.h)
//   item.cosine_in_list      the same in deviations from the mean of this list; 0 where all are equal
// and in set 3, where "the last" is the candidate of this list that was touched last
//   item.last_action.<a>, .other   1 for the action that last touched this item
//   item.time_recency        1 / (1 + log(1 + seconds since then)); 0 if there was none, or a time is missing
//   item.event_recency       1 / (1 + events of any kind since then); 0 if there was none
//   item.users               log1p of how many training users had the item, those of a quarter apart (Interactions::users_apart)
//   dense.<k>.from_last, .from_touched   the k-th number of the item (from 1, unscaled) minus that of the last, minus the mean over all
//                            candidates that were touched; 0 where numbers are missing
// Events without an item count for nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/feature_space.h"
#include "data/interactions.h"
#include "data/raw_columns.h"

namespace piano::data {

// Integers to small consecutive integers, in order of first appearance; open addressing. clear() keeps the memory.
class IntIndex {
 public:
  std::int32_t insert(std::int32_t key);
  std::int32_t find(std::int32_t key) const { return slots_.empty() ? -1 : slots_[slot_of(key)].value; }  // -1 when absent
  std::int32_t size() const { return size_; }
  void clear();
  void reserve(std::size_t keys);

 private:
  struct Slot {
    std::int32_t key, value;                  // value -1 = empty
  };
  std::size_t slot_of(std::int32_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = static_cast<std::size_t>((static_cast<std::uint32_t>(key) * std::uint64_t{0x9E3779B97F4A7C15}) >> 32) & mask;
    while (slots_[slot].value >= 0 && slots_[slot].key != key) slot = (slot + 1) & mask;
    return slot;
  }
  std::vector<Slot> slots_;
  std::int32_t size_ = 0;
};

// What the raw ids of a log are to the match features.
struct MatchMaps {
  std::vector<std::int32_t> action_slot;  // raw action -> 0 .. |A|, the last meaning "other"
  std::vector<std::int32_t> columns;      // one per field of F: which raw item field it is, -1 = none
  std::vector<std::int32_t> user, item;   // raw id -> row of the interactions, -1 = none
};

// The slot of an action among the match features: its place in `actions`, or actions.size() for any other.
std::int32_t match_action_slot(const std::vector<std::string>& actions, std::string_view action);

MatchMaps match_maps(const FeatureSpace& space, const RawStrings& strings);

class MatchFeatures {
 public:
  explicit MatchFeatures(const FeatureSpace& space);  // which must outlive it

  std::size_t width() const { return width_; }
  std::size_t columns() const { return 1 + fields_; }  // of matches(): 1 + |F|
  std::span<float> cosine_of(std::span<float> row) const { return row.subspan(first_set_, third_set_ - first_set_); }  // its columns of set 2; none in set 1

  // Features of all candidates of request r.
  // `recent`: how many of the last events matches() tells of.
  // ensures: `features` has got (n, width()) more numbers and `recency` n more, the item.recency column.
  void append(const RawColumns& log, std::int64_t r, const MatchMaps& maps, std::int64_t recent, bool cosine, std::vector<float>& features,
              std::vector<float>& recency);

  // What the request of the last append() has in common with the last `recent` events of its history. Ordered by column, then by event.
  struct Match {
    std::int64_t event;                // row of RawColumns' events
    std::int32_t candidate, column;    // place in the list; 0: the item itself, 1 + f: a value of field f of F
  };
  std::span<const Match> matches() const { return matches_; }

  // Makes room for a list of this size with so many recent events, and for cosines if they will be asked for.
  void reserve(std::int32_t candidates, std::int32_t values_per_field, std::int32_t recent, bool cosine);

 private:
  static constexpr std::size_t kItemFacts = 5;    // item.recency .. item.above_last
  static constexpr std::size_t kLatestFacts = 3;  // item.time_recency .. item.users
  // What is known of one candidate: first for its item, then for each field.
  struct Touch {
    std::int64_t last = -1;  // ordinal of the last event, among events with an item
    bool same_query = false;
    std::int64_t event = -1;   // of the item alone: its row, and the slot of its action
    std::size_t slot = 0;
  };
  void match_items(const RawColumns& log, std::int64_t r, std::span<const std::int32_t> action_slot);
  void match_field(std::int32_t column, const Bags& candidate_values, const Bags& event_values, const RawColumns& log, std::int64_t r,
                   std::span<const std::int32_t> action_slot);
  void start(std::size_t candidates);
  std::size_t latest() const;  // the candidate that was touched last; their number when none was
  void put_neighbours(std::span<float> features) const;
  void put_latest(const RawColumns& log, std::int64_t r, const MatchMaps& maps, std::span<float> features) const;
  // The two columns of the k-th number; `columns` begins at the first candidate's.
  void put_number(const DenseColumn& dense, std::int64_t begin, std::size_t k, std::size_t from, std::span<float> columns) const;
  void put(std::size_t column, std::int64_t ordinals, bool item, std::span<float> features) const;
  void put_cosine(const RawColumns& log, std::int64_t r, const MatchMaps& maps, std::span<float> features);

  std::size_t actions_, fields_, dense_;   // actions_: with "other"
  std::size_t first_set_, third_set_, width_;  // columns of set 1, of sets 1 and 2, and all of them
  std::vector<std::int32_t> counts_;       // (n, actions_)
  std::vector<Touch> touches_;             // (n)
  IntIndex index_;                         // raw item or raw value -> group of candidates that have it
  // Candidates of a group as a linked list: first_[group] -> (candidate, next) -> ... -> -1.
  struct Link {
    std::int32_t candidate, next;
  };
  std::vector<std::int32_t> first_;
  std::vector<Link> links_;
  std::vector<std::int64_t> counted_;      // (n) the last event that was counted for the candidate: shared values count once
  std::vector<Match> matches_;
  std::int64_t recent_begin_ = 0;          // the first event that matches() tells of
  const Interactions& interactions_;
  CosineToPast cosine_;
  std::vector<double> cosines_;            // (n)
};

}  // namespace piano::data
