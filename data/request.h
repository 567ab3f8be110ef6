// One request, the shape that everything else is made from: a line of a log to learn from, a line to re-rank, a call from C++.
//
// Views only: strings and arrays belong to the caller and must outlive the call that takes the request. Only `candidates[].id` is required;
// docs/requests.md says what each missing thing means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace piano {

// A named categorical field with one value or several.
struct Field {
  std::string_view name;
  std::span<const std::string_view> values;
};

// A query is text (its terms are its words, lower-cased) or, where a log is anonymised, a list of term ids.
// Both empty: no query.
struct Query {
  std::string_view text;
  std::span<const std::string_view> terms;
};

// A past event of the user: what was searched for, and perhaps what was done to which item. Oldest first.
struct Event {
  std::optional<std::int64_t> time;     // seconds
  Query query;
  std::string_view item;                // empty: a query without an action
  std::string_view action;              // empty: missing
  std::span<const Field> fields;        // of the item
};

inline constexpr std::size_t kMostKinds = 8;  // of conversion, in a log or a model: each has heads of its own

// What is said of one kind of conversion ("save", "purchase").
struct KindLabel {
  std::string_view kind;
  bool happened = false;
};
struct KindValue {
  std::string_view kind;
  float value = 1;                      // what such a conversion is worth
};

struct Candidate {
  std::string_view id;
  std::optional<float> score;           // the first ranker's
  std::optional<float> value;           // what a conversion is worth, of whatever kind
  std::span<const Field> fields;
  std::span<const float> dense;         // empty: missing
  std::span<const float> vector;        // empty: that of the model's table of item vectors, or missing
  std::optional<bool> click, conversion;
  std::optional<std::int32_t> position; // shown at (1 = top); 0: not shown (null in JSON); absent: the order given
  std::span<const KindLabel> conversions = {};  // where there are several kinds, in place of `conversion`; a kind that is not named is not known
  std::span<const KindValue> values = {};       // of some kinds, before `value`
};

struct Request {
  std::string_view id;
  std::optional<std::int64_t> time;     // seconds
  std::string_view user;                // empty: missing
  std::span<const Field> user_fields;
  std::span<const float> user_dense;
  Query query;
  std::span<const Field> context;
  bool has_history = false;             // given explicitly (it may be empty); otherwise `prepare` derives it
  std::span<const Event> history;       // oldest first
  std::span<const Candidate> candidates;// in the first ranker's order: that order is the initial rank
  std::string_view target;              // the one item that a benchmark's own measure asks for; empty: none
};

}  // namespace piano
