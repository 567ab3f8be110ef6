// A micro-batch as the model takes it: whole lists, rows back to back, ids of the model's own tables. No padding anywhere.
#pragma once

#include <cstdint>
#include <vector>

namespace piano::data {

// Bags of ids: row r holds ids[offsets[r]] .. ids[offsets[r+1]-1].
struct BagColumn {
  std::vector<std::int32_t> offsets{0};  // (rows + 1)
  std::vector<std::int32_t> ids;
};

// Queries, one row each: an id (kMissing when there is no query) and its terms.
struct QueryColumns {
  std::vector<std::int32_t> id;
  BagColumn terms;
};

// Items, one row each: an id and one bag per schema.item_fields. A field without a value is the bag {kMissing}.
struct ItemColumns {
  std::vector<std::int32_t> id;
  std::vector<BagColumn> fields;
};

// What candidates have in common with past events of their list, one row each (candidate, event, column), each at most once.
struct MatchColumns {
  std::vector<std::int32_t> offsets{0};       // (lists + 1): list l has the rows offsets[l] .. offsets[l+1]-1
  std::vector<std::int32_t> candidate, event; // rows of the batch
  std::vector<std::int32_t> column;           // 0: the item itself; 1 + f: a value of schema.match_fields[f]
};

struct Batch {
  std::int32_t lists = 0;
  std::int32_t kinds = 1;                     // of conversion: schema.kinds()

  // Per list (lists rows).
  std::vector<std::int64_t> request;          // index in the data set; -1 for a request from elsewhere
  std::vector<std::int32_t> user;             // row of the user table
  std::vector<BagColumn> user_fields, context_fields;
  std::vector<float> user_dense;              // (lists, schema.user_dense + 1 when > 0): scaled; the last column says "present"
  QueryColumns query;

  // Per past event: rows history_offsets[l] .. history_offsets[l+1]-1, oldest first, cut to the most recent max_history.
  std::vector<std::int32_t> history_offsets{0};
  QueryColumns history_query;
  ItemColumns history_item;
  std::vector<std::int32_t> history_action;   // row of the action table
  std::vector<std::int32_t> history_age;      // row of the age table: see age_bucket()
  std::vector<std::int32_t> history_vector_of; // row of the feature space's item vectors, or ItemVectors::kNone; empty when it has none
  std::vector<float> history_vector;          // (history rows, schema.item_vector + 1), as vector; empty when there are no item vectors
  MatchColumns history_match;

  // Per candidate: rows offsets[l] .. offsets[l+1]-1, in the first ranker's order.
  std::vector<std::int32_t> offsets{0};
  ItemColumns item;
  std::vector<float> dense;                   // (rows, schema.item_dense + 1 when > 0): scaled; the last column says "present"
  std::vector<float> vector;                  // (rows, schema.item_vector + 1 when > 0): raw; the last column says "present"
  std::vector<float> match;                   // (rows, match features): scaled
  std::vector<float> score;                   // (rows, 2 when schema.has_score): scaled score, present
  std::vector<std::int32_t> rank;             // initial rank, 0 = top
  std::vector<std::int32_t> position;         // shown at, from 1; 0: not shown
  std::vector<float> click;                   // 0 when absent
  std::vector<float> conversion;              // (rows, kinds): 0 when absent, kUnknownLabel where the log does not know the kind
  std::vector<float> labelled;                // 1: click and conversion are known and the item was shown; else 0
  std::vector<float> value;                   // (rows, kinds): what a conversion is worth; 1 when absent
  std::vector<float> recency;                 // 1 / (1 + events since the item was last touched), 0 if never: last-interacted-first

  std::int32_t rows() const { return offsets.back(); }
  std::int32_t history_rows() const { return history_offsets.back(); }
  void clear();                               // keeps the memory
};

// Logarithmic buckets of an age in seconds: 0 = unknown, 1 = under a minute, then one per factor of 2, up to kAgeBuckets - 1.
inline constexpr std::int32_t kAgeBuckets = 26;
std::int32_t age_bucket(std::int64_t seconds);
inline constexpr std::int32_t kAgeUnknown = 0;

// The largest extents that a micro-batch of a data set can have; what to reserve before the first step.
struct BatchExtent {
  std::int32_t lists = 0, rows = 0, history_rows = 0;
  std::int32_t terms_per_query = 0, values_per_field = 0;
};

}  // namespace piano::data
