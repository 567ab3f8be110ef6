// The strict way from a line to a request: by a tree whose nodes remember where they stand, so that every message names a place. It says what a
// request is; FastRequestReader is the quick way for lines that are fine.
#pragma once

#include <memory>
#include <string_view>

#include "data/request_json_arrays.h"

namespace piano::data {

class StrictRequestReader {
 public:
  StrictRequestReader();
  ~StrictRequestReader();
  StrictRequestReader(StrictRequestReader&&) noexcept;

  // The line's JSON: throws for what is none. Then its content, and where things stand; errors as RequestParser::parse has them.
  void parse(std::string_view line);
  void read(RequestArrays& out);                              // the strings of `out` live until the next parse()
  std::int64_t column_of(std::string_view message) const;     // see RequestParser::column_of

  std::string_view id() const;                                // of the line, also where it breaks off later
  std::int64_t error_column() const;                          // of the last error, 0 when unknown

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace piano::data
