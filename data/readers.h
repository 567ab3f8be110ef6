// Logs in, a packed data set out. Each reader knows one public format; all end in DatasetWriter.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset_writer.h"

namespace piano::data {

enum class OnError { stop, skip };

struct ReadOptions {
  OnError on_error = OnError::stop;
  std::string rejects;              // with skip: rejected rows go here as "file:line:column<TAB>reason<TAB>row"; empty: they are only counted
  std::function<void(std::int64_t bytes_done, std::int64_t bytes_total, std::int64_t requests)> progress;  // compressed bytes of all inputs
};

struct ReadReport {
  std::int64_t rows = 0, requests = 0, rejected = 0;
  std::string first_rejection;      // "file:line:column: reason"
};

// Each takes plain or .gz files; "-" is stdin. Throws Error{data}: "file:line:column: reason" with on_error = stop.
ReadReport read_jsonl(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

// ACM RecSys Challenge 2019 (trivago), the original CSV with its header. One request per "clickout item" row, at step s, whose reference is
// among its impressions:
//   id          user_id/session_id/step          target      the reference
//   candidates  the impressions in shown order; dense = log1p(price), that minus the list's mean, share of the list's other prices below
//   query       city:<city>, ref:<last search or sort reference of the session>, filter:<each current filter>
//   click       the item is acted on at a step >= s of this session; conversion: clicked out at a step >= s of this session
//   context     platform, city, device
// Every row is an event of its user at (timestamp, step) with the query in force; the action is the file's action_type. A request's history is
// what lies strictly before it, from any session of the user's. Prices that do not match the impressions in number are missing.
// The rows of a session are expected together. Where a session goes on after rows of another, each stretch has its own labels and its own last
// reference; events and histories are unaffected.
ReadReport read_trivago(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

}  // namespace piano::data
