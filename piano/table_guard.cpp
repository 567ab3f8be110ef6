#include "piano/table_guard.h"

#include <algorithm>

#include "data/hash.h"

namespace piano {
namespace {

constexpr std::int64_t kBlock = 16;  // rows: a page of memory at d = 64

std::int64_t blocks_of(const Parameter& table) { return (table.shape.rows() + kBlock - 1) / kBlock; }

std::int64_t checksum(const ParameterStore& parameters, const Parameter& table, std::int64_t block) {
  const auto row = static_cast<std::size_t>(table.shape.cols()) * size_of(parameters.dtype());
  const auto first = static_cast<std::size_t>(block * kBlock), rows = static_cast<std::size_t>(std::min(kBlock, table.shape.rows() - block * kBlock));
  return static_cast<std::int64_t>(data::hash64({static_cast<const char*>(parameters.value(table)) + first * row, rows * row}));
}

}  // namespace

std::vector<std::int64_t> block_checksums(const ParameterStore& parameters, const Parameter& table) {
  std::vector<std::int64_t> sums(static_cast<std::size_t>(blocks_of(table)));
  for (std::size_t b = 0; b < sums.size(); ++b) sums[b] = checksum(parameters, table, static_cast<std::int64_t>(b));
  return sums;
}

TableGuard::TableGuard(const SafetensorsFile& file, const ParameterStore& parameters) : file_(file), parameters_(parameters) {
  tables_.resize(parameters.table_count());
  for (const Parameter& p : parameters.parameters()) {
    if (!p.is_table) continue;
    Table& table = tables_[p.table];
    table.expected = file.values<std::int64_t>("rows." + p.name);
    if (static_cast<std::int64_t>(table.expected.size()) != blocks_of(p)) {
      throw Error(ErrorCode::model, file.path() + ": rows." + p.name + ": expected " + std::to_string(blocks_of(p)) + " checksums, got " +
                                        std::to_string(table.expected.size()) + "; the file is damaged");
    }
    table.seen.resize(table.expected.size());
  }
}

void TableGuard::check(ParameterId id, std::span<const std::int32_t> rows) {
  const Parameter& p = parameters_[id];
  Table& table = tables_[p.table];
  for (const std::int32_t row : rows) {
    const auto block = static_cast<std::size_t>(std::min<std::int64_t>(row, p.shape.rows() - 1) / kBlock);
    if (table.seen[block]) continue;
    if (checksum(parameters_, p, static_cast<std::int64_t>(block)) != table.expected[block]) {
      throw Error(ErrorCode::model, file_.path() + ": param." + p.name + ": the checksum of rows " + std::to_string(block * kBlock) +
                                        " and following differs: the file is damaged");
    }
    table.seen[block] = true;
  }
}

}  // namespace piano
