// Lines of a plain or gzip-compressed file, or of stdin, in bounded memory. A line is handed out as soon as it is complete, so that a program
// at the other end of two pipes can ask and wait for the answer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_source.h"

namespace piano::data {

inline constexpr std::size_t kMaxLine = std::size_t{64} << 20;  // bytes

class LineReader {
 public:
  // `path` may be "-": stdin. `before_waiting` is called whenever no complete line is left and the next read may block; may be empty.
  // Throws ErrorCode::io when it cannot be opened.
  explicit LineReader(const std::string& path, std::size_t max_line = kMaxLine, std::function<void()> before_waiting = {});

  // The next line, without its "\n" or "\r\n"; false at the end. The view is valid until the next call.
  // Throws as ByteSource::read does, and ErrorCode::data for a line longer than max_line.
  bool next(std::string_view& line);

  const std::string& file() const { return source_.name(); }             // the path, or "<stdin>"
  std::int64_t line() const { return line_; }                            // of the line last given, from 1
  std::int64_t bytes_done() const { return source_.bytes_done(); }       // of the file as stored (compressed)
  std::int64_t bytes_total() const { return source_.bytes_total(); }     // 0 when unknown

 private:
  bool fill();  // reads more behind end_; false at the end of the file

  ByteSource source_;
  std::size_t max_line_;
  std::int64_t line_ = 0;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  bool at_end_ = false;
};

}  // namespace piano::data
