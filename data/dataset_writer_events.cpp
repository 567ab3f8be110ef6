#include "data/dataset_writer_events.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace piano::data {

namespace {

// What the table is sorted by within a user. `arrival` makes every key different.
struct SortKey {
  std::int64_t time, order, arrival;
  friend bool operator<(const SortKey& a, const SortKey& b) {
    return std::tie(a.time, a.order, a.arrival) < std::tie(b.time, b.order, b.arrival);
  }
};

// A counting sort by user, then a sort by key within each user. Fills table.user_begin; explicit events are not among the keys.
SpillColumn<SortKey> sort_by_user(LogTables& log, EventTable& table) {
  const std::span<const EventRecord> events = log.events.view();
  table.user_begin.assign(static_cast<std::size_t>(log.users.size()) + 1, 0);
  for (const EventRecord& e : events)
    if (e.user >= 0) ++table.user_begin[static_cast<std::size_t>(e.user) + 1];
  std::partial_sum(table.user_begin.begin(), table.user_begin.end(), table.user_begin.begin());

  SpillColumn<SortKey> sorted;
  sorted.resize(table.user_begin.back());
  const std::span<SortKey> keys = sorted.view();
  std::vector<std::int64_t> next(table.user_begin.begin(), table.user_begin.end() - 1);
  for (std::size_t i = 0; i < events.size(); ++i)
    if (events[i].user >= 0)
      keys[static_cast<std::size_t>(next[static_cast<std::size_t>(events[i].user)]++)] = {events[i].time, events[i].order, static_cast<std::int64_t>(i)};
  for (std::size_t u = 0; u < next.size(); ++u) std::sort(keys.begin() + table.user_begin[u], keys.begin() + table.user_begin[u + 1]);
  return sorted;
}

void find_ranges(LogTables& log, std::span<const SortKey> keys, EventTable& table) {
  const auto time = log.time.view(), order = log.order.view();
  const auto user = log.user.view();
  const auto history = log.history.view();
  const std::int64_t derived = table.user_begin.back();
  for (std::size_t r = 0; r < user.size(); ++r) {
    if (history[r].begin >= 0) {
      table.ranges.push(derived + history[r].begin);
      table.ranges.push(derived + history[r].begin + history[r].count);
    } else if (user[r] < 0 || time[r] == kNoTime) {
      table.ranges.push(0);
      table.ranges.push(0);
    } else {
      const auto u = static_cast<std::size_t>(user[r]);
      const auto begin = keys.begin() + table.user_begin[u], end = keys.begin() + table.user_begin[u + 1];
      // No arrival is below 0: an event with the request's own time and order is not before it.
      const auto cut = std::lower_bound(begin, end, SortKey{time[r], order[r], -1});
      table.ranges.push(begin - keys.begin());
      table.ranges.push(cut - keys.begin());
    }
  }
}

void gather(LogTables& log, EventTable& table) {
  const auto events = log.events.view();
  const auto arrival = table.arrival.view();
  for (const std::int64_t a : arrival) {
    const EventRecord& e = events[static_cast<std::size_t>(a)];
    table.time.push(e.time);
    table.query.push(e.query);
    table.item.push(e.item);
    table.action.push(e.action);
  }
  table.fields.resize(log.event_bags.size());
  for (std::size_t f = 0; f < log.event_bags.size(); ++f) {
    const Bags bags = log.event_bags[f].view();
    for (std::size_t row = 0; row < arrival.size(); ++row)
      for (const std::int32_t id : bags[arrival[row]]) table.fields[f].add(static_cast<std::int64_t>(row), id);
    table.fields[f].finish(static_cast<std::int64_t>(arrival.size()));
  }
}

}  // namespace

EventTable sort_events(LogTables& log) {
  EventTable table;
  SpillColumn<SortKey> sorted = sort_by_user(log, table);
  const std::span<const SortKey> keys = sorted.view();
  for (const SortKey& key : keys) table.arrival.push(key.arrival);
  const auto events = log.events.view();
  for (std::size_t i = 0; i < events.size(); ++i)
    if (events[i].user < 0) table.arrival.push(static_cast<std::int64_t>(i));
  find_ranges(log, keys, table);
  gather(log, table);
  return table;
}

}  // namespace piano::data
