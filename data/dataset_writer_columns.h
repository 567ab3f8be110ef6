// A log in columns on disk, as it arrives. Each column is a spill file; only dictionaries stay in memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/interner.h"
#include "data/labels.h"
#include "data/raw_columns.h"
#include "data/request.h"
#include "data/request_check.h"
#include "engine/base/files.h"

namespace piano::data {

template <class T>
class SpillColumn {
 public:
  void push(const T& value) {
    block_[held_++] = value;
    ++size_;
    if (held_ == kBlock) flush();
  }
  void push(std::span<const T> values) {
    for (const T& value : values) push(value);
  }
  void resize(std::int64_t size) {  // zero-filled
    flush();
    file_.resize(static_cast<std::size_t>(size) * sizeof(T));
    size_ = size;
  }
  std::int64_t size() const { return size_; }
  // Valid until the next push or resize.
  std::span<T> view() {
    flush();
    if (size_ == 0) return {};
    return {reinterpret_cast<T*>(file_.map().data()), static_cast<std::size_t>(size_)};
  }

 private:
  void flush() {
    if (held_ > 0) file_.append(block_.data(), held_ * sizeof(T));
    held_ = 0;
  }

  static constexpr std::size_t kBlock = 512;  // values that arrive one by one go to the file together
  std::vector<T> block_ = std::vector<T>(kBlock);
  std::size_t held_ = 0;
  SpillFile file_;
  std::int64_t size_ = 0;
};

// Bags of ids; rows without an id are never mentioned.
class SpillBags {
 public:
  void add(std::int64_t row, std::int32_t id);  // requires: rows do not decrease
  void finish(std::int64_t rows);
  Bags view() { return {offsets_.view(), ids_.view()}; }

 private:
  SpillColumn<std::int64_t> offsets_;
  SpillColumn<std::int32_t> ids_;
};

// Rows of numbers of one width; rows without numbers are never mentioned.
class SpillDense {
 public:
  void add(std::int64_t row, std::span<const float> values);  // requires: rows increase, the width stays
  void finish(std::int64_t rows);
  DenseColumn view() { return {width_, values_.view(), present_.view()}; }

 private:
  std::int32_t width_ = 0;
  SpillColumn<float> values_;
  SpillColumn<std::uint8_t> present_;
};

// One kind of fields, in order of appearance; names may turn up at any time.
struct LogFields {
  Interner names;
  std::vector<std::unique_ptr<Interner>> values;  // one dictionary per name

  // Adds one row of every given field to `bags`, which has one entry per name.
  void add(std::span<const Field> fields, std::int64_t row, std::vector<SpillBags>& bags);

 private:
  std::size_t index_of(std::string_view name, std::size_t guess);
};

// Kinds of conversion, in order of appearance; they may turn up at any time. None: every conversion is a plain number.
struct LogKinds {
  Interner names;
  std::vector<SpillColumn<std::uint8_t>> labels;  // per kind; kSilent, or no row yet: the candidate does not name it
  std::vector<SpillDense> values;

  std::vector<std::string_view> with(const Request& request) const;  // those of the log so far and the request's; a number is kPlainKind
  void add(const Candidate& candidate, const Labels& said, std::int64_t row);
  // No more rows: every label becomes 0, 1 or kUnknownLabel.
  void finish(std::span<const std::uint8_t> labelled, std::span<const std::uint8_t> any);

 private:
  enum Said : std::uint8_t { kNothing, kNumber, kNames };
  static constexpr std::uint8_t kSilent = 3;
  std::size_t index_of(std::string_view kind);

  SpillColumn<std::uint8_t> said_;                // per candidate, of its conversion
  bool plain_ = false;                            // some candidate has a number
};

struct EventRecord {
  std::int64_t time, order;
  std::int32_t user, query, item, action;  // user -1: part of an explicit history
};

// Where a request's history is: `begin` counts the events of explicit histories; -1: it is derived.
struct ExplicitHistory {
  std::int64_t begin, count;
};

struct LogTables {
  Interner users, queries, terms, items, actions;
  LogFields user_fields, context_fields, item_fields;
  SpillBags query_terms;

  // Per request.
  SpillColumn<std::uint8_t> id_text;
  SpillColumn<std::int64_t> id_offsets, time, order, candidates;
  SpillColumn<std::int32_t> user, query, target;
  SpillColumn<std::uint8_t> part;                  // as given: a Split
  SpillColumn<ExplicitHistory> history;
  std::vector<SpillBags> user_bags, context_bags;
  SpillDense user_dense;

  // Per candidate.
  SpillColumn<std::int32_t> item, position;
  std::vector<SpillBags> item_bags;
  SpillDense dense, vector, score, value;
  SpillColumn<std::uint8_t> click, conversion, labelled;  // conversion: of any kind
  LogKinds kinds;

  // Per event, in order of arrival.
  SpillColumn<EventRecord> events;
  std::int64_t explicit_events = 0;
  std::uint8_t part_now = 0;                       // of requests that are added
  std::vector<SpillBags> event_bags;

  LogTables();
  void add_request(const Request& request, std::int64_t order);  // requires: a checked request
  void add_event(std::int32_t raw_user, const Event& event, std::int64_t order);
  void finish();                                                 // no more rows: completes every column
  std::int32_t intern_query(const Query& asked);                 // -1 for none

 private:
  void add_candidate(const Candidate& candidate, std::int32_t rank);
  std::string buffer_, term_buffer_;
};

}  // namespace piano::data
