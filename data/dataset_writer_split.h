// Which requests are for training, which for choosing, which for testing.
#pragma once

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/dataset_writer_columns.h"

namespace piano::data {

struct SplitResult {
  SplitKind kind = SplitKind::time;           // what was done: never automatic
  SpillColumn<std::uint8_t> part;             // (requests): a Split
  std::int64_t counts[3] = {0, 0, 0};         // by Split
  std::int64_t valid_from = kNoTime, test_from = kNoTime;  // split = time: the cuts; kNoTime = no such part
};

SplitResult split_requests(LogTables& log, const WriterOptions& options);

// split = user: the part of a user (or of the id of a request without one). A pure function of its arguments, so that a user is in one part,
// whatever else the log holds.
Split split_of_user(std::string_view user, const WriterOptions& options);

}  // namespace piano::data
