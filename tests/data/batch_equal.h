// Are two batches the same, bit for bit? Names the first column that differs.
#pragma once

#include <cstring>
#include <string>

#include "data/batch.h"

namespace piano::data::test {

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
inline bool same_bits(const BagColumn& a, const BagColumn& b) { return same_bits(a.offsets, b.offsets) && same_bits(a.ids, b.ids); }
inline bool same_bits(const std::vector<BagColumn>& a, const std::vector<BagColumn>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = same_bits(a[i], b[i]);
  return same;
}
inline bool same_bits(const QueryColumns& a, const QueryColumns& b) { return same_bits(a.id, b.id) && same_bits(a.terms, b.terms); }
inline bool same_bits(const ItemColumns& a, const ItemColumns& b) { return same_bits(a.id, b.id) && same_bits(a.fields, b.fields); }

// "" when all columns but `request` are equal: the same list from a file and from outside has another index.
inline std::string difference(const Batch& a, const Batch& b) {
  if (a.lists != b.lists) return "lists";
#define PIANO_COMPARE(column) \
  if (!same_bits(a.column, b.column)) return #column
  PIANO_COMPARE(user);
  PIANO_COMPARE(user_fields);
  PIANO_COMPARE(context_fields);
  PIANO_COMPARE(user_dense);
  PIANO_COMPARE(query);
  PIANO_COMPARE(history_offsets);
  PIANO_COMPARE(history_query);
  PIANO_COMPARE(history_item);
  PIANO_COMPARE(history_action);
  PIANO_COMPARE(history_age);
  PIANO_COMPARE(history_vector_of);
  PIANO_COMPARE(history_vector);
  PIANO_COMPARE(history_match.offsets);
  PIANO_COMPARE(history_match.candidate);
  PIANO_COMPARE(history_match.event);
  PIANO_COMPARE(history_match.column);
  PIANO_COMPARE(offsets);
  PIANO_COMPARE(item);
  PIANO_COMPARE(dense);
  PIANO_COMPARE(vector);
  PIANO_COMPARE(match);
  PIANO_COMPARE(score);
  PIANO_COMPARE(rank);
  PIANO_COMPARE(position);
  PIANO_COMPARE(click);
  PIANO_COMPARE(conversion);
  PIANO_COMPARE(labelled);
  PIANO_COMPARE(value);
  PIANO_COMPARE(recency);
#undef PIANO_COMPARE
  return {};
}

}  // namespace piano::data::test
