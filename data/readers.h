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
  std::string rejects;              // with skip: rejected rows go here as "file:line:column<TAB>reason<TAB>row"; empty: <out>.rejects
  std::function<void(std::int64_t bytes_done, std::int64_t bytes_total, std::int64_t requests)> progress;  // compressed bytes of all inputs
};

struct ReadReport {
  std::int64_t rows = 0, requests = 0, rejected = 0;
  std::string first_rejection;      // "file:line:column: reason"
};

// Each takes plain or .gz files; "-" is stdin. Throws Error{data}: "file:line:column: reason" with on_error = stop.
ReadReport read_jsonl(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);
// ACM RecSys Challenge 2019 (trivago), the original CSV; docs in data/README.md.
ReadReport read_trivago(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

}  // namespace piano::data
