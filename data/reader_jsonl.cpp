#include <algorithm>

#include "data/reader_rows.h"
#include "data/readers.h"
#include "data/request_json.h"
#include "engine/base/error.h"

namespace piano::data {
namespace {

// "column 17: reason" as "reason": the place is said beside the file and the line.
std::string_view without_column(std::string_view message) {
  return message.starts_with("column ") ? message.substr(message.find(": ") + 2) : message;
}

}  // namespace

ReadReport read_jsonl(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer) {
  RowSource source(paths, options);
  RequestParser parser;
  std::string_view line;
  bool first = false;
  while (source.next(line, first)) {
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    source.count_row();
    const auto reject = [&](std::int64_t column, std::string_view reason) {
      source.reject({source.file(), source.line(), std::max<std::int64_t>(1, column)}, reason, line);
    };
    const Request* request = nullptr;
    try {
      request = &parser.parse(line);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::data) throw;
      reject(parser.error_column(), without_column(error.what()));
      continue;
    }
    try {
      if (!options.parts.empty()) writer.set_part(options.parts[source.file_number()]);
      writer.add_request(*request, 0, !request->has_history);
      source.count_request();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::data) throw;
      reject(parser.column_of(error.what()), error.what());
    }
  }
  return source.finish();
}

}  // namespace piano::data
