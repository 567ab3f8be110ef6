// A request as JSON (docs/requests.md), both ways.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "data/request.h"

namespace piano::data {

// Owns the strings and arrays that a parsed Request views. Reused from line to line.
class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;

  // One JSON object. Unknown keys are errors that name the nearest known key. Throws ErrorCode::data:
  //   "column 17: expected a string, got 3" for syntax, "candidates[3].click: expected 0 or 1, got 2" for content.
  // The result is valid until the next parse().
  const Request& parse(std::string_view line);
  // The id of the line last given to parse(), if it got that far; for error answers.
  std::string_view last_id() const;
  // Column (from 1) of the last error, 0 when unknown.
  std::int64_t error_column() const;
  // Where the JSON path that a message begins with stands in the line last parsed: "candidates[3].dense: ..." (or what of it is there).
  std::int64_t column_of(std::string_view message) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The canonical line for a request, labels included, without a line break; numbers round-trip.
std::string to_json(const Request& request);

}  // namespace piano::data
