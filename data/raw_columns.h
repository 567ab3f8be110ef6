// The columns of a log as spans: what the packed file holds, what the writer joins, and, for one request, what serving fills.
//
// "Raw ids" index the dictionaries of the log (or of the request); -1 = missing. They say who is who and are no embedding rows.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace piano::data {

inline constexpr std::int64_t kNoTime = std::numeric_limits<std::int64_t>::min();

// Text i is bytes offsets[i] .. offsets[i+1]-1.
struct StringTable {
  std::span<const std::uint8_t> text;
  std::span<const std::int64_t> offsets;  // (size + 1)

  std::int64_t size() const { return offsets.empty() ? 0 : static_cast<std::int64_t>(offsets.size()) - 1; }
  std::string_view operator[](std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    return {reinterpret_cast<const char*>(text.data()) + offsets[at], static_cast<std::size_t>(offsets[at + 1] - offsets[at])};
  }
};

// Row r is ids[offsets[r]] .. ids[offsets[r+1]-1]; it may be empty. No offsets at all: every row is empty.
struct Bags {
  std::span<const std::int64_t> offsets;  // (rows + 1)
  std::span<const std::int32_t> ids;

  std::span<const std::int32_t> operator[](std::int64_t row) const {
    if (offsets.empty()) return {};
    const auto r = static_cast<std::size_t>(row);
    return ids.subspan(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(offsets[r + 1] - offsets[r]));
  }
};

// An optional column of `width` numbers a row; width 0: no row has it.
struct DenseColumn {
  std::int32_t width = 0;
  std::span<const float> values;          // (rows, width), zeros where missing
  std::span<const std::uint8_t> present;  // (rows)

  bool has(std::int64_t row) const { return width > 0 && present[static_cast<std::size_t>(row)] != 0; }
  std::span<const float> operator[](std::int64_t row) const {
    const auto w = static_cast<std::size_t>(width);
    return values.subspan(static_cast<std::size_t>(row) * w, w);
  }
};

struct RawColumns {
  Bags query_terms;  // (distinct queries)

  // Per request.
  std::span<const std::int64_t> time;        // kNoTime = missing
  std::span<const std::int32_t> user, query;
  std::span<const std::int32_t> target;      // index within the list, or -1
  std::span<const std::uint8_t> split;
  std::span<const std::int64_t> candidates;  // (requests + 1)
  std::span<const std::int64_t> events;      // (requests, 2): begin and end in the event table
  std::vector<Bags> user_fields, context_fields;
  DenseColumn user_dense;

  // Per candidate.
  std::span<const std::int32_t> item;
  std::vector<Bags> item_fields;
  DenseColumn dense, vector, score, value;   // score and value have width 1
  std::span<const std::uint8_t> click, conversion, labelled;  // conversion: of any kind
  std::vector<std::span<const std::uint8_t>> conversions;     // of each kind that has a name: 0, 1 or kUnknownLabel
  std::vector<DenseColumn> values;           // of each kind, before `value`
  std::span<const std::int32_t> position;    // shown at, 1 = top; 0 = not shown

  // Per event.
  std::span<const std::int64_t> event_time;
  std::span<const std::int32_t> event_query, event_item, event_action;
  std::vector<Bags> event_fields;            // same fields as item_fields

  std::int64_t requests() const { return static_cast<std::int64_t>(user.size()); }
};

// One kind of categorical fields: names sorted, a dictionary of values each.
struct FieldStrings {
  std::vector<std::string> names;
  std::vector<StringTable> values;
};

struct RawStrings {
  StringTable request_ids;
  StringTable users, queries, terms, items, actions;
  FieldStrings user_fields, context_fields, item_fields;
  std::vector<std::string> kinds;            // of conversion, sorted; none: conversions have no names
};

}  // namespace piano::data
