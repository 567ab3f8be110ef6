// From events as they arrived to one event table sorted by user, time, order and arrival, and each request's history as a range of it.
#pragma once

#include "data/dataset_writer_columns.h"

namespace piano::data {

struct EventTable {
  SpillColumn<std::int64_t> arrival;         // (events): which event of LogTables stands here
  std::vector<std::int64_t> user_begin;      // (users + 1): the events of one user; explicit histories follow after the last
  SpillColumn<std::int64_t> ranges;          // (requests, 2): begin and end of each history
  // The columns of RawColumns, in table order.
  SpillColumn<std::int64_t> time;
  SpillColumn<std::int32_t> query, item, action;
  std::vector<SpillBags> fields;
};

// requires: log.finish() was called.
// ensures: a derived history holds the user's events with (time, order) strictly before the request's, nothing else; an explicit history holds
// what was given, in that order. Memory: O(users); the rest is mapped spill files.
EventTable sort_events(LogTables& log);

}  // namespace piano::data
