#include "piano/padded_batch.h"

#include <algorithm>
#include <bit>

namespace piano {
namespace {

// Rows of `width` numbers: as many more as to make n, like the first one.
template <class T>
void pad(std::vector<T>& column, std::int32_t rows, std::int32_t n) {
  if (rows == 0 || column.empty()) return;
  const std::size_t width = column.size() / static_cast<std::size_t>(rows);
  column.reserve(static_cast<std::size_t>(n) * width);
  for (std::int32_t r = rows; r < n; ++r) std::copy_n(column.begin(), width, std::back_inserter(column));
}

// Rows without an id.
void pad(data::BagColumn& bags, std::int32_t n) { bags.offsets.resize(static_cast<std::size_t>(n) + 1, bags.offsets.back()); }

void pad(std::vector<data::BagColumn>& columns, std::int32_t n) {
  for (data::BagColumn& bags : columns) pad(bags, n);
}

void pad(data::QueryColumns& queries, std::int32_t rows, std::int32_t n) { pad(queries.id, rows, n), pad(queries.terms, n); }

void pad(data::ItemColumns& items, std::int32_t rows, std::int32_t n) { pad(items.id, rows, n), pad(items.fields, n); }

// Ends of the added lists: even shares of the rows up to n.
void share(std::vector<std::int32_t>& offsets, std::int32_t lists, std::int32_t n) {
  const std::int32_t old = static_cast<std::int32_t>(offsets.size()) - 1, begin = offsets.back();
  for (std::int64_t l = 1; l <= lists - old; ++l) offsets.push_back(begin + static_cast<std::int32_t>((n - begin) * l / (lists - old)));
}

}  // namespace

std::int32_t bucket(std::int32_t n) {
  const int step = std::max(0, static_cast<int>(std::bit_width(static_cast<std::uint32_t>(std::max(n - 1, 0)))) - 4);
  return ((n + (1 << step) - 1) >> step) << step;
}

void pad_batch(data::Batch& batch) {
  const std::int32_t lists = batch.lists, rows = batch.rows(), history = batch.history_rows();
  // One list more at least, and as many as the added rows would have been.
  const std::int32_t all = bucket(lists + lists / 8 + 1), all_rows = bucket(rows), all_history = bucket(history);
  pad(batch.user, lists, all), pad(batch.user_fields, all), pad(batch.context_fields, all), pad(batch.user_dense, lists, all);
  pad(batch.query, lists, all);
  batch.request.resize(static_cast<std::size_t>(all), -1);

  share(batch.history_offsets, all, all_history);
  pad(batch.history_query, history, all_history), pad(batch.history_item, history, all_history);
  pad(batch.history_action, history, all_history), pad(batch.history_age, history, all_history);
  pad(batch.history_vector_of, history, all_history), pad(batch.history_vector, history, all_history);
  batch.history_match.offsets.resize(static_cast<std::size_t>(all) + 1, batch.history_match.offsets.back());

  share(batch.offsets, all, all_rows);
  pad(batch.item, rows, all_rows);
  for (std::vector<float>* column : {&batch.dense, &batch.vector, &batch.match, &batch.score, &batch.click, &batch.conversion, &batch.value, &batch.recency}) {
    pad(*column, rows, all_rows);
  }
  pad(batch.rank, rows, all_rows), pad(batch.position, rows, all_rows);
  batch.labelled.resize(static_cast<std::size_t>(all_rows), 0.0f);
  batch.lists = all;
}

}  // namespace piano
