// Checksums of embedding tables by blocks of rows. A model's tables are nearly all of its file: to answer the first request soon, and without
// reading what no request asks for, a block is compared when a row of it is first read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/safetensors.h"
#include "engine/core/parameters.h"

namespace piano {

// xxh64 of each 16 rows of a table (the last block may be shorter): the tensor rows.<parameter> of a model file.
std::vector<std::int64_t> block_checksums(const ParameterStore& parameters, const Parameter& table);

class TableGuard {
 public:
  // Both must outlive it. Throws ErrorCode::model when the file has no checksums for a table.
  TableGuard(const SafetensorsFile& file, const ParameterStore& parameters);

  // Throws ErrorCode::model when one of these rows lies in a block that is not what was saved. Rows past the last stand for the last.
  void check(ParameterId table, std::span<const std::int32_t> rows);

 private:
  struct Table {
    std::span<const std::int64_t> expected;  // (blocks)
    std::vector<bool> seen;                  // compared, and found good
  };
  const SafetensorsFile& file_;
  const ParameterStore& parameters_;
  std::vector<Table> tables_;                // one per table of the store
};

}  // namespace piano
