// What the readers' tests share: a reader run on files that are there, its report or its complaint, and what it wrote.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/readers.h"
#include "engine/base/error.h"
#include "tests/base/temporary_folder.h"

namespace piano::data::test {

struct Reading {
  std::string error;
  ReadReport report;
};

// Packs into folder/out.safetensors.
inline Reading run(ReadReport (*reader)(const std::vector<std::string>&, const ReadOptions&, DatasetWriter&), const TemporaryFolder& folder,
                   const std::vector<std::string>& paths, SplitKind split = SplitKind::none, const ReadOptions& options = {}) {
  WriterOptions write;
  write.split = split;
  Reading reading;
  try {
    DatasetWriter writer(folder / "out.safetensors", write);
    reading.report = reader(paths, options, writer);
    if (reading.report.requests > 0) writer.commit();
  } catch (const Error& error) {
    reading.error = error.what();
  }
  return reading;
}

inline ReadOptions skipping() {
  ReadOptions options;
  options.on_error = OnError::skip;
  return options;
}

// Where public data lies; what is not there is not tested, and the test says so.
inline std::string real_data(const std::string& path) {
  const char* folder = std::getenv("PIANO_DATA");
  return std::string(folder ? folder : "../shared/data") + "/" + path;
}

// "item+conversion", "item+" for a click alone, "item" for none, of each candidate of request r, sorted by item.
inline std::vector<std::string> labels_by_item(const Dataset& d, std::int64_t r) {
  std::vector<std::string> result;
  for (std::int64_t c = d.candidate_begin(r); c < d.candidate_end(r); ++c) {
    const auto at = static_cast<std::size_t>(c);
    result.push_back(std::string(d.item(c)) + (d.clicks()[at] != 0 ? "+" : "") + (d.conversions()[at] != 0 ? "+" : ""));
  }
  std::sort(result.begin(), result.end());
  return result;
}

// "query|item|action|time" of each past event of request r.
inline std::vector<std::string> history_of(const Dataset& d, std::int64_t r) {
  const Dataset::Columns& log = d.columns();
  const auto text = [](const StringTable& table, std::int32_t i) { return i < 0 ? std::string("-") : std::string(table[i]); };
  std::vector<std::string> result;
  for (std::int64_t e = log.events[static_cast<std::size_t>(2 * r)]; e < log.events[static_cast<std::size_t>(2 * r + 1)]; ++e) {
    const auto at = static_cast<std::size_t>(e);
    result.push_back(text(log.strings.queries, log.event_query[at]) + "|" + text(log.strings.items, log.event_item[at]) + "|" +
                     text(log.strings.actions, log.event_action[at]) + "|" + std::to_string(log.event_time[at]));
  }
  return result;
}

// The value of an item field of a candidate of request r; "" when missing.
inline std::string field_of(const Dataset& d, std::int64_t r, const std::string& item, const std::string& field) {
  const Dataset::Columns& log = d.columns();
  for (std::size_t f = 0; f < log.item_fields.size(); ++f) {
    if (log.strings.item_fields.names[f] != field) continue;
    for (std::int64_t c = d.candidate_begin(r); c < d.candidate_end(r); ++c)
      if (d.item(c) == item && !log.item_fields[f][c].empty()) return std::string(log.strings.item_fields.values[f][log.item_fields[f][c][0]]);
  }
  return "";
}

}  // namespace piano::data::test
