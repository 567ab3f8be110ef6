// One row of a CSV file (RFC 4180) into cells. A quoted cell may hold commas and doubled quotes, but no line break: none of the logs that we
// read has one, and an unclosed quote then costs one row and not the rest of the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace piano::data {

class CsvRow {
 public:
  // Throws ErrorCode::data; error_column() then says where.
  void split(std::string_view line);
  const std::vector<std::string_view>& cells() const { return cells_; }     // valid until the next split(), while `line` lives
  std::int64_t column(std::size_t cell) const { return columns_[cell]; }     // bytes from 1, where the cell begins
  std::int64_t error_column() const { return error_column_; }

 private:
  std::vector<std::string_view> cells_;
  std::vector<std::int64_t> columns_;
  std::string unescaped_;  // the cells that had doubled quotes
  std::int64_t error_column_ = 0;
};

// Offset of the first byte that is no well-formed UTF-8 (overlong forms, surrogates and code points above U+10FFFF are not); npos when fine.
std::size_t find_broken_utf8(std::string_view text);

}  // namespace piano::data
